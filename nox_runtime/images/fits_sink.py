"""FITS files written in windows; every header and every other HDU is kept.

The result is the input's own bytes with the picture's header and pixels replaced:
what nox does not understand, it copies.
"""

from __future__ import annotations

import datetime
import errno
import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from nox_runtime.errors import OutputError
from nox_runtime.images.base import Sink, Source
from nox_runtime.images.checksum import encoded, file_sum, ones_sum
from nox_runtime.images.encoding import Encoding
from nox_runtime.images.fits import FitsSource
from nox_runtime.images.fpack import pack
from nox_runtime.images.header import BLOCK, as_extension, card, edited
from nox_runtime.images.raw import RawPixels


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
        if difference:  # extremes of other pixels, by which programs would scale these
            changes |= {key: None for key in ("DATAMIN", "DATAMAX") if key in header}
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
        self._size = size
        self._pixels = RawPixels(
            self.temporary, self._data, self.encoding.raw_dtype, source.shape, writable=True
        )

    def rounded(self, rows: np.ndarray) -> np.ndarray:
        """See `Sink.rounded`."""
        if not self.encoding.scaled:
            return rows
        return self.encoding.decode(self.encoding.encode(rows))

    def write(self, start: int, rows: np.ndarray, first: int = 0) -> None:
        """See `Sink.write`."""
        raw = self.encoding.encode(rows)
        if self.flip:
            start, raw = self.height - start - raw.shape[1], raw[:, ::-1]
        self._pixels.write(start, raw, first)

    def _complete(self) -> None:
        self._pixels.close()
        if self.checksums:
            self._write_checksum()
        ending = self.path.suffix.lower()
        if ending in (".gz", ".fz"):
            packed = self.temporary.with_suffix(f"{ending}.part")
            try:
                if ending == ".gz":
                    with open(self.temporary, "rb") as plain, gzip.open(packed, "wb", 6) as out:
                        shutil.copyfileobj(plain, out, 1 << 20)
                else:
                    pack(self.temporary, packed, self._header, self._data, self._size)
                packed.replace(self.temporary)
            except BaseException:
                packed.unlink(missing_ok=True)
                raise

    def _write_checksum(self) -> None:
        """Make CHECKSUM and DATASUM anew, in this header alone."""
        with open(self.temporary, "r+b") as file:
            file.seek(self._header)
            raw = file.read(self._data - self._header)
            data = file_sum(file, self._data, self._data + -(-self._size // BLOCK) * BLOCK)
            when = datetime.datetime.now(datetime.UTC).strftime("updated %Y-%m-%dT%H:%M:%S")
            new = edited(raw, {
                "CHECKSUM": card("CHECKSUM", "0" * 16, f"HDU checksum {when}"),
                "DATASUM": card("DATASUM", str(data), f"data unit checksum {when}"),
            }, [])  # fmt: skip
            total = encoded(ones_sum(new, data))
            new = new.replace(b"CHECKSUM= '" + b"0" * 16, f"CHECKSUM= '{total}".encode(), 1)
            file.seek(self._header)
            file.write(new)

    def abandon(self) -> None:
        """Remove the temporary file."""
        if hasattr(self, "_pixels"):
            self._pixels.close()
        super().abandon()


def _copy(old: Any, out: Any, length: int) -> None:
    while length > 0:
        block = old.read(min(length, 1 << 20))
        if not block:
            return
        out.write(block)
        length -= len(block)


def _reserve(out: Any, length: int) -> None:
    """Make room for the pixels, so that a full disk is found before the work, not after."""
    if hasattr(os, "posix_fallocate") and length:
        try:
            os.posix_fallocate(out.fileno(), out.tell(), length)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
    out.seek(length, os.SEEK_CUR)
    out.truncate()


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
