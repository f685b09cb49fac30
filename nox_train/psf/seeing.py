"""The air: Moffat's profile and Kolmogorov's long exposure."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft, special

from nox_train.psf.grids import bin_pixels, frequencies, normalised, offsets

#: Full width at half maximum of Kolmogorov's profile, in units of lambda / r0.
KOLMOGOROV_WIDTH = 0.9759


def moffat_samples(
    x: np.ndarray,
    y: np.ndarray,
    step: float,
    fwhm: float,
    beta: float,
    ellipticity: float = 0.0,
    angle: float = 0.0,
) -> np.ndarray:
    """Moffat profile averaged over squares of side `step` round a grid of points.

    Parameters
    ----------
    x, y : ndarray, shapes (w,) and (h,)
        Offsets from the centre along both axes, in pixels, in any order.
    step : float
        Side of the squares, in pixels.
    fwhm, beta, ellipticity, angle
        As for `moffat`.

    Returns
    -------
    ndarray, shape (h, w), float64
        1 at the centre before averaging.
    """
    c, s = np.cos(angle), np.sin(angle)
    stretch = np.sqrt(1.0 - ellipticity)
    alpha2 = (fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))) ** 2

    def at(px: np.ndarray, py: np.ndarray) -> np.ndarray:
        u = (c * px[None, :] + s * py[:, None]) * stretch
        v = (-s * px[None, :] + c * py[:, None]) / stretch
        return np.asarray((1.0 + (u * u + v * v) / alpha2) ** -beta)

    out = at(x, y)
    # Gauss-Legendre points within each square: many near the core, two along an
    # axis further out, where the profile is all but a parabola over a square.
    long_axis = fwhm / stretch
    narrow = fwhm * stretch
    core = int(np.clip(np.ceil(6 * step / narrow) + 1, 2, 16))
    for reach, points in ((max(32.0, 5 * long_axis), 2), (max(5.0, 4 * long_axis), core)):
        ix, iy = np.nonzero(np.abs(x) < reach)[0], np.nonzero(np.abs(y) < reach)[0]
        if not len(ix) or not len(iy):
            continue
        nodes, weights = np.polynomial.legendre.leggauss(points)
        fine = at(
            (x[ix][:, None] + nodes * step / 2).ravel(), (y[iy][:, None] + nodes * step / 2).ravel()
        ).reshape(len(iy), points, len(ix), points)
        out[np.ix_(iy, ix)] = np.einsum("iajb,a,b->ij", fine, weights / 2, weights / 2)
    return out


def moffat(
    size: int,
    fwhm: float,
    beta: float = 3.5,
    *,
    ellipticity: float = 0.0,
    angle: float = 0.0,
    oversample: int = 1,
    dx: float = 0.0,
    dy: float = 0.0,
) -> np.ndarray:
    """Moffat profile integrated over square pixels.

    ``I(r) ~ (1 + (r / alpha)^2)^-beta`` with
    ``alpha = FWHM / (2 sqrt(2^(1/beta) - 1))`` (Moffat 1969, A&A 3, 455).

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    fwhm : float
        Geometric mean of the full widths at half maximum along both axes,
        before pixel integration, in pixels.
    beta : float
        Wing exponent; 2.5 to 4.765 for seeing, larger is closer to a Gaussian.
    ellipticity : float
        ``1 - b / a``, 0 to 0.9.
    angle : float
        Direction of the long axis, counted from +x towards +y.
    oversample : int
        Sub-pixels along an axis that are integrated one by one and summed; 1 is
        enough, as the integration within a pixel is by Gauss-Legendre points.
    dx, dy : float
        Offset of the star from the centre of the middle pixel, in pixels.

    Returns
    -------
    ndarray, shape (size, size), float64
        Sums to 1.
    """
    if not fwhm > 0:
        raise ValueError(f"fwhm is {fwhm!r}; it must be greater than 0 pixels")
    xs = offsets(size, oversample)
    made = moffat_samples(xs - dx, xs - dy, 1 / oversample, fwhm, beta, ellipticity, angle)
    return normalised(bin_pixels(made, oversample))


def kolmogorov_otf(
    frequency: np.ndarray, fwhm: float, outer_scale: float | None = None
) -> np.ndarray:
    """Optical transfer function of a long exposure through turbulent air.

    ``exp(-D(lambda f) / 2)``; Kolmogorov's structure function of the phase,
    ``D(r) = 6.88 (r / r0)^(5/3)``, makes it ``exp(-3.44 (lambda f / r0)^(5/3))``
    (Fried 1966, JOSA 56, 1372).  With an outer scale L0 it is von Karman's,
    ``D(r) = C (L0 / r0)^(5/3) [Gamma(5/6) / 2^(1/6) - u^(5/6) K_(5/6)(u)]``,
    ``u = 2 pi r / L0``, ``C = 2^(1/6) Gamma(11/6) / pi^(8/3) (24/5 Gamma(6/5))^(5/6)``
    (Tokovinin 2002, PASP 114, 1156).

    Parameters
    ----------
    frequency : ndarray
        Cycles a pixel.
    fwhm : float
        Width without an outer scale, ``0.976 lambda / r0``, in pixels.
    outer_scale : float, optional
        L0 over r0 (metres over centimetres: 50 to 500); it narrows the core.

    Returns
    -------
    ndarray, values 0 to 1
    """
    r = frequency * (fwhm / KOLMOGOROV_WIDTH)  # lambda f / r0
    if not outer_scale:
        return np.asarray(np.exp(-3.44 * r ** (5 / 3)))
    table_r, table = _von_karman(float(outer_scale))
    return np.asarray(np.exp(-0.5 * np.interp(r, table_r, table)))


@lru_cache(maxsize=4)
def _von_karman(outer_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Structure function at distances in r0; beyond the last the OTF is what it is there."""
    r = np.concatenate([[0.0], np.geomspace(1e-4, 30.0, 4000)])
    u = 2 * np.pi * r[1:] / outer_scale
    a, b = 5 / 6, 2 ** (1 / 6)
    c = b * special.gamma(11 / 6) / np.pi ** (8 / 3) * (4.8 * special.gamma(1.2)) ** a
    d = c * outer_scale ** (5 / 3) * (special.gamma(a) / b - u**a * special.kv(a, u))
    return r, np.concatenate([[0.0], np.maximum(d, 0.0)])


def kolmogorov(
    size: int, fwhm: float, *, outer_scale: float | None = None, oversample: int | None = None
) -> np.ndarray:
    """Kolmogorov's (or von Karman's) long-exposure seeing, integrated over square pixels.

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    fwhm : float
        ``0.976 lambda / r0`` in pixels, before pixel integration.
    outer_scale : float, optional
        As for `kolmogorov_otf`.
    oversample : int, optional
        Sub-pixels along an axis; by default as many as the width asks for.

    Returns
    -------
    ndarray, shape (size, size), float64
        Sums to 1.
    """
    if not fwhm > 0:
        raise ValueError(f"fwhm is {fwhm!r}; it must be greater than 0 pixels")
    if oversample is None:
        oversample = int(np.clip(np.ceil(4 / fwhm), 2, 8))
    n = size * oversample
    fx, fy = frequencies(n, oversample)
    # Sub-pixel boxes here, whole pixels by summing them below.
    spectrum = kolmogorov_otf(np.hypot(fx, fy), fwhm, outer_scale)
    spectrum = spectrum * np.sinc(fx / oversample) * np.sinc(fy / oversample)
    shift = size // 2 + (oversample - 1) / (2 * oversample)
    spectrum = spectrum * np.exp(-2j * np.pi * shift * (fx + fy))
    made = fft.irfft2(spectrum, s=(n, n))
    return normalised(bin_pixels(np.maximum(made, 0.0), oversample))
