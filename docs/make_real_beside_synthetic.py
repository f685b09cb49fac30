"""Six real photographs, each beside a scene with the same width, density and stretch.

    python docs/make_real_beside_synthetic.py ../shared/data/astro docs/scenes-real.jpg

What is measured on the real crop (width of the stars, their number, the sky's level,
colour and grain) goes into the scene; what a telescope looks like is told here.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.modeling import fitting, models
from astropy.stats import mad_std
from photutils.detection import DAOStarFinder
from PIL import Image, ImageDraw
from scipy import ndimage

from nox_runtime import stretch
from nox_runtime.images import open_image
from nox_train import backgrounds, psf, scenes, stars
from nox_train.processing import Development
from nox_train.recipes import Recipe

SIDE = 320


@dataclass(frozen=True)
class Example:
    """A crop of a photograph, and what is told of the telescope and the sky."""

    name: str
    file: str
    credit: str
    at: tuple[int, int]
    family: str
    optics: dict = field(default_factory=dict)
    population: dict = field(default_factory=dict)
    midtones: float = 0.02
    saturated: float = 0.05


EXAMPLES = (
    Example(
        "refractor, stretched", "jamesbrink__california-nebula.jpg", "James Brink (MIT)",
        (330, 700), "emission", {}, {"slope": 0.9},
    ),
    Example(
        "Newtonian, stretched", "jamesbrink__crescent-nebula.jpg", "James Brink (MIT)",
        (950, 560), "emission",
        {"lambda_over_d": 1.1, "obstruction": 0.35, "vanes": 4, "vane_angle": 0.15,
         "vane_width": 0.012, "aureole_share": 0.05},
        {"slope": 0.7}, saturated=0.01,
    ),
    Example(
        "globular cluster", "stellarium__n104.png", "Stellarium (CC BY 3.0)", (350, 350), "sky",
        {}, {"cluster": "globular", "cluster_share": 0.9, "slope": 0.9, "temperature": 4800.0},
    ),
    Example(
        "dense Milky Way", "jamesbrink__double-cluster.jpg", "James Brink (MIT)", (430, 700), "sky",
        {}, {"cluster": "open", "cluster_share": 0.3, "slope": 0.8, "temperature": 9000.0,
             "temperature_spread": 0.5, "saturation": 1.5},
    ),
    Example(
        "Webb, NIRCam", "jwst__weic2212a.jpg", "NASA, ESA, CSA, STScI, Webb ERO (CC BY 4.0)",
        (560, 530), "dark cloud",
        {"aperture": "hexagons", "lambda_over_d": 0.7,
         "wavelengths_um": (4.44, 2.77, 1.50), "aureole_share": 0.003, "aperture_angle": 0.5236},
        {"slope": 0.6, "temperature": 12000.0, "saturation": 1.4}, saturated=0.02,
    ),
    Example(
        "linear, mono", "astropydata__reprojected_sdss_g.fits.bz2", "SDSS (CC BY 4.0)",
        (60, 170), "sky", {}, {"slope": 0.7, "mono": True},
    ),
)  # fmt: skip


def shown(path: Path, at: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """A crop as the runtime shows it to a model, and whether the picture was linear."""
    with open_image(path) as source:
        _, h, w = source.shape
        whole = np.nan_to_num(source.read(0, h, 0, w).astype(float))
        used = stretch.choose("auto", stretch.statistics(whole[:, ::2, ::2], source.dtype))
    y, x = at
    return used.forward(whole[:, y : y + SIDE, x : x + SIDE]), used.linear


def measure(picture: np.ndarray) -> dict[str, float]:
    """Width of the stars in pixels, their number, and grain, on the mean channel."""
    grey = picture.mean(axis=0).astype(float)
    flat = grey - ndimage.median_filter(grey, 25)
    sigma = float(mad_std(grey - ndimage.median_filter(grey, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = DAOStarFinder(max(0.06, 5 * sigma), 2.5)(flat)
        widths = []
        for star in sorted(found, key=lambda s: -s["peak"])[:200]:
            x, y = (round(float(star[k])) for k in _centre(found))
            cut = flat[y - 4 : y + 5, x - 4 : x + 5]
            if cut.shape != (9, 9) or cut.max() > 0.75:
                continue
            yy, xx = np.mgrid[:9, :9]
            start = models.Moffat2D(cut.max(), 4, 4, gamma=1.5, alpha=3)
            start.alpha.fixed = True
            fit = fitting.LMLSQFitter()(start, xx, yy, cut, maxiter=100)
            if 0.5 < abs(fit.fwhm) < 10:
                widths.append(abs(float(fit.fwhm)))
    return {"fwhm": float(np.median(widths)), "stars": len(found), "grain": sigma}


def _centre(table: object) -> tuple[str, str]:
    names = table.colnames  # type: ignore[attr-defined]
    return ("x_centroid", "y_centroid") if "x_centroid" in names else ("xcentroid", "ycentroid")


def synthetic(
    example: Example, real: np.ndarray, linear: bool, facts: dict[str, float]
) -> tuple[np.ndarray, dict[str, float]]:
    """The scene, its star count brought near the real one in a few rounds."""
    rng = np.random.default_rng(3)
    # The sky: an invented one with the real one's level and spread in each channel.
    sky = backgrounds.procedural(SIDE, rng, example.family, objects=False)
    smooth = ndimage.median_filter(real, (1, 21, 21))
    for plane, like in zip(sky, np.repeat(smooth, 3, 0)[:: len(smooth)], strict=True):
        plane[:] = (plane - plane.mean()) / max(float(plane.std()), 1e-3)
        plane[:] = plane * like.std() + like.mean()
    sky = np.clip(sky, 0.01, 0.95)
    # Width and density are brought near in a few rounds: crowding moves both.
    width = float(np.sqrt(max(facts["fwhm"] ** 2 - 0.6, 0.36)))
    density, best = facts["stars"] / SIDE**2 * 1e6, None
    grain = max(facts["grain"], 0.002)
    for _ in range(7):
        optics = psf.Optics(**{"fwhm": width, **example.optics})
        population = stars.Population(
            **{"density": density, "dynamic_range": 3e4, **example.population}
        )
        made = stars.star_field(512, optics, population, np.random.default_rng(5), psf_size=512)
        part = stars.Field(made.light[:, :SIDE, :SIDE], made.faintest, made.parameters)
        recipe = Recipe(
            linear=linear, development=Development("mtf", (example.midtones,) * 3),
            grain=grain, noise=1e-3, contrast=0.3, faint_sigma=8.0,
            saturated=example.saturated, most=0.6, correlation=0.4,
        )  # fmt: skip
        sky_ = sky.mean(axis=0, keepdims=True) if population.mono else sky
        if population.mono:
            part = stars.Field(part.light[:1], part.faintest, part.parameters)
        scene, _ = scenes.render(sky_.astype(np.float32), part, recipe, np.random.default_rng(7))
        got = measure(scene)
        best = scene, got
        if abs(got["stars"] / facts["stars"] - 1) < 0.1 and abs(got["fwhm"] - facts["fwhm"]) < 0.15:
            break
        width = float(np.clip(width * (facts["fwhm"] / got["fwhm"]) ** 1.2, 0.5, 8))
        density *= float(np.clip(facts["stars"] / max(got["stars"], 1), 0.3, 3))
        grain *= float(np.clip(max(facts["grain"], 5e-4) / max(got["grain"], 5e-4), 0.3, 3))
    assert best is not None
    return best


def main(folder: Path, out: Path) -> None:
    """Write the figure and print what was measured."""
    tiles = []
    print(f"{'':24} {'FWHM real':>9} {'scene':>6} {'stars real':>10} {'scene':>6} "
          f"{'grain real':>10} {'scene':>6}")  # fmt: skip
    for example in EXAMPLES:
        real, linear = shown(folder / example.file, example.at)
        facts = measure(real)
        scene, got = synthetic(example, real, linear, facts)
        print(
            f"{example.name:24} {facts['fwhm']:9.2f} {got['fwhm']:6.2f} {facts['stars']:10.0f} "
            f"{got['stars']:6.0f} {facts['grain']:10.4f} {got['grain']:6.4f}"
        )
        pair = [np.repeat(p, 3, 0) if len(p) == 1 else p for p in (real, scene)]
        pixels = (np.moveaxis(np.concatenate(pair, axis=2), 0, -1) * 255 + 0.5).astype(np.uint8)
        tile = Image.new("RGB", (2 * SIDE + 8, SIDE + 26), "white")
        tile.paste(Image.fromarray(pixels), (0, 22))
        words = f"{example.name}: real, {example.credit} | synthetic"
        ImageDraw.Draw(tile).text((4, 5), words, fill="black")
        tiles.append(tile)
    sheet = Image.new("RGB", (2 * tiles[0].width, 3 * tiles[0].height), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % 2 * tile.width, i // 2 * tile.height))
    sheet.save(out, quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
