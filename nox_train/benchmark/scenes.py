"""Composes the benchmark's scenes and keeps them in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import galsim
import numpy as np
import pooch
from scipy import ndimage

import nox_train
from nox_train import backgrounds
from nox_train.benchmark import light
from nox_train.benchmark.grid import SEED, VERSION, Spec
from nox_train.benchmark.scene import OBJECT, STAR, Curve, Scene, automatic, levels, unit

#: Peaks of the faintest stars, over the noise; they are part of the grain.
_FAINTEST = 1.5
#: An object's aperture holds this share of its light.
_APERTURE = 0.9
#: Backgrounds are as sharp as they come under stars of this width, in pixels.
_SHARPEST = 1.5
_KINDS = ("galaxy", "galaxy", "knot", "planetary")


@dataclass(frozen=True)
class _Sky:
    """Linear light without stars: noiseless, its noise, and what noise is made of."""

    clean: np.ndarray
    sigma: np.ndarray
    gain: float
    curve: Curve


def _background(spec: Spec, pictures: list[Path]) -> np.ndarray:
    """A star-free picture on the display scale, its sky at a usual level."""
    rng = np.random.default_rng([SEED, VERSION, 1, spec.index])
    # What is narrower than a star cannot be told from one: backgrounds are enlarged, so
    # that their finest knots have the same share of a star's width everywhere.
    side = min(spec.size, max(128, round(spec.size * _SHARPEST / spec.fwhm)))
    picture = None
    for i in range(len(pictures)):  # until one has a part without points of light
        path = pictures[(spec.index + i) % len(pictures)]
        picture, _ = backgrounds.star_free_crop(backgrounds.read_picture(path), side, rng)
        if picture is not None:
            break
    if picture is None:
        picture = backgrounds.procedural(side, rng)
    picture = np.asarray(picture, np.float64)
    if side < spec.size:
        grow = (1.0, spec.size / side, spec.size / side)
        picture = ndimage.zoom(picture, grow, order=3, mode="grid-mirror", grid_mode=True)
    if spec.mono:
        picture = picture.mean(axis=0, keepdims=True)
    low, middle = np.percentile(picture, 1), np.median(picture)
    level = rng.uniform(0.1, 0.22)
    scale = min((level - 0.06) / max(middle - low, 0.02), 1.6)
    return np.asarray(np.clip(0.06 + (picture - low) * scale, 0.04, 0.9))


def _curve(spec: Spec, rng: np.random.Generator) -> Curve:
    channels = 1 if spec.mono else 3
    ranges = {"linear": (0.004, 0.03), "mtf": (0.02, 0.15), "strong": (0.003, 0.02)}
    black = (0.0,) * channels
    if spec.stretch == "asinh":
        return Curve("asinh", black, (float(10 ** rng.uniform(1.3, 2.3)),) * channels)
    low, high = np.log(ranges[spec.stretch])
    return Curve("mtf", black, (float(np.exp(rng.uniform(low, high))),) * channels)


def _sky(spec: Spec, background: np.ndarray, rng: np.random.Generator) -> _Sky:
    """The background in linear light with noise that gives the grain asked for."""
    curve = _curve(spec, rng)
    clean = curve.inverse(background)
    level = np.median(background)
    at = np.full((len(clean), 1, 1), level)
    slope = float(np.mean((curve.inverse(at + 1e-4) - curve.inverse(at)) / 1e-4))
    sigma = spec.grain * slope
    shot = rng.uniform(0.2, 0.9)
    middle = float(np.median(clean))
    gain = shot * sigma**2 / middle
    if spec.linear:  # a camera's offset keeps the noise off zero
        clean = clean + 6 * sigma + rng.uniform(0.0, 0.02)
    local = np.sqrt((1 - shot) * sigma**2 + gain * curve.inverse(background))
    return _Sky(clean, local, gain, curve)


def _objects(
    spec: Spec, sky: _Sky, fwhm: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Galaxies and knots: their light, their table, their apertures and light there."""
    added = np.zeros_like(sky.clean)
    size, mean_sigma = spec.size, _of_mean(sky.sigma)
    rows, where, amounts = [], [], []
    for _ in range(int(rng.integers(5, 11))):
        kind = str(rng.choice(_KINDS))
        x, y = (int(v) for v in rng.integers(20, size - 20, 2))
        stamp = light.galaxy(kind, fwhm, rng)
        noise = float(mean_sigma[y, x])
        peak = noise * 10 ** rng.uniform(0.7, 1.9)
        stamp = stamp * min(peak, 0.5) / stamp.max()
        tint = np.ones(len(added)) if spec.mono else rng.uniform(0.7, 1.3, 3)
        own = np.zeros((size, size))
        half = len(stamp) // 2
        y0, y1, x0, x1 = max(0, y - half), min(size, y + half + 1), max(0, x - half), x + half + 1
        x1 = min(size, x1)
        own[y0:y1, x0:x1] = stamp[y0 - y + half : y1 - y + half, x0 - x + half : x1 - x + half]
        added += (tint / tint.mean())[:, None, None] * own
        flat = own.ravel()
        order = np.argsort(-flat, kind="stable")
        count = int(np.searchsorted(np.cumsum(flat[order]), _APERTURE * flat.sum())) + 1
        aperture = np.sort(order[:count])
        inside = flat[aperture]
        snr = inside.sum() / np.sqrt(np.square(mean_sigma.ravel()[aperture]).sum())
        rows.append((kind, x, y, flat.sum(), snr, count))
        where.append(aperture)
        amounts.append(inside)
    return added, np.array(rows, OBJECT), np.concatenate(where), np.concatenate(amounts)


def _of_mean(sigma: np.ndarray) -> np.ndarray:
    """Noise of the mean of the channels, each with noise of its own."""
    return np.asarray(np.sqrt(np.square(sigma).sum(axis=0)) / len(sigma))


def _stars(
    spec: Spec, sky: _Sky, psf: light.PointSpread, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The stars' light, (C, H, W), and their table."""
    size, slope = spec.size, float(rng.uniform(0.7, 1.1))
    n = int(rng.poisson(spec.density * size * size / 1e6 * (_FAINTEST / 5.0) ** -slope))
    snr = _FAINTEST * (1.0 - rng.random(n)) ** (-1.0 / slope)
    sigma = _of_mean(sky.sigma)
    middle = float(np.median(sigma))
    most = 10.0 if spec.fwhm > 4 else 40.0
    snr = np.minimum(snr, most / middle)
    extra = 10 ** rng.uniform(0.2, np.log10(most), spec.bright) / middle
    snr = np.concatenate([snr, extra])
    n = len(snr)
    x, y = np.rint(rng.uniform(0, size - 1, (2, n)) * psf.step) / psf.step
    colours = star_fluxes = light.star_colours(n, spec.mono, rng)
    height = float(psf.samples.mean(axis=0).max())
    flux = snr * middle / height
    star_fluxes = colours * flux
    added = np.zeros_like(sky.clean)
    at_fluxes, radii = light.reaches(psf, middle)
    reach = radii[np.searchsorted(at_fluxes, flux).clip(0, len(radii) - 1)]
    for i in range(n):
        light.add_star(added, psf, x[i], y[i], star_fluxes[:, i], int(reach[i]))
    return added, _star_table(x, y, flux, star_fluxes, added, sky, psf, sigma)


def _star_table(
    x: np.ndarray, y: np.ndarray, flux: np.ndarray, fluxes: np.ndarray, added: np.ndarray,
    sky: _Sky, psf: light.PointSpread, sigma: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """What is known of each star once all are there."""
    table = np.zeros(len(x), STAR)
    total, mean_sky = added.mean(axis=0), sky.clean.mean(axis=0)
    steps = psf.step
    column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    column, row = column.clip(0, total.shape[1] - 1), row.clip(0, total.shape[0] - 1)
    centre = psf.samples.shape[1] // 2
    dy = np.rint((row - y) * steps).astype(int)
    dx = np.rint((column - x) * steps).astype(int)
    peak = (fluxes * psf.samples[:, centre + dy, centre + dx]).mean(axis=0)
    table["x"], table["y"], table["flux"], table["peak"] = x, y, flux, peak
    table["grain snr"] = peak / sigma[row, column]
    rough = texture(mean_sky, psf.fwhm)
    table["snr"] = peak / np.hypot(sigma, rough)[row, column]
    table["fwhm"] = psf.fwhm
    table["counted"] = peak >= 0.5 * total[row, column]
    brightest = (fluxes.max(axis=0) / np.maximum(flux, 1e-30)) * peak
    table["saturated"] = brightest + mean_sky[row, column] >= 1.0
    profile = psf.profile()
    core = max(1.0, psf.fwhm / 2)
    table["radius"] = core
    for i in np.flatnonzero(table["saturated"]):
        full = np.flatnonzero(flux[i] * profile + mean_sky[row[i], column[i]] >= 1.0)
        table["radius"][i] = max(core, float(full[-1] + 1) if full.size else 0.0)
    return table


def texture(clean: np.ndarray, fwhm: float) -> np.ndarray:
    """Local standard deviation of a noiseless picture on the scale of a star.

    Pebbles and blades of grass as large as the stars hide them as noise does.  What is
    smoother than a Gaussian of one FWHM is taken off, the rest is squared and averaged
    over a Gaussian of three.

    Parameters
    ----------
    clean : ndarray, shape (H, W)
        Linear light or display scale.
    fwhm : float
        Of the stars, in pixels.

    Returns
    -------
    ndarray, shape (H, W)
        In the units of `clean`.
    """
    fine = clean - ndimage.gaussian_filter(clean, fwhm)
    return np.asarray(np.sqrt(ndimage.gaussian_filter(fine * fine, 3 * fwhm)))


def _noise(shape: tuple[int, ...], correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of standard deviation 1, through a Gaussian as wide as `correlation`."""
    white = rng.standard_normal(shape)
    if not correlation:
        return white
    soft = ndimage.gaussian_filter(white, (0, correlation, correlation), mode="wrap")
    return np.asarray(soft / soft.std())


def compose(spec: Spec, pictures: list[Path] | None = None) -> Scene:
    """Make one scene.

    Parameters
    ----------
    spec : Spec
    pictures : list of Path, optional
        Star-free pictures to take the background from; without them it is invented.

    Returns
    -------
    Scene
    """
    rng = np.random.default_rng([SEED, VERSION, 2, spec.index])
    psf = light.point_spread(spec, rng)
    sky = _sky(spec, _background(spec, pictures or []), rng)
    galaxies, objects, apertures, amounts = _objects(spec, sky, psf.fwhm, rng)
    clean = sky.clean + galaxies
    sky = _Sky(clean, np.sqrt(sky.sigma**2 + sky.gain * galaxies), sky.gain, sky.curve)
    stars, table = _stars(spec, sky, psf, rng)
    without = clean + sky.sigma * _noise(clean.shape, spec.correlation, rng)
    shot = np.sqrt(sky.gain * stars) * _noise(clean.shape, spec.correlation, rng)
    both = without + stars + shot
    if spec.linear:
        input_, truth = levels(both), levels(without)
        curve = automatic(unit(input_).astype(np.float64))
    else:
        curve = sky.curve
        input_ = levels(curve.forward(both))
        truth = levels(curve.forward(without))
    step = sky.sigma / 2
    rise = (curve.forward(clean + step) - curve.forward(clean - step)) / (2 * step)
    sigma = np.maximum(_of_mean(rise * sky.sigma), 5e-4)
    rough = texture(curve.forward(clean).mean(axis=0), psf.fwhm)
    facts = spec.as_dict() | {
        "fwhm measured": psf.fwhm, "psf": psf.facts, "stars": len(table),
        "stars above 5 sigma": int((table["snr"] >= 5).sum()),
        "saturated": int(table["saturated"].sum()),
        "linear noise": float(np.median(_of_mean(sky.sigma))),
    }  # fmt: skip
    return Scene(
        spec.name, facts, spec.linear, input_, truth, sigma.astype(np.float32),
        rough.astype(np.float32), curve, table, objects, apertures, amounts,
    )  # fmt: skip


def held_out(folder: Path | None) -> list[Path]:
    """The pictures of a folder that training keeps out of its hands; none for None.

    Raises
    ------
    FileNotFoundError
        The folder has none.
    """
    if folder is None:
        return []
    found = [p for p in backgrounds.list_pictures(Path(folder)) if backgrounds.is_held_out(p)]
    if not found:
        raise FileNotFoundError(
            f"{folder}: no held-out picture (about one in ten is, by its name's hash); "
            "give a larger folder, or leave --backgrounds out for invented ones"
        )
    return found


def version_hash(pictures: list[Path]) -> str:
    """Hash of all that decides the scenes' pixels: code, libraries and backgrounds."""
    digest = hashlib.sha256()
    here, train = Path(__file__).parent, Path(nox_train.__file__).parent
    for name in ("grid.py", "scene.py", "light.py", "scenes.py"):
        digest.update((here / name).read_bytes())
    for path in sorted(train.rglob("backgrounds*.py")) + sorted(train.glob("backgrounds/*.py")):
        digest.update(path.read_bytes())
    digest.update(f"{galsim.__version__} {np.__version__} {version('scipy')}".encode())
    for path in pictures:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def default_cache() -> Path:
    """Where scenes are kept: in the user's cache, as everything astronox keeps."""
    return Path(pooch.os_cache("astronox")) / "bench"


class SceneSet:
    """Scenes made when they are first asked for, and read from disk from then on.

    Parameters
    ----------
    specs : list of Spec
    folder : Path, optional
        Star-free pictures for backgrounds.
    cache : Path, optional
        By default the user's cache folder.
    """

    def __init__(
        self, specs: list[Spec], folder: Path | None = None, cache: Path | None = None
    ) -> None:
        self.specs = specs
        self.pictures = held_out(folder)
        self.key = version_hash(self.pictures)
        self.folder = (default_cache() if cache is None else Path(cache)) / self.key

    def __len__(self) -> int:
        return len(self.specs)

    def prepare(self, i: int) -> Path:
        """Make scene `i` unless it is there whole; its file."""
        spec = self.specs[i]
        path = self.folder / f"{spec.name}-{spec.size}.npz"
        try:
            Scene.load(path)
        except (OSError, ValueError):  # not there yet, or cut short
            compose(spec, self.pictures).save(path)
        return path

    def __getitem__(self, i: int) -> Scene:
        return Scene.load(self.prepare(i))

    def __iter__(self) -> Iterator[Scene]:
        return (Scene.load(self.prepare(i)) for i in range(len(self)))
