"""One way to open and to create a picture, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nox_runtime.errors import ImageError, OutputError
from nox_runtime.images import fits, raster
from nox_runtime.images.base import Sink, Source

__all__ = ["Sink", "Source", "create_image", "open_image", "output_ending", "split_ending"]

_READABLE = fits.ENDINGS + raster.TIFF_ENDINGS + raster.PNG_ENDINGS + raster.JPEG_ENDINGS
_WRITABLE = (
    tuple(e for e in fits.ENDINGS if not e.endswith((".bz2", ".fz")))
    + raster.TIFF_ENDINGS
    + raster.PNG_ENDINGS
)


def split_ending(path: Path) -> tuple[str, str]:
    """Name and ending of a file, `('m31', '.fits.gz')`; the ending may be ''."""
    name = Path(path).name
    for ending in sorted(_READABLE, key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)], name[-len(ending) :]
    return Path(name).stem, Path(name).suffix


def output_ending(ending: str) -> str:
    """Ending of a result by default: the input's, or the nearest that can be written."""
    low = ending.lower()
    if low.endswith((".bz2", ".fz")):
        return ending[: ending.rindex(".")]
    if low in raster.JPEG_ENDINGS:
        return ".png"
    return ending


def open_image(path: str | Path) -> Source:
    """Open a picture for reading.

    Raises
    ------
    ImageError
        No file, no picture, or a kind that is not understood.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file; check the name")
    if path.is_dir():
        raise ImageError(f"{path}: a folder; give the pictures in it")
    try:
        with open(path, "rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    if not start:
        raise ImageError(f"{path}: an empty file; make or fetch it again")
    ending = split_ending(path)[1].lower()
    if ending in fits.ENDINGS or start.startswith(b"SIMPLE  ="):
        return fits.FitsSource(path)
    if ending in _READABLE:
        return raster.RasterSource(path)
    raise ImageError(f"{path}: not a picture of a known format; give one of {', '.join(_listed())}")


def _listed() -> list[str]:
    return [".fits (.gz .bz2 .fz)", ".tif", ".png", ".jpg"]


def create_image(
    path: str | Path,
    source: Source,
    cards: dict[str, tuple[Any, str]],
    history: list[str],
    *,
    difference: bool = False,
    overwrite: bool = False,
) -> Sink:
    """Begin a picture like `source`; the ending of `path` chooses the format.

    Parameters
    ----------
    path : str or Path
    source : Source
        Gives size and type, and where the formats agree header, tags and other HDUs.
    cards : dict of str to (value, comment)
        For a FITS header.
    history : list of str
        Likewise.
    difference : bool
        Whether it will hold a difference of pictures like `source`.
    overwrite : bool

    Raises
    ------
    OutputError
        It exists, cannot be written, or the format cannot hold it.
    """
    path = Path(path)
    ending = split_ending(path)[1].lower()
    if ending not in _WRITABLE:
        raise OutputError(
            f"{path}: cannot write the format {ending or '(no ending)'!s}; "
            "name an output ending in .fits, .fits.gz, .tif or .png"
        )
    to_fits = ending in fits.ENDINGS
    if to_fits != isinstance(source, fits.FitsSource):
        lost = "tags, profile and alpha" if to_fits else "header and other HDUs"
        note = f"the {lost} of {source.path.name} are not kept in {ending}"
        if note not in source.notes:
            source.notes.append(note)
    if to_fits:
        return fits.FitsSink(
            path, source, cards, history, difference=difference, overwrite=overwrite
        )
    note = " ".join(str(cards[k][0]) for k in ("NOXVER", "NOXMODEL") if k in cards)
    return raster.RasterSink(path, source, f"nox {note}".strip(), overwrite=overwrite)
