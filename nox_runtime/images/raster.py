"""PNG and JPEG: held in memory, written with the chunks they came with."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nox_runtime.errors import ImageError, OutputError, reason
from nox_runtime.images.base import HeldSink, Source

PNG_ENDINGS = (".png",)
JPEG_ENDINGS = (".jpg", ".jpeg")
#: Chunks of a PNG that say how to show it or who made it (PNG 1.2, 4.2).
_PNG_KEPT = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf")


@dataclass
class Extras:
    """What a PNG or JPEG file carries besides colour."""

    alpha: np.ndarray | None = None
    png_chunks: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.alpha is not None or bool(self.png_chunks)


class RasterSource(Source):
    """A PNG or JPEG picture."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.extras = Extras()
        name = self.path.name.lower()
        try:
            pixels = self._read_png() if name.endswith(PNG_ENDINGS) else self._read_jpeg()
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
        self.extras.png_chunks = _from_jpeg(data)
        return pixels

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `Source.read`."""
        return np.ascontiguousarray(self.pixels[:, y0:y1, x0:x1]).astype(self.dtype, copy=False)


def _from_jpeg(data: bytes) -> list[bytes]:
    """The chunks of a PNG that hold what a JPEG file says of colour and Exif."""
    chunks, profile = [], {}
    for marker, block in _jpeg_segments(data):
        if marker == 0xE1 and block.startswith(b"Exif\0\0"):
            chunks.append(_png_chunk(b"eXIf", block[6:]))
        if marker == 0xE2 and block.startswith(b"ICC_PROFILE\0") and len(block) > 14:
            profile[block[12]] = block[14:]  # its number among the parts, ICC.1, B.4
    if profile:
        whole = zlib.compress(b"".join(profile[k] for k in sorted(profile)))
        chunks.append(_png_chunk(b"iCCP", b"ICC profile\0\0" + whole))
    return chunks


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and contents of the segments before a JPEG file's pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # a filling byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], data[at + 4 : at + 2 + length]
        at += 2 + max(2, length)


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


class PngSink(HeldSink):
    """A PNG file with the chunks of `source`, written when all rows are there."""

    def __init__(self, path: Path, source: Source, *, overwrite: bool) -> None:
        if source.dtype not in (np.uint8, np.uint16):
            raise OutputError(
                f"{path}: PNG holds 8 or 16 bit integers, the picture is {source.dtype}; "
                "name an output ending in .fits or .tif"
            )
        super().__init__(path, source, overwrite=overwrite)
        self.extras = source.extras if isinstance(source, RasterSource) else Extras()

    def _complete(self) -> None:
        import imagecodecs

        planes = np.moveaxis(self.pixels, 0, -1)
        if self.extras.alpha is not None and self.extras.alpha.dtype == planes.dtype:
            planes = np.concatenate([planes, self.extras.alpha[:, :, None]], axis=2)
        if planes.shape[2] == 1:
            planes = planes[:, :, 0]
        data = imagecodecs.png_encode(np.ascontiguousarray(planes), level=6)
        first, *rest = _png_chunks(bytes(data))
        parts = [b"\x89PNG\r\n\x1a\n", first, *self.extras.png_chunks, *rest]
        self.temporary.write_bytes(b"".join(parts))
