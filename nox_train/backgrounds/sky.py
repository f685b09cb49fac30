"""What the site, the lens and the sensor add to every sky: gradients and dust rings."""

from __future__ import annotations

import numpy as np


def add_gradients(light: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict]:
    """Light pollution, vignetting, amplifier glow, and rings of a bad flat field.

    Parameters
    ----------
    light : ndarray, shape (3, size, size)
        Linear light.
    rng : numpy.random.Generator

    Returns
    -------
    light : ndarray, shape (3, size, size), float32
    parameters : dict
        Empty entries are left out.  ``pollution``: contrast over the frame;
        ``vignetting``: tangent of the corner's angle in ``cos^4``; ``amp_glow``: its
        height over the sky; ``dust_rings``: how many.
    """
    size = light.shape[1]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    y, x = axis[:, None], axis[None, :]
    level = max(float(np.median(light[:, ::4, ::4])), 1e-4)
    light = light.astype(np.float32)
    facts: dict = {}
    if rng.random() < 0.7:
        facts["pollution"] = contrast = float(rng.uniform(0.02, 0.8))
        angle = rng.uniform(0, 2 * np.pi)
        t = 0.5 + (x * np.cos(angle) + y * np.sin(angle)) / 1.42
        glow = np.exp(rng.uniform(0.5, 3.0) * (t - 1))
        for c, tint in enumerate(rng.uniform(0.6, 1.4, 3)):
            light[c] += np.float32(level * contrast * tint) * glow
    if rng.random() < 0.3:
        facts["vignetting"] = corner = float(rng.uniform(0.1, 0.6))
        y0, x0 = rng.uniform(-0.5, 0.5, 2)
        tangent2 = ((y - y0) ** 2 + (x - x0) ** 2) * np.float32(2 * corner**2)
        light /= (1 + tangent2) ** 2  # cos^4 of the angle from the axis
    if rng.random() < 0.08:
        facts["amp_glow"] = height = float(rng.uniform(0.1, 1.5))
        y0, x0 = rng.choice([-0.5, 0.5], 2)
        near = np.hypot(y - y0, x - x0) / rng.uniform(0.05, 0.25)
        light += np.float32(level * height) * np.exp(-near)
    if rng.random() < 0.12:
        facts["dust_rings"] = count = int(rng.integers(1, 5))
        for _ in range(count):
            light *= _dust_ring(size, y, x, rng)
    return light, facts


def _dust_ring(size: int, y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shadow of a grain before the sensor: an annulus, since the aperture has a hole.

    Dark where flats are missing, bright where they do not fit; a few percent deep.
    """
    y0, x0 = rng.uniform(-0.5, 0.5, 2)
    outer = rng.uniform(6, 60) / size
    inner = outer * rng.uniform(0.2, 0.5)
    soft = 1.5 / size
    r = np.hypot(y - y0, x - x0)
    inside = 1 / (1 + np.exp(np.clip((r - outer) / soft, -30, 30)))
    hole = 1 / (1 + np.exp(np.clip((r - inner) / soft, -30, 30)))
    depth = rng.uniform(0.01, 0.08) * (1 if rng.random() < 0.7 else -1)
    return (1 - depth * (inside - hole)).astype(np.float32)
