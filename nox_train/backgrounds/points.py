"""Find and mend point-like lights in photographs, which would teach that stars stay."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

#: Scales of the filter, standard deviations in pixels: stars of FWHM 2 to 6.
SCALES = (0.9, 1.6, 2.6)
#: A point stands out by this many times the local scatter of the filtered picture ...
THRESHOLD = 9.0
#: ... and by this much of the display range.
FAINTEST = 0.01
#: A crop with more points a megapixel than this is thrown away; fewer are mended.
MOST_A_MEGAPIXEL = 60.0
_BLOCK = 16


def find_points(picture: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Round bright spots, alone on smoother ground, as stars and bokeh sparkles are.

    A difference of Gaussians at three scales, against its own scatter
    in blocks of 16 or 32 px (so that grass and rock, rough everywhere, do not count).  Of
    the peaks those stay that are round (smaller over larger curvature at least 0.35)
    and alone: a ring of 3.5 scales round them reaches nowhere above 45 % of their
    height.

    Parameters
    ----------
    picture : ndarray, shape (3, h, w), values 0 to 1
    threshold : float
        Least height, in times the filter's local scatter.

    Returns
    -------
    ndarray, shape (n, 4)
        Row, column, scale in pixels, height over the filter's scatter.
    """
    grey = picture.mean(axis=0, dtype=np.float32)
    found: list[np.ndarray] = []
    for scale in SCALES:
        soft = ndimage.gaussian_filter(grey, scale, mode="reflect")
        bump = soft - ndimage.gaussian_filter(soft, 1.25 * scale, mode="reflect")
        scatter = _scatter(bump, _BLOCK if scale < 2 else 2 * _BLOCK)
        peak = bump == ndimage.maximum_filter(bump, 2 * int(np.ceil(scale)) + 1)
        bright = peak & (bump > threshold * scatter) & (bump > FAINTEST)
        rows, columns = np.nonzero(bright)
        if len(rows) == 0:
            continue
        good = _round(soft, rows, columns) & _alone(soft, rows, columns, 3.5 * scale)
        rows, columns = rows[good], columns[good]
        heights = bump[rows, columns] / scatter[rows, columns]
        found.append(np.stack([rows, columns, np.full(len(rows), scale), heights], axis=1))
    if not found:
        return np.zeros((0, 4))
    return _merged(np.concatenate(found))


def _scatter(bump: np.ndarray, side: int) -> np.ndarray:
    """Local scatter of the filtered picture, from blocks of this side; its shape."""
    h, w = bump.shape
    side = min(side, h, w)
    down, across = -(-h // side), -(-w // side)
    padded = np.pad(np.abs(bump), ((0, down * side - h), (0, across * side - w)), "symmetric")
    blocks = padded.reshape(down, side, across, side).swapaxes(1, 2).reshape(down, across, -1)
    # The 30th percentile, not the median: a wide star fills a third of a block.
    k = int(0.3 * side * side)
    values = np.partition(blocks, k, axis=2)[..., k] / 0.385
    # Rough ground reaches over a block's border: the roughest of the neighbours counts
    # half, the block's own scatter whole.
    level = np.maximum(values, 0.5 * ndimage.maximum_filter(values, 3)) + 5e-4
    return np.asarray(np.kron(level, np.ones((side, side), np.float32))[:h, :w])


def _round(soft: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Whether the curvature is much the same in every direction."""
    h, w = soft.shape

    def at(dy: int, dx: int) -> np.ndarray:
        return soft[np.clip(rows + dy, 0, h - 1), np.clip(columns + dx, 0, w - 1)]

    centre = 2 * at(0, 0)
    yy, xx = at(1, 0) + at(-1, 0) - centre, at(0, 1) + at(0, -1) - centre
    xy = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    half, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return (half + root < 0) & (half + root < 0.35 * (half - root))


def _alone(soft: np.ndarray, rows: np.ndarray, columns: np.ndarray, radius: float) -> np.ndarray:
    """Whether a ring round each peak stays well below it."""
    h, w = soft.shape
    turn = np.arange(16) * (2 * np.pi / 16)
    dy, dx = (
        np.round(radius * np.sin(turn)).astype(int),
        np.round(radius * np.cos(turn)).astype(int),
    )
    ring = soft[np.clip(rows[:, None] + dy, 0, h - 1), np.clip(columns[:, None] + dx, 0, w - 1)]
    ground = np.median(ring, axis=1)
    height = soft[rows, columns] - ground
    return (height > FAINTEST) & (ring.max(axis=1) - ground < 0.45 * height)


def _merged(points: np.ndarray) -> np.ndarray:
    """One entry a point: the highest over its scatter, of those within three pixels."""
    points = points[np.argsort(-points[:, 3])]
    kept: list[np.ndarray] = []
    for point in points[:2000]:
        near = [k for k in kept if np.hypot(*(k[:2] - point[:2])) < 1.5 + 1.5 * point[2]]
        if not near:
            kept.append(point)
        elif point[2] > near[0][2]:  # a wider spot is mended as wide as it is
            near[0][2] = point[2]
    return np.array(kept)


def too_many(points: np.ndarray, shape: tuple[int, ...], share: float = 1.0) -> bool:
    """Whether a picture of this shape holds more than a share of `MOST_A_MEGAPIXEL`."""
    return len(points) > share * MOST_A_MEGAPIXEL * shape[-1] * shape[-2] / 1e6


def mend(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill each point with what surrounds it, and with the grain of its ring.

    The filling is a normalised Gaussian mean of the pixels outside the disc.

    Parameters
    ----------
    picture : ndarray, shape (3, h, w)
    points : ndarray, shape (n, 4)
        From `find_points`.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (3, h, w), float32
        A copy.
    """
    out = np.array(picture, np.float32)
    h, w = out.shape[1:]
    for row, column, scale, _ in points:
        radius = 1.5 + 3.0 * scale
        reach = int(3 * radius) + 1
        y0, y1 = max(0, int(row) - reach), min(h, int(row) + reach + 1)
        x0, x1 = max(0, int(column) - reach), min(w, int(column) + reach + 1)
        part = out[:, y0:y1, x0:x1]
        yy, xx = np.mgrid[y0:y1, x0:x1]
        r = np.hypot(yy - row, xx - column)
        outside = (r > radius).astype(np.float32)
        weight = ndimage.gaussian_filter(outside, 0.7 * radius) + 1e-6
        sigma = (0, 0.7 * radius, 0.7 * radius)
        filled = ndimage.gaussian_filter(part * outside, sigma) / weight
        grain = (part - filled)[:, (r > radius) & (r < 2 * radius)].std(axis=1)[:, None, None]
        filled = filled + 0.6 * grain * rng.standard_normal(filled.shape[1:], np.float32)
        blend = np.clip((radius + 1 - r), 0, 1).astype(np.float32)
        part += blend * (filled - part)
    return np.clip(out, 0, 1)
