"""Small files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nox_runtime.errors import OutputError


@contextmanager
def whole(path: Path, option: str) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its name when the block is through.

    Parameters
    ----------
    path : Path
        Replaced where it exists.
    option : str
        Of the command line, to be named where the file cannot be written.

    Raises
    ------
    OutputError
        Nothing is left of the temporary file then.
    """
    name = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose another {option}"
        ) from error
