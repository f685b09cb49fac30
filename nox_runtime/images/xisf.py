"""XISF, PixInsight's format, held in memory; needs the extra ``xisf``."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.errors import ImageError, NoxError, OutputError, reason
from nox_runtime.images.base import HeldSink, Source, refuse_mosaic

ENDINGS = (".xisf",)
#: A keyword that holds room in a header for a while.
_FILLER = "NOXROOM"
_INSTALL = "pip install 'astronox[xisf]'"


def _library(path: Path, kind: type[NoxError]) -> Any:
    try:
        from xisf import XISF
    except ImportError as error:
        raise kind(
            f"{path}: XISF needs a package of its own; install it with {_INSTALL}"
        ) from error
    return XISF


class XisfSource(Source):
    """The first image of an XISF file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path)
        library = _library(self.path, ImageError)
        try:
            with redirect_stdout(io.StringIO()):  # it prints what it does not know
                file = library(str(self.path))
                images = file.get_images_metadata()
                self.image_metadata: dict[str, Any] = dict(images[0])
                self._check_storage()
                pixels = np.asarray(file.read_image(0))
            header = file.get_metadata_xml()
            self.image_metadata["FITSKeywords"] = _keywords(header)
            properties = _writable(self.image_metadata["XISFProperties"])
            self.image_metadata["XISFProperties"] = properties
            self.file_metadata: dict[str, Any] = _writable(file.get_file_metadata())
            known = properties.keys() | self.file_metadata.keys()
            lost = [name for name in _properties(header) if name not in known]
            self.notes += [f"the XISF property {name} is not kept" for name in lost]
        except ImageError:
            raise
        except Exception as error:  # the library has no exception of its own
            raise ImageError(
                f"{self.path}: not a readable XISF file ({reason(error)}); check it"
            ) from error
        mosaic = self.image_metadata.get("FITSKeywords", {}).get("BAYERPAT")
        pattern = str(mosaic[0].get("value", "")).strip("' ") if mosaic else ""
        if pixels.ndim == 2 or pixels.shape[2] == 1:
            refuse_mosaic(self.path, pattern)
        if len(images) > 1:
            self.notes.append(f"the first of {len(images)} images; the others are not kept")
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.shape[2] not in (1, 3) or pixels.dtype.kind not in "uif":
            raise ImageError(
                f"{self.path}: {pixels.shape[2]} channels of {pixels.dtype}; "
                "give a mono or RGB picture of integers or floats"
            )
        self.pixels = np.moveaxis(pixels, -1, 0)
        self.shape = (self.pixels.shape[0], self.pixels.shape[1], self.pixels.shape[2])
        self.dtype = self.pixels.dtype.newbyteorder("=")

    def _check_storage(self) -> None:
        """Refuse what the library would read as something else."""
        for name, known in (("pixelStorage", "planar"), ("byteOrder", "little")):
            said = str(self.image_metadata.get(name, known))
            if said.lower() != known:
                raise ImageError(
                    f"{self.path}: its {name} is {said!r}, which is not read; "
                    "save it again in PixInsight, or as FITS"
                )

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `Source.read`."""
        return np.ascontiguousarray(self.pixels[:, y0:y1, x0:x1]).astype(self.dtype, copy=False)


def _properties(header: Any) -> list[str]:
    """Names of the properties of the first image and of the file."""
    places = (header.find("{*}Image"), header.find("{*}Metadata"))
    found = [p.findall("{*}Property") for p in places if p is not None]
    return [str(one.get("id")) for several in found for one in several]


def _keywords(header: Any) -> dict[str, list[dict[str, str]]]:
    """The first image's FITS keywords as they stand in the file, with the quotes of texts."""
    found: dict[str, list[dict[str, str]]] = {}
    for keyword in header.find("{*}Image").findall("{*}FITSKeyword"):
        entry = {name: keyword.get(name, "") for name in ("value", "comment")}
        found.setdefault(keyword.get("name", ""), []).append(entry)
    return found


def _writable(properties: dict[str, Any]) -> dict[str, Any]:
    """Properties as the library writes them rightly: truth in lower case, no text as ''."""
    made = {}
    for name, found in properties.items():
        if not isinstance(found, dict):  # of a kind that it does not know
            continue
        value = found.get("value")
        if found.get("type") == "Boolean":
            value = "true" if value else "false"
        elif found.get("type") == "String" and value is None:
            value = ""
        made[name] = {**found, "value": value}
    return made


class XisfSink(HeldSink):
    """An XISF file with the keywords and properties of `source`."""

    def __init__(
        self, path: Path, source: Source, cards: dict[str, tuple[Any, str]], *, overwrite: bool
    ) -> None:
        self._library = _library(Path(path), OutputError)
        if source.dtype not in (np.uint8, np.uint16, np.uint32, np.float32, np.float64):
            raise OutputError(
                f"{path}: XISF does not hold {source.dtype}; name an output ending in .fits"
            )
        super().__init__(path, source, overwrite=overwrite)
        like = source if isinstance(source, XisfSource) else None
        self._image: dict[str, Any] = dict(like.image_metadata) if like else {}
        keywords = dict(self._image.get("FITSKeywords", {}))
        for key, (value, comment) in cards.items():
            text = f"'{value}'" if isinstance(value, str) else str(value)
            keywords[key] = [{"value": text, "comment": comment}]
        self._image["FITSKeywords"] = keywords
        # What its own bounds were, its results' are; see `_bounds`.
        self._bounds: str | None = self._image.get("bounds")
        self._file: dict[str, Any] = dict(like.file_metadata) if like else {}

    def _complete(self) -> None:
        if self.pixels.dtype.kind == "f":
            bounds = self._bounds or _bounds(self.pixels)
            # Room for them in the header, whose length must not change.
            filler = [{"value": "", "comment": " " * len(bounds)}]
            self._image["FITSKeywords"] = {**self._image["FITSKeywords"], _FILLER: filler}
        planes = np.ascontiguousarray(np.moveaxis(self.pixels, 0, -1))
        self._library.write(
            str(self.temporary), planes, creator_app="nox",
            image_metadata=self._image, xisf_metadata=self._file,
        )  # fmt: skip
        if self.pixels.dtype.kind == "f":
            _set_bounds(self.temporary, bounds)


def _bounds(pixels: np.ndarray) -> str:
    """The range of a picture's floats, 0 to 1 at least, as XISF writes it."""
    sound = pixels[np.isfinite(pixels)]
    low, high = (float(sound.min()), float(sound.max())) if sound.size else (0.0, 1.0)
    return f"{min(low, 0.0):.17g}:{max(high, 1.0):.17g}"


def _set_bounds(path: Path, bounds: str) -> None:
    """Put the bounds into the header of a file, in place of the library's and the filler.

    The library writes ``0:1`` for all floats, by which PixInsight would clip others.
    """
    with open(path, "r+b") as file:
        file.seek(8)
        length = int.from_bytes(file.read(4), "little")
        file.seek(16)
        old = file.read(length)
        new = re.sub(rb"<FITSKeyword [^>]*%s[^>]*>" % _FILLER.encode(), b"", old, count=1)
        new = new.replace(b'bounds="0:1"', f'bounds="{bounds}"'.encode(), 1)
        file.seek(16)
        file.write(new.ljust(length))
