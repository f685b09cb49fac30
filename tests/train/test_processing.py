from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nox_train import processing
from nox_train.processing import Development

X = np.linspace(0, 1, 201)


def test_asinh_has_its_inverse() -> None:
    made = processing.asinh_stretch(X, 8)
    np.testing.assert_allclose(processing.asinh_unstretch(made, 8), X, atol=1e-12)
    assert made[[0, -1]] == pytest.approx([0, 1])


@given(
    strength=st.floats(0.5, 400),
    b=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0]),
    pivot=st.floats(0, 0.5),
)
def test_ghs_rises_from_0_to_1_and_has_its_inverse(strength: float, b: float, pivot: float) -> None:
    # Beyond this the curve is flat to the last digit, and so has no inverse.
    if b <= 0 and strength > 30:
        strength = 30.0
    made = processing.ghs_stretch(X, strength, b, pivot)
    assert made[[0, -1]] == pytest.approx([0, 1], abs=1e-9)
    assert (np.diff(made) >= 0).all()
    np.testing.assert_allclose(processing.ghs_unstretch(made, strength, b, pivot), X, atol=1e-3)


def test_ghs_is_steepest_at_its_pivot() -> None:
    x = np.linspace(0, 1, 2001)
    slope = np.diff(processing.ghs_stretch(x, 40, 1.0, 0.2))
    assert x[slope.argmax()] == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize(
    "development",
    [
        Development(),
        Development("mtf", (0.01, 0.02, 0.005)),
        Development("asinh", (300.0,)),
        Development("ghs", (50.0, 2.0, 0.02)),
    ],
    ids=lambda d: d.kind,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_developments_have_their_inverse(development: Development, channels: int) -> None:
    rng = np.random.default_rng(3)
    shown = rng.uniform(0.01, 0.99, (channels, 20, 30)).astype(np.float32)
    linear = development.inverse(shown)
    assert linear.dtype == np.float32
    assert (linear <= shown + 1e-6).all()
    np.testing.assert_allclose(development.forward(linear), shown, atol=2e-4)


def test_lupton_keeps_colours_and_has_its_inverse() -> None:
    linear = np.random.default_rng(3).uniform(1e-4, 0.02, (3, 20, 30)).astype(np.float32)
    development = Development("lupton", (20.0,))
    shown = development.forward(linear)
    assert shown.dtype == np.float32
    assert 1.3 * linear.max() < shown.max() < 1
    np.testing.assert_allclose(shown / shown.sum(axis=0), linear / linear.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(development.inverse(shown), linear, rtol=2e-5)
    # Of one channel it is the plain one, and what would be above 1 keeps its colour too.
    np.testing.assert_allclose(
        development.forward(linear[:1]),
        Development("asinh", (20.0,)).forward(linear[:1]),
        rtol=1e-5,
    )
    bright = np.array([0.9, 0.3, 0.3], np.float32)[:, None]
    np.testing.assert_allclose(development.forward(bright)[:, 0], [1, 1 / 3, 1 / 3], rtol=1e-5)


def test_an_unknown_development_is_named() -> None:
    with pytest.raises(ValueError, match="development is 'log'; it must be one of"):
        Development("log")


def test_s_curve_keeps_the_ends_and_the_middle() -> None:
    made = processing.s_curve(X, 1.6)
    assert made[[0, 100, 200]] == pytest.approx([0, 0.5, 1])
    assert made[50] < 0.25


def _star(width: float = 1.5) -> np.ndarray:
    yy, xx = np.mgrid[:41, :41] - 20
    return (0.1 + 0.8 * np.exp(-(xx**2 + yy**2) / (2 * width**2)))[None].astype(np.float32)


def test_sharpening_and_deconvolution_draw_dark_rings_round_stars_only() -> None:
    flat = np.full((1, 41, 41), 0.1, np.float32)
    for made, plain in (
        (processing.sharpened(_star(), 1.5, 1.5), processing.sharpened(flat, 1.5, 1.5)),
        (processing.deconvolved(_star(), 2.0, 6), processing.deconvolved(flat, 2.0, 6)),
    ):
        assert made[0, 20, 20] > _star().max()
        assert made.min() < 0.09
        np.testing.assert_allclose(plain, flat, rtol=1e-3)


def test_deconvolution_keeps_the_light_and_narrows_the_star() -> None:
    made = processing.deconvolved(_star(2.0), 1.5, 5)
    assert made.sum() == pytest.approx(_star(2.0).sum(), rel=0.01)

    def above_half(light: np.ndarray) -> int:
        return int((light - 0.1 > (light.max() - 0.1) / 2).sum())

    assert above_half(made) < 0.8 * above_half(_star(2.0))


def test_reduced_stars_are_smaller_and_the_rest_is_left() -> None:
    starless = np.full((1, 41, 41), 0.1, np.float32)
    made = processing.reduced_stars(_star(), starless, 1.0)
    assert (made[0] > 0.5).sum() < (_star()[0] > 0.5).sum()
    np.testing.assert_allclose(made[0, :5], _star()[0, :5], atol=1e-6)


def test_a_wider_reduction_leaves_a_small_core_in_the_glow_of_a_large_star() -> None:
    y, x = np.indices((81, 81)) - 40
    r = np.hypot(x, y)
    starless = np.full((1, 81, 81), 0.1, np.float32)
    glow = 0.3 * np.exp(-r / 15)
    picture = (starless + np.where(r < 6, 0.9, glow)).astype(np.float32).clip(0, 1)
    cores = [
        int((processing.reduced_stars(picture, starless, 1.0, reach)[0] > 0.9).sum())
        for reach in (1, 3)
    ]
    assert 0 < cores[1] < 0.5 * cores[0]
    far = r > 20
    made = processing.reduced_stars(picture, starless, 1.0, 3)[0]
    np.testing.assert_allclose(made[far], picture[0][far], atol=0.03)


def test_stars_that_are_put_back_are_dimmer_and_the_ground_is_left() -> None:
    starless = np.full((1, 41, 41), 0.1, np.float32)
    same = processing.recombined(_star(), starless, 0.5, 1.0)
    np.testing.assert_allclose(same, _star(), atol=1e-6)
    made = processing.recombined(_star(), starless, 0.8, 0.6)
    ratio = (made - starless) / np.maximum(_star() - starless, 1e-6)
    assert ratio[0, 20, 20] <= 0.6 + 1e-6
    # The fainter, the more they fade: glow goes before cores do.
    assert ratio[0, 20, 24] < ratio[0, 20, 20]
    assert made.min() >= 0.1 - 1e-6


@pytest.mark.parametrize("soft", [False, True])
def test_cores_end_at_each_channels_white_and_are_hollow_where_stars_are(soft: bool) -> None:
    y, x = np.indices((41, 41)) - 20
    sky = np.full((3, 41, 41), 0.1, np.float32)
    sky[:, 3:6, 3:6] = 1.0  # a knot that is white as well
    picture = np.minimum(sky + 5 * np.exp(-(x**2 + y**2) / 40), 1).astype(np.float32)
    whites = (1.0, 0.5, 0.8)
    plain, starless = processing.burnt_out(picture, sky, whites, soft=soft)
    np.testing.assert_allclose(plain[:, 20, 20], whites, rtol=1e-6)
    np.testing.assert_allclose(starless[:, 4, 4], whites, rtol=1e-6)
    # Bent highlights rise all the way, and the sky is hardly darker.
    rising = np.diff(plain[1, 20, :21][picture[1, 20, :21] < 0.99])
    assert (rising > 0).all() == soft
    np.testing.assert_allclose(starless[:, 20, 20], 0.1, rtol=0.1)
    hollow, same = processing.burnt_out(picture, sky, whites, (0.5, 0.0, 0.25), soft=soft)
    np.testing.assert_array_equal(same, starless)
    np.testing.assert_allclose(hollow[:, 20, 20], [0.5, 0.5, 0.6], rtol=1e-3)
    # Nothing outside a core or under the knot.
    assert (hollow == plain)[0][picture[0] < 0.95].all()
    assert (hollow == plain)[:, 3:6, 3:6].all()
    assert (hollow <= plain).all()


def test_colour_moves_pixels_away_from_their_grey_and_leaves_greys_alone() -> None:
    grey, red = np.full(3, 0.4), np.array([0.6, 0.3, 0.3])
    made = processing.coloured(np.stack([grey, red], axis=-1)[:, None], 1.5)[:, 0]
    np.testing.assert_allclose(made, np.stack([grey, [0.7, 0.25, 0.25]], axis=-1), atol=1e-6)
    np.testing.assert_array_equal(processing.coloured(_star(), 1.5), _star())


def test_jpeg_is_lossy_but_close() -> None:
    rng = np.random.default_rng(1)
    picture = rng.uniform(0.3, 0.6, (3, 32, 48)).astype(np.float32)
    made = processing.as_jpeg(picture, 90)
    assert made.shape == picture.shape
    assert 0 < np.abs(made - picture).mean() < 0.08


def test_resampling_moves_and_softens() -> None:
    made = processing.resampled(_star(), 0.5, 0.25)
    grid = np.arange(41) - 20
    light = made[0] - 0.1
    assert (light.sum(1) @ grid) / light.sum() == pytest.approx(0.5, abs=1e-3)
    assert (light.sum(0) @ grid) / light.sum() == pytest.approx(0.25, abs=1e-3)
    assert made.max() < _star().max()
