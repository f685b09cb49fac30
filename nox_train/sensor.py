"""What a camera does to light: noise, wells that fill up, defects, colour filters.

Light is linear, 1 is the full well.  All that a camera adds by itself (hot pixels,
cosmic rays, fixed pattern) belongs to the target as much as to the input: it is no
star.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

#: Side of the tiles of grain that noise is cut from.
_TILE = 1024
#: Colour filters of the usual sensors: the channel of each pixel of a cell.
BAYER_PATTERNS = {
    "RGGB": ((0, 1), (1, 2)),
    "BGGR": ((2, 1), (1, 0)),
    "GRBG": ((1, 0), (2, 1)),
    "GBRG": ((1, 2), (0, 1)),
}


@lru_cache(maxsize=12)
def _tile(tenths: int) -> np.ndarray:
    """Unit Gaussian noise, blurred by ``tenths / 10`` pixels, periodic."""
    grain = np.random.default_rng([16, tenths]).standard_normal((_TILE, _TILE), np.float32)
    if tenths:
        grain = ndimage.gaussian_filter(grain, tenths / 10, mode="wrap")
    return grain / grain.std()


def grain(
    shape: tuple[int, ...], rng: np.random.Generator, *, correlation: float = 0.0
) -> np.ndarray:
    """Gaussian noise of unit variance, cut at random from a large periodic tile.

    Ten times faster than drawing it, which is what most of a scene's time went to.
    Half a million places in a tile of a megapixel, eight ways to turn it and two
    signs make millions of different cuts.

    Parameters
    ----------
    shape : tuple of int
        (H, W) or (C, H, W).
    rng : numpy.random.Generator
    correlation : float
        Standard deviation in pixels of the blur in it, 0 to 3; a tenth of a pixel
        counts.  The variance stays 1.

    Returns
    -------
    ndarray of that shape, float32
    """
    tile = _tile(round(10 * correlation))
    h, w = shape[-2:]
    out = np.empty((int(np.prod(shape[:-2], dtype=int)), h, w), np.float32)
    for plane in out:
        turn = int(rng.integers(16))
        turned = tile.T if turn & 1 else tile
        turned = turned[:: -1 if turn & 2 else 1, :: -1 if turn & 4 else 1]
        if h <= _TILE and w <= _TILE:
            y, x = rng.integers(0, _TILE - h + 1), rng.integers(0, _TILE - w + 1)
            plane[:] = turned[y : y + h, x : x + w]
        else:  # the tile repeats
            y, x = rng.integers(0, _TILE, 2)
            rows, columns = (y + np.arange(h)) % _TILE, (x + np.arange(w)) % _TILE
            plane[:] = turned.take(rows, axis=0).take(columns, axis=1)
        if turn & 8:
            np.negative(plane, out=plane)
    return out.reshape(shape)


def noise(
    light: np.ndarray,
    read: float,
    gain: float,
    rng: np.random.Generator,
    *,
    correlation: float = 0.0,
    mono: bool = False,
) -> np.ndarray:
    """Read and shot noise of `light`, ``variance = read^2 + gain * light``.

    Parameters
    ----------
    light : ndarray, shape (C, H, W)
        Linear light, 1 = full well.
    read : float
        Standard deviation in the dark, in full wells.
    gain : float
        Full wells an electron; a stack of N frames has a gain N times smaller.
    rng : numpy.random.Generator
    correlation : float
        Standard deviation, in pixels, of the blur that demosaicing, drizzle or
        resampling left in the noise; its strength stays as asked for.
    mono : bool
        The same noise in every channel.

    Returns
    -------
    ndarray, shape (C, H, W), float32
    """
    drawn = grain(light.shape[1:] if mono else light.shape, rng, correlation=correlation)
    variance = np.maximum(light, np.float32(0)) * np.float32(gain)
    variance += np.float32(read * read)
    np.sqrt(variance, out=variance)
    variance *= drawn
    return variance.astype(np.float32, copy=False)


def shoulder(light: np.ndarray, knee: float) -> np.ndarray:
    """Soft saturation: straight up to `knee`, then bending towards 1.

    Photographic plates and anti-blooming gates do this; `knee` of 1 is a hard clip.
    """
    if knee >= 1:
        return np.minimum(light, light.dtype.type(1))
    over = np.maximum(light - knee, 0.0)
    room = 1.0 - knee
    return np.asarray(np.minimum(light, knee) + room * (over / (over + room)), light.dtype)


def bloomed(light: np.ndarray, *, down: bool = True) -> np.ndarray:
    """Spill what is above the full well along the columns, as CCDs without gates do.

    Charge is conserved: the surplus of each run of full pixels fills its neighbours
    above and below, half each, pixel after pixel (Janesick 2001, Scientific
    Charge-Coupled Devices, ch. 4).

    Parameters
    ----------
    light : ndarray, shape (C, H, W)
        Linear, 1 = full well.
    down : bool
        Along the columns; otherwise along the rows.

    Returns
    -------
    ndarray, same shape and type, at most 1 but for charge that found no room
    """
    out = (light if down else light.swapaxes(1, 2)).copy()
    for plane in out:
        for x in np.nonzero((plane > 1).any(axis=0))[0]:
            column = plane[:, x]
            full = column > 1
            edges = np.flatnonzero(np.diff(np.concatenate([[0], full.view(np.int8), [0]])))
            for first, stop in zip(edges[::2], edges[1::2], strict=True):
                surplus = float((column[first:stop] - 1).sum())
                column[first:stop] = 1
                _fill(column[:first][::-1], surplus / 2)
                _fill(column[stop:], surplus / 2)
    return out if down else out.swapaxes(1, 2)


def _fill(pixels: np.ndarray, charge: float) -> None:
    """Fill the pixels up to 1, in order, until the charge is used up; in place."""
    room = np.maximum(1.0 - pixels, 0.0)
    before = np.concatenate([[0.0], np.cumsum(room)[:-1]])
    pixels += np.clip(charge - before, 0.0, room).astype(pixels.dtype)


def fixed_pattern(
    shape: tuple[int, int, int], rng: np.random.Generator, *, response: float, banding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of unequal response, and rows and columns of unequal offset.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W).
    rng : numpy.random.Generator
    response : float
        Standard deviation of the response; 0.003 to 0.01 before flat-fielding.
    banding : float
        Standard deviation of each row's and column's offset, in full wells.

    Returns
    -------
    factor, offset : ndarray
        Of `shape`: to multiply the light by, and to add.
    """
    factor = 1 + np.float32(response) * grain(shape, rng)
    rows = rng.standard_normal((shape[0], shape[1], 1)) * banding
    columns = rng.standard_normal((shape[0], 1, shape[2])) * banding
    return factor, (rows + columns).astype(np.float32)


def hot_pixels(shape: tuple[int, int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """Single pixels of single channels with dark current of 0.02 to 1 full wells."""
    out = np.zeros(shape, np.float32)
    c, y, x = (rng.integers(0, n, count) for n in shape)
    out[c, y, x] = rng.uniform(0.02, 1.0, count)
    return out


def cosmic_rays(
    shape: tuple[int, int, int], count: int, rng: np.random.Generator, *, length: float = 6.0
) -> np.ndarray:
    """Tracks of charged particles: straight, one pixel wide, as sharp as the grid.

    Lengths fall off exponentially with the mean `length`, in pixels; charge a pixel
    is 0.05 to 1.5 full wells.  All channels of a colour sensor's pixel see different
    filters, so that a track lies in one channel alone.
    """
    out = np.zeros(shape, np.float32)
    for _ in range(count):
        reach, angle = 1 + rng.exponential(length), rng.uniform(0, np.pi)
        y0, x0 = rng.uniform(0, shape[1]), rng.uniform(0, shape[2])
        t = np.arange(0, reach, 0.5)
        y = (y0 + t * np.sin(angle)).astype(int)
        x = (x0 + t * np.cos(angle)).astype(int)
        inside = (y >= 0) & (y < shape[1]) & (x >= 0) & (x < shape[2])
        out[int(rng.integers(shape[0])), y[inside], x[inside]] = rng.uniform(0.05, 1.5)
    return out


def satellite(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A straight trail through the whole of one frame, 2 px wide, 0.05 to 0.5 full wells."""
    angle, across = rng.uniform(0, np.pi), rng.uniform(-0.4, 0.4) * shape[1]
    y, x = np.indices(shape[1:]) - np.array(shape[1:])[:, None, None] / 2
    distance = x * np.sin(angle) - y * np.cos(angle) - across
    profile = rng.uniform(0.05, 0.5) * np.exp(-0.5 * (distance / 0.85) ** 2)
    return np.broadcast_to(profile.astype(np.float32), shape)


def _colour_masks(pattern: str, h: int, w: int) -> np.ndarray:
    cell = np.array(BAYER_PATTERNS[pattern])
    channel = np.tile(cell, (h // 2 + 1, w // 2 + 1))[:h, :w]
    return np.stack([channel == c for c in range(3)]).astype(np.float32)


def mosaiced(light: np.ndarray, pattern: str = "RGGB") -> np.ndarray:
    """What a sensor behind a Bayer filter sees: (3, H, W) to (H, W)."""
    masks = _colour_masks(pattern, *light.shape[1:])
    return np.asarray((light * masks).sum(axis=0), np.float32)


def demosaiced(raw: np.ndarray, pattern: str = "RGGB") -> np.ndarray:
    """Colour picture from a Bayer mosaic by bilinear interpolation.

    The plain method leaves the correlated noise, and the coloured fringes at stars,
    that better ones leave in part.

    Parameters
    ----------
    raw : ndarray, shape (H, W)
    pattern : {'RGGB', 'BGGR', 'GRBG', 'GBRG'}

    Returns
    -------
    ndarray, shape (3, H, W), float32
    """
    masks = _colour_masks(pattern, *raw.shape)
    out = np.empty((3, *raw.shape), np.float32)
    side = np.array([1, 2, 1], np.float32) / 2
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
    for c in range(3):
        known = raw * masks[c]
        if c == 1:
            out[c] = ndimage.correlate(known, cross, mode="mirror")
        else:
            rows = ndimage.correlate1d(known, side, axis=0, mode="mirror")
            out[c] = ndimage.correlate1d(rows, side, axis=1, mode="mirror")
    return out


def stacked(frames: np.ndarray, kappa: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean of frames after one round of kappa-sigma rejection about the median.

    Parameters
    ----------
    frames : ndarray, shape (N, ...)
    kappa : float
        Deviations from the median, in robust standard deviations of the N values,
        that are still let in.

    Returns
    -------
    mean : ndarray, shape (...)
    kept : ndarray of bool, shape (N, ...)
        At least half of the frames at every place.
    """
    middle = np.median(frames, axis=0)
    deviation = np.abs(frames - middle)
    sigma = 1.4826 * np.median(deviation, axis=0)
    kept = deviation <= kappa * sigma
    return (frames * kept).sum(axis=0) / kept.sum(axis=0), kept
