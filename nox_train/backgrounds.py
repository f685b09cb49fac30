"""Star-free pictures to put stars on: invented nebulae, and any folder of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FITS_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz")
#: One picture in this many is held out for validation, chosen by its name's hash.
HOLD_OUT_ONE_IN = 10


def fractal(size: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field with the power spectrum ``k^-slope``, scaled to 0..1.

    Slopes of 2.5 to 3.7 are those of interstellar clouds (Elmegreen & Scalo 2004,
    ARA&A 42, 211).  Periodic at its edges.
    """
    kx, ky = fft.rfftfreq(size)[None, :], fft.fftfreq(size)[:, None]
    k = np.hypot(kx, ky)
    k[0, 0] = 1.0
    spectrum = fft.rfft2(rng.standard_normal((size, size))) * k ** (-slope / 2)
    spectrum[0, 0] = 0.0
    field = fft.irfft2(spectrum, s=(size, size))
    low, high = np.percentile(field, [0.5, 99.5])
    return np.clip((field - low) / (high - low), 0, 1)


def _warped(field: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Move the field's points by a second random field: turbulence's folds."""
    size = field.shape[0]
    yy, xx = np.mgrid[:size, :size]
    dx, dy = (fractal(size, 3.6, rng) - 0.5 for _ in range(2))
    where = [yy + strength * size * dy, xx + strength * size * dx]
    return ndimage.map_coordinates(field, where, order=1, mode="grid-wrap")


def _tint(rng: np.random.Generator, saturation: float = 1.0) -> np.ndarray:
    colour = 1 + saturation * rng.uniform(-0.8, 0.8, 3)
    return (colour / colour.mean()).clip(0.05, None)[:, None, None]


def _emission(size: int, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros((3, size, size))
    for _ in range(rng.integers(1, 4)):
        cloud = _warped(fractal(size, rng.uniform(2.4, 3.6), rng), rng.uniform(0, 0.4), rng)
        out += _tint(rng) * cloud ** rng.uniform(1, 4) * rng.uniform(0.2, 1)
    return out


def _filaments(size: int, rng: np.random.Generator) -> np.ndarray:
    out = 0.3 * _emission(size, rng)
    for _ in range(rng.integers(1, 4)):
        sheet = _warped(fractal(size, rng.uniform(2.6, 3.4), rng), rng.uniform(0.1, 0.5), rng)
        ridge = 1 - np.abs(2 * sheet - 1)
        veil = fractal(size, 3.2, rng)
        out += _tint(rng, 1.2) * ridge ** rng.uniform(4, 40) * veil * rng.uniform(0.3, 1.2)
    return out


def _dark_cloud(size: int, rng: np.random.Generator) -> np.ndarray:
    depth = _warped(fractal(size, rng.uniform(2.6, 3.6), rng), rng.uniform(0, 0.5), rng)
    extinction = np.array([0.75, 1.0, 1.3])[:, None, None] * rng.uniform(1, 5)
    return _emission(size, rng) * np.exp(-extinction * depth ** rng.uniform(1, 3))


def _sky(size: int, rng: np.random.Generator) -> np.ndarray:
    yy, xx = np.mgrid[:size, :size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + (xx * np.cos(angle) + yy * np.sin(angle)) * rng.uniform(0, 0.6)
    cirrus = fractal(size, rng.uniform(2.8, 3.6), rng) * rng.uniform(0, 0.3)
    return _tint(rng, 0.3) * (ramp + cirrus)


FAMILIES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "emission": _emission,
    "filaments": _filaments,
    "dark cloud": _dark_cloud,
    "sky": _sky,
}


def sersic(
    size: int,
    radius: float,
    n: float,
    axis_ratio: float,
    angle: float,
    x: float,
    y: float,
) -> np.ndarray:
    """Sersic profile, ``exp(-b ((r / radius)^(1 / n) - 1))``, periodic, 1 at most.

    ``b = 2 n - 1/3`` (Ciotti & Bertin 1999, A&A 352, 447); lengths in pixels.
    """
    xs = np.arange(size)
    dx = ((xs - x + size / 2) % size - size / 2)[None, :]
    dy = ((xs - y + size / 2) % size - size / 2)[:, None]
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = (-dx * np.sin(angle) + dy * np.cos(angle)) / axis_ratio
    # The softening keeps a steep bulge from becoming a point, which is a star.
    r = np.sqrt(u * u + v * v + 1.5**2) / radius
    profile = np.exp(-(2 * n - 1 / 3) * (r ** (1 / n) - 1))
    return profile / profile.max()


def _knots(size: int, rng: np.random.Generator) -> np.ndarray:
    """Things that look a little like stars and must stay: galaxies and soft knots."""
    out = np.zeros((3, size, size))
    for _ in range(rng.poisson(8)):
        profile = sersic(
            size,
            radius=float(10 ** rng.uniform(0.7, 1.7)),
            n=float(rng.uniform(0.7, 4.0)),
            axis_ratio=float(rng.uniform(0.2, 0.95)),
            angle=float(rng.uniform(0, np.pi)),
            x=float(rng.uniform(0, size)),
            y=float(rng.uniform(0, size)),
        )
        out += _tint(rng, 0.5) * profile * rng.uniform(0.05, 0.7)
    for _ in range(rng.poisson(2)):
        x, y = rng.integers(0, size, 2)
        spot = np.zeros((size, size))
        spot[y, x] = 1.0
        blob = ndimage.gaussian_filter(spot, float(rng.uniform(5, 18)), mode="wrap")
        clumps = blob / blob.max() * (0.4 + fractal(size, 2.6, rng))
        out += _tint(rng) * clumps * rng.uniform(0.05, 0.5)
    return out


def procedural(size: int, rng: np.random.Generator, family: str | None = None) -> np.ndarray:
    """Invent a nebula or an empty sky, as it would look stretched for display.

    Parameters
    ----------
    size : int
        Side in pixels.
    rng : numpy.random.Generator
    family : {'emission', 'filaments', 'dark cloud', 'sky'}, optional
        By default one is drawn.

    Returns
    -------
    ndarray, shape (3, size, size), float32, values 0 to 1
    """
    if family is None:
        family = str(rng.choice(list(FAMILIES), p=[0.35, 0.2, 0.2, 0.25]))
    elif family not in FAMILIES:
        raise ValueError(f"family is {family!r}; it must be one of {list(FAMILIES)}")
    picture = FAMILIES[family](size, rng)
    picture = picture / max(float(np.percentile(picture, 99.5)), 1e-6)
    picture = picture * rng.uniform(0.3, 0.9) + rng.uniform(0.02, 0.2)
    if rng.random() < 0.75:
        picture = picture + _knots(size, rng)
    return np.clip(picture, 0, 1).astype(np.float32)


def is_held_out(path: Path) -> bool:
    """Whether a picture belongs to validation: decided by its name alone, for ever."""
    digest = hashlib.sha256(path.name.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HOLD_OUT_ONE_IN == 0


def list_pictures(folder: Path) -> list[Path]:
    """Every picture below `folder`, sorted, so that a seed means the same everywhere."""
    endings = PICTURE_ENDINGS + FITS_ENDINGS
    found = (p for p in Path(folder).rglob("*") if p.name.lower().endswith(endings))
    return sorted(p for p in found if p.is_file())


def read_picture(path: Path) -> np.ndarray:
    """Read a picture or a FITS map as RGB in the display range.

    Returns
    -------
    ndarray, shape (3, H, W), float32, values 0 to 1
        FITS maps are scaled from their 1st to their 99.5th percentile, gaps filled
        with the lower one, and repeated in the three channels.
    """
    if path.name.lower().endswith(FITS_ENDINGS):
        from astropy.io import fits

        with fits.open(path) as hdus:
            data = next(h.data for h in hdus if h.data is not None and h.data.ndim >= 2)
        while data.ndim > 2:
            data = data[len(data) // 2]
        data = np.asarray(data, np.float64)
        low, high = np.nanpercentile(data[np.isfinite(data)], [1, 99.5])
        grey = np.nan_to_num((data - low) / max(high - low, 1e-12), nan=0.0)
        return np.repeat(grey.clip(0, 1)[None].astype(np.float32), 3, axis=0)
    from PIL import Image

    with Image.open(path) as picture:
        rgb = np.asarray(picture.convert("RGB"), np.float32) / 255.0
    return np.moveaxis(rgb, -1, 0)


def crop(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a square out of a picture, shrunk when there is room for it.

    Shrinking removes compression blocks and the photograph's own sharp points;
    smaller pictures are continued by reflection.

    Returns
    -------
    ndarray, shape (3, size, size), float32
    """
    side = min(picture.shape[1:])
    factor = int(rng.integers(1, max(2, min(4, side // size) + 1)))
    if side >= 2 * size:
        factor = max(2, factor)
    want = min(size * factor, side)
    h, w = picture.shape[1:]
    y, x = rng.integers(0, h - want + 1), rng.integers(0, w - want + 1)
    cut = picture[:, y : y + want, x : x + want]
    if want != size * factor:
        pad = size - want
        cut = np.pad(cut, ((0, 0), (0, pad), (0, pad)), mode="symmetric")
    elif factor > 1:
        cut = cut.reshape(3, size, factor, size, factor).mean(axis=(2, 4))
    return np.ascontiguousarray(cut, np.float32)
