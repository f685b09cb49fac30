"""Recipes: all that happens to a scene after the light has come through the optics.

Plain data, so that it can be stored beside the pair that it made.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import numpy as np

from nox_runtime.stretch import mtf
from nox_train import processing, sensor
from nox_train.backgrounds.canvas import log_uniform
from nox_train.processing import Development

CURVES = ("none", "mtf", "asinh", "s")
#: Share of the scenes that are single raw frames without calibration.
RAW = 0.03
#: Peaks of a scene's faintest stars in units of a channel's grain: stars go on below it, as in
#: the sky; and share of the scenes, short exposures, where they do not.
_FAINT, SPARSE = (0.5, 3.0), 0.3
#: Share of the finished scenes that are scans of photographic plates and film.
FILM = 0.04
#: Share of the scenes whose stars have cores that are not white.
BURNT = 0.2
#: Share of the scenes whose stars were made smaller, and of the finished ones whose stars were
#: processed alone and put back.
REDUCED, RECOMBINED = 0.06, 0.06
#: Share of the finished ones that were stretched with their colours kept.
LUPTON = 0.06
#: Share of the scenes whose sky is black, clipped at its own level or above.
BLACK = 0.08


@dataclass(frozen=True)
class Recipe:
    """How to make a scene of a background and a field of stars.

    Attributes
    ----------
    linear : bool
        A linear picture, shown through the runtime's automatic stretch; otherwise
        one that was stretched by `development` and `curve`.
    development : Development
        Takes the background back to linear light, and for finished pictures forth.
    grain : float
        Standard deviation of the sky's noise in the display range (finished ones).
    noise, pedestal, contrast : float
        Of linear ones: the sky's noise and level in full wells, and the spread of
        the nebula in units of the noise.
    shot_share : float
        Share of the sky's noise variance that is shot noise, 0 to 1.
    correlation : float
        See `nox_train.sensor.noise`.
    knee : float
        See `nox_train.sensor.shoulder`.
    bloom : bool
        See `nox_train.sensor.bloomed`.
    response, banding : float
        See `nox_train.sensor.fixed_pattern`; banding in units of the sky's noise.
    hot, cosmics : int
        Defects in the scene.
    bayer : str
        Pattern of the colour filters, or empty.
    frames, kappa : int, float
        Frames of a stack with rejection (1: the noise of the whole is drawn), and
        its bound in standard deviations.
    faint_sigma : float
        Peak of the faintest star in units of the sky's noise ...
    saturated : float
        ... unless that would saturate more than this share of the stars.
    boost : float
        Factor of the star light beyond both: what burns out widely.
    most : float
        Largest share of the scene's pixels that may belong to stars.
    shadows : float
        Where shadows are clipped, in noises below the sky, or above it where negative; 0 for
        not at all.
    curve : tuple of (str, float)
        A second stretch and its strength.
    colour : float
        Of finished ones, see `nox_train.processing.coloured`; 1 for none.
    whites, hollow : tuple of float
        See `nox_train.processing.burnt_out`; empty for none.
    soft : bool
        Likewise.
    film : float
        Standard deviation of grain that comes after all highlights have ended, in the display
        range: burnt-out cores are as grainy as the rest.
    shift : tuple of float
        See `nox_train.processing.resampled`; empty for none.
    sharpening, radius : float
        See `nox_train.processing.sharpened`.
    rounds : int
        Of `nox_train.processing.deconvolved`, with `radius`; 0 for none.
    reduction, reach : float, int
        See `nox_train.processing.reduced_stars`.
    recombined : tuple of float
        See `nox_train.processing.recombined`; empty for none.
    jpeg : int
        Quality, or 0 for none.
    """

    linear: bool = False
    development: Development = field(default_factory=lambda: Development("mtf", (0.02,) * 3))
    grain: float = 0.01
    noise: float = 1e-3
    pedestal: float = 0.05
    contrast: float = 1.0
    shot_share: float = 0.5
    correlation: float = 0.0
    knee: float = 1.0
    bloom: bool = False
    response: float = 0.0
    banding: float = 0.0
    hot: int = 0
    cosmics: int = 0
    bayer: str = ""
    frames: int = 1
    kappa: float = 3.0
    faint_sigma: float = 3.0
    saturated: float = 0.01
    boost: float = 1.0
    most: float = 0.3
    shadows: float = 0.0
    curve: tuple[str, float] = ("none", 0.0)
    colour: float = 1.0
    whites: tuple[float, ...] = ()
    hollow: tuple[float, ...] = ()
    soft: bool = False
    film: float = 0.0
    shift: tuple[float, ...] = ()
    sharpening: float = 0.0
    radius: float = 1.0
    rounds: int = 0
    reduction: float = 0.0
    reach: int = 1
    recombined: tuple[float, ...] = ()
    jpeg: int = 0

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self)

    def curved(self, display: np.ndarray) -> np.ndarray:
        """Apply `curve` and `colour` to a picture in the display range."""
        kind, strength = self.curve
        if kind == "mtf":
            display = mtf(display, strength)
        if kind == "asinh":
            made = processing.asinh_stretch(display, strength)
            display = made.astype(display.dtype, copy=False)
        if kind == "s":
            display = processing.s_curve(display, strength)
        if self.colour == 1.0:
            return display
        return np.clip(processing.coloured(display, self.colour), 0, 1)


def random_development(rng: np.random.Generator) -> Development:
    """Draw a stretch: mostly midtones, linked or not; asinh, GHS or next to none."""
    kind = rng.choice(["mtf", "unlinked", "asinh", "ghs", "none"], p=[0.5, 0.2, 0.14, 0.12, 0.04])
    if kind == "mtf":
        return Development("mtf", (log_uniform(rng, 0.001, 0.45),) * 3)
    if kind == "unlinked":
        middle, ratio = log_uniform(rng, 0.002, 0.35), np.exp(rng.normal(0, 0.25, 3))
        m = np.clip(middle * ratio, 0.001, 0.45)
        return Development("mtf", (float(m[0]), float(m[1]), float(m[2])))
    if kind == "asinh":
        return Development("asinh", (log_uniform(rng, 5.0, 1500.0),))
    if kind == "ghs":
        strength = float(np.expm1(rng.uniform(1.5, 6.0)))
        shape = float(rng.choice([-1.0, 0.0, 1.0, rng.uniform(0.5, 6.0)]))
        return Development("ghs", (strength, shape, log_uniform(rng, 1e-3, 0.15)))
    return Development()


def _random_curve(rng: np.random.Generator) -> tuple[str, float]:
    kind = str(rng.choice(CURVES, p=[0.5, 0.25, 0.12, 0.13]))
    strength = {
        "none": 0.0,
        "mtf": float(rng.uniform(0.25, 0.7)),
        "asinh": log_uniform(rng, 1.0, 12.0),
        "s": float(rng.uniform(1.1, 2.0)),
    }
    return kind, strength[kind]


def _random_shadows(rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < BLACK:
        return float(rng.uniform(-2.5, 1.0))
    return float(rng.uniform(1.0, 5.0)) if kind < BLACK + 0.4 else 0.0


def random_recipe(rng: np.random.Generator, *, mono: bool = False) -> Recipe:
    """Draw what amateurs do: a third linear, the rest stretched, some sharpened or worse."""

    def rarely(share: float) -> bool:
        return bool(rng.random() < share)

    sigma = log_uniform(rng, 1.5e-4, 6e-3)
    linear = rarely(0.3)
    sharpen, deconvolve = rarely(0.2), rarely(0.05)
    colour_filters = not mono and rarely(0.1)
    development = random_development(rng)
    if linear:  # only its inverse is used: to make highlights rise as in linear light
        development = Development("mtf", (log_uniform(rng, 0.01, 0.4),) * 3)
    drawn = Recipe(
        linear=linear,
        development=development,
        grain=log_uniform(rng, 0.002, 0.06),
        noise=sigma,
        pedestal=float(max(8 * sigma, log_uniform(rng, 0.003, 0.2))),
        contrast=log_uniform(rng, 0.05, 8.0),
        shot_share=float(rng.uniform(0.1, 0.9)),
        correlation=float(rng.uniform(0.3, 1.0)) if rarely(0.5) else 0.0,
        knee=float(rng.uniform(0.3, 0.95)) if rarely(0.33) else 1.0,
        bloom=rarely(0.02),
        response=float(rng.uniform(0.001, 0.008)) if rarely(0.05) else 0.0,
        banding=float(rng.uniform(0.05, 0.4)) if rarely(0.05) else 0.0,
        hot=int(rng.poisson(6)) if rarely(0.05) else 0,
        cosmics=int(rng.poisson(3)) if rarely(0.03) else 0,
        bayer=str(rng.choice(list(sensor.BAYER_PATTERNS))) if colour_filters else "",
        frames=int(rng.integers(5, 9)) if rarely(0.03) else 1,
        kappa=float(rng.uniform(2.0, 3.5)),
        faint_sigma=log_uniform(rng, *(_FAINT if rarely(1 - SPARSE) else (3.0, 25.0))),
        saturated=log_uniform(rng, 2e-3, 0.3),
        boost=log_uniform(rng, 1.0, 100.0) if rarely(0.2) else 1.0,
        most=0.7 if rarely(0.15) else 0.3,
        shadows=_random_shadows(rng),
        curve=_random_curve(rng),
        shift=tuple(rng.uniform(0, 1, 2).tolist()) if rarely(0.08) else (),
        sharpening=float(rng.uniform(0.2, 2.0)) if sharpen else 0.0,
        radius=float(rng.uniform(0.6, 1.6)),
        rounds=int(rng.integers(2, 7)) if deconvolve else 0,
        reduction=float(rng.uniform(0.3, 1.0)) if rarely(REDUCED) else 0.0,
        reach=int(rng.choice([1, 1, 1, 2, 3])),
        jpeg=int(rng.integers(75, 97)) if rarely(0.12) else 0,
        colour=log_uniform(rng, 1.1, 3.0) if rarely(0.3) else 1.0,
    )
    if rarely(RAW):
        drawn = _raw(drawn, rng, mono)
    if not linear and rarely(RECOMBINED):
        stretched = float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.4, 1.0))
        drawn = replace(drawn, recombined=stretched)
    if rarely(BURNT):
        drawn = _burnt_out(drawn, rng)
    if not linear and not mono and rarely(LUPTON):
        strength = log_uniform(rng, 5.0, 1500.0)
        drawn = replace(drawn, development=Development("lupton", (strength,)))
    if not linear and rarely(FILM):
        drawn = _filmed(drawn, rng)
    return _sober(drawn, mono)


def _filmed(drawn: Recipe, rng: np.random.Generator) -> Recipe:
    """A scan of a plate or of film: stars end below white, and the grain lies over them."""
    white = float(rng.uniform(0.8, 1.0))
    grain = log_uniform(rng, 0.008, 0.05)
    return replace(
        drawn, film=grain, grain=min(drawn.grain, grain / 2), whites=(white,) * 3, hollow=(),
        soft=bool(rng.random() < 0.5), correlation=float(rng.uniform(0.0, 1.2)), bayer="",
        hot=0, frames=1, curve=("mtf", float(rng.uniform(0.2, 0.5))),
        boost=log_uniform(rng, 1.0, 100.0),
    )  # fmt: skip


def _raw(drawn: Recipe, rng: np.random.Generator, mono: bool) -> Recipe:
    """A single frame of a warm sensor, hot pixels by the hundred and as sharp as they are."""
    pattern = str(rng.choice(list(sensor.BAYER_PATTERNS)))
    return replace(
        drawn, hot=int(log_uniform(rng, 50.0, 1500.0)), frames=1, correlation=0.0,
        bayer="" if mono else pattern, shift=(), rounds=0,
    )  # fmt: skip


def _burnt_out(drawn: Recipe, rng: np.random.Generator) -> Recipe:
    """Cores of stars that are not white: grey, of a colour, or hollow."""
    levels = 1 - rng.uniform(0, 0.5) * rng.uniform(0, 1, 3)
    highest = rng.uniform(0.55, 1.0) if rng.random() < 0.67 else 1.0
    whites = tuple((highest * levels / levels.max()).tolist())
    # Deepest where a pipeline wraps or masks what is full: a ring with a dark middle.
    deepest = 1.0 if rng.random() < 0.4 else 0.5
    deep = tuple(rng.uniform(0, deepest, 3).tolist()) if rng.random() < 0.4 else ()
    return replace(drawn, whites=whites, hollow=deep, soft=bool(rng.random() < 0.6))


def _sober(drawn: Recipe, mono: bool) -> Recipe:
    """Without what `nox_train.scenes` does not do together, so that what is stored was done."""
    if drawn.frames > 1:
        drawn = replace(drawn, bayer="")
    if drawn.frames > 1 or drawn.bayer:
        drawn = replace(drawn, bloom=False, correlation=0.0)
    if drawn.frames > 1 or drawn.bloom:
        drawn = replace(drawn, knee=1.0)
    if drawn.linear or mono:
        drawn = replace(drawn, colour=1.0)
    if mono:
        drawn = replace(drawn, whites=drawn.whites[:1], hollow=drawn.hollow[:1])
    return drawn
