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

    ``labels`` is its array; ``outlines`` are corners in pixels of the layer. ``point`` is where
    the viewer's sliders stand, in the world: of a protector of more axes than the picture has,
    what is in view counts.
    """

    name: str
    place: Place
    labels: Any = None
    outlines: list[np.ndarray] = field(default_factory=list)
    point: tuple[float, ...] = ()

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
        labels = self._plane_of_labels(self._lead(picture, plane))
        if labels is None:
            return np.zeros((y1 - y0, x1 - x0), bool)
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
        lead = self._lead(picture, plane)
        for corners in self.outlines:
            if np.any(np.rint(corners[0, :-2]) != lead):
                continue
            at = corners[:, -2:] @ forth[:2, :2].T + forth[:2, 2] - (y0, x0)
            mask[polygon(at[:, 0], at[:, 1], mask.shape)] = True  # type: ignore[no-untyped-call]
        return mask

    def _lead(self, picture: Picture, plane: tuple[int, ...]) -> np.ndarray:
        """What of this layer's axes before the rows lies where a picture of a stack does."""
        n = len(self.place.matrix) - 1
        middle = (*plane, (picture.height - 1) / 2, (picture.width - 1) / 2, 1.0)
        world = (picture.place.matrix @ middle)[:-1]
        there = np.zeros(n)
        known = self.point[-n:]
        there[n - len(known) :] = known
        shared = min(n, len(world))  # napari counts axes from the last
        there[n - shared :] = world[len(world) - shared :]
        return np.rint(np.linalg.solve(self.place.matrix, [*there, 1.0])[: n - 2])

    def _plane_of_labels(self, lead: np.ndarray) -> Any:
        """The rows and columns of the labels there; None beyond their ends."""
        lengths = np.array(self.labels.shape[: len(lead)])
        lead = np.where(lengths == 1, 0, lead).astype(int)  # one for all
        if np.any(lead < 0) or np.any(lead >= lengths):
            return None
        return self.labels[tuple(lead)] if len(lead) else self.labels


def protection_of(layer: Layer | None, point: tuple[float, ...] = ()) -> Protection | None:
    """Take down a labels or shapes layer; None stays None.

    Parameters
    ----------
    layer : Labels, Shapes or None
    point : tuple of float
        Where the viewer's sliders stand, in the world (``viewer.dims.point``).

    Raises
    ------
    UsageError
        Another kind of layer.
    """
    if layer is None:
        return None
    if isinstance(layer, Labels):
        data = layer.data[0] if layer.multiscale else layer.data
        return Protection(layer.name, Place.of(layer), labels=data, point=point)
    if isinstance(layer, Shapes):
        pairs = zip(layer.data, layer.shape_type, strict=True)
        outlines = [_outline(np.asarray(d, float), str(kind)) for d, kind in pairs]
        outlines = [o for o in outlines if len(o) > 2]
        return Protection(layer.name, Place.of(layer), outlines=outlines, point=point)
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


def _between(start: Place, end: Place) -> np.ndarray:
    """Rows and columns of one layer to those of another, (3, 3)."""

    def flat(place: Place) -> np.ndarray:
        n = len(place.matrix) - 1
        keep = [n - 2, n - 1, n]
        return place.matrix[np.ix_(keep, keep)]

    return np.asarray(np.linalg.solve(flat(end), flat(start)))
