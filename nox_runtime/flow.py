"""From windows of a picture to finished rows: stretch, model, controls, split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from nox_runtime.controls import Controls, Vetoes
from nox_runtime.engine import (
    Elsewhere,
    Layout,
    Runs,
    Step,
    count_tiles,
    iter_residual,
    part_rows,
)  # fmt: skip
from nox_runtime.overlap import ahead
from nox_runtime.statistics import grain
from nox_runtime.stretch import Statistics, Stretch

#: Reads a window of the picture in its own units, (C, h, w).
NativeReader = Callable[[int, int, int, int], np.ndarray]
#: Values that are stretched at once, which stay in a core's cache.
_BAND = 2**16
#: Where a model takes less than this share of the picture's grain it sees no star (see
#: `nox_runtime.engine.Layout.floor`) ...
_OF_GRAIN = 0.25
#: ... and no more of the display range counts: what is rougher is no grain.
_HIGHEST_FLOOR = 0.018


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


def descreen(picture: np.ndarray, starless: np.ndarray, white: float) -> np.ndarray:
    """The stars that recombine with the starless picture by screen blending.

    ``(picture - starless) / (1 - starless)`` on a scale on which `white` is 1, so that
    ``1 - (1 - starless) (1 - descreened)`` gives the picture back.

    Parameters
    ----------
    picture, starless : ndarray
        Same shape and type, in the picture's units.
    white : float
        The value that is 1, above 0.

    Returns
    -------
    ndarray
        Same shape and type, 0 to `white`; 0 where the two are the same, where the
        starless picture is darker by nothing, and for NaN and infinities.
    """
    if not white > 0:
        raise ValueError(f"white is {white}; it must be above 0")
    p, s = picture.astype(float), starless.astype(float)
    out = np.zeros(p.shape)
    with np.errstate(invalid="ignore"):
        where = np.isfinite(p) & np.isfinite(s) & (p > s)
    out[where] = (p[where] - s[where]) / np.maximum(1 - s[where] / white, 1e-12)
    out = np.clip(out, 0, white)
    return np.asarray(np.rint(out) if picture.dtype.kind in "ui" else out, picture.dtype)


def floor_of(stretch: Stretch, stats: Statistics) -> float:
    """Light on the display scale that a model must see for it to be a star's.

    Models take a trace of light from most of the sky and from galaxies; what is far below the
    grain is left.
    """
    # As it is shown: so a linear picture comes out as one that was stretched before.
    with np.errstate(invalid="ignore"):
        shown = stretch.forward(stats.triples)
    return min(_HIGHEST_FLOOR, _OF_GRAIN * float(np.mean(grain(shown))))


def for_display(window: np.ndarray, stretch: Stretch, median: tuple[float, ...]) -> np.ndarray:
    """A window of a picture as the model is shown it: stretched, without NaN.

    Parameters
    ----------
    window : ndarray, shape (C, H, W)
        In the picture's units.
    stretch : Stretch
    median : tuple of float
        Of each channel; stands in for NaN and infinities.

    Returns
    -------
    ndarray, shape (C, H, W), float32, 0 to 1
    """
    if window.dtype.kind != "f":
        return stretch.forward(window)
    out = np.empty(window.shape, np.float32)
    # In the picture's own type: a wider one would have all of it computed in that.
    filling = np.array(median, window.dtype)[:, None, None]
    step = max(1, _BAND // window.shape[2])
    for y in range(0, window.shape[1], step):
        rows = window[:, y : y + step]
        sound = np.isfinite(rows)
        if not sound.all():
            rows = np.where(sound, rows, filling)
        out[:, y : y + step] = stretch.forward(rows)
    return out


def iter_rows(
    read: NativeReader,
    shape: tuple[int, int, int],
    model: Runs,
    layout: Layout,
    stretch: Stretch,
    stats: Statistics,
    controls: Controls,
    notes: list[str],
    elsewhere: Elsewhere | None = None,
    stopping: Callable[[], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[Step, Rows | None]]:
    """Remove stars row by row; stop iterating to cancel.

    See `nox_runtime.removal.StarRemover.iter_rows`; `stopping` ends what the model has
    under way.
    """
    width = shape[2]

    def shown(window: np.ndarray) -> np.ndarray:
        return for_display(window, stretch, stats.median)

    def display(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return shown(read(y0, y1, x0, x1))

    layout = replace(layout, floor=floor_of(stretch, stats))

    def finished(start: int, residual: np.ndarray, picture: np.ndarray) -> Rows:
        residual = controls.apply(start, residual, lambda: shown(picture))
        starless, stars = split(picture, residual, stretch)
        return Rows(start, starless, stars, residual, picture)

    def light(residual: np.ndarray, picture: np.ndarray) -> np.ndarray:
        stars = split(picture, residual, stretch)[1].astype(float)
        return np.asarray(np.maximum(np.nan_to_num(stars), 0).sum(axis=0))

    vetoes = Vetoes(controls, light, shape[1]) if controls.by_object else None
    steps = _regional(display, shape, model, layout, controls.region, elsewhere)
    if elsewhere is None:
        # The model works on the next tiles while the rows of the last are split and
        # written; all that a row of tiles finishes can wait, so that the model need not.
        steps = ahead(steps, layout.tile // part_rows(shape[0], width) + 1, stopping, cancelled)
    with closing(steps):  # type: ignore[type-var]  # whatever happens: threads read the picture
        for step in steps:
            if step.residual is None:
                yield step, None
                continue
            residual = step.residual
            picture = read(step.start, step.start + residual.shape[1], 0, width)
            if picture.dtype.kind == "f":
                residual[~np.isfinite(picture)] = 0
            if vetoes is None:
                yield step, finished(step.start, residual, picture)
                continue
            ready = vetoes.push(step.start, residual, picture)
            if not ready:
                yield step, None
            for block in ready:
                yield step, finished(*block)
    if vetoes is not None:
        notes.append(f"{vetoes.kept} objects stay for their size, shape or name")


def _regional(
    read: NativeReader,
    shape: tuple[int, int, int],
    model: Runs,
    layout: Layout,
    region: tuple[int, int, int, int] | None,
    elsewhere: Elsewhere | None,
) -> Iterator[Step]:
    """`iter_residual`, of the tiles that a region needs alone, and 0 outside it."""
    if region is None:
        yield from iter_residual(read, shape, model, layout, elsewhere)
        return
    channels, height, width = shape
    y0, y1, x0, x1 = region
    top, bottom, left, right = region_window(height, width, layout, region)

    def part(a: int, b: int, c: int, d: int) -> np.ndarray:
        return read(top + a, top + b, left + c, left + d)

    def plain(first: int, last: int, done: int, total: int) -> Iterator[Step]:
        part = part_rows(channels, width)
        for y in range(first, last, part):
            n = min(part, last - y)
            yield Step(done, total, y, np.zeros((channels, n, width), np.float32))

    done, total = 0, 1
    head = plain(0, top, 0, 1)
    inner = (channels, bottom - top, right - left)
    for step in iter_residual(part, inner, model, layout, elsewhere):
        done, total = step.done, step.total
        for before in head:
            yield Step(0, total, before.start, before.residual)
        if step.residual is None:
            yield step
            continue
        start, rows = top + step.start, step.residual.shape[1]
        full = np.zeros((channels, rows, width), np.float32)
        a, b = max(y0, start), min(y1, start + rows)
        if a < b:
            inside = step.residual[:, a - start : b - start, x0 - left : x1 - left]
            full[:, a - start : b - start, x0:x1] = inside
        yield Step(done, total, start, full)
    yield from plain(bottom, height, done, total)


def region_window(
    height: int, width: int, layout: Layout, region: tuple[int, ...] | None
) -> tuple[int, int, int, int]:
    """What the tiles of a region cover: first and last row and column, ends exclusive."""
    if region is None:
        return 0, height, 0, width
    return *_widened(region[0], region[1], height, layout), *_widened(
        region[2], region[3], width, layout
    )


def _widened(first: int, last: int, length: int, layout: Layout) -> tuple[int, int]:
    """A range with the surroundings its tiles need, on the grid of the model."""
    reach = layout.margin + layout.multiple
    start = max(0, first - reach) // layout.multiple * layout.multiple
    return start, min(length, last + reach)


def count_regional(height: int, width: int, layout: Layout, region: tuple[int, ...] | None) -> int:
    """How many tiles `iter_rows` will run."""
    top, bottom, left, right = region_window(height, width, layout, region)
    return count_tiles(bottom - top, right - left, layout)
