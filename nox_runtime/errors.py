"""What can go wrong, a class for each kind of trouble.

Every message is one line that names the file, says what is wrong and what to do.

NoxError
    Base of all; the command line prints it and goes on with the next file.
ImageError
    A picture cannot be read: no image, damaged, or of a kind not understood.
OutputError
    A result cannot be written, or would overwrite something.
ModelError
    A model is missing, damaged, or not one of nox's.
DeviceError
    The device asked for cannot be used.
MemoryFullError
    A device has no memory left for a tile of this size.
StoppedError
    Work was ended from another thread, as it was asked to be.
UsageError
    The arguments do not fit together; also a ValueError (exit code 2).
"""

from __future__ import annotations


def reason(error: BaseException) -> str:
    """What another library's exception says, as part of one line of ours."""
    return " ".join(str(error).split())[:160]


class NoxError(Exception):
    """Base of every error that nox raises on purpose."""


class ImageError(NoxError):
    """A picture cannot be read."""


class OutputError(NoxError):
    """A result cannot be written."""


class ModelError(NoxError):
    """A model cannot be used."""


class DeviceError(NoxError):
    """A device cannot be used."""


class MemoryFullError(DeviceError):
    """A device's memory is full."""


class StoppedError(NoxError):
    """Work was ended from another thread."""


class UsageError(NoxError, ValueError):
    """Arguments do not fit together."""
