from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from nox_train import losses
from nox_train.plans import LossPlan


def test_the_loss_has_a_gradient_even_where_nothing_is_removed() -> None:
    """A clipped head that removes nothing must not stay so for ever."""
    import tensorflow as tf

    picture = np.full((1, 8, 8, 3), 0.2, np.float32)
    target = picture.copy()
    picture[:, 3:5, 3:5] = 0.8
    residual = tf.Variable(np.full_like(picture, -0.05))
    with tf.GradientTape() as tape:
        value = losses.regression(
            picture, target, picture - tf.nn.relu(residual), picture - residual
        )
    gradient = tape.gradient(value, residual).numpy()
    assert (gradient[0, 3:5, 3:5] < 0).all()
    assert value > 0


def test_the_loss_is_0_for_the_target() -> None:
    picture = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    assert float(losses.regression(picture, picture / 2, picture / 2, picture / 2)) == 0


def _errors(kind: str, shape: tuple[int, ...] = (1, 16, 16, 3)) -> tuple[np.ndarray, ...]:
    """Picture, target, output: no stars, and an error of 0.01 of some kind."""
    target = np.full(shape, 0.3, np.float32)
    sign = np.ones(shape, np.float32)
    if kind == "checkerboard":
        sign *= np.where(np.indices(shape[1:3]).sum(axis=0) % 2, 1, -1)[None, :, :, None]
    return target, target, target + 0.01 * sign


def test_the_default_loss_is_what_it_was() -> None:
    rng = np.random.default_rng(3)
    target, made = (rng.random((2, 8, 8, 3), np.float32) for _ in range(2))
    picture = np.minimum(target + 0.2 * rng.random(target.shape, np.float32), 1)
    light = np.maximum(np.abs(picture - target).max(-1), np.abs(picture - made).max(-1))
    weight = 1 + 6 * np.sqrt(light)[..., None]
    error = made - target
    wanted = (weight * abs(error)).mean()
    for axis in (1, 2):
        heavier = np.delete(weight, 0, axis=axis)
        wanted += 0.5 * (heavier * abs(np.diff(error, axis=axis))).mean()
    assert float(losses.regression(picture, target, made, made)) == pytest.approx(wanted, rel=1e-5)


def test_above_the_knee_stars_weigh_nearly_alike() -> None:
    light = np.array([0.0, 0.01, 0.1, 1.0], np.float32)
    plain, bent = (
        np.asarray(losses.star_weights(light, LossPlan(star_knee=knee))) for knee in (0.0, 0.05)
    )
    np.testing.assert_allclose(plain, 1 + 6 * np.sqrt(light), rtol=1e-6)
    assert bent[0] == 1
    assert bent[3] == pytest.approx(7)
    assert (bent[1:3] - 1 > 1.5 * (plain[1:3] - 1)).all()
    assert bent[2] / bent[3] > 0.8


def test_an_error_in_fine_grain_costs_more() -> None:
    rng = np.random.default_rng(5)
    fine, coarse = (
        np.float32(0.3) + np.float32(s) * rng.standard_normal((1, 64, 64, 3), np.float32)
        for s in (0.005, 0.05)
    )
    plan = LossPlan(star_weight=0, gradient=0, grain_power=0.5)
    costs = [float(losses.regression(t, t, t + 0.01, t + 0.01, plan)) for t in (fine, coarse)]
    wanted = [0.01 * np.sqrt(0.02 / (1.128 * s + 0.005)) for s in (0.005, 0.05)]
    np.testing.assert_allclose(costs, wanted, rtol=0.02)


def test_the_charbonnier_loss_is_round_at_0_and_the_error_far_off() -> None:
    plan = LossPlan(kind="charbonnier", star_weight=0, gradient=0)
    picture, target, _ = _errors("even")

    def of(error: float) -> float:
        shown = target + np.float32(error)
        return float(losses.regression(picture, target, shown, shown, plan))

    assert of(0.0) == 0
    assert of(1e-4) == pytest.approx(1e-4**2 / 2e-3, rel=0.01)
    assert of(0.1) == pytest.approx(0.1 - 1e-3, rel=0.01)


def test_rounding_makes_squares_of_errors_below_the_grain_and_of_means_below_less() -> None:
    target = _grainy(0.02, 1)
    step = float(losses.steps(target)[0, 0, 0, 0])
    knees = {0: [2 * step], 1: [2 * step, step, step / 2]}  # of pixels, and of means over 2 and 4
    for scales, own in knees.items():
        plan = LossPlan(
            kind="charbonnier", star_weight=0, gradient=0, multi_scale=scales, rounding=2.0
        )
        for error in (1e-3, 0.03, 0.5):
            shown = target + np.float32(error)
            wanted = sum(np.sqrt(error**2 + k**2) - k for k in own)
            found = float(losses.regression(target, target, shown, shown, plan))
            assert found == pytest.approx(wanted, rel=1e-3)


def test_with_rounding_the_answer_is_the_mean_of_what_is_possible() -> None:
    """A ground of 0.1 in three of four cases and 0.12 in one: the median is 0.1."""
    target = np.where(np.arange(100) % 4 == 0, 0.12, 0.1).astype(np.float32)
    target = np.broadcast_to(target[None, :, None, None], (1, 100, 2, 3)).copy()
    guesses = np.linspace(0.1, 0.12, 41, dtype=np.float32)
    best = []
    for rounding in (0.0, 20.0):
        plan = LossPlan(kind="charbonnier", star_weight=0, gradient=0, rounding=rounding)
        costs = [
            float(losses.regression(target, target, np.full_like(target, g), g + 0 * target, plan))
            for g in guesses
        ]
        best.append(guesses[int(np.argmin(costs))])
    assert best == pytest.approx([0.1, 0.105], abs=6e-4)


def test_multi_scale_sees_what_is_broad() -> None:
    """Of two errors of the same size the broad one costs three times the fine one."""
    plan = LossPlan(star_weight=0, gradient=0, multi_scale=1.0)
    broad, fine = (
        float(losses.regression(picture, target, made, made, plan))
        for picture, target, made in (_errors("even"), _errors("checkerboard"))
    )
    assert broad == pytest.approx(0.03, rel=1e-3)
    assert fine == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "generator", "judge"),
    [
        ("hinge", -0.5, 0.5 + 1.5),
        ("relativistic", np.log1p(np.exp(0.0)), np.log1p(np.exp(0.0))),
        ("classic", np.log1p(np.exp(-0.5)), np.log1p(np.exp(-0.5)) + np.log1p(np.exp(0.5))),
    ],
)
def test_adversarial_losses_are_as_published(kind: str, generator: float, judge: float) -> None:
    verdict = np.full((1, 2, 2, 1), 0.5, np.float32)
    found = [float(x) for x in losses.adversarial(verdict, verdict, kind)]
    assert found == pytest.approx([generator, judge], rel=1e-5)


@pytest.mark.parametrize("kind", ["hinge", "relativistic", "classic"])
def test_adversaries_want_opposite_things(kind: str) -> None:
    low, high = (np.full((1, 2, 2, 1), v, np.float32) for v in (-0.5, 0.5))
    fooled = [float(x) for x in losses.adversarial(high, low, kind)]
    caught = [float(x) for x in losses.adversarial(low, high, kind)]
    assert fooled[0] < caught[0]
    assert fooled[1] > caught[1]


def test_the_perceptual_distance_weighs_its_features() -> None:
    one = [np.zeros((1, 4, 4, 2), np.float32), np.zeros((1, 2, 2, 3), np.float32)]
    two = [one[0] + 1, one[1] - 3]
    assert float(losses.perceptual(one, two)) == 4
    assert float(losses.perceptual(one, two, (0.5, 2.0))) == 6.5
    assert float(losses.perceptual(one, two, (1.0,))) == 1  # the rest count nothing


def test_bad_weights_are_named() -> None:
    with pytest.raises(ValueError, match="loss is 'l2'; it must be one of"):
        LossPlan(kind="l2")
    with pytest.raises(ValueError, match="rounding is -1; it must be 0 or more"):
        LossPlan(rounding=-1)
    with pytest.raises(ValueError, match="perceptual is -1; it must be 0 or more"):
        LossPlan(perceptual=-1)


def test_the_quantile_under_a_star_is_where_the_loss_is_lowest() -> None:
    """Grounds of 0.1 to 0.2 are equally likely under the same star: 0.3 asks for 0.13."""
    grounds = np.linspace(0.1, 0.2, 101, dtype=np.float32)
    target = np.broadcast_to(grounds[None, :, None, None], (1, 101, 2, 3)).copy()
    picture = target + 0.03
    guesses = np.linspace(0.1, 0.2, 41, dtype=np.float32)
    for quantile in (0.3, 0.5):
        plan = LossPlan(star_weight=0, gradient=0, star_quantile=quantile)
        costs = [
            float(losses.regression(picture, target, np.full_like(target, g), g + 0 * target, plan))
            for g in guesses
        ]
        assert guesses[int(np.argmin(costs))] == pytest.approx(0.1 + 0.1 * quantile, abs=0.003)


def test_the_quantile_is_of_stars_alone() -> None:
    picture, target, made = _errors("flat")
    for quantile in (0.2, 0.8):
        plan = LossPlan(star_weight=0, gradient=0, star_quantile=quantile)
        assert float(losses.regression(picture, target, made, made, plan)) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("which", "wanted"), [("star_quantile", (1.0, 1.6, 1.0)), ("bright_quantile", (1.0, 1.0, 1.6))]
)
def test_each_quantile_is_of_its_stars_and_none_of_wings_below_the_grain(
    which: str, wanted: tuple[float, ...]
) -> None:
    target = _grainy(0.03, 1)
    for light, share in zip((0.02, 0.2, 0.5), wanted, strict=True):
        costs = [
            float(losses.regression(
                target + light, target, target + 0.01, target + 0.01,
                LossPlan(star_weight=0, gradient=0, **{which: quantile}),
            ))
            for quantile in (0.2, 0.5)
        ]  # fmt: skip
        assert costs[0] / costs[1] == pytest.approx(share, rel=1e-3)


@pytest.mark.parametrize("which", ["star_quantile", "bright_quantile"])
@pytest.mark.parametrize("quantile", [0.0, 1.0, float("nan")])
def test_a_quantile_lies_between_0_and_1(which: str, quantile: float) -> None:
    with pytest.raises(ValueError, match=which):
        LossPlan(**{which: quantile})


def _grainy(scale: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.float32(0.3) + np.float32(scale) * rng.standard_normal((1, 68, 68, 3), np.float32)


def test_grain_of_other_bits_is_as_good_and_smooth_or_rough_is_not() -> None:
    target, light = _grainy(0.02, 1), np.ones((1, 68, 68, 1), np.float32)
    same, smooth, rough = (
        float(losses.grain_distance(_grainy(s, 2), target, light)) for s in (0.02, 0.01, 0.04)
    )
    assert same < 0.1
    assert smooth == pytest.approx(np.log(2), abs=0.1)
    assert rough == pytest.approx(np.log(2), abs=0.1)


def test_grain_is_compared_where_stars_were() -> None:
    target, made = _grainy(0.02, 1), _grainy(0.02, 1)
    made[:, :34] = 0.3
    light = np.zeros((1, 68, 68, 1), np.float32)
    assert float(losses.grain_distance(made, target, light)) == 0
    light[:, 50:] = 1
    assert float(losses.grain_distance(made, target, light)) == pytest.approx(0, abs=1e-6)
    light[:, 10:20] = 1
    assert float(losses.grain_distance(made, target, light)) > 0.5
