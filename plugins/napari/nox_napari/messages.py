"""What goes wrong, in the words of someone who sits before a window."""

from __future__ import annotations

from importlib.util import find_spec

from nox_runtime.errors import NoxError, reason

#: What to type where ONNX Runtime is missing; cmd of Windows knows no single quotes.
INSTALL = 'pip install "astronox[cpu]"'

#: Options of the command line, and where the panel has them.
_IN_THE_PANEL = {
    "a smaller --tile": "smaller tiles",
    "--device": "the device",
    "--stretch": "the stretch",
    "--model": "the model",
    "--tile": "the tile size",
    "with -o": "for it",
    "another -o": "another one",
    "give --overwrite to replace it": "choose another name",
}


def missing_runtime() -> str | None:
    """What to tell the user where ONNX Runtime is not installed, else None."""
    if find_spec("onnxruntime") is not None:
        return None
    return f"nox needs ONNX Runtime to remove stars. Install it and restart napari:\n{INSTALL}"


def for_window(error: BaseException) -> str:
    """One line for a notification.

    Parameters
    ----------
    error : BaseException
        Errors of nox speak for themselves, except for the options they name, which
        the panel has as controls; others are named by their class.
    """
    if isinstance(error, MemoryError):
        return (
            "not enough memory for this picture; close some layers, or run nox-runtime "
            "on the file, which needs little"
        )
    text = reason(error) if not isinstance(error, NoxError) else str(error)
    if not isinstance(error, NoxError):
        return f"{type(error).__name__}: {text}"
    for option, control in _IN_THE_PANEL.items():
        text = text.replace(option, control)
    return text
