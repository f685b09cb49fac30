"""Layers as FITS files: the source's header and NOX* provenance go with them.

Where the file a picture came from is still there, the new file is that file's bytes
with other pixels: tables, other images and every odd card stay.  Elsewhere the header
in the layer's metadata is used.
"""

from __future__ import annotations

import datetime
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

import nox_runtime
from nox_napari.messages import for_window
from nox_runtime.errors import ImageError, OutputError
from nox_runtime.images import create_image, open_image, split_ending
from nox_runtime.images.fpack import pack

#: Cards that describe the pixels of the old file, not the picture.
_STRUCTURAL = (
    "SIMPLE", "XTENSION", "BITPIX", "EXTEND", "BSCALE", "BZERO", "BLANK", "PCOUNT",
    "GCOUNT", "GROUPS", "CHECKSUM", "DATASUM", "DATAMIN", "DATAMAX",
)  # fmt: skip


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """npe2 writer of one image layer.

    Parameters
    ----------
    path : str
        Ends in .fits, .fit, .fts, .fits.gz or .fits.fz; replaced if it exists (napari has asked).
    data : array, or list of arrays for several scales
        (..., H, W), or (..., H, W, 3) if ``meta["rgb"]``.
    meta : mapping
        The layer's settings; ``meta["metadata"]`` may hold what our reader and our
        panel put there.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    OutputError
        It cannot be written, or is the file that the picture came from; nothing
        is left behind.
    """
    target = Path(path)
    known = meta.get("metadata") or {}
    origin, made = known.get("fits"), known.get("nox")
    # Other plugins keep other things under these names.
    if not isinstance(origin, Mapping) or not {"path", "hdu"} <= set(origin):
        origin = {}
    made = made if isinstance(made, Mapping) and "role" in made else {}
    sources = (origin.get("path"), made.get("file"))
    if target.exists() and any(_same(target, source) for source in sources):
        raise OutputError(f"{target}: is the file this picture came from; choose another name")
    picture = _as_planes(data, bool(meta.get("rgb")))
    cards, history = provenance(made)
    try:
        if not _written_like_source(target, picture, origin, made, cards, history):
            _write_anew(target, picture, known, cards, history)
    except OutputError as error:  # the runtime's, which names options of the command line
        raise OutputError(for_window(error)) from error
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}); "
            "free some space or choose another folder"
        ) from error
    return [str(target)]


def provenance(
    made: Mapping[str, Any] | None,
) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    """Header cards and lines of HISTORY of a layer that nox made; empty for others.

    Parameters
    ----------
    made : mapping or None
        ``metadata["nox"]`` of the layer.
    """
    if not made:
        return {}, []
    cards = {
        "NOXVER": (nox_runtime.__version__, "version of nox"),
        "NOXMODEL": (f"{made['model']} {made['model_version']}", "model that removed the stars"),
        "NOXSHA": (made["weights_sha256"][:16], "SHA-256 of its weights, first 16"),
    }
    day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    history = [
        f"nox {nox_runtime.__version__} {day}: {_role(made)}, in napari",
        f"nox: model {made['model']} {made['model_version']}, stretch {made['stretch']}, "
        f"on {made['device']}",
    ]
    if made["strength"] != 1:
        history.append(f"nox: strength {made['strength']:.2f}")
    return cards, history


def _role(made: Mapping[str, Any]) -> str:
    """What a layer is; stars for screen blending are no light to be added."""
    return "stars for screen blending" if made.get("screen") else str(made["role"])


def _same(target: Path, origin: str | None) -> bool:
    return bool(origin) and Path(str(origin)).exists() and os.path.samefile(target, str(origin))


def _as_planes(data: Any, rgb: bool) -> np.ndarray:
    """The finest scale as FITS has it: colours before rows."""
    if isinstance(data, (list, tuple)) or type(data).__name__ == "MultiScaleData":
        data = data[0]
    picture = np.asarray(data)
    if rgb:
        picture = np.moveaxis(picture[..., :3], -1, -3)
    if picture.dtype == bool:
        return picture.astype(np.uint8)
    if picture.dtype == np.float16:
        return picture.astype(np.float32)
    if picture.dtype.kind not in "uif":
        raise OutputError(f"values are {picture.dtype}; FITS holds integers and floats")
    return picture


def _written_like_source(
    target: Path,
    picture: np.ndarray,
    origin: Mapping[str, Any],
    made: Mapping[str, Any] | None,
    cards: dict[str, tuple[Any, str]],
    history: list[str],
) -> bool:
    """Write through the runtime, from the source's bytes; False where that cannot be."""
    if not origin or picture.ndim > 3 or not Path(origin["path"]).is_file():
        return False
    planes = picture if picture.ndim == 3 else picture[None]
    try:
        stack = len(planes) not in (1, 3)
        with open_image(origin["path"], hdu=origin["hdu"], stack=stack) as source:
            if tuple(source.shape) != planes.shape or source.dtype != planes.dtype:
                return False
            difference = bool(made) and str(made["role"]) != "starless"  # type: ignore[index]
            sink = create_image(
                target, source, cards, history, difference=difference, overwrite=True
            )
            try:
                sink.write(0, planes)
                sink.finish()
            finally:
                sink.abandon()
    except ImageError:  # changed or damaged since it was read: the layer still has its header
        return False
    return True


def _write_anew(
    target: Path,
    picture: np.ndarray,
    known: Mapping[str, Any],
    cards: dict[str, tuple[Any, str]],
    history: list[str],
) -> None:
    header = _header(known.get("header"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cards that are not quite standard are kept
        hdu = fits.PrimaryHDU(np.ascontiguousarray(picture), header)
        for key, (value, comment) in cards.items():
            hdu.header[key] = (value, comment)
        for line in history:
            hdu.header.add_history(line[:72])
        ending = split_ending(target)[1] or ".fits"
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=f".part{ending}", dir=target.parent
        )
        os.close(handle)
        try:
            hdu.writeto(name, overwrite=True, output_verify="silentfix+ignore")
            if ending.lower().endswith(".fz"):
                _compress(Path(name), picture.nbytes)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, target)
        finally:
            Path(name).unlink(missing_ok=True)


def _compress(path: Path, size: int) -> None:
    """Compress a file of one picture of so many bytes tile by tile, as fpack does."""
    with fits.open(path) as hdus:
        start = hdus.fileinfo(0)["datLoc"]
    packed = path.with_name(f"{path.name}.part")
    try:
        pack(path, packed, 0, start, size)
        packed.replace(path)
    finally:
        packed.unlink(missing_ok=True)


def _header(known: Any) -> fits.Header:
    """What of a header still holds for other pixels."""
    header = known.copy(strip=True) if isinstance(known, fits.Header) else fits.Header()
    for keyword in _STRUCTURAL:
        header.remove(keyword, ignore_missing=True, remove_all=True)
    for keyword in [k for k in header if k.startswith("NAXIS")]:
        header.remove(keyword, ignore_missing=True)
    return header
