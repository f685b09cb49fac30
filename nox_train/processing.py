"""What people do to a picture after the camera: stretches, curves, sharpening, JPEG.

A `Development` is a stretch with stored parameters and an exact inverse, so that a
finished picture can be taken back to linear light, get stars there, and be
developed again just as it was.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from nox_runtime.stretch import mtf

DEVELOPMENTS = ("none", "mtf", "asinh", "lupton", "ghs")


def asinh_stretch(x: np.ndarray, strength: float) -> np.ndarray:
    """``asinh(strength x) / asinh(strength)`` (Lupton et al. 2004, PASP 116, 133)."""
    return np.arcsinh(strength * x) / np.arcsinh(strength)


def asinh_unstretch(y: np.ndarray, strength: float) -> np.ndarray:
    """Inverse of `asinh_stretch`."""
    return np.sinh(y * np.arcsinh(strength)) / strength


def lupton_stretch(x: np.ndarray, strength: float) -> np.ndarray:
    """The asinh stretch that keeps colours: of the channels' mean, all scaled by one factor.

    Where a channel comes out above 1, all are divided by it, so that bright stars stay as
    coloured as faint ones (Lupton et al. 2004, PASP 116, 133).

    Parameters
    ----------
    x : ndarray, shape (C, ...)
        Linear, 0 to 1.
    strength : float
        As of `asinh_stretch`.

    Returns
    -------
    ndarray, same shape, 0 to 1
    """
    grey = np.maximum(x.mean(axis=0), 1e-9)
    shown = x * (asinh_stretch(grey, strength) / grey)
    return np.asarray(shown / np.maximum(shown.max(axis=0), 1.0))


def lupton_unstretch(y: np.ndarray, strength: float) -> np.ndarray:
    """Inverse of `lupton_stretch` where no channel was above 1."""
    grey = np.maximum(y.mean(axis=0), 1e-9)
    return np.asarray(y * (asinh_unstretch(grey, strength) / grey))


def _hyperbola(x: np.ndarray, d: float, b: float) -> np.ndarray:
    """The base curve of the generalised hyperbolic stretch for x of 0 and more."""
    if b == 0:
        return -np.expm1(-d * x)
    if b == -1:
        return np.log1p(d * x)
    if b > 0:
        return 1 - (1 + b * d * x) ** (-1 / b)
    return (1 - (1 - b * d * x) ** ((b + 1) / b)) / (d * (b + 1))


def _unhyperbola(t: np.ndarray, d: float, b: float) -> np.ndarray:
    if b == 0:
        return -np.log1p(-t) / d
    if b == -1:
        return np.expm1(t) / d
    if b > 0:
        return ((1 - t) ** (-b) - 1) / (b * d)
    return (1 - (1 - t * d * (b + 1)) ** (b / (b + 1))) / (b * d)


def _about(x: np.ndarray, pivot: float, d: float, b: float) -> np.ndarray:
    side = np.asarray(x, float) - pivot
    return np.sign(side) * _hyperbola(np.abs(side), d, b)


def ghs_stretch(x: np.ndarray, strength: float, b: float, pivot: float) -> np.ndarray:
    """Generalised hyperbolic stretch, scaled so that 0 stays 0 and 1 stays 1.

    A curve of greatest slope at `pivot`, falling off to both sides alike (Payne &
    Cranfield 2021, "Generalised Hyperbolic Stretch"); protection points at 0 and 1.

    Parameters
    ----------
    x : ndarray, values 0 to 1
    strength : float
        Their D, above 0.
    b : float
        Shape of the curve: -1 logarithmic, 0 exponential, 1 harmonic, above that
        steeper about the pivot.
    pivot : float
        The symmetry point, 0 to 1.

    Returns
    -------
    ndarray, float64
    """
    low, high = _about(np.array([0.0, 1.0]), pivot, strength, b).tolist()
    return (_about(x, pivot, strength, b) - low) / (high - low)


def ghs_unstretch(y: np.ndarray, strength: float, b: float, pivot: float) -> np.ndarray:
    """Inverse of `ghs_stretch`."""
    low, high = _about(np.array([0.0, 1.0]), pivot, strength, b).tolist()
    t = np.asarray(y, float) * (high - low) + low
    return pivot + np.sign(t) * _unhyperbola(np.abs(t), strength, b)


#: Stretch and inverse of the kinds that take their values as they are stored.
_CURVES: dict[str, tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]] = {
    "asinh": (asinh_stretch, asinh_unstretch),
    "lupton": (lupton_stretch, lupton_unstretch),
    "ghs": (ghs_stretch, ghs_unstretch),
}


@dataclass(frozen=True)
class Development:
    """An invertible stretch of display range to display range.

    Attributes
    ----------
    kind : {'none', 'mtf', 'asinh', 'lupton', 'ghs'}
    values : tuple of float
        ``mtf``: midtones of each channel; ``asinh`` and ``lupton``: strength; ``ghs``:
        strength, shape and pivot.
    """

    kind: str = "none"
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in DEVELOPMENTS:
            raise ValueError(f"development is {self.kind!r}; it must be one of {DEVELOPMENTS}")

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Linear to display; `x` (C, ...), values 0 to 1, float32."""
        return self._apply(x, invert=False)

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Display to linear."""
        return self._apply(y, invert=True)

    def _apply(self, x: np.ndarray, *, invert: bool) -> np.ndarray:
        if self.kind == "none":
            return x
        if self.kind == "mtf":
            m = np.array([1 - v if invert else v for v in self.values], x.dtype)
            return mtf(x, m[: len(x)].reshape(-1, *(1,) * (x.ndim - 1)))
        curve = _CURVES[self.kind][invert]
        return curve(x, *self.values).astype(x.dtype, copy=False)

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


def s_curve(y: np.ndarray, contrast: float) -> np.ndarray:
    """``y^a / (y^a + (1 - y)^a)``: contrast above 1 steepens the middle."""
    y = np.clip(y, 0, 1)
    up, down = y**contrast, (1 - y) ** contrast
    return up / (up + down)


def coloured(picture: np.ndarray, factor: float) -> np.ndarray:
    """Colour saturation: each pixel's distance from its grey, times `factor`.

    Grey is the mean of the channels; values leave the display range and want clipping.
    A picture of one channel stays as it is.
    """
    grey = picture.mean(axis=0, keepdims=True)
    return grey + np.float32(factor) * (picture - grey)


def burnt_out(
    picture: np.ndarray,
    starless: np.ndarray,
    whites: tuple[float, ...],
    hollow: tuple[float, ...] = (),
    *,
    soft: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Highlights that do not come out white: grey, coloured or hollow cores of stars.

    White balance after saturation makes cores magenta, channels scaled one by one give them
    any colour, and tone mapping leaves them grey.  Where a reduction filled saturated
    pixels in badly they are hollow, in each channel by another depth.

    Parameters
    ----------
    picture, starless : ndarray, shape (C, H, W)
        Display range.
    whites : tuple of float
        What 1 becomes in each channel, above 0 and at most 1.
    hollow : tuple of float
        How much darker than its edge the middle of a core is, of each channel, 0 to 1.
    soft : bool
        Whether highlights bend towards their white, ``w y / (w + y (1 - w))``, so that
        they keep their shape; else they are cut off there.

    Returns
    -------
    picture, starless : ndarray
        Same shape, float32.
    """
    white = np.array(whites, np.float32)[: len(picture), None, None]
    level = np.float32(0.95) if soft else white
    cores = (picture >= level) & (starless < level)
    if soft:
        picture, starless = (white * p / (white + p * (1 - white)) for p in (picture, starless))
    else:
        picture, starless = np.minimum(picture, white), np.minimum(starless, white)
    for plane, core, depth in zip(picture, cores, hollow, strict=False):
        if depth and core.any():
            # A lone full pixel is half as deep as the middle of a wide core.
            wide = np.sqrt(ndimage.gaussian_filter(core.astype(plane.dtype), 1.0))
            plane -= np.float32(depth) * core * wide * plane
    return picture, starless


def sharpened(picture: np.ndarray, amount: float, radius: float) -> np.ndarray:
    """Unsharp mask: dark rings round stars, and round stars only.

    ``picture + amount (picture - blurred)``; `radius` is the blur's standard
    deviation in pixels.
    """
    soft = ndimage.gaussian_filter(picture, (0, radius, radius))
    return picture + np.float32(amount) * (picture - soft)


def deconvolved(light: np.ndarray, radius: float, rounds: int) -> np.ndarray:
    """Richardson-Lucy deconvolution by a Gaussian, without regularisation.

    Rings at stars whose profile is not that Gaussian, or which are saturated, come
    as they do in practice (Richardson 1972, JOSA 62, 55; Lucy 1974, AJ 79, 745).

    Parameters
    ----------
    light : ndarray, shape (C, H, W)
        Linear, 0 and more.
    radius : float
        Standard deviation of the Gaussian, in pixels.
    rounds : int

    Returns
    -------
    ndarray, same shape, float32
    """
    sigma = (0, radius, radius)
    measured = np.maximum(light, 1e-6).astype(np.float32)
    guess = measured.copy()
    for _ in range(rounds):
        ratio = measured / np.maximum(ndimage.gaussian_filter(guess, sigma), 1e-6)
        guess *= ndimage.gaussian_filter(ratio, sigma)
    return guess


def reduced_stars(
    picture: np.ndarray, starless: np.ndarray, amount: float, reach: int = 1
) -> np.ndarray:
    """Make stars smaller as people do: erosion through a mask of the stars.

    Large stars get small cores in a glow that hardly changes.

    Parameters
    ----------
    picture, starless : ndarray, shape (C, H, W)
        Display range.
    amount : float
        Of the erosion, 0 to 1.
    reach : int
        The erosion takes the least value of squares of ``2 reach + 1`` pixels.

    Returns
    -------
    ndarray, same shape, float32
    """
    mask = np.abs(picture - starless).max(axis=0)
    mask = ndimage.gaussian_filter(np.clip(4 * mask, 0, 1), 1.0)
    side = 2 * reach + 1
    eroded = ndimage.minimum_filter(picture, (1, side, side))
    return picture + np.float32(amount) * mask * (eroded - picture)


def recombined(
    picture: np.ndarray, starless: np.ndarray, midtones: float, strength: float
) -> np.ndarray:
    """Put dimmer stars back onto the starless picture, as people do who process each alone.

    The stars are taken off by the inverse of the screen blend ``1 - (1 - a) (1 - b)``, get a
    stretch of their own, and are screened back: faint ones fade, cores are grey.

    Parameters
    ----------
    picture, starless : ndarray, shape (C, H, W)
        Display range.
    midtones : float
        Of the stars' stretch (`nox_runtime.stretch.mtf`); above 0.5 it darkens.
    strength : float
        Factor of the stars after it, 0 to 1.

    Returns
    -------
    ndarray, same shape, float32
    """
    room = np.maximum(1 - starless, 1e-3)
    stars = np.clip((picture - starless) / room, 0, 1)
    return np.asarray(starless + room * np.float32(strength) * mtf(stars, midtones), np.float32)


def as_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG file and back: blocks and ringing; (3, H, W), display range."""
    from PIL import Image

    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(file, "JPEG", quality=quality)
    read = np.asarray(Image.open(file), np.float32) / 255
    return np.ascontiguousarray(np.moveaxis(read, -1, 0))


def enlarged(picture: np.ndarray, factor: float) -> np.ndarray:
    """A picture (C, h, w) at `factor` times its size, by cubic splines."""
    wide = [ndimage.zoom(p, factor, order=3, mode="reflect", grid_mode=True) for p in picture]
    return np.stack(wide)


def resampled(picture: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Moved by a part of a pixel with linear weights, as in a registered stack.

    Broadens stars and correlates noise alike; `dy` and `dx` are 0 to 1.
    """
    padded = np.pad(picture, ((0, 0), (1, 0), (1, 0)), mode="edge")
    moved = (1 - np.float32(dy)) * padded[:, 1:] + np.float32(dy) * padded[:, :-1]
    moved, right = moved[:, :, 1:], moved[:, :, :-1]
    return (1 - np.float32(dx)) * moved + np.float32(dx) * right
