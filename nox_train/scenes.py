"""Compose a training scene: the same picture with stars and without.

Stars are added in linear light: the background, a finished picture, is taken back
through a stretch, gets star light and noise, goes through the camera, and is
developed.  The target is the same background with the same noise and no stars.

What is random is drawn first, into a `Recipe`; `render` then only follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nox_runtime import stretch
from nox_train import processing, sensor
from nox_train.backgrounds.canvas import log_uniform
from nox_train.backgrounds.fractal import fractal
from nox_train.recipes import Recipe, random_recipe
from nox_train.stars import Field

Picture = np.ndarray
#: Light in the display range above which a pixel counts as a star's.
_SEEN = 0.06


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


def _square(picture: Picture, size: int, rng: np.random.Generator) -> tuple[Picture, dict]:
    """A random square of a larger periodic picture, turned or flipped at random; and how."""
    side = picture.shape[1]
    y, x = (int(v) for v in rng.integers(0, side - size + 1, 2))
    turns, flipped = int(rng.integers(4)), bool(rng.random() < 0.5)
    picture = np.rot90(picture[:, y : y + size, x : x + size], turns, axes=(1, 2))
    picture = picture[:, :, ::-1] if flipped else picture
    where = {"x": x, "y": y, "turns": turns, "flipped": flipped}
    return np.ascontiguousarray(picture, np.float32), where


def _relit(background: Picture, rng: np.random.Generator) -> tuple[Picture, dict]:
    """Vary a background's brightness, contrast and colour; most skies are dark."""
    facts: dict = {}
    if len(background) == 3:
        if rng.random() < 0.2:  # palettes that nobody has thought of yet
            order = rng.permutation(3)
            background = background[order]
            facts["order"] = order.tolist()
        gains = rng.uniform(0.8, 1.25, (3, 1, 1)).astype(np.float32)
        background = background * gains
        facts["gains"] = gains.ravel().tolist()
        if rng.random() < 0.6:  # background neutralisation: most skies are grey
            dark = np.percentile(background[:, ::4, ::4], 10, axis=(1, 2), keepdims=True)
            background = background - dark.astype(np.float32)
            facts["neutralised"] = dark.ravel().tolist()
    if rng.random() < 0.65:
        gamma, factor = rng.uniform(0.8, 2.2), rng.uniform(0.25, 0.95)
        background = np.clip(background, 0, 1) ** np.float32(gamma) * np.float32(factor)
        facts |= {"gamma": gamma, "factor": factor}
    lift = rng.uniform(0.01, 0.2)
    return np.clip(background + np.float32(lift), 0.01, 0.97), {**facts, "lift": lift}


def _lit(sky: Picture, stars: Picture, rng: np.random.Generator) -> tuple[Picture, dict]:
    """Dust round the brightest star, which lights it: a reflection nebula, and it stays."""
    size = sky.shape[1]
    y, x = np.unravel_index(int(stars.mean(axis=0).argmax()), (size, size))
    down, across = np.indices((size, size), np.float32)
    width, fall = log_uniform(rng, 0.06, 0.3) * size, rng.uniform(0.8, 2.0)
    glow = (1 + ((down - y) ** 2 + (across - x) ** 2) / width**2) ** -fall
    patchy = rng.uniform(0.7, 2.0)  # a smooth one would be the star's own glow, which goes
    glow *= fractal(size, 3.0, rng) ** patchy
    colour = rng.uniform(0.3, 1.0, (len(sky), 1, 1))
    if len(sky) == 3 and rng.random() < 0.7:  # dust scatters blue most
        colour = np.sort(colour, axis=0)
    colour *= rng.uniform(0.1, 0.7)
    glow = (colour * glow / glow.max()).astype(np.float32)
    facts = {
        "place": [int(y), int(x)], "width": width, "fall": fall, "patchy": patchy,
        "colour": colour.ravel().tolist(),
    }  # fmt: skip
    return np.minimum(1 - (1 - sky) * (1 - glow), np.float32(0.97)), facts


_Show = Callable[[Picture], Picture]


@dataclass(frozen=True)
class _Bench:
    """The linear picture before any star, and how it will be shown.

    ``shown_by`` gives the way in which a picture wants to be shown, and what is to be
    stored of it; input and target are both shown as the input asks, as users see it.
    """

    linear: Picture
    sky: float
    sigma: float
    shown_by: Callable[[Picture], tuple[_Show, dict]]


def _finished(background: Picture, recipe: Recipe) -> _Bench:
    """A picture that was stretched before stars are taken out of it."""
    develop = recipe.development
    level = float(np.median(background[:, ::4, ::4]))
    here = np.full((len(background), 1), level, np.float64)
    sky = float(develop.inverse(here).mean())
    slope = float((develop.inverse(here + 1e-4).mean() - sky) / 1e-4)
    low = level - recipe.shadows * recipe.grain if recipe.shadows else 0.0
    low = min(max(0.0, low), 0.5)  # nebula that fills the picture is not black

    def show(light: Picture) -> Picture:
        display = develop.forward(light)
        if low:
            display = np.clip((display - np.float32(low)) / np.float32(1 - low), 0, 1)
        return recipe.curved(display)

    return _Bench(develop.inverse(background), sky, recipe.grain * slope, lambda _: (show, {}))


def _linear(background: Picture, recipe: Recipe) -> _Bench:
    """A linear picture, to be shown through the runtime's own automatic stretch."""
    structure = recipe.development.inverse(background)
    sample = structure[:, ::4, ::4]
    middle = np.median(sample, axis=(1, 2), keepdims=True)
    spread = 1.4826 * float(np.median(np.abs(sample - middle)))
    # The nebula's spread is so many times the noise; where the background is flat,
    # its brightest parts must not grow beyond all bounds.
    spread = max(spread, 0.02 * float(np.abs(sample - middle).max()), 1e-6)
    sigma = recipe.noise
    linear = recipe.pedestal + (structure - middle) * np.float32(recipe.contrast * sigma / spread)
    linear = np.clip(linear, 0, 0.98).astype(np.float32)

    def shown_by(asked: Picture) -> tuple[_Show, dict]:
        used = stretch.choose("mtf", stretch.statistics(asked[:, ::3, ::3], np.dtype("f4")))
        facts = {k: [float(v) for v in getattr(used, k)] for k in ("black", "white", "midtones")}
        black, white, m = (np.array(v, np.float32)[:, None, None] for v in facts.values())

        def show(light: Picture) -> Picture:
            return stretch.mtf(np.clip((light - black) / (white - black), 0, 1), m)

        return show, facts

    return _Bench(linear, recipe.pedestal, sigma, shown_by)


def _captured(
    linear: Picture, added: Picture, bench: _Bench, recipe: Recipe, rng: np.random.Generator
) -> tuple[Picture, Picture]:
    """Through the camera, with stars and without: the same noise in both."""
    shape = linear.shape
    mono = len(linear) == 1
    read = bench.sigma * np.sqrt(1 - recipe.shot_share)
    gain = bench.sigma**2 * recipe.shot_share / max(bench.sky, 1e-6)
    if recipe.response or recipe.banding:
        factor, offset = sensor.fixed_pattern(
            (shape[0], shape[1], shape[2]), rng, response=recipe.response,
            banding=recipe.banding * bench.sigma,
        )  # fmt: skip
        linear, added = linear * factor + offset, added * factor
    defects = np.zeros((1, 1, 1), np.float32)
    if recipe.hot or recipe.cosmics:
        defects = sensor.hot_pixels((shape[0], shape[1], shape[2]), recipe.hot, rng)
        defects += sensor.cosmic_rays((shape[0], shape[1], shape[2]), recipe.cosmics, rng)
    if recipe.frames > 1:
        return _stack(linear + defects, added, read, gain, recipe, rng)
    if recipe.bayer and not mono:
        raw = sensor.mosaiced(linear, recipe.bayer)[None]
        raw += sensor.noise(raw, read, gain, rng)
        raw += defects.max(axis=0)  # one pixel behind one filter; demosaicing spreads it
        star = sensor.mosaiced(added, recipe.bayer)[None]
        star += sensor.noise(star, 0.0, gain, rng)
        seen = [sensor.shoulder(r[0], recipe.knee) for r in (raw + star, raw)]
        one, two = (sensor.demosaiced(s, recipe.bayer) for s in seen)
        return one, two
    grain = sensor.noise(linear, read, gain, rng, correlation=recipe.correlation)
    without = linear + grain + defects
    shot = sensor.noise(added, 0.0, gain, rng, correlation=recipe.correlation)
    shot += added
    shot += without
    if recipe.bloom:
        return sensor.bloomed(shot), without
    return sensor.shoulder(shot, recipe.knee), sensor.shoulder(without, recipe.knee)


def _stack(
    linear: Picture, added: Picture, read: float, gain: float, recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[Picture, Picture]:  # fmt: skip
    """Several frames of unequal transparency, satellites and rays rejected."""
    n = recipe.frames
    grain = np.sqrt(n) * sensor.noise(
        np.broadcast_to(linear, (n, *linear.shape)).reshape(-1, *linear.shape[1:]), read, gain, rng
    ).reshape(n, *linear.shape)
    shot = np.sqrt(n) * sensor.noise(
        np.broadcast_to(added, (n, *added.shape)).reshape(-1, *added.shape[1:]), 0.0, gain, rng
    ).reshape(n, *added.shape)
    for frame in grain:
        frame += sensor.cosmic_rays(frame.shape, 1, rng)
    grain[int(rng.integers(n))] += sensor.satellite(linear.shape, rng)
    clear = (1 + 0.06 * rng.standard_normal((n, 1, 1, 1))).astype(np.float32)
    frames = np.minimum(linear + grain + clear * added + shot, 1)
    mean, kept = sensor.stacked(frames, recipe.kappa)
    without = ((linear + grain) * kept).sum(axis=0) / kept.sum(axis=0)
    return mean.astype(np.float32), without.astype(np.float32)


def _stars_gain(field: Field, bench: _Bench, recipe: Recipe) -> float:
    """Factor of the star light: by the faintest star, but not too many saturated."""
    by_faintest = recipe.faint_sigma * bench.sigma / field.faintest
    gain = min(by_faintest, field.gain_of_share(recipe.saturated), 300.0)
    return float(gain * recipe.boost)


def _bounded_gain(gain: float, bench: _Bench, stars: Picture, recipe: Recipe) -> float:
    """Dim the stars until no more than the recipe's share of the pixels are theirs.

    Scenes that are nearly all star dominate the loss and teach nothing.  Every fourth
    pixel of both axes is looked at.  Linear pictures are looked at with their grain: the automatic
    stretch of a sky without any is far harder.
    """
    few, light = bench.linear[:, ::4, ::4], stars[:, ::4, ::4]
    if recipe.linear:
        grain = np.random.default_rng(0).standard_normal(few.shape, np.float32)
        few = few + np.float32(bench.sigma) * grain
    for _ in range(8):
        made = np.minimum(few + np.float32(gain) * light, 1)
        show, _ = bench.shown_by(made)
        seen = np.abs(show(made) - show(few)).max(axis=0)
        if (seen > _SEEN).mean() < recipe.most and (seen > 10 * _SEEN).mean() < recipe.most / 3:
            break
        gain /= 3.0
    return gain


def _finish(picture: Picture, recipe: Recipe) -> Picture:
    """Sharpening and JPEG, done to a shown picture."""
    if recipe.sharpening:
        picture = processing.sharpened(picture, recipe.sharpening, recipe.radius)
    picture = np.clip(picture, 0, 1)
    if recipe.jpeg:
        three = picture if len(picture) == 3 else np.repeat(picture, 3, axis=0)
        picture = processing.as_jpeg(three, recipe.jpeg)[: len(picture)]
    return picture.astype(np.float32, copy=False)


def render(
    background: Picture,
    field: Field,
    recipe: Recipe,
    rng: np.random.Generator,
    facts: dict | None = None,
) -> tuple[Picture, Picture]:
    """Follow a recipe.

    Parameters
    ----------
    background : ndarray, shape (C, size, size), float32, values 0 to 1
        Finished and star-free; one channel or three.
    field : Field
        Of the same shape.
    recipe : Recipe
    rng : numpy.random.Generator
        For the noise.
    facts : dict, optional
        Gets what the recipe left to the picture: ``gain``, the factor of the star light,
        and of linear scenes ``shown``, the automatic stretch.

    Returns
    -------
    input, target : ndarray, shape (C, size, size), float32, values 0 to 1
    """
    bench = (_linear if recipe.linear else _finished)(background, recipe)
    gain = _stars_gain(field, bench, recipe)
    gain = _bounded_gain(gain, bench, field.light, recipe)
    added = field.light * np.float32(gain)
    input_, target = _captured(bench.linear, added, bench, recipe, rng)
    if recipe.shift:
        input_, target = (processing.resampled(p, *recipe.shift) for p in (input_, target))
    if recipe.rounds:
        radius, rounds = recipe.radius, recipe.rounds
        input_, target = (processing.deconvolved(p, radius, rounds) for p in (input_, target))
    input_, target = (np.clip(p, 0, 1) for p in (input_, target))
    show, shown = bench.shown_by(input_)
    input_, target = show(input_), show(target)
    if recipe.whites:
        input_, target = processing.burnt_out(
            input_, target, recipe.whites, recipe.hollow, soft=recipe.soft
        )
    if recipe.film:
        over = recipe.film * sensor.grain(target.shape, rng, correlation=recipe.correlation)
        input_, target = (np.clip(p + over, 0, 1) for p in (input_, target))
    if facts is not None:
        facts |= {"gain": gain} | ({"shown": shown} if shown else {})
    if recipe.reduction:
        input_ = processing.reduced_stars(input_, target, recipe.reduction, recipe.reach)
    if recipe.recombined:
        input_ = processing.recombined(input_, target, *recipe.recombined)
    return _finish(input_, recipe), _finish(target, recipe)


def compose(
    background: np.ndarray,
    field: Field,
    rng: np.random.Generator,
    *,
    size: int = 256,
    recipe: Recipe | None = None,
    lit: bool = False,
) -> Scene:
    """Put a field of stars on a background.

    Parameters
    ----------
    background : ndarray, shape (3, h, w), values 0 to 1
        Stretched, star-free; h and w at least `size`.
    field : Field
        Its light at least `size` a side; a mono field makes a mono scene.
    rng : numpy.random.Generator
        Everything random is drawn from it.
    size : int
        Side of the scene, in pixels.
    recipe : Recipe, optional
        By default one is drawn.
    lit : bool
        Whether the brightest star lights dust about it, which stays.

    Returns
    -------
    Scene
    """
    sky, sky_place = _square(background, size, rng)
    stars, stars_place = _square(field.light, size, rng)
    tint = np.ones(len(stars))
    if field.mono:
        sky, stars = sky.mean(axis=0, keepdims=True), stars[:1]
    else:
        tint = rng.uniform(0.8, 1.25, 3)
        stars = stars * tint[:, None, None].astype(np.float32)
    recipe = recipe or random_recipe(rng, mono=field.mono)
    part = Field(stars, field.faintest, field.parameters)
    sky, relit = _relit(sky, rng)
    if lit:
        sky, relit["lit"] = _lit(sky, stars, rng)
    facts: dict = {
        **recipe.as_dict(), "mono": field.mono, "background_place": sky_place,
        "field_place": stars_place, "tint": tint.tolist(), "relit": relit,
    }  # fmt: skip
    input_, target = render(sky, part, recipe, rng, facts)
    if field.mono:
        input_, target = (np.repeat(p, 3, axis=0) for p in (input_, target))
    return Scene(input_, target, facts)
