"""Remove the stars from a picture: the public API on arrays.

>>> from nox_runtime import remove_stars
>>> result = remove_stars(picture)               # doctest: +SKIP
>>> result.starless, result.stars, result.mask   # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nox_runtime import stretch as stretches
from nox_runtime.engine import DEFAULT_TILE, Layout, Step, count_tiles, iter_residual
from nox_runtime.errors import UsageError
from nox_runtime.model import Model, ModelFacts, load_model
from nox_runtime.stretch import Statistics, Stretch

#: Reads a window of the picture in its own units, (C, h, w).
NativeReader = Callable[[int, int, int, int], np.ndarray]


@dataclass(frozen=True)
class Removal:
    """What became of a picture.

    Attributes
    ----------
    starless : ndarray
        Shape and type of the input.
    stars : ndarray
        ``input - starless``; for integers exactly, for floats within 1 ulp of the
        largest of the three.
    mask : ndarray, shape (H, W), float32
        Light taken away on the display scale, the most of the channels, 0 to 1.
        Where it is 0, `starless` is the input bit by bit.
    stretch : Stretch
        The stretch that was used, with its parameters.
    device : str
        The device that ran the model.
    model : ModelFacts
    seconds : float
    """

    starless: np.ndarray
    stars: np.ndarray
    mask: np.ndarray
    stretch: Stretch
    device: str
    model: ModelFacts
    seconds: float


@dataclass(frozen=True)
class Rows:
    """Finished rows of a picture, from row `start`; arrays are (C, rows, W)."""

    start: int
    starless: np.ndarray
    stars: np.ndarray
    residual: np.ndarray
    picture: np.ndarray


def split(
    picture: np.ndarray, residual: np.ndarray, stretch: Stretch
) -> tuple[np.ndarray, np.ndarray]:
    """Part a picture into starless and stars, given what to take on the display scale.

    Parameters
    ----------
    picture : ndarray, shape (C, H, W)
        In its own units; NaN and infinities stay.
    residual : ndarray, shape (C, H, W), float32

    Returns
    -------
    starless, stars : ndarray
        Of the picture's type; they add up to it.
    """
    starless = stretch.subtract(picture, residual)
    if picture.dtype.kind in "ui":  # keep the difference inside the type
        starless = np.minimum(starless, picture)
        if picture.dtype.kind == "i":  # below 0 the difference cannot be too large
            info = np.iinfo(picture.dtype)
            room = np.where(picture >= 0, np.maximum(picture, 0) - info.max, info.min)
            starless = np.maximum(starless, room.astype(picture.dtype))
        return starless, picture - starless
    with np.errstate(invalid="ignore"):
        stars = picture - starless
    stars[~np.isfinite(picture)] = 0
    return starless, stars


class StarRemover:
    """A loaded model, to be used on many pictures.

    Parameters
    ----------
    model : str, Path or Model, optional
        Name of a built-in model, an .onnx file that nox-export wrote, or a loaded
        one; by default the one that comes with nox.
    device : {'auto', 'cpu', 'cuda', 'coreml', 'dml'}
    tile : int
        Side of the square that the model is given at once, in pixels.
    overlap : int, optional
        Pixels of surroundings a tile reads on each side; by default the model's
        receptive field, with which results do not depend on the tiles.
    threads : int
        Of the CPU; 0 for all cores.

    Raises
    ------
    ModelError, DeviceError
    """

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        device: str = "auto",
        tile: int = DEFAULT_TILE,
        overlap: int | None = None,
        threads: int = 0,
    ) -> None:
        if tile < 64:
            raise UsageError(f"tile is {tile}; it must be at least 64 pixels")
        if overlap is not None and overlap < 0:
            raise UsageError(f"overlap is {overlap}; it must be 0 pixels or more")
        self.model = (
            model if isinstance(model, Model) else load_model(model, device=device, threads=threads)
        )
        facts = self.model.facts
        margin = facts.receptive_field if overlap is None else overlap
        self.layout = Layout(facts.channels, facts.multiple, margin, tile)

    def tiles(self, height: int, width: int) -> int:
        """How many tiles a picture of this size takes."""
        return count_tiles(height, width, self.layout)

    def iter_rows(
        self, read: NativeReader, shape: tuple[int, int, int], stretch: Stretch, stats: Statistics
    ) -> Iterator[tuple[Step, Rows | None]]:
        """Remove stars row by row, for pictures too large to hold; stop to cancel.

        Parameters
        ----------
        read : callable
            See `NativeReader`.
        shape : tuple of int
            Channels, height and width.
        stretch : Stretch
        stats : Statistics
            Their medians stand in for NaN and infinities before the model.

        Yields
        ------
        step : Step
            Progress, a tile at a time.
        rows : Rows or None
            Those that this tile finished; in order, each once.
        """
        median = np.array(stats.median)[:, None, None]

        def shown(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
            window = read(y0, y1, x0, x1)
            if window.dtype.kind == "f":
                window = np.where(np.isfinite(window), window, median)
            return stretch.forward(window)

        width = shape[2]
        for step in iter_residual(shown, shape, self.model, self.layout):
            if step.residual is None:
                yield step, None
                continue
            residual = step.residual
            picture = read(step.start, step.start + residual.shape[1], 0, width)
            if picture.dtype.kind == "f":
                residual[~np.isfinite(picture)] = 0
            starless, stars = split(picture, residual, stretch)
            yield step, Rows(step.start, starless, stars, residual, picture)

    def iter_remove(
        self, image: np.ndarray, *, stretch: str | Stretch = "auto"
    ) -> Iterator[tuple[Step, Removal | None]]:
        """As `remove`, yielding progress; the last item carries the result."""
        began = time.monotonic()
        picture, restore = _as_planes(image)
        stats = stretches.statistics(_sampled(picture), picture.dtype)
        used = stretches.choose(stretch, stats) if isinstance(stretch, str) else stretch
        starless, stars = np.empty_like(picture), np.empty_like(picture)
        mask = np.zeros(picture.shape[1:], np.float32)

        def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
            return picture[:, y0:y1, x0:x1]

        shape = (picture.shape[0], picture.shape[1], picture.shape[2])
        for step, rows in self.iter_rows(read, shape, used, stats):
            if rows is not None:
                y = slice(rows.start, rows.start + rows.starless.shape[1])
                starless[:, y], stars[:, y] = rows.starless, rows.stars
                mask[y] = np.abs(rows.residual).max(axis=0)
            if step.done < step.total:
                yield step, None
                continue
            yield (
                step,
                Removal(
                    restore(starless), restore(stars), mask, used,
                    self.model.device, self.model.facts, time.monotonic() - began,
                ),
            )  # fmt: skip

    def remove(self, image: np.ndarray, *, stretch: str | Stretch = "auto") -> Removal:
        """Remove the stars from a picture.

        Parameters
        ----------
        image : ndarray, shape (H, W), (C, H, W) or (H, W, C) with C of 1 or 3
            Any real type and range; NaN and infinities come back as they are.
        stretch : {'auto', 'none', 'mtf'} or Stretch
            See `nox_runtime.stretch.choose`.

        Returns
        -------
        Removal

        Raises
        ------
        UsageError
            The array is no picture.
        """
        *_, (_, result) = self.iter_remove(image, stretch=stretch)
        assert result is not None
        return result


def _sampled(picture: np.ndarray, limit: int = 4_000_000) -> np.ndarray:
    step = max(1, int(np.ceil(np.sqrt(picture[0].size / limit))))
    return picture[:, ::step, ::step]


def _as_planes(image: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """A picture as (C, H, W), and the function that brings back its own shape."""
    image = np.asarray(image)
    if image.dtype.kind not in "uif":
        raise UsageError(f"values are {image.dtype}; they must be integers or floats")
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.ndim == 2 and image.size:
        return native[None], lambda a: a[0]
    if image.ndim == 3 and image.size and image.shape[0] in (1, 3):
        return native, lambda a: a
    if image.ndim == 3 and image.size and image.shape[2] in (1, 3):
        return np.moveaxis(native, -1, 0), lambda a: np.moveaxis(a, 0, -1)
    raise UsageError(
        f"shape is {image.shape}; it must be (H, W), (C, H, W) or (H, W, C) with C of 1 or 3"
    )


def remove_stars(
    image: np.ndarray,
    *,
    stretch: str | Stretch = "auto",
    model: str | Path | Model | None = None,
    device: str = "auto",
) -> Removal:
    """Remove the stars from a picture; see `StarRemover.remove`."""
    return StarRemover(model, device=device).remove(image, stretch=stretch)
