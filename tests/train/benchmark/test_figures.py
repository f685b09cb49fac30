"""Each figure on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from nox_train.benchmark import figures


def spot(size: int = 64, x: float = 32, y: float = 32, width: float = 1.5) -> np.ndarray:
    yy, xx = np.mgrid[:size, :size]
    return np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * width**2))


def test_psnr_of_a_known_error() -> None:
    assert figures.psnr(np.full(50, 0.1)) == pytest.approx(20)
    assert figures.psnr(np.zeros(50)) == figures.BEST_PSNR
    assert figures.psnr(np.zeros(0)) is None


def test_ssim_is_one_for_the_same_and_less_for_another() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random((3, 32, 32)).astype(np.float32)
    assert figures.ssim_map(truth, truth) == pytest.approx(1)
    assert figures.ssim_map(truth[:, ::-1], truth).mean() < 0.5


def test_footprint_inside_outside_and_between() -> None:
    truth = np.full((3, 64, 64), 0.2)
    picture = truth.copy()
    picture[1, 10] += 0.03
    picture[2, 20] += 0.01
    inside, outside = figures.footprint(picture, truth)
    assert inside[10].all()
    assert inside.sum() == 64
    assert not outside[[10, 20]].any()
    assert outside.sum() == 62 * 64


def test_core_means_are_means_over_discs() -> None:
    values = np.zeros((20, 20))
    values[5, 5] = 1.0
    means, pixels = figures.core_means(
        values, np.array([5.2, 5.0]), np.array([4.8, 6.0]), np.array([1.0, 2.0])
    )
    np.testing.assert_allclose(pixels, [5, 13])
    np.testing.assert_allclose(means, [1 / 5, 1 / 13])


def test_removed_needs_both_most_of_the_star_and_what_can_be_seen() -> None:
    sigma, pixels = np.full(5, 0.01), np.full(5, 100.0)
    light = np.array([0.5, 0.5, 0.05, 0.05, 0.05])
    left = np.array([0.0, 0.06, 0.01, 0.02, -0.2])
    gone = figures.removed(light, left, sigma, pixels, 1.0)
    # 0.06 is 6 sigma; 0.02 of 0.05 is 40 %; what is too dark is no star.
    np.testing.assert_array_equal(gone, [True, False, True, False, True])


def test_noise_that_nobody_can_know_is_allowed_for() -> None:
    light, sigma = np.array([0.05]), np.array([0.01])
    left = np.array([0.025])
    assert figures.removed(light, left, sigma, np.array([1.0]), 1.0)
    assert not figures.removed(light, left, sigma, np.array([100.0]), 1.0)


def test_texture_that_nobody_can_know_is_allowed_for() -> None:
    light, left = np.array([0.4, 0.4]), np.array([0.06, 0.06])
    rough = np.array([0.0, 0.03])
    gone = figures.removed(light, left, np.full(2, 0.01), np.full(2, 100.0), 1.0, rough)
    np.testing.assert_array_equal(gone, [False, True])
    near, error = np.ones((64, 64), bool), -0.1 * spot(width=3.0)
    for deviation, pits in ((0.0, 1), (0.05, 0)):
        rough = np.full((64, 64), deviation)
        assert figures.count_pits(error, np.full((64, 64), 0.01), near, 3.0, 1.0, rough) == pits


@pytest.mark.parametrize("count", [0, 1, 4])
def test_pits_made_by_hand_are_counted(count: int) -> None:
    rng = np.random.default_rng(1)
    error = rng.normal(0, 0.004, (120, 120))
    for i in range(count):
        error -= 0.15 * spot(120, 20 + 25 * i, 60)
    sigma = np.full((120, 120), 0.004)
    near = np.ones((120, 120), bool)
    assert figures.count_pits(error, sigma, near, 3.0, 1.0) == count
    assert figures.count_pits(-error, sigma, near, 3.0, 1.0) == 0
    assert figures.count_pits(error, sigma, ~near, 3.0, 1.0) == 0


def test_grain_alone_makes_no_pit() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.05, (300, 300))
    every = np.ones((300, 300), bool)
    assert figures.count_pits(noise, np.full((300, 300), 0.05), every, 2.0, 1.0) <= 1


def test_halo_gives_each_annulus_in_sigma() -> None:
    yy, xx = np.mgrid[:101, :101]
    radius = np.hypot(yy - 50, xx - 50) / 4.0
    error = np.zeros((101, 101))
    for i, (low, high) in enumerate(figures.ANNULI):
        error[(radius >= low) & (radius < high)] = 0.01 * (i + 1)
    found = figures.halo(error, np.full(error.shape, 0.005), 50, 50, 4.0)
    np.testing.assert_allclose(found, [2, 4, 6, 8, 10])


def test_halo_of_a_star_at_the_corner_has_what_is_in_the_picture() -> None:
    found = figures.halo(np.ones((30, 30)), np.ones((30, 30)), 0, 0, 8.0)
    assert found[0] == 1
    assert found[-1] is None


def test_grain_ratio_of_half_the_noise_is_half() -> None:
    rng = np.random.default_rng(1)
    truth = 0.2 + rng.normal(0, 0.01, (100, 100))
    every = np.ones((100, 100), bool)
    assert figures.grain_ratio(0.2 + (truth - 0.2) / 2, truth, every) == pytest.approx(0.5)
    assert figures.grain_ratio(truth, truth, every) == pytest.approx(1)
    assert figures.grain_ratio(truth, truth, np.zeros((100, 100), bool)) is None


def test_bias_is_the_backgrounds_and_not_that_of_a_deleted_galaxy() -> None:
    error = np.full(10_000, 0.01)
    error[:50] = -0.8
    assert figures.bias(error, np.full(10_000, 0.02)) == pytest.approx(0.5, abs=0.03)


def test_small_parts_get_no_figures() -> None:
    mask = np.zeros((100, 100), bool)
    mask[0] = True
    assert not figures.enough(mask)
    mask[1] = True
    assert figures.enough(mask)


def test_tint_is_the_cast_and_not_the_brightness() -> None:
    error = np.zeros((3, 50, 50))
    error[0] += 0.06
    place = np.array([25.0]), np.array([25.0]), np.array([5.0])
    np.testing.assert_allclose(figures.tints(error, *place), [0.04])
    np.testing.assert_allclose(figures.tints(np.full((3, 50, 50), 0.2), *place), [0], atol=1e-12)


def test_untouched_counts_pixels_the_same_to_sixteen_bits() -> None:
    given = np.full((3, 10, 10), 0.5, np.float32)
    made = given.copy()
    made[0, :5] += 1e-3
    made[1, 5:] += 1e-7
    every = np.ones((10, 10), bool)
    assert figures.untouched(given, made, every) == pytest.approx(0.5)
    assert figures.untouched(given, given, ~every) is None
