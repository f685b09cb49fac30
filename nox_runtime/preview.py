"""A small picture of before and after, made while the rows go by."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class Preview:
    """Averages rows into two pictures side by side.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of the picture.
    flip : bool
        Whether its first row belongs at the bottom.
    side : int
        Longest side of each half at most, in pixels.
    """

    def __init__(
        self, shape: tuple[int, int, int], *, flip: bool = False, side: int = 1200
    ) -> None:
        channels, height, width = shape
        self.step = max(1, -(-max(height, width) // side))
        small = (channels, -(-height // self.step), -(-width // self.step))
        self._sums = np.zeros((2, *small), np.float32)
        self._rows = np.zeros(small[1], np.float32)
        self._columns = np.minimum(self.step, width - np.arange(0, width, self.step))
        self._starts = np.arange(0, width, self.step)
        self.flip = flip

    def add(self, start: int, before: np.ndarray, after: np.ndarray) -> None:
        """Take rows as they are to be shown, with stars and without: (C, n, W)."""
        y = (start + np.arange(before.shape[1])) // self.step
        for i, rows in enumerate((before, after)):
            clean = np.nan_to_num(rows.clip(0, 1))
            sums = np.add.reduceat(clean, self._starts, axis=2)
            for c, channel in enumerate(sums):
                np.add.at(self._sums[i, c], y, channel)
        np.add.at(self._rows, y, 1)

    def picture(self) -> np.ndarray:
        """Before and after side by side, uint8, (H, W) or (H, W, 3)."""
        mean = self._sums / (self._rows[:, None] * self._columns)
        if self.flip:
            mean = mean[:, :, ::-1]
        gap = np.ones((*mean.shape[1:3], 4), np.float32)
        both = np.concatenate([mean[0], gap, mean[1]], axis=2)
        both = np.moveaxis((both * 255 + 0.5).astype(np.uint8), 0, -1)
        return np.ascontiguousarray(both if both.shape[2] == 3 else both[:, :, 0])

    def write(self, path: Path) -> None:
        """Write a PNG."""
        import imagecodecs

        path.write_bytes(imagecodecs.png_encode(self.picture()))
