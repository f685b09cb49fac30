"""Point spread functions of telescopes, cameras and the air, on pixel grids.

Every function returns an array whose sum is 1 and whose centre is at pixel
``size // 2`` of both axes.  Lengths are in pixels, angles in radians,
aberrations in waves of the middle wavelength.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import fft

#: Effective wavelengths of red, green and blue camera filters, in micrometres.
RGB_WAVELENGTHS_UM = (0.610, 0.530, 0.465)


def _offsets(size: int, oversample: int) -> np.ndarray:
    """Positions of sub-pixel centres relative to the centre of pixel ``size // 2``."""
    return (np.arange(size * oversample) + 0.5) / oversample - 0.5 - size // 2


def _bin(image: np.ndarray, factor: int) -> np.ndarray:
    """Sum blocks of ``factor`` x ``factor``: the integration over a pixel."""
    if factor == 1:
        return image
    h, w = image.shape
    return image.reshape(h // factor, factor, w // factor, factor).sum(axis=(1, 3))


def _normalised(image: np.ndarray) -> np.ndarray:
    return image / image.sum()


def moffat(
    size: int,
    fwhm: float,
    beta: float = 3.5,
    *,
    ellipticity: float = 0.0,
    angle: float = 0.0,
    oversample: int | None = None,
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
        oversample = int(np.clip(np.ceil(8 / fwhm), 1, 9))
    xs = _offsets(size, oversample)
    x, y = xs[None, :], xs[:, None]
    c, s = np.cos(angle), np.sin(angle)
    stretch = np.sqrt(1.0 - ellipticity)
    u = (c * x + s * y) * stretch
    v = (-s * x + c * y) / stretch
    alpha = fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    return _normalised(_bin((1.0 + (u * u + v * v) / alpha**2) ** -beta, oversample))


# Zernike polynomials (OSA normalisation: unit variance over the disc) in polar
# form, by their usual names; Noll 1976, JOSA 66, 207.
ZERNIKE = {
    "defocus": lambda r, t: np.sqrt(3) * (2 * r**2 - 1),
    "astigmatism_0": lambda r, t: np.sqrt(6) * r**2 * np.cos(2 * t),
    "astigmatism_45": lambda r, t: np.sqrt(6) * r**2 * np.sin(2 * t),
    "coma_x": lambda r, t: np.sqrt(8) * (3 * r**3 - 2 * r) * np.cos(t),
    "coma_y": lambda r, t: np.sqrt(8) * (3 * r**3 - 2 * r) * np.sin(t),
    "trefoil_0": lambda r, t: np.sqrt(8) * r**3 * np.cos(3 * t),
    "trefoil_30": lambda r, t: np.sqrt(8) * r**3 * np.sin(3 * t),
    "spherical": lambda r, t: np.sqrt(5) * (6 * r**4 - 6 * r**2 + 1),
}


def pupil(
    samples: int,
    diameter: float,
    *,
    obstruction: float = 0.0,
    vanes: int = 0,
    vane_width: float = 0.01,
    vane_angle: float = 0.0,
) -> np.ndarray:
    """Amplitude transmission of a round aperture with a secondary on vanes.

    Parameters
    ----------
    samples : int
        Side of the square grid.
    diameter : float
        Diameter of the aperture, in grid steps.
    obstruction : float
        Diameter of the central obstruction over that of the aperture, 0 to 0.6.
    vanes : int
        Number of straight half-vanes from the centre outwards, evenly spaced.
        An even number makes as many spikes, an odd one twice as many.
    vane_width : float
        Over the diameter of the aperture.
    vane_angle : float
        Direction of the first vane.

    Returns
    -------
    ndarray, shape (samples, samples), float64, values 0 to 1
    """
    xs = (np.arange(samples) - samples // 2) / (diameter / 2)
    x, y = xs[None, :], xs[:, None]
    r = np.hypot(x, y)
    edge = diameter / 2
    # A ramp one grid step wide at every edge keeps the width right below a step.
    open_ = np.clip((1.0 - r) * edge + 0.5, 0, 1)
    open_ *= np.clip((r - obstruction) * edge + 0.5, 0, 1) if obstruction else 1.0
    for k in range(vanes):
        a = vane_angle + 2 * np.pi * k / vanes
        along = x * np.cos(a) + y * np.sin(a)
        across = np.abs(-x * np.sin(a) + y * np.cos(a))
        cover = np.clip((vane_width - across) * edge + 0.5, 0, 1)
        cover *= min(1.0, 2 * vane_width * edge)
        open_ = open_ * (1.0 - np.where(along > 0, cover, 0.0))
    return open_


def diffraction(
    size: int,
    lambda_over_d: float,
    *,
    wavelengths: tuple[float, ...] = (1.0,),
    oversample: int = 2,
    aberrations: dict[str, float] | None = None,
    **aperture: float,
) -> np.ndarray:
    """Diffraction pattern of a telescope's pupil (Fraunhofer), pixel-integrated.

    The intensity is ``|FFT(A exp(2 pi i W))|^2`` with the pupil's amplitude A and
    the wavefront error W in waves (Goodman, Introduction to Fourier Optics, ch. 6).

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    lambda_over_d : float
        Wavelength over aperture diameter at the middle wavelength, in pixels;
        at least ``1 / oversample``.
    wavelengths : tuple of float
        Relative to the middle one; their patterns are averaged (broadband light).
    oversample : int
        Sub-pixels along an axis.
    aberrations : dict of str to float, optional
        Root-mean-square wavefront error of each term of `ZERNIKE`, in waves.
    **aperture
        Passed to `pupil`.

    Returns
    -------
    ndarray, shape (size, size), float64
        Sums to 1.
    """
    n = size * oversample
    total = np.zeros((n, n))
    for w in wavelengths:
        diameter = n / (lambda_over_d * w * oversample)
        if diameter > n:
            raise ValueError(
                f"lambda_over_d is {lambda_over_d * w:.3g} px; at oversample "
                f"{oversample} it must be at least {1 / oversample:.3g} px"
            )
        amplitude = pupil(n, diameter, **aperture)  # type: ignore[arg-type]
        field_ = amplitude.astype(np.complex64)
        if aberrations:
            xs = (np.arange(n) - n // 2) / (diameter / 2)
            r = np.hypot(xs[None, :], xs[:, None])
            t = np.arctan2(xs[:, None], xs[None, :])
            waves = sum(a * ZERNIKE[k](r, t) for k, a in aberrations.items()) / w
            field_ = field_ * np.exp(2j * np.pi * np.where(amplitude > 0, waves, 0.0))
        pattern = np.abs(fft.fftshift(fft.fft2(fft.ifftshift(field_)))) ** 2
        total += pattern / pattern.sum()
    # The FFT puts the centre on sub-pixel n // 2; it belongs in the middle of the
    # sub-pixels of pixel size // 2.
    shift = size // 2 * oversample + (oversample - 1) / 2 - n // 2
    if shift:
        k = fft.fftfreq(n)
        phase = np.exp(-2j * np.pi * shift * (k[:, None] + k[None, :]))
        total = np.maximum(fft.ifft2(fft.fft2(total) * phase).real, 0.0)
    return _normalised(_bin(total, oversample))


def aureole(size: int, exponent: float = 2.5, core: float = 3.0) -> np.ndarray:
    """Wide glow of scattered light, ``(1 + (r / core)^2)^(-exponent / 2)``.

    Exponents of 2 to 3 were measured for telescopes and the air (King 1971, PASP
    83, 199; Sandin 2014, A&A 567, A97).  ``core`` is in pixels.
    """
    xs = np.arange(size) - size // 2
    r2 = (xs[None, :] ** 2 + xs[:, None] ** 2) / core**2
    return _normalised((1.0 + r2) ** (-exponent / 2))


def reflection(
    size: int, radius: float, *, hole: float = 0.0, dx: float = 0.0, dy: float = 0.0
) -> np.ndarray:
    """Disc or ring of light reflected between filter, window and sensor.

    ``radius`` in pixels, ``hole`` its inner radius over the outer (the shadow of
    the secondary), ``dx`` and ``dy`` the offset from the star in pixels.
    """
    xs = np.arange(size) - size // 2
    r = np.hypot(xs[None, :] - dx, xs[:, None] - dy)
    disc = np.clip(radius - r + 0.5, 0, 1) * np.clip(r - hole * radius + 0.5, 0, 1)
    return _normalised(disc)


def convolve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Circular convolution of two arrays with their centres at ``size // 2``."""
    spectrum = fft.rfft2(fft.ifftshift(a)) * fft.rfft2(fft.ifftshift(b))
    return np.maximum(fft.fftshift(fft.irfft2(spectrum, s=a.shape)), 0.0)


def _faded(image: np.ndarray, start: float = 0.7) -> np.ndarray:
    """Fade to nothing towards a circle, so that no square edge ever shows."""
    size = image.shape[-1]
    xs = (np.arange(size) - size // 2) / (size // 2 - 1)
    r = np.hypot(xs[None, :], xs[:, None])
    t = np.clip((r - start) / (1.0 - start), 0, 1)
    return _normalised(image * 0.5 * (1 + np.cos(np.pi * t)))


@dataclass(frozen=True)
class Optics:
    """Everything `colour_psf` needs, drawn once for a star field.

    Attributes are lengths in pixels, angles in radians and shares of flux; tuples
    hold one value for each of red, green and blue.
    """

    fwhm: float = 2.5
    beta: float = 3.5
    ellipticity: float = 0.0
    angle: float = 0.0
    width_ratio: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 3
    lambda_over_d: float = 0.0
    obstruction: float = 0.0
    vanes: int = 0
    vane_width: float = 0.01
    vane_angle: float = 0.0
    aberrations: dict[str, float] = field(default_factory=dict)
    aureole_share: float = 0.02
    aureole_exponent: float = 2.5
    halo_share: tuple[float, float, float] = (0.0, 0.0, 0.0)
    halo_radius: float = 30.0
    halo_hole: float = 0.0
    halo_offset: tuple[float, float] = (0.0, 0.0)


def random_optics(rng: np.random.Generator, *, mono: bool = False) -> Optics:
    """Draw a telescope, a night and a camera such as amateurs have.

    Two fifths of the widths are below 1.8 px: wide fields, and pictures made smaller
    for the web.  Half of the telescopes show diffraction, and of those with a
    secondary most have four vanes.
    """
    fwhm = float(np.exp(rng.normal(np.log(2.8), 0.45)).clip(1.1, 9.0))
    if rng.random() < 0.35:
        fwhm = float(rng.uniform(0.5, 1.8))
    newton = rng.random() < 0.45
    vanes = int(rng.choice([0, 3, 4, 4, 4, 6])) if newton else 0
    diffracts = newton or rng.random() < 0.2
    ratio = np.ones(3) if mono else 1 + rng.normal(0, 0.06, 3)
    if not mono and rng.random() < 0.25:  # an achromat's violet or red blur
        ratio[rng.choice([0, 2])] *= rng.uniform(1.1, 1.8)
    lateral = 0.0 if mono else float(rng.exponential(0.25))
    shift = rng.normal(0, 1, (3, 2)) * min(lateral, 1.2)
    shift[1] = 0.0
    names = list(ZERNIKE)
    strength = float(rng.exponential(0.04))
    aberrations = {n: float(rng.normal(0, strength)) for n in rng.choice(names, 3, replace=False)}
    halo = rng.random() < 0.3
    halo_share = 10 ** rng.uniform(-3.5, -1.7) * rng.uniform(0.2, 1, 3) * halo
    return Optics(
        fwhm=fwhm,
        beta=float(rng.uniform(2.2, 5.0)),
        ellipticity=float(rng.beta(1.2, 8)) * 0.7,
        angle=float(rng.uniform(0, np.pi)),
        width_ratio=tuple(ratio.clip(0.7, 2.0).tolist()),
        shift=tuple(map(tuple, shift.tolist())),
        lambda_over_d=float(rng.uniform(0.62, max(0.8, min(2.2, fwhm)))) if diffracts else 0.0,
        obstruction=float(rng.uniform(0.2, 0.45)) if newton else 0.0,
        vanes=vanes,
        vane_width=float(rng.uniform(0.003, 0.02)),
        vane_angle=float(rng.uniform(0, np.pi)),
        aberrations=aberrations,
        aureole_share=float(10 ** rng.uniform(-2.5, -0.8)),
        aureole_exponent=float(rng.uniform(2.0, 3.0)),
        halo_share=tuple((halo_share.mean() * np.ones(3) if mono else halo_share).tolist()),
        halo_radius=float(rng.uniform(12, 90)),
        halo_hole=float(rng.choice([0.0, rng.uniform(0.2, 0.5)])),
        halo_offset=tuple((rng.normal(0, 4, 2) * (rng.random() < 0.5)).tolist()),
    )


def colour_psf(optics: Optics, size: int = 512) -> np.ndarray:
    """Point spread function of `optics` in red, green and blue.

    Diffraction convolved with seeing, plus aureole and reflection, each channel
    with its own width and sub-pixel shift.

    Returns
    -------
    ndarray, shape (3, size, size), float64
        Each channel sums to 1.
    """
    o = optics
    middle = RGB_WAVELENGTHS_UM[1]
    kx, ky = fft.fftfreq(size)[None, :], fft.fftfreq(size)[:, None]
    glow = aureole(size, o.aureole_exponent, core=max(2.0, 1.5 * o.fwhm))
    ring = reflection(
        size, o.halo_radius, hole=o.halo_hole, dx=o.halo_offset[0], dy=o.halo_offset[1]
    )
    out = np.empty((3, size, size))
    for c, wavelength in enumerate(RGB_WAVELENGTHS_UM):
        star = moffat(
            size, o.fwhm * o.width_ratio[c], o.beta, ellipticity=o.ellipticity, angle=o.angle
        )
        if o.lambda_over_d:
            w = wavelength / middle
            pattern = diffraction(
                size,
                o.lambda_over_d,
                wavelengths=(0.94 * w, w, 1.06 * w),
                aberrations=o.aberrations,
                obstruction=o.obstruction,
                vanes=o.vanes,
                vane_width=o.vane_width,
                vane_angle=o.vane_angle,
            )
            star = convolve(star, pattern)
        dx, dy = o.shift[c]
        if dx or dy:
            phase = np.exp(-2j * np.pi * (kx * dx + ky * dy))
            star = np.maximum(fft.ifft2(fft.fft2(star) * phase).real, 0.0)
        halo = o.halo_share[c]
        total = (1 - o.aureole_share - halo) * _normalised(star)
        total += o.aureole_share * glow + halo * ring
        out[c] = _faded(total)
    return out
