"""What odd files, odd values and stops half-way must not do."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.table import Table
from conftest import StandIn, starry

from nox_runtime import batch, cli
from nox_runtime.batch import run_file
from nox_runtime.controls import places
from nox_runtime.errors import ImageError, OutputError, UsageError
from nox_runtime.images import open_image
from nox_runtime.images.base import Sink
from nox_runtime.images.encoding import Encoding
from nox_runtime.images.fits import FitsSource
from nox_runtime.inputs import Journal
from nox_runtime.outputs import plan_outputs
from nox_runtime.preview import Preview
from nox_runtime.removal import StarRemover
from nox_runtime.stretch import Stretch
from nox_runtime.veto_files import keep_table, protect_rows


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.fits"
    fits.writeto(path, starry()[0])
    return path


@pytest.mark.parametrize("order", ["TOP-DOWN", "BOTTOM-UP"])
def test_mask_rows_are_those_of_the_starless_file(
    tmp_path: Path, stand_in: StarRemover, order: str
) -> None:
    path, before = tmp_path / "a.fits", starry()[0]
    fits.writeto(path, before, fits.Header({"ROWORDER": order}))
    made = run_file(path, remover=stand_in, mask=True)["outputs"]
    mask = fits.getdata(made["mask"])
    changed = fits.getdata(made["starless"]) != before
    assert changed.any()
    np.testing.assert_array_equal(mask > 0, changed)
    assert fits.getheader(made["mask"])["ROWORDER"] == order
    full = tmp_path / "full.fits"
    fits.writeto(full, (mask > 0).astype("f4"), fits.getheader(made["mask"]))
    again = run_file(path, tmp_path / "b.fits", remover=stand_in, protect=full)["outputs"]
    np.testing.assert_array_equal(fits.getdata(again["starless"]), before)


def test_64_bit_unsigned_values_reach_0() -> None:
    flat = Stretch("none", (0.0,), (100.0,), (0.5,))
    x = np.full((1, 1, 1), 50, "u8")
    assert flat.subtract(x, np.full((1, 1, 1), 0.5, "f4")).item() == 0


def test_any_failure_leaves_the_others_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        fits.writeto(tmp_path / f"{name}.fits", starry()[0])

    def read(self: FitsSource, *window: int) -> np.ndarray:
        if self.path.name == "a.fits":
            raise ZeroDivisionError("odd")
        return original(self, *window)

    original = FitsSource.read
    monkeypatch.setattr(FitsSource, "read", read)
    monkeypatch.setattr(cli, "_remover", lambda args: StarRemover(StandIn(), tile=128))
    assert cli.main(["run", str(tmp_path), "-q"]) == 1
    said = capsys.readouterr().err
    assert "a.fits: ZeroDivisionError: odd" in said
    assert "Traceback" not in said
    assert (tmp_path / "b_starless.fits").exists()


@pytest.mark.parametrize("size", [np.inf, np.nan])
def test_max_size_is_finite(stand_in: StarRemover, size: float) -> None:
    with pytest.raises(UsageError, match="max_size"):
        stand_in.remove(starry(), max_size=size)


@pytest.mark.parametrize("row", ["nan,3", ",3", "here,3", "inf,3"])
def test_catalogues_hold_numbers(tmp_path: Path, picture: Path, row: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(f"x,y\n1,2\n{row}\n")
    with open_image(picture) as source, pytest.raises(UsageError, match=r"c\.csv"):
        keep_table(path, source)


def test_a_masked_radius_is_none() -> None:
    table = Table({"x": [1, 2], "y": [3, 4], "radius": [5, 6]}, masked=True)
    table["radius"].mask = [False, True]
    np.testing.assert_array_equal(places(table), [[1, 3, 5], [2, 4, np.nan]])


def test_regions_behind_the_sky(tmp_path: Path) -> None:
    pytest.importorskip("regions")
    header = fits.Header({
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.0, "CRVAL2": 0.0,
        "CRPIX1": 85, "CRPIX2": 75, "CDELT1": -1e-3, "CDELT2": 1e-3,
    })  # fmt: skip
    fits.writeto(tmp_path / "a.fits", starry()[0], header)
    path = tmp_path / "r.reg"
    path.write_text('fk5\ncircle(263.0,0.0,10")\n')
    with (
        open_image(tmp_path / "a.fits") as source,
        pytest.raises(UsageError, match=r"r\.reg: a region cannot be placed"),
    ):
        protect_rows(path, source, ExitStack())


@pytest.mark.parametrize("channels", [1, 3])
def test_sip_of_colour_pictures(tmp_path: Path, channels: int) -> None:
    header = fits.Header({
        "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 83.0, "CRVAL2": 0.0,
        "CRPIX1": 85, "CRPIX2": 75, "CD1_1": -1e-3, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-3,
        "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_0_2": 1e-5,
    })  # fmt: skip
    fits.writeto(tmp_path / "a.fits", starry(channels=channels), header)
    with open_image(tmp_path / "a.fits") as source:
        assert source.wcs() is not None
        assert source.wcs().sip is not None


def test_progress_holds_no_pixels(stand_in: StarRemover) -> None:
    assert all(step.residual is None for step, _ in stand_in.iter_remove(starry()))


def test_journals(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no journal"):
        Journal(path, {})
    with pytest.raises(UsageError, match="like a picture"):
        Journal(tmp_path / "a.fits", {})
    path.write_text('{"inp')
    done = tmp_path / "done"
    done.touch()
    Journal(path, {}).add(done)
    assert json.loads(path.read_text().splitlines()[1])["input"] == str(done.resolve())
    assert Journal(path, {}).done(done, [])


def test_what_is_read_is_not_replaced(tmp_path: Path, picture: Path, stand_in: StarRemover) -> None:
    mask = tmp_path / "m.fits"
    fits.writeto(mask, np.zeros((150, 170), "f4"))
    before = mask.read_bytes()
    with pytest.raises(OutputError, match="is read for this result"):
        run_file(picture, mask, remover=stand_in, protect=mask, overwrite=True)
    assert mask.read_bytes() == before


def test_a_stop_at_the_end_leaves_none(
    tmp_path: Path, picture: Path, stand_in: StarRemover, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = Sink.complete

    def stop(self: Sink) -> None:
        if self.path.name.endswith("_stars.fits"):
            raise KeyboardInterrupt
        complete(self)

    monkeypatch.setattr(Sink, "complete", stop)
    with pytest.raises(KeyboardInterrupt):
        run_file(picture, remover=stand_in, stars=True)
    assert list(tmp_path.iterdir()) == [picture]


@pytest.mark.parametrize("late", ["preview", "catalog"])
def test_pictures_do_not_come_without_preview_and_catalogue(
    tmp_path: Path, picture: Path, stand_in: StarRemover, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    if late == "preview":
        monkeypatch.setattr(Preview, "write", stop)
    else:
        monkeypatch.setattr(batch, "write_catalog", stop)
    with pytest.raises(KeyboardInterrupt):
        run_file(picture, remover=stand_in, stars=True, preview=True, catalog=True)
    assert list(tmp_path.iterdir()) == [picture]


@pytest.mark.parametrize("name", ["a_preview.png", "a_stars.ecsv"])
def test_a_preview_or_catalogue_made_meanwhile_is_safe(
    tmp_path: Path, picture: Path, stand_in: StarRemover, name: str
) -> None:
    outputs = plan_outputs(picture, None, preview=True, catalog=True)
    steps = batch.iter_file(picture, outputs, stand_in)
    next(steps)
    (tmp_path / name).write_text("another program's")
    with pytest.raises(OutputError, match="made by another program"):
        list(steps)
    assert (tmp_path / name).read_text() == "another program's"
    assert not list(tmp_path.glob(".*"))


def test_skipping_needs_every_result(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_remover", lambda args: StarRemover(StandIn(), tile=128))
    assert cli.main(["run", str(picture), "-q", "--stars"]) == 0
    assert cli.main(["run", str(picture), "-q", "--stars", "--skip-existing"]) == 0
    (tmp_path / "a_stars.fits").unlink()
    assert cli.main(["run", str(picture), "-q", "--stars", "--skip-existing"]) == 1


def test_compressed_rows_are_unpacked_once(
    tmp_path: Path, stand_in: StarRemover, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = tmp_path / "a.fits.fz", []
    picture = (starry(700, 100)[0] * 30000).astype("i2")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(picture)]).writeto(path)
    original = FitsSource.read

    def read(self: FitsSource, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        rows.append(y1 - y0)
        return original(self, y0, y1, x0, x1)

    monkeypatch.setattr(FitsSource, "read", read)
    run_file(path, remover=stand_in)
    assert sum(rows) <= 2 * 700  # for the statistics, and for the tiles


def test_a_stack_of_mosaics_is_refused(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", starry(channels=3), fits.Header({"BAYERPAT": "RGGB"}))
    with pytest.raises(ImageError, match="BAYERPAT"):
        open_image(tmp_path / "a.fits", stack=True)


@pytest.mark.parametrize("blank", ["none", 1.5, True])
def test_a_blank_that_is_no_integer_is_none(blank: object) -> None:
    assert Encoding.of(fits.Header({"BITPIX": 16, "BLANK": blank})).blank is None


def test_an_input_taken_for_a_result_is_not_offered_for_overwriting(
    tmp_path: Path, picture: Path, stand_in: StarRemover
) -> None:
    other = tmp_path / "other.fits"
    fits.writeto(other, starry()[0])
    with pytest.raises(OutputError, match="if it is an input"):
        run_file(picture, remover=stand_in, stars=other)
    run_file(picture, remover=stand_in, stars=True)
    with pytest.raises(OutputError, match="--overwrite"):
        run_file(picture, tmp_path / "b.fits", remover=stand_in, stars=tmp_path / "a_stars.fits")


def test_tiles_that_were_left_out_are_0(tmp_path: Path) -> None:
    path, picture = tmp_path / "a.tif", np.zeros((128, 128), "u2")
    picture[:64, :64] = np.arange(64 * 64).reshape(64, 64)
    tifffile.imwrite(path, picture, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as file:
        for code in (324, 325):  # where each tile begins, and its length
            tag = file.pages[0].tags[code]
            tag.overwrite((*tag.value[:3], 0))
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(0, 128, 0, 128)[0], picture)
