"""Where nothing shall be changed: labels or shapes, on the grid of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Shapes
from skimage.draw import polygon

from nox_napari.layers import Picture, Place, Window
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

    def mask(
        self, picture: Picture, plane: tuple[int, ...], window: Window | None = None
    ) -> np.ndarray | None:
        """True where the picture is protected; None where nothing is.

        Parameters
        ----------
        picture : Picture
        plane : tuple of int
            Which one of a stack.
        window : Window, optional
            The part that is wanted; nothing else is computed.

        Returns
        -------
        ndarray of bool, shape (H, W) or that of the window, or None
        """
        part = window or (0, picture.height, 0, picture.width)
        if self.labels is not None:
            mask = self._of_labels(picture, plane, part)
        else:
            mask = self._of_shapes(picture, plane, part)
        return mask if mask.any() else None

    def _of_labels(self, picture: Picture, plane: tuple[int, ...], part: Window) -> np.ndarray:
        y0, y1, x0, x1 = part
        labels = _plane_of(self.labels, plane)
        forth = _between(picture.place, self.place)
        if labels.shape == (picture.height, picture.width) and np.allclose(forth, np.eye(3)):
            return np.asarray(labels[y0:y1, x0:x1]) != 0
        # Where the corners come to lie: no more of the labels is read.
        corners = np.array([(y, x) for y in (y0, y1 - 1) for x in (x0, x1 - 1)])
        at = np.rint(corners @ forth[:2, :2].T + forth[:2, 2]).astype(int)
        low = np.clip(at.min(axis=0) - 1, 0, labels.shape)
        high = np.clip(at.max(axis=0) + 2, 0, labels.shape)
        labels = np.asarray(labels[low[0] : high[0], low[1] : high[1]])
        columns = np.arange(x0, x1)
        mask = np.zeros((y1 - y0, x1 - x0), bool)
        for k, y in enumerate(range(y0, y1)):  # a row at a time: as little memory as the mask
            at = forth[:2, :2] @ np.stack([np.full(len(columns), y), columns]) + forth[:2, 2:]
            i, j = np.rint(at).astype(int) - low[:, None]
            inside = (i >= 0) & (i < labels.shape[0]) & (j >= 0) & (j < labels.shape[1])
            mask[k, inside] = labels[i[inside], j[inside]] != 0
        return mask

    def _of_shapes(self, picture: Picture, plane: tuple[int, ...], part: Window) -> np.ndarray:
        y0, y1, x0, x1 = part
        mask = np.zeros((y1 - y0, x1 - x0), bool)
        forth = _between(self.place, picture.place)
        for corners in self.outlines:
            lead = corners[:, :-2]
            if lead.shape[1] == len(plane) and len(plane) and np.any(np.rint(lead[0]) != plane):
                continue
            at = corners[:, -2:] @ forth[:2, :2].T + forth[:2, 2] - (y0, x0)
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
