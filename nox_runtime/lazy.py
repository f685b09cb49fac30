"""Pictures that are dask arrays: nothing is computed until the result is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nox_runtime.controls import Controls
from nox_runtime.engine import Layout, Runs
from nox_runtime.errors import UsageError
from nox_runtime.flow import descreen, iter_rows
from nox_runtime.statistics import TRIPLES, Statistics, grid_step, neighbours, summed_up
from nox_runtime.stretch import Stretch, choose


def is_lazy(image: Any) -> bool:
    """Whether an array is one of dask's."""
    return hasattr(image, "dask") and hasattr(image, "chunks")


@dataclass(frozen=True)
class LazyParts:
    """The dask arrays of a removal, (C, H, W) and the mask (H, W).

    The stretch and the value that stands for 1 in descreened stars are delayed.
    """

    starless: Any
    stars: Any
    mask: Any
    stretch: Any
    white: Any


def remove(
    image: Any, runs: Runs, layout: Layout, stretch: str | Stretch, controls: Controls
) -> LazyParts:
    """Part a dask array into starless and stars, block by block.

    Parameters
    ----------
    image : dask.array.Array, shape (C, H, W)
    runs, layout
        The model and its tiles.
    stretch : str or Stretch
    controls : Controls

    Raises
    ------
    UsageError
        A control that needs objects, which lie across blocks.
    """
    import dask
    import dask.array as da

    if controls.by_object:
        raise UsageError(
            "max_size, min_roundness, keep without a radius and catalog need the whole "
            "picture; give a numpy array, or use nox-runtime run --cluster"
        )
    channels, height, width = image.shape
    stats = _statistics(image)
    used = dask.delayed(choose)(stretch, stats) if isinstance(stretch, str) else stretch
    reach = layout.margin + layout.multiple
    step = max(layout.multiple, (layout.tile - 2 * reach) // layout.multiple * layout.multiple)
    rows: list[list[Any]] = []
    sides = [
        [(a, min(a + step, length)) for a in range(0, length, step)] for length in (height, width)
    ]
    for y0, y1 in sides[0]:
        top, bottom = _window(y0, y1, height, reach, layout.multiple)
        line = []
        for x0, x1 in sides[1]:
            left, right = _window(x0, x1, width, reach, layout.multiple)
            inner = (y0 - top, y1 - top, x0 - left, x1 - left)
            made = dask.delayed(_block, pure=True, nout=3)(
                image[:, top:bottom, left:right], inner, (top, left), runs, layout, used, stats,
                controls,
            )  # fmt: skip
            shape = (channels, y1 - y0, x1 - x0)
            line.append(
                (
                    da.from_delayed(made[0], shape, image.dtype),
                    da.from_delayed(made[1], shape, image.dtype),
                    da.from_delayed(made[2], shape[1:], np.float32),
                )
            )
        rows.append(line)
    joined = [
        da.concatenate(
            [da.concatenate([cell[k] for cell in line], axis=-1) for line in rows], axis=-2
        )
        for k in range(3)
    ]
    return LazyParts(joined[0], joined[1], joined[2], used, dask.delayed(_white)(stats))


def _white(stats: Statistics) -> float:
    return stats.white if stats.white > 0 else 1.0


def descreened(starless: Any, stars: Any, white: Any) -> Any:
    """`nox_runtime.flow.descreen` of dask arrays, block by block; `white` may be delayed."""
    import dask.array as da

    return da.map_blocks(
        descreen, starless + stars, starless, white, dtype=starless.dtype,
        meta=np.empty((0,) * starless.ndim, starless.dtype),
    )  # fmt: skip


def _window(first: int, last: int, length: int, reach: int, multiple: int) -> tuple[int, int]:
    start = max(0, first - reach) // multiple * multiple
    return start, min(length, last + reach)


def _statistics(image: Any) -> Any:
    """Statistics as they would be of the array in memory, delayed."""
    import dask

    height, width = image.shape[1:]
    step, every = grid_step(height, width), grid_step(height, width, TRIPLES)
    extremes = [dask.delayed(_extremes)(block) for block in image.to_delayed().ravel()]
    triples = neighbours(image[:, ::every], every)  # one of dask's, too
    return dask.delayed(_together)(image[:, ::step, ::step], triples, extremes, image.dtype)


def _extremes(block: np.ndarray) -> tuple[float, float]:
    sound = block[np.isfinite(block)]
    return (float(sound.min()), float(sound.max())) if sound.size else (np.inf, -np.inf)


def _together(
    sample: np.ndarray, triples: np.ndarray, extremes: list[tuple[float, float]], dtype: np.dtype
) -> Statistics:
    return summed_up(
        sample, triples, min(e[0] for e in extremes), max(e[1] for e in extremes), dtype
    )


def _block(
    window: np.ndarray, inner: tuple[int, int, int, int], at: tuple[int, int], runs: Runs,
    layout: Layout, stretch: Stretch, stats: Statistics, controls: Controls,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Starless, stars and mask of the inner part of a window at row and column `at`."""
    top, left = at
    y0, y1, x0, x1 = inner
    region, protect, keep = inner, controls.protect, controls.keep
    if controls.region is not None:
        a, b, c, d = controls.region
        region = (max(y0, a - top), min(y1, b - top), max(x0, c - left), min(x1, d - left))
    shape = (len(window), y1 - y0, x1 - x0)
    starless = window[:, y0:y1, x0:x1].copy()
    stars, mask = np.zeros(shape, window.dtype), np.zeros(shape[1:], np.float32)
    if region[0] >= region[1] or region[2] >= region[3]:
        return starless, stars, mask
    columns = slice(left, left + window.shape[2])
    local = replace(
        controls, region=region,
        protect=None if protect is None
        else lambda first, last: protect(top + first, top + last)[:, columns],
        keep=None if keep is None else keep - np.array([left, top, 0]),
    )  # fmt: skip

    def read(r0: int, r1: int, c0: int, c1: int) -> np.ndarray:
        return np.asarray(window[:, r0:r1, c0:c1])

    whole = (len(window), window.shape[1], window.shape[2])
    for _, rows in iter_rows(read, whole, runs, layout, stretch, stats, local, []):
        if rows is None:
            continue
        first, last = max(y0, rows.start), min(y1, rows.start + rows.starless.shape[1])
        if first < last:
            here, part = slice(first - y0, last - y0), slice(first - rows.start, last - rows.start)
            starless[:, here] = rows.starless[:, part, x0:x1]
            stars[:, here] = rows.stars[:, part, x0:x1]
            mask[here] = np.abs(rows.residual[:, part, x0:x1]).max(axis=0)
    return starless, stars, mask
