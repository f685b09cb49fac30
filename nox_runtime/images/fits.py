"""FITS pictures, read in windows."""

from __future__ import annotations

import bz2
import errno
import gzip
import shutil
import tempfile
import threading
import warnings
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from nox_runtime.errors import ImageError, reason
from nox_runtime.images.base import Source, refuse_mosaic
from nox_runtime.images.encoding import Encoding
from nox_runtime.images.raw import RawPixels

ENDINGS = tuple(
    base + packed for base in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".bz2", ".fz")
)


#: What fpack writes into the bare HDU before a compressed primary picture.
_BARE = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "CHECKSUM", "DATASUM", ""}


def _unpacked(path: Path, *, gzipped: bool) -> Path:
    """A plain copy of a gzip or bzip2 file, in the temporary folder."""
    opener: Any = gzip.open if gzipped else bz2.open
    with tempfile.NamedTemporaryFile(suffix=".fits", delete=False) as copy:
        try:
            with opener(path, "rb") as packed:
                shutil.copyfileobj(packed, copy, 1 << 20)
        except BaseException as error:
            Path(copy.name).unlink(missing_ok=True)
            if not isinstance(error, (OSError, EOFError, zlib.error)):
                raise
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise ImageError(
                    f"{path}: no room to unpack it in {Path(copy.name).parent}; free some, or "
                    "set TMPDIR to a folder with room"
                ) from error
            raise ImageError(
                f"{path}: cannot be unpacked ({error}); make or fetch the file again"
            ) from error
    return Path(copy.name)


def _axes(header: fits.Header, stack: bool) -> tuple[int, int, int] | None:
    """(C, H, W) of an HDU that holds a mono or RGB picture, or a stack; else None."""
    shape = [int(header[f"NAXIS{i}"]) for i in range(header.get("NAXIS", 0), 0, -1)]
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2 and min(shape) > 0:
        return (1, shape[0], shape[1])
    if len(shape) == 3 and (stack or shape[0] == 3) and min(shape) > 0:
        return (shape[0], shape[1], shape[2])
    return None


def wcs_of(header: fits.Header) -> Any:
    """A header's WCS if it has a sky, else None."""
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy mends dates and units aloud
        for axes in (2, None):  # a cube's SIP needs the 2; a sky on other axes the rest
            try:
                made = WCS(header, naxis=axes)
            except Exception:  # a damaged WCS is none
                continue
            if made.has_celestial:
                return made
    return None


class FitsSource(Source):
    """A picture among a FITS file's HDUs.

    Parameters
    ----------
    path : Path
    hdu : int or str, optional
        Its number, from 0, or its EXTNAME; by default the first that holds a picture.
    stack : bool
        Whether the planes of a cube are pictures of their own, any number of them.
    """

    def __init__(self, path: Path, *, hdu: int | str | None = None, stack: bool = False) -> None:
        super().__init__()
        self.path, self.stacked = Path(path), stack
        self.bottom_up = True
        self._lock = threading.Lock()
        with open(self.path, "rb") as stream:
            start = stream.read(3)
        packed = start.startswith(b"\x1f\x8b") or start == b"BZh"
        self.plain = _unpacked(self.path, gzipped=start != b"BZh") if packed else self.path
        if packed:  # gone with this object, whatever happens
            self._cleaned = weakref.finalize(self, self.plain.unlink, missing_ok=True)
        self._hdus: fits.HDUList | None = None
        self._raw: RawPixels | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # truncated and odd files are judged below
                self._open(hdu)
        except BaseException as error:
            self.close()
            if isinstance(error, ImageError) or not isinstance(error, Exception):
                raise
            raise ImageError(  # astropy meets damage in many ways
                f"{self.path}: not a readable FITS file ({reason(error)}); "
                "check that it is complete"
            ) from error

    def _open(self, wanted: int | str | None) -> None:
        # Pixels are read below; memmap=True would refuse scaled compressed ones.
        self._hdus = fits.open(self.plain, memmap=False, lazy_load_hdus=False)
        self.index, self.shape = self._find(wanted)
        hdu = self._hdus[self.index]
        self.header: fits.Header = hdu.header
        info = self._hdus.fileinfo(self.index)
        self.header_location = info["hdrLoc"]
        self.data_location, self.data_span = info["datLoc"], info["datSpan"]
        if self.shape[0] == 1 or self.stacked:
            refuse_mosaic(self.path, self.header.get("BAYERPAT", ""))
        self.order_known = "ROWORDER" in self.header
        self.bottom_up = str(self.header.get("ROWORDER", "")).upper().strip() != "TOP-DOWN"
        self.compressed = self.costly = isinstance(hdu, fits.CompImageHDU)
        # Whether fpack made this file of one whose first HDU was the picture.
        self.wrapped = (
            self.compressed
            and self.index == 1
            and "SIMPLE" in self.header
            and set(self._hdus[0].header) <= _BARE
        )
        if self.compressed:
            self._section = hdu.section
            self.dtype = np.dtype(hdu.section[(0,) * (self.header["NAXIS"] - 1)].dtype)
            self.dtype = self.dtype.newbyteorder("=")
            self.encoding = Encoding.for_dtype(self.dtype)
            return
        self.encoding = Encoding.of(self.header)
        self.dtype = self.encoding.dtype
        raw = self.encoding.raw_dtype
        need = int(np.prod(self.shape)) * raw.itemsize
        if self.plain.stat().st_size < self.data_location + need:
            raise ImageError(
                f"{self.path}: truncated (its header promises {need} bytes of pixels); "
                "make or fetch the file again"
            )
        self._raw = RawPixels(self.plain, self.data_location, raw, self.shape)

    def _candidates(self, wanted: int | str | None) -> list[tuple[int, Any]]:
        """Number and HDU of those that may hold the picture."""
        assert self._hdus is not None
        there = list(enumerate(self._hdus))
        if wanted is None:
            return there
        if str(wanted).lstrip("-").isdigit():
            chosen = [pair for pair in there if pair[0] == int(wanted)]
        else:
            chosen = [pair for pair in there if pair[1].name == str(wanted).upper()]
        if not chosen:
            names = ", ".join(f"{i} ({hdu.name or 'unnamed'})" for i, hdu in there)
            raise ImageError(f"{self.path}: has no HDU {wanted}; it has {names}")
        return chosen[:1]

    def _find(self, wanted: int | str | None) -> tuple[int, tuple[int, int, int]]:
        seen = []
        for i, hdu in self._candidates(wanted):
            if not getattr(hdu, "is_image", False):
                continue
            axes = _axes(hdu.header, self.stacked)
            if axes is not None:
                if i:
                    self.notes.append(f"the picture is HDU {i} ({hdu.name or 'unnamed'})")
                return i, axes
            n = hdu.header.get("NAXIS", 0)
            if n:
                seen.append(" x ".join(str(hdu.header[f"NAXIS{k + 1}"]) for k in range(n)))
        if seen:
            raise ImageError(
                f"{self.path}: holds no mono or RGB picture (only {', '.join(seen)}); "
                "give one with axes W x H or W x H x 3"
                + (", or --stack for each plane by itself" if not self.stacked else "")
            )
        if wanted is not None:
            raise ImageError(
                f"{self.path}: HDU {wanted} holds no image data; leave --hdu out for the first "
                "that does"
            )
        raise ImageError(
            f"{self.path}: a FITS file without image data; give one that holds a picture"
        )

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `Source.read`."""
        return self.read_planes(0, self.shape[0], y0, y1, x0, x1)

    def read_planes(self, first: int, last: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """As `read`, of some planes alone."""
        if self._raw is not None:
            try:
                return self.encoding.decode(self._raw.read(y0, y1, x0, x1, first, last))
            except (OSError, EOFError) as error:
                raise ImageError(
                    f"{self.path}: cannot be read ({reason(error)}); check the disk it is on"
                ) from error
        try:
            return self._unpack(first, last, y0, y1, x0, x1)
        except Exception as error:  # the codecs share no exception of their own
            raise ImageError(
                f"{self.path}: its compressed pixels are damaged ({reason(error)}); "
                "make or fetch the file again"
            ) from error

    def _unpack(self, first: int, last: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        axes = int(self.header["NAXIS"])
        window = (slice(first, last), slice(y0, y1), slice(x0, x1))[-axes:]
        with self._lock:  # astropy's sections share one file
            values = np.asarray(self._section[(*(0,) * (axes - 3), *window)])
        return values.reshape(last - first, y1 - y0, x1 - x0).astype(self.dtype)

    def wcs(self) -> Any:
        """See `Source.wcs`."""
        return wcs_of(self.header)

    def close(self) -> None:
        """Let go of the file; delete an unpacked copy."""
        if self._raw is not None:
            self._raw.close()
        if self._hdus is not None:
            self._hdus.close()
        if hasattr(self, "_cleaned"):
            self._cleaned()
