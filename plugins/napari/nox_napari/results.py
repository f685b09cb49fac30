"""From a job's outcome to layers, and the layers to their places in the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.layers import Image, Layer, Points

from nox_napari.job import OUTPUTS, Outcome, Request
from nox_napari.layers import Picture
from nox_runtime.removal import Removal

#: Names of the layers, after that of the picture.
TITLES = {
    "starless": "starless", "stars": "stars", "mask": "star mask",
    "points": "removed stars", "preview": "preview",
}  # fmt: skip
#: Rings of the points layer are this many FWHM wide: outside what they mark.
_RING = 2.5
_SMALLEST_RING = 4.0


def mark(layer: Layer) -> dict[str, Any]:
    """What nox wrote on a layer that it made; empty for others."""
    found = layer.metadata.get("nox")
    return found if isinstance(found, dict) and "source" in found else {}


def own_layers(viewer: Any, key: str) -> dict[str, Layer]:
    """The layers that were made from the layer of this key, by role."""
    made = {}
    for layer in viewer.layers:
        known = mark(layer)
        # A duplicate that the user made carries a copy of the mark: it is the user's.
        if known.get("source") == key and known.get("self") == str(layer.unique_id):
            made[known["role"]] = layer
    return made


def build(outcome: Outcome) -> list[Layer]:
    """Layers of an outcome, lowest first; slow enough for a thread of its own."""
    made = _built(outcome)
    for layer in made:
        mark(layer)["self"] = str(layer.unique_id)
    return made


def _built(outcome: Outcome) -> list[Layer]:
    request = outcome.request
    if request.window is not None:
        return [_image(request, "preview", _stacked(outcome, "starless"), outcome)]
    wanted = [role for role in OUTPUTS if role in request.settings.outputs]
    made: list[Layer] = []
    for role in wanted:
        if role == "points":
            made.append(_points(outcome))
        else:
            made.append(_image(request, role, _stacked(outcome, role), outcome))
    # Stars and mask lie below starless, so that the last one on top is what was asked for.
    order = {"mask": 0, "stars": 1, "starless": 2, "points": 3}
    return sorted(made, key=lambda layer: order[mark(layer)["role"]])


def place(viewer: Any, layers: list[Layer]) -> Iterator[Layer]:
    """Put layers into the viewer, one for each step, so that it can breathe between.

    Layers of an earlier run on the same picture are replaced, and keep their place,
    visibility and opacity; those that were not asked for again go.  The selection
    stays.
    """
    if not layers:
        return
    key, roles = mark(layers[0])["source"], {mark(layer)["role"] for layer in layers}
    selected = list(viewer.layers.selection)
    before = own_layers(viewer, key)
    gone = {"preview"} if roles == {"preview"} else set(before)
    for role in gone - roles:
        if role in before:
            viewer.layers.remove(before[role])
    for layer in layers:
        old = before.get(mark(layer)["role"])
        if old is not None and old not in viewer.layers:
            old = None  # gone since the last step
        if old is not None and _fits(old, layer):
            _fill(old, layer)
            yield old
            continue
        if old is not None:
            layer.visible, layer.opacity = old.visible, old.opacity
            index = viewer.layers.index(old)
            viewer.layers.remove(old)
            viewer.layers.insert(index, layer)
        else:
            viewer.layers.insert(_index_above(viewer, key), layer)
        yield layer
    still = [layer for layer in selected if layer in viewer.layers]
    if still:
        viewer.layers.selection = set(still)


def _fits(old: Layer, new: Layer) -> bool:
    """Whether the old layer can show the new data: cheaper than a new layer."""
    if isinstance(old, Image) and isinstance(new, Image):
        same = old.multiscale == new.multiscale and old.rgb == new.rgb
        same = same and old.data.shape == new.data.shape and old.data.dtype == new.data.dtype
    else:
        same = isinstance(old, Points) and isinstance(new, Points) and old.ndim == new.ndim
    return bool(same and np.allclose(old.data_to_world((1,) * old.ndim),
                                     new.data_to_world((1,) * new.ndim)))  # fmt: skip


def _fill(old: Layer, new: Layer) -> None:
    """Give an old layer what a new one holds."""
    mark(new)["self"] = str(old.unique_id)
    if isinstance(old, Points):
        old.selected_data = set()
        old.data = new.data
        old.features = new.features
        for name in ("size", "border_color", "face_color"):
            setattr(old, name, getattr(new, name))
        old.editable = False
    else:
        if mark(old).get("screen") != mark(new)["screen"]:  # values of another scale
            old.contrast_limits_range = new.contrast_limits_range
            old.contrast_limits = new.contrast_limits
        old.data = new.data
    old.metadata = new.metadata


def _index_above(viewer: Any, key: str) -> int:
    """Right above the picture and what was already made of it."""
    mine = [
        i for i, layer in enumerate(viewer.layers)
        if str(layer.unique_id) == key or mark(layer).get("source") == key
    ]  # fmt: skip
    return max(mine) + 1 if mine else len(viewer.layers)


def _stacked(outcome: Outcome, role: str) -> np.ndarray:
    """The arrays of one role, of all planes, in the layout of the source layer."""
    request, picture = outcome.request, outcome.request.picture
    planes = [_array(r, role, request) for r in outcome.removals]
    if role == "mask":
        whole = np.stack(planes)
    elif picture.rgb:
        whole = np.stack([np.moveaxis(p, 0, -1) for p in planes])
    else:
        whole = np.stack(planes)
    lead = (1,) * len(picture.lead) if len(request.planes) == 1 else picture.lead
    return whole.reshape(*lead, *whole.shape[1:])


def _array(removal: Removal, role: str, request: Request) -> np.ndarray:
    if role == "mask":
        return removal.mask
    if role == "stars":
        return removal.descreened if request.settings.screen else removal.stars
    return removal.starless


def _common(request: Request, role: str, outcome: Outcome) -> dict[str, Any]:
    picture, settings = request.picture, request.settings
    first = outcome.removals[0]
    made = {
        "source": picture.key, "role": role, "model": first.model.name,
        "model_version": first.model.version, "weights_sha256": first.model.weights_sha256,
        "stretch": first.stretch.kind, "device": first.device, "strength": settings.strength,
        "screen": role == "stars" and settings.screen, "seconds": outcome.seconds,
        "notes": outcome.notes, "file": _file_of(picture),
    }  # fmt: skip
    # A part of the picture has another reference pixel: the header would lie about it.
    known = {} if role == "preview" else {
        k: v for k, v in picture.metadata.items() if k != "nox"
    }  # fmt: skip
    window = request.window or (0, 0, 0, 0)
    lead = request.planes[0] if len(request.planes) == 1 else (0,) * len(picture.lead)
    offset = (*map(float, lead), float(window[0]), float(window[2]))
    return {
        "name": f"{picture.name} {TITLES[role]}",
        "metadata": {**known, "nox": made},
        **picture.place.at(offset, request.step),
    }


def _file_of(picture: Picture) -> str | None:
    """The FITS file that a picture came from, as our reader knows it."""
    known = picture.metadata.get("fits")
    return str(known["path"]) if isinstance(known, dict) and "path" in known else None


def _image(request: Request, role: str, data: np.ndarray, outcome: Outcome) -> Image:
    look = dict(request.picture.look)
    rgb = request.picture.rgb and role != "mask"
    if role == "mask":
        look = {"contrast_limits": (0.0, 1.0), "colormap": "gray"}
    elif role == "stars":
        look["contrast_limits"] = _limits_of_stars(request.picture, outcome)
        look["blending"] = "additive"
    return Image(
        data, rgb=rgb, visible=role in ("starless", "preview"), multiscale=False,
        **look, **_common(request, role, outcome),
    )  # fmt: skip


def _limits_of_stars(picture: Picture, outcome: Outcome) -> tuple[float, float]:
    """From none to what the picture's own limits span: stars as bright as they were."""
    low, high = picture.look["contrast_limits"]
    if outcome.request.settings.screen:
        return 0.0, outcome.removals[0].white
    return 0.0, float(high - low)


def _points(outcome: Outcome) -> Points:
    """The removed stars as rings, with what was measured as features."""
    request = outcome.request
    alone = len(request.planes) == 1
    at, sizes = [], []
    features: dict[str, list[np.ndarray]] = {}
    for plane, removal in zip(request.planes, outcome.removals, strict=True):
        table = removal.catalog
        lead = np.tile((0,) * len(plane) if alone else plane, (len(table), 1))
        at.append(np.column_stack([lead, table["y"], table["x"]]))
        sizes.append(np.maximum(_RING * np.asarray(table["fwhm"], float), _SMALLEST_RING))
        for name in table.colnames:
            features.setdefault(name, []).append(np.asarray(table[name]))
    layer = Points(
        np.concatenate(at) if at else np.zeros((0, 2)),
        ndim=len(request.picture.lead) + 2,
        size=np.concatenate(sizes),
        features={name: np.concatenate(columns) for name, columns in features.items()},
        symbol="disc",
        face_color="transparent",
        border_color="#ffb000",
        border_width=0.08,
        border_width_is_relative=True,
        visible=True,
        **_common(request, "points", outcome),
    )
    layer.editable = False
    return layer
