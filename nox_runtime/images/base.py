"""What every format offers: a source to read rows from, a sink to write rows to."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from nox_runtime.errors import OutputError


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
    notes : list of str
        What the user should know.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    bottom_up: bool = False

    def __init__(self) -> None:
        self.notes: list[str] = []

    @abstractmethod
    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """A window, shape (C, y1 - y0, x1 - x0), physical values of type `dtype`."""

    def close(self) -> None:  # noqa: B027 - formats held in memory have nothing to do
        """Let go of the file."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def sample(self, limit: int = 4_000_000) -> np.ndarray:
        """Every n-th row and column, at most about `limit` pixels a channel, (C, h, w)."""
        _, height, width = self.shape
        step = max(1, int(np.ceil(np.sqrt(height * width / limit))))
        if step == 1:
            return self.read(0, height, 0, width)
        band = 256 // step * step or step  # few reads: compressed tiles are slow to open
        rows = [
            self.read(y, min(y + band, height), 0, width)[:, ::step, ::step]
            for y in range(0, height, band)
        ]
        return np.concatenate(rows, axis=1)


class Sink(ABC):
    """A picture being written under a temporary name; `finish` gives it its own.

    Rows come in order, top of the file first, in the type of the source.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        if os.path.lexists(self.path) and not overwrite:
            raise OutputError(f"{self.path}: exists already; give --overwrite to replace it")
        folder = self.path.parent
        try:
            handle, name = tempfile.mkstemp(
                prefix=f".{self.path.name}.", suffix=".part", dir=folder
            )
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); choose another folder with -o"
            ) from error
        os.close(handle)
        os.chmod(name, 0o666 & ~_umask())
        self.temporary = Path(name)

    @abstractmethod
    def write(self, start: int, rows: np.ndarray) -> None:
        """Take rows of shape (C, n, width), the first of them at row `start`."""

    def rounded(self, rows: np.ndarray) -> np.ndarray:
        """The rows as they will be read back: scaled files hold only some values."""
        return rows

    @abstractmethod
    def _complete(self) -> None:
        """Write what is still missing and close the temporary file."""

    def finish(self) -> None:
        """Complete the file and move it to its name."""
        self._complete()
        if self._overwrite:
            os.replace(self.temporary, self.path)
            return
        try:  # a link fails where the name is taken, a move would overwrite it
            os.link(self.temporary, self.path)
            os.unlink(self.temporary)
        except FileExistsError:
            self.abandon()
            raise OutputError(
                f"{self.path}: was made by another program meanwhile; "
                "give --overwrite to replace it"
            ) from None
        except OSError:  # a file system without links
            os.replace(self.temporary, self.path)

    def abandon(self) -> None:
        """Remove the temporary file."""
        self.temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
