"""Controls that come in files: a mask or regions to protect, a catalogue to keep."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.controls import RowWeights, numbers, places
from nox_runtime.errors import ImageError, UsageError, reason
from nox_runtime.images import Source, open_image

REGION_ENDINGS = (".reg", ".crtf")
_INSTALL = "pip install 'astronox[regions]'"


def protect_rows(path: Path, source: Source, stack: ExitStack) -> RowWeights:
    """Weights of what a file protects, a mask picture or a DS9 region file.

    Parameters
    ----------
    path : Path
        A picture of the size of `source`: black may be changed, white is left alone
        (floats: 0 and 1); or regions in image or, where the picture has a WCS, sky
        coordinates.
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

    def rows(y0: int, y1: int) -> np.ndarray:
        if flip:
            y0, y1 = height - y1, height - y0
        part = mask.read(y0, y1, 0, mask.shape[2]).max(axis=0)
        if part.dtype.kind in "ui":
            part = part / np.iinfo(part.dtype).max
        if not (part.min() >= 0 and part.max() <= 1):
            raise UsageError(
                f"{path}: the mask holds values from {part.min():g} to {part.max():g}; "
                "floats must be from 0 to 1"
            )
        part = np.asarray(part, np.float32)
        return np.asarray(part[::-1]) if flip else part

    return rows


def _region_rows(path: Path, source: Source) -> RowWeights:
    try:
        from regions import Regions, SkyRegion
    except ImportError as error:
        raise UsageError(
            f"{path}: region files need a package of their own; install it with {_INSTALL}"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is unknown to it is left out, aloud
            shapes = list(Regions.read(path, format="crtf" if path.suffix == ".crtf" else "ds9"))
    except Exception as error:  # the parser has no exception of its own
        raise ImageError(
            f"{path}: not a readable region file ({reason(error)}); save it again in DS9's format"
        ) from error
    if not shapes:
        raise UsageError(f"{path}: holds no region; draw one, or leave --protect out")
    wcs, pieces = source.wcs(), []
    for shape in shapes:
        included = bool(shape.meta.get("include", True))
        if isinstance(shape, SkyRegion) and wcs is None:
            raise UsageError(
                f"{path}: has sky coordinates, but {source.path} has no WCS; "
                "save the regions in image coordinates"
            )
        try:
            pixels = shape.to_pixel(wcs) if isinstance(shape, SkyRegion) else shape
            mask = pixels.to_mask(mode="subpixels", subpixels=4)
        except NotImplementedError:  # points, lines and texts have no area
            continue
        except Exception as error:  # it fails in many ways far from the field
            raise UsageError(
                f"{path}: a region cannot be placed in the picture ({reason(error)}); "
                "remove those that lie outside of it"
            ) from error
        pieces.append((included, mask.bbox, np.asarray(mask.data, np.float32)))
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

    kinds = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits", ".fit": "fits"}
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
        x, y = wcs.celestial.wcs_world2pix(
            numbers(table[names["ra"]]), numbers(table[names["dec"]]), 0
        )
        made = Table({"x": x, "y": y})
        if "radius" in names:
            made["radius"] = numbers(table[names["radius"]])
        return made[np.isfinite(made["x"]) & np.isfinite(made["y"])]
    raise UsageError(
        f"{path}: has the columns {', '.join(table.colnames)}; it must have x and y, or ra and dec"
    )
