"""Removers to compare with, and one way to name any remover."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from scipy import ndimage

from nox_runtime.errors import UsageError
from nox_runtime.model import models_folder
from nox_train.benchmark import classical
from nox_train.benchmark.figures import disc
from nox_train.benchmark.removers import (
    Adapter,
    CommandRemover,
    FunctionRemover,
    NoxRemover,
    OnnxRemover,
    Remover,
    imported,
)

#: Radius of the structuring disc of `opening`, in pixels.
OPENING_RADIUS = 5.0
#: code2k13/starrem2k13, commit b6351c3, weights/model.onnx: MIT, Copyright 2021 code2k13.
#: Its own program cuts tiles without overlap; overlapping ones do it more justice.
STARREM2K13 = Adapter(
    layout="NHW", channels=1, scale=255 / 382, tile=512, overlap=64, name="starrem2k13",
    note="U2NETP on each channel, 0.64 M parameters",
)  # fmt: skip
_STARREM2K13_SHA256 = "878b2ac8"


def identity(picture: np.ndarray) -> np.ndarray:
    """Remove nothing: what the figures are without a remover."""
    return picture


def opening(picture: np.ndarray) -> np.ndarray:
    """Morphological opening: a minimum, then a maximum, over a disc of 5 px.

    What is narrower than the disc goes, star or not.
    """
    shape = disc(OPENING_RADIUS)
    return np.stack([ndimage.grey_opening(plane, footprint=shape) for plane in picture])


FUNCTIONS = {"identity": identity, "opening": opening, "classical": classical.remove}


def _is_nox(path: Path) -> bool:
    """Whether an ONNX file says that it is a model of nox."""
    return b"nox.receptive_field" in path.read_bytes()


def find(
    name: str | None, *, adapter: Path | None = None, takes_linear: bool = False,
    ending: str = "tif", device: str = "auto", threads: int = 0,
) -> Remover:  # fmt: skip
    """A remover by what the user calls it.

    Parameters
    ----------
    name : str, optional
        ``identity``, ``opening`` or ``classical``; the name of a built-in model of nox
        (by default the one that comes with nox); an .onnx file; a command with
        ``{input}`` and ``{output}``; or a Python function, ``package.module:function``.
    adapter : Path, optional
        JSON file with an `Adapter`, for an .onnx file that is not nox's.
    takes_linear : bool
        A function or command is given linear pictures as they are, not stretched.
    ending : str
        Of the files that a command is given.
    device, threads
        See `nox_runtime.StarRemover`.

    Raises
    ------
    NoxError
        There is none, or it cannot run here.
    """
    if name is None:
        return NoxRemover(None, device=device, threads=threads)
    if name in FUNCTIONS:
        return FunctionRemover(FUNCTIONS[name], name, {"kind": "built-in"})
    if "{input}" in name or "{output}" in name:
        return CommandRemover(name, ending=ending, takes_linear=takes_linear)
    path = Path(name)
    if path.suffix == ".onnx" and path.is_file():
        if adapter is not None:
            return OnnxRemover(path, Adapter.read(adapter), threads=threads)
        if _is_nox(path):
            return NoxRemover(path, device=device, threads=threads)
        if hashlib.sha256(path.read_bytes()).hexdigest().startswith(_STARREM2K13_SHA256):
            return OnnxRemover(path, STARREM2K13, threads=threads)
        raise UsageError(
            f"{path}: not a model of nox; say with --adapter FILE.json how it takes pictures "
            "(docs/benchmark.md)"
        )
    if ":" in name and "/" not in name and "\\" not in name:
        return FunctionRemover(imported(name), name, takes_linear=takes_linear)
    if (models_folder() / f"{name}.onnx").is_file():
        return NoxRemover(name, device=device, threads=threads)
    built_in = sorted(FUNCTIONS) + sorted(p.stem for p in models_folder().glob("*.onnx"))
    raise UsageError(
        f"{name}: no such remover; give one of {', '.join(built_in)}, an .onnx file, "
        "'COMMAND {input} {output}' or package.module:function"
    )
