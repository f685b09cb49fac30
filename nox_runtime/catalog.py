"""The catalogue of what was removed, measured while the rows go by."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime import objects
from nox_runtime.errors import UsageError
from nox_runtime.statistics import Statistics

_SQUARE = 512
_CONTEXT = 96
#: A star that reaches this share of the level of saturation is called saturated.
_SATURATED = 0.99
#: So many pixels of one star within a thousandth of the picture's maximum are a plateau:
#: a peak that is not clipped has one, or with a very wide star two.
_PLATEAU = 4
_FLAT = 0.001
ENDINGS = (".ecsv", ".fits", ".fit", ".fts")


def saturation(stats: Statistics, stated: Any = None) -> float | None:
    """The value at which a picture's stars are saturated, where that is known.

    Parameters
    ----------
    stats : Statistics
    stated : optional
        What the header says (SATURATE), if anything; not believed where it is no number
        above 0, or lies beyond the range of the picture's type, as that of the raw
        frames does in a picture scaled to 0..1.

    Returns
    -------
    float or None
        None for floats of no known range: there a clipped star is known by its plateau
        alone.
    """
    if np.dtype(stats.dtype).kind in "ui":
        most = float(np.iinfo(stats.dtype).max)
    else:
        most = 1.0 if stats.white == 1.0 else math.inf  # as of `nominal_range`
    try:
        level = float(stated)
    except (TypeError, ValueError):
        level = math.nan
    if 0 < level <= most:
        return level
    return None if math.isinf(most) else most


class Cataloguer:
    """Collects rows and measures the stars on them.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width.
    stats : Statistics
        Of the picture.
    stated : optional
        Where its header says that it is saturated; see `saturation`.
    """

    def __init__(self, shape: tuple[int, int, int], stats: Statistics, stated: Any = None) -> None:
        objects.require("the catalogue")
        self.shape = shape
        level = saturation(stats, stated)
        self._full = math.inf if level is None else _SATURATED * level
        self._top = stats.high - _FLAT * (stats.high - min(stats.median))
        self._clipped = False  # whether a star has shown that the picture's maximum is a plateau
        self._start, self._done = 0, 0
        self._rows: list[np.ndarray] | None = None
        self._found: list[tuple[float, ...]] = []

    def add(self, start: int, residual: np.ndarray, stars: np.ndarray, picture: np.ndarray) -> None:
        """Take the next rows, (C, n, W): display light taken, stars, and the input."""
        height = self.shape[1]
        level = np.abs(residual).max(axis=0)[None]
        new = [level, np.asarray(stars), np.asarray(picture)]
        old = self._rows
        rows = new if old is None else [
            np.concatenate(pair, axis=1) for pair in zip(old, new, strict=True)
        ]  # fmt: skip
        known = start + residual.shape[1]
        while self._done < height and known >= min(self._done + _SQUARE + _CONTEXT, height):
            self._measure(rows)
            self._done = min(self._done + _SQUARE, height)
            drop = max(0, self._done - _CONTEXT - self._start)
            rows = [r[:, drop:] for r in rows]
            self._start += drop
        self._rows = [r.copy() for r in rows]  # let go of what was dropped

    def _measure(self, rows: list[np.ndarray]) -> None:
        y0 = max(0, self._done - _CONTEXT - self._start)
        y1 = self._done + _SQUARE + _CONTEXT - self._start
        for left in range(0, self.shape[2], _SQUARE):
            x0, x1 = max(0, left - _CONTEXT), left + _SQUARE + _CONTEXT
            level, stars, picture = (r[:, y0:y1, x0:x1] for r in rows)
            if not level.any():
                continue
            light = np.maximum(np.nan_to_num(stars.astype(float)), 0)
            found = objects.find(level[0], light.sum(axis=0))
            if not len(found):
                continue
            numbers = found.labels.ravel()
            fluxes = [
                np.bincount(numbers, channel.ravel(), len(found) + 1)[1:] for channel in light
            ]
            bright = np.zeros(len(found) + 1)
            most = np.nan_to_num(picture.max(axis=0).astype(float)).ravel()
            np.maximum.at(bright, numbers, most)
            flat = np.bincount(numbers, most >= self._top, len(found) + 1)
            self._clipped |= bool((flat[1:] >= _PLATEAU).any())
            peaks = np.zeros(len(found) + 1)
            np.maximum.at(peaks, numbers, light.max(axis=0).ravel())
            top = y0 + self._start
            for i in range(len(found)):
                y, x = found.peak_y[i] + top, found.peak_x[i] + x0
                if not (self._done <= y < self._done + _SQUARE and left <= x < left + _SQUARE):
                    continue
                self._found.append(
                    (
                        found.x[i] + x0, found.y[i] + top, *(f[i] for f in fluxes),
                        found.fwhm[i], peaks[i + 1], bright[i + 1],
                    )
                )  # fmt: skip

    def table(self, wcs: Any = None) -> Any:
        """The catalogue, brightest first.

        Parameters
        ----------
        wcs : astropy.wcs.WCS, optional
            With a celestial one, the columns `ra` and `dec` (ICRS, degrees) are added.

        Returns
        -------
        astropy.table.Table
            Columns x, y (pixels, 0 is the centre of the first one), flux (one channel)
            or flux_1 to flux_3 (the picture's units), fwhm (pixels), peak, saturated:
            whether it reaches the level of `saturation`, or the picture's maximum where a
            star shows that to be a plateau.
        """
        from astropy import units
        from astropy.table import Table

        channels = self.shape[0]
        names = ["flux"] if channels == 1 else [f"flux_{c + 1}" for c in range(channels)]
        columns = ["x", "y", *names, "fwhm", "peak", "saturated"]
        rows = sorted(self._found, key=lambda row: -sum(row[2 : 2 + channels]))
        values = np.array(rows, float).reshape(len(rows), len(columns))
        table = Table({name: values[:, i] for i, name in enumerate(columns)})
        full = min(self._full, self._top) if self._clipped else self._full
        table["saturated"] = values[:, -1] >= full
        for name in ("x", "y", "fwhm"):
            table[name].unit = units.pix
        if wcs is not None and wcs.has_celestial:
            sky = _on_sky(wcs.celestial, values[:, 0], values[:, 1])
            for i, name in enumerate(("ra", "dec")):
                if sky is not None:
                    table.add_column(sky[i] * units.deg, index=2 + i, name=name)
        return table


def _on_sky(wcs: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Right ascension and declination in degrees, ICRS where the header's frame is known.

    Of frames that astropy does not know (RADESYS 'J2000') the header's own ra and dec; None
    where these are neither that nor galactic: astropy takes ecliptic ones for equatorial.
    """
    if wcs.wcs.lngtyp not in ("RA", "GLON"):
        return None
    try:
        sky = wcs.pixel_to_world(x, y).icrs
    except Exception:  # astropy refuses in several ways, or gives bare numbers
        ra, dec = wcs.all_pix2world(x, y, 0)
        return np.asarray(ra), np.asarray(dec)
    return np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)


def check_ending(path: Path) -> None:
    """Refuse a catalogue of a kind that is not written.

    Raises
    ------
    UsageError
    """
    if Path(path).suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: a catalogue is ECSV or FITS; end its name in .ecsv or .fits")


def write(table: Any, path: Path, ending: str) -> None:
    """Write a catalogue: as ECSV where `ending` is that, else as FITS."""
    kind = "ascii.ecsv" if ending.lower() == ".ecsv" else "fits"
    table.write(str(path), format=kind, overwrite=True)
