"""Light that goes astray: aureoles, reflections, blurred colours, microlenses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nox_train.psf.grids import deposit, normalised, radius


@dataclass(frozen=True)
class Halo:
    """A reflection between filter, window and sensor.

    Attributes
    ----------
    share : tuple of float
        Part of the star's light in red, green and blue.
    radius : float
        Pixels: twice the distance of the surfaces over the focal ratio, over two.
    hole : float
        Inner radius over outer, the secondary's shadow; near 1 is a thin ring.
    offset : tuple of float
        Of its centre from the star, in pixels.
    softness : float
        Width of its blurred edge, in pixels.
    """

    share: tuple[float, float, float]
    radius: float
    hole: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    softness: float = 1.0


def aureole(size: int, exponent: float = 2.5, core: float = 3.0) -> np.ndarray:
    """Wide glow of scattered light, ``(1 + (r / core)^2)^(-exponent / 2)``.

    Exponents of 2 to 3 were measured for telescopes and the air (King 1971, PASP
    83, 199; Sandin 2014, A&A 567, A97).  ``core`` is in pixels.
    """
    return normalised((1.0 + radius(size) ** 2 / core**2) ** (-exponent / 2))


def reflection(
    size: int,
    radius_: float,
    *,
    hole: float = 0.0,
    dx: float = 0.0,
    dy: float = 0.0,
    softness: float = 1.0,
) -> np.ndarray:
    """Disc or ring of light reflected between filter, window and sensor.

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    radius_ : float
        Outer radius, in pixels.
    hole : float
        Inner radius over the outer (the shadow of the secondary).
    dx, dy : float
        Offset from the star, in pixels.
    softness : float
        Width of the edges' ramp, in pixels, at least 1.

    Returns
    -------
    ndarray, shape (size, size), float64
        Sums to 1.
    """
    r = radius(size, dx, dy)
    soft = max(softness, 1.0)
    disc = np.clip((radius_ - r) / soft + 0.5, 0, 1)
    if hole:
        disc *= np.clip((r - hole * radius_) / soft + 0.5, 0, 1)
    return normalised(disc)


def microlens(
    size: int,
    period: float,
    *,
    wavelengths: tuple[float, float] = (0.92, 1.08),
    orders: int = 5,
    blaze: float = 2.5,
    blur: float = 1.5,
    angle: float = 0.0,
) -> np.ndarray:
    """Square grid of faint replicas that a sensor's microlenses throw on its window and back.

    The lenses are a grating of pitch p: order (m, n) leaves at ``(m, n) lambda / p``
    and, after a window at distance d, comes down ``2 d lambda / p`` from the star (the
    grating equation for small angles).  Order 0 is the star itself and left out.  A
    passband draws each replica out to a dash that points at the star.  The efficiency
    falls as ``sinc^2(m / blaze) sinc^2(n / blaze)``, the pattern of a square lens.

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    period : float
        ``2 d lambda / p`` at the middle wavelength, in pixels.
    wavelengths : tuple of float
        Shortest and longest, relative to the middle one.
    orders : int
        Highest order along either axis.
    blaze : float
        Order at which the efficiency first vanishes.
    blur : float
        Standard deviation of a replica, in pixels.
    angle : float
        Direction of the sensor's rows.

    Returns
    -------
    ndarray, shape (size, size), float64
        Sums to 1.
    """
    m = np.arange(-orders, orders + 1)
    efficiency = (np.sinc(m / blaze)[:, None] * np.sinc(m / blaze)[None, :]) ** 2 + 1e-4
    efficiency[orders, orders] = 0.0
    spread = (wavelengths[1] - wavelengths[0]) * period * orders * 1.5
    w = np.linspace(*wavelengths, int(np.clip(spread / max(blur, 1.0), 3, 41)))
    u = (period * m[None, :, None] * w).repeat(len(m), 0).ravel()
    v = (period * m[:, None, None] * w).repeat(len(m), 1).ravel()
    weight = efficiency[:, :, None].repeat(len(w), 2).ravel()
    x, y = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
    inside = (np.maximum(np.abs(x), np.abs(y)) < size / 2 - 2) & (weight > 0)
    if not inside.any():
        raise ValueError(f"period is {period} px; it must be below half of size, {size / 2} px")
    made = deposit(size, x[inside], y[inside], weight[inside])
    return normalised(ndimage.gaussian_filter(np.fft.fftshift(made), blur, truncate=5))
