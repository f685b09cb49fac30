"""TIFF, read and written in windows, with the tags it came with."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.errors import ImageError, reason
from nox_runtime.images.base import Sink, Source
from nox_runtime.images.raw import RawPixels

ENDINGS = (".tif", ".tiff")
#: Bytes of a strip of compressed output, about.
_STRIP = 1 << 18
#: From this size on a file needs the offsets of BigTIFF.
_BIG = 2**32 - 2**25


class TiffSource(Source):
    """A TIFF picture of one page; uncompressed ones are read in windows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[np.ndarray | None, int, int, int]] = {}
        self._raw: RawPixels | None = None
        self._file: Any = None
        try:
            self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, (ImageError, OSError)) or not isinstance(error, Exception):
                raise
            raise ImageError(  # tifffile meets damage in many ways
                f"{self.path}: not a readable picture ({reason(error)}); check that it is "
                "complete and that its ending tells its format"
            ) from error

    def _open(self) -> None:
        import tifffile

        self._file = tifffile.TiffFile(self.path)
        pages = [p for p in self._file.pages if not p.is_reduced]
        if not pages:
            raise ValueError("no page in it")
        if len(pages) != 1:
            raise ImageError(
                f"{self.path}: holds {len(pages)} pages; split it and give one page a file"
            )
        page: Any = pages[0]
        self._page = page
        if page.dtype is None or page.dtype.kind not in "uif":
            raise ImageError(
                f"{self.path}: holds {page.dtype or 'no numbers'}; "
                "give a mono or RGB picture of integers or floats"
            )
        if str(page.photometric.name) not in ("MINISBLACK", "RGB"):
            raise ImageError(
                f"{self.path}: colours are {page.photometric.name}; save it as RGB or grey"
            )
        self.samples = int(page.samplesperpixel)
        if page.imagedepth != 1 or self.samples not in (1, 2, 3, 4):
            raise ImageError(
                f"{self.path}: {self.samples} channels of {page.dtype}; "
                "give a mono or RGB picture of integers or floats"
            )
        self.shape = (3 if self.samples > 2 else 1, page.imagelength, page.imagewidth)
        self.dtype = np.dtype(page.dtype).newbyteorder("=")
        self.separate = self.samples > 1 and page.planarconfig.name == "SEPARATE"
        self.tags = _tags(self._file, page)
        self.has_exif = "ExifTag" in page.tags
        if page.is_contiguous:
            whole = (self.samples, *self.shape[1:])
            dtype = np.dtype(page.dtype).newbyteorder(self._file.byteorder)
            need = int(np.prod(whole)) * dtype.itemsize
            if self.path.stat().st_size < page.dataoffsets[0] + need:
                raise ValueError("its pixels are cut short")
            self._raw = RawPixels(
                self.path, page.dataoffsets[0], dtype, whole, interleaved=not self.separate
            )
        else:
            self.costly = True
            self._samples(0, 1)  # so that damage shows before the work

    def _samples(self, y0: int, y1: int) -> np.ndarray:
        """Rows of all samples, alpha too, (S, y1 - y0, W), out of their segments."""
        page = self._page
        _, height, width = self.shape
        tall = page.tilelength if page.is_tiled else page.rowsperstrip
        across = -(-width // page.tilewidth) if page.is_tiled else 1
        down = -(-height // tall)
        out = np.zeros((self.samples, y1 - y0, width), self.dtype)
        for plane in range(self.samples if self.separate else 1):
            for row in range(y0 // tall, -(-y1 // tall)):
                for column in range(across):
                    index = (plane * down + row) * across + column
                    block, s, top, left = self._segment(index)
                    if block is None:  # a segment that was left out: zeros
                        continue
                    a, b = max(y0, top), min(y1, top + block.shape[0])
                    right = min(width, left + block.shape[1])
                    part = np.moveaxis(block[a - top : b - top, : right - left], -1, 0)
                    out[s : s + len(part), a - y0 : b - y0, left:right] = part
        return out

    def _segment(self, index: int) -> tuple[np.ndarray | None, int, int, int]:
        """A strip or tile unpacked, (H, W, S), with its first sample, row and column.

        The last strips are kept, as many as there are planes: many programs write a plane as one.
        """
        with self._lock:
            if index in self._kept:
                return self._kept[index]
            page, handle = self._page, self._file.filehandle
            handle.seek(page.dataoffsets[index])
            count = page.databytecounts[index]
            data = handle.read(count) if count else None
            if data is not None and len(data) < count:
                raise ValueError("its pixels are cut short")
        block, (s, _, top, left, _), size = page.decode(
            data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader
        )
        made = (None if block is None else block[0, : size[1], : size[2]], s, top, left)
        if not page.is_tiled:
            with self._lock:
                self._kept[index] = made
                while len(self._kept) > (self.samples if self.separate else 1):
                    self._kept.pop(next(iter(self._kept)))
        return made

    def _rows(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        try:
            if self._raw is not None:
                return self._raw.read(y0, y1, x0, x1).astype(self.dtype, copy=False)
            return self._samples(y0, y1)[:, :, x0:x1]
        except Exception as error:  # the decoders share no exception of their own
            raise ImageError(
                f"{self.path}: its pixels are damaged ({reason(error)}); "
                "make or fetch the file again"
            ) from error

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `Source.read`."""
        return np.ascontiguousarray(self._rows(y0, y1, x0, x1)[: self.shape[0]])

    def read_alpha(self, y0: int, y1: int) -> np.ndarray:
        """Rows of the alpha channel, (1, y1 - y0, W)."""
        return self._rows(y0, y1, 0, self.shape[2])[-1:]

    def close(self) -> None:
        """Let go of the file."""
        if self._raw is not None:
            self._raw.close()
        if self._file is not None:
            self._file.close()


def _tags(file: Any, page: Any) -> dict[str, Any]:
    """The arguments that make tifffile write a page like this one."""
    tags: dict[str, Any] = {"bigtiff": file.is_bigtiff, "byteorder": file.byteorder}
    if page.samplesperpixel > 1:
        tags["planarconfig"] = page.planarconfig.name
    if page.compression.name in ("ADOBE_DEFLATE", "DEFLATE", "LZW"):
        tags["compression"] = "ADOBE_DEFLATE" if "DEFLATE" in page.compression.name else "LZW"
    found = page.tags
    if page.extrasamples:
        tags["extrasamples"] = [int(e) for e in page.extrasamples]
    if page.description:
        tags["description"] = page.description.encode("utf-8", "replace")
    if "XResolution" in found and "YResolution" in found:
        tags["resolution"] = (found["XResolution"].value, found["YResolution"].value)
        tags["resolutionunit"] = (
            int(found["ResolutionUnit"].value) if "ResolutionUnit" in found else 2
        )
    if "InterColorProfile" in found:
        tags["iccprofile"] = bytes(found["InterColorProfile"].value)
    kept = []
    for name in ("Make", "Model", "Artist", "Copyright", "DateTime", "XMP", "Orientation"):
        if name in found:
            tag, value = found[name], found[name].value
            if isinstance(value, str):  # tifffile takes letters beyond ASCII as bytes alone
                value = value.encode("utf-8", "replace")
            kept.append((tag.code, int(tag.dtype), tag.count, value, True))
    tags["extratags"] = kept
    return tags


class TiffSink(Sink):
    """A TIFF file with the tags of `source`.

    Uncompressed pixels go straight to their place; those to be compressed wait in a
    file of their own, since strips of planes come in another order than rows.
    """

    def __init__(self, path: Path, source: Source, note: str, *, overwrite: bool) -> None:
        super().__init__(path, overwrite=overwrite)
        self._waiting: Path | None = None
        try:
            self._create(source, note)
        except BaseException:
            self.abandon()
            raise

    def _create(self, source: Source, software: str) -> None:
        like = source if isinstance(source, TiffSource) else None
        if like is not None and like.has_exif:  # in a directory of its own
            note = f"the Exif data of {like.path.name} are not kept"
            like.notes += [note] if note not in like.notes else []
        self.flip = source.bottom_up
        self._alpha = like if like is not None and like.samples in (2, 4) else None
        tags: dict[str, Any] = dict(like.tags) if like else {}
        channels, self.height, self.width = source.shape
        self.samples = channels + bool(self._alpha)
        order = tags.get("byteorder", "=")
        self.dtype = np.dtype(source.dtype).newbyteorder(order)
        self.separate = tags.get("planarconfig") == "SEPARATE" and self.samples > 1
        size = self.samples * self.height * self.width * self.dtype.itemsize
        tags["bigtiff"] = bool(tags.get("bigtiff")) or size > _BIG
        tags["photometric"] = "rgb" if channels > 1 else "minisblack"
        if self.samples > 1:
            tags.setdefault("planarconfig", "CONTIG")
        if self._alpha is not None:
            tags.setdefault("extrasamples", ["UNASSALPHA"])
        else:
            tags.pop("extrasamples", None)
        shape: tuple[int, ...] = (self.height, self.width)
        if self.samples > 1:
            shape = (self.samples, *shape) if self.separate else (*shape, self.samples)
        self._tags = {**tags, "shape": shape, "software": software, "metadata": None}
        whole = (self.samples, self.height, self.width)
        if "compression" not in tags:
            offset = self._lay_out()
            self._pixels = RawPixels(
                self.temporary, offset, self.dtype, whole,
                interleaved=not self.separate, writable=True,
            )  # fmt: skip
            return
        self._waiting = self.temporary.with_suffix(".pixels.part")
        self._waiting.touch()
        self._pixels = RawPixels(
            self._waiting, 0, self.dtype, whole, interleaved=not self.separate, writable=True
        )

    def _lay_out(self) -> int:
        """Write header and tags; where the pixels go."""
        import tifffile

        tifffile.imwrite(self.temporary, None, dtype=self.dtype, **self._tags)
        with tifffile.TiffFile(self.temporary) as file:
            return int(file.pages[0].dataoffsets[0])

    def write(self, start: int, rows: np.ndarray, first: int = 0) -> None:
        """See `Sink.write`."""
        if self._alpha is not None:
            alpha = self._alpha.read_alpha(start, start + rows.shape[1])
            rows = np.concatenate([rows, alpha.astype(rows.dtype)])
        if self.flip:
            start, rows = self.height - start - rows.shape[1], rows[:, ::-1]
        self._pixels.write(start, rows, first)

    def _complete(self) -> None:
        if self._waiting is not None:
            import tifffile

            bytes_a_row = self.width * self.dtype.itemsize
            bytes_a_row *= 1 if self.separate else self.samples
            tall = max(1, min(self.height, _STRIP // bytes_a_row))
            whole = self.dtype.kind in "ui"
            tifffile.imwrite(
                self.temporary, self._strips(tall, whole), dtype=self.dtype,
                rowsperstrip=tall, predictor=whole, **self._tags,
            )  # fmt: skip
        self._pixels.close()

    def _strips(self, tall: int, predicted: bool) -> Iterator[bytes]:
        """Compressed strips, plane after plane where they are separate."""
        import imagecodecs

        groups = [(c, c + 1) for c in range(self.samples)] if self.separate else [(0, None)]
        for first, last in groups:
            for y in range(0, self.height, tall):
                stop = min(y + tall, self.height)
                rows = self._pixels.read(y, stop, 0, self.width, first, last)
                rows = rows.astype(self.dtype.newbyteorder("="))
                if predicted:  # horizontal differencing, TIFF 6.0, section 14
                    rows[:, :, 1:] = rows[:, :, 1:] - rows[:, :, :-1]
                data = np.ascontiguousarray(np.moveaxis(rows, 0, -1), self.dtype).tobytes()
                if self._tags["compression"] == "LZW":
                    yield bytes(imagecodecs.lzw_encode(data))
                else:
                    yield zlib.compress(data, 6)

    def abandon(self) -> None:
        """Remove the temporary files."""
        if hasattr(self, "_pixels"):
            self._pixels.close()
        if self._waiting is not None:
            self._waiting.unlink(missing_ok=True)
        super().abandon()
