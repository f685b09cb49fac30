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
#: So far off, in pixels, something that is taken saves fainter light from `Layout.floor`.
_NEAR = 2
#: Finished rows are handed on in parts of about so many values ...
_PART = 2**21
#: ... and arithmetic goes through so many at once, which stay in a core's cache.
_BAND = 2**16


class Runs(Protocol):
    """What the engine needs of a model; `nox_runtime.model.Model` has it."""

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, C, H, W) to (N, C, H, W), float32, display range; the answer is written over."""
        ...


@dataclass(frozen=True)
class Layout:
    """How a model wants its tiles.

    ``channels`` of the model; ``multiple`` of a tile's sides; ``margin`` pixels
    of surroundings it needs; ``tile`` pixels a side to read at once; ``passes`` of the
    model, each over what the last one left; ``scale``, 1 or 2, how much larger the
    model is shown the picture; ``halved``: whether it is last shown what is left at half the
    picture's scale, for which `multiple` must be even; ``floor``: where a pass takes no more
    than this share of the display range anywhere within `_NEAR` pixels it takes nothing, and
    from twice that on all.
    """

    channels: int
    multiple: int
    margin: int
    tile: int = DEFAULT_TILE
    passes: int = 1
    scale: int = 1
    halved: bool = False
    floor: float = 0.0

    @classmethod
    def of_network(
        cls, channels: int, multiple: int, margin: int, tile: int, passes: int = 1,
        scale: int = 1, *, halved: bool = False,
    ) -> Layout:  # fmt: skip
        """For a network that asks for `multiple` and `margin` in pixels that it is shown."""
        # In pixels of the picture, and those that interpolation reaches.
        reach = passes * (margin if scale == 1 else -(-margin // 2) + 3)
        if halved:
            reach += 2 * (margin + 3)
        multiple = 2 * multiple if halved else max(1, multiple // scale)
        return cls(channels, multiple, reach, tile, passes, scale, halved)


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
        finished many, they come in several steps of the same number.  The receiver may
        write into them.
    """

    done: int
    total: int
    start: int = 0
    residual: np.ndarray | None = None


def count_tiles(height: int, width: int, layout: Layout) -> int:
    """How many tiles `iter_residual` will run."""
    rows, columns = grid(height, width, layout.tile, layout.margin, layout.multiple)
    return len(rows) * len(columns)


def part_rows(channels: int, width: int) -> int:
    """How many finished rows come at once."""
    return min(256, max(32, _PART // (channels * width)))


def _window(read: Reader, row: Span, column: Span, height: int, width: int) -> np.ndarray:
    """The pixels of a tile, contiguous, continued by reflection outside the picture."""
    y = reflected(row.read_start, row.read_stop, height)
    x = reflected(column.read_start, column.read_stop, width)
    y0, x0 = int(y.min()), int(x.min())
    block = read(y0, int(y.max()) + 1, x0, int(x.max()) + 1)
    y, x = y - y0, x - x0
    down, across = _rising(y), _rising(x)
    middle = block[
        :, y[down.start] : y[down.stop - 1] + 1, x[across.start] : x[across.stop - 1] + 1
    ]
    if middle.shape[1:] == (len(y), len(x)):  # all of it lies in the picture
        return np.ascontiguousarray(middle)
    # What is reflected is little: the rest goes over as it lies.
    out = np.empty((len(block), len(y), len(x)), np.float32)
    out[:, down, across] = middle
    for part in (slice(0, across.start), slice(across.stop, len(x))):
        out[:, down, part] = block[:, y[down.start] : y[down.stop - 1] + 1, x[part]]
    for part in (slice(0, down.start), slice(down.stop, len(y))):
        out[:, part] = block[:, y[part]][:, :, x]
    return out


def _rising(index: np.ndarray) -> slice:
    """Where the longest run of indices is that rise one by one."""
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(index) != 1) + 1, [len(index)]])
    longest = int(np.argmax(np.diff(cuts)))
    return slice(int(cuts[longest]), int(cuts[longest + 1]))


def _bands(height: int, width: int) -> Iterator[slice]:
    """Rows to go through at once."""
    step = max(1, _BAND // width)
    return (slice(y, min(y + step, height)) for y in range(0, height, step))


def _residual(model: Runs, window: np.ndarray, layout: Layout) -> np.ndarray:
    """Light to take away from one tile, (C, h, w)."""
    once = _pass if layout.scale == 1 else _enlarged_pass
    taken = once(model, window, layout)
    for _ in range(layout.passes - 1):
        taken = taken + once(model, window - taken, layout)
    if layout.halved:
        few = _pass(model, _halved(window - taken), layout)
        taken = np.clip(taken + _twice(few), window - 1, window)
    return taken


def _pass(model: Runs, window: np.ndarray, layout: Layout) -> np.ndarray:
    """Light that the model takes at once, whatever the channels of either side."""
    have, channels = len(window), layout.channels
    if have == channels:
        made = model(window[None])[0]
    elif channels == 1:
        made = model(window[:, None])[:, 0]
    elif have == 1:
        made = model(np.repeat(window, channels, axis=0)[None])[0]
    else:
        raise ValueError(f"a picture of {have} channels does not fit a model of {channels}")
    # The answer is read once, and memory that nobody has touched yet is slow: what is taken
    # is written over it.
    own = made.shape == window.shape and made.dtype == np.float32 and made.flags.writeable
    taken = made if own and not np.may_share_memory(made, window) else np.empty_like(window)
    most = np.empty(window.shape[1:], np.float32)
    for rows in _bands(*window.shape[1:]):
        residual = window[:, rows] - np.clip(made[:, rows], 0.0, 1.0)
        if len(residual) != have:  # three equal channels stand for one
            residual = residual.mean(axis=0, keepdims=True)
        share = np.abs(residual)
        np.max(share, axis=0, out=most[rows])
        np.multiply(residual, _rising_from(DEAD_ZONE, share), out=taken[:, rows])
    if layout.floor > 0:
        for rows in _bands(*window.shape[1:]):
            taken[:, rows] *= _rising_from(layout.floor, _most_near(most, rows))
    return taken


def _rising_from(floor: float, values: np.ndarray) -> np.ndarray:
    """0 up to the floor, 1 from twice that on, and no step between; written over `values`."""
    values /= np.float32(floor)
    values -= 1.0
    return np.clip(values, 0.0, 1.0, out=values)


def _most_near(values: np.ndarray, rows: slice) -> np.ndarray:
    """The largest of the values, 0 or more, within `_NEAR` pixels down and across."""
    top, bottom = max(0, rows.start - _NEAR), min(len(values), rows.stop + _NEAR)
    beyond = (_NEAR - (rows.start - top), _NEAR - (bottom - rows.stop))
    near = np.pad(values[top:bottom], (beyond, (_NEAR, _NEAR)))
    side = 2 * _NEAR + 1
    for axis in (0, 1):
        seen = 1  # pixels that a value stands for: twice as many each time
        while seen < side:
            step = min(seen, side - seen)
            along = near.swapaxes(0, axis)
            near = np.maximum(along[:-step], along[step:]).swapaxes(0, axis)
            seen += step
    return near


def _enlarged_pass(model: Runs, window: np.ndarray, layout: Layout) -> np.ndarray:
    """As `_pass`, with the picture shown at twice its scale."""
    large = enlarged(window)
    taken = _pass(model, large, layout)
    mean = _halved(taken)
    # Interpolation blunts peaks: where a star is, take the rest of it too.
    star = np.clip(np.abs(mean) / 0.02, 0, 1)
    return np.asarray(mean + (window - _halved(large)) * star, np.float32)


def enlarged(window: np.ndarray) -> np.ndarray:
    """A picture (C, h, w) at twice its scale, by cubic convolution (Keys 1981), 0 to 1."""
    return np.asarray(np.clip(_twice(window), 0, 1))


def _twice(window: np.ndarray) -> np.ndarray:
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
    return np.asarray(window, np.float32)


def _halved(large: np.ndarray) -> np.ndarray:
    c, h, w = large.shape
    return np.asarray(large.reshape(c, h // 2, 2, w // 2, 2).mean(axis=(2, 4)))


def tile_residual(
    read: Reader, tile: Tile, height: int, width: int, model: Runs, layout: Layout
) -> np.ndarray:
    """Light to take away from one tile, (C, h, w); what `iter_residual` does for each."""
    window = _window(read, *tile, height, width)
    return _residual(model, window, layout)


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
    tall = min(height, tall + max(row.ramp_in for row in rows))
    pending = np.zeros((channels, tall, width), np.float32)
    first = 0  # the row of the picture that `pending` begins with
    part = part_rows(channels, width)
    tiles = [(row, column) for row in rows for column in columns]

    residuals = _here(read, tiles, shape, model, layout) if elsewhere is None else elsewhere(tiles)
    try:
        for row in rows:
            for k, column in enumerate(columns):
                _blend(pending, next(residuals), row, column, first)
                done += 1
                if k < len(columns) - 1:
                    yield Step(done, total)
            # What is finished is handed on as it is; the next tiles go to new rows.
            finished, ready = pending, row.final_stop - first
            if row is not rows[-1]:
                pending = np.zeros(finished.shape, np.float32)
                pending[:, : tall - ready] = finished[:, ready:]
            for y in range(0, ready, part):
                yield Step(done, total, first + y, finished[:, y : min(y + part, ready)])
            first = row.final_stop
    finally:
        residuals.close()  # type: ignore[attr-defined]


def _here(
    read: Reader, tiles: list[Tile], shape: tuple[int, int, int], model: Runs, layout: Layout
) -> Iterator[np.ndarray]:
    """The residuals of tiles: read, and run, each a tile ahead in a thread of its own."""
    windows = (_window(read, *tile, *shape[1:]) for tile in tiles)

    def run() -> Iterator[np.ndarray]:
        reading = ahead(windows)
        try:
            for window in reading:
                yield _residual(model, window, layout)
        finally:
            reading.close()  # type: ignore[attr-defined]

    return ahead(run())


def _blend(pending: np.ndarray, residual: np.ndarray, row: Span, column: Span, first: int) -> None:
    """Add a tile's residual to the rows that wait for it, each pixel by its weight."""
    y = slice(row.write_start - row.read_start, row.write_stop - row.read_start)
    x = slice(column.write_start - column.read_start, column.write_stop - column.read_start)
    part = residual[:, y, x]
    down, across = row.weights()[:, None], column.weights()
    top = row.write_start - first
    into = pending[:, top : top + len(down), column.write_start : column.write_stop]
    n, m = part.shape[1:]
    # Where tiles fade into each other they are added up; the rest is of this one alone.
    inside = (slice(row.ramp_in, n - row.ramp_out), slice(column.ramp_in, m - column.ramp_out))
    fades = [
        (slice(0, row.ramp_in), slice(None)),
        (slice(n - row.ramp_out, n), slice(None)),
        (inside[0], slice(0, column.ramp_in)),
        (inside[0], slice(m - column.ramp_out, m)),
    ]
    into[:, *inside] = part[:, *inside]
    for v, h in fades:
        into[:, v, h] += part[:, v, h] * (down[v] * across[h])
