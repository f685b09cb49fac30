"""The real part, on pictures made so that the answer is known, and on real ones."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from scipy import ndimage

from nox_runtime import StarRemover
from nox_runtime.batch import run_file
from nox_runtime.images import open_image
from nox_train.benchmark import real
from nox_train.benchmark.removers import FunctionRemover, NoxRemover, read_unit, write16


def opened(path: Path) -> np.ndarray:
    with open_image(path) as source:
        return source.read(0, source.shape[1], 0, source.shape[2])


@pytest.fixture(scope="module")
def sky() -> tuple[np.ndarray, np.ndarray]:
    """A stretched picture with 60 stars of 10 sigma and more, one huge; and without."""
    rng = np.random.default_rng(5)
    yy, xx = np.mgrid[:420, :420]
    truth = 0.2 + 0.03 * np.sin(xx / 90.0) + rng.normal(0, 0.01, (3, 420, 420))
    light = 1.5 * np.exp(-((xx - 210) ** 2 + (yy - 210) ** 2) / 40.0)
    for _ in range(60):
        x, y = rng.uniform(15, 405, 2)
        if np.hypot(x - 210, y - 210) > 30:
            peak = rng.uniform(0.3, 0.7)
            light += peak * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 3.2)
    return (truth + light).clip(0, 1).astype(np.float32), truth.clip(0, 1).astype(np.float32)


@pytest.fixture
def path(sky: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> Path:
    write16(tmp_path / "sky.tif", sky[0])
    return tmp_path / "sky.tif"


def test_removing_nothing_leaves_every_source(path: Path) -> None:
    row, crops = real.measure(FunctionRemover(lambda p: p, "identity"), path)
    assert row["left share"] == 1
    assert row["sources"] > 40
    assert row["pits"] == row["changed"] == 0
    assert row["brightest left"] == row["brightest"] > 3
    assert row["grain ratio"] is None
    assert row["seam"]["max"] == 0
    assert {c["kind"] for c in crops} == {"brightest star", "fullest part"}


def test_8_bit_photographs_are_given_as_nox_runtime_reads_them(tmp_path: Path) -> None:
    """Whole numbers under a black sky are lifted; the same as floats would be taken for linear."""
    rng = np.random.default_rng(3)
    picture = np.abs(rng.normal(4, 1, (3, 200, 200))).astype(np.uint8)
    picture[:, 90:93, 90:93] = 180
    imagecodecs.imwrite(tmp_path / "a.png", np.ascontiguousarray(np.moveaxis(picture, 0, -1)))
    seen = []

    class Watched(NoxRemover):
        def remove(self, given: np.ndarray, linear: bool | None) -> np.ndarray:
            seen.append(given.dtype)
            return super().remove(given, linear)

    remover = Watched()
    unit, eight = read_unit(tmp_path / "a.png")
    made = real.removed(remover, unit, False, eight)
    report = run_file(tmp_path / "a.png", tmp_path / "b.png", remover=StarRemover())
    assert report["stretch"]["kind"] == "lift"
    np.testing.assert_array_equal(np.rint(made * 255), opened(tmp_path / "b.png"))
    assert seen == [np.uint8]


def test_a_picture_that_cannot_be_measured_is_named(tmp_path: Path) -> None:
    imagecodecs.imwrite(tmp_path / "thin.png", np.zeros((1, 300), "u1"))
    result, _ = real.photographs(FunctionRemover(lambda p: p, "identity"), [tmp_path / "thin.png"])
    assert [f["name"] for f in result["failed"]] == ["thin.png"]


def test_a_sky_of_one_value_has_the_noise_of_its_steps() -> None:
    rng = np.random.default_rng(1)
    flat = np.zeros((3, 64, 64))
    flat[:, 10, 10] = (3, 4, 5)  # steps of one, and almost none of them used
    assert real.background_noise(flat.mean(axis=0), flat) == pytest.approx(12**-0.5)
    noisy = rng.normal(0, 2, (1, 512, 512)).astype(np.float32)
    assert real.background_noise(noisy[0], noisy) == pytest.approx(2, rel=0.02)
    assert real.background_noise(flat[0] * 0, flat * 0) == 1e-9


def test_a_perfect_remover_leaves_none(path: Path, sky: tuple[np.ndarray, np.ndarray]) -> None:
    remover = FunctionRemover(lambda p: sky[1], "perfect")
    row, _ = real.measure(remover, path, look_for_seams=False)
    assert row["left"] == 0
    assert row["pits"] == 0
    assert row["brightest left"] == 0
    assert row["grain ratio"] == pytest.approx(1, abs=0.1)
    for star in row["halos"]:
        assert np.abs(star["profile"]).max() < 2
        assert star["before"][0] > 20
    assert "seam" not in row


def test_holes_dug_by_hand_are_pits(path: Path, sky: tuple[np.ndarray, np.ndarray]) -> None:
    holes = sky[1].copy()
    yy, xx = np.mgrid[:420, :420]
    places = [(60, 60), (150, 90), (320, 300), (90, 350)]
    for x, y in places:
        holes -= (0.15 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 4.0)).astype(np.float32)
    row, _ = real.measure(FunctionRemover(lambda p: holes, "digger"), path, look_for_seams=False)
    assert row["pits"] == len(places)


def test_dark_places_of_the_input_are_no_pits() -> None:
    rng = np.random.default_rng(1)
    picture = rng.normal(0, 0.01, (100, 100))
    yy, xx = np.mgrid[:100, :100]
    picture -= 0.3 * np.exp(-((xx - 50) ** 2 + (yy - 50) ** 2) / 4.0)
    every = np.ones((100, 100), bool)
    assert real.new_pits(picture, picture, every, 0.01) == 0
    assert real.new_pits(np.zeros((100, 100)), picture, every, 0.01) == 1
    assert real.new_pits(np.zeros((100, 100)), picture, ~every, 0.01) == 0


def test_smooth_filling_shows_as_less_grain(sky: tuple[np.ndarray, np.ndarray]) -> None:
    truth = sky[1].mean(axis=0).astype(np.float64)
    yy, xx = np.mgrid[:420, :420]
    changed = np.hypot(yy % 84 - 42, xx % 84 - 42) < 14
    soft = ndimage.gaussian_filter(truth, 5.0)
    half = np.where(changed, soft + (truth - soft) / 2, truth)
    assert real.grain(half, changed) == pytest.approx(0.5, abs=0.05)
    assert real.grain(truth, changed) == pytest.approx(1, abs=0.05)


def test_a_glow_that_stays_is_measured(sky: tuple[np.ndarray, np.ndarray]) -> None:
    seen, truth = (p.mean(axis=0).astype(np.float64) for p in sky)
    (x, y, radius) = real.brightest(seen, 0.006)[0]
    assert (x, y) == (pytest.approx(210, abs=1), pytest.approx(210, abs=1))
    yy, xx = np.mgrid[:420, :420]
    ring = (np.hypot(yy - y, xx - x) / radius >= 2) & (np.hypot(yy - y, xx - x) / radius < 4)
    star = real.halos(seen, truth + 0.06 * ring, 0.006)[0]
    assert star["profile"][2] == pytest.approx(10, abs=2)
    assert abs(star["profile"][4]) < 2


def test_tiles_that_show_are_seams(path: Path) -> None:
    def tiled(picture: np.ndarray) -> np.ndarray:
        made = picture.copy()
        made[:, 100::100] = np.clip(made[:, 100::100] - 0.05, 0, 1)
        return made

    row, _ = real.measure(FunctionRemover(tiled), path)
    assert row["seam"]["max"] == pytest.approx(0.05, abs=0.001)


def test_linear_pictures_are_told_from_stretched_ones() -> None:
    rng = np.random.default_rng(1)
    assert real.is_linear(rng.normal(0.01, 0.0005, (1, 99, 99)))
    assert not real.is_linear(rng.normal(0.2, 0.01, (3, 99, 99)))


def test_a_file_that_fails_is_named_and_the_rest_is_done(path: Path) -> None:
    bad = path.with_name("bad.tif")
    bad.write_bytes(b"nothing")
    found, _ = real.photographs(FunctionRemover(lambda p: p, "identity"), [bad, path])
    assert found["summary"]["pictures"] == 1
    assert found["failed"][0]["name"] == "bad.tif"
    assert "bad.tif" in found["failed"][0]["reason"]


def test_a_real_photograph(astro: Path) -> None:
    path = astro / "photutils__M51.fits"
    if not path.exists():
        pytest.skip(f"no {path}")
    row, _ = real.measure(FunctionRemover(lambda p: p, "identity"), path, look_for_seams=False)
    assert row["linear"]
    assert row["sources"] == row["left"] > 30


def test_a_flat_top_is_one_star() -> None:
    yy, xx = np.mgrid[:200, :200]
    picture = np.random.default_rng(1).normal(0.2, 0.01, (200, 200))
    picture[np.hypot(yy - 90, xx - 110) < 12.3] = 1.0
    ((x, y, radius),) = real.brightest(picture, 0.01)
    assert (x, y) == (pytest.approx(110, abs=0.5), pytest.approx(90, abs=0.5))
    assert radius == pytest.approx(12.3, abs=0.7)
