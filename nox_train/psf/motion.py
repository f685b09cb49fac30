"""What moves the star during the exposure: the mount, the wind, the field's rotation.

A motion is a set of points in pixels, shape (k, 2) as (x, y), with one share of the
exposure each; the mean of the points is 0, so that no star leaves its place.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from nox_train.psf.grids import deposit, normalised

Motion = tuple[np.ndarray, np.ndarray]


def _centred(points: np.ndarray, shares: np.ndarray) -> Motion:
    shares = shares / shares.sum()
    return points - shares @ points, shares


def _turned(along: np.ndarray, across: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * along - s * across, s * along + c * across], axis=1)


def _points(length: float) -> int:
    return int(np.clip(np.ceil(4 * abs(length)), 9, 400))


def trail(length: float, angle: float = 0.0, bend: float = 0.0) -> Motion:
    """Even drift along a line, or along an arc of sagitta `bend` (both in pixels)."""
    k = _points(length)
    t = (np.arange(k) + 0.5) / k * 2 - 1
    return _centred(_turned(t * length / 2, bend * (1 - t * t), angle), np.ones(k))


def periodic(amplitude: float, angle: float = 0.0, cycles: float = 1.0) -> Motion:
    """Periodic error of a worm gear, ``amplitude sin(2 pi cycles t)``, in pixels.

    Over whole cycles the star dwells at both ends (the arcsine law); a part of a
    cycle leaves it longer at one.
    """
    k = int(_points(2 * amplitude) * max(1.0, 2 * cycles))
    t = (np.arange(k) + 0.5) / k
    along = amplitude * np.sin(2 * np.pi * cycles * t)
    return _centred(_turned(along, np.zeros(k), angle), np.ones(k))


def wind(rms: float, angle: float = 0.0) -> Motion:
    """Shaking along one direction, normally distributed, `rms` pixels."""
    k = max(33, _points(6 * rms))
    t = np.linspace(-3.5, 3.5, k)
    return _centred(_turned(t * rms, np.zeros(k), angle), np.exp(-0.5 * t * t))


def double(distance: float, angle: float = 0.0, share: float = 0.2) -> Motion:
    """A jump (gust, cable, dither begun too early): `share` of the exposure elsewhere."""
    points = _turned(np.array([0.0, distance]), np.zeros(2), angle)
    return _centred(points, np.array([1 - share, share]))


def together(*motions: Motion) -> Motion:
    """All motions at once: every point of one shifted by every point of the others."""
    points, shares = np.zeros((1, 2)), np.ones(1)
    for p, s in motions:
        points = (points[:, None] + p[None]).reshape(-1, 2)
        shares = (shares[:, None] * s[None]).reshape(-1)
    return points, shares


def motion_kernel(size: int, motion: Motion) -> np.ndarray:
    """A motion as a convolution kernel with its centre at ``size // 2``; sums to 1."""
    points, shares = motion
    made = deposit(size, points[:, 0], points[:, 1], shares)
    return normalised(fft.fftshift(made))
