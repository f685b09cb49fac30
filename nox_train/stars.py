"""Star populations: how many, how bright, what colour and where.

A field of stars is a map of impulses convolved once with the point spread
function, so its cost does not depend on the number of stars.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from scipy import fft

from nox_train.colours import blackbody_rgb, narrowband_rgb
from nox_train.psf import Optics, colour_psf, grid_weights

#: Width in pixels below which stars are placed by half pixels, see `star_field`.
SHARP = 2.0
CLUSTERS = ("none", "open", "globular")


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


def flux_of_share(share: float, slope: float, dynamic_range: float) -> float:
    """The flux that a given share of `power_law_fluxes` exceeds; inverts their law."""
    end = dynamic_range**-slope
    return float((share * (1 - end) + end) ** (-1 / slope))


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


def plummer_radii(n: int, core: float, rng: np.random.Generator) -> np.ndarray:
    """Distances from the centre of an open cluster, surface density
    ``(1 + r^2 / core^2)^-2`` (Plummer 1911, MNRAS 71, 460); in the unit of `core`.
    """
    u = rng.uniform(0, 0.995, n)  # the last reach far beyond the field
    return core * np.sqrt(u / (1 - u))


def king_radii(n: int, core: float, tidal: float, rng: np.random.Generator) -> np.ndarray:
    """Distances from the centre of a globular cluster.

    Surface density ``[(1 + r^2/rc^2)^-1/2 - (1 + rt^2/rc^2)^-1/2]^2`` out to the tidal
    radius rt (King 1962, AJ 67, 471); in the unit of `core`.
    """
    r = np.linspace(0, tidal, 4000)
    density = ((1 + (r / core) ** 2) ** -0.5 - (1 + (tidal / core) ** 2) ** -0.5) ** 2
    within = np.concatenate([[0.0], np.cumsum((density * r)[1:] + (density * r)[:-1])])
    return np.interp(rng.random(n), within / within[-1], r)


def positions(
    n: int,
    size: int,
    rng: np.random.Generator,
    *,
    cluster: str = "none",
    cluster_share: float = 0.0,
    gradient: float = 0.0,
    double_share: float = 0.03,
) -> tuple[np.ndarray, np.ndarray]:
    """Places of stars: over the field, in a cluster, and close pairs.

    Parameters
    ----------
    n, size : int
        Stars, and the side of the field in pixels.
    rng : numpy.random.Generator
    cluster : {'none', 'open', 'globular'}
        Profile of the cluster, see `plummer_radii` and `king_radii`.
    cluster_share : float
        Of the stars that belong to it.
    gradient : float
        Density at one side of the field over the mean, minus 1; 0 to 1.
    double_share : float
        Of the stars that get a close companion, some pixels away.

    Returns
    -------
    x, y : ndarray, shape (n,)
        In pixels, 0 to `size`.
    """
    if cluster not in CLUSTERS:
        raise ValueError(f"cluster is {cluster!r}; it must be one of {CLUSTERS}")
    x, y = rng.uniform(0, size, (2, n))
    if gradient:
        # Inverse of the cumulative density of 1 + gradient (1 - 2 x / size).
        u = x / size
        b = 1 + gradient
        x = size * 2 * u / (b + np.sqrt(np.maximum(b * b - 4 * gradient * u, 0)))
    inside = rng.random(n) < (cluster_share if cluster != "none" else 0.0)
    k = int(inside.sum())
    if k:
        if cluster == "open":
            r = plummer_radii(k, rng.uniform(0.03, 0.15) * size, rng)
        else:
            core = rng.uniform(0.008, 0.05) * size
            r = king_radii(k, core, min(core * 10 ** rng.uniform(1.0, 2.0), 0.7 * size), rng)
        angle = rng.uniform(0, 2 * np.pi, k)
        centre = rng.uniform(0.2, 0.8, 2) * size
        x[inside] = centre[0] + r * np.cos(angle)
        y[inside] = centre[1] + r * np.sin(angle)
    pairs = int(n * double_share)
    if pairs:
        a, b_ = rng.integers(0, n, (2, pairs))
        separation, angle = rng.exponential(5, pairs), rng.uniform(0, 2 * np.pi, pairs)
        x[b_] = x[a] + separation * np.cos(angle)
        y[b_] = y[a] + separation * np.sin(angle)
    return x % size, y % size


@dataclass(frozen=True)
class Population:
    """What `star_field` needs to know of the stars.

    Attributes
    ----------
    density : float
        Stars a megapixel.
    slope, dynamic_range : float
        Of `power_law_fluxes`.
    temperature, temperature_spread : float
        Median in kelvin, and the standard deviation of its logarithm.
    white, reddening : float
        See `blackbody_rgb`.
    saturation : float
        Exponent of the colours; 0 makes white stars, above 1 vivid ones.
    cluster, cluster_share, gradient, double_share
        See `positions`.
    mono : bool
        One channel, three times.
    palette : str
        Lines of a narrowband picture, see `narrowband_rgb`; empty for broadband.
    gains : tuple of float
        Of a narrowband picture's channels.
    """

    density: float = 2000.0
    slope: float = 0.9
    dynamic_range: float = 1e4
    temperature: float = 5500.0
    temperature_spread: float = 0.3
    white: float = 6000.0
    reddening: float = 0.0
    saturation: float = 1.0
    cluster: str = "none"
    cluster_share: float = 0.0
    gradient: float = 0.0
    double_share: float = 0.03
    mono: bool = False
    palette: str = ""
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)


def random_population(rng: np.random.Generator, fwhm: float, *, mono: bool = False) -> Population:
    """Draw a field for stars `fwhm` pixels wide.

    Density is from 50 a megapixel to 25,000 at a width of 2.8 px, more where stars
    are narrower, 50,000 at the most.
    """
    cluster = str(rng.choice(CLUSTERS, p=[0.78, 0.1, 0.12]))
    densest = min(4.7, 4.4 + 1.5 * np.log10(2.8 / fwhm))
    sparse = rng.random() < 0.18
    narrowband = not mono and rng.random() < 0.12
    gains = np.exp(rng.normal(0, 0.3, 3)) * (1.0, 0.75, 1.0)
    return Population(
        density=float(10 ** (rng.uniform(1.7, 2.5) if sparse else rng.uniform(2.5, densest))),
        slope=float(rng.uniform(0.45, 1.3)),
        dynamic_range=float(10 ** rng.uniform(2.3, 5.0)),
        temperature=float(rng.uniform(3800, 8500)),
        temperature_spread=float(rng.uniform(0.1, 0.5)),
        white=float(rng.uniform(4800, 6800)),
        reddening=float(rng.exponential(0.4)),
        saturation=float(rng.uniform(0.3, 1.6)),
        cluster=cluster,
        cluster_share=float(rng.uniform(0.2, 0.9)),
        gradient=float(rng.uniform(0, 0.9)) if rng.random() < 0.2 else 0.0,
        mono=mono,
        palette=str(rng.choice(["SHO", "HOO"])) if narrowband else "",
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
    )


def colours(population: Population, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw colours of `n` stars; shape (3, n), mean of the channels 1."""
    p = population
    if p.mono:
        return np.ones((3, n))
    kelvin = p.temperature * np.exp(rng.normal(0, p.temperature_spread, n))
    kelvin = kelvin.clip(2200, 30000)
    if p.palette:
        return narrowband_rgb(kelvin, p.palette, p.gains)
    return blackbody_rgb(kelvin, white=p.white, reddening=p.reddening) ** p.saturation


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
        The optics and the population it was drawn from, and the number of stars.
    """

    light: np.ndarray
    faintest: float
    parameters: dict

    @property
    def mono(self) -> bool:
        """Whether its three channels are the same."""
        return bool(self.parameters["population"]["mono"])

    def gain_of_share(self, share: float) -> float:
        """Factor of `light` at which this share of the stars reaches the full well."""
        p = self.parameters["population"]
        return 1.0 / (self.faintest * flux_of_share(share, p["slope"], p["dynamic_range"]))


def star_field(
    size: int,
    optics: Optics,
    population: Population,
    rng: np.random.Generator,
    *,
    psf_size: int = 512,
    nodes: int = 1,
) -> Field:
    """Draw the stars of a `Population` and put them through the `Optics`.

    ``size`` must be at least ``psf_size``; the convolution is circular.  With two
    `nodes` or more along an axis the field is the whole frame, and stars change
    from the middle to the corners (`nox_train.psf.psf_grid`); with one it is a small
    part of the frame, at the optics' `position`.
    """
    if size < psf_size:
        raise ValueError(f"size is {size}; it must be at least psf_size, {psf_size}")
    p = population
    n = max(3, rng.poisson(p.density * size * size / 1e6))
    flux = power_law_fluxes(n, p.slope, p.dynamic_range, rng)
    colour = colours(p, n, rng)
    x, y = positions(
        n, size, rng, cluster=p.cluster, cluster_share=p.cluster_share,
        gradient=p.gradient, double_share=p.double_share,
    )  # fmt: skip
    drawn = _convolved if nodes == 1 else partial(_over_frame, nodes)
    light, psf = drawn(size, x, y, colour * flux, optics, psf_size)
    peak = psf.max(axis=(1, 2)).mean() * flux.max()
    return Field(
        (light / peak).astype(np.float32),
        float(1.0 / flux.max()),
        {"optics": asdict(optics), "population": asdict(population), "stars": int(n)},
    )


def _convolved(
    size: int, x: np.ndarray, y: np.ndarray, flux: np.ndarray, optics: Optics, psf_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Stars through one set of optics, and the point spread function.

    Stars hardly wider than a pixel look different at each place within it, and cubic
    weights would ring round them: those go, by linear weights, to places half a pixel
    apart, each with a point spread function of its own.
    """
    psf = colour_psf(optics, psf_size)
    if optics.fwhm >= SHARP:
        return spread(impulse_map(size, x, y, flux), psf), psf
    fine = linear_impulse_map(2 * size, 2 * x, 2 * y, flux)
    light = np.zeros((len(flux), size, size))
    for j, i in np.ndindex(2, 2):
        moved = tuple((dx + i / 2, dy + j / 2) for dx, dy in optics.shift)
        here = psf if i == j == 0 else colour_psf(replace(optics, shift=moved), psf_size)
        light += spread(fine[:, j::2, i::2], here)
    return light, psf


def _over_frame(
    nodes: int, size: int, x: np.ndarray, y: np.ndarray, flux: np.ndarray, optics: Optics,
    psf_size: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """As `_convolved`, with optics that change over the frame; the middle's function.

    As with `psf_grid`: each node's function for the share of a star that it stands for.
    """
    places = np.linspace(-1, 1, nodes)
    shares = grid_weights(nodes, 2 * x / size - 1, 2 * y / size - 1)
    light = np.zeros((len(flux), size, size))
    for j, i in np.ndindex(nodes, nodes):
        here = optics.at(float(places[i]), float(places[j]))
        part, made = _convolved(size, x, y, shares[j, i] * flux, here, psf_size)
        light += part
        if j == i == nodes // 2:
            psf = made
    return light, psf


def linear_impulse_map(size: int, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """As `impulse_map` by linear weights, which never ring but broaden more."""
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    tx, ty = x - x0, y - y0
    out = np.zeros((len(flux), size * size))
    for j, wy in enumerate((1 - ty, ty)):
        for i, wx in enumerate((1 - tx, tx)):
            index = (y0 + j) % size * size + (x0 + i) % size
            for plane, f in zip(out, flux, strict=True):
                plane += np.bincount(index, wy * wx * f, minlength=size * size)
    return out.reshape(len(flux), size, size)


def spread(impulses: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Convolve a periodic map with a smaller PSF whose centre is at ``size // 2``.

    Parameters
    ----------
    impulses : ndarray, shape (C, size, size)
    psf : ndarray, shape (C, side, side)

    Returns
    -------
    ndarray, shape (C, size, size), values 0 and more
    """
    size, side = impulses.shape[-1], psf.shape[-1]
    padded = np.zeros((len(psf), size, size))
    low = size // 2 - side // 2
    padded[:, low : low + side, low : low + side] = psf
    spectrum = fft.rfft2(fft.ifftshift(padded, axes=(1, 2))) * fft.rfft2(impulses)
    return np.maximum(fft.irfft2(spectrum, s=(size, size)), 0.0)
