"""What the user wants left alone, as weights on the light to take away.

A picture is met in rows, and so are its controls: `Controls.apply` is given some rows
of the residual, and `Vetoes` holds rows back until the objects on them are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nox_runtime import objects
from nox_runtime.errors import UsageError

#: Gives the weights of rows y0..y1, shape (y1 - y0, W), 0 to 1; 1 is left alone.
RowWeights = Callable[[int, int], np.ndarray]
#: Rows of a picture at `start`: residual on the display scale, and picture, (C, n, W).
Block = tuple[int, np.ndarray, np.ndarray]

#: Side of the squares in which objects are looked for, whatever the tiles: so the
#: outcome does not depend on them.
_SQUARE = 512
#: Pixels of surroundings, in which an object must fit to be measured whole.
_CONTEXT = 96
#: A named star is looked for within this distance, in pixels.
_NEAR = 3.0


@dataclass(frozen=True)
class Controls:
    """What shall be left, and how much.

    Attributes
    ----------
    strength : float
        0 leaves all stars as they are, 1 takes them away; see `reduction`.
    protect : callable, optional
        See `RowWeights`.
    keep : ndarray, shape (n, 3)
        Column, row and radius in pixels of stars that stay; a radius that is NaN is
        that of the object found there.
    max_size : float, optional
        Largest full width at half maximum, in pixels, that is taken away.
    min_roundness : float, optional
        Smallest ratio of the axes that is taken away, 0 to 1.
    region : tuple of int, optional
        First row, row after the last, first column, column after the last.
    """

    strength: float = 1.0
    protect: RowWeights | None = None
    keep: np.ndarray | None = None
    max_size: float | None = None
    min_roundness: float | None = None
    region: tuple[int, int, int, int] | None = None

    @property
    def by_object(self) -> bool:
        """Whether objects have to be found."""
        named = self.keep is not None and bool(np.isnan(self.keep[:, 2]).any())
        return named or self.max_size is not None or self.min_roundness is not None

    def apply(
        self, start: int, residual: np.ndarray, shown: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Weaken the light to take away from some rows.

        Parameters
        ----------
        start : int
            First row.
        residual : ndarray, shape (C, n, W)
        shown : callable
            Gives the picture's rows on the display scale, if they are needed.

        Returns
        -------
        ndarray, shape (C, n, W), float32
        """
        if self.strength == 0:
            return np.zeros_like(residual)
        stop = start + residual.shape[1]
        left = np.zeros(residual.shape[1:], np.float32)
        if self.protect is not None:
            left = np.maximum(left, self.protect(start, stop))
        if self.keep is not None:
            disks = self.keep[np.isfinite(self.keep[:, 2])]
            left = np.maximum(left, _disks(disks, start, left.shape))
        if left.any():
            residual = residual * (1 - left)
        if self.strength < 1:
            residual = residual * reduction(residual, shown(), self.strength)
        return np.asarray(residual, np.float32)


def reduction(residual: np.ndarray, shown: np.ndarray, strength: float) -> np.ndarray:
    """The share of the light to take, so that stars become smaller and fainter.

    A star is what screens the starless picture, ``1 - (1 - starless)(1 - star)``; the
    part of it that stays is ``(1 - s^2) mtf(star, (1 + s) / 2)``, which for s of 1/2
    leaves a quarter of a faint halo and three quarters of a full core.  All channels
    are given the share of their brightest, so that the star keeps its colour.

    Parameters
    ----------
    residual, shown : ndarray, shape (C, n, W)
        On the display scale.
    strength : float
        0 to 1.

    Returns
    -------
    ndarray, shape (1, n, W), 0 to 1
    """
    under = np.maximum(1 - (shown - residual), 1e-6)
    star = np.clip(np.abs(residual) / under, 0, 1).max(axis=0, keepdims=True)
    if strength >= 1:  # 0 / 0 below, in the core of a star on black
        return np.ones_like(star)
    # mtf(star, m) / star, with m = (1 + s) / 2: finite at a star of 0, and, written so,
    # at a star of 1 for an s just below 1.
    stays = (1 - strength) / ((1 - strength) + 2 * strength * (1 - star))
    return np.asarray(1 - (1 - strength**2) * stays)


def _disks(keep: np.ndarray, start: int, shape: tuple[int, ...]) -> np.ndarray:
    """1 inside the radius of each star, falling to 0 over a quarter of it."""
    left = np.zeros(shape, np.float32)
    for x, y, radius in keep:
        fade = max(1.0, radius / 4)
        reach = radius + fade
        y0, y1 = (int(np.clip(v - start, 0, shape[0])) for v in (y - reach, y + reach + 2))
        x0, x1 = (int(np.clip(v, 0, shape[1])) for v in (x - reach, x + reach + 2))
        if y0 >= y1 or x0 >= x1:
            continue
        rows = np.arange(y0, y1)[:, None] + start - y
        away = np.hypot(rows, np.arange(x0, x1) - x)
        weight = np.clip((reach - away) / fade, 0, 1)
        left[y0:y1, x0:x1] = np.maximum(left[y0:y1, x0:x1], weight)
    return left


class Vetoes:
    """Gives back the light of objects that are to stay.

    Rows are held until the objects on them, and `_CONTEXT` pixels beyond, are known.
    Each object is judged once, in the square that holds its peak, and its verdict
    holds for all of its pixels.

    Parameters
    ----------
    controls : Controls
    light : callable
        Residual and picture (C, n, W) to the light taken, in the picture's units.
    """

    def __init__(
        self, controls: Controls, light: Callable[[np.ndarray, np.ndarray], np.ndarray], height: int
    ) -> None:
        self.controls, self._light, self.height = controls, light, height
        self.context = _CONTEXT + int(3 * (controls.max_size or 0))
        self.kept = 0
        #: First row held, first row not judged, first row not given back.
        self._start, self._done, self._out = 0, 0, 0
        self._held: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def push(self, start: int, residual: np.ndarray, picture: np.ndarray) -> list[Block]:
        """Take the next rows; give back those that no later object can change."""
        new = (residual, picture, np.zeros((1, *residual.shape[1:]), bool))
        if self._held is not None:
            new = tuple(np.concatenate(p, axis=1) for p in zip(self._held, new, strict=True))  # type: ignore[assignment]
        ready, known = [], start + residual.shape[1]
        while self._done < self.height and known >= min(
            self._done + _SQUARE + self.context, self.height
        ):
            residual, picture, stays = new
            self._judge(residual, picture, stays[0], self._start, self._done)
            self._done = min(self._done + _SQUARE, self.height)
            end = self.height
            if self._done < end:
                end = max(self._done - self.context, self._out)
            if end > self._out:
                at = slice(self._out - self._start, end - self._start)
                left = np.where(stays[:, at], np.float32(0), residual[:, at])
                ready.append((self._out, left, picture[:, at].copy()))
                self._out = end
            drop = max(0, self._done - self.context - self._start)
            new = (residual[:, drop:], picture[:, drop:], stays[:, drop:])
            self._start += drop
        self._held = (new[0].copy(), new[1].copy(), new[2].copy()) if ready else new
        return ready

    def _judge(
        self, residual: np.ndarray, picture: np.ndarray, stays: np.ndarray, start: int, done: int
    ) -> None:
        """Look at the squares of one row of them; note the pixels that stay."""
        width = stays.shape[1]
        y0, y1 = max(0, done - self.context - start), done + _SQUARE + self.context - start
        for left in range(0, width, _SQUARE):
            x0, x1 = max(0, left - self.context), left + _SQUARE + self.context
            part = residual[:, y0:y1, x0:x1]
            level = np.abs(part).max(axis=0)
            light = self._light(part, picture[:, y0:y1, x0:x1])
            found = objects.find(level, light)
            at_y, at_x = found.peak_y + y0 + start, found.peak_x + x0
            own = (at_y >= done) & (at_y < done + _SQUARE)
            own &= (at_x >= left) & (at_x < left + _SQUARE)
            wanted = np.nonzero(own & self._veto(found, x0, y0 + start))[0] + 1
            if len(wanted):
                labels = objects.grown(found.labels, level > 0)
                stays[y0:y1, x0:x1] |= np.isin(labels, wanted)
                self.kept += len(wanted)

    def _veto(self, found: objects.Objects, x0: int, y0: int) -> np.ndarray:
        veto = np.zeros(len(found), bool)
        if self.controls.max_size is not None:
            veto |= found.fwhm > self.controls.max_size
        if self.controls.min_roundness is not None:
            veto |= found.roundness < self.controls.min_roundness
        if self.controls.keep is not None and len(found):
            for x, y, radius in self.controls.keep:
                if np.isfinite(radius):
                    continue
                away = np.hypot(found.x + x0 - x, found.y + y0 - y)
                column, row = round(x - x0), round(y - y0)
                nearest = int(np.argmin(away))
                reach = max(_NEAR, found.fwhm[nearest])
                inside = (
                    0 <= row < found.labels.shape[0] and 0 <= column < found.labels.shape[1]
                ) and found.labels[row, column]
                if inside:
                    veto[inside - 1] = True
                elif away[nearest] <= reach:
                    veto[nearest] = True
        return veto


def checked(
    shape: tuple[int, int],
    *,
    strength: float = 1.0,
    protect: np.ndarray | RowWeights | None = None,
    keep: Any = None,
    max_size: float | None = None,
    min_roundness: float | None = None,
    region: Sequence[int] | None = None,
) -> Controls:
    """Controls from what a user gave.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the picture.
    strength, max_size, min_roundness, region
        See `Controls`.
    protect : ndarray, shape (H, W), or callable, optional
        Truth values, or numbers from 0 to 1; 1 is left alone.
    keep : table or sequence of (x, y) or (x, y, radius), optional
        See `places`.

    Raises
    ------
    UsageError
        A value that cannot be; the message says which and what it may be.
    """
    height, width = shape
    if not 0 <= strength <= 1:
        raise UsageError(f"strength is {strength}; it must be from 0 to 1")
    if max_size is not None and not 0 < max_size < np.inf:
        raise UsageError(f"max_size is {max_size}; it must be above 0 pixels, and finite")
    if min_roundness is not None and not 0 <= min_roundness <= 1:
        raise UsageError(f"min_roundness is {min_roundness}; it must be from 0 to 1")
    if region is not None:
        y0, y1, x0, x1 = (int(v) for v in region)
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise UsageError(
                f"the region is columns {x0} to {x1} and rows {y0} to {y1}; each must end after it "
                f"begins, from 0 on, at {width} columns and {height} rows at most"
            )
        region = (y0, y1, x0, x1)
    rows = protect if protect is None or callable(protect) else row_weights(protect, shape)
    made = Controls(
        float(strength), rows, None if keep is None else places(keep), max_size, min_roundness,
        region,
    )  # fmt: skip
    if made.by_object:
        objects.require("max_size, min_roundness, or keep without a radius,")
    return made


def row_weights(mask: np.ndarray, shape: tuple[int, int]) -> RowWeights:
    """Read rows of a mask that is held in memory.

    Raises
    ------
    UsageError
        It has another shape than the picture, or values beyond 0 to 1.
    """
    mask = np.asarray(mask)
    if mask.shape != tuple(shape):
        raise UsageError(
            f"protect has shape {mask.shape}; it must be that of the picture, {tuple(shape)}"
        )
    if mask.dtype.kind not in "buif":
        raise UsageError(f"protect holds {mask.dtype}; it must be truth values or numbers")
    if mask.size and not (mask.min() >= 0 and mask.max() <= 1):
        raise UsageError(
            f"protect holds values from {mask.min()} to {mask.max()}; they must be from 0 to 1"
        )
    return lambda y0, y1: mask[y0:y1].astype(np.float32)


def places(keep: Any) -> np.ndarray:
    """Column, row and radius of stars to keep, (n, 3); the radius may be NaN.

    Parameters
    ----------
    keep : astropy Table, or sequence of (x, y) or (x, y, radius)
        A table has the columns `x` and `y` (or `xcentroid` and `ycentroid`, or
        `x_centroid` and `y_centroid`) and perhaps `radius`.  Pixels, 0 is the
        centre of the first one.

    Raises
    ------
    UsageError
    """
    names = list(getattr(keep, "colnames", []))
    if names:
        for x, y in (("x", "y"), ("xcentroid", "ycentroid"), ("x_centroid", "y_centroid")):
            if x in names and y in names:
                radius = keep["radius"] if "radius" in names else np.full(len(keep), np.nan)
                return _finite(np.stack([numbers(c) for c in (keep[x], keep[y], radius)], axis=1))
        raise UsageError(f"keep has the columns {', '.join(names)}; it must have x and y")
    try:
        rows = [(*map(float, row), np.nan)[:3] for row in keep]
        made = np.array(rows, float).reshape(len(rows), 3)
    except (TypeError, ValueError) as error:
        raise UsageError("keep must be a table or a list of (x, y) or (x, y, radius)") from error
    return _finite(made)


def _finite(made: np.ndarray) -> np.ndarray:
    if not np.isfinite(made[:, :2]).all() or np.isinf(made[:, 2]).any():
        raise UsageError("keep holds places that are no numbers; give x and y in pixels")
    return made


def numbers(column: Any) -> np.ndarray:
    """A table's column as floats; its gaps are NaN."""
    try:
        made = np.array(column, float)
    except (TypeError, ValueError) as error:
        raise UsageError("keep holds text where numbers belong; give x and y in pixels") from error
    mask = getattr(column, "mask", None)
    if mask is not None:
        made[np.asarray(mask, bool)] = np.nan
    return made
