"""Find and measure what the network took away, one object at a time.

Needs the extra ``catalog`` (photutils, with scipy and scikit-image); imported when it
is first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nox_runtime.errors import UsageError

#: Light on the display scale from which on an object is one.
THRESHOLD = 0.01
#: Two peaks are two objects where the light between them falls below this share of
#: the fainter; 0.85 parts equal Gaussians 1.2 FWHM apart, and no noise.
_SADDLE = 0.85
#: Pixels around an object's last one above the threshold that still belong to it.
GROWTH = 24
INSTALL = "pip install 'astronox[catalog]'"


@dataclass(frozen=True)
class Objects:
    """What is in a window.

    Attributes
    ----------
    labels : ndarray of int32, shape (h, w)
        The number of the object that a pixel belongs to, from 1; 0 for none.
    x, y : ndarray of float, shape (n,)
        Centroids of the light, in pixels of the window; 0 is the first one's centre.
    peak_x, peak_y : ndarray of int, shape (n,)
        Brightest pixel on the display scale.
    fwhm : ndarray of float, shape (n,)
        Full width at half maximum of a Gaussian of the same second moments, in pixels.
    roundness : ndarray of float, shape (n,)
        Shortest over longest axis of the second moments, 0 to 1.
    flux, peak : ndarray of float, shape (n,)
        Sum and maximum of the light.
    """

    labels: np.ndarray
    x: np.ndarray
    y: np.ndarray
    peak_x: np.ndarray
    peak_y: np.ndarray
    fwhm: np.ndarray
    roundness: np.ndarray
    flux: np.ndarray
    peak: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def require(what: str) -> Any:
    """photutils' segmentation, or one line on how to get it.

    Raises
    ------
    UsageError
    """
    try:
        import skimage.segmentation  # noqa: F401
        from photutils import segmentation
    except ImportError as error:
        raise UsageError(f"{what} needs photutils; install it with {INSTALL}") from error
    return segmentation


def _label(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the objects in a window, and the (n, 2) places of their peaks."""
    from scipy import ndimage
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    above = level > THRESHOLD
    none = np.zeros(level.shape, np.int32)
    if not above.any():
        return none, np.zeros((0, 2), int)
    smooth = ndimage.gaussian_filter(np.where(above, level, 0).astype(np.float32), 0.7)
    # Peaks that stand out of their saddles; noise on a saturated core does not.
    hills = reconstruction(smooth * np.float32(_SADDLE), smooth)
    tops = local_maxima(hills) & above
    markers, count = ndimage.label(tops, np.ones((3, 3)))
    if not count:
        return none, np.zeros((0, 2), int)
    labels = watershed(-smooth, markers, mask=above).astype(np.int32)
    numbers = np.arange(1, count + 1)
    peaks = np.array(ndimage.maximum_position(smooth, labels, numbers), int).reshape(-1, 2)
    return labels, peaks


def find(level: np.ndarray, light: np.ndarray) -> Objects:
    """Find and measure the objects of a window.

    Parameters
    ----------
    level : ndarray, shape (h, w)
        Light taken on the display scale, the most of the channels.
    light : ndarray, shape (h, w)
        The same light in the picture's units, summed over the channels, at least 0.

    Returns
    -------
    Objects
    """
    segmentation = require("measuring stars")
    labels, peaks = _label(level)
    if not len(peaks):
        nothing = np.zeros(0)
        place = np.zeros(0, int)
        return Objects(labels, nothing, nothing, place, place, *[nothing] * 4)
    made = segmentation.SourceCatalog(
        np.asarray(light, float), segmentation.SegmentationImage(labels)
    )
    with np.errstate(all="ignore"):
        centroid = np.asarray(made.centroid).reshape(-1, 2)
        values = made.covariance_eigvals
        values = np.asarray(getattr(values, "value", values)).reshape(-1, 2)
        # SourceCatalog widens what is narrower than a pixel: 1/12 is a pixel's own.
        fwhm = np.sqrt(8 * np.log(2) * values.mean(axis=1))
        roundness = np.sqrt(np.clip(values[:, 1], 0, None) / values[:, 0])
        flux, peak = np.atleast_1d(made.segment_flux), np.atleast_1d(made.max_value)
    bad = ~np.isfinite(centroid).all(axis=1)
    centroid[bad] = peaks[bad][:, ::-1]
    return Objects(
        labels, centroid[:, 0], centroid[:, 1], peaks[:, 1], peaks[:, 0],
        np.nan_to_num(fwhm), np.nan_to_num(roundness, nan=1.0),
        np.asarray(flux, float), np.asarray(peak, float),
    )  # fmt: skip


def grown(labels: np.ndarray, touched: np.ndarray) -> np.ndarray:
    """Give each touched pixel near an object to the nearest one.

    Parameters
    ----------
    labels : ndarray of int, shape (h, w)
    touched : ndarray of bool, shape (h, w)

    Returns
    -------
    ndarray of int, shape (h, w)
        Labels; 0 where nothing was touched, or `GROWTH` pixels from any object.
    """
    from scipy import ndimage

    if not labels.any():
        return labels
    far, at = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    nearest = labels[tuple(at)]
    return np.where(touched & (far <= GROWTH), nearest, 0)
