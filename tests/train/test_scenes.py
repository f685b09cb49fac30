from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nox_runtime import stretch
from nox_train import backgrounds, processing, psf, scenes, sensor, stars
from nox_train.processing import Development
from nox_train.recipes import (
    BLACK,
    BURNT,
    FILM,
    LUPTON,
    RAW,
    RECOMBINED,
    REDUCED,
    Recipe,
    random_development,
    random_recipe,
)
from nox_train.scenes import compose, render


@pytest.fixture(scope="module")
def field() -> stars.Field:
    population = stars.Population(density=1500)
    return stars.star_field(512, psf.Optics(), population, np.random.default_rng(8))


@pytest.fixture(scope="module")
def dark(field: stars.Field) -> stars.Field:
    """The same field with its lamps off."""
    return replace(field, light=0 * field.light)


@pytest.fixture(scope="module")
def bright() -> stars.Field:
    population = stars.Population(density=600, dynamic_range=10.0)
    return stars.star_field(512, psf.Optics(), population, np.random.default_rng(8))


def test_scenes_differ_by_stars_only(field: stars.Field, dark: stars.Field) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        background = backgrounds.procedural(160, rng)
        scene = compose(background, field, rng, size=128)
        for image in (scene.input, scene.target):
            assert image.shape == (3, 128, 128)
            assert image.dtype == np.float32
            assert 0 <= image.min() <= image.max() <= 1
        light = scene.input - scene.target
        if not scene.parameters["rounds"]:  # deconvolution may dig deeper than stars shine
            assert light.mean() > 0
        json.dumps(scene.parameters)
        none = compose(background, dark, np.random.default_rng(seed), size=128)
        np.testing.assert_array_equal(none.input, none.target)


def test_mono_scenes_have_equal_channels() -> None:
    rng = np.random.default_rng(8)
    field = stars.star_field(512, psf.Optics(), stars.Population(mono=True), rng)
    for _ in range(12):
        scene = compose(backgrounds.procedural(128, rng), field, rng, size=96)
        assert scene.parameters["mono"]
        for image in (scene.input, scene.target):
            np.testing.assert_array_equal(image[0], image[1])
            np.testing.assert_array_equal(image[0], image[2])


def _flat(value: float, size: int = 256) -> np.ndarray:
    return np.full((3, size, size), value, np.float32)


def _cut(field: stars.Field, size: int = 256) -> stars.Field:
    return replace(field, light=field.light[:, :size, :size])


@pytest.mark.parametrize("kind", ["none", "mtf", "asinh", "ghs"])
def test_the_sky_has_the_grain_asked_for(kind: str, field: stars.Field) -> None:
    values = {"none": (), "mtf": (0.03,) * 3, "asinh": (200.0,), "ghs": (60.0, 2.0, 0.01)}
    recipe = Recipe(development=Development(kind, values[kind]), grain=0.012, shot_share=0.6)
    _, target = render(_flat(0.25), _cut(field), recipe, np.random.default_rng(2))
    assert target.mean() == pytest.approx(0.25, abs=0.004)
    assert target.std() == pytest.approx(0.012, rel=0.05)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_noise_has_the_variance_of_the_recipe_at_every_level(
    dark: stars.Field, share: float
) -> None:
    """``sigma^2 (1 - share)`` of read noise, and of shot noise ``sigma^2 share light / sky``."""
    develop = Development("mtf", (0.03,) * 3)
    recipe = Recipe(development=develop, grain=0.01, shot_share=share)
    levels = np.linspace(0.2, 0.8, 8)
    background = np.repeat(np.repeat(levels, 32)[None, :, None], 256, 2).repeat(3, 0)
    _, target = render(background.astype(np.float32), _cut(dark), recipe, np.random.default_rng(2))
    linear = develop.inverse(target.astype(np.float64)).reshape(3, 8, 32, 256)
    variance = linear.var(axis=(0, 2, 3))
    light = develop.inverse(levels[None].repeat(3, 0))[0]
    sky = develop.inverse(np.full((3, 1), np.median(background[:, ::4, ::4])))[0, 0]
    slope = (develop.inverse(np.full((3, 1), 0.5001)) - develop.inverse(np.full((3, 1), 0.5)))[0, 0]
    sigma = 0.01 * slope / 1e-4
    expected = sigma**2 * ((1 - share) + share * light / sky)
    np.testing.assert_allclose(variance, expected, rtol=0.1)


def test_stars_bring_their_own_shot_noise_to_the_input_alone(dark: stars.Field) -> None:
    lamp = replace(dark, light=np.full_like(dark.light, 0.2), faintest=0.2)
    recipe = Recipe(
        development=Development("none", ()), grain=0.01, shot_share=0.5, faint_sigma=30.0,
        saturated=1.0, most=2.0,
    )  # fmt: skip
    facts: dict = {}
    rng = np.random.default_rng(2)
    made, target = render(_flat(0.2), _cut(lamp), recipe, rng, facts)
    light = facts["gain"] * 0.2
    assert light == pytest.approx(0.3)
    assert made.mean() - target.mean() == pytest.approx(light, rel=0.01)
    assert target.std() == pytest.approx(0.01, rel=0.03)
    # Half of the sky's variance is shot noise of a light of 0.2.
    assert (made - target).var() == pytest.approx(0.5 * 0.01**2 * light / 0.2, rel=0.05)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_the_share_of_saturated_stars_is_the_one_asked_for(share: float) -> None:
    """Counted in fields of stars that do not touch each other; of broad ones, since a
    narrow star between pixels peaks lower than the one that the gain is reckoned from.
    """
    population = stars.Population(
        density=250, slope=0.7, dynamic_range=1e3, mono=True, double_share=0
    )
    found = drawn = 0
    for seed in range(12):
        optics = psf.Optics(fwhm=4.0, beta=5.0, aureole_share=0)
        field = stars.star_field(1024, optics, population, np.random.default_rng(seed))
        full = sensor.shoulder(field.light[0] * field.gain_of_share(share), 1.0) >= 1.0
        found += ndimage.label(full)[1]
        drawn += field.parameters["stars"]
    expected = share * drawn
    assert found == pytest.approx(expected, abs=3 * np.sqrt(expected))
    assert 3 * np.sqrt(expected) < 0.4 * expected  # else the count could tell nothing


def test_no_more_stars_are_saturated_than_the_recipe_allows() -> None:
    population = stars.Population(
        density=400, slope=0.7, dynamic_range=1e3, mono=True, double_share=0
    )
    optics = psf.Optics(fwhm=4.0, beta=5.0, aureole_share=0)
    field = stars.star_field(1024, optics, population, np.random.default_rng(3))
    most = 0.05 * field.parameters["stars"]
    for faint, fewer in ((1000.0, False), (2.0, True)):
        recipe = Recipe(
            development=Development("none", ()), grain=1e-3, faint_sigma=faint, saturated=0.05
        )
        made, _ = render(_flat(0.1, 1024), field, recipe, np.random.default_rng(2))
        found = ndimage.label(made[0] >= 1.0)[1]
        assert found < most + 3 * np.sqrt(most)
        assert fewer == (found < 0.5 * most)


def test_linear_scenes_are_shown_as_the_runtime_shows_linear_files(dark: stars.Field) -> None:
    recipe = Recipe(linear=True, noise=1e-3, pedestal=0.05, contrast=0.05)
    _, target = render(_flat(0.3), _cut(dark), recipe, np.random.default_rng(2))
    assert np.median(target) == pytest.approx(stretch.TARGET_BACKGROUND, abs=0.01)
    # Shadows at 2.8 sigma below the median leave this much grain, whatever the noise:
    # 9 / 16 of the slope of the curve there, over the width of 2.8 sigma.
    assert target.std() == pytest.approx(0.067, abs=0.01)


@pytest.mark.parametrize(("contrast", "faint"), [(0.02, 15.0), (0.05, 40.0), (0.3, 40.0)])
def test_stars_of_linear_scenes_are_dimmed_by_what_is_seen(
    field: stars.Field, contrast: float, faint: float
) -> None:
    """The automatic stretch of a flat sky without its grain would show far too much of them."""
    structure = np.linspace(0.2, 0.3, 256, dtype=np.float32) * np.ones((3, 256, 1), np.float32)
    recipe = Recipe(
        linear=True, noise=1e-3, pedestal=0.05, contrast=contrast, faint_sigma=faint, saturated=0.3,
        most=0.3,
    )  # fmt: skip
    facts: dict = {}
    made, target = render(structure, _cut(field), recipe, np.random.default_rng(2), facts)
    wanted = render(structure, _cut(field), replace(recipe, most=1.0), np.random.default_rng(2))
    seen = (np.abs(wanted[0] - wanted[1]).max(axis=0) > 0.06).mean()
    assert seen < 0.25  # nothing to be dimmed
    share = (np.abs(made - target).max(axis=0) > 0.06).mean()
    assert share == pytest.approx(seen, rel=0.05)


def test_stars_keep_to_their_share_of_the_scene(field: stars.Field) -> None:
    crowded = stars.star_field(
        512, psf.Optics(fwhm=6), stars.Population(density=20_000), np.random.default_rng(1)
    )
    recipe = Recipe(faint_sigma=20.0, saturated=0.9, most=0.3)
    made, target = render(_flat(0.2), _cut(crowded), recipe, np.random.default_rng(2))
    share = (np.abs(made - target).max(axis=0) > 0.06).mean()
    assert 0.02 < share < 0.4


@pytest.mark.parametrize(
    "changes",
    [
        {"bloom": True}, {"bayer": "RGGB"}, {"frames": 6}, {"hot": 20, "cosmics": 10},
        {"response": 0.01, "banding": 0.3}, {"sharpening": 1.5}, {"rounds": 5},
        {"reduction": 1.0}, {"reduction": 1.0, "reach": 3}, {"recombined": (0.7, 0.8)},
        {"jpeg": 85}, {"shift": (0.5, 0.5)}, {"knee": 0.5},
        {"shadows": 2.0}, {"curve": ("s", 1.5)}, {"curve": ("asinh", 6.0)}, {"correlation": 0.7},
        {"colour": 1.8}, {"whites": (1.0, 0.5, 0.8)},
        {"film": 0.03}, {"development": Development("lupton", (99.0,))},
    ],
    ids=lambda c: "-".join(c),
)  # fmt: skip
def test_each_part_of_a_recipe_does_something(changes: dict, bright: stars.Field) -> None:
    plain = Recipe(faint_sigma=1000.0, saturated=0.3)
    background = backgrounds.procedural(128, np.random.default_rng(4), objects=False)
    cut = _cut(bright, 128)
    one = render(background, cut, plain, np.random.default_rng(2))
    two = render(background, cut, replace(plain, **changes), np.random.default_rng(2))
    assert not np.array_equal(one[0], two[0])
    for picture in two:
        assert np.isfinite(picture).all()
        assert 0 <= picture.min() <= picture.max() <= 1


def test_defects_of_the_camera_stay_in_the_target(dark: stars.Field) -> None:
    recipe = Recipe(hot=30, cosmics=10, grain=0.002)
    made, target = render(_flat(0.2), _cut(dark), recipe, np.random.default_rng(2))
    assert (target > 0.5).sum() > 30
    np.testing.assert_array_equal(made, target)


def test_grain_of_film_lies_over_burnt_out_cores(bright: stars.Field) -> None:
    plain = Recipe(faint_sigma=1000.0, saturated=0.3, boost=30.0, grain=1e-4, whites=(0.9,) * 3)
    smooth, grainy = (
        render(_flat(0.3), _cut(bright), replace(plain, film=film), np.random.default_rng(2))
        for film in (0.0, 0.03)
    )
    core = smooth[0] >= 0.9 - 1e-6
    assert core.sum() > 200
    assert smooth[0][core].std() < 1e-3
    for k in (0, 1):  # the same grain with the stars and without
        np.testing.assert_allclose(grainy[k][core].std(), 0.03, rtol=0.15)
    over = grainy[1] - smooth[1]
    np.testing.assert_allclose(grainy[0], np.clip(smooth[0] + over, 0, 1), atol=1e-6)


def test_dark_rings_are_in_the_input_alone(bright: stars.Field) -> None:
    for changes in ({"sharpening": 1.5, "radius": 1.5}, {"rounds": 6, "radius": 1.6}):
        recipe = Recipe(faint_sigma=1000.0, saturated=0.3, grain=0.003, **changes)
        made, target = render(_flat(0.25), _cut(bright), recipe, np.random.default_rng(2))
        assert made.min() < target.min() - 0.03


def test_every_random_recipe_can_be_stored_and_followed(field: stars.Field) -> None:
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(60):
        recipe = random_recipe(rng)
        json.dumps(recipe.as_dict())
        seen.add("linear" if recipe.linear else recipe.development.kind)
        made, target = render(_flat(0.2, 64), _cut(field, 64), recipe, rng)
        assert np.isfinite(made).all()
        assert np.isfinite(target).all()
    assert {"linear", "mtf", "asinh", "ghs"} <= seen


def test_developments_are_drawn_from_all_kinds() -> None:
    rng = np.random.default_rng(1)
    drawn = [random_development(rng) for _ in range(300)]
    assert {d.kind for d in drawn} == {"none", "mtf", "asinh", "ghs"}
    unlinked = [d for d in drawn if d.kind == "mtf" and len(set(d.values)) > 1]
    assert 30 < len(unlinked) < 100


def test_a_scene_smaller_than_its_background_is_cut_at_random(field: stars.Field) -> None:
    background = backgrounds.procedural(128, np.random.default_rng(4))
    cuts = {
        scenes._square(background, 32, np.random.default_rng(s))[0].tobytes() for s in range(20)
    }
    assert len(cuts) == 20


def test_shadows_clipped_above_the_sky_leave_it_black(field: stars.Field) -> None:
    background = np.full((3, 160, 160), 0.1, np.float32)
    for shadows, dark in ((2.0, 0.03), (-1.0, 0.84)):
        recipe = Recipe(shadows=shadows, grain=0.02, saturated=1e-3)
        scene = compose(background, field, np.random.default_rng(4), size=128, recipe=recipe)
        assert (scene.target == 0).mean() == pytest.approx(dark, abs=0.04)
        assert (scene.input - scene.target).max() > 0.1
    nebula = np.full((3, 128, 128), 0.9, np.float32)
    part = replace(field, light=field.light[:, :128, :128])
    _, target = scenes.render(nebula, part, recipe, np.random.default_rng(4))
    assert target.mean() > 0.7


def test_recipes_are_drawn_in_the_shares_that_the_docs_state() -> None:
    rng = np.random.default_rng(8)
    drawn = [random_recipe(rng) for _ in range(4000)]
    for share, chosen in (
        (0.3, lambda r: r.linear),
        (0.1 + 0.9 * RAW, lambda r: bool(r.bayer)),
        (0.03, lambda r: r.frames > 1),
        (0.7 * FILM, lambda r: r.film > 0),
        (0.4, lambda r: r.shadows > 1),
        (BLACK, lambda r: r.shadows and r.shadows < 1),
        (0.5, lambda r: r.curve[0] == "none"),
        (0.2, lambda r: r.sharpening > 0),
        (0.05, lambda r: r.rounds > 0),
        (0.12, lambda r: r.jpeg > 0),
        (0.3 * 0.7, lambda r: r.colour > 1),
        (RAW, lambda r: r.hot > 40),
        (BURNT, lambda r: bool(r.whites)),
        (0.4 * BURNT, lambda r: bool(r.hollow)),
        (0.4 * 0.4 * 0.875 * BURNT, lambda r: bool(r.hollow) and max(r.hollow) > 0.5),
        (REDUCED, lambda r: r.reduction > 0),
        (RECOMBINED * 0.7, lambda r: bool(r.recombined)),
        (LUPTON * 0.7, lambda r: r.development.kind == "lupton"),
    ):
        slack = 4 * np.sqrt(share / len(drawn))
        assert np.mean([chosen(r) for r in drawn]) == pytest.approx(share, abs=slack)
    # What is stored was done: parts that exclude each other are not both in a recipe.
    for r in drawn:
        assert not (r.frames > 1 and (r.bayer or r.bloom or r.correlation or r.knee < 1))
        assert not (r.bayer and (r.bloom or r.correlation))
        assert not (r.bloom and r.knee < 1)
        assert not (r.linear and (r.recombined or r.development.kind == "lupton"))
    mono = [random_recipe(rng, mono=True) for _ in range(200)]
    assert {len(r.whites) for r in mono} == {0, 1}


def test_a_scene_can_be_made_again_from_its_parameters(field: stars.Field) -> None:
    """The height of the brightest star, from what is stored and the field alone."""
    background = np.full((3, 160, 160), 0.2, np.float32)
    recipe = Recipe(development=Development("none", ()), grain=1e-4, saturated=1e-3)
    scene = compose(background, field, np.random.default_rng(4), size=128, recipe=recipe)
    p = json.loads(json.dumps(scene.parameters))
    place, relit = p["field_place"], p["relit"]
    light = field.light[:, place["y"] : place["y"] + 128, place["x"] : place["x"] + 128]
    light = np.rot90(light, place["turns"], axes=(1, 2))
    light = light[:, :, ::-1] if place["flipped"] else light
    light = light * p["gain"] * np.array(p["tint"])[:, None, None]
    sky = np.full((3, 1, 1), 0.2)
    sky = sky[relit.get("order", [0, 1, 2])] * np.array(relit["gains"])[:, None, None]
    if "neutralised" in relit:
        sky = sky - np.array(relit["neutralised"])[:, None, None]
    if "gamma" in relit:
        sky = sky.clip(0, 1) ** relit["gamma"] * relit["factor"]
    sky = (sky + relit["lift"]).clip(0.01, 0.97)
    np.testing.assert_allclose(scene.target, np.broadcast_to(sky, (3, 128, 128)), atol=2e-3)
    np.testing.assert_allclose(scene.input, np.minimum(sky + light, 1), atol=0.02)


def test_linear_scenes_store_the_stretch_they_are_shown_by(field: stars.Field) -> None:
    recipe = Recipe(linear=True, noise=1e-3, pedestal=0.05)
    background = backgrounds.procedural(160, np.random.default_rng(3))
    scene = compose(background, field, np.random.default_rng(4), size=128, recipe=recipe)
    shown = scene.parameters["shown"]
    assert {k: len(v) for k, v in shown.items()} == {"black": 3, "white": 3, "midtones": 3}
    assert all(0 < m < 0.5 for m in shown["midtones"])


def test_stars_at_the_edge_of_a_moved_scene_leave_no_ghost_at_the_other() -> None:
    picture = np.zeros((3, 32, 32), np.float32)
    picture[:, 31, 31] = 1
    moved = processing.resampled(picture, 0.5, 0.5)
    assert moved[:, :16].max() == moved[:, :, :16].max() == 0
    assert moved[:, 31, 31] == pytest.approx(0.25)


def test_a_star_lights_dust_about_it_which_stays(bright: stars.Field) -> None:
    recipe = Recipe(development=Development("none", ()), grain=1e-4, faint_sigma=3000.0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        scene = compose(_flat(0.2, 160), bright, rng, size=128, recipe=recipe, lit=True)
        lit = json.loads(json.dumps(scene.parameters))["relit"]["lit"]
        y, x = lit["place"]
        star = (scene.input - scene.target).mean(axis=0)
        assert star[y, x] > 0.8 * star.max()  # burnt out, on brighter ground
        glow = (scene.target - np.median(scene.target, axis=(1, 2), keepdims=True)).max(axis=0)
        far = np.hypot(*(np.indices(glow.shape) - np.array([y, x])[:, None, None]))
        near = far < 2 * lit["width"]
        assert glow.max() > 0.03
        assert glow.max() < max(lit["colour"]) + 0.01
        assert glow[near].mean() > 2 * abs(glow[~near]).mean()


def test_hot_pixels_of_a_colour_sensor_are_spread_by_demosaicing(dark: stars.Field) -> None:
    recipe = Recipe(hot=30, bayer="RGGB", grain=1e-3)
    made, target = render(_flat(0.2), _cut(dark), recipe, np.random.default_rng(2))
    np.testing.assert_array_equal(made, target)
    spots, count = ndimage.label((np.abs(target - 0.2) > 0.02).any(axis=0))
    sizes = ndimage.sum_labels(np.ones_like(spots), spots, np.arange(1, count + 1))
    assert count > 10
    assert np.median(sizes) > 3
