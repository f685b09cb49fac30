"""Controls that come in files: a mask or regions to protect, a catalogue to keep."""

from __future__ import annotations

import re
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.controls import RowWeights, numbers, places
from nox_runtime.errors import ImageError, UsageError, reason
from nox_runtime.images import Source, open_image
from nox_runtime.images.fits import FitsSource

REGION_ENDINGS = (".reg", ".crtf")
_INSTALL = "pip install 'astronox[regions]'"
#: Coordinate systems of DS9 that the package does not know.
_FRAME = re.compile(r"linear|amplifier|detector|physical|tile|wcs\w?")
#: Rows of a mask that are looked at at once.
_ROWS = 256


def protect_rows(path: Path, source: Source, stack: ExitStack) -> RowWeights:
    """Weights of what a file protects, a mask picture or a DS9 region file.

    Parameters
    ----------
    path : Path
        A picture of the size of `source`: black may be changed, white is left alone
        (floats: 0 and 1; integers: 0 and the largest of their type, or 0 and 1 if there is nothing
        above). A FITS mask without ROWORDER has its rows as a FITS picture has them. Or regions
        in image or, where the picture has a WCS, sky coordinates.
    source : Source
    stack : ExitStack
        Closes the mask when all is done.

    Raises
    ------
    UsageError, ImageError
    """
    path = Path(path)
    if path.suffix.lower() in REGION_ENDINGS:
        return _region_rows(path, source)
    mask = stack.enter_context(open_image(path))
    if mask.shape[1:] != source.shape[1:]:
        raise UsageError(
            f"{path}: the mask is {mask.shape[2]} x {mask.shape[1]}, the picture "
            f"{source.shape[2]} x {source.shape[1]} pixels; make it the same"
        )
    height, flip = mask.shape[1], mask.bottom_up != source.bottom_up
    if flip and mask.bottom_up and not mask.order_known and isinstance(source, FitsSource):
        flip = False  # an array saved beside the picture's, as it is
    white = _white(mask)

    def rows(y0: int, y1: int) -> np.ndarray:
        if flip:
            y0, y1 = height - y1, height - y0
        part = mask.read(y0, y1, 0, mask.shape[2]).max(axis=0)
        if part.dtype.kind in "ui":
            part = part / white
        if not (part.min() >= 0 and part.max() <= 1):
            raise UsageError(
                f"{path}: the mask holds values from {part.min():g} to {part.max():g}; "
                "floats must be from 0 to 1"
            )
        part = np.asarray(part, np.float32)
        return np.asarray(part[::-1]) if flip else part

    return rows


def _white(mask: Source) -> int:
    """What an integer mask has for white: the largest of its type, or 1 if it holds 0 and 1."""
    if mask.dtype.kind not in "ui":
        return 1
    _, height, width = mask.shape
    for y in range(0, height, _ROWS):
        if mask.read(y, min(y + _ROWS, height), 0, width).max() > 1:
            return int(np.iinfo(mask.dtype).max)
    return 1


def _shapes(path: Path, notes: list[str]) -> list[Any]:
    """What a region file holds; what of it cannot be read is refused or noted."""
    try:
        from regions import Regions
    except ImportError as error:
        raise UsageError(
            f"{path}: region files need a package of their own; install it with {_INSTALL}"
        ) from error
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            shapes = list(Regions.read(path, format="crtf" if path.suffix == ".crtf" else "ds9"))
    except Exception as error:  # the parser has no exception of its own
        raise ImageError(
            f"{path}: not a readable region file ({reason(error)}); save it again in DS9's format"
        ) from error
    left_out = [str(warning.message) for warning in said if "skipping" in str(warning.message)]
    words = _quoted(left_out)
    frames = [word for word in words if _FRAME.fullmatch(word)]
    if any("coordinate frame" in message for message in left_out):
        names = ", ".join(frames) or "none"
        raise UsageError(
            f"{path}: has regions in coordinates that nox does not know ({names}); save it in "
            "image or sky coordinates"
        )
    if shapes_ := [word for word in words if word not in frames]:
        notes.append(f"{path.name}: {', '.join(shapes_)} left out, not protected")
    return shapes


def _mask(shape: Any) -> Any:
    """Its pixels; edges are shared out where the package can, which it cannot for annuli."""
    try:
        return shape.to_mask(mode="subpixels", subpixels=4)
    except NotImplementedError:
        return shape.to_mask(mode="center")


def _quoted(messages: list[str]) -> list[str]:
    found = (re.match(r'"(\w+)"', message) for message in messages)
    return list(dict.fromkeys(match[1] for match in found if match))


def _region_rows(path: Path, source: Source) -> RowWeights:
    shapes = _shapes(path, source.notes)
    from regions import SkyRegion

    wcs, pieces, flat = source.wcs(), [], []
    for shape in shapes:
        included = bool(shape.meta.get("include", True))
        if isinstance(shape, SkyRegion) and wcs is None:
            raise UsageError(
                f"{path}: has sky coordinates, but {source.path} has no WCS; "
                "save the regions in image coordinates"
            )
        try:
            pixels = shape.to_pixel(wcs) if isinstance(shape, SkyRegion) else shape
            mask = _mask(pixels)
        except NotImplementedError:  # points, lines and texts have no area
            flat.append(type(shape).__name__.split("Pixel")[0].split("Sky")[0].lower())
            continue
        except Exception as error:  # it fails in many ways far from the field
            raise UsageError(
                f"{path}: a region cannot be placed in the picture ({reason(error)}); "
                "remove those that lie outside of it"
            ) from error
        pieces.append((included, mask.bbox, np.asarray(mask.data, np.float32)))
    if not any(included for included, _, _ in pieces):
        raise UsageError(
            f"{path}: holds no region that protects anything; draw a circle, box, ellipse, annulus "
            "or polygon, or leave --protect out"
        )
    if names := [name for name in dict.fromkeys(flat) if name != "text"]:
        source.notes.append(f"{path.name}: {', '.join(names)} left out, without an area")
    width = source.shape[2]

    def rows(y0: int, y1: int) -> np.ndarray:
        out = np.zeros((y1 - y0, width), np.float32)
        for wanted in (True, False):
            for included, box, data in pieces:
                top, bottom = max(box.iymin, y0), min(box.iymax, y1)
                left, right = max(box.ixmin, 0), min(box.ixmax, width)
                if included != wanted or top >= bottom or left >= right:
                    continue
                part = data[top - box.iymin : bottom - box.iymin,
                            left - box.ixmin : right - box.ixmin]  # fmt: skip
                at = out[top - y0 : bottom - y0, left:right]
                at[:] = np.maximum(at, part) if included else np.minimum(at, 1 - part)
        return out

    return rows


def keep_table(path: Path, source: Source) -> np.ndarray:
    """Stars to keep, from a catalogue: a table with x and y, and perhaps radius.

    Parameters
    ----------
    path : Path
        ECSV, FITS, CSV or what else astropy's tables read: pixels x and y (0 is the
        centre of the first), or ra and dec in degrees where the picture has a WCS;
        perhaps a radius in pixels.
    source : Source

    Raises
    ------
    UsageError
    """
    try:
        return places(_columns(Path(path), source))
    except UsageError as error:
        if str(error).startswith(str(path)):
            raise
        raise UsageError(f"{path}: {error}") from error


def _columns(path: Path, source: Source) -> Any:
    from astropy.table import Table

    kinds = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}
    kinds |= dict.fromkeys((".fits", ".fit", ".fts"), "fits")
    try:
        table = Table.read(path, format=kinds.get(path.suffix.lower(), "ascii"))
    except Exception as error:  # astropy's readers share no exception
        raise UsageError(
            f"{path}: not a readable catalogue ({reason(error)}); give ECSV, FITS or CSV "
            "with columns x and y"
        ) from error
    if not table.colnames:
        raise UsageError(
            f"{path}: not a readable catalogue (it is empty); give ECSV, FITS or CSV "
            "with columns x and y"
        )
    names = {name.lower(): name for name in table.colnames}
    if {"x", "y"} <= set(names):
        for low in ("x", "y", "radius"):
            if low in names and names[low] != low:
                table.rename_column(names[low], low)
        return table
    if {"xcentroid", "ycentroid"} <= set(names) or {"x_centroid", "y_centroid"} <= set(names):
        return table
    if {"ra", "dec"} <= set(names):
        wcs = source.wcs()
        if wcs is None:
            raise UsageError(
                f"{path}: has ra and dec, but {source.path} has no WCS; give x and y in pixels"
            )
        x, y = _pixels(wcs.celestial, numbers(table[names["ra"]]), numbers(table[names["dec"]]))
        made = Table({"x": x, "y": y})
        if "radius" in names:
            made["radius"] = numbers(table[names["radius"]])
        return made[np.isfinite(made["x"]) & np.isfinite(made["y"])]
    raise UsageError(
        f"{path}: has the columns {', '.join(table.colnames)}; it must have x and y, or ra and dec"
    )


def _pixels(wcs: Any, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where ICRS places in degrees lie, distortion and the WCS's own frame included."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    ra, dec = np.array(ra, float), np.array(dec, float)
    dec[~(np.abs(dec) <= 90)] = np.nan  # catalogues have numbers for what they do not know
    try:
        frame = wcs_to_celestial_frame(wcs)
        there = SkyCoord(ra, dec, unit="deg").transform_to(frame).spherical
        ra, dec = there.lon.deg, there.lat.deg
    except ValueError:  # a frame that astropy does not know is taken for theirs
        pass
    # Far outside of the picture a distortion has no inverse, and none is asked for.
    x, y = wcs.all_world2pix(ra, dec, 0, quiet=True)
    return x, y
