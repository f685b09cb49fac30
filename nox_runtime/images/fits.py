"""FITS, read and written in windows; every header and every other HDU is kept.

The image's raw values are mapped straight from the file, and the result is the
file's own bytes with the image's header and pixels replaced: what nox does not
understand, it copies.
"""

from __future__ import annotations

import bz2
import gzip
import shutil
import tempfile
import warnings
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from nox_runtime.errors import ImageError, OutputError, reason
from nox_runtime.images.base import Sink, Source
from nox_runtime.images.encoding import Encoding
from nox_runtime.images.header import BLOCK, as_extension, card, edited

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
            raise ImageError(
                f"{path}: cannot be unpacked ({error}); make or fetch the file again"
            ) from error
    return Path(copy.name)


def _axes(header: fits.Header) -> tuple[int, ...] | None:
    """(C, H, W) of an HDU that holds one mono or RGB picture, else None."""
    shape = [int(header[f"NAXIS{i}"]) for i in range(header.get("NAXIS", 0), 0, -1)]
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2 and min(shape) > 0:
        return (1, *shape)
    if len(shape) == 3 and shape[0] == 3 and min(shape) > 0:
        return tuple(shape)
    return None


class FitsSource(Source):
    """The first picture among a FITS file's HDUs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.bottom_up = True
        with open(self.path, "rb") as stream:
            start = stream.read(3)
        packed = start.startswith(b"\x1f\x8b") or start == b"BZh"
        self.plain = _unpacked(self.path, gzipped=start != b"BZh") if packed else self.path
        if packed:  # gone with this object, whatever happens
            self._cleaned = weakref.finalize(self, self.plain.unlink, missing_ok=True)
        self._hdus: fits.HDUList | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # truncated and odd files are judged below
                self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, ImageError) or not isinstance(error, Exception):
                raise
            raise ImageError(  # astropy meets damage in many ways
                f"{self.path}: not a readable FITS file ({reason(error)}); "
                "check that it is complete"
            ) from error

    def _open(self) -> None:
        # Pixels are mapped below; memmap=True would refuse scaled compressed ones.
        self._hdus = fits.open(self.plain, memmap=False, lazy_load_hdus=False)
        self.index, axes = self._find()
        self.shape = (axes[0], axes[1], axes[2])
        hdu = self._hdus[self.index]
        self.header: fits.Header = hdu.header
        info = self._hdus.fileinfo(self.index)
        self.header_location = info["hdrLoc"]
        self.data_location, self.data_span = info["datLoc"], info["datSpan"]
        if self.header.get("BAYERPAT") and self.shape[0] == 1:
            raise ImageError(
                f"{self.path}: raw colour mosaic (BAYERPAT {self.header['BAYERPAT']!r}); "
                "debayer it first, its stars are not whole yet"
            )
        self.bottom_up = str(self.header.get("ROWORDER", "")).upper().strip() != "TOP-DOWN"
        self.compressed = isinstance(hdu, fits.CompImageHDU)
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
        self._raw = np.memmap(self.plain, raw, "r", offset=self.data_location, shape=self.shape)

    def _find(self) -> tuple[int, tuple[int, ...]]:
        assert self._hdus is not None
        seen = []
        for i, hdu in enumerate(self._hdus):
            if not getattr(hdu, "is_image", False):
                continue
            axes = _axes(hdu.header)
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
            )
        raise ImageError(
            f"{self.path}: a FITS file without image data; give one that holds a picture"
        )

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `Source.read`."""
        if not self.compressed:
            return self.encoding.decode(np.asarray(self._raw[:, y0:y1, x0:x1]))
        try:
            return self._unpack(y0, y1, x0, x1)
        except Exception as error:  # the codecs share no exception of their own
            raise ImageError(
                f"{self.path}: its compressed pixels are damaged ({reason(error)}); "
                "make or fetch the file again"
            ) from error

    def _unpack(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        lead = (0,) * (self.header["NAXIS"] - (2 if self.shape[0] == 1 else 3))
        if self.shape[0] == 1:
            return np.asarray(self._section[(*lead, slice(y0, y1), slice(x0, x1))])[None].astype(
                self.dtype
            )
        return np.asarray(self._section[(*lead, slice(0, 3), slice(y0, y1), slice(x0, x1))]).astype(
            self.dtype
        )

    def close(self) -> None:
        """Let go of the file; delete an unpacked copy."""
        if hasattr(self, "_raw"):
            del self._raw
        if self._hdus is not None:
            self._hdus.close()
        if hasattr(self, "_cleaned"):
            self._cleaned()


def _fresh_header(shape: tuple[int, int, int]) -> fits.Header:
    header = fits.Header()
    header["SIMPLE"] = (True, "conforms to FITS standard")
    header["BITPIX"] = 8
    sides = shape[:0:-1] if shape[0] == 1 else shape[::-1]
    header["NAXIS"] = len(sides)
    for i, side in enumerate(sides):
        header[f"NAXIS{i + 1}"] = side
    return header


class FitsSink(Sink):
    """A FITS file like `source`'s with other pixels, or a new one.

    Parameters
    ----------
    path : Path
    source : Source
        Its header and other HDUs are kept if it is FITS.
    difference : bool
        Whether the rows are a difference of pictures like `source`: a scaled file's
        integers may not reach 0, so its differences are written as floats.
    cards : dict of str to (value, comment)
        Added to the header.
    history : list of str
    overwrite : bool
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        cards: dict[str, tuple[Any, str]],
        history: list[str],
        *,
        difference: bool,
        overwrite: bool,
    ) -> None:
        super().__init__(path, overwrite=overwrite)
        try:
            self._create(source, difference, cards, history)
        except BaseException as error:
            self.abandon()
            if not isinstance(error, OSError):
                raise
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror or error}); "
                "free some space or choose another folder with -o"
            ) from error

    def _create(
        self,
        source: Source,
        difference: bool,
        cards: dict[str, tuple[Any, str]],
        history: list[str],
    ) -> None:
        like = source if isinstance(source, FitsSource) else None
        self.flip = like is None and not source.bottom_up
        self.height = source.shape[1]
        self.encoding = like.encoding if like else Encoding.for_dtype(source.dtype)
        if difference and self.encoding.scaled:
            self.encoding = Encoding.for_dtype(source.dtype)
        header = like.header if like else _fresh_header(source.shape)
        # fpack puts a bare HDU before a compressed primary one; funpack drops it again.
        unwrapped = like is not None and like.wrapped
        self.index = 0 if unwrapped or not like else like.index
        if like and not like.compressed:
            with open(like.plain, "rb") as old:
                old.seek(like.header_location)
                raw = old.read(like.data_location - like.header_location)
        else:
            if like and "SIMPLE" in header and not unwrapped:
                header = as_extension(header)
            raw = header.tostring().encode("ascii", "replace")
        self.checksums = "CHECKSUM" in header or "DATASUM" in header
        changes = _changes(header, self.encoding, like)
        changes |= {key: card(key, value, comment) for key, (value, comment) in cards.items()}
        text = edited(raw, changes, [card("HISTORY", line[:72]) for line in history])
        size = int(np.prod(source.shape)) * self.encoding.raw_dtype.itemsize
        with open(self.temporary, "wb") as out:
            if like and not unwrapped:
                with open(like.plain, "rb") as old:
                    _copy(old, out, like.header_location)
            self._header, self._data = out.tell(), out.tell() + len(text)
            out.write(text)
            _reserve(out, -(-size // BLOCK) * BLOCK)
            if like:
                with open(like.plain, "rb") as old:
                    old.seek(like.data_location + like.data_span)
                    shutil.copyfileobj(old, out, 1 << 20)
        self._pixels: np.memmap | None = np.memmap(
            self.temporary, self.encoding.raw_dtype, "r+", offset=self._data, shape=source.shape
        )

    def rounded(self, rows: np.ndarray) -> np.ndarray:
        """See `Sink.rounded`."""
        if not self.encoding.scaled:
            return rows
        return self.encoding.decode(self.encoding.encode(rows))

    def write(self, start: int, rows: np.ndarray) -> None:
        """See `Sink.write`."""
        assert self._pixels is not None
        raw, stop = self.encoding.encode(rows), start + rows.shape[1]
        if self.flip:
            self._pixels[:, self.height - stop : self.height - start] = raw[:, ::-1]
        else:
            self._pixels[:, start:stop] = raw

    def _complete(self) -> None:
        assert self._pixels is not None
        self._pixels.flush()
        self._pixels = None
        if self.checksums:
            self._write_checksum()
        if self.path.name.lower().endswith(".gz"):
            packed = self.temporary.with_suffix(".gz.part")
            try:
                with open(self.temporary, "rb") as plain, gzip.open(packed, "wb", 6) as out:
                    shutil.copyfileobj(plain, out, 1 << 20)
                packed.replace(self.temporary)
            except BaseException:
                packed.unlink(missing_ok=True)
                raise

    def _write_checksum(self) -> None:
        """Make CHECKSUM and DATASUM anew, in this header alone."""
        with open(self.temporary, "rb") as file:
            file.seek(self._header)
            raw = file.read(self._data - self._header)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(
                self.temporary, memmap=True, do_not_scale_image_data=True,
                disable_image_compression=True,
            ) as hdus:  # fmt: skip
                hdu = hdus[self.index]
                as_it_stands = hdu.header.tostring().encode("ascii", "replace") == raw
                hdu.add_checksum()
                if not as_it_stands:  # astropy's sum is that of a mended header: undefined
                    hdu.header["CHECKSUM"] = ""
                sums = hdu.header.cards["CHECKSUM"], hdu.header.cards["DATASUM"]
        new = edited(raw, {c.keyword: c.image.encode("ascii") for c in sums}, [])
        with open(self.temporary, "r+b") as file:
            file.seek(self._header)
            file.write(new)

    def abandon(self) -> None:
        """Remove the temporary file."""
        self._pixels = None
        super().abandon()


def _copy(old: Any, out: Any, length: int) -> None:
    while length > 0:
        block = old.read(min(length, 1 << 20))
        if not block:
            return
        out.write(block)
        length -= len(block)


def _reserve(out: Any, length: int) -> None:
    """Write zeros: a file with holes would end a full disk's program by a bus error."""
    zeros = bytes(1 << 20)
    while length > 0:
        length -= out.write(zeros[: min(length, len(zeros))])


def _changes(
    header: fits.Header, encoding: Encoding, like: FitsSource | None
) -> dict[str, bytes | None]:
    """The structural cards that an encoding needs and a header has not."""
    changes: dict[str, bytes | None] = {}
    if header["BITPIX"] != encoding.bitpix:
        changes["BITPIX"] = card("BITPIX", encoding.bitpix, header.comments["BITPIX"])
    for key, value, plain in (("BSCALE", encoding.bscale, 1), ("BZERO", encoding.bzero, 0)):
        if float(header.get(key, plain)) != value:
            number = int(value) if value == int(value) else value
            changes[key] = card(key, number)
    had_blank = like is not None and (like.compressed or like.encoding.blank is not None)
    if had_blank and encoding.blank is None:
        changes["BLANK"] = None
    if like and like.compressed:
        changes |= dict.fromkeys(("ZQUANTIZ", "ZDITHER0", "ZBLANK"))
    if "CHECKSUM" in header or "DATASUM" in header:
        changes["CHECKSUM"] = card("CHECKSUM", "0" * 16, "HDU checksum")
        changes["DATASUM"] = card("DATASUM", "0" * 10, "data unit checksum")
    return changes
