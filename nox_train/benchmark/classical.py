"""Star removal without a network: detect, subtract the star's shape, fill what is left.

What astronomers did before networks: photutils finds the stars, an empirical point
spread function is stacked from isolated ones and subtracted, and cores that do not
vanish, saturated ones above all, are filled from their surroundings.
"""

from __future__ import annotations

import warnings

import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve_fft
from astropy.stats import mad_std
from astropy.table import Table
from photutils.background import Background2D, MedianBackground
from photutils.detection import DAOStarFinder
from scipy import ndimage

_HALF = 12


def detect(
    flat: np.ndarray, threshold: float, fwhm: float, *, narrow: bool = False
) -> Table | None:
    """Stars above a threshold, brightest first; None without any.

    `narrow` lets stars through that are hardly wider than a pixel, and cosmic rays.
    """
    options = {"sharpness_range": (0.15, 2.5)} if narrow else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # photutils warns when nothing is found
        found = DAOStarFinder(threshold, fwhm, **options)(flat)
    if found is None or not len(found):
        return None
    table = Table({"x": found["x_centroid"], "y": found["y_centroid"], "peak": found["peak"]})
    table.sort("peak", reverse=True)
    return table


def flattened(grey: np.ndarray, box: int = 32) -> np.ndarray:
    """Picture minus its slow background, so that nebulae are no sources."""
    side = min(box, *(s // 2 for s in grey.shape))
    slow = Background2D(grey, side, filter_size=3, bkg_estimator=MedianBackground())
    return np.asarray(grey - slow.background)


def star_width(flat: np.ndarray, sigma: float) -> float:
    """Median full width at half maximum of the brighter unsaturated stars, in pixels."""
    found = detect(flat, 15 * sigma, 2.5, narrow=True)
    if found is None:
        return 3.0
    top = float(np.max(found["peak"]))
    widths = []
    for row in found[found["peak"] < 0.8 * top][:100]:
        stamp = _stamp(flat, row["x"], row["y"], 8)
        if stamp is not None:
            widths.append(2 * np.sqrt((stamp >= stamp[8, 8] / 2).sum() / np.pi))
    return float(np.clip(np.median(widths), 1.2, 12.0)) if widths else 3.0


def _stamp(flat: np.ndarray, x: float, y: float, half: int) -> np.ndarray | None:
    column, row = round(float(x)), round(float(y))
    h, w = flat.shape
    if not (half <= row < h - half and half <= column < w - half):
        return None
    return flat[row - half : row + half + 1, column - half : column + half + 1]


def _shape(flat: np.ndarray, found: Table, sigma: float) -> np.ndarray | None:
    """Empirical point spread function: median of centred, scaled, middling stars."""
    peak = np.asarray(found["peak"])
    pool = found[(peak > 20 * sigma) & (peak < 0.7 * peak.max())][:80]
    stack = []
    for row in pool:
        stamp = _stamp(flat, row["x"], row["y"], _HALF)
        if stamp is None:
            continue
        shift = (round(float(row["y"])) - row["y"], round(float(row["x"])) - row["x"])
        centred = ndimage.shift(stamp, shift, order=3, mode="nearest")
        stack.append(centred / max(centred[_HALF, _HALF], 1e-9))
    if len(stack) < 5:
        return None
    shape = np.maximum(np.median(stack, axis=0), 0.0)
    yy, xx = np.mgrid[-_HALF : _HALF + 1, -_HALF : _HALF + 1]
    shape *= np.clip((_HALF - np.hypot(yy, xx)) / 3, 0, 1)
    return np.asarray(shape)


def _subtract(plane: np.ndarray, slow: np.ndarray, found: Table, shape: np.ndarray) -> np.ndarray:
    """Take each star's shape away, the brightest first, its height fitted in the core."""
    out = plane - slow
    h, w = out.shape
    core = np.hypot(*np.mgrid[-_HALF : _HALF + 1, -_HALF : _HALF + 1]) <= 3
    for row in found:
        column, line = round(float(row["x"])), round(float(row["y"]))
        y0, y1 = max(0, line - _HALF), min(h, line + _HALF + 1)
        x0, x1 = max(0, column - _HALF), min(w, column + _HALF + 1)
        if y0 >= y1 or x0 >= x1:
            continue
        moved = ndimage.shift(shape, (row["y"] - line, row["x"] - column), order=1)
        part = (
            slice(y0 - line + _HALF, y1 - line + _HALF),
            slice(x0 - column + _HALF, x1 - column + _HALF),
        )
        model, there, fit = moved[part], out[y0:y1, x0:x1], core[part]
        height = (model[fit] * there[fit]).sum() / max(np.square(model[fit]).sum(), 1e-12)
        out[y0:y1, x0:x1] = there - max(0.0, float(height)) * model
    return out + slow


def _filled(plane: np.ndarray, hole: np.ndarray, fwhm: float, sigma: float) -> np.ndarray:
    """Fill holes from around them, with grain like the rest."""
    if not hole.any():
        return plane
    out = np.where(hole, np.nan, plane)
    width = max(1.5, fwhm)
    while np.isnan(out).any():
        soft = convolve_fft(
            out, Gaussian2DKernel(width), boundary="wrap", allow_huge=True, min_wt=1e-3,
            preserve_nan=False, nan_treatment="interpolate",
        )  # fmt: skip
        out = np.where(np.isnan(out), soft, out)
        width *= 2
    grain = np.random.default_rng(1).normal(0, sigma, plane.shape)
    return np.where(hole, out + grain, plane)


def _grain(plane: np.ndarray) -> float:
    """Noise of a pixel, from what a Gaussian of 2 px does not hold."""
    return max(1.02 * float(mad_std(plane - ndimage.gaussian_filter(plane, 2.0))), 1e-4)


def _bright(flat: np.ndarray, sigma: float, fwhm: float) -> list[tuple[float, float, float]]:
    """Bright stars by their outline, (x, y, radius): flat tops escape star finders.

    Round, filled patches above several thresholds, no wider than six stars.
    """
    soft = ndimage.gaussian_filter(flat, 1.0)
    out = []
    for level in (100.0, 40.0, 20.0, 10.0):
        labels, _ = ndimage.label(soft > level * sigma)
        for i, part in enumerate(ndimage.find_objects(labels), start=1):
            mine = labels[part] == i
            h, w = mine.shape
            area = int(mine.sum())
            round_ = area > 0.6 * h * w and max(h, w) <= 1.6 * min(h, w)
            if round_ and 0.6 * fwhm**2 < area < np.pi * (3 * fwhm + 3) ** 2:
                y, x = ndimage.center_of_mass(mine)
                radius = 1.3 * np.sqrt(area / np.pi) + 0.4 * fwhm
                out.append((part[1].start + x, part[0].start + y, float(radius)))
    return out


def remove(picture: np.ndarray) -> np.ndarray:
    """Remove stars by detection, subtraction and filling.

    Parameters
    ----------
    picture : ndarray, shape (C, H, W), float32, values 0 to 1
        Display range.

    Returns
    -------
    ndarray, same shape and type
    """
    grey = picture.mean(axis=0).astype(np.float64)
    # Clouds that the background does not follow are noise to a star finder.
    sigma = float(np.hypot(_grain(grey), 0.3 * mad_std(flattened(grey))))
    fwhm = star_width(flattened(grey), sigma)
    box = max(32, round(10 * fwhm))
    flat = flattened(grey, box)
    found = detect(flat, 4 * sigma, fwhm, narrow=True)
    shape = None if found is None else _shape(flat, found, sigma)
    hole, around = np.zeros(grey.shape, bool), np.zeros(grey.shape, bool)
    for x, y, radius in _bright(flat, sigma, fwhm):
        _punch(hole, x, y, radius)
        _punch(around, x, y, 3 * radius)
    glow = around & (ndimage.gaussian_filter(flat, 1.5) > 3 * sigma)
    hole = ndimage.binary_propagation(hole, mask=hole | glow)
    near = hole.copy()
    for row in found if found is not None else ():
        brightness = np.log10(max(float(row["peak"]) / (4 * sigma), 1.0))
        _punch(near, float(row["x"]), float(row["y"]), fwhm * (1.0 + 0.45 * brightness))
    out = []
    for plane in picture.astype(np.float64):
        slow = plane - flattened(plane, box)
        grain = _grain(plane)
        made = plane
        if shape is not None and found is not None:
            made = _subtract(plane, slow, found, shape)
        # What subtraction leaves of a star, as light or as a ring, is filled like the rest.
        rough = np.abs(ndimage.gaussian_filter(made - slow, 0.7)) > 3 * grain
        gone = hole | (ndimage.binary_dilation(rough & near) & near)
        out.append(_filled(made, gone, fwhm, grain))
    return np.clip(np.stack(out), 0, 1).astype(picture.dtype)


def _punch(hole: np.ndarray, x: float, y: float, radius: float) -> None:
    h, w = hole.shape
    y0, y1 = max(0, int(y - radius)), min(h, int(y + radius) + 2)
    x0, x1 = max(0, int(x - radius)), min(w, int(x + radius) + 2)
    yy, xx = np.mgrid[y0:y1, x0:x1]
    hole[y0:y1, x0:x1] |= np.hypot(yy - y, xx - x) <= radius
