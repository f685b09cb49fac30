"""A picture that is made from another: its star mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.images import fits
from nox_runtime.images.base import Source


class MaskSource(Source):
    """What a star mask of `like` looks like; it holds no pixels.

    32-bit floats from 0 to 1 in FITS, 16-bit integers to 65535 elsewhere.
    """

    def __init__(self, like: Source, path: Path) -> None:
        super().__init__()
        self.path = like.path
        count = like.shape[0] if like.stacked else 1
        self.shape = (count, like.shape[1], like.shape[2])
        self.stacked, self.bottom_up = like.stacked, like.bottom_up
        as_fits = _is_fits(path)
        if as_fits and isinstance(like, fits.FitsSource):
            self.bottom_up = True  # the rows stay in the file's order, as ROWORDER says
        self.dtype = np.dtype("f4") if as_fits else np.dtype("u2")

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `Source.read`; an empty mask."""
        return np.zeros((self.shape[0], y1 - y0, x1 - x0), self.dtype)

    def encoded(self, mask: np.ndarray) -> np.ndarray:
        """Weights from 0 to 1 as they are written; above 0 never becomes 0."""
        if self.dtype.kind == "f":
            return mask.astype(self.dtype)
        return np.asarray(np.ceil(np.clip(mask, 0, 1) * 65535), self.dtype)


def _is_fits(path: Path) -> bool:
    return Path(path).name.lower().endswith(fits.ENDINGS)


def sky_cards(source: Source, path: Path) -> dict[str, tuple[Any, str]]:
    """Cards of a picture's sky coordinates and row order, for a derived one at `path`."""
    made: dict[str, tuple[Any, str]] = {}
    if _is_fits(path) and isinstance(source, fits.FitsSource) and "ROWORDER" in source.header:
        made["ROWORDER"] = (source.header["ROWORDER"], source.header.comments["ROWORDER"])
    wcs = source.wcs()
    if wcs is None:
        return made
    header = wcs.celestial.to_header(relax=True)
    return made | {
        c.keyword: (c.value, c.comment) for c in header.cards if c.keyword not in ("", "DATE")
    }
