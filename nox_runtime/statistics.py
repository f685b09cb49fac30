"""Robust statistics of a picture, gathered while its rows go by."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

#: 1 / Phi^-1(3/4): turns a median absolute deviation into a standard deviation.
MAD_TO_SIGMA = 1.482602218505602
#: Values this many standard deviations below the median are no light.
_SENTINEL_SIGMA = 1e4
#: Medians come from at most about this many pixels a channel, on a regular grid: their
#: error is then below a thousandth of the noise.
SAMPLE = 4_000_000
#: The grain comes from at most about so many triples of neighbours a channel ...
TRIPLES = 60_000
#: ... two pixels apart: next to each other, grain is alike where a picture was demosaiced,
#: aligned or enlarged.
_APART = 2


@dataclass(frozen=True)
class Statistics:
    """What the stretch needs to know of a picture, one value a channel.

    Attributes
    ----------
    median, sigma : tuple of float
        Median, and 1.4826 times the median absolute deviation from it.
    low, high : float
        Smallest and largest finite value of the whole picture, numbers that can only
        stand for "no value" left out.
    black, white : float
        The nominal range: that of the integer type, 0 to 1 for floats inside it,
        else what the values span.
    dtype : str
        Type of the picture's values.
    triples : ndarray, shape (C, n, m, 3)
        Pixels and those two before and after them in their rows, for `grain`.
    """

    median: tuple[float, ...]
    sigma: tuple[float, ...]
    low: float
    high: float
    black: float
    white: float
    dtype: str
    triples: np.ndarray = field(compare=False, repr=False)


def nominal_range(dtype: np.dtype, low: float, high: float) -> tuple[float, float]:
    """Black and white of a picture of this type whose values span `low` to `high`.

    Floats that hardly leave 0..1 are taken for 0..1, as Siril and PixInsight write;
    other floats and signed integers span from 0, or from their lowest value when
    that is negative, to their highest.
    """
    if dtype.kind == "u":
        return 0.0, float(np.iinfo(dtype).max)
    if dtype.kind == "f" and low > -0.5 and 0.01 < high <= 1.5:
        return 0.0, 1.0
    black = min(low, 0.0)
    white = high if high > black else black + max(1.0, abs(black) * 1e-6)
    return float(black), float(white)


class Gatherer:
    """Gathers statistics from rows: extremes of all pixels, medians of a grid of them.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of the picture.
    dtype : numpy.dtype
    limit : int
        Pixels of the grid a channel, about.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype, limit: int = SAMPLE) -> None:
        self.step = grid_step(shape[1], shape[2], limit)
        self._every = grid_step(shape[1], shape[2], TRIPLES)
        self.dtype = np.dtype(dtype)
        self._parts: list[np.ndarray] = []
        self._triples: list[np.ndarray] = []
        self._low, self._high = np.inf, -np.inf

    def add(self, start: int, rows: np.ndarray) -> None:
        """Take the rows (C, n, W) from row `start` on; each row once."""
        first = -start % self.step
        self._parts.append(np.array(rows[:, first :: self.step, :: self.step]))
        self._triples.append(neighbours(rows[:, -start % self._every :: self._every], self._every))
        low, high = rows.min(), rows.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            sound = rows[np.isfinite(rows)]
            if not sound.size:
                return
            low, high = sound.min(), sound.max()
        self._low, self._high = min(self._low, float(low)), max(self._high, float(high))

    def statistics(self) -> Statistics:
        """What has been gathered."""
        sample = np.concatenate(self._parts, axis=1)
        triples = np.concatenate(self._triples, axis=1)
        return summed_up(sample, triples, self._low, self._high, self.dtype)


def grid_step(height: int, width: int, limit: int = SAMPLE) -> int:
    """Every how many rows and columns a picture of this size is sampled."""
    return max(1, int(np.ceil(np.sqrt(height * width / limit))))


def neighbours(rows: np.ndarray, every: int) -> np.ndarray:
    """Pixels in rows (C, n, W), every so many columns, and their neighbours: (C, n, m, 3)."""
    count = len(range(0, rows.shape[2] - 2 * _APART, every))
    triple = (rows[:, :, k * _APART :: every][:, :, :count] for k in range(3))
    return np.stack(list(triple), axis=-1)


def summed_up(
    sample: np.ndarray, triples: np.ndarray, low: float, high: float, dtype: np.dtype
) -> Statistics:
    """Statistics from a sample (C, n, m), `neighbours`, and the extremes of all finite pixels."""
    if _mostly_empty(sample, np.dtype(dtype)):
        sample, triples = _without_zeros(sample), _without_zeros(triples)
    with ThreadPoolExecutor(len(sample)) as pool:  # numpy lets the others run meanwhile
        median, sigma = zip(*pool.map(_middle_and_spread, sample), strict=True)
    low, high = (low, high) if low <= high else (0.0, 0.0)
    # Numbers that stand for "no value" (-1e30, say) must not become the black point;
    # pixels below black are never changed.
    sound = min(
        m - _SENTINEL_SIGMA * max(s, 1e-6 * abs(m)) for m, s in zip(median, sigma, strict=True)
    )
    low = max(low, sound, -1e200)
    high = min(high, 1e200)
    black, white = nominal_range(np.dtype(dtype), low, high)
    return Statistics(median, sigma, low, high, black, white, np.dtype(dtype).name, triples)


def _mostly_empty(sample: np.ndarray, dtype: np.dtype) -> bool:
    """Whether more than half of a picture, (C, n, m), is 0 in all channels: a mosaic's canvas.

    Black skies of finished 8-bit pictures are that, too, and are taken as they are.
    """
    if dtype == np.uint8 or not sample.size:
        return False
    empty = (sample == 0).all(axis=0)
    return bool(0.5 < empty.mean() < 1.0)


def _without_zeros(values: np.ndarray) -> np.ndarray:
    """NaN, which has no part in statistics, where all channels of (C, ...) are 0."""
    empty = (values == 0).all(axis=0)
    return np.where(empty, np.float64(np.nan), values)


def grain(triples: np.ndarray) -> tuple[float, ...]:
    """Standard deviation of noise of which rows are as uneven as these, in the median.

    Parameters
    ----------
    triples : ndarray, shape (C, n, m, 3)
        See `Statistics`; of the picture, or as it is shown.

    Returns
    -------
    tuple of float
        One a channel; 0 where more than half of the pixels do not deviate.
    """
    found = []
    for of_channel in triples:
        with np.errstate(invalid="ignore", over="ignore"):
            before, here, after = (of_channel[..., k].astype(np.float64) for k in range(3))
            bent = np.abs(before - 2 * here + after).ravel()
        bent = bent[np.isfinite(bent)]
        found.append(float(MAD_TO_SIGMA / np.sqrt(6) * _median(bent)) if bent.size else 0.0)
    return tuple(found)


def _middle_and_spread(channel: np.ndarray) -> tuple[float, float]:
    """Median and sigma of a channel's finite values."""
    values = channel.ravel()
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 0.0
    middle = _median(values)
    away = values.astype(np.float64)
    away -= middle
    return middle, MAD_TO_SIGMA * _median(np.abs(away, out=away))


def _median(values: np.ndarray) -> float:
    """`numpy.median` without NaN, in the values' own type, which is faster."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    parted = np.partition(values, high)
    upper = float(parted[high])
    # Of the lower half the largest is next to the middle.
    return upper if low == high else (float(parted[:high].max()) + upper) / 2


def statistics(sample: np.ndarray, dtype: np.dtype | None = None) -> Statistics:
    """Robust statistics of a picture.

    Parameters
    ----------
    sample : ndarray, shape (C, n) or (C, H, W)
        NaN and infinities are left out.
    dtype : numpy.dtype, optional
        Type of the picture, where the sample has been converted.

    Returns
    -------
    Statistics
    """
    planes = sample[:, None] if sample.ndim == 2 else sample
    shape = (planes.shape[0], planes.shape[1], planes.shape[2])
    return gathered(lambda y0, y1: planes[:, y0:y1], shape, np.dtype(dtype or sample.dtype))


def gathered(
    rows: Callable[[int, int], np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    done: Callable[[int], None] = lambda row: None,
) -> Statistics:
    """Robust statistics of a picture that is read in rows.

    Parameters
    ----------
    rows : callable
        Gives rows y0..y1, (C, y1 - y0, W).
    shape : tuple of int
        Channels, height, width.
    dtype : numpy.dtype
    done : callable
        Is told after each band the row before which all has been read.
    """
    gatherer = Gatherer(shape, dtype)
    band = max(16, 2**22 // (shape[0] * shape[2]))
    for y in range(0, shape[1], band):
        stop = min(y + band, shape[1])
        gatherer.add(y, rows(y, stop))
        done(stop)
    return gatherer.statistics()
