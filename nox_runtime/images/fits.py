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
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from nox_runtime.errors import ImageError, OutputError
from nox_runtime.images.base import Sink, Source
from nox_runtime.images.encoding import Encoding

ENDINGS = tuple(
    base + packed for base in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".bz2", ".fz")
)
_BLOCK = 2880


def _unpacked(path: Path) -> Path:
    """A plain copy of a gzip or bzip2 file, in the temporary folder."""
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else bz2.open
    with tempfile.NamedTemporaryFile(suffix=".fits", delete=False) as copy:
        try:
            with opener(path, "rb") as packed:
                shutil.copyfileobj(packed, copy, 1 << 20)
        except (OSError, EOFError) as error:
            Path(copy.name).unlink(missing_ok=True)
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
        packed = self.path.name.lower().endswith((".gz", ".bz2"))
        self.plain = _unpacked(self.path) if packed else self.path
        self._temporary = packed
        self._hdus: fits.HDUList | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # truncated and odd files are judged below
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            # Pixels are mapped below; memmap=True would refuse scaled compressed ones.
            self._hdus = fits.open(self.plain, memmap=False, lazy_load_hdus=False)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise ImageError(
                f"{self.path}: not a readable FITS file ({reason}); check that it is complete"
            ) from error
        self.index, axes = self._find()
        self.shape = (axes[0], axes[1], axes[2])
        hdu = self._hdus[self.index]
        self.header: fits.Header = hdu.header
        self.header_location = self._hdus.fileinfo(self.index)["hdrLoc"]
        info = self._hdus.fileinfo(self.index)
        self.data_location, self.data_span = info["datLoc"], info["datSpan"]
        if self.header.get("BAYERPAT") and self.shape[0] == 1:
            raise ImageError(
                f"{self.path}: raw colour mosaic (BAYERPAT {self.header['BAYERPAT']!r}); "
                "debayer it first, its stars are not whole yet"
            )
        self.bottom_up = str(self.header.get("ROWORDER", "")).upper().strip() != "TOP-DOWN"
        self.compressed = isinstance(hdu, fits.CompImageHDU)
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
        if self._temporary:
            self.plain.unlink(missing_ok=True)


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
        except OSError as error:
            self.abandon()
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
        header = like.header.copy() if like else _fresh_header(source.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerifyWarning)
            _describe(header, self.encoding, compressed=bool(like and like.compressed))
            for key, (value, comment) in cards.items():
                header.set(key, value, comment)
            for line in history:
                header.add_history(line)
        # fpack puts a bare HDU before a compressed primary one; funpack drops it again.
        unwrapped = like is not None and like.compressed and "SIMPLE" in header
        self.index = 0 if unwrapped or not like else like.index
        self.checksums = "CHECKSUM" in header or "DATASUM" in header
        if self.checksums:  # both have their place before pixels are written
            for key in ("CHECKSUM", "DATASUM"):
                header.setdefault(key, "0" * 16)
        text = header.tostring().encode("ascii")
        size = int(np.prod(source.shape)) * self.encoding.raw_dtype.itemsize
        with open(self.temporary, "wb") as out:
            if like and not unwrapped:
                with open(like.plain, "rb") as old:
                    _copy(old, out, like.header_location)
            out.write(text)
            self._data = out.tell()
            out.truncate(self._data + -(-size // _BLOCK) * _BLOCK)
            if like:
                out.seek(0, 2)
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
            with open(self.temporary, "rb") as plain, gzip.open(packed, "wb", 6) as out:
                shutil.copyfileobj(plain, out, 1 << 20)
            packed.replace(self.temporary)

    def _write_checksum(self) -> None:
        """Make CHECKSUM and DATASUM anew, in this header alone.

        Saving through astropy would date those of all other HDUs anew as well.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(
                self.temporary, memmap=True, do_not_scale_image_data=True,
                disable_image_compression=True,
            ) as hdus:  # fmt: skip
                hdus[self.index].add_checksum()
                text = hdus[self.index].header.tostring().encode("ascii")
                at = hdus.fileinfo(self.index)["hdrLoc"]
        assert at + len(text) == self._data, "a checksum never changes a header's length"
        with open(self.temporary, "r+b") as file:
            file.seek(at)
            file.write(text)

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


def _describe(header: fits.Header, encoding: Encoding, *, compressed: bool) -> None:
    """Make a header's structural cards those of an encoding; touch no others."""
    header["BITPIX"] = encoding.bitpix
    if compressed:  # the picture was in a table; it becomes a plain image extension
        if "SIMPLE" not in header:
            header["XTENSION"] = "IMAGE"
        for key in ("ZQUANTIZ", "ZDITHER0", "ZBLANK"):
            header.remove(key, ignore_missing=True)
    wanted = {"BSCALE": encoding.bscale, "BZERO": encoding.bzero}
    for key, value in wanted.items():
        plain = 1.0 if key == "BSCALE" else 0.0
        if key in header:
            if float(header[key]) != value:
                header[key] = value
        elif value != plain:
            header[key] = int(value) if value == int(value) else value
    if encoding.blank is None:
        header.remove("BLANK", ignore_missing=True)
