"""Profiles of galaxies: Sersic's law, spiral arms."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from nox_train.backgrounds.fractal import gaussian_field


def sersic_b(n: float) -> float:
    """``b`` that makes the radius that of half the light.

    ``b = 2 n - 1/3 + 4 / (405 n) + 46 / (25515 n^2)`` (Ciotti & Bertin 1999, A&A 352,
    447), good to 1e-4 for n of 0.5 to 10.
    """
    return 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n * n)


def sersic_flux(radius: float, n: float, axis_ratio: float) -> float:
    """Flux of a Sersic profile with surface brightness 1 at its half-light radius.

    ``2 pi q R^2 n e^b b^(-2 n) Gamma(2 n)`` (Graham & Driver 2005, PASA 22, 118).
    """
    b = sersic_b(n)
    return float(
        2 * np.pi * axis_ratio * radius**2 * n * math.exp(b) * b ** (-2 * n) * math.gamma(2 * n)
    )


def sersic_stamp(
    u: np.ndarray, v: np.ndarray, radius: float, n: float, inner: float = 0.0
) -> np.ndarray:
    """Sersic profile, 1 at the half-light radius.

    Parameters
    ----------
    u, v : ndarray
        Coordinates of the galaxy's plane in pixels, see `canvas.polar`.
    radius : float
        Half-light radius of the major axis, pixels.
    n : float
        Sersic index: 1 a disc, 4 a giant elliptical.
    inner : float
        Pixels that round off the cusp; the pixel's own size does that in a camera.
    """
    r = np.sqrt(u * u + v * v + inner * inner) / radius
    return np.exp(-sersic_b(n) * (r ** (1 / n) - 1))


def sersic_integrated(
    size: int, x: float, y: float, radius: float, n: float, axis_ratio: float, angle: float
) -> np.ndarray:
    """Sersic profile as pixels see it: the mean of many samples a pixel.

    Nine samples a side near the centre of steep or small ones, where the light
    changes within a pixel, one elsewhere.

    Returns
    -------
    ndarray, shape (size, size), float32
        Surface brightness, 1 at the half-light radius.
    """

    def sampled(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        dx, dy = columns[None, :] - x, rows[:, None] - y
        u = dx * np.cos(angle) + dy * np.sin(angle)
        v = (dy * np.cos(angle) - dx * np.sin(angle)) / axis_ratio
        return sersic_stamp(u, v, radius, n, inner=0.03)

    pixels = np.arange(size, dtype=np.float32)
    made = sampled(pixels, pixels).astype(np.float32)
    half = 3 if radius * axis_ratio > 4 else 5
    y0, y1 = max(0, round(y) - half), min(size, round(y) + half + 1)
    x0, x1 = max(0, round(x) - half), min(size, round(x) + half + 1)
    if y1 > y0 and x1 > x0:
        k = 9 if n > 1.5 or radius * axis_ratio < 2 else 5
        fine = (np.arange(k) + 0.5) / k - 0.5
        rows = (np.arange(y0, y1)[:, None] + fine).ravel()
        columns = (np.arange(x0, x1)[:, None] + fine).ravel()
        cells = sampled(rows, columns).reshape(y1 - y0, k, x1 - x0, k)
        made[y0:y1, x0:x1] = cells.mean(axis=(1, 3))
    return made


def sersic(
    size: int,
    radius: float,
    n: float,
    axis_ratio: float,
    angle: float,
    x: float,
    y: float,
) -> np.ndarray:
    """Sersic profile, ``exp(-b ((r / radius)^(1 / n) - 1))``, periodic, 1 at most.

    ``b`` as in `sersic_b`; lengths in pixels, the angle in radians.  The middle is
    rounded off by 1.5 pixels, so that a steep bulge does not become a point.

    Returns
    -------
    ndarray, shape (size, size)
    """
    xs = np.arange(size)
    dx = ((xs - x + size / 2) % size - size / 2)[None, :]
    dy = ((xs - y + size / 2) % size - size / 2)[:, None]
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = (-dx * np.sin(angle) + dy * np.cos(angle)) / axis_ratio
    profile = sersic_stamp(u, v, radius, n, inner=1.5)
    return profile / profile.max()


def arm_phase(
    u: np.ndarray, v: np.ndarray, pitch: float, arms: int, scale: float, start: float = 0.0
) -> np.ndarray:
    """Angle from the nearest logarithmic arm, in radians times the number of arms.

    ``phi = m (theta - ln(r / scale) / tan(pitch) - start)``: constant along
    ``r = scale exp(theta tan(pitch))``, the shape of real arms, with pitch angles of
    5 degrees (Sa) to 35 (Sd) (Kennicutt 1981, AJ 86, 1847).

    Parameters
    ----------
    u, v : ndarray
        Coordinates in the galaxy's plane, pixels.
    pitch : float
        Radians; negative turns the other way.
    arms : int
    scale : float
        Radius where the arms start, pixels.
    start : float
        Angle where they start, radians.
    """
    r = np.sqrt(u * u + v * v + 0.25)
    return arms * (np.arctan2(v, u) - np.log(r / scale) / np.tan(pitch) - start)


def arm_contrast(phase: np.ndarray, sharpness: float) -> np.ndarray:
    """Brightness over an arm: ``exp(k (cos(phase) - 1))``, 1 at its middle."""
    return np.exp(np.float32(sharpness) * (np.cos(phase) - 1))


def flocculence(
    u: np.ndarray, v: np.ndarray, pitch: float, scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise drawn out along the arms: patches that differential rotation has sheared.

    Variance about 1; shape of `u`.
    """
    noise = gaussian_field(128, 2.8, rng)
    r = np.sqrt(u * u + v * v + 0.25)
    lnr = np.log(r / scale)
    across = np.arctan2(v, u) - lnr / np.tan(pitch)
    where = [(lnr * 18.0) % 128, (across * (128 / (2 * np.pi))) % 128]
    return np.asarray(ndimage.map_coordinates(noise, where, order=1, mode="grid-wrap"))
