"""Where nothing shall be changed: labels or shapes, on the grid of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Shapes
from skimage.draw import polygon

from nox_napari.layers import Picture, Place
from nox_runtime.errors import UsageError

#: Corners of the polygon that stands for an ellipse.
_ROUND = 90


@dataclass(frozen=True)
class Protection:
    """A labels or shapes layer, taken down in the window's thread.

    ``labels`` is its array; ``outlines`` are corners in pixels of the layer.
    """

    name: str
    place: Place
    labels: Any = None
    outlines: list[np.ndarray] = field(default_factory=list)

    def mask(self, picture: Picture, plane: tuple[int, ...]) -> np.ndarray | None:
        """True where the picture is protected, shape (H, W); None where nothing is."""
        if self.labels is not None:
            mask = self._of_labels(picture, plane)
        else:
            mask = self._of_shapes(picture, plane)
        return mask if mask.any() else None

    def _of_labels(self, picture: Picture, plane: tuple[int, ...]) -> np.ndarray:
        shape = (picture.height, picture.width)
        labels = np.asarray(_plane_of(self.labels, plane))
        forth = _between(picture.place, self.place)
        if labels.shape == shape and np.allclose(forth, np.eye(3)):
            return labels != 0
        columns = np.arange(shape[1])
        mask = np.zeros(shape, bool)
        for y in range(shape[0]):  # a row at a time: as little memory as the mask
            at = forth[:2, :2] @ np.stack([np.full(shape[1], y), columns]) + forth[:2, 2:]
            i, j = np.rint(at).astype(int)
            inside = (i >= 0) & (i < labels.shape[0]) & (j >= 0) & (j < labels.shape[1])
            mask[y, inside] = labels[i[inside], j[inside]] != 0
        return mask

    def _of_shapes(self, picture: Picture, plane: tuple[int, ...]) -> np.ndarray:
        mask = np.zeros((picture.height, picture.width), bool)
        forth = _between(self.place, picture.place)
        for corners in self.outlines:
            lead = corners[:, :-2]
            if lead.shape[1] == len(plane) and len(plane) and np.any(np.rint(lead[0]) != plane):
                continue
            at = corners[:, -2:] @ forth[:2, :2].T + forth[:2, 2]
            mask[polygon(at[:, 0], at[:, 1], mask.shape)] = True  # type: ignore[no-untyped-call]
        return mask


def protection_of(layer: Layer | None) -> Protection | None:
    """Take down a labels or shapes layer; None stays None.

    Raises
    ------
    UsageError
        Another kind of layer.
    """
    if layer is None:
        return None
    if isinstance(layer, Labels):
        data = layer.data[0] if layer.multiscale else layer.data
        return Protection(layer.name, Place.of(layer), labels=data)
    if isinstance(layer, Shapes):
        pairs = zip(layer.data, layer.shape_type, strict=True)
        outlines = [_outline(np.asarray(d, float), str(kind)) for d, kind in pairs]
        return Protection(layer.name, Place.of(layer), outlines=[o for o in outlines if len(o) > 2])
    kind = type(layer).__name__.lower()
    raise UsageError(
        f"{layer.name}: is a {kind} layer; protect with a labels layer (paint what shall stay) "
        "or a shapes layer"
    )


def _outline(corners: np.ndarray, kind: str) -> np.ndarray:
    """Corners of the polygon that a shape covers; lines cover nothing."""
    if kind in ("line", "path"):
        return corners[:0]
    if kind == "ellipse":  # given by the corners of its box
        middle = corners.mean(axis=0)
        one, other = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
        turn = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)[:, None]
        return np.asarray(middle + np.cos(turn) * one + np.sin(turn) * other)
    return corners


def _plane_of(data: Any, plane: tuple[int, ...]) -> Any:
    """The rows and columns of labels that belong to a picture of a stack."""
    extra = data.ndim - 2
    if extra <= 0:
        return data
    index = plane[-extra:] if len(plane) >= extra else (0,) * extra
    inside = tuple(min(i, n - 1) for i, n in zip(index, data.shape[:extra], strict=True))
    return data[inside]


def _between(start: Place, end: Place) -> np.ndarray:
    """Rows and columns of one layer to those of another, (3, 3)."""

    def flat(place: Place) -> np.ndarray:
        n = len(place.matrix) - 1
        keep = [n - 2, n - 1, n]
        return place.matrix[np.ix_(keep, keep)]

    return np.asarray(np.linalg.solve(flat(end), flat(start)))
