"""A user's own pictures as scenes, and the command `nox-train finetune`."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from astropy.io import fits

pytest.importorskip("keras")

from conftest import starry

from nox_runtime.stretch import choose, statistics
from nox_train import cli, dataset, fit_command, own
from nox_train.checkpoint import Checkpoint
from nox_train.networks import build_generator
from nox_train.plans import OwnPlan, TrainingPlan
from nox_train.training import _bank_name

SIDE = 64


def _pair(height: int = 200, width: int = 220, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A linear frame in ADU and the same without its brightest light, (C, H, W)."""
    shown = starry(height, width, channels)
    adu = (1000 + 30000 * shown**3).astype(np.uint16)
    return adu, np.minimum(adu, np.uint16(1000 + 30000 * 0.27**3))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs: FITS, and TIFF with a PNG as its target."""
    folder = tmp_path / "mine"
    for name in ("input", "target"):
        (folder / name).mkdir(parents=True)
    for path, picture in zip(("input/m31.fits", "target/m31.fit"), _pair(), strict=True):
        fits.PrimaryHDU(picture[0]).writeto(folder / path)
    with_stars, without = (np.moveaxis(p, 0, -1) for p in _pair(channels=3))
    tifffile.imwrite(folder / "input" / "ngc.tif", with_stars, photometric="rgb")
    png = imagecodecs.png_encode(np.ascontiguousarray(without))
    (folder / "target" / "ngc.png").write_bytes(png)
    return folder


def test_pairs_are_shown_by_the_runtimes_stretch_of_the_input(pairs: Path) -> None:
    (m31, ngc) = own.find_pairs(pairs)
    assert [p.name for p in (*m31, *ngc)] == ["m31.fits", "m31.fit", "ngc.tif", "ngc.png"]
    one, two = own.read_pair(*m31)
    values, wanted = _pair()
    stretch = choose("auto", statistics(values))
    assert stretch.kind == "auto"  # linear
    for shown, picture in ((one, values), (two, wanted)):
        assert shown.shape == (3, 200, 220)
        np.testing.assert_allclose(shown[0] / 65535, stretch.forward(picture)[0], atol=1e-5)
        np.testing.assert_array_equal(shown[0], shown[2])
    assert (one >= two).all()
    assert (one > two).any()
    unstretched, _ = own.read_pair(*m31, "none")
    np.testing.assert_allclose(unstretched[0], values[0], atol=1)


def test_a_fits_file_beside_a_png_is_turned_over(tmp_path: Path) -> None:
    values, wanted = _pair()
    fits.PrimaryHDU(values[0]).writeto(tmp_path / "a.fits")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(wanted[0, ::-1].copy()))
    one, two = own.read_pair(tmp_path / "a.fits", tmp_path / "a.png")
    assert (one >= two).all()


def test_pictures_without_value_are_shown_as_sky(tmp_path: Path) -> None:
    values = starry(200, 220).astype(np.float32)
    values[0, :20] = np.nan
    starless = values.copy()
    starless[0, 100:110, 100:110] *= 0.9
    for name, picture in (("a", values), ("b", starless)):
        fits.PrimaryHDU(picture[0]).writeto(tmp_path / f"{name}.fits")
    one, two = own.read_pair(tmp_path / "a.fits", tmp_path / "b.fits")
    np.testing.assert_array_equal(one[0, 20:100], two[0, 20:100])
    for shown in (one, two):
        assert abs(shown[0, :20].mean() / np.median(shown[0]) - 1) < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("lost", r"input/m31\.fits: no picture of this name in .*target; give both"),
        ("cut", r"target/m31\.fit: is 100 x 200 pixels in 1 channel, but .*same pixels"),
        ("scaled", r"target/m31\.fit: its median differs from that of .* save both on the same"),
        ("damaged", r"target/m31\.fit: .*"),
        ("small", r"input/m31\.fits: 220 x 200 pixels are too few for patches of 128; give a"),
        ("none", r"input: no such folder; see docs/finetune"),
    ],
)
def test_pairs_that_do_not_fit_are_named(pairs: Path, change: str, message: str) -> None:
    target = pairs / "target" / "m31.fit"
    wanted = _pair()[1]
    folder, side = pairs, SIDE
    if change == "lost":
        target.unlink()
    elif change == "cut":
        fits.PrimaryHDU(wanted[0, :, :100]).writeto(target, overwrite=True)
    elif change == "scaled":
        fits.PrimaryHDU(wanted[0] // 2).writeto(target, overwrite=True)
    elif change == "damaged":
        target.write_bytes(b"no picture")
    elif change == "small":
        side = 128
    else:
        folder = pairs / "nowhere"
    with pytest.raises((ValueError, OSError), match=message) as caught:
        own.prepare(pairs / "work", OwnPlan(pairs=str(folder)), side)
    assert "\n" not in str(caught.value)
    assert not (pairs / "work" / "own.json").exists()


def test_pairs_the_wrong_way_round_and_names_given_twice_are_refused(
    pairs: Path, tmp_path: Path
) -> None:
    (one, two), *_ = own.find_pairs(pairs)
    with pytest.raises(ValueError, match="is brighter than"):
        own.read_pair(two, one, "auto")
    with pytest.raises(ValueError, match="is the same as"):
        own.read_pair(one, one, "auto")
    again = one.with_suffix(".png" if one.suffix != ".png" else ".tif")
    again.write_bytes(b"")
    with pytest.raises(ValueError, match="has the name of"):
        own.find_pairs(pairs)


def test_patches_that_validate_are_never_trained_on(pairs: Path, tmp_path: Path) -> None:
    folder, plan = tmp_path / "own", OwnPlan(pairs=str(pairs))
    assert own.prepare(folder, plan, SIDE)["told"] == "2 own pairs"
    rng = np.random.default_rng(0)
    train, held = (own.PairBank(folder, held_out=h) for h in (False, True))
    rows = [train.scene(rng, SIDE).parameters["y"] + SIDE for _ in range(200)]
    assert max(rows) <= 200 - SIDE  # the last 64 rows: a sixth would be too few
    scene = held.scene(rng, SIDE)
    whole = np.load(folder / f"pair-{scene.parameters['pair']:04d}.npy")[:, :, 200 - SIDE :]
    y, x = scene.parameters["y"], scene.parameters["x"]
    there = whole[:, :, y : y + SIDE, x : x + SIDE].astype(np.float32) / 65535
    assert np.sort(there, axis=None) == pytest.approx(
        np.sort(np.stack([scene.input, scene.target]), axis=None)
    )


def test_pictures_are_read_once_unless_they_change(pairs: Path, tmp_path: Path) -> None:
    folder, plan = tmp_path / "own", OwnPlan(pairs=str(pairs))
    own.prepare(folder, plan, SIDE)
    kept = folder / "pair-0000.npy"
    made = kept.stat().st_mtime_ns
    own.prepare(folder, plan, SIDE)
    assert kept.stat().st_mtime_ns == made
    own.prepare(folder, replace(plan, stretch="none"), SIDE)
    assert kept.stat().st_mtime_ns > made


class _Always(dataset.Scenes):
    def __init__(self, value: float) -> None:
        self.value = value

    def scene(self, rng: np.random.Generator, size: int) -> dataset.Scene:
        flat = np.full((3, size, size), self.value, np.float32)
        return dataset.Scene(flat, flat, {})


def test_a_mixture_keeps_its_share() -> None:
    mixed = own.Mixture(_Always(0), _Always(1), 0.3)
    inputs, _ = mixed.batch(1, 0, 1000, 1)
    assert inputs.mean() == pytest.approx(0.3, abs=0.05)


def _frames(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(2)
    for i in range(2):
        slow = np.sin(np.linspace(0, 3 + i, 260))[:, None] * np.cos(np.linspace(0, 4, 240))
        frame = 800 + 60 * slow + rng.normal(0, 8, slow.shape)
        fits.PrimaryHDU(frame.astype(np.uint16)).writeto(folder / f"frame{i}.fits")
    return folder


def test_frames_become_backgrounds_at_their_own_scale(
    tmp_path: Path, banks: Path, tiny: TrainingPlan
) -> None:
    plan = OwnPlan(frames=str(_frames(tmp_path / "frames")))
    assert own.prepare(tmp_path / "own", plan, SIDE)["told"] == "2 own star-free frames"
    bank = dataset.build_bank(banks / _bank_name(tiny.bank), tiny.bank)
    train, held = (own.FrameBank(bank, tmp_path / "own", held_out=h) for h in (False, True))
    assert train.backgrounds.shape == (96, 3, 196, 196)
    assert held.backgrounds.shape == (24, 3, SIDE, SIDE)
    # Shown like linear pictures: the sky at a quarter, the frame's own noise in it.
    assert np.median(train.backgrounds) == pytest.approx(0.25, abs=0.06)
    scene = own.Mixture(dataset.Bank(bank), train, 1.0).scene(np.random.default_rng(3), SIDE)
    assert np.abs(scene.input - scene.target).max() > 0.1


@pytest.mark.parametrize("channels", [[0, 1, 2], [1]])
def test_a_picture_without_a_value_is_refused(tmp_path: Path, channels: list[int]) -> None:
    empty = np.random.default_rng(1).random((3, 80, 80)).astype(np.float32)
    empty[channels] = np.nan
    fits.PrimaryHDU(empty).writeto(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match=r"empty\.fits: a channel of it holds no value but NaN"):
        own._opened(tmp_path / "empty.fits")


def test_frames_with_stars_are_refused(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    rng = np.random.default_rng(5)
    frame = np.full((260, 240), 800.0) + rng.normal(0, 4, (260, 240))
    for y, x in rng.integers(3, 235, (900, 2)):
        frame[y - 1 : y + 2, x - 1 : x + 2] += 4000
    fits.PrimaryHDU(frame.astype(np.float32)).writeto(tmp_path / "frames" / "sky.fits")
    with pytest.raises(ValueError, match=r"sky\.fits: shows stars wherever it is cut"):
        own.prepare(tmp_path / "own", OwnPlan(frames=str(tmp_path / "frames")), SIDE)


@pytest.mark.parametrize("kind", ["pairs", "frames"])
def test_finetune_from_files_to_a_checkpoint(
    kind: str, pairs: Path, tmp_path: Path, banks: Path, tiny: TrainingPlan,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(fit_command, "FINETUNE", replace(tiny, warm_up=1, average=0.5))
    start = tmp_path / "start.npz"
    weights = build_generator(tiny.network).get_weights()
    Checkpoint(tiny.network, {"step": 9, "seconds": 60}, weights, [], []).save(start)
    folder = pairs if kind == "pairs" else _frames(tmp_path / "frames")
    out = banks / f"finetuned-{kind}"
    command = ["finetune", f"--{kind}", str(folder), "--start-from", str(start), "-o", str(out)]
    assert cli.main([*command, "--steps", "3", "--size", "64"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "best.npz")
    told = Checkpoint.load(out / "latest.npz").told
    what = "2 own pairs" if kind == "pairs" else "2 own star-free frames"
    assert told.startswith("9 steps in 1 minutes on synthetic stars, nox-train; then 3 steps in")
    assert told.endswith(f"on synthetic stars and {what}, nox-train")
    with open(out / "log.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["0", "3"]
    assert all(float(row["own_stars"]) > 0 for row in rows)
    if kind == "pairs":  # one more: its scores do not compare with those before
        before = Checkpoint.load(out / "latest.npz").progress
        for name in ("input", "target"):
            files = sorted((folder / name).iterdir())
            files[0].with_name(f"zz{files[0].suffix}").write_bytes(files[0].read_bytes())
        assert cli.main([*command, "--steps", "5", "--size", "64"]) == 0
        with open(out / "log.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["step"] for row in rows] == ["0", "3", "5"]
        now = Checkpoint.load(out / "latest.npz").progress
        assert now["own"] != before["own"]
        assert now["start"] == before["start"]  # on standard scenes, which are the same
        assert now["best"] != before["best"]
        assert now["best"] >= float(rows[-1]["own_stars"]) - 1e-3


def test_finetune_names_what_it_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["finetune", "--pairs", str(tmp_path), "-o", str(tmp_path / "out"),
                     "--start-from", str(tmp_path / "none.npz")]) == 1  # fmt: skip
    error = capsys.readouterr().err.strip()
    assert error.startswith("nox-train: error: ")
    assert "none.npz" in error
    assert "\n" not in error
