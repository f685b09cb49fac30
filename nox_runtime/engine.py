"""Run a model over a picture of any size, tile by tile: arrays in, arrays out.

The engine works in the display range and answers with the *residual*, the light
to take away.  Blending residuals instead of pictures keeps an exact 0 where the
model left a pixel alone, whatever the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nox_runtime.overlap import ahead
from nox_runtime.tiling import Span, grid, reflected

#: Reads rows y0..y1 and columns x0..x1 of the picture: (C, y1 - y0, x1 - x0),
#: float32, display range, no NaN.
Reader = Callable[[int, int, int, int], np.ndarray]

#: Rows and columns of a tile.
Tile = tuple[Span, Span]
#: Gives the residuals (`tile_residual`) of tiles, in their order: a generator.
Elsewhere = Callable[[list[Tile]], Iterator[np.ndarray]]

#: Side of the square a model is given at once, in pixels.
DEFAULT_TILE = 1536
#: Light below this share of the display range is left: a third of an 8-bit step.
#: Networks take traces of it from most of the sky, where there is no star.
DEAD_ZONE = 0.00135
#: Finished rows are handed on in parts of this many.
_CHUNK = 256


class Runs(Protocol):
    """What the engine needs of a model; `nox_runtime.model.Model` has it."""

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, C, H, W) to (N, C, H, W), float32, display range."""
        ...


@dataclass(frozen=True)
class Layout:
    """How a model wants its tiles.

    ``channels`` of the model; ``multiple`` of a tile's sides; ``margin`` pixels
    of surroundings it needs; ``tile`` pixels a side to read at once; ``passes`` of the
    model, each over what the last one left; ``scale``, 1 or 2, how much larger the
    model is shown the picture.
    """

    channels: int
    multiple: int
    margin: int
    tile: int = DEFAULT_TILE
    passes: int = 1
    scale: int = 1


@dataclass(frozen=True)
class Step:
    """One tile done.

    Attributes
    ----------
    done, total : int
        Tiles.
    start : int
        First row of `residual`.
    residual : ndarray, shape (C, rows, width), float32, or None
        Rows that no later tile will change, if this tile finished any; where it
        finished many, they come in several steps of the same number.
    """

    done: int
    total: int
    start: int = 0
    residual: np.ndarray | None = None


def count_tiles(height: int, width: int, layout: Layout) -> int:
    """How many tiles `iter_residual` will run."""
    rows, columns = grid(height, width, layout.tile, layout.margin, layout.multiple)
    return len(rows) * len(columns)


def _window(read: Reader, row: Span, column: Span, height: int, width: int) -> np.ndarray:
    """The pixels of a tile, continued by reflection outside the picture."""
    y = reflected(row.read_start, row.read_stop, height)
    x = reflected(column.read_start, column.read_stop, width)
    y0, x0 = int(y.min()), int(x.min())
    block = read(y0, int(y.max()) + 1, x0, int(x.max()) + 1)
    return block[:, (y - y0)[:, None], (x - x0)[None, :]]


def _residual(model: Runs, window: np.ndarray, layout: Layout) -> np.ndarray:
    """Light to take away from one tile, (C, h, w)."""
    taken: np.ndarray = np.zeros_like(window)
    for _ in range(layout.passes):
        left = window - taken
        if layout.scale == 1:
            taken = taken + _pass(model, left, layout.channels)
        else:
            taken = taken + _enlarged_pass(model, left, layout.channels)
    return taken


def _pass(model: Runs, window: np.ndarray, channels: int) -> np.ndarray:
    """Light that the model takes at once, whatever the channels of either side."""
    have = len(window)
    if have == channels:
        made = model(window[None])[0]
    elif channels == 1:
        made = model(window[:, None])[:, 0]
    elif have == 1:
        made = model(np.repeat(window, channels, axis=0)[None])[0]
    else:
        raise ValueError(f"a picture of {have} channels does not fit a model of {channels}")
    residual: np.ndarray = window - np.clip(made, 0.0, 1.0)
    if len(residual) != have:  # three equal channels stand for one
        residual = residual.mean(axis=0, keepdims=True)
    # Nothing up to the dead zone, all from twice that on, and no step between.
    size = np.abs(residual)
    share = np.clip(size / DEAD_ZONE - 1.0, 0.0, 1.0)
    return np.asarray(residual * share, np.float32)


def _enlarged_pass(model: Runs, window: np.ndarray, channels: int) -> np.ndarray:
    """As `_pass`, with the picture shown at twice its scale."""
    large = enlarged(window)
    taken = _pass(model, large, channels)
    mean = _halved(taken)
    # Interpolation blunts peaks: where a star is, take the rest of it too.
    star = np.clip(np.abs(mean) / 0.02, 0, 1)
    return np.asarray(mean + (window - _halved(large)) * star, np.float32)


def enlarged(window: np.ndarray) -> np.ndarray:
    """A picture (C, h, w) at twice its scale, by cubic convolution (Keys 1981), 0 to 1."""
    for axis in (1, 2):
        pad = [(2, 2) if a == axis else (0, 0) for a in range(3)]
        wide = np.pad(window, pad, mode="edge")
        n = window.shape[axis]
        near = [np.take(wide, range(k, k + n), axis=axis) for k in range(5)]
        # Samples a quarter of a pixel before and after each centre.
        w = (-0.0234375, 0.2265625, 0.8671875, -0.0703125)
        before = w[0] * near[0] + w[1] * near[1] + w[2] * near[2] + w[3] * near[3]
        after = w[3] * near[1] + w[2] * near[2] + w[1] * near[3] + w[0] * near[4]
        window = np.stack([before, after], axis=axis + 1).reshape(
            *window.shape[:axis], 2 * n, *window.shape[axis + 1 :]
        )
    return np.asarray(np.clip(window, 0, 1), np.float32)


def _halved(large: np.ndarray) -> np.ndarray:
    c, h, w = large.shape
    return np.asarray(large.reshape(c, h // 2, 2, w // 2, 2).mean(axis=(2, 4)))


def tile_residual(
    read: Reader, tile: Tile, height: int, width: int, model: Runs, layout: Layout
) -> np.ndarray:
    """Light to take away from one tile, (C, h, w); what `iter_residual` does for each."""
    window = _window(read, *tile, height, width)
    return _residual(model, np.ascontiguousarray(window), layout)


def iter_residual(
    read: Reader,
    shape: tuple[int, int, int],
    model: Runs,
    layout: Layout,
    elsewhere: Elsewhere | None = None,
) -> Iterator[Step]:
    """Run the model tile by tile; stop iterating to cancel.

    Memory is bounded by a row of tiles, not by the picture.

    Parameters
    ----------
    read : callable
        See `Reader`; called for each tile.
    shape : tuple of int
        Channels, height and width of the picture.
    model : callable
        See `Runs`.
    layout : Layout
    elsewhere : callable, optional
        Does the tiles instead of this process; see `Elsewhere`.

    Yields
    ------
    Step
        At least one a tile; together their residuals cover every row once, in order.
    """
    channels, height, width = shape
    rows, columns = grid(height, width, layout.tile, layout.margin, layout.multiple)
    total, done = len(rows) * len(columns), 0
    tall = max(row.write_stop - row.write_start for row in rows)
    pending = np.zeros((channels, min(height, tall + max(r.ramp_in for r in rows)), width), "f4")
    first = 0  # the row of the picture that `pending` begins with

    tiles = [(row, column) for row in rows for column in columns]

    def here() -> Iterator[np.ndarray]:
        windows = (np.ascontiguousarray(_window(read, *tile, height, width)) for tile in tiles)
        reading = ahead(windows)  # the next tile is read while the model runs
        try:
            for window in reading:
                yield _residual(model, window, layout)
        finally:
            reading.close()  # type: ignore[attr-defined]

    residuals = here() if elsewhere is None else elsewhere(tiles)
    try:
        for row in rows:
            for k, column in enumerate(columns):
                _blend(pending, next(residuals), row, column, first)
                done += 1
                if k < len(columns) - 1:
                    yield Step(done, total)
            ready = row.final_stop - first
            for y in range(0, ready, _CHUNK):
                yield Step(done, total, first + y, pending[:, y : min(y + _CHUNK, ready)].copy())
            left = pending.shape[1] - ready
            pending[:, :left] = pending[:, ready:].copy()
            pending[:, left:] = 0
            first = row.final_stop
    finally:
        residuals.close()  # type: ignore[attr-defined]


def _blend(pending: np.ndarray, residual: np.ndarray, row: Span, column: Span, first: int) -> None:
    """Add a tile's residual to the rows that wait for it, each pixel by its weight."""
    y = slice(row.write_start - row.read_start, row.write_stop - row.read_start)
    x = slice(column.write_start - column.read_start, column.write_stop - column.read_start)
    weighted = residual[:, y, x] * (row.weights()[:, None] * column.weights())
    rows = slice(row.write_start - first, row.write_stop - first)
    pending[:, rows, column.write_start : column.write_stop] += weighted
