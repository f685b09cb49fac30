"""A benchmark scene: the picture, the picture without its stars, and what is in it."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.stats import mad_std

from nox_runtime.stretch import midtones, mtf

#: Pictures are whole numbers up to this, as cameras and 16-bit files have them: rounding
#: also takes away the last bits in which processors differ.
WHITE = 65535

#: A row of the star table.  Lengths in pixels, pixel centres at whole numbers.
STAR = np.dtype(
    [
        ("x", "f8"),
        ("y", "f8"),
        ("flux", "f8"),  # mean of the channels, in units of the full well
        ("peak", "f8"),  # highest pixel's light, likewise, before clipping
        ("snr", "f8"),  # peak over local noise and texture, all in linear light
        ("grain snr", "f8"),  # peak over the local noise of a pixel alone
        ("fwhm", "f8"),
        ("radius", "f8"),  # of the core in which it is measured
        ("saturated", "?"),
        ("counted", "?"),  # at least half of the star light at its centre is its own
    ]
)
#: A row of the table of galaxies and knots.
OBJECT = np.dtype(
    [
        ("kind", "U12"),
        ("x", "f8"),
        ("y", "f8"),
        ("flux", "f8"),
        ("snr", "f8"),  # flux in the aperture over the noise of the aperture
        ("pixels", "i8"),  # of its aperture
    ]
)


@dataclass(frozen=True)
class Curve:
    """A stretch for display, with an exact inverse.

    ``v = clip((x - black) / (1 - black), 0, 1)``; the midtones transfer function with
    balance `strength` (``mtf``) or ``asinh(strength v) / asinh(strength)`` (``asinh``).

    Attributes
    ----------
    kind : {'mtf', 'asinh'}
    black, strength : tuple of float
        One a channel.
    """

    kind: str
    black: tuple[float, ...]
    strength: tuple[float, ...]

    def _shaped(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.black)[:, None, None], np.array(self.strength)[:, None, None]

    def forward(self, linear: np.ndarray) -> np.ndarray:
        """Linear light, (C, H, W), to the display range 0..1, float64."""
        black, strength = self._shaped()
        v = np.clip((np.asarray(linear, np.float64) - black) / (1.0 - black), 0.0, 1.0)
        if self.kind == "mtf":
            return mtf(v, strength)
        return np.asarray(np.arcsinh(strength * v) / np.arcsinh(strength))

    def inverse(self, display: np.ndarray) -> np.ndarray:
        """The display range back to linear light, (C, H, W), float64."""
        black, strength = self._shaped()
        y = np.clip(np.asarray(display, np.float64), 0.0, 1.0)
        if self.kind == "mtf":
            v = mtf(y, 1.0 - strength)
        else:
            v = np.sinh(y * np.arcsinh(strength)) / strength
        return np.asarray(v * (1.0 - black) + black)


def automatic(linear: np.ndarray) -> Curve:
    """The stretch in which a linear picture is measured, each channel by itself.

    Shadows 2.8 scaled median absolute deviations below the median, the median at 1/4,
    as Siril's and PixInsight's automatic stretches have it.
    """
    blacks, strengths = [], []
    for channel in linear:
        median = float(np.median(channel))
        sigma = float(mad_std(channel))
        black = max(0.0, median - 2.8 * sigma)
        level = (median - black) / (1.0 - black)
        if not 0.0 < level < 1.0:  # a constant channel
            black, level = 0.0, min(max(median, 1e-4), 0.5)
        blacks.append(black)
        strengths.append(midtones(level))
    return Curve("mtf", tuple(blacks), tuple(strengths))


@dataclass(frozen=True)
class Scene:
    """One synthetic picture and its truth.

    Attributes
    ----------
    name : str
    facts : dict
        What was asked for and what came out (FWHM, noise, counts).
    linear : bool
        Whether `input` and `truth` are linear light; else they are the display range.
    input, truth : ndarray, shape (C, H, W), uint16
        With and without stars; background, galaxies and their noise are the same.
    sigma : ndarray, shape (H, W), float32
        Noise of the truth's mean channel on the display scale.
    texture : ndarray, shape (H, W), float32
        Likewise the local standard deviation of the noiseless truth on a star's scale.
    curve : Curve
        Between linear light and the display scale.
    stars : ndarray of `STAR`
    objects : ndarray of `OBJECT`
        Galaxies and knots, which must stay.
    apertures, light : ndarray, shape (sum of objects['pixels'],)
        Flat pixel indices of each object's aperture, one after the other, and the
        object's noiseless light there (mean of the channels, linear).
    """

    name: str
    facts: dict
    linear: bool
    input: np.ndarray
    truth: np.ndarray
    sigma: np.ndarray
    texture: np.ndarray
    curve: Curve
    stars: np.ndarray
    objects: np.ndarray
    apertures: np.ndarray
    light: np.ndarray

    @property
    def picture(self) -> np.ndarray:
        """What a remover is given: (C, H, W), float32, 0 to 1."""
        return unit(self.input)

    def display(self, picture: np.ndarray) -> np.ndarray:
        """A picture such as `picture` on the display scale, float32."""
        if not self.linear:
            return np.clip(np.asarray(picture, np.float32), 0, 1)
        return np.asarray(self.curve.forward(picture), np.float32)

    def in_light(self, picture: np.ndarray) -> np.ndarray:
        """A picture such as `picture` in linear light, float64."""
        if self.linear:
            return np.asarray(picture, np.float64)
        return self.curve.inverse(picture)

    def save(self, path: Path) -> None:
        """Write the scene to an .npz file; it appears whole or not at all."""
        head = {
            "name": self.name,
            "facts": self.facts,
            "linear": self.linear,
            "curve": [self.curve.kind, self.curve.black, self.curve.strength],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        try:
            np.savez(
                scratch, head=np.array(json.dumps(head)), input=self.input, truth=self.truth,
                sigma=self.sigma.astype(np.float16), texture=self.texture.astype(np.float16),
                stars=self.stars, objects=self.objects,
                apertures=self.apertures.astype(np.int32), light=self.light.astype(np.float32),
            )  # fmt: skip
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Scene:
        """Read a scene that `save` wrote.

        Raises
        ------
        ValueError, OSError
            The file is none, or damaged.
        """
        maps = ("sigma", "texture")
        names = ("head", "input", "truth", *maps, "stars", "objects", "apertures", "light")
        try:  # numpy leaves a damaged file open that it was to open itself
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                found = {name: file[name] for name in names}
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            raise ValueError(f"{path}: no scene, or cut short; remove it") from error
        head = json.loads(str(found.pop("head")))
        kind, black, strength = head["curve"]
        found |= {name: found[name].astype(np.float32) for name in maps}
        curve = Curve(kind, tuple(black), tuple(strength))
        return cls(head["name"], head["facts"], head["linear"], curve=curve, **found)


def unit(levels: np.ndarray) -> np.ndarray:
    """Whole numbers up to `WHITE` as float32, 0 to 1."""
    return np.asarray(levels, np.float32) / np.float32(WHITE)


def levels(values: np.ndarray) -> np.ndarray:
    """Values of 0 to 1 as whole numbers up to `WHITE`, uint16."""
    return np.rint(np.clip(values, 0.0, 1.0) * WHITE).astype(np.uint16)
