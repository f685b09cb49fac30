from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras")

from nox_train.validation import as_channels, grain_ratio, rank


def test_the_grain_ratio_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    slow = 0.3 + 0.1 * np.sin(np.arange(64) / 60)[None, :, None, None]
    grain = rng.normal(0, 0.01, (3, 64, 64, 3))
    inside = np.zeros((3, 64, 64), bool)
    inside[:, 16:48, 16:48] = True
    assert grain_ratio(slow + 0.5 * grain, slow + grain, inside) == pytest.approx(0.5, abs=0.02)
    assert grain_ratio(slow + grain, slow + grain, inside) == 1
    inside[1:, 20:] = False  # scenes with few pixels do not count
    assert grain_ratio(slow + 0.5 * grain, slow + grain, inside) == pytest.approx(0.5, abs=0.02)
    assert np.isnan(grain_ratio(grain, grain, np.zeros_like(inside)))


def test_the_rank_of_a_first_stage_is_its_psnr() -> None:
    assert rank({"psnr_stars": 20.0, "grain": 0.2}, None, {}, judged=False) == 20


def test_a_second_stage_is_kept_for_its_grain_unless_it_costs_too_much() -> None:
    start = {"psnr_stars": 25.0, "grain": 0.8}

    def of(psnr: float, grain: float) -> float:
        return rank({"psnr_stars": psnr, "grain": grain}, None, start, judged=True)

    assert of(24.8, 0.95) > of(25.0, 0.8)
    assert of(24.8, 1.02) > of(24.8, 0.95)
    assert of(24.6, 1.0) < of(25.0, 0.8)


def test_own_pictures_may_not_cost_the_standard_ones() -> None:
    start, own = {"psnr_stars": 25.0}, {"psnr_stars": 30.0}
    better = rank({"psnr_stars": 24.8}, {"psnr_stars": 31.0}, start, judged=False)
    assert better > rank(start, own, start, judged=False)
    assert rank({"psnr_stars": 24.0}, {"psnr_stars": 40.0}, start, judged=False) < 0


def test_a_mono_network_sees_one_channel_in_turn() -> None:
    picture = np.random.default_rng(1).random((2, 4, 4, 3))
    assert as_channels(picture, 3, 5) is picture
    for index in range(4):
        np.testing.assert_array_equal(as_channels(picture, 1, index), picture[..., index % 3, None])
