from __future__ import annotations

import numpy as np
import pytest

from nox_train import sensor


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_noise_has_the_variance_of_its_light(correlation: float, rng: np.random.Generator) -> None:
    light = np.repeat(np.linspace(0, 0.5, 4)[:, None, None], 300, 1).repeat(300, 2)
    made = sensor.noise(light, 1e-3, 1e-4, rng, correlation=correlation)
    expected = 1e-6 + 1e-4 * light[:, 0, 0]
    assert made.var(axis=(1, 2)) == pytest.approx(expected, rel=0.06)
    assert made.mean(axis=(1, 2)) == pytest.approx(np.zeros(4), abs=4e-4)
    neighbours = np.corrcoef(made[1, :, :-1].ravel(), made[1, :, 1:].ravel())[0, 1]
    # Two points of a blurred field a pixel apart: exp(-1 / (4 sigma^2)).
    expected_neighbours = np.exp(-1 / (4 * correlation**2)) if correlation else 0.0
    assert neighbours == pytest.approx(expected_neighbours, abs=0.05)


def test_noise_of_a_mono_picture_is_the_same_in_every_channel(rng: np.random.Generator) -> None:
    made = sensor.noise(np.full((3, 40, 40), 0.2, np.float32), 1e-3, 1e-4, rng, mono=True)
    np.testing.assert_array_equal(made[0], made[2])
    other = sensor.noise(np.full((3, 40, 40), 0.2, np.float32), 1e-3, 1e-4, rng)
    assert abs(np.corrcoef(other[0].ravel(), other[2].ravel())[0, 1]) < 0.1


def test_grain_of_any_size_is_gaussian_and_differs_from_cut_to_cut(
    rng: np.random.Generator,
) -> None:
    one, two = sensor.grain((200, 1500), rng), sensor.grain((200, 1500), rng)
    assert one.std() == pytest.approx(1, abs=0.02)
    assert (np.abs(one) < 1).mean() == pytest.approx(0.6827, abs=0.01)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.02


def test_shoulder_is_straight_then_bends_and_never_reaches_over_1() -> None:
    light = np.linspace(0, 50, 1000)
    bent = sensor.shoulder(light, 0.6)
    np.testing.assert_array_equal(bent[light < 0.6], light[light < 0.6])
    assert (np.diff(bent) > 0).all()
    assert bent.max() < 1
    np.testing.assert_array_equal(sensor.shoulder(light, 1.0), np.minimum(light, 1))


@pytest.mark.parametrize("down", [True, False])
def test_blooming_keeps_the_charge_in_its_columns(down: bool) -> None:
    light = np.full((1, 61, 9), 0.1)
    light[0, 30, 4] = 10.0
    light[0, 10, 7] = 0.9  # not full: nothing moves
    seen = light if down else light.swapaxes(1, 2)
    made = sensor.bloomed(seen, down=down)
    made = made if down else made.swapaxes(1, 2)
    assert made.max() <= 1 + 1e-12
    assert made.sum() == pytest.approx(light.sum())
    assert made.sum(axis=1) == pytest.approx(light.sum(axis=1))
    # 9 full wells of surplus into room for 0.9 a pixel: five more on either side.
    assert (made[0, :, 4] > 0.999).sum() == 11
    np.testing.assert_array_equal(made[..., :4], light[..., :4])
    np.testing.assert_array_equal(made[..., 7], light[..., 7])


def test_charge_that_finds_no_room_is_lost_at_the_edge() -> None:
    made = sensor.bloomed(np.full((1, 4, 4), 5.0))
    np.testing.assert_array_equal(made, 1)


def test_fixed_pattern_has_what_was_asked_for(rng: np.random.Generator) -> None:
    factor, offset = sensor.fixed_pattern((3, 300, 200), rng, response=0.01, banding=0.002)
    assert factor.std() == pytest.approx(0.01, rel=0.05)
    assert offset.mean(axis=2).std() == pytest.approx(0.002, rel=0.2)
    assert offset.mean(axis=1).std() == pytest.approx(0.002, rel=0.2)


def test_defects_are_sharp_and_in_single_channels(rng: np.random.Generator) -> None:
    hot = sensor.hot_pixels((3, 64, 64), 20, rng)
    assert 15 <= (hot > 0).sum() <= 20
    assert ((hot > 0).sum(axis=0) <= 1).mean() > 0.99
    tracks = sensor.cosmic_rays((3, 200, 200), 30, rng, length=10)
    assert ((tracks > 0).any(axis=0)).sum() > 60
    assert tracks[tracks > 0].min() > 0
    assert tracks.max() <= 1.5


@pytest.mark.parametrize("pattern", list(sensor.BAYER_PATTERNS))
def test_demosaicing_brings_back_a_smooth_picture(pattern: str) -> None:
    yy, xx = np.mgrid[:40, :40] / 40
    picture = np.stack([0.2 + 0.5 * xx, 0.7 - 0.3 * yy, 0.1 + 0.4 * xx * yy])
    raw = sensor.mosaiced(picture, pattern)
    assert raw.shape == (40, 40)
    again = sensor.demosaiced(raw, pattern)
    inner = np.s_[:, 2:-2, 2:-2]
    np.testing.assert_allclose(again[inner], picture[inner], atol=2e-3)


def test_demosaicing_correlates_noise_and_colours_points(rng: np.random.Generator) -> None:
    flat = sensor.demosaiced(rng.standard_normal((200, 200)).astype(np.float32))
    assert np.corrcoef(flat[0, :, :-1].ravel(), flat[0, :, 1:].ravel())[0, 1] > 0.4
    point = np.zeros((3, 20, 20))
    point[:, 10, 10] = 1  # on a red filter of RGGB
    seen = sensor.demosaiced(sensor.mosaiced(point))
    assert seen[0, 10, 10] == 1
    assert seen[1].max() == seen[2].max() == 0


def test_rejection_takes_what_one_frame_has_alone(rng: np.random.Generator) -> None:
    frames = 0.3 + 0.01 * rng.standard_normal((9, 1, 50, 50))
    clean = frames.mean(axis=0)
    frames[4, 0, 20] += 0.5  # a satellite
    mean, kept = sensor.stacked(frames, 3.0)
    assert not kept[4, 0, 20].any()
    assert mean[0, 20] == pytest.approx(clean[0, 20], abs=0.02)
    assert kept.mean() > 0.9
    assert kept.sum(axis=0).min() >= 5


def test_a_satellite_crosses_one_frame_and_is_rejected_from_the_stack() -> None:
    rng = np.random.default_rng(5)
    trail = sensor.satellite((1, 128, 128), rng)[0]
    rows, columns = np.nonzero(trail > 0.5 * trail.max())
    length = np.hypot(np.ptp(rows), np.ptp(columns))
    assert length > 100
    assert len(rows) / length < 3.5
    frames = 0.1 + rng.normal(0, 0.004, (8, 1, 128, 128))
    frames[2, 0] += trail
    mean, kept = sensor.stacked(frames, 3.0)
    line = trail > 0.5 * trail.max()
    assert not kept[2, 0][line].any()
    assert mean[0][line].mean() == pytest.approx(0.1, abs=0.001)
    assert frames.mean(axis=0)[0][line].mean() > 0.1 + 0.4 * trail.max() / 8
