"""Measures what a remover made of a synthetic scene, and sums many scenes up."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage

from nox_train.benchmark import figures
from nox_train.benchmark.scene import Scene, unit

#: Bins of the stars' peak over the noise, in standard deviations.
SNR_BINS = ((3.0, 5.0), (5.0, 10.0), (10.0, 30.0), (30.0, 100.0), (100.0, np.inf))
#: Bins of the stars' width, in pixels.
FWHM_BINS = ((0.0, 2.0), (2.0, 2.8), (2.8, 4.0), (4.0, 5.5), (5.5, 7.0), (7.0, np.inf))
#: From this many standard deviations on a star is bright enough to leave a coloured disc.
TINT_SNR = 100.0


def _stars(scene: Scene, seen: np.ndarray, error: np.ndarray) -> dict:
    """Each counted star: how bright, how wide, and whether it is gone."""
    table = scene.stars[scene.stars["counted"] & (scene.stars["grain snr"] >= SNR_BINS[0][0])]
    where = table["x"], table["y"], table["radius"]
    light, pixels = figures.core_means(seen, *where)
    left, _ = figures.core_means(error, *where)
    rows = np.floor(table["y"] + 0.5).astype(int)
    columns = np.floor(table["x"] + 0.5).astype(int)
    sigma, rough = scene.sigma[rows, columns], scene.texture[rows, columns]
    area = figures.noise_area(scene.facts["correlation"])
    gone = figures.removed(light, left, sigma, pixels, area, rough)
    return {
        "snr": table["snr"].round(2).tolist(),
        "grain snr": table["grain snr"].round(2).tolist(),
        "removed": gone.tolist(),
        "saturated": table["saturated"].tolist(),
    }


def _kept(scene: Scene, made: np.ndarray, outside: np.ndarray) -> list[dict]:
    """Flux that each galaxy or knot keeps, measured where no star light falls."""
    error = (scene.in_light(made) - scene.in_light(unit(scene.truth))).mean(axis=0).ravel()
    clear = outside.ravel()
    out, start = [], 0
    for row in scene.objects:
        stop = start + int(row["pixels"])
        where, light = scene.apertures[start:stop], scene.light[start:stop]
        start, free = stop, clear[where]
        own = light[free].sum()
        if row["snr"] < 20 or own < 0.3 * light.sum():
            continue  # too faint to say, or mostly under stars
        kept = 1.0 + float(error[where[free]].sum() / own)
        out.append({"kind": str(row["kind"]), "snr": float(row["snr"]), "kept": kept})
    return out


def measure(scene: Scene, made: np.ndarray) -> dict:
    """All figures of one scene.

    Parameters
    ----------
    scene : Scene
    made : ndarray, shape (C, H, W)
        What the remover made of `scene.picture`, in the same units.

    Returns
    -------
    dict
        For JSON; docs/benchmark.md defines each figure.

    Raises
    ------
    ValueError
        `made` has another shape, or values that are not finite.
    """
    made = np.asarray(made)
    if made.shape != scene.input.shape:
        raise ValueError(
            f"the remover made {made.shape} of {scene.input.shape}; it must keep the shape"
        )
    if not np.isfinite(made).all():
        raise ValueError("the remover made values that are not finite")
    seen, truth = scene.display(scene.picture), scene.display(unit(scene.truth))
    shown = scene.display(made)
    inside, outside = figures.footprint(seen, truth)
    clear = figures.enough(outside)
    error = shown - truth
    mean_error = error.mean(axis=0)
    relative = mean_error / scene.sigma
    similar = figures.ssim_map(shown, truth)
    fwhm = scene.facts["fwhm measured"]
    area = figures.noise_area(scene.facts["correlation"])
    near = ndimage.binary_dilation(inside, figures.disc(max(1.0, fwhm)))
    bright = scene.stars[scene.stars["saturated"] & scene.stars["counted"]]
    tinted = scene.stars[
        scene.stars["counted"] & (scene.stars["saturated"] | (scene.stars["snr"] >= TINT_SNR))
    ]
    coloured = len(error) == 3
    radius = np.maximum(np.round(fwhm), np.round(1.5 * tinted["radius"]))
    tint = figures.tints(error, tinted["x"], tinted["y"], radius) if coloured else np.zeros(0)
    return {
        "name": scene.name,
        "stretch": scene.facts["stretch"],
        "colour": "mono" if scene.facts["mono"] else "RGB",
        "vanes": scene.facts["vanes"],
        "fwhm": fwhm,
        "footprint": float(inside.mean()),
        "outside": float(outside.mean()),
        "psnr": {
            "overall": figures.psnr(error),
            "inside": figures.psnr(error[:, inside]),
            "outside": figures.psnr(error[:, outside]) if clear else None,
        },
        "ssim": {
            "overall": float(similar.mean()),
            "inside": float(similar[inside].mean()) if inside.any() else None,
            "outside": float(similar[outside].mean()) if clear else None,
        },
        "stars": _stars(scene, (seen - truth).mean(axis=0), mean_error),
        "objects": _kept(scene, made, outside),
        "bias": {
            "outside": figures.bias(mean_error[outside], scene.sigma[outside]) if clear else None,
            "inside": float(np.median(relative[inside])) if inside.any() else None,
        },
        "halos": [
            figures.halo(mean_error, scene.sigma, row["x"], row["y"], fwhm) for row in bright
        ],
        "pits": figures.count_pits(mean_error, scene.sigma, near, fwhm, area, scene.texture),
        "grain": figures.grain_ratio(shown.mean(axis=0), truth.mean(axis=0), inside),
        "untouched": figures.untouched(scene.picture, made, outside) if clear else None,
        "tints": tint.tolist(),
    }


def spread(values: Iterable[float | None]) -> dict:
    """Count, mean, median, 10th and 90th percentile, lowest and highest of what is there."""
    there = np.array([v for v in values if v is not None], float)
    if not there.size:
        return {"n": 0}
    low, high = np.percentile(there, [10, 90])
    return {
        "n": int(there.size), "mean": float(there.mean()), "median": float(np.median(there)),
        "p10": float(low), "p90": float(high), "min": float(there.min()),
        "max": float(there.max()),
    }  # fmt: skip


def _share(mask: np.ndarray, of: np.ndarray) -> dict:
    n = int(of.sum())
    return {"n": n, "share": float((mask & of).sum() / n) if n else None}


def _name(low: float, high: float, unit_: str) -> str:
    if np.isinf(high):
        return f"over {low:g} {unit_}"
    return f"{low:g}-{high:g} {unit_}" if low else f"under {high:g} {unit_}"


def completeness(scenes: list[dict]) -> dict:
    """Share of the stars removed, by peak over noise, by width and for saturated ones."""
    snr = np.array([v for s in scenes for v in s["stars"]["snr"]])
    plain = np.array([v for s in scenes for v in s["stars"]["grain snr"]])
    gone = np.array([v for s in scenes for v in s["stars"]["removed"]], bool)
    full = np.array([v for s in scenes for v in s["stars"]["saturated"]], bool)
    fwhm = np.array([s["fwhm"] for s in scenes for _ in s["stars"]["snr"]])
    bright, middling = snr >= 10, (snr >= 5) & (snr < 10)
    by_fwhm = {}
    for low, high in FWHM_BINS:
        here = (fwhm >= low) & (fwhm < high)
        by_fwhm[_name(low, high, "px")] = {
            "above 10 sigma": _share(gone, here & bright),
            "5-10 sigma": _share(gone, here & middling),
        }
    return {
        "above 10 sigma": _share(gone, bright),
        "5-10 sigma": _share(gone, middling),
        "saturated": _share(gone, full),
        "above 10 sigma of the grain": _share(gone, plain >= 10),
        "5-10 sigma of the grain": _share(gone, (plain >= 5) & (plain < 10)),
        "by snr": {
            _name(low, high, "sigma"): _share(gone, (snr >= low) & (snr < high))
            for low, high in SNR_BINS
        },
        "by fwhm": by_fwhm,
        "removed above 5 sigma": int((gone & (plain >= 5)).sum()),
    }


def _objects(scenes: list[dict]) -> dict:
    rows = [o for s in scenes for o in s["objects"]]
    out = {}
    for kind in ("galaxy", "knot", "planetary", "all"):
        kept = [o["kept"] for o in rows if kind in ("all", o["kind"])]
        lost = float(np.mean([k < 0.5 for k in kept])) if kept else None
        out[kind] = spread(kept) | {"deleted": lost}
    return out


def _halos(scenes: list[dict]) -> list[dict]:
    stars = [h for s in scenes for h in s["halos"]]
    out = []
    for i, (low, high) in enumerate(figures.ANNULI):
        values = [h[i] for h in stars if h[i] is not None]
        size = spread(abs(v) for v in values)
        signed = spread(values)
        out.append(
            {
                "from": low,
                "to": high,
                "n": len(values),
                "median": signed.get("median"),
                "median size": size.get("median"),
                "p90 size": size.get("p90"),
                "below 2 sigma": float(np.mean(np.abs(values) < 2)) if values else None,
            }
        )
    return out


def summary(scenes: list[dict]) -> dict:
    """Figures of all scenes together; see docs/benchmark.md."""

    def over(pick: Callable[[dict], float | None]) -> dict:
        return spread(pick(s) for s in scenes)

    done = completeness(scenes)
    pits, gone = sum(s["pits"] for s in scenes), done["removed above 5 sigma"]
    tint = [t for s in scenes for t in s["tints"]]
    places = ("overall", "inside", "outside")
    return {
        "scenes": len(scenes),
        "psnr": {p: spread(s["psnr"][p] for s in scenes) for p in places},
        "ssim": {p: spread(s["ssim"][p] for s in scenes) for p in places},
        "completeness": done,
        "kept flux": _objects(scenes),
        "bias": {
            "outside": over(lambda s: s["bias"]["outside"]),
            "outside size": over(lambda s: _size(s["bias"]["outside"])),
            "inside": over(lambda s: s["bias"]["inside"]),
            "inside size": over(lambda s: _size(s["bias"]["inside"])),
        },
        "halo": _halos(scenes),
        "pits": {"count": pits, "per star removed": pits / gone if gone else None},
        "grain ratio": over(lambda s: s["grain"]),
        "untouched": over(lambda s: s["untouched"]),
        "tint": spread(tint)
        | {"visible": float(np.mean(np.array(tint) > figures.VISIBLE)) if tint else None},
    }


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)


def by(scenes: list[dict], key: str) -> dict:
    """The main figures for each value of `key`: 'stretch', 'colour' or 'vanes'."""
    out = {}
    for value in sorted({s[key] for s in scenes}, key=str):
        mine = [s for s in scenes if s[key] == value]
        done = completeness(mine)
        out[str(value)] = {
            "scenes": len(mine),
            "psnr inside": spread(s["psnr"]["inside"] for s in mine).get("mean"),
            "above 10 sigma": done["above 10 sigma"]["share"],
            "5-10 sigma": done["5-10 sigma"]["share"],
            "grain ratio": spread(s["grain"] for s in mine).get("median"),
        }
    return out
