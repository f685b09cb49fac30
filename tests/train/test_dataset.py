from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from nox_train import backgrounds, dataset, recipes

PLAN = dataset.BankPlan(fields=2, field_size=512, backgrounds=3, background_size=128)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> dataset.Bank:
    return dataset.Bank(dataset.build_bank(tmp_path_factory.mktemp("bank"), PLAN))


def test_training_and_validation_share_no_picture(tmp_path: Path) -> None:
    for i in range(40):
        Image.new("RGB", (64, 64), (i, i, i)).save(tmp_path / f"{i}.png")
    plans = (dataset.BankPlan(pictures=str(tmp_path), invented=0, held_out=h) for h in (0, 1))
    one, two = (set(dataset._picture_paths(p)) for p in plans)
    assert one
    assert two
    assert not one & two


def _split(folder: Path) -> tuple[set[str], set[str]]:
    plans = (dataset.BankPlan(pictures=str(folder), invented=0, held_out=h) for h in (False, True))
    one, two = (set(dataset._picture_paths(p)) for p in plans)
    return one, two


def test_a_few_pictures_are_split_too(tmp_path: Path) -> None:
    """Whatever their hashes: one for validation; where there is one alone, none of it."""
    for count in (1, 2, 3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"few{count}.png")
        one, two = _split(tmp_path)
        assert len(one | two - {""}) == count
        assert not one & two
        assert (two == {""}) == (count == 1)


def test_a_few_pictures_of_one_source_stay_on_one_side(tmp_path: Path) -> None:
    for batch, camera in ((1, "Mi3"), (1, "S90"), (2, "Mi3"), (2, "S90")):
        folder = tmp_path / f"{camera}_Aligned" / f"Batch_{batch:03d}"
        folder.mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(folder / "IMG_1Reference.bmp")
    one, two = _split(tmp_path)
    sides = [{backgrounds.describe(Path(p)).source for p in side} for side in (one, two)]
    assert sorted(len(side) for side in sides) == [1, 1]
    assert not sides[0] & sides[1]


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no pictures in this folder"):
        dataset._picture_paths(dataset.BankPlan(pictures=str(tmp_path)))


def test_mono_fields_are_mono_from_the_optics_to_the_bank() -> None:
    drawn = [np.random.default_rng([PLAN.seed, 0, 1, i]).random() < 0.2 for i in range(160)]
    assert 20 <= sum(drawn) <= 44
    first = drawn.index(True)
    for i in (first - 1, first):
        light, _, parameters = dataset._make_field((PLAN, i))
        mono = parameters["population"]["mono"]
        assert mono == (i == first)
        assert mono == bool(np.allclose(light[0], light[2], rtol=0.05, atol=0.01))


def test_a_batch_depends_on_seed_and_index_alone(bank: dataset.Bank) -> None:
    one = bank.batch(7, 3, 2, 64)
    again = dataset.Bank(bank.folder).batch(7, 3, 2, 64)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one[0], bank.batch(7, 4, 2, 64)[0])


def test_scenes_know_where_they_come_from(bank: dataset.Bank) -> None:
    rng = np.random.default_rng(1)
    made = [bank.scene(rng, 64) for _ in range(12)]
    assert {s.parameters["field"] for s in made} == {0, 1}
    assert {s.parameters["background"] for s in made} <= {0, 1, 2}
    assert len({s.parameters["background"] for s in made}) > 1
    assert len(bank.field_facts) == 2
    assert len(bank.background_facts) == 3
    for scene in made:
        mono = bank.field_facts[scene.parameters["field"]]["population"]["mono"]
        assert scene.parameters["mono"] == mono


def test_an_enlarged_scene_has_no_hot_pixels(
    bank: dataset.Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "ENLARGED", 0.5)
    monkeypatch.setattr(recipes, "RAW", 1.0)
    rng = np.random.default_rng(2)
    made = [bank.scene(rng, 64).parameters for _ in range(30)]
    large = [p for p in made if p.get("resized", 1) > 1]
    assert len(large) > 5
    assert {p["hot"] for p in large} == {0}
    assert max(p["hot"] for p in made) > 30


def test_a_banks_fields_know_how_wide_their_stars_come_out(bank: dataset.Bank) -> None:
    for facts in bank.field_facts:
        assert facts["width"] > facts["optics"]["fwhm"]


def test_the_stream_is_in_order_on_any_number_of_workers(bank: dataset.Bank) -> None:
    for workers in (1, 2):
        batches = dataset.Stream(bank.folder, seed=7, start=2, count=2, size=64, workers=workers)
        for index in (2, 3, 4):
            np.testing.assert_array_equal(next(batches), bank.batch(7, index, 2, 64))
        batches.close()


def test_the_stream_tells_what_is_ready_and_packs(bank: dataset.Bank) -> None:
    stream = dataset.Stream(bank.folder, seed=7, start=0, count=2, size=64, packed=True)
    first = next(stream)
    np.testing.assert_array_equal(first[0], dataset.pack(bank.batch(7, 0, 2, 64)[0]))
    stream._waiting[0].wait(60)
    assert stream.ready()
    stream.close()


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


def test_a_bank_whose_facts_were_cut_short_is_made_anew(bank: dataset.Bank, tmp_path: Path) -> None:
    whole = (bank.folder / "bank.json").read_text()
    (tmp_path / "bank.json").write_text(whole[: len(whole) // 2])
    again = dataset.Bank(dataset.build_bank(tmp_path, PLAN))
    np.testing.assert_array_equal(again.backgrounds, bank.backgrounds)
    assert not list(tmp_path.glob("*.part"))


def test_a_mistyped_folder_of_pictures_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "_make_field", None)
    with pytest.raises(FileNotFoundError, match="no pictures in this folder"):
        dataset.build_bank(tmp_path / "bank", replace(PLAN, pictures=str(tmp_path)))
    assert not (tmp_path / "bank").exists()


def test_bright_scenes_show_one_of_the_brightest_stars(bank: dataset.Bank) -> None:
    light = np.asarray(bank.fields[1][1], np.float32)
    blocks = light.reshape(32, 16, 32, 16).max(axis=(1, 3)).ravel()
    least = np.sort(blocks)[-4] / 1024  # light is stored times 1024
    places = set()
    for seed in range(12):
        part = bank.bright_stars(np.random.default_rng(seed), 1, 128).light
        assert part.shape == (3, 128, 128)
        assert part[1].max() >= least * 0.99
        places.add(np.unravel_index(part[1].argmax(), (128, 128)))
    assert len(places) > 8  # and not always in the middle


def test_a_giant_is_brighter_and_its_neighbours_are_not(
    bank: dataset.Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "PAIRED", 0.0)
    y, x = np.indices((256, 256))
    stars = {(104, 120): 1.0, (136, 104): 0.3}
    light = sum(p * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8) for (r, c), p in stars.items())
    few = copy.copy(bank)
    few.fields = np.broadcast_to((1024 * light).astype(np.float16), (1, 3, 256, 256))
    grown = []
    for seed in range(6):
        plain, giant = (
            few.bright_stars(np.random.default_rng(seed), 0, 256, factor).light[1]
            for factor in (1.0, 20.0)
        )
        peaks = (plain == ndimage.maximum_filter(plain, 9)) & (plain > 0.1)
        assert sorted(giant[peaks] / plain[peaks]) == pytest.approx([1.0, 20.0], rel=0.01)
        grown.append(giant.max())
    assert max(grown) == pytest.approx(20, rel=0.01)


def test_a_bright_star_may_have_a_companion(
    bank: dataset.Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x = np.indices((256, 256))
    light = np.exp(-((y - 104) ** 2 + (x - 120) ** 2) / 8)
    lone = copy.copy(bank)
    lone.fields = np.broadcast_to((1024 * light).astype(np.float16), (1, 3, 256, 256))
    found = []
    for seed in range(40):
        made = []
        for share in (0.0, 1.0):
            monkeypatch.setattr(dataset, "PAIRED", share)
            made.append(lone.bright_stars(np.random.default_rng(seed), 0, 256).light[1])
        added = made[1] - made[0]
        if added.max() < 0.05:
            continue  # one of the field's brightest places, but not near its only star
        own = np.array(np.unravel_index(made[0].argmax(), added.shape))
        other = np.array(np.unravel_index(added.argmax(), added.shape))
        apart = (other - own + 128) % 256 - 128
        assert 1 <= np.hypot(*apart) <= 31
        assert 0.09 < added.max() <= 1.01
        # The whole star again, and nothing else.
        assert added.sum() == pytest.approx(added.max() * 8 * np.pi, rel=0.05)
        found.append(np.hypot(*apart))
    assert len(found) > 8
    assert max(found) > 4 * min(found)


def test_scenes_round_a_bright_star_have_their_share(bank: dataset.Bank) -> None:
    rng = np.random.default_rng(2)
    drawn = [bank.scene(rng, 32).parameters for _ in range(150)]
    assert np.mean([p["bright"] for p in drawn]) == pytest.approx(dataset.BRIGHT, abs=0.13)
    assert max(p["boost"] for p in drawn if p["bright"]) > 30
    assert {p["bright"] for p in drawn if p["giant"] > 1} == {True}
    lit = [p["bright"] for p in drawn if "lit" in p["relit"]]
    assert 2 < len(lit) < 30
    assert np.mean(lit) > 0.3
