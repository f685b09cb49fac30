from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nox_train import backgrounds, dataset, psf, sensor, stars
from nox_train.scenes import compose

PLAN = dataset.BankPlan(fields=2, field_size=512, backgrounds=3, background_size=128)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> dataset.Bank:
    return dataset.Bank(dataset.build_bank(tmp_path_factory.mktemp("bank"), PLAN))


def test_noise_has_the_variance_of_its_light() -> None:
    rng = np.random.default_rng(0)
    light = np.repeat(np.linspace(0, 0.5, 4)[:, None, None], 300, 1).repeat(300, 2)
    grain = sensor.noise(light, read=1e-3, gain=1e-4, rng=rng)
    expected = 1e-6 + 1e-4 * light[:, 0, 0]
    assert grain.var(axis=(1, 2)) == pytest.approx(expected, rel=0.03)
    soft = sensor.noise(light, 1e-3, 1e-4, rng, correlation=0.8)
    assert soft.var(axis=(1, 2)) == pytest.approx(expected, rel=0.06)
    assert np.corrcoef(soft[1, :, :-1].ravel(), soft[1, :, 1:].ravel())[0, 1] > 0.3


def test_shoulder_is_straight_then_bends_and_never_reaches_over_1() -> None:
    light = np.linspace(0, 50, 1000)
    bent = sensor.shoulder(light, 0.6)
    np.testing.assert_array_equal(bent[light < 0.6], light[light < 0.6])
    assert (np.diff(bent) > 0).all()
    assert bent.max() < 1
    np.testing.assert_array_equal(sensor.shoulder(light, 1.0), np.minimum(light, 1))


def test_asinh_has_its_inverse() -> None:
    x = np.linspace(0, 1, 50)
    np.testing.assert_allclose(sensor.asinh_unstretch(sensor.asinh_stretch(x, 8), 8), x)


def test_training_and_validation_share_no_picture(tmp_path: Path) -> None:
    for i in range(40):
        Image.new("RGB", (64, 64), (i, i, i)).save(tmp_path / f"{i}.png")
    plans = (dataset.BankPlan(pictures=str(tmp_path), invented=0, held_out=h) for h in (0, 1))
    one, two = (set(dataset._picture_paths(p)) for p in plans)
    assert one
    assert two
    assert not one & two


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no pictures in this folder"):
        dataset._picture_paths(dataset.BankPlan(pictures=str(tmp_path)))


def test_scenes_differ_by_stars_only() -> None:
    rng = np.random.default_rng(8)
    population = stars.Population(density=1500)
    field = stars.star_field(512, psf.Optics(), population, rng)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        background = backgrounds.procedural(256, rng)
        scene = compose(background, field.light, field.faintest, rng, size=128)
        for image in (scene.input, scene.target):
            assert image.shape == (3, 128, 128)
            assert image.dtype == np.float32
            assert 0 <= image.min() <= image.max() <= 1
        light = scene.input - scene.target
        # Shot noise of the stars darkens a pixel here and there, starlight never does.
        assert light.mean() > 0
        assert light.min() > -0.25
        none = compose(background, 0 * field.light, 1.0, np.random.default_rng(seed), size=128)
        np.testing.assert_array_equal(none.input, none.target)


def test_mono_scenes_have_equal_channels() -> None:
    rng = np.random.default_rng(8)
    field = stars.star_field(512, psf.Optics(), stars.Population(), rng)
    scene = compose(
        backgrounds.procedural(256, rng), field.light, field.faintest, rng, size=96, mono=True
    )
    for image in (scene.input, scene.target):
        np.testing.assert_array_equal(image[0], image[1])
        np.testing.assert_array_equal(image[0], image[2])


def test_mono_fields_are_mono_from_the_optics_to_the_bank() -> None:
    drawn = [np.random.default_rng([PLAN.seed, 0, 1, i]).random() < 0.2 for i in range(160)]
    assert 20 <= sum(drawn) <= 44
    first = drawn.index(True)
    for i in (first - 1, first):
        light, _, parameters = dataset._make_field((PLAN, i))
        mono = parameters["population"]["mono"]
        assert mono == (i == first)
        assert mono == (parameters["optics"]["width_ratio"] == (1.0, 1.0, 1.0))
        assert mono == bool(np.allclose(light[0], light[2], rtol=0.05, atol=0.01))


def test_a_batch_depends_on_seed_and_index_alone(bank: dataset.Bank) -> None:
    one = bank.batch(7, 3, 2, 64)
    again = dataset.Bank(bank.folder).batch(7, 3, 2, 64)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one[0], bank.batch(7, 4, 2, 64)[0])


def test_the_stream_is_in_order_on_any_number_of_workers(bank: dataset.Bank) -> None:
    for workers in (1, 2):
        batches = dataset.stream(bank.folder, seed=7, start=2, count=2, size=64, workers=workers)
        for index in (2, 3, 4):
            np.testing.assert_array_equal(next(batches), bank.batch(7, index, 2, 64))
        batches.close()  # type: ignore[attr-defined]


def test_a_finished_bank_is_used_and_a_broken_one_made_anew(
    bank: dataset.Bank, tmp_path: Path
) -> None:
    stamp = bank.folder / "bank.json"
    made = stamp.stat().st_mtime_ns
    dataset.build_bank(bank.folder, PLAN)
    assert stamp.stat().st_mtime_ns == made
    assert len(bank.fields) == 2
    (tmp_path / "fields.npy").write_bytes(b"broken off")
    again = dataset.Bank(dataset.build_bank(tmp_path, PLAN))
    np.testing.assert_array_equal(again.fields, bank.fields)
    np.testing.assert_array_equal(again.backgrounds, bank.backgrounds)
