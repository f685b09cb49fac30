"""A layer's pixels and place, taken down in the window's thread to be read in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from nox_runtime.errors import UsageError

#: First row, row after the last, first column, column after the last.
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Place:
    """Where a layer's pixels are in the world.

    ``matrix``, shape (n + 1, n + 1), takes pixel to world; ``settings`` are the
    layer's own words for it.
    """

    matrix: np.ndarray
    settings: dict[str, Any]

    @classmethod
    def of(cls, layer: Layer) -> Place:
        """Take it down."""
        n = layer.ndim
        origin = np.asarray(layer.data_to_world((0.0,) * n))
        matrix = np.eye(n + 1)
        for axis in range(n):
            matrix[:n, axis] = np.asarray(layer.data_to_world(np.eye(n)[axis])) - origin
        matrix[:n, n] = origin
        named = ("scale", "translate", "rotate", "shear", "units", "axis_labels")
        settings = {name: getattr(layer, name) for name in named}
        return cls(matrix, settings | {"affine": np.array(layer.affine.affine_matrix)})

    def at(self, offset: tuple[float, ...], step: int) -> dict[str, Any]:
        """Settings of a layer whose pixel 0 is our pixel `offset`, each `step` wide."""
        if step == 1 and not any(offset):
            return self.settings
        n = len(offset)
        inner = np.eye(n + 1)
        inner[n - 2, n - 2] = inner[n - 1, n - 1] = step
        # The middle of a large pixel is not the middle of its first small one.
        inner[:n, n] = offset
        inner[n - 2 : n, n] += (step - 1) / 2
        kept = {name: self.settings[name] for name in ("units", "axis_labels")}
        return {"affine": self.matrix @ inner, **kept}


@dataclass(frozen=True)
class Picture:
    """An image layer as a job needs it; nothing is read yet.

    Attributes
    ----------
    key : str
        The layer's own, by which its results are found again.
    name : str
    data : array-like
        The finest scale: (..., H, W), or (..., H, W, 3 or 4) if `rgb`.
    rgb : bool
    lead : tuple of int
        Lengths of the axes before the rows; () for a single picture.
    height, width : int
    place : Place
    look : dict
        How it is shown: contrast limits, gamma, colormap ...
    metadata : dict
        What the reader knows of the file.
    """

    key: str
    name: str
    data: Any
    rgb: bool
    lead: tuple[int, ...]
    height: int
    width: int
    place: Place
    look: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return np.dtype(self.data.dtype)

    def planes(self) -> Iterator[tuple[int, ...]]:
        """Indices of all pictures of a stack; one empty index for a single picture."""
        return iter(np.ndindex(*self.lead))

    def read(self, plane: tuple[int, ...], window: Window | None = None, step: int = 1) -> Any:
        """Pixels of one picture.

        Parameters
        ----------
        plane : tuple of int
            Which one of a stack.
        window : Window, optional
        step : int
            Every n-th row and column.

        Returns
        -------
        ndarray, shape (h, w), (h, w, 3) or (h, w, 4)
        """
        y0, y1, x0, x1 = window or (0, self.height, 0, self.width)
        return np.asarray(self.data[(*plane, slice(y0, y1, step), slice(x0, x1, step))])

    def sample(self, plane: tuple[int, ...], limit: int) -> np.ndarray:
        """Some pixels from all over one picture, (C, h, w)."""
        step = max(1, int(np.ceil(np.sqrt(self.height * self.width / limit))))
        return colours_first(self.read(plane, step=step), self.rgb)


def colours_first(picture: np.ndarray, rgb: bool) -> np.ndarray:
    """(C, h, w) of (h, w), (h, w, 3) or (h, w, 4), alpha left out."""
    return np.moveaxis(picture[..., :3], -1, 0) if rgb else picture[None]


def picture_of(layer: Layer | None) -> Picture:
    """Take down an image layer.

    Raises
    ------
    UsageError
        No layer, not an image, values that are no numbers, or a raw colour mosaic.
    """
    if layer is None:
        raise UsageError("no picture is open; open one (File > Open Files), then try again")
    kind = type(layer).__name__.lower()
    if not isinstance(layer, Image):
        raise UsageError(f"{layer.name}: is a {kind} layer; choose an image layer")
    data = layer.data[0] if layer.multiscale else layer.data
    if np.dtype(data.dtype).kind not in "uif":
        raise UsageError(
            f"{layer.name}: its values are {data.dtype}; they must be integers or floats"
        )
    sides = data.shape[:-1] if layer.rgb else data.shape
    if len(sides) < 2 or min(sides) < 1:
        raise UsageError(f"{layer.name}: its shape is {data.shape}; it must have rows and columns")
    pattern = _bayer_pattern(layer.metadata.get("header"))
    if pattern and not layer.rgb:  # as the runtime refuses them
        raise UsageError(
            f"{layer.name}: raw colour mosaic (BAYERPAT {pattern!r}); "
            "debayer it first, its stars are not whole yet"
        )
    look = {
        "contrast_limits": tuple(layer.contrast_limits),
        "gamma": layer.gamma,
        "interpolation2d": layer.interpolation2d,
    }
    if not layer.rgb:
        look["colormap"] = layer.colormap
    return Picture(
        str(layer.unique_id), layer.name, data, bool(layer.rgb), tuple(map(int, sides[:-2])),
        int(sides[-2]), int(sides[-1]), Place.of(layer), look, dict(layer.metadata),
    )  # fmt: skip


def _bayer_pattern(header: Any) -> str:
    """BAYERPAT of a header; other plugins keep other things under that name."""
    try:
        return str(header["BAYERPAT"] or "").strip()
    except (KeyError, TypeError, IndexError):
        return ""


def shown_plane(layer: Layer, point: tuple[float, ...]) -> tuple[int, ...]:
    """Which picture of a stack is in view.

    Parameters
    ----------
    layer : Image
    point : tuple of float
        Where the viewer's sliders stand, in the world (``viewer.dims.point``).
    """
    n = layer.ndim
    inside = np.asarray(layer.world_to_data(tuple(point)[-n:]))[: n - 2]
    lengths = (layer.data[0] if layer.multiscale else layer.data).shape
    return tuple(int(np.clip(round(v), 0, m - 1)) for v, m in zip(inside, lengths, strict=False))


def visible_window(layer: Layer, height: int, width: int, box: np.ndarray | None = None) -> Window:
    """The part of an image layer that is on the canvas, in pixels of its finest scale.

    The whole picture where none of it is in view.  `box`, shape (2, 2), is what the canvas
    shows of the world where that is known: of several scales napari knows only the pieces that
    it has loaded.
    """
    corners = np.asarray(layer.corner_pixels, float)[:, -2:]
    if layer.multiscale and box is not None:
        corners = _box_in_pixels(layer, box)
    elif layer.multiscale:
        # (levels, axes), the axis of colours left out.
        factors = np.asarray(layer.downsample_factors)[int(layer.data_level)]
        factors = factors[: layer.ndim][-2:]
        corners[1] += 1
        corners = corners * factors
        corners[1] -= 1
    (y0, x0), (y1, x1) = np.floor(corners[0]), np.ceil(corners[1]) + 1
    y0, y1 = np.clip((y0, y1), 0, height)
    x0, x1 = np.clip((x0, x1), 0, width)
    if y1 <= y0 or x1 <= x0:
        return 0, height, 0, width
    return int(y0), int(y1), int(x0), int(x1)


def _box_in_pixels(layer: Layer, box: np.ndarray) -> np.ndarray:
    """First and last (row, column) of what covers a part of the world, shape (2, 2)."""
    point = np.asarray(layer.data_to_world((0.0,) * layer.ndim))
    seen = []
    for row in box[:, 0]:
        for column in box[:, 1]:
            point[-2:] = row, column
            seen.append(layer.world_to_data(tuple(point))[-2:])
    return np.stack([np.min(seen, axis=0), np.max(seen, axis=0)])
