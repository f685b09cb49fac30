"""Random fields with the power spectra of interstellar clouds."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage


def fractal(size: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field with the power spectrum ``k^-slope``, scaled to 0..1.

    Slopes of 2.5 to 3.7 are those of interstellar clouds (Elmegreen & Scalo 2004,
    ARA&A 42, 211).  Periodic at its edges.

    Parameters
    ----------
    size : int
        Side in pixels.
    slope : float
        Of the power spectrum; without a unit.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (size, size), float64, values 0 to 1
        The half percent at each end is clipped.
    """
    kx, ky = fft.rfftfreq(size)[None, :], fft.fftfreq(size)[:, None]
    k = np.hypot(kx, ky)
    k[0, 0] = 1.0
    spectrum = fft.rfft2(rng.standard_normal((size, size))) * k ** (-slope / 2)
    spectrum[0, 0] = 0.0
    field = fft.irfft2(spectrum, s=(size, size))
    low, high = np.percentile(field, [0.5, 99.5])
    return np.clip((field - low) / (high - low), 0, 1)


def gaussian_field(
    size: int, slope: float, rng: np.random.Generator, stretch: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Gaussian random field of mean 0 and variance 1 with the power spectrum ``k^-slope``.

    Unlike `fractal` it is not periodic (cut from a larger one) and not clipped, and
    thus the exponent of a log-normal density, the form that turbulence gives to gas
    (Vazquez-Semadeni 1994, ApJ 423, 681).

    Parameters
    ----------
    size : int
        Side in pixels.
    slope : float
        Of the power spectrum.
    rng : numpy.random.Generator
    stretch : tuple of float
        Lengths along y and x are this many times larger: streaks.

    Returns
    -------
    ndarray, shape (size, size), float32
    """
    side = fft.next_fast_len(size + max(8, size // 4), real=True)
    kx = fft.rfftfreq(side)[None, :].astype(np.float32) * np.float32(stretch[1])
    ky = fft.fftfreq(side)[:, None].astype(np.float32) * np.float32(stretch[0])
    k2 = kx * kx + ky * ky
    k2[0, 0] = 1.0
    spectrum = fft.rfft2(rng.standard_normal((side, side), np.float32))
    spectrum *= k2 ** np.float32(-slope / 4)
    spectrum[0, 0] = 0.0
    field = fft.irfft2(spectrum, s=(side, side))[:size, :size]
    field = field - field.mean()
    return (field / max(float(field.std()), 1e-12)).astype(np.float32)


def warped(
    field: np.ndarray, strength: float, rng: np.random.Generator, slope: float = 3.8
) -> np.ndarray:
    """Move the field's points by a second random field: turbulence's folds.

    Parameters
    ----------
    field : ndarray, shape (size, size)
    strength : float
        Standard deviation of the shift, as a share of the side.
    rng : numpy.random.Generator
    slope : float
        Of the shifts' power spectrum; above 4 the folds are smooth.

    Returns
    -------
    ndarray, shape (size, size), of the field's type
    """
    size = field.shape[0]
    yy, xx = np.mgrid[:size, :size].astype(np.float32)
    where = [
        axis + np.float32(strength * size) * gaussian_field(size, slope, rng) for axis in (yy, xx)
    ]
    return np.asarray(ndimage.map_coordinates(field, where, order=1, mode="reflect"))
