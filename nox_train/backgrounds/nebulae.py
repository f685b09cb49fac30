"""Nebulae and empty skies, invented: linear light by families."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from nox_train.backgrounds.fractal import gaussian_field, warped
from nox_train.backgrounds.palette import Palette


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates y and x from -0.5 to 0.5, shapes (size, 1) and (1, size)."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    return axis[:, None], axis[None, :]


def _distance(size: int, rng: np.random.Generator, reach: float) -> np.ndarray:
    """Distance from a random place, in sides, noisy as if seen through clouds."""
    y, x = _grid(size)
    y0, x0 = rng.uniform(-reach, reach, 2)
    return np.hypot(y - y0, x - x0) * np.exp(0.2 * gaussian_field(size, 3.4, rng))


def _unit(field: np.ndarray) -> np.ndarray:
    """Scale so that the 99.5th percentile is 1."""
    return field / max(float(np.percentile(field[::2, ::2], 99.5)), 1e-9)


def _density(size: int, rng: np.random.Generator, contrast: float) -> np.ndarray:
    """Log-normal gas density, folded."""
    field = gaussian_field(size, rng.uniform(2.9, 3.8), rng)
    if rng.random() < 0.7:
        field = warped(field, rng.uniform(0.01, 0.08), rng)
    return np.exp(np.float32(contrast) * field)


def _coloured(*parts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Sum of maps times their colours, shape (3, size, size)."""
    total = np.zeros((3, *parts[0][0].shape), np.float32)
    for light, rgb in parts:
        total += rgb.astype(np.float32)[:, None, None] * light.astype(np.float32)
    return total


def _veiled(light: np.ndarray, depth: np.ndarray, palette: Palette) -> np.ndarray:
    """Light behind dust of this optical depth in green."""
    law = palette.extinction().astype(np.float32)[:, None, None]
    return light * np.exp(-law * depth)


def emission(size: int, rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Gas made to shine by hot stars.

    Recombination goes with the density squared; [O III] fills the hot inside,
    [S II] the rim; dust clouds stand before it with rims lit from the inside.
    """
    r = _distance(size, rng, 0.5)
    r0 = rng.uniform(0.25, 0.9)
    shine = 1 / (1 + (r / r0) ** 2)
    density = _density(size, rng, rng.uniform(0.35, 0.9))
    ha = _unit(density**2 * shine)
    oiii = _unit(density**1.3 * np.exp(-((r / (r0 * rng.uniform(0.3, 0.9))) ** 2)))
    sii = ha * (1 - np.exp(-((r / r0) ** 2)))
    cloud = 1 / (1 + np.exp(-rng.uniform(2, 8) * (_logs(size, rng) - rng.uniform(0.2, 1.5))))
    rim = _unit(ndimage.gaussian_gradient_magnitude(cloud, rng.uniform(1.0, 3.0))) * shine
    light = _coloured(
        (ha + rng.uniform(0, 0.25) * rim, palette.line("ha") * rng.uniform(0.5, 1.0)),
        (oiii, palette.line("oiii") * rng.uniform(0.0, 0.9)),
        (sii + 0.15 * rim, palette.line("sii") * rng.uniform(0.0, 0.6)),
    )
    return _veiled(light, rng.uniform(0.0, 4.0) * cloud, palette)


def _logs(size: int, rng: np.random.Generator) -> np.ndarray:
    return warped(gaussian_field(size, rng.uniform(2.9, 3.6), rng), rng.uniform(0.0, 0.06), rng)


def reflection(size: int, rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Dust lit by a star: blue, with ``1 / r^2``, darker and redder where it is thick.

    The light falls off from a core of at least 6 % of the side: no point is drawn.
    """
    r = _distance(size, rng, 0.45)
    core = rng.uniform(0.06, 0.3)
    depth = _unit(_density(size, rng, rng.uniform(0.4, 0.9))) * rng.uniform(0.5, 2.5)
    lit = (1 - np.exp(-depth)) / (r * r + core * core)
    # Grains scatter blue best, as they take it from the light that passes.
    scattering = palette.extinction() ** rng.uniform(1.5, 4.0)
    rgb = palette.continuum(rng.uniform(12000, 25000)) * scattering
    around = _coloured((_unit(depth), palette.continuum(4200) * rng.uniform(0.02, 0.2)))
    light = _veiled(_coloured((_unit(lit), rgb)), 0.6 * depth, palette) + around
    if rng.random() < 0.4:
        ha = _unit(_density(size, rng, 0.7))
        light += _coloured((ha, palette.line("ha") * rng.uniform(0.05, 0.4)))
    return light


def dark(size: int, rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Dust before the glow of the Milky Way's unresolved stars, with brown cloudshine."""
    glow = np.exp(0.25 * gaussian_field(size, 3.4, rng))
    depth = _unit(_density(size, rng, rng.uniform(0.5, 1.1))) ** rng.uniform(0.8, 2.0)
    depth = depth * rng.uniform(1.0, 6.0)
    light = _veiled(_coloured((glow, palette.continuum(rng.uniform(4300, 6000)))), depth, palette)
    shine = depth * np.exp(-0.7 * depth)
    light += _coloured((_unit(shine), palette.continuum(4300) * rng.uniform(0.0, 0.25)))
    if rng.random() < 0.35:
        veil = _unit(_density(size, rng, 0.6))
        light += _veiled(_coloured((veil, palette.line("ha") * 0.5)), depth * 0.7, palette)
    return light


def remnant(size: int, rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Supernova remnant: thin shock fronts, [O III] ahead of H alpha.

    A shock sheet is bright where it is seen edge-on, along the level lines of a
    folded field: ``exp(-|f| / w)``, never thinner than a pixel and a half.
    """
    y, x = _grid(size)
    shell = np.hypot(y - rng.uniform(-0.8, 0.8), x - rng.uniform(-0.8, 0.8))
    shell = np.exp(-(((shell - rng.uniform(0.3, 0.9)) / rng.uniform(0.1, 0.5)) ** 2))
    total = 0.05 * _coloured((_unit(_density(size, rng, 0.6)), palette.line("ha")))
    for _ in range(rng.integers(2, 7)):
        sheet = warped(gaussian_field(size, rng.uniform(3.8, 4.6), rng), 0.05, rng, slope=4.8)
        steep = ndimage.gaussian_gradient_magnitude(sheet, 2.0)
        steep = ndimage.gaussian_filter(steep, 4.0) + 0.8 / size
        patches = np.exp(0.9 * gaussian_field(size, 3.0, rng)) * (0.15 + shell)
        level = rng.uniform(-0.8, 0.8)
        # Dividing by the gradient makes the width one in pixels.
        for line, shift in (("ha", 0.0), ("oiii", rng.uniform(1.0, 5.0))):
            off = np.abs((sheet - level) / steep - shift)
            thread = np.exp(-off / rng.uniform(0.7, 2.0)) + 0.1 * np.exp(-off / 15.0)
            strength = rng.uniform(0.3, 1.0) if line == "ha" else rng.uniform(0.0, 1.0)
            total += _coloured((thread * patches, palette.line(line) * strength))
    return total


def cirrus(size: int, rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Galactic cirrus (integrated flux nebula): wisps of dust lit by the whole Galaxy.

    Spectrum ``k^-2.9`` (Miville-Deschenes et al. 2016, A&A 593, A4), drawn out along a
    direction; grey, a little blue or brown, faint on a flat sky.
    """
    stretch = (1.0, float(rng.uniform(1.0, 3.0)))
    wisps = gaussian_field(size, rng.uniform(2.7, 3.2), rng, stretch)
    wisps = ndimage.rotate(wisps, rng.uniform(0, 180), reshape=False, order=1, mode="reflect")
    wisps = _unit(np.exp(rng.uniform(0.5, 1.0) * warped(wisps, rng.uniform(0, 0.05), rng)))
    y, x = _grid(size)
    sky = 1 + 0.1 * (rng.uniform(-1, 1) * y + rng.uniform(-1, 1) * x) + 0 * wisps
    return _coloured(
        (sky, palette.continuum(rng.uniform(5200, 6500))),
        (wisps, palette.continuum(rng.uniform(4500, 9000)) * rng.uniform(0.1, 0.8)),
    )


def sky(size: int, rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Empty sky; `nox_train.backgrounds.sky.add_gradients` does the rest."""
    haze = np.exp(rng.uniform(0.0, 0.08) * gaussian_field(size, rng.uniform(3.0, 3.8), rng))
    return _coloured((haze, palette.continuum(rng.uniform(4600, 7500))))


def bipolar(size: int, rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Hourglass nebula with a bright core, large in the frame."""
    y, x = _grid(size)
    angle = rng.uniform(0, np.pi)
    y0, x0 = rng.uniform(-0.25, 0.25, 2)
    along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    across = -(x - x0) * np.sin(angle) + (y - y0) * np.cos(angle)
    folds = np.exp(0.25 * _logs(size, rng))
    length = rng.uniform(0.15, 0.45)
    width = rng.uniform(0.25, 0.7) * (np.abs(along) + 0.04) * folds
    lobe = np.abs(across) / width
    wall = np.exp(-(((lobe - 1) / rng.uniform(0.1, 0.3)) ** 2)) + 0.4 * (lobe < 1)
    wall = ndimage.gaussian_filter(wall * np.exp(-np.abs(along) / length), 1.2)
    r2 = along**2 + (across * 1.3) ** 2
    core = np.exp(0.4 * _logs(size, rng)) / (r2 + rng.uniform(0.03, 0.1) ** 2)
    haze = _unit(_density(size, rng, 0.5)) * np.exp(-r2 / 0.2)
    return _coloured(
        (_unit(wall * folds), palette.line("ha") * rng.uniform(0.4, 1.0)),
        (_unit(core), palette.line("oiii") * rng.uniform(0.3, 1.0) + 0.15),
        (haze, palette.line("sii") * rng.uniform(0.05, 0.3)),
    )


#: Every family: `f(size, rng, palette)` gives linear light, shape (3, size, size).
FAMILIES: dict[str, Callable[[int, np.random.Generator, Palette], np.ndarray]] = {
    "emission": emission,
    "reflection": reflection,
    "dark cloud": dark,
    "remnant": remnant,
    "cirrus": cirrus,
    "sky": sky,
    "bipolar": bipolar,
}
#: How often each is drawn.
SHARES = {
    "emission": 0.28, "reflection": 0.12, "dark cloud": 0.14, "remnant": 0.12,
    "cirrus": 0.10, "sky": 0.20, "bipolar": 0.04,
}  # fmt: skip
