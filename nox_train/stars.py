"""Star populations: how many, how bright, what colour and where.

A field of stars is a map of impulses convolved once with the point spread
function, so its cost does not depend on the number of stars.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy import fft

from nox_train.psf import RGB_WAVELENGTHS_UM, Optics, colour_psf

_HC_OVER_K_UM = 14387.77  # second radiation constant, micrometre kelvin (CODATA 2018)


def power_law_fluxes(
    n: int, slope: float, dynamic_range: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw fluxes with the cumulative law ``N(> F) ~ F^-slope``.

    Parameters
    ----------
    n : int
        How many.
    slope : float
        1.5 for stars spread evenly through space; 0.4 to 1.2 is counted in the
        Milky Way (0.6 a magnitude is 1.5).
    dynamic_range : float
        Brightest possible flux over the faintest.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n,), float64
        From 1, the faintest, to `dynamic_range`.
    """
    u = rng.random(n)
    return (1.0 - u * (1.0 - dynamic_range**-slope)) ** (-1.0 / slope)


def blackbody_rgb(temperature: np.ndarray) -> np.ndarray:
    """Colour of black bodies through a camera balanced for 6,000 K.

    Planck's law at the effective wavelengths of the three filters, in photons.

    Parameters
    ----------
    temperature : ndarray, shape (n,)
        Kelvin, 1,500 to 50,000.

    Returns
    -------
    ndarray, shape (3, n), float64
        Relative flux of red, green and blue; their mean is 1.
    """
    t = np.atleast_1d(np.asarray(temperature, float))[None, :]
    wavelength = np.array(RGB_WAVELENGTHS_UM)[:, None]

    def photons(kelvin: np.ndarray) -> np.ndarray:
        return wavelength**-4 / np.expm1(_HC_OVER_K_UM / (wavelength * kelvin))

    colour = photons(t) / photons(np.full((1, 1), 6000.0))
    return colour / colour.mean(axis=0)


def impulse_map(size: int, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Spread point sources over a periodic grid by cubic (Catmull-Rom) weights.

    The sum of each channel is the sum of its fluxes and the centroid of every
    source is exact; the cubic weights broaden a source far less than linear ones.

    Parameters
    ----------
    size : int
        Side of the grid, in pixels.
    x, y : ndarray, shape (n,)
        Positions in pixels, pixel centres at whole numbers; wrapped at the edges.
    flux : ndarray, shape (channels, n)

    Returns
    -------
    ndarray, shape (channels, size, size), float64
    """

    def weights(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        base = np.floor(position).astype(np.int64)
        t = position - base
        w = 0.5 * np.stack(
            [
                t * (-1 + t * (2 - t)),
                2 + t * t * (3 * t - 5),
                t * (1 + t * (4 - 3 * t)),
                t * t * (t - 1),
            ]
        )
        return np.stack([(base + k) % size for k in (-1, 0, 1, 2)]), w

    ix, wx = weights(x)
    iy, wy = weights(y)
    index = (iy[:, None, :] * size + ix[None, :, :]).reshape(-1)
    weight = wy[:, None, :] * wx[None, :, :]
    out = [np.bincount(index, (weight * f).reshape(-1), minlength=size * size) for f in flux]
    return np.stack(out).reshape(len(flux), size, size)


def positions(
    n: int,
    size: int,
    rng: np.random.Generator,
    *,
    cluster_share: float = 0.0,
    double_share: float = 0.03,
) -> tuple[np.ndarray, np.ndarray]:
    """Places of stars: even over the field, in one cluster, and close pairs.

    Clusters follow a Plummer surface density, ``(1 + r^2 / a^2)^-2``.
    """
    x, y = rng.uniform(0, size, (2, n))
    in_cluster = rng.random(n) < cluster_share
    k = int(in_cluster.sum())
    if k:
        u = rng.random(k).clip(0, 0.995)
        r = rng.uniform(0.03, 0.15) * size * np.sqrt(u / (1 - u))
        angle = rng.uniform(0, 2 * np.pi, k)
        centre = rng.uniform(0.2, 0.8, 2) * size
        x[in_cluster] = centre[0] + r * np.cos(angle)
        y[in_cluster] = centre[1] + r * np.sin(angle)
    pairs = int(n * double_share)
    if pairs:
        a, b = rng.integers(0, n, (2, pairs))
        separation, angle = rng.exponential(5, pairs), rng.uniform(0, 2 * np.pi, pairs)
        x[b] = x[a] + separation * np.cos(angle)
        y[b] = y[a] + separation * np.sin(angle)
    return x % size, y % size


@dataclass(frozen=True)
class Population:
    """What `star_field` needs to know of the stars.

    ``density`` is in stars a megapixel, ``slope`` and ``dynamic_range`` are those
    of `power_law_fluxes`, temperatures are in kelvin.
    """

    density: float = 2000.0
    slope: float = 0.9
    dynamic_range: float = 1e4
    temperature: float = 5500.0
    temperature_spread: float = 0.3
    saturation: float = 1.0
    cluster_share: float = 0.0
    mono: bool = False


def random_population(rng: np.random.Generator, fwhm: float, *, mono: bool = False) -> Population:
    """Draw a field for stars `fwhm` pixels wide.

    Density is from 300 a megapixel to 25,000 at a width of 2.8 px, more where stars
    are narrower, 60,000 at the most.
    """
    clustered = rng.random() < 0.2
    densest = min(4.78, 4.4 + 1.5 * np.log10(2.8 / fwhm))
    return Population(
        density=float(10 ** rng.uniform(2.5, densest)),
        slope=float(rng.uniform(0.45, 1.3)),
        dynamic_range=float(10 ** rng.uniform(2.3, 5.0)),
        temperature=float(rng.uniform(3800, 8500)),
        temperature_spread=float(rng.uniform(0.1, 0.5)),
        saturation=float(rng.uniform(0.3, 1.6)),
        cluster_share=float(rng.uniform(0.2, 0.9)) if clustered else 0.0,
        mono=mono,
    )


@dataclass(frozen=True)
class Field:
    """A field of stars in linear light, periodic at its edges.

    Attributes
    ----------
    light : ndarray, shape (3, size, size), float32
        The peak of the brightest star alone is 1 (mean of its channels).
    faintest : float
        Peak of the faintest star on the same scale.
    parameters : dict
        The optics and the population it was drawn from.
    """

    light: np.ndarray
    faintest: float
    parameters: dict


def star_field(
    size: int,
    optics: Optics,
    population: Population,
    rng: np.random.Generator,
    *,
    psf_size: int = 512,
) -> Field:
    """Draw the stars of a `Population` and put them through the `Optics`.

    ``size`` must be at least ``psf_size``; the convolution is circular.
    """
    if size < psf_size:
        raise ValueError(f"size is {size}; it must be at least psf_size, {psf_size}")
    p = population
    n = max(3, rng.poisson(p.density * size * size / 1e6))
    flux = power_law_fluxes(n, p.slope, p.dynamic_range, rng)
    if p.mono:
        colour = np.ones((3, n))
    else:
        spread = np.exp(rng.normal(0, p.temperature_spread, n))
        colour = blackbody_rgb((p.temperature * spread).clip(2200, 30000)) ** p.saturation
    x, y = positions(n, size, rng, cluster_share=p.cluster_share)
    psf = colour_psf(optics, psf_size)
    impulses = impulse_map(size, x, y, colour * flux)
    padded = np.zeros((3, size, size))
    low = size // 2 - psf_size // 2
    padded[:, low : low + psf_size, low : low + psf_size] = psf
    spectrum = fft.rfft2(fft.ifftshift(padded, axes=(1, 2))) * fft.rfft2(impulses)
    light = np.maximum(fft.irfft2(spectrum, s=(size, size)), 0.0)
    peak = psf.max(axis=(1, 2)).mean() * flux.max()
    return Field(
        (light / peak).astype(np.float32),
        float(1.0 / flux.max()),
        {"optics": asdict(optics), "population": asdict(population), "stars": int(n)},
    )
