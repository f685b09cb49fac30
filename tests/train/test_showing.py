from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nox_runtime import stretch
from nox_train import backgrounds, psf, stars
from nox_train.scenes import Scene, compose
from nox_train.showing import enlarged, lifted, shrunk


@pytest.fixture(scope="module")
def field() -> stars.Field:
    population = stars.Population(density=1500)
    return stars.star_field(512, psf.Optics(), population, np.random.default_rng(8))


def test_resized_scenes_keep_input_and_target_alike(field: stars.Field) -> None:
    rng = np.random.default_rng(3)
    scene = compose(backgrounds.procedural(128, rng), field, rng, size=64)
    for made, side in ((shrunk(scene), 32), (enlarged(scene), 128), (enlarged(scene, 4), 256)):
        assert made.input.shape == made.target.shape == (3, side, side)
        assert made.input.mean() == pytest.approx(scene.input.mean(), abs=0.01)
        assert made.parameters["resized"] == side / 64


def test_an_enlarged_scene_gets_the_same_fresh_grain_with_stars_and_without(
    field: stars.Field,
) -> None:
    rng = np.random.default_rng(3)
    scene = compose(backgrounds.procedural(128, rng), field, rng, size=64)
    grain = 0.001 * rng.standard_normal((1, 128, 128)).astype(np.float32)
    plain, made = enlarged(scene), enlarged(scene, 2, grain)
    inner = (plain.input > 0.01) & (plain.input < 0.99)
    for with_grain, without in ((made.input, plain.input), (made.target, plain.target)):
        added = np.where(inner, with_grain - without - grain, 0)
        assert abs(added).max() < 1e-6


def _dark(sky: float) -> Scene:
    """A sky with a little grain, and a star on it."""
    target = np.float32(sky) + np.random.default_rng(5).normal(0, sky / 20, (3, 64, 64))
    target = target.clip(0, 1).astype(np.float32)
    star = target.copy()
    star[:, 30:33, 30:33] = (0.5, 0.8, 1.0), (0.8, 1.0, 0.8), (1.0, 0.8, 0.5)
    return Scene(star, target, {"mono": False})


@pytest.mark.parametrize("sky", [0.0, 0.001, 0.02, 0.05])
def test_dark_skies_are_shown_to_the_network_as_the_runtime_shows_them(sky: float) -> None:
    scene = _dark(sky)
    made = lifted(scene)
    eight_bit = np.rint(scene.input * 255).astype(np.uint8)
    shown_by = stretch.choose("auto", stretch.statistics(eight_bit))
    wanted = replace(shown_by, white=(1.0,) * 3).forward(scene.input)
    np.testing.assert_allclose(made.input, wanted, atol=1e-3)
    assert np.median(made.target) == pytest.approx(0.06 * min(1, sky / 0.004), abs=0.01)
    assert made.parameters["lifted"] < 0.5
    stars_alone = np.any(scene.input != scene.target, axis=0)
    np.testing.assert_array_equal(np.any(made.input != made.target, axis=0), stars_alone)


def test_bright_skies_are_left_as_they_are() -> None:
    scene = _dark(0.1)
    assert lifted(scene) is scene
