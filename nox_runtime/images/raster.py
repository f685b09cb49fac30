"""TIFF, PNG and JPEG: held in memory, written with the tags they came with."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.errors import ImageError, OutputError, reason
from nox_runtime.images.base import Sink, Source

TIFF_ENDINGS = (".tif", ".tiff")
PNG_ENDINGS = (".png",)
JPEG_ENDINGS = (".jpg", ".jpeg")
#: Chunks of a PNG that say how to show it or who made it (PNG 1.2, 4.2).
_PNG_KEPT = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf")


@dataclass
class Extras:
    """What a raster file carries besides colour: alpha, and its format's own tags."""

    alpha: np.ndarray | None = None
    tiff: dict[str, Any] = field(default_factory=dict)
    png_chunks: list[bytes] = field(default_factory=list)


class RasterSource(Source):
    """A TIFF, PNG or JPEG picture."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.extras = Extras()
        name = self.path.name.lower()
        try:
            if name.endswith(TIFF_ENDINGS):
                pixels = self._read_tiff()
            elif name.endswith(PNG_ENDINGS):
                pixels = self._read_png()
            else:
                pixels = self._read_jpeg()
        except (ImageError, OSError):
            raise
        except Exception as error:  # the decoders share no exception of their own
            raise ImageError(
                f"{self.path}: not a readable picture ({reason(error)}); check that it is complete "
                "and that its ending tells its format"
            ) from error
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.shape[2] in (2, 4):
            self.extras.alpha, pixels = pixels[:, :, -1], pixels[:, :, :-1]
        if pixels.shape[2] not in (1, 3) or pixels.dtype.kind not in "uif":
            raise ImageError(
                f"{self.path}: {pixels.shape[2]} channels of {pixels.dtype}; "
                "give a mono or RGB picture of integers or floats"
            )
        self.pixels = np.moveaxis(pixels, -1, 0)
        self.shape = (self.pixels.shape[0], self.pixels.shape[1], self.pixels.shape[2])
        self.dtype = self.pixels.dtype.newbyteorder("=")

    def _read_tiff(self) -> np.ndarray:
        import tifffile

        with tifffile.TiffFile(self.path) as file:
            pages = [p for p in file.pages if not p.is_reduced]  # type: ignore[union-attr]
            if not pages:
                raise ValueError("no page in it")
            if len(pages) != 1:
                raise ImageError(
                    f"{self.path}: holds {len(pages)} pages; split it and give one page a file"
                )
            page: Any = pages[0]
            pixels = page.asarray()
            if page.axes.startswith("S"):
                pixels = np.moveaxis(pixels, 0, -1)
            if str(page.photometric.name) not in ("MINISBLACK", "RGB"):
                raise ImageError(
                    f"{self.path}: colours are {page.photometric.name}; save it as RGB or grey"
                )
            self.extras.tiff = _tiff_tags(file, page)
        return np.asarray(pixels)

    def _read_png(self) -> np.ndarray:
        import imagecodecs

        data = self.path.read_bytes()
        pixels = imagecodecs.png_decode(data)
        self.extras.png_chunks = [c for c in _png_chunks(data) if c[4:8] in _PNG_KEPT]
        return np.asarray(pixels)

    def _read_jpeg(self) -> np.ndarray:
        import imagecodecs

        data = self.path.read_bytes()
        pixels = np.asarray(imagecodecs.jpeg_decode(data))
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            raise ImageError(f"{self.path}: colours are CMYK; save it as RGB or grey")
        at = data.find(b"Exif\0\0", 0, 65536)
        if at > 3:  # a PNG keeps the same block, without its marker
            block = data[at + 6 : at - 2 + int.from_bytes(data[at - 2 : at], "big")]
            self.extras.png_chunks.append(_png_chunk(b"eXIf", block))
        return pixels

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `Source.read`."""
        return np.ascontiguousarray(self.pixels[:, y0:y1, x0:x1]).astype(self.dtype, copy=False)


def _tiff_tags(file: Any, page: Any) -> dict[str, Any]:
    """The arguments that make tifffile write a page like this one."""
    tags: dict[str, Any] = {"bigtiff": file.is_bigtiff, "byteorder": file.byteorder}
    tags["planarconfig"] = page.planarconfig.name if page.samplesperpixel > 1 else None
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
            tag = found[name]
            kept.append((tag.code, int(tag.dtype), tag.count, tag.value, True))
    tags["extratags"] = kept
    return tags


def _png_chunk(name: bytes, block: bytes) -> bytes:
    checksum = zlib.crc32(name + block).to_bytes(4, "big")
    return len(block).to_bytes(4, "big") + name + block + checksum


def _png_chunks(data: bytes) -> list[bytes]:
    """The chunks of a PNG file, each with its length, name and checksum."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big") + 12
        chunks.append(data[at : at + length])
        at += length
    return chunks


class RasterSink(Sink):
    """A TIFF or PNG file with the tags of `source`, written when all rows are there."""

    def __init__(self, path: Path, source: Source, note: str, *, overwrite: bool) -> None:
        dtype = source.dtype
        self.is_png = Path(path).name.lower().endswith(PNG_ENDINGS)
        if self.is_png and dtype not in (np.uint8, np.uint16):
            raise OutputError(
                f"{path}: PNG holds 8 or 16 bit integers, the picture is {dtype}; "
                "name an output ending in .fits or .tif"
            )
        super().__init__(path, overwrite=overwrite)
        self.flip = source.bottom_up
        self.note = note
        self.extras = source.extras if isinstance(source, RasterSource) else Extras()
        self.pixels = np.zeros(source.shape, dtype)

    def write(self, start: int, rows: np.ndarray) -> None:
        """See `Sink.write`."""
        stop, height = start + rows.shape[1], self.pixels.shape[1]
        if self.flip:
            self.pixels[:, height - stop : height - start] = rows[:, ::-1]
        else:
            self.pixels[:, start:stop] = rows

    def _complete(self) -> None:
        planes = np.moveaxis(self.pixels, 0, -1)
        if self.extras.alpha is not None and self.extras.alpha.dtype == planes.dtype:
            planes = np.concatenate([planes, self.extras.alpha[:, :, None]], axis=2)
        if planes.shape[2] == 1:
            planes = planes[:, :, 0]
        if self.is_png:
            self._write_png(np.ascontiguousarray(planes))
        else:
            self._write_tiff(planes)

    def _write_png(self, planes: np.ndarray) -> None:
        import imagecodecs

        first, *rest = _png_chunks(bytes(imagecodecs.png_encode(planes, level=6)))
        parts = [b"\x89PNG\r\n\x1a\n", first, *self.extras.png_chunks, *rest]
        self.temporary.write_bytes(b"".join(parts))

    def _write_tiff(self, planes: np.ndarray) -> None:
        import tifffile

        tags = dict(self.extras.tiff)
        planar = tags.pop("planarconfig", None)
        if planes.ndim == 3:
            tags["photometric"] = "rgb" if planes.shape[2] > 2 else "minisblack"
            tags["planarconfig"] = planar or "CONTIG"
            if planes.shape[2] in (2, 4):
                tags.setdefault("extrasamples", ["UNASSALPHA"])
            else:
                tags.pop("extrasamples", None)
            if tags["planarconfig"] == "SEPARATE":
                planes = np.moveaxis(planes, -1, 0)
        else:
            tags["photometric"] = "minisblack"
        if "compression" in tags:
            tags["predictor"] = planes.dtype.kind in "ui"
        tifffile.imwrite(self.temporary, planes, software=self.note, metadata=None, **tags)
