"""The sheet that objects are drawn on: light to add and dust to put before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from nox_runtime.stretch import mtf
from nox_train.backgrounds.palette import Palette


@dataclass
class Canvas:
    """Linear light and dust of one picture's objects.

    Attributes
    ----------
    size : int
        Side in pixels.
    palette : Palette
    midtones : float
        Of the MTF that turns linear light into the picture.
    level : float
        The picture's background, in the display range.
    seeing : float
        FWHM in pixels that everything is blurred to.
    light : ndarray, shape (3, size, size), float32
        Linear.
    depth : ndarray, shape (size, size), float32
        Optical depth in green.
    at : tuple of float, optional
        Where (x, y) objects are placed; by default anywhere.
    used, dusty : bool
        Whether any light or dust has been drawn.
    """

    size: int
    palette: Palette
    midtones: float = 0.1
    level: float = 0.1
    seeing: float = 2.0
    at: tuple[float, float] | None = None
    light: np.ndarray = field(init=False)
    depth: np.ndarray = field(init=False)
    used: bool = False
    dusty: bool = False

    def __post_init__(self) -> None:
        self.light = np.zeros((3, self.size, self.size), np.float32)
        self.depth = np.zeros((self.size, self.size), np.float32)

    def place(self, rng: np.random.Generator, beyond: float = 0.0) -> tuple[float, float]:
        """Draw a place (x, y) in pixels, up to this share of the side outside the frame."""
        x, y = rng.uniform(-beyond, 1 + beyond, 2) * self.size
        return self.at or (float(x), float(y))

    def amplitude(self, contrast: float) -> float:
        """Linear light that lifts the background by `contrast` of the display range."""
        top = min(self.level + contrast, 0.985)
        m = 1.0 - self.midtones
        return float(mtf(np.float64(top), m) - mtf(np.float64(self.level), m))

    def window(self, x: float, y: float, radius: float) -> tuple[slice, slice] | None:
        """Rows and columns within `radius` of a place; None outside the frame."""
        y0, y1 = max(0, int(y - radius)), min(self.size, int(y + radius) + 2)
        x0, x1 = max(0, int(x - radius)), min(self.size, int(x + radius) + 2)
        return (slice(y0, y1), slice(x0, x1)) if y1 > y0 and x1 > x0 else None

    def add(self, where: tuple[slice, slice], stamp: np.ndarray, rgb: np.ndarray) -> None:
        """Add a map of light in one colour."""
        self.light[:, where[0], where[1]] += rgb.astype(np.float32)[:, None, None] * stamp.astype(
            np.float32
        )
        self.used = True

    def shade(self, where: tuple[slice, slice], depth: np.ndarray) -> None:
        """Add dust before the picture (and before what is drawn on the canvas)."""
        self.depth[where] += depth.astype(np.float32)
        self.dusty = True

    def put_on(self, picture: np.ndarray) -> np.ndarray:
        """The picture with the objects: unstretched, dimmed, lit, stretched again."""
        if not (self.used or self.dusty):
            return picture
        m = self.midtones
        linear = mtf(np.clip(picture, 0, 1).astype(np.float32), 1.0 - m)
        light = blurred(self.light, self.seeing) if self.used else self.light
        if self.dusty:
            law = self.palette.extinction().astype(np.float32)[:, None, None]
            dust = ndimage.gaussian_filter(self.depth, self.seeing / 2.355)
            linear = (linear + light) * np.exp(-law * dust)
        else:
            linear = linear + light
        return np.asarray(mtf(np.clip(linear, 0, 1), m), np.float32)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly in the logarithm; `low` where a small frame leaves no room above it."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))


def blurred(light: np.ndarray, fwhm: float) -> np.ndarray:
    """Seeing: two Gaussians, 85 % of this FWHM and 15 % twice as wide, like a Moffat's wings.

    Parameters
    ----------
    light : ndarray, shape (..., h, w)
    fwhm : float
        Pixels.
    """
    sigma = fwhm / 2.3548
    axes = (0,) * (light.ndim - 2)
    narrow = ndimage.gaussian_filter(light, (*axes, sigma, sigma), mode="nearest", truncate=3.5)
    wide_by = np.sqrt(3.0) * sigma  # on top of the narrow one: twice its width
    wide = ndimage.gaussian_filter(narrow, (*axes, wide_by, wide_by), mode="nearest", truncate=3.0)
    return np.asarray(0.85 * narrow + 0.15 * wide, np.float32)


def polar(
    where: tuple[slice, slice], x: float, y: float, angle: float = 0.0, axis_ratio: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along an object's axes, the second stretched to deprojection.

    Parameters
    ----------
    where : tuple of slice
        Rows and columns.
    x, y : float
        The object's centre, pixels.
    angle : float
        Of its first axis from the rows, radians.
    axis_ratio : float
        Minor over major axis.

    Returns
    -------
    u, v : ndarray, shape of the window, float32, pixels
    """
    dx = np.arange(where[1].start, where[1].stop, dtype=np.float32)[None, :] - np.float32(x)
    dy = np.arange(where[0].start, where[0].stop, dtype=np.float32)[:, None] - np.float32(y)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return dx * cos + dy * sin, (dy * cos - dx * sin) / np.float32(axis_ratio)
