"""Scenes seen more than once, for a network that learns faster than scenes are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from nox_train.dataset import Stream
from nox_train.validation import as_channels

#: The ways in which a square can be turned and mirrored.
TURNS = 8
#: What the batches kept for later may take, in bytes; on a GPU it is the GPU's memory.
_ROOM = 16e9


def unpack(picture: Any) -> Any:
    """Undo `nox_train.dataset.pack`; leave floats alone."""
    if keras.backend.standardize_dtype(picture.dtype) != "int16":
        return picture
    return (ops.cast(picture, "float32") + 32768.0) * np.float32(1 / 65535)


def unpacking(measure: Callable) -> Callable:
    """A measure (`nox_train.losses`) of packed batches, to be compiled with it."""

    def measured(picture: Any, target: Any) -> Any:
        return measure(unpack(picture), unpack(target))

    return measured


def turned(picture: Any, way: int) -> Any:
    """A batch (N, H, W, C) of squares, turned or mirrored in one of `TURNS` ways."""
    picture = ops.flip(picture, axis=1) if way & 1 else picture
    picture = ops.flip(picture, axis=2) if way & 2 else picture
    return ops.transpose(picture, (0, 2, 1, 3)) if way & 4 else picture


class Replay:
    """A stream whose batches come again, turned otherwise, while no new one is ready.

    Seen once each they come as they are, in order.  Else new batches go first, and which
    old ones come in between depends on how fast scenes are made: two trainings with it
    are not the same bit by bit.

    Parameters
    ----------
    fresh : Stream
        Packed, where `times` is more than 1.
    times : int
        How often a batch is seen at most, 1 to `TURNS`.
    channels : int
        Of the network, 3 or 1.
    seed, start : int
        Of the turns, and the number of the stream's first batch.
    """

    def __init__(
        self, fresh: Stream, times: int, channels: int = 3, *, seed: int = 0, start: int = 0
    ) -> None:
        self._fresh, self._times, self._channels = fresh, times, channels
        self._rng = np.random.default_rng([seed, start])
        self._kept: list[tuple[Any, Any, list[int]]] = []
        self._taken = start

    def _new(self) -> tuple[Any, Any, list[int]]:
        pair = (as_channels(p, self._channels, self._taken) for p in next(self._fresh))
        self._taken += 1
        # As the backend has it, so that a GPU gets each batch once.
        picture, target = (ops.convert_to_tensor(p) for p in pair)
        ways = self._rng.permutation(TURNS)[: self._times].tolist() if self._times > 1 else [0]
        return picture, target, ways

    def __next__(self) -> tuple[Any, Any]:
        if self._fresh.ready() or not self._kept:
            found = self._new()
            if (len(self._kept) + 1) * 4 * math.prod(found[0].shape) > _ROOM:
                del self._kept[:1]
            self._kept.append(found)
        else:
            found = self._kept[int(self._rng.integers(len(self._kept)))]
        picture, target, ways = found
        way = ways.pop()
        self._kept = [kept for kept in self._kept if kept[2]]
        return turned(picture, way), turned(target, way)

    def close(self) -> None:
        """End the stream's processes, and forget what was kept."""
        self._fresh.close()
        self._kept.clear()
