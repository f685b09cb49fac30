"""What a camera does to light: noise, full well, and the stretch made afterwards."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def noise(
    light: np.ndarray,
    read: float,
    gain: float,
    rng: np.random.Generator,
    *,
    correlation: float = 0.0,
    mono: bool = False,
) -> np.ndarray:
    """Read and shot noise of `light`, ``variance = read^2 + gain * light``.

    Parameters
    ----------
    light : ndarray, shape (C, H, W)
        Linear light, 1 = full well.
    read : float
        Standard deviation in the dark, in full wells.
    gain : float
        Full wells an electron; a stack of N frames has a gain N times smaller.
    rng : numpy.random.Generator
    correlation : float
        Standard deviation, in pixels, of the blur that demosaicing, drizzle or
        resampling left in the noise; its strength stays as asked for.
    mono : bool
        The same noise in every channel.

    Returns
    -------
    ndarray, shape (C, H, W), float32
    """
    shape = light.shape[1:] if mono else light.shape
    grain = rng.standard_normal(shape, dtype=np.float32)
    if correlation > 0.2:
        sigma = (0,) * (grain.ndim - 2) + (correlation, correlation)
        grain = ndimage.gaussian_filter(grain, sigma, mode="wrap")
        grain /= grain.std()
    variance = read * read + gain * np.maximum(light, 0.0)
    return (grain * np.sqrt(variance)).astype(np.float32)


def shoulder(light: np.ndarray, knee: float) -> np.ndarray:
    """Soft saturation: straight up to `knee`, then bending towards 1.

    Photographic plates and anti-blooming gates do this; `knee` of 1 is a hard clip.
    """
    if knee >= 1:
        return np.minimum(light, 1.0)
    over = np.maximum(light - knee, 0.0)
    room = 1.0 - knee
    return np.minimum(light, knee) + room * (over / (over + room))


def asinh_stretch(x: np.ndarray, strength: float) -> np.ndarray:
    """``asinh(strength x) / asinh(strength)`` (Lupton et al. 2004, PASP 116, 133)."""
    return np.arcsinh(strength * x) / np.arcsinh(strength)


def asinh_unstretch(y: np.ndarray, strength: float) -> np.ndarray:
    """Inverse of `asinh_stretch`."""
    return np.sinh(y * np.arcsinh(strength)) / strength
