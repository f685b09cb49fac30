from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nox_runtime.stretch import (
    DARKEST_SKY,
    Stretch,
    choose,
    midtones,
    mtf,
    nominal_range,
    statistics,
)

MIDTONES = st.floats(0.0005, 0.9995)


@given(MIDTONES)
def test_mtf_keeps_the_ends_and_puts_midtones_at_a_half(m: float) -> None:
    np.testing.assert_allclose(mtf(np.array([0.0, m, 1.0]), m), [0, 0.5, 1], atol=1e-12)


@given(MIDTONES, st.floats(0, 1))
def test_mtf_has_an_exact_inverse(m: float, x: float) -> None:
    assert float(mtf(mtf(np.float64(x), m), 1 - m)) == pytest.approx(x, abs=1e-10)


@given(MIDTONES)
def test_single_precision_stays_in_the_display_range(m: float) -> None:
    values = np.linspace(-0.1, 1.1, 997, dtype=np.float32)[None]
    shown = Stretch("mtf", (0.0,), (1.0,), (m,)).forward(values)
    assert shown.min() == 0
    assert shown.max() == pytest.approx(1, abs=1e-6)
    assert shown.max() <= 1


def test_midtones_bring_the_background_to_the_target() -> None:
    m = midtones(0.003, 0.25)
    assert float(mtf(np.float64(0.003), m)) == pytest.approx(0.25, abs=1e-12)


def test_siril_parameters_of_a_known_channel() -> None:
    # median 0.01 and MAD 0.0004: c0 = 0.01 - 2.8 * 1.4826 * 0.0004 = 0.0083395
    values = np.array([0.0092, 0.0096, 0.01, 0.0104, 0.0108] * 20 + [0.9])
    made = choose("mtf", statistics(values[None].astype("f4")))
    c0 = 0.01 - 2.8 * 1.482602218505602 * 0.0004
    assert made.black[0] == pytest.approx(c0, rel=1e-5)
    assert made.midtones[0] == pytest.approx(midtones((0.01 - c0) / (1 - c0)), rel=1e-5)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("u1", 3, 250, (0, 255)),
        ("u2", 3, 250, (0, 65535)),
        ("f4", 0.0, 1.0, (0, 1)),
        ("f4", -0.01, 1.2, (0, 1)),
        ("f4", -5, 900, (-5, 900)),
        ("i2", 20, 5000, (0, 5000)),
        ("f4", 0, 0, (0, 1)),
    ],
)
def test_nominal_range(dtype: str, low: float, high: float, expected: tuple) -> None:
    assert nominal_range(np.dtype(dtype), low, high) == expected


def _linear(dtype: str = "u2") -> np.ndarray:
    rng = np.random.default_rng(0)
    sky = rng.normal(800, 20, (3, 80, 90))
    sky[:, 30:34, 40:44] += 30000
    return sky.clip(0, 65535).astype(dtype)


def test_auto_stretches_linear_data_and_says_why() -> None:
    made = choose("auto", statistics(_linear()))
    assert made.kind == "auto"
    assert made.reason.startswith("linear")
    assert 0.15 < np.median(made.forward(_linear())) < 0.35


def test_auto_leaves_stretched_and_8_bit_pictures() -> None:
    rng = np.random.default_rng(0)
    shown = rng.normal(0.25, 0.05, (3, 80, 90)).clip(0, 1).astype("f4")
    assert choose("auto", statistics(shown)).kind == "none"
    faint = np.full((1, 50, 50), 3, np.uint8)
    assert "8-bit" in choose("auto", statistics(faint)).reason


def _dark(level: float, dtype: str) -> np.ndarray:
    """A finished picture with a dark sky and a white star."""
    sky = np.random.default_rng(1).normal(level, 0.6 * level, (3, 80, 90)).clip(0, 1)
    sky[0] *= 1.3  # a sky of some colour
    sky[:, 30:34, 40:44] = 1.0
    scale = {"u1": 255, "u2": 65535, "f4": 1}[dtype]
    return (np.rint(sky * scale) if scale > 1 else sky).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_auto_shows_a_dark_sky_brighter_with_one_curve_for_all_channels(dtype: str) -> None:
    picture = _dark(0.03, dtype)
    made = choose("auto", statistics(picture))
    assert (made.kind, made.linear) == ("lift", False)
    assert len(set(made.midtones)) == len(set(made.black)) == len(set(made.white)) == 1
    assert f"is shown at {DARKEST_SKY}" in made.reason
    shown = made.forward(picture)
    assert np.median(shown.mean(axis=0)) == pytest.approx(DARKEST_SKY, abs=0.01)
    assert shown.min() == 0
    assert shown.max() == pytest.approx(1)
    plain = choose("none", statistics(picture))
    assert plain.kind == "none"  # who asks for it, gets it
    np.testing.assert_array_equal(made.for_eyes().forward(picture), plain.forward(picture))


def test_a_sky_that_is_bright_enough_and_a_black_one() -> None:
    """The lift begins at nothing, and is bounded where nothing can be lifted."""
    for level, kind in ((DARKEST_SKY - 0.0005, "lift"), (DARKEST_SKY + 0.0005, "none")):
        made = choose("auto", statistics(np.full((1, 20, 20), level, np.float32)))
        assert made.kind == kind
        assert made.midtones[0] == pytest.approx(0.5, abs=0.01)
    black = np.zeros((3, 40, 40), np.uint8)
    black[:, 5:8, 5:8] = 255
    made = choose("auto", statistics(black))
    assert made.kind == "lift"
    assert 0.03 < made.midtones[0] < 0.1
    assert made.forward(black).max() == 1


def test_unknown_stretch_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"stretch is 'log'; it must be one of auto, none, mtf"):
        choose("log", statistics(_linear()))


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("kind", ["auto", "none", "mtf"])
def test_nothing_taken_is_bit_identical(dtype: str, kind: str) -> None:
    picture = _linear(dtype)
    made = choose(kind, statistics(picture))
    same = made.subtract(picture, np.zeros(picture.shape, np.float32))
    assert same.dtype == picture.dtype
    assert same.tobytes() == picture.tobytes()


@given(st.floats(0.002, 0.4), st.floats(0, 0.9), st.floats(0, 1))
def test_subtract_is_the_inverse_of_the_stretched_difference(
    m: float, share: float, value: float
) -> None:
    stretch = Stretch("mtf", (100.0,), (60000.0,), (m,))
    x = np.array([[[100 + 59900 * value]]])
    taken = (stretch.forward(x) * share).astype(np.float32)
    left = stretch.forward(stretch.subtract(x, taken))
    np.testing.assert_allclose(left, stretch.forward(x) - taken, atol=2e-6)


def test_what_is_above_white_goes_with_the_star() -> None:
    stretch = Stretch("none", (0.0,), (1.0,), (0.5,))
    x = np.array([[[1.4, 1.4, 1.4]]])
    out = stretch.subtract(x, np.array([[[0.0, 1e-6, 0.5]]], np.float32))
    np.testing.assert_allclose(out, [[[1.4, 1.4, 0.5]]], atol=1e-4)


def test_a_constant_picture_is_no_trouble() -> None:
    for value in (0.0, 0.5, 1.0, 1000.0):
        flat = np.full((1, 20, 20), value, np.float32)
        made = choose("auto", statistics(flat))
        assert np.isfinite(made.forward(flat)).all()
    nothing = np.full((1, 20, 20), np.nan, np.float32)
    assert np.isfinite(choose("mtf", statistics(nothing)).midtones).all()


@given(st.floats(1e-4, 0.2))
def test_asinh_brings_the_background_to_the_target(level: float) -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(level, level / 50, (1, 60, 70)).clip(0, 1)
    picture[0, 0, 0] = 1.0
    made = choose("asinh", statistics(picture))
    assert made.kind == "asinh"
    assert made.factor[0] > 0
    shown = made.forward(picture)
    assert float(np.median(shown)) == pytest.approx(0.25, abs=0.02)
    half = made.black[0] + made.midtones[0] * (made.white[0] - made.black[0])
    assert made.forward(np.full((1, 1, 1), half)).item() == pytest.approx(0.5, abs=1e-5)


@given(st.floats(1.0, 1e6), st.floats(0, 0.9), st.floats(0, 1))
def test_asinh_has_an_exact_inverse(factor: float, share: float, value: float) -> None:
    stretch = Stretch("asinh", (100.0,), (60000.0,), (0.5,), "", (factor,))
    x = np.array([[[100 + 59900 * value]]])
    taken = (stretch.forward(x) * share).astype(np.float32)
    left = stretch.forward(stretch.subtract(x, taken))
    np.testing.assert_allclose(left, stretch.forward(x) - taken, atol=2e-6)
    np.testing.assert_array_equal(stretch.subtract(x, np.zeros_like(taken)), x)


def test_linked_parameters_are_one_set_and_keep_the_balance_of_colours() -> None:
    picture = _linear("f4") * np.float32([1, 0.8, 0.6])[:, None, None]
    apart = choose("mtf", statistics(picture))
    linked = choose("mtf", statistics(picture), linked=True)
    assert len(set(linked.midtones)) == len(set(linked.black)) == 1
    assert len(set(apart.midtones)) == 3
    shown = np.median(linked.forward(picture).reshape(3, -1), axis=1)
    assert shown[0] > shown[1] > shown[2]
    assert "linked" in linked.reason
