"""Files that appear whole or not at all: written beside their name, then given it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nox_runtime.errors import OutputError


def temporary(path: Path, remedy: str) -> Path:
    """An empty file beside `path`, of the rights that a new file has.

    Parameters
    ----------
    path : Path
    remedy : str
        What to choose where none can be made there, for the error.

    Raises
    ------
    OutputError
    """
    try:
        handle, made = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose another {remedy}"
        ) from error
    os.close(handle)
    os.chmod(made, 0o666 & ~_umask())
    return Path(made)


def give_name(part: Path, path: Path, overwrite: bool) -> None:
    """Move a finished temporary file to its name.

    Raises
    ------
    OutputError
        The name was taken meanwhile, and shall not be replaced; `part` is removed.
    """
    if overwrite:
        os.replace(part, path)
        return
    try:  # a link fails where the name is taken, a move would overwrite it
        os.link(part, path)
    except OSError as error:
        if isinstance(error, FileExistsError) or os.path.lexists(path):
            part.unlink(missing_ok=True)
            raise OutputError(
                f"{path}: was made by another program meanwhile; give --overwrite to replace it"
            ) from None
        os.rename(part, path)  # a file system without links
    else:
        os.unlink(part)


def claim(path: Path, token: str) -> Path:
    """The second name that marks a result as a run's own, until the run is reported."""
    return path.with_name(f".{path.name}.{token}.part")


def take_back(path: Path, token: str) -> None:
    """Remove a result that a run of this token made and could not report any more."""
    mark = claim(path, token)
    if mark.exists() and path.exists() and mark.samefile(path):
        path.unlink()
    mark.unlink(missing_ok=True)


def mark(part: Path, path: Path, token: str) -> None:
    """Mark what will be `path` as this run's own, where the file system has links."""
    with contextlib.suppress(OSError):
        os.link(part, claim(path, token))


@contextlib.contextmanager
def reported(paths: Sequence[Path], token: str) -> Iterator[None]:
    """Around the making of results and their report: all of them come to stay, or none.

    What an earlier run of this token made, and was ended before it could report, is
    taken back first; so is what this one made, if it fails.

    Parameters
    ----------
    paths : sequence of Path
    token : str
        That marks them as a run's own; without one nothing is taken back.
    """

    def all_back() -> None:
        for path in paths if token else ():
            take_back(path, token)

    all_back()
    try:
        yield
    except BaseException:
        all_back()
        raise
    for path in paths if token else ():
        claim(path, token).unlink(missing_ok=True)


class SmallFile:
    """A small file that waits under a temporary name; see `nox_runtime.images.Sink`.

    Parameters
    ----------
    path : Path
    write : callable
        Writes it, whole, to the name that it is given.
    option : str
        Of the command line, to be named where the file cannot be written.
    overwrite : bool

    Raises
    ------
    OutputError
        Nothing is left of the temporary file then.
    """

    def __init__(
        self, path: Path, write: Callable[[Path], object], option: str, *, overwrite: bool
    ) -> None:
        self.path, self._overwrite = Path(path), overwrite
        self.temporary = temporary(self.path, option)
        try:
            write(self.temporary)
        except BaseException as error:
            self.abandon()
            if not isinstance(error, OSError):
                raise
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); choose another {option}"
            ) from error

    def finish(self) -> None:
        """Move the file to its name."""
        give_name(self.temporary, self.path, self._overwrite)

    def abandon(self) -> None:
        """Remove the temporary file."""
        self.temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
