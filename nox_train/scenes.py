"""Compose a training scene: the same picture with stars and without.

Stars are added in linear light: the background, a stretched picture, is
unstretched, gets star light and noise, is clipped at full well and stretched
again.  The target is the same background with the same noise and no stars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nox_runtime.stretch import mtf
from nox_train import sensor


@dataclass(frozen=True)
class Scene:
    """One training picture.

    Attributes
    ----------
    input, target : ndarray, shape (3, size, size), float32, values 0 to 1
        With and without stars.
    parameters : dict
        What was drawn for it.
    """

    input: np.ndarray
    target: np.ndarray
    parameters: dict


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _turned(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the eight flips and quarter turns."""
    picture = np.rot90(picture, int(rng.integers(4)), axes=(1, 2))
    return picture[:, :, ::-1] if rng.random() < 0.5 else picture


def _square(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a larger periodic picture, turned at random."""
    side = picture.shape[1]
    y, x = rng.integers(0, side - size + 1, 2)
    return _turned(picture[:, y : y + size, x : x + size], rng)


def _relit(background: np.ndarray, rng: np.random.Generator, mono: bool) -> np.ndarray:
    """Vary a background's brightness, contrast and colour; most skies are dark."""
    if mono:
        background = np.repeat(background.mean(axis=0, keepdims=True), 3, axis=0)
    else:
        background = background[rng.permutation(3)]
        background = background * rng.uniform(0.8, 1.25, (3, 1, 1))
        if rng.random() < 0.6:  # background neutralisation: most skies are grey
            background = background - np.percentile(background, 10, axis=(1, 2), keepdims=True)
    if rng.random() < 0.65:
        background = np.clip(background, 0, 1) ** rng.uniform(0.8, 2.5)
        background = background * rng.uniform(0.15, 0.9)
    return np.clip(background + rng.uniform(0.0, 0.18), 0.01, 0.97).astype(np.float32)


def compose(
    background: np.ndarray,
    light: np.ndarray,
    faintest: float,
    rng: np.random.Generator,
    *,
    size: int = 256,
    mono: bool = False,
) -> Scene:
    """Put a field of stars on a background.

    Parameters
    ----------
    background : ndarray, shape (3, h, w), values 0 to 1
        Stretched, star-free; h and w at least `size`.
    light : ndarray, shape (3, h, w)
        `nox_train.stars.Field.light`.
    faintest : float
        `nox_train.stars.Field.faintest`.
    rng : numpy.random.Generator
        Everything random is drawn from it.
    size : int
        Side of the scene, in pixels.
    mono : bool
        Three equal channels.

    Returns
    -------
    Scene
    """
    sky_picture = _relit(_square(background, size, rng).astype(np.float32), rng, mono)
    stars = _square(light, size, rng).astype(np.float32)
    if mono:
        stars = np.repeat(stars.mean(axis=0, keepdims=True), 3, axis=0)
    else:
        stars = stars * rng.uniform(0.8, 1.25, (3, 1, 1)).astype(np.float32)

    m = _log_uniform(rng, 0.001, 0.45)
    linear = mtf(sky_picture, 1.0 - m)
    level = float(np.median(sky_picture))
    sky = float(mtf(np.float64(level), 1.0 - m))
    slope = float(mtf(np.float64(level + 1e-4), 1.0 - m) - sky) / 1e-4
    grain = _log_uniform(rng, 0.002, 0.07)
    sigma = grain * slope
    shot_share = rng.uniform(0.1, 0.9)
    read = sigma * np.sqrt(1 - shot_share)
    gain = sigma * sigma * shot_share / max(sky, 1e-6)
    correlation = float(rng.choice([0.0, rng.uniform(0.3, 1.0)]))
    linear = linear + sensor.noise(linear, read, gain, rng, correlation=correlation, mono=mono)
    if rng.random() < 0.05 and not mono:  # hot pixels are no stars: they stay
        for _ in range(rng.poisson(6)):
            y, x = rng.integers(0, size, 2)
            linear[rng.integers(3), y, x] += rng.uniform(0.02, 1)

    faint_sigma = _log_uniform(rng, 1.0, 15.0)
    brightest = min(faint_sigma * sigma / faintest, 10 ** rng.uniform(0.0, 2.3))
    knee = float(rng.choice([1.0, 1.0, rng.uniform(0.3, 0.95)]))
    curve = _random_curve(rng)
    low = 0.0
    if rng.random() < 0.4:  # shadows clipped near the sky, as automatic stretches do
        low = max(0.0, level - rng.uniform(1.0, 5.0) * grain)
    amount = float(rng.uniform(0.2, 2.0)) if rng.random() < 0.25 else 0.0
    radius = float(rng.uniform(0.6, 1.6))

    def developed(light_: np.ndarray) -> np.ndarray:
        display = mtf(np.clip(sensor.shoulder(light_, knee), 0, 1), m)
        display = np.clip((display - low) / (1.0 - low), 0, 1)
        display = np.clip(curve(display), 0, 1)
        if amount:  # unsharp masking draws dark rings round stars, and round stars only
            soft = ndimage.gaussian_filter(display, (0, radius, radius))
            display = np.clip(display + amount * (display - soft), 0, 1)
        return display.astype(np.float32)

    target = developed(linear)
    # Scenes that are nearly all star dominate the loss and teach nothing.
    most = 0.7 if rng.random() < 0.15 else 0.3
    for _ in range(6):
        added = stars * np.float32(brightest)
        shot = sensor.noise(added, 0.0, gain, rng, correlation=correlation, mono=mono)
        input_ = developed(linear + added + shot)
        light_seen = np.abs(input_ - target).max(axis=0)
        if (light_seen > 0.06).mean() < most and (light_seen > 0.6).mean() < most / 3:
            break
        brightest /= 4.0
    parameters = {
        "midtones": m, "grain": grain, "sigma": sigma, "gain": gain,
        "correlation": correlation, "brightest": brightest, "knee": knee,
        "shadows": low, "mono": mono, "sharpening": amount, "radius": radius,
    }  # fmt: skip
    return Scene(input_, target, parameters)


def _random_curve(rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """A second stretch, as people add them: none, midtones or asinh."""
    kind = rng.choice(["none", "mtf", "asinh"], p=[0.55, 0.3, 0.15])
    if kind == "mtf":
        second = rng.uniform(0.25, 0.7)
        return lambda y: mtf(y, second)
    if kind == "asinh":
        strength = _log_uniform(rng, 1.0, 12.0)
        return lambda y: sensor.asinh_stretch(y, strength)
    return lambda y: y


def shrunk(scene: Scene) -> Scene:
    """A scene at half its size, each pixel the mean of four."""

    def half(picture: np.ndarray) -> np.ndarray:
        c, h, w = picture.shape
        return picture.reshape(c, h // 2, 2, w // 2, 2).mean(axis=(2, 4))

    return Scene(half(scene.input), half(scene.target), {**scene.parameters, "shrunk": True})
