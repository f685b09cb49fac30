"""Anything that removes stars, behind one call: nox models, callables, ONNX, commands."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nox_runtime.errors import ModelError, NoxError, UsageError, reason
from nox_runtime.images import open_image
from nox_train.benchmark.scene import automatic, levels

#: Takes and gives a picture of the display range, (C, H, W), float32.
Function = Callable[[np.ndarray], np.ndarray]
#: Formats that a command can be given pictures in.
FORMATS = ("tif", "fits", "png")


class Remover(Protocol):
    """What the benchmark measures.

    Attributes
    ----------
    name : str
        For tables.
    facts : dict
        What it is, for the result.
    """

    name: str
    facts: dict

    def remove(self, picture: np.ndarray, linear: bool | None) -> np.ndarray:
        """Remove the stars.

        Parameters
        ----------
        picture : ndarray, shape (C, H, W), float32, values 0 to 1
            C is 1 or 3.
        linear : bool or None
            Whether it is linear light, not stretched; None: that is to be found out.

        Returns
        -------
        ndarray, same shape, same units
        """
        ...


class FunctionRemover:
    """A function on pictures of the display range.

    Linear pictures are stretched for it (Siril's automatic stretch) and brought back;
    what it leaves alone stays the same.

    Parameters
    ----------
    function : callable
        See `Function`.
    name : str, optional
        By default the function's.
    facts : dict, optional
    takes_linear : bool
        Hand linear pictures over as they are.
    """

    def __init__(
        self, function: Function, name: str | None = None, facts: dict | None = None,
        *, takes_linear: bool = False,
    ) -> None:  # fmt: skip
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))
        self.facts: dict = facts or {"kind": "function"}
        self.takes_linear = takes_linear

    def remove(self, picture: np.ndarray, linear: bool | None) -> np.ndarray:
        """See `Remover.remove`."""
        if not linear or self.takes_linear:
            return np.asarray(self.function(picture), np.float32)
        curve = automatic(picture)
        shown = curve.forward(picture)
        made = np.asarray(self.function(shown.astype(np.float32)), np.float64)
        same = made == shown.astype(np.float32)
        back = picture + curve.inverse(made) - curve.inverse(shown)
        return np.asarray(np.where(same, picture, back), np.float32)


class NoxRemover:
    """A model of nox, run as `nox-runtime` runs it: stretch, tiles and all.

    Parameters
    ----------
    model : str or Path, optional
        Name or file; by default the one that comes with nox.
    device : str
    threads : int
        0 for all cores.
    tile : int, optional
        Side of a tile, in pixels.
    """

    def __init__(
        self, model: str | Path | None = None, *, device: str = "auto", threads: int = 0,
        tile: int | None = None,
    ) -> None:  # fmt: skip
        from nox_runtime.removal import StarRemover

        remover = StarRemover(model, device=device, threads=threads)
        self._remover = remover if tile is None else StarRemover(remover.model, tile=tile)
        facts = self._remover.model.facts
        self.name = facts.name
        self.facts = {"kind": "nox", "device": self._remover.model.device} | asdict(facts)

    def remove(self, picture: np.ndarray, linear: bool | None) -> np.ndarray:
        """See `Remover.remove`; unless `linear` is False nox finds out by itself."""
        stretch = "none" if linear is False else "auto"
        return self._remover.remove(picture, stretch=stretch).starless

    def with_tile(self, tile: int) -> NoxRemover:
        """The same model in tiles of another size."""
        from nox_runtime.removal import StarRemover

        other = object.__new__(NoxRemover)
        other._remover = StarRemover(self._remover.model, tile=tile)
        other.name, other.facts = self.name, self.facts
        return other


@dataclass(frozen=True)
class Adapter:
    """How pictures get into and out of an ONNX model that is not nox's.

    Attributes
    ----------
    layout : {'NCHW', 'NHWC', 'NHW'}
        Of its input; the output is brought to the tile's shape.
    channels : int
        3, or 1 for a model that is run on each channel.
    scale, offset : float
        ``model input = scale * picture + offset``; its output is brought back alike.
    tile, overlap : int
        Side of the square that it is given, and pixels shared by neighbours.
    gives : {'starless', 'stars'}
    name, note : str
        For tables and for the result.
    """

    layout: str = "NCHW"
    channels: int = 3
    scale: float = 1.0
    offset: float = 0.0
    tile: int = 512
    overlap: int = 64
    gives: str = "starless"
    name: str = ""
    note: str = ""

    @classmethod
    def read(cls, path: Path) -> Adapter:
        """Read a JSON file whose keys are the attributes.

        Raises
        ------
        UsageError
            No such file, no JSON, or a key or value that is not understood.
        """
        try:
            values = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path}: cannot be read as an adapter ({reason(error)}); give a JSON file"
            ) from error
        known = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) - known:
            raise UsageError(f"{path}: an adapter is one object with keys of {sorted(known)}")
        made = cls(**values)
        if made.layout not in ("NCHW", "NHWC", "NHW") or made.gives not in ("starless", "stars"):
            raise UsageError(
                f"{path}: layout is {made.layout!r} and gives {made.gives!r}; they must be NCHW, "
                "NHWC or NHW, and starless or stars"
            )
        if made.channels not in (1, 3) or not 0 <= made.overlap < made.tile:
            raise UsageError(f"{path}: channels must be 1 or 3, overlap at least 0 and below tile")
        return made


class OnnxRemover(FunctionRemover):
    """An ONNX model behind an `Adapter`, in overlapping tiles with feathered edges."""

    def __init__(self, path: Path, adapter: Adapter, *, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ModelError(f"{path}: no ONNX model that runs here ({reason(error)})") from error
        self._input = self._session.get_inputs()[0].name
        self.adapter = adapter
        facts = {"kind": "onnx", "file": Path(path).name} | asdict(adapter)
        super().__init__(self._remove, adapter.name or Path(path).stem, facts)

    def _tile(self, tile: np.ndarray) -> np.ndarray:
        a = self.adapter
        given = (tile * a.scale + a.offset).astype(np.float32)[None]
        if a.layout == "NHWC":
            given = np.ascontiguousarray(np.moveaxis(given, 1, -1))
        elif a.layout == "NHW":
            given = given[:, 0]
        made = np.asarray(self._session.run(None, {self._input: given})[0], np.float32)
        if a.layout == "NHWC":
            made = np.moveaxis(made, -1, 1)
        made = (made.reshape(tile.shape) - a.offset) / a.scale
        return np.asarray(tile - made if a.gives == "stars" else made)

    def _planes(self, picture: np.ndarray) -> np.ndarray:
        """Run the model over a picture of as many channels as it takes."""
        a = self.adapter
        _, h, w = picture.shape
        step = a.tile - a.overlap
        rows, columns = (-(-max(n - a.overlap, 1) // step) for n in (h, w))
        full = ((0, 0), (0, rows * step + a.overlap - h), (0, columns * step + a.overlap - w))
        padded = np.pad(picture, full, mode="symmetric")
        ramp = np.minimum(np.arange(a.tile) + 1, a.tile - np.arange(a.tile)) / (a.overlap + 1)
        weight = np.minimum(ramp, 1.0)[:, None] * np.minimum(ramp, 1.0)
        total, weights = np.zeros(padded.shape), np.zeros(padded.shape[1:])
        for y in range(0, rows * step, step):
            for x in range(0, columns * step, step):
                part = (slice(y, y + a.tile), slice(x, x + a.tile))
                total[:, *part] += weight * self._tile(padded[:, *part])
                weights[part] += weight
        return np.asarray((total / weights)[:, :h, :w], np.float32)

    def _remove(self, picture: np.ndarray) -> np.ndarray:
        if self.adapter.channels == 1:
            made = np.concatenate([self._planes(plane[None]) for plane in picture])
        elif len(picture) == 1:
            made = self._planes(np.repeat(picture, 3, axis=0)).mean(axis=0, keepdims=True)
        else:
            made = self._planes(picture)
        return np.clip(made, 0.0, 1.0)


class CommandRemover(FunctionRemover):
    """A program that reads a file and writes one, 16 bits a channel.

    Parameters
    ----------
    template : str
        Such as ``starnet2 {input} {output}``; it is run without a shell.
    ending : {'tif', 'fits', 'png'}
        Of the files.
    takes_linear : bool
    timeout : float
        Seconds for one picture.
    """

    def __init__(
        self, template: str, *, ending: str = "tif", takes_linear: bool = False,
        timeout: float = 3600.0,
    ) -> None:  # fmt: skip
        self._words = shlex.split(template)
        if "{input}" not in template or "{output}" not in template:
            raise UsageError(f"{template}: a command must hold both {{input}} and {{output}}")
        if ending not in FORMATS:
            raise UsageError(f"format is {ending!r}; it must be one of {', '.join(FORMATS)}")
        self._ending, self._timeout = ending, timeout
        facts = {"kind": "command", "command": template, "format": ending}
        name = Path(self._words[0]).stem
        super().__init__(self._run, name, facts, takes_linear=takes_linear)

    def _run(self, picture: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="nox-bench-") as folder:
            given = Path(folder) / f"input.{self._ending}"
            made = Path(folder) / f"output.{self._ending}"
            write16(given, picture)
            words = [
                w.replace("{input}", str(given)).replace("{output}", str(made)) for w in self._words
            ]
            try:
                done = subprocess.run(
                    words, cwd=folder, capture_output=True, text=True, timeout=self._timeout
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NoxError(f"{words[0]}: did not run ({reason(error)})") from error
            if done.returncode or not made.exists():
                said = (done.stderr or done.stdout).strip().splitlines()
                raise NoxError(
                    f"{words[0]}: ended with code {done.returncode} and "
                    f"{'an' if made.exists() else 'no'} output"
                    + (f" ({said[-1][:160]})" if said else "; try the command by hand")
                )
            return read_unit(made, len(picture), spanned=False)[0]


def _white(dtype: np.dtype, most: float) -> float:
    """What a program's output has for white: floats go to 1, or to the end of 8 or 16 bits."""
    if dtype.kind == "i":
        return float(np.iinfo(dtype).max)
    return next((white for white in (1.0, 255.0) if most < 1.5 * white), 65535.0)


def write16(path: Path, picture: np.ndarray) -> None:
    """Write a picture of 0 to 1 with 16 bits a channel; the ending chooses the format."""
    whole = levels(picture)
    last = whole[0] if len(whole) == 1 else np.ascontiguousarray(np.moveaxis(whole, 0, -1))
    if path.suffix == ".fits":
        from astropy.io import fits

        fits.writeto(path, whole[0] if len(whole) == 1 else whole)
    elif path.suffix == ".png":
        import imagecodecs

        path.write_bytes(imagecodecs.png_encode(last))
    else:
        import tifffile

        tifffile.imwrite(path, last, photometric="minisblack" if len(whole) == 1 else "rgb")


def read_unit(
    path: Path, channels: int | None = None, *, spanned: bool = True
) -> tuple[np.ndarray, bool]:
    """Read a picture as float32, 0 to 1.

    Integers are divided by their type's largest value, floats that leave 0..1 brought
    there from what they span; gaps are filled with the median.  Not `spanned`, as for a
    program's output, floats keep their scale, to 1 or to the end of 8 or 16 bits: a pixel that
    overshoots must not move all others.

    Returns
    -------
    picture : ndarray, shape (C, H, W), float32
    eight_bit : bool
    """
    with open_image(path) as source:
        have, h, w = source.shape
        native = source.read(0, h, 0, w)
    values = np.asarray(native, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise NoxError(f"{path}: has no finite value; nothing can be measured on it")
    values = np.where(finite, values, np.median(values[finite]))
    if native.dtype.kind == "u":
        values = values / np.iinfo(native.dtype).max
    elif not spanned:
        values = values / _white(native.dtype, float(values.max()))
    elif values.min() < 0 or values.max() > 1:
        values = (values - values.min()) / max(np.ptp(values), 1e-30)
    if channels is not None and have != channels:
        values = values.mean(axis=0, keepdims=True).repeat(channels, axis=0)
    return values.astype(np.float32), native.dtype == np.uint8


def imported(name: str) -> Callable[..., Any]:
    """A function given as ``package.module:function``.

    Raises
    ------
    UsageError
        There is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{name}: no such function ({reason(error)})") from error
    if not callable(found):
        raise UsageError(f"{name}: is {type(found).__name__}, not a function")
    return found


def environment_threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
