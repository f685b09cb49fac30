"""Diffraction at the telescope's aperture, in light of one wavelength and of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import fft, sparse

from nox_train.psf.grids import bin_pixels, middle, normalised
from nox_train.psf.pupils import APERTURES
from nox_train.psf.zernike import wavefront


def _pattern(amplitude: np.ndarray, waves: np.ndarray | None, n: int, shift: float) -> np.ndarray:
    """``|FFT(A exp(2 pi i W))|^2`` on n x n samples, its centre `shift` after ``n // 2``.

    The shift is a tilt of the wavefront, which is exact for any part of a sample.
    """
    light = amplitude.astype(np.complex64)
    m = len(amplitude)
    if waves is not None:
        phase = (2 * np.pi * waves).astype(np.float32)
        light *= np.cos(phase) + 1j * np.sin(phase)
    if shift:
        tilt = np.exp(2j * np.pi * shift * (np.arange(m) - m // 2) / n).astype(np.complex64)
        light *= tilt[None, :] * tilt[:, None]
    # Zeros at the end in place of all round, and no ifftshift: that changes the
    # phase of the spectrum only, which |.|^2 drops.
    field = fft.fftshift(fft.fft2(light, (n, n)))
    return np.asarray(field.real**2 + field.imag**2)


def _room(n: int, diameter: float) -> int:
    """Side of the grid that holds a pupil: not the whole of the transform's."""
    return min(n, 2 * int(np.ceil(diameter / 2 + 2)))


def _check(lambda_over_d: float, oversample: int) -> None:
    if not lambda_over_d * oversample >= 1:
        raise ValueError(
            f"lambda_over_d is {lambda_over_d:.3g} px; at oversample "
            f"{oversample} it must be at least {1 / oversample:.3g} px"
        )


def _waves(m: int, diameter: float, aberrations: Mapping[str, float] | None) -> np.ndarray | None:
    """Wavefront error on the grid of a pupil."""
    if not aberrations or not any(aberrations.values()):
        return None
    xs = (np.arange(m) - m // 2) / (diameter / 2)
    return wavefront(aberrations, xs[None, :], xs[:, None])


def diffraction(
    size: int,
    lambda_over_d: float,
    *,
    wavelengths: Sequence[float] = (1.0,),
    weights: Sequence[float] | None = None,
    oversample: int = 2,
    aberrations: Mapping[str, float] | None = None,
    aperture: str = "round",
    **shape: Any,
) -> np.ndarray:
    """Diffraction pattern of a telescope's pupil (Fraunhofer), pixel-integrated.

    The intensity is ``|FFT(A exp(2 pi i W))|^2`` with the pupil's amplitude A and
    the wavefront error W in waves (Goodman, Introduction to Fourier Optics, ch. 6).
    Each wavelength has its own transform; `bands` is faster for many.

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    lambda_over_d : float
        Wavelength over aperture diameter at the middle wavelength, in pixels;
        at least ``1 / oversample``.
    wavelengths : sequence of float
        Relative to the middle one.
    weights : sequence of float, optional
        Light of each wavelength (passband times spectrum); all alike by default.
    oversample : int
        Sub-pixels along an axis; the pattern is exact from ``2 / lambda_over_d`` on.
    aberrations : mapping of str to float, optional
        Root-mean-square wavefront error by Zernike term, in waves of the middle
        wavelength; names as in `nox_train.psf.ZERNIKE`, or ``"Z14"``.
    aperture : {"round", "hexagons", "bahtinov"}
        A function of `nox_train.psf.pupils`.
    **shape
        Passed to it.

    Returns
    -------
    ndarray, shape (size, size), float64
        Sums to 1.
    """
    n = size * oversample
    total = np.zeros((n, n))
    shift = middle(size, oversample) - n // 2
    for w, weight in zip(wavelengths, weights or [1.0] * len(wavelengths), strict=True):
        _check(lambda_over_d * w, oversample)
        diameter = n / (lambda_over_d * w * oversample)
        room = _room(n, diameter)
        amplitude = APERTURES[aperture](room, diameter, **shape)
        waves = _waves(room, diameter, aberrations)
        pattern = _pattern(amplitude, None if waves is None else waves / w, n, shift)
        total += weight * normalised(pattern)
    # The pattern's frequencies end at D / lambda, so that the samples are all of it
    # and the box of a sub-pixel is exact; sums of sub-pixels make the whole pixel.
    box = np.sinc(fft.fftfreq(n))
    total = fft.irfft2(fft.rfft2(total) * box[:, None] * box[: n // 2 + 1], s=(n, n))
    return normalised(bin_pixels(np.maximum(total, 0.0), oversample))


def zoom_matrix(n: int, centre: float, factor: float) -> sparse.csr_array:
    """Cubic (Catmull-Rom) interpolation that spreads n samples by `factor` about `centre`.

    Applied along both axes it keeps the light of a pattern: rows carry 1 / `factor`.
    """
    source = (np.arange(n) - centre) / factor + centre
    base = np.floor(source).astype(np.int64)
    t = source - base
    weights = 0.5 * np.stack(
        [
            t * (-1 + t * (2 - t)),
            2 + t * t * (3 * t - 5),
            t * (1 + t * (4 - 3 * t)),
            t * t * (t - 1),
        ]
    )
    column = np.stack([base + k for k in (-1, 0, 1, 2)])
    row = np.broadcast_to(np.arange(n), column.shape)
    keep = (column >= 0) & (column < n)
    values = (weights / factor).astype(np.float32)[keep]
    return sparse.csr_array((values, (row[keep], column[keep])), shape=(n, n))


def _zoomed(pattern: np.ndarray, centre: float, factor: float) -> np.ndarray:
    if abs(factor - 1) < 1e-9:
        return pattern
    matrix = zoom_matrix(len(pattern), centre, factor)
    made = _transposed(matrix @ _transposed(matrix @ pattern))
    return np.maximum(made, 0.0, out=made)


def _transposed(image: np.ndarray) -> np.ndarray:
    """Contiguous transpose; rows of 2^k samples all fall on the same lines of the cache."""
    n = len(image)
    padded = np.empty((n, n + 16), image.dtype)
    padded[:, :n] = image
    return np.ascontiguousarray(padded[:, :n].T)


def smeared(pattern: np.ndarray, centre: float, start: float, end: float) -> np.ndarray:
    """Mean of a pattern spread by all factors from `start` to `end` evenly in their logarithm.

    Doubles a set of factors in geometric steps: five interpolations do for 16
    wavelengths.

    Parameters
    ----------
    pattern : ndarray, shape (n, n), float32
        Of the shortest wavelength.
    centre : float
        Index of the optical axis along both axes.
    start, end : float
        Factors, at least 1.
    """
    doublings = int(np.clip(np.ceil(np.log2(max(np.log(end / start) / 0.012, 1.0))), 0, 6))
    step = (end / start) ** (1 / 2**doublings)
    made = _zoomed(pattern, centre, start * np.sqrt(step))
    for k in range(doublings):
        made = 0.5 * (made + _zoomed(made, centre, step ** (2**k)))
    return made


def bands(
    size: int,
    lambda_over_d: float,
    passbands: Sequence[tuple[float, float]],
    *,
    aberrations: Sequence[Mapping[str, float]] | None = None,
    oversample: int = 2,
    aperture: str = "round",
    **shape: Any,
) -> list[np.ndarray]:
    """Diffraction patterns in several broad passbands, on the grid of sub-pixels.

    A pattern keeps its shape and grows with the wavelength, so each band is one
    transform at its own phase errors (all bands one, where there are none) spread
    over its wavelengths: spikes grow to rainbows and beads blur outwards, as they
    do behind a filter.  `diffraction` with as many wavelengths gives the same.

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    lambda_over_d : float
        At the wavelength that counts as 1, in pixels.
    passbands : sequence of (float, float)
        Shortest and longest wavelength of each band, relative.
    aberrations : sequence of mapping, optional
        For each band, in waves of the wavelength that counts as 1.
    oversample, aperture, **shape
        As for `diffraction`.

    Returns
    -------
    list of ndarray, shape (size * oversample, size * oversample), float32
        Samples, not integrated over sub-pixels (whatever they are convolved with
        has to be); each sums to 1, its centre lies at ``middle(size, oversample)``.
    """
    n = size * oversample
    shortest = min(low for low, _ in passbands)
    _check(lambda_over_d * shortest, oversample)
    diameter = n / (lambda_over_d * shortest * oversample)
    room = _room(n, diameter)
    amplitude = APERTURES[aperture](room, diameter, **shape)
    centre = middle(size, oversample)
    make = partial(_pattern, amplitude, n=n, shift=centre - n // 2)
    plain: np.ndarray | None = None
    out = []
    for i, (low, high) in enumerate(passbands):
        waves = _waves(room, diameter, aberrations[i] if aberrations else None)
        if waves is None:
            plain = make(None) if plain is None else plain
            pattern = plain
        else:
            pattern = make(waves * 2 / (low + high))
        out.append(normalised(smeared(pattern, centre, low / shortest, high / shortest)))
    return out
