"""Small pictures at full size for the report: what the figures look like."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from scipy import ndimage

from nox_train.benchmark.scene import Scene, unit

SIDE = 128
_QUALITY = 93


def as_image(picture: np.ndarray) -> Image.Image:
    """A picture of the display range, (C, H, W), in eight bits and colour."""
    rgb = np.repeat(picture, 3, axis=0) if len(picture) == 1 else picture
    return Image.fromarray(np.rint(np.clip(np.moveaxis(rgb, 0, -1), 0, 1) * 255).astype(np.uint8))


def encoded(picture: np.ndarray) -> str:
    """A picture of the display range, (C, H, W), as a JPEG data address."""
    file = io.BytesIO()
    as_image(picture).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def window(x: float, y: float, shape: tuple[int, ...], side: int = SIDE) -> tuple[slice, slice]:
    """A square of `side` px round a place, moved inside the picture."""
    h, w = shape[-2:]
    y0 = min(max(0, round(y) - side // 2), max(0, h - side))
    x0 = min(max(0, round(x) - side // 2), max(0, w - side))
    return slice(y0, min(h, y0 + side)), slice(x0, min(w, x0 + side))


def crop(place: tuple[slice, slice], **pictures: np.ndarray) -> dict:
    """One row of the report: the same window of several pictures."""
    made = {name: encoded(picture[:, *place]) for name, picture in pictures.items()}
    return {"x": place[1].start, "y": place[0].start} | made


def _brightest(scene: Scene) -> tuple[float, float] | None:
    h, w = scene.input.shape[1:]
    stars = scene.stars
    inside = stars[
        (np.abs(stars["x"] - w / 2) < w / 2 - 24) & (np.abs(stars["y"] - h / 2) < h / 2 - 24)
    ]
    if not len(inside):
        return None
    best = inside[np.argmax(inside["peak"])]
    return float(best["x"]), float(best["y"])


def of_scene(scene: Scene, made: np.ndarray) -> list[dict]:
    """Crops of one scene: the brightest star, the clearest galaxy, the worst place.

    The first two are the same for every remover.
    """
    seen, truth = scene.display(scene.picture), scene.display(unit(scene.truth))
    shown = scene.display(made)
    places: list[tuple[str, float, float]] = []
    star = _brightest(scene)
    if star is not None:
        places.append(("brightest star", *star))
    if len(scene.objects):
        row = scene.objects[np.argmax(scene.objects["snr"])]
        places.append((str(row["kind"]), float(row["x"]), float(row["y"])))
    wrong = ndimage.gaussian_filter(np.abs(shown - truth).mean(axis=0), 3.0)
    y, x = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    places.append(("worst place", float(x), float(y)))
    return [
        {"scene": scene.name, "kind": kind}
        | crop(window(x, y, seen.shape), input=seen, truth=truth, output=shown)
        for kind, x, y in places
    ]


def chosen(rows: list[list[dict]], worst: list[float | None]) -> list[dict]:
    """Those that go into the result, of all scenes' crops.

    Brightest stars and galaxies of scenes spread evenly over the grid, and the worst
    place of the eight scenes with the lowest `worst` figure.
    """
    out = []
    few = len(rows) <= 16
    for i, crops in enumerate(rows):
        for row in crops:
            star, lowest = row["kind"] == "brightest star", row["kind"] == "worst place"
            if (star and (few or i % 3 == 0)) or (not star and not lowest and (few or i % 5 == 1)):
                out.append(row)
    figure = [np.inf if w is None else w for w in worst]
    order = sorted(range(len(rows)), key=lambda i: figure[i])
    return out + [row for i in order[:8] for row in rows[i] if row["kind"] == "worst place"]
