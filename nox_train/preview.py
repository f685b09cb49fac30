"""Pictures of what the scenes are made of: look before you train."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nox_train import psf, stars
from nox_train.dataset import Bank
from nox_train.scenes import Scene

FILES = ("scenes.png", "psf.png", "fluxes.png", "recipes.png")


def _row(scene: Scene) -> np.ndarray:
    """Input, target and four times their difference, side by side; (H, W, 3)."""
    shown = [scene.input, scene.target, np.clip(0.5 + 2 * (scene.input - scene.target), 0, 1)]
    return np.moveaxis(np.concatenate(shown, axis=2), 0, -1)


def _said(facts: dict) -> str:
    """A scene's recipe in a line."""
    kind = "linear" if facts["linear"] else facts["development"]["kind"]
    words = [kind, "mono" if facts["mono"] else "colour"]
    words += [facts["curve"][0]] * (facts["curve"][0] != "none")
    for key in ("bayer", "bloom", "sharpening", "rounds", "reduction", "jpeg", "hot", "cosmics"):
        if facts[key]:
            value = f" {facts[key]:.2g}" if isinstance(facts[key], float) else ""
            words.append({"rounds": "deconvolved", "reduction": "reduced"}.get(key, key) + value)
    words += ["recombined"] * bool(facts["recombined"])
    if "resized" in facts:
        words.append(f"resized {facts['resized']:g}")
    return ", ".join(words)


def scenes_sheet(path: Path, bank: Bank, *, seed: int, count: int = 24, size: int = 256) -> None:
    """Contact sheet of scenes: input, target, difference, and the recipe above each."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng([seed, 4])
    made = [bank.scene(rng, size) for _ in range(count)]
    columns = 3
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(18, 2.2 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, scene in zip(axes.flat, made, strict=False):
        axis.imshow(_row(scene), interpolation="nearest")
        axis.set_title(_said(scene.parameters), fontsize=8, loc="left")
    _save(figure, path)


def psf_sheet(path: Path, *, seed: int, count: int = 12, size: int = 256) -> None:
    """Random point spread functions, five decades on a log scale."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng([seed, 5])
    figure, axes = plt.subplots(-(-count // 4), 4, figsize=(12, 3.2 * -(-count // 4)))
    for axis in axes.flat:
        optics = psf.random_optics(rng)
        made = psf.colour_psf(optics, size)
        shown = np.log10(np.maximum(made / made.max(), 1e-5)) / 5 + 1
        axis.imshow(np.moveaxis(shown.clip(0, 1), 0, -1), interpolation="nearest")
        axis.set_title(f"FWHM {optics.fwhm:.1f} px", fontsize=8)
        axis.axis("off")
    _save(figure, path)


def flux_sheet(path: Path, *, seed: int) -> None:
    """Cumulative star counts of some populations against the law asked for."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng([seed, 6])
    figure, axis = plt.subplots(figsize=(7, 5))
    for _ in range(6):
        p = stars.random_population(rng, 2.5)
        flux = np.sort(stars.power_law_fluxes(20_000, p.slope, p.dynamic_range, rng))[::-1]
        line = axis.loglog(flux, np.arange(1, len(flux) + 1) / len(flux), lw=2, alpha=0.5)[0]
        end = p.dynamic_range**-p.slope
        law = (flux**-p.slope - end) / (1 - end)
        axis.loglog(flux, law, "--", color=line.get_color(), label=f"slope {p.slope:.2f}")
    axis.set_xlabel("flux over the faintest star's")
    axis.set_ylabel("share of the stars that are brighter")
    axis.set_ylim(1e-5, 1.5)
    axis.legend(fontsize=8, title="drawn (solid), asked for (dashed)")
    _save(figure, path)


def recipes_sheet(path: Path, *, seed: int, count: int = 60) -> None:
    """Curves from linear light to display, as they are drawn."""
    import matplotlib.pyplot as plt

    from nox_train.processing import DEVELOPMENTS
    from nox_train.recipes import random_recipe

    rng = np.random.default_rng([seed, 7])
    light = np.geomspace(1e-5, 1, 400)[None].astype(np.float32)
    colours = {kind: f"C{k}" for k, kind in enumerate(DEVELOPMENTS)}
    figure, axis = plt.subplots(figsize=(7, 5))
    drawn = (random_recipe(rng) for _ in range(count))
    for recipe in (r for r in drawn if not r.linear):
        kind = recipe.development.kind
        axis.semilogx(
            light[0], recipe.curved(recipe.development.forward(light))[0],
            color=colours[kind], lw=0.8, alpha=0.7,
        )  # fmt: skip
    for kind, colour in colours.items():
        axis.plot([], [], color=colour, label=kind)
    axis.legend(title="stretch")
    axis.set_xlabel("linear light, full wells")
    axis.set_ylabel("display")
    _save(figure, path)


def _save(figure: object, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.tight_layout()  # type: ignore[attr-defined]
    figure.savefig(path, dpi=90)  # type: ignore[attr-defined]
    plt.close(figure)  # type: ignore[arg-type]


def write_preview(folder: Path, bank: Bank, *, seed: int) -> list[Path]:
    """Write all of `FILES` to a folder.

    Returns
    -------
    list of Path
    """
    import matplotlib

    matplotlib.use("agg")  # no window, whatever the machine has
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    scenes_sheet(paths[0], bank, seed=seed)
    psf_sheet(paths[1], seed=seed)
    flux_sheet(paths[2], seed=seed)
    recipes_sheet(paths[3], seed=seed)
    return paths
