from __future__ import annotations

import hashlib
import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from astropy.io import fits

from nox_train import cli, dataset, pairs
from nox_train.pairs import PairsPlan, iter_pairs

PLAN = dataset.BankPlan(fields=2, field_size=512, backgrounds=3, background_size=128)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset.build_bank(tmp_path_factory.mktemp("bank"), PLAN, workers=1)


def _sums(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_same_bytes_on_any_number_of_workers(bank: Path, tmp_path: Path) -> None:
    plan = PairsPlan(4, size=64, seed=5)
    for workers in (1, 2):
        assert list(iter_pairs(tmp_path / str(workers), bank, plan, workers)) == [0, 1, 2, 3, 4]
    one, two = _sums(tmp_path / "1"), _sums(tmp_path / "2")
    assert one == two
    assert len(one) == 4 * 3 + 1
    assert not [n for n in one if n.startswith("part")]


def test_a_broken_off_run_goes_on_and_makes_the_same(bank: Path, tmp_path: Path) -> None:
    plan = PairsPlan(4, size=64, seed=5)
    *_, done = iter_pairs(tmp_path / "whole", bank, plan)
    assert done == 4
    broken = tmp_path / "broken"
    some = iter_pairs(broken, bank, plan)
    assert [next(some), next(some)] == [0, 1]
    some.close()  # type: ignore[attr-defined]
    left = [p for p in broken.glob("*.json") if p.name != "dataset.json"]
    for told in left[1:]:
        told.unlink()
    # As a kill leaves it: a picture without its parameters, one half written.
    (broken / "part-000003_input.fits").write_bytes(b"half")
    list(iter_pairs(broken, bank, plan))
    assert _sums(broken) == _sums(tmp_path / "whole")


def test_another_seed_in_the_same_folder_is_refused(bank: Path, tmp_path: Path) -> None:
    list(iter_pairs(tmp_path, bank, PairsPlan(1, size=64, seed=5)))
    list(iter_pairs(tmp_path, bank, PairsPlan(2, size=64, seed=5)))  # more of the same
    with pytest.raises(FileExistsError, match="holds pairs of another seed, size, format or bank"):
        list(iter_pairs(tmp_path, bank, PairsPlan(2, size=64, seed=6)))


def test_formats_hold_the_same_pictures_and_all_parameters(bank: Path, tmp_path: Path) -> None:
    for format in pairs.FORMATS:
        list(iter_pairs(tmp_path / format, bank, PairsPlan(1, 64, 9, format)))
    made = fits.getdata(tmp_path / "fits" / "000000_input.fits")
    scene = pairs.make_pair(dataset.Bank(bank), PairsPlan(1, 64, 9), 0)
    np.testing.assert_array_equal(made, scene.input)
    tiff = tifffile.imread(tmp_path / "tiff" / "000000_target.tiff")
    np.testing.assert_array_equal(np.moveaxis(tiff, -1, 0), scene.target)
    png = imagecodecs.png_decode((tmp_path / "png" / "000000_target.png").read_bytes())
    assert png.dtype == np.uint16
    np.testing.assert_allclose(np.moveaxis(png, -1, 0) / 65535, scene.target, atol=1e-5)
    told = json.loads((tmp_path / "fits" / "000000.json").read_text())
    assert told["recipe"]["development"]["kind"] in ("none", "mtf", "asinh", "ghs")
    assert told["field"]["optics"]["fwhm"] > 0
    assert told["field"]["population"]["density"] > 0
    assert "objects" in told["background"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0; it must be at least 1 pair"),
        ({"count": 1, "size": 33}, "size is 33; it must be even"),
        ({"count": 1, "format": "bmp"}, "format is 'bmp'; it must be one of fits, tiff, png"),
    ],
)
def test_bad_plans_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairsPlan(**arguments)


def test_the_commands_dataset_and_preview(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    command = ["dataset", "-n", "2", "--size", "64", "--fields", "1", "--workers", "1"]
    assert cli.main([*command, "--format", "png", "-o", str(out)]) == 0
    assert len(list(out.glob("*.png"))) == 4
    assert cli.main([*command, "--seed", "2", "-o", str(out)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("nox-train: error: ")
    assert "another" in said
    other = tmp_path / "other"
    assert cli.main([*command, "--backgrounds", str(tmp_path / "none"), "-o", str(other)]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert not list(other.glob("*.json"))  # nothing that would refuse the next try


def test_preview_makes_its_pictures(tmp_path: Path) -> None:
    from PIL import Image

    assert cli.main(["preview", "--fields", "1", "--workers", "1", "-o", str(tmp_path)]) == 0
    for name in ("scenes.png", "psf.png", "fluxes.png", "recipes.png"):
        pixels = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert min(pixels.shape) > 300
        assert pixels.std() > 10
