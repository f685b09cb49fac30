"""What every format offers: a source to read rows from, a sink to write rows to."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.errors import ImageError, OutputError
from nox_runtime.whole import give_name, temporary


class Source(ABC):
    """An open picture.

    Attributes
    ----------
    path : Path
        The file as the user named it.
    shape : tuple of int
        Channels (1 or 3), height, width; rows in the file's order.
    dtype : numpy.dtype
        Type of the values that `read` gives, native byte order.
    bottom_up : bool
        Whether the first row is at the bottom of the display.
    order_known : bool
        Whether the format or the file itself says where the first row is, not convention alone.
    stacked : bool
        Whether the channels are pictures of their own, any number of them.
    costly : bool
        Whether reading a window means unpacking much more: read through `CachedRows`.
    notes : list of str
        What the user should know.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    bottom_up: bool = False
    order_known: bool = True
    stacked: bool = False
    costly: bool = False

    def __init__(self) -> None:
        self.notes: list[str] = []

    @abstractmethod
    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """A window, shape (C, y1 - y0, x1 - x0), physical values of type `dtype`.

        Several threads may call it at once.
        """

    def read_planes(self, first: int, last: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """As `read`, of the planes from `first` to before `last` alone."""
        return self.read(y0, y1, x0, x1)[first:last]

    def wcs(self) -> Any:
        """The sky coordinates of the pixels, an astropy WCS, or None."""
        return None

    def close(self) -> None:  # noqa: B027 - formats held in memory have nothing to do
        """Let go of the file."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def refuse_mosaic(path: Path, pattern: str) -> None:
    """Refuse a raw colour mosaic, whose pattern is not empty.

    Raises
    ------
    ImageError
    """
    if pattern:
        raise ImageError(
            f"{path}: raw colour mosaic (BAYERPAT {pattern!r}); "
            "debayer it first, its stars are not whole yet"
        )


class CachedRows:
    """Rows of a costly source, each unpacked once.

    A row is kept from its first reading until `forget` is told that it is done with.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._lock = source, threading.RLock()
        self._first = 0
        self._rows: np.ndarray | None = None

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """As `Source.read`."""
        with self._lock:
            width = self._source.shape[2]
            held = self._rows
            if held is None or y0 < self._first or y0 > self._first + held.shape[1]:
                self._first, held = y0, self._source.read(y0, y1, 0, width)
            elif y1 > self._first + held.shape[1]:
                new = self._source.read(self._first + held.shape[1], y1, 0, width)
                held = np.concatenate([held, new], axis=1)
            self._rows = held
            return held[:, y0 - self._first : y1 - self._first, x0:x1]

    def forget(self, row: int) -> None:
        """Rows before this one will not be read again."""
        with self._lock:
            if self._rows is not None and row > self._first:
                self._rows = self._rows[:, row - self._first :].copy()
                self._first = row


class Sink(ABC):
    """A picture being written under a temporary name; `finish` gives it its own.

    Rows come in order, top of the file first, in the type of the source.
    """

    _completed = False

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        if os.path.lexists(self.path) and not overwrite:
            raise OutputError(f"{self.path}: exists already; give --overwrite to replace it")
        self.temporary = temporary(self.path, "folder with -o")

    @abstractmethod
    def write(self, start: int, rows: np.ndarray, first: int = 0) -> None:
        """Take rows (C, n, width), the first at row `start`, from plane `first` on."""

    def rounded(self, rows: np.ndarray) -> np.ndarray:
        """The rows as they will be read back: scaled files hold only some values."""
        return rows

    @abstractmethod
    def _complete(self) -> None:
        """Write what is still missing and close the temporary file."""

    def complete(self) -> None:
        """Finish the temporary file; only its name is missing then."""
        if not self._completed:
            self._complete()
            self._completed = True

    def finish(self) -> None:
        """Complete the file and move it to its name."""
        self.complete()
        give_name(self.temporary, self.path, self._overwrite)

    def abandon(self) -> None:
        """Remove the temporary file."""
        self.temporary.unlink(missing_ok=True)


class HeldSink(Sink):
    """A picture that is held in memory and written when all rows are there."""

    def __init__(self, path: Path, source: Source, *, overwrite: bool) -> None:
        super().__init__(path, overwrite=overwrite)
        self.flip = source.bottom_up
        self.pixels = np.zeros(source.shape, source.dtype)

    def write(self, start: int, rows: np.ndarray, first: int = 0) -> None:
        """See `Sink.write`."""
        stop, height = start + rows.shape[1], self.pixels.shape[1]
        if self.flip:
            self.pixels[:, height - stop : height - start] = rows[:, ::-1]
        else:
            self.pixels[:, start:stop] = rows
