"""One way to open and to create a picture, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nox_runtime.errors import ImageError, OutputError
from nox_runtime.images import fits, raster, tiff, xisf
from nox_runtime.images.base import CachedRows, Sink, Source
from nox_runtime.images.fits_sink import FitsSink

__all__ = [
    "CachedRows", "Sink", "Source", "create_image", "open_image", "output_ending", "readable",
    "split_ending",
]  # fmt: skip

_READABLE = fits.ENDINGS + tiff.ENDINGS + raster.PNG_ENDINGS + raster.JPEG_ENDINGS + xisf.ENDINGS
_WRITABLE = (
    tuple(e for e in fits.ENDINGS if not e.endswith(".bz2"))
    + tiff.ENDINGS
    + raster.PNG_ENDINGS
    + xisf.ENDINGS
)


def split_ending(path: Path) -> tuple[str, str]:
    """Name and ending of a file, `('m31', '.fits.gz')`; the ending may be ''."""
    name = Path(path).name
    for ending in sorted(_READABLE, key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)], name[-len(ending) :]
    return Path(name).stem, Path(name).suffix


def readable(path: Path) -> bool:
    """Whether a file's ending is that of a picture."""
    return split_ending(path)[1].lower() in _READABLE


def output_ending(ending: str) -> str:
    """Ending of a result by default: the input's, or the nearest that can be written."""
    low = ending.lower()
    if low.endswith((".bz2", ".fz")):
        return ending[: ending.rindex(".")]
    if low in raster.JPEG_ENDINGS:
        return ".png"
    return ending


def open_image(path: str | Path, *, hdu: int | str | None = None, stack: bool = False) -> Source:
    """Open a picture for reading.

    Parameters
    ----------
    path : str or Path
    hdu : int or str, optional
        Number, from 0, or name of the FITS HDU; by default the first with a picture.
    stack : bool
        Whether the planes of a FITS cube are pictures of their own.

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
        return fits.FitsSource(path, hdu=hdu, stack=stack)
    if hdu is not None or stack:
        raise ImageError(
            f"{path}: is no FITS file, which alone has HDUs and stacks; leave --hdu and --stack out"
        )
    if ending in tiff.ENDINGS:
        return tiff.TiffSource(path)
    if ending in xisf.ENDINGS:
        return xisf.XisfSource(path)
    if ending in _READABLE:
        return raster.RasterSource(path)
    raise ImageError(f"{path}: not a picture of a known format; give one of {', '.join(_listed())}")


def _listed() -> list[str]:
    return [".fits (.gz .bz2 .fz)", ".tif", ".png", ".jpg", ".xisf"]


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
            "name an output ending in .fits, .fits.gz, .fits.fz, .tif, .png or .xisf"
        )
    if source.stacked and ending not in fits.ENDINGS:
        raise OutputError(f"{path}: only FITS holds a stack; name an output ending in .fits")
    kinds = (fits.ENDINGS, tiff.ENDINGS, raster.PNG_ENDINGS, xisf.ENDINGS)
    home = (fits.FitsSource, tiff.TiffSource, raster.RasterSource, xisf.XisfSource)
    like = next(kind for kind, names in zip(home, kinds, strict=True) if ending in names)
    if not isinstance(source, like):
        lost = {
            fits.FitsSource: "header and other HDUs", xisf.XisfSource: "properties and keywords"
        }.get(type(source), "tags, profile and alpha")  # fmt: skip
        note = f"the {lost} of {source.path.name} are not kept in {ending}"
        bare = isinstance(source, raster.RasterSource) and not source.extras
        if note not in source.notes and not bare:
            source.notes.append(note)
    if like is fits.FitsSource:
        return FitsSink(path, source, cards, history, difference=difference, overwrite=overwrite)
    if like is raster.RasterSource:
        return raster.PngSink(path, source, overwrite=overwrite)
    said = " ".join(str(cards[k][0]) for k in ("NOXVER", "NOXMODEL") if k in cards)
    if like is xisf.XisfSource:
        return xisf.XisfSink(path, source, cards, overwrite=overwrite)
    return tiff.TiffSink(path, source, f"nox {said}".strip(), overwrite=overwrite)
