"""Invertible stretches: from linear light to the display range and back.

A `Stretch` keeps its own parameters, in the picture's units, so that its
inverse is exact up to rounding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from nox_runtime.errors import UsageError
from nox_runtime.statistics import Statistics, nominal_range, statistics

#: Siril's and PixInsight's automatic stretch: shadows at this many (scaled)
#: median absolute deviations below the median ...
SHADOWS_SIGMA = 2.8
#: ... and the median brought to this value.
TARGET_BACKGROUND = 0.25
#: With `auto`, a midtones balance is never smaller than this: a single hot pixel
#: must not squeeze a picture into a curve that no model was trained on.
SMALLEST_MIDTONES = 0.002
#: A picture whose automatic midtones balance would be smaller than this is linear.
LINEAR_MIDTONES = 0.06
#: With `auto`, the sky of a stretched picture is shown no darker than this: four of five
#: training scenes are brighter, and on black skies bright stars stay (docs/training.md).
DARKEST_SKY = 0.06
#: A sky that is darker still is lifted as if it were at this level, one step of 8 bits.
_BLACK = 0.004
#: Over this share of the display range, what lay above white fades out as light is
#: taken away from a pixel.
_FADE = 0.05
#: Values that are unstretched at once: a dozen arrays of so many are needed.
_BAND = 2**16
#: Types whose values single precision holds exactly.
_SINGLE = tuple(np.dtype(t) for t in ("u1", "i1", "u2", "i2", "f2", "f4"))

__all__ = [
    "STRETCHES", "Statistics", "Stretch", "choose", "midtones", "mtf", "nominal_range",
    "statistics",
]  # fmt: skip

STRETCHES = ("auto", "none", "mtf", "asinh")


def mtf(x: np.ndarray | float, m: np.ndarray | float) -> np.ndarray:
    """Midtones transfer function, ``(m - 1) x / ((2 m - 1) x - m)``.

    Maps 0 to 0, 1 to 1 and `m` to 1/2; its inverse is ``mtf(y, 1 - m)``.

    Parameters
    ----------
    x : ndarray or float
        Values, 0 to 1.
    m : ndarray or float
        Midtones balance, above 0 and below 1; below 1/2 brightens.

    Returns
    -------
    ndarray
        Same shape and type as `x`.
    """
    x = np.asarray(x)
    # A number of Python's keeps the array's type; a float64 array would widen it.
    k = np.asarray(m, dtype=x.dtype if x.dtype.kind == "f" else float)
    return np.asarray(((k - 1) * x) / ((2 * k - 1) * x - k))


def midtones(background: float, target: float = TARGET_BACKGROUND) -> float:
    """Midtones balance that brings `background` to `target`; both above 0, below 1."""
    return float(mtf(np.float64(background), np.float64(target)))


@dataclass(frozen=True)
class Stretch:
    """An invertible stretch with its own parameters for each channel.

    ``display = curve(clip((x - black) / (white - black), 0, 1))``, where the curve is
    ``mtf(v, midtones)`` or, with `factor`, ``asinh(factor v) / asinh(factor)``.

    Attributes
    ----------
    kind : str
        'none' (midtones of 1/2: a straight line), 'mtf', 'asinh', 'auto' (an mtf of a
        linear picture) or 'lift' (an mtf of a stretched one with a dark sky).
    black, white : tuple of float
        In the picture's units.
    midtones : tuple of float
        The value, as a share of the range, that is shown at 1/2.
    reason : str
        Why this stretch was chosen, for the report.
    factor : tuple of float
        Strength of an asinh stretch, above 0; empty for the others.
    """

    kind: str
    black: tuple[float, ...]
    white: tuple[float, ...]
    midtones: tuple[float, ...]
    reason: str = ""
    factor: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @property
    def linear(self) -> bool:
        """Whether the picture was taken for linear."""
        return self.kind not in ("none", "lift")

    def for_eyes(self) -> Stretch:
        """The stretch to show the picture to people by: without the lift of a dark sky."""
        if self.kind != "lift":
            return self
        return replace(self, kind="none", midtones=(0.5,) * len(self.midtones))

    def _curve(self, v: np.ndarray, c: int) -> np.ndarray:
        """Shares of channel `c`'s range, 0 to 1, as they are shown."""
        if self.factor:
            return np.asarray(np.arcsinh(self.factor[c] * v) / np.arcsinh(self.factor[c]))
        return v if self.midtones[c] == 0.5 else mtf(v, self.midtones[c])

    def _uncurve(self, shown: np.ndarray, c: int) -> np.ndarray:
        """The inverse of `_curve`."""
        if self.factor:
            return np.asarray(np.sinh(shown * np.arcsinh(self.factor[c])) / self.factor[c])
        return shown if self.midtones[c] == 0.5 else mtf(shown, 1.0 - self.midtones[c])

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Stretch a picture for display.

        Parameters
        ----------
        x : ndarray, shape (C, ...)
            In the picture's units.

        Returns
        -------
        ndarray, same shape, float32, values 0 to 1; NaN where `x` is.
        """
        out = np.empty(x.shape, np.float32)
        for c in range(len(x)):
            # Single precision is enough for the model where it holds the input.
            values = x[c].astype(np.float32 if x.dtype in _SINGLE else np.float64)
            number = values.dtype.type
            np.clip(values, number(self.black[c]), number(self.white[c]), out=values)
            values -= number(self.black[c])
            values *= number(1.0 / (self.white[c] - self.black[c]))
            shown = self._curve(np.minimum(values, 1, out=values), c)
            np.minimum(shown, 1, out=out[c])  # single precision rounds to just above it
        return out

    def subtract(self, x: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Take light away from a picture, measured on the display scale.

        Where `residual` is 0 the result is `x`, bit by bit.  Elsewhere it is the
        inverse of ``forward(x) - residual``; what lay above white goes with the
        first twentieth of the display range that is taken.

        Parameters
        ----------
        x : ndarray, shape (C, H, W)
            In the picture's units, any real type.
        residual : ndarray, shape (C, H, W), float32

        Returns
        -------
        ndarray, same shape and type as `x`
        """
        out = x.copy()
        step = max(1, _BAND // x.shape[2])
        for c in range(len(x)):
            for y in range(0, x.shape[1], step):
                rows = slice(y, y + step)
                self._subtract(x[c, rows], residual[c, rows], c, out[c, rows])
        return out

    def _subtract(self, x: np.ndarray, residual: np.ndarray, c: int, out: np.ndarray) -> None:
        """`subtract`, of some rows of channel `c`, into `out`."""
        where = np.flatnonzero(residual)
        if not where.size:
            return
        value = x.reshape(-1)[where].astype(np.float64)
        taken = residual.reshape(-1)[where].astype(np.float64)
        span = self.white[c] - self.black[c]
        raw = (value - self.black[c]) / span
        v = np.clip(raw, 0.0, 1.0)
        shown = self._curve(v, c)
        left = np.clip(shown - taken, 0.0, 1.0)
        under = self._uncurve(left, c)
        excess = np.maximum(raw - 1.0, 0.0) * np.minimum(1.0, np.abs(taken) / _FADE)
        new = value - span * (v - under + excess)
        new = np.where(left == shown, value, new)
        out.reshape(-1)[where] = _as_type(new, x.dtype)


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        # float64 holds no number just below 2^63: stay where the conversion is safe.
        room = 1024 if dtype.itemsize == 8 else 0
        low = info.min + (room if info.min else 0)
        return np.asarray(np.clip(np.rint(values), low, info.max - room), dtype)
    return np.asarray(values, dtype)


def _channel(
    stats: Statistics, c: int, target: float, shadows: float
) -> tuple[float, float, float]:
    """Black, white and midtones of Siril's automatic stretch for one channel."""
    span = stats.white - stats.black
    median = (stats.median[c] - stats.black) / span
    sigma = stats.sigma[c] / span
    black = max(0.0, median - shadows * sigma)
    level = (median - black) / (1.0 - black) if black < 1 else 0.0
    if not 0 < level < 1:  # a constant channel, or one that is mostly at an end
        level = max(min(median, 0.5), 1e-4)
        black = 0.0
    return stats.black + black * span, stats.white, midtones(level, target)


def _asinh_factor(level: float, target: float) -> float:
    """Factor of the asinh stretch that shows `level`, a share of the range, at `target`."""
    low, high = np.log(1e-3), np.log(1e9)
    for _ in range(80):  # monotone in the factor: halve
        middle = (low + high) / 2
        factor = np.exp(middle)
        if np.arcsinh(factor * level) / np.arcsinh(factor) < target:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _as_asinh(black: float, white: float, m: float) -> tuple[float, float, float, float]:
    """The asinh stretch that shows the background where an mtf of `m` does."""
    level = float(mtf(np.float64(TARGET_BACKGROUND), 1.0 - m))
    factor = _asinh_factor(level, TARGET_BACKGROUND)
    half = float(np.sinh(0.5 * np.arcsinh(factor)) / factor)
    return black, white, half, factor


def choose(kind: str, stats: Statistics, *, linked: bool = False) -> Stretch:
    """Decide how to stretch a picture.

    `none` takes the nominal range as it is.  `mtf` is Siril's automatic stretch,
    each channel by itself; `asinh` has its black point and brings the background to
    the same level by an inverse hyperbolic sine.  `auto` finds out whether the picture
    is linear (its automatic stretch would be a strong one) and then does `mtf`, with the
    strength bounded by `SMALLEST_MIDTONES`, or nothing; a stretched picture's sky that is
    darker than `DARKEST_SKY` is lifted to it, all channels by one curve ('lift').

    Parameters
    ----------
    kind : {'auto', 'none', 'mtf', 'asinh'}
    stats : Statistics
    linked : bool
        One set of parameters for all channels, from the means of their statistics, so
        that the balance of colours stays.

    Raises
    ------
    UsageError
        An unknown kind.
    """
    if kind not in STRETCHES:
        raise UsageError(f"stretch is {kind!r}; it must be one of {', '.join(STRETCHES)}")
    count = len(stats.median)
    if linked:
        means = [float(np.mean(v)) for v in (stats.median, stats.sigma)]
        stats = replace(stats, median=(means[0],) * count, sigma=(means[1],) * count)
    flat = Stretch(
        "none", (stats.black,) * count, (stats.white,) * count, (0.5,) * count, "as asked for"
    )
    if kind == "none":
        return flat
    found = [_channel(stats, c, TARGET_BACKGROUND, SHADOWS_SIGMA) for c in range(count)]
    strongest = float(np.median([m for _, _, m in found]))
    if kind == "auto" and (strongest >= LINEAR_MIDTONES or stats.dtype == "uint8"):
        reason = f"stretched already: its automatic midtones would be {strongest:.3f}"
        if stats.dtype == "uint8":
            reason = "8-bit pictures are stretched already"
        return _lifted(replace(flat, reason=reason), stats)
    reason = "as asked for" + (", linked" if linked else "")
    if kind == "asinh":
        black, white, m, factor = zip(*(_as_asinh(*f) for f in found), strict=True)
        return Stretch(kind, black, white, m, reason, factor)
    if kind == "auto":
        reason = f"linear: its automatic midtones are {strongest:.4f}"
        found = [_bounded(*f) for f in found]
    black, white, m = zip(*found, strict=True)
    return Stretch(kind, black, white, m, reason)


def _lifted(flat: Stretch, stats: Statistics) -> Stretch:
    """`flat`, or where the sky is darker than `DARKEST_SKY` the curve that lifts it there."""
    level = (float(np.mean(stats.median)) - stats.black) / (stats.white - stats.black)
    if not level < DARKEST_SKY:
        return flat
    m = midtones(max(level, _BLACK), DARKEST_SKY)
    reason = f"{flat.reason}; its sky, {max(level, 0.0):.3f}, is shown at {DARKEST_SKY:g}"
    return replace(flat, kind="lift", midtones=(m,) * len(flat.black), reason=reason)


def _bounded(black: float, white: float, m: float) -> tuple[float, float, float]:
    """Lower white until the midtones balance is no smaller than the smallest."""
    if m >= SMALLEST_MIDTONES:
        return black, white, m
    # For small levels the balance is proportional to the level above black.
    return black, black + (white - black) * m / SMALLEST_MIDTONES, SMALLEST_MIDTONES
