"""Pixels as they lie in a file, read and written in windows.

Not mapped: pages of a mapped file count as the program's own memory.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np


class RawPixels:
    """A block of numbers in a file; several threads may use it.

    Parameters
    ----------
    path : Path
    offset : int
        Bytes before the first number.
    dtype : numpy.dtype
        With its byte order.
    shape : tuple of int
        Planes, height, width.
    interleaved : bool
        Whether the planes' numbers of a pixel lie side by side.
    writable : bool
    """

    def __init__(
        self,
        path: Path,
        offset: int,
        dtype: np.dtype,
        shape: tuple[int, int, int],
        *,
        interleaved: bool = False,
        writable: bool = False,
    ) -> None:
        self.shape, self.dtype, self.offset = shape, dtype, offset
        self.interleaved = interleaved
        self._file = open(path, "r+b" if writable else "rb", buffering=0)  # noqa: SIM115
        self._lock = threading.Lock()

    def read(
        self, y0: int, y1: int, x0: int, x1: int, first: int = 0, last: int | None = None
    ) -> np.ndarray:
        """A window, (C, y1 - y0, x1 - x0), in the file's type and byte order.

        Of the planes from `first` to before `last`, by default all.
        """
        channels, height, width = self.shape
        if self.interleaved:
            block = self._plane(0, y0, y1, x0, x1, width, channels)
            return np.moveaxis(block, -1, 0)[first:last]
        planes = range(channels)[first:last]
        out = np.empty((len(planes), y1 - y0, x1 - x0, 1), self.dtype)
        for i, c in enumerate(planes):
            self._plane(c * height, y0, y1, x0, x1, width, 1, out[i])
        return out[..., 0]

    def _plane(
        self, first: int, y0: int, y1: int, x0: int, x1: int, width: int, samples: int,
        out: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        if out is None:
            out = np.empty((y1 - y0, x1 - x0, samples), self.dtype)
        size = samples * self.dtype.itemsize
        start = self.offset + first * width * size
        bytes_ = memoryview(out.reshape(-1).view(np.uint8).data)
        if x0 == 0 and x1 == width:
            self._fill(bytes_, start + y0 * width * size)
            return out
        row = (x1 - x0) * size
        for i in range(y1 - y0):
            at = start + ((y0 + i) * width + x0) * size
            self._fill(bytes_[i * row : (i + 1) * row], at)
        return out

    def _fill(self, view: memoryview, at: int) -> None:
        while len(view):
            n = self._read_at(view, at)
            if not n:
                raise EOFError("the file ends before its pixels do")
            view, at = view[n:], at + n

    def _read_at(self, view: memoryview, at: int) -> int:
        if hasattr(os, "preadv"):  # one call, and no other thread in the way
            return os.preadv(self._file.fileno(), [view], at)
        with self._lock:
            self._file.seek(at)
            return self._file.readinto(view) or 0

    def write(self, start: int, rows: np.ndarray, first: int = 0) -> None:
        """Put rows (C, n, width) at row `start`, from plane `first` on."""
        _, height, width = self.shape
        if self.interleaved:
            self._put(np.moveaxis(rows, 0, -1), start * width * rows.shape[0])
            return
        for c, plane in enumerate(rows, first):
            self._put(plane, (c * height + start) * width)

    def _put(self, values: np.ndarray, at: int) -> None:
        data = np.ascontiguousarray(values, self.dtype)
        view = memoryview(data.reshape(-1).view(np.uint8).data)
        with self._lock:
            self._file.seek(self.offset + at * self.dtype.itemsize)
            while len(view):
                view = view[self._file.write(view) :]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
