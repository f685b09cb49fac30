"""When a device's memory is full: smaller pieces, then the CPU; said in the notes."""

from __future__ import annotations

import numpy as np

from nox_runtime.errors import MemoryFullError
from nox_runtime.interruption import Interruption
from nox_runtime.model import Model
from nox_runtime.tiling import grid, reflected


class Steady:
    """A model that goes on when memory is short.

    Parameters
    ----------
    model : Model
        Its notes tell what was done.
    margin : int
        Pixels of surroundings that pieces of a tile need.
    """

    def __init__(self, model: Model, margin: int) -> None:
        self.model, self.margin = model, margin
        self._largest: int | None = None

    def __call__(
        self, pictures: np.ndarray, interruption: Interruption | None = None
    ) -> np.ndarray:
        side = max(pictures.shape[2:])
        if self._largest is not None and side > self._largest:
            return self._in_pieces(pictures, self._largest, interruption)
        return self._whole(pictures, interruption)

    def _whole(self, pictures: np.ndarray, interruption: Interruption | None) -> np.ndarray:
        side, device = max(pictures.shape[2:]), self.model.device
        try:
            return self.model(pictures, interruption)
        except MemoryFullError:
            multiple = self.model.facts.multiple
            smaller = side // 2 // multiple * multiple
            if smaller >= 2 * self.margin + 2 * multiple:
                self._largest = smaller
                self.model.note(f"the {device} device's memory was full: pieces of {smaller} px")
            elif device != "cpu":
                self.model.to_cpu()
                self._largest = None
                self.model.note(f"the {device} device's memory was full: running on the CPU")
            else:
                raise
        return self(pictures, interruption)

    def _in_pieces(
        self, pictures: np.ndarray, side: int, interruption: Interruption | None
    ) -> np.ndarray:
        height, width = pictures.shape[2:]
        out = np.zeros_like(pictures)
        rows, columns = grid(height, width, side, self.margin, self.model.facts.multiple)
        for row in rows:
            y = reflected(row.read_start, row.read_stop, height)
            for column in columns:
                x = reflected(column.read_start, column.read_stop, width)
                piece = np.ascontiguousarray(pictures[:, :, y[:, None], x])
                made = self._whole(piece, interruption)
                a, b = row.write_start - row.read_start, column.write_start - column.read_start
                h, w = row.write_stop - row.write_start, column.write_stop - column.write_start
                weight = row.weights()[:, None] * column.weights()
                out[:, :, row.write_start : row.write_stop,
                    column.write_start : column.write_stop] += (
                    made[:, :, a : a + h, b : b + w] * weight
                )  # fmt: skip
        return out
