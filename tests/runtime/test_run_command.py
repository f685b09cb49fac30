"""Many files, every output and every control, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from conftest import StandIn, starry

from nox_runtime import cli, model, run_command
from nox_runtime.removal import StarRemover
from nox_runtime.run_command import remover_options


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run here has the stand-in for its model."""

    def made(args: object) -> StarRemover:
        options = remover_options(args)  # type: ignore[arg-type]
        options.pop("model")
        return StarRemover(StandIn(), **{**options, "tile": options["tile"] or 128})

    monkeypatch.setattr(cli, "_remover", made)


def main(*args: object) -> int:
    return cli.main(["run", *map(str, args)])


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return [line for line in out.err.splitlines() if "error:" in line]


def sky_header() -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [83.8, -5.4]
    wcs.wcs.crpix, wcs.wcs.cdelt = [85, 75], [-1e-3, 1e-3]
    return wcs.to_header()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "m42.fits"
    fits.writeto(path, (starry() ** 3 * 40000 + 500).astype("u2")[0], sky_header())
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A folder of pictures, results of an earlier run, other files and a folder."""
    folder = tmp_path / "night"
    (folder / "dark" / "er").mkdir(parents=True)
    for k, name in enumerate(("a.fits", "b.tif", "dark/a.fits", "dark/er/c.fits")):
        data = (starry(70, 80, seed=k)[0] * 60000).astype("u2")
        if name.endswith("tif"):
            tifffile.imwrite(folder / name, data)
        else:
            fits.writeto(folder / name, data)
    fits.writeto(folder / "a_starless.fits", np.zeros((9, 9)))
    (folder / "notes.txt").write_text("clear skies")
    return folder


def data(path: Path) -> np.ndarray:
    return np.asarray(fits.getdata(path))


def test_every_output_is_written(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(picture, "-o", picture.parent / "o/", "--stars", "--descreened", "--mask",
                "--catalog", "--preview", "--json", "-q") == 0  # fmt: skip
    report = json.loads(capsys.readouterr().out.splitlines()[0])
    names = {k: Path(v).name for k, v in report["outputs"].items()}
    assert names == {
        "starless": "m42_starless.fits", "stars": "m42_stars.fits",
        "descreened": "m42_descreened.fits", "mask": "m42_mask.fits",
        "catalog": "m42_stars.ecsv", "preview": "m42_preview.png",
    }  # fmt: skip
    out = {k: Path(v) for k, v in report["outputs"].items()}
    before, starless = data(picture), data(out["starless"])
    np.testing.assert_array_equal(starless.astype(int) + data(out["stars"]), before)
    a, b = starless / 65535, data(out["descreened"]) / 65535
    np.testing.assert_allclose((1 - (1 - a) * (1 - b)) * 65535, before, atol=0.51)
    mask = data(out["mask"])
    np.testing.assert_array_equal(starless[mask == 0], before[mask == 0])
    assert fits.getheader(out["mask"])["CTYPE1"] == "RA---TAN"
    table = Table.read(out["catalog"], format="ascii.ecsv")
    assert len(table) > 10
    x, y = WCS(fits.getheader(picture)).wcs_world2pix(table["ra"], table["dec"], 0)
    np.testing.assert_allclose(x, table["x"], atol=1e-3)
    np.testing.assert_allclose(y, table["y"], atol=1e-3)
    total = data(out["stars"]).sum()
    assert table["flux"].sum() == pytest.approx(total, rel=0.05)
    import hashlib

    for name, path in out.items():
        assert report["sha256"][name] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report["versions"]["numpy"] == np.__version__
    assert report["controls"]["strength"] == 1


def test_catalogue_as_fits(picture: Path) -> None:
    out = picture.with_name("cat.fits")
    assert main(picture, "-q", f"--catalog={out}") == 0
    table = Table.read(out)
    assert {"x", "y", "ra", "dec", "flux", "fwhm", "peak", "saturated"} <= set(table.colnames)
    fits.setval(picture, "SATURATE", value=20000)
    assert main(picture, "-q", "--overwrite", f"--catalog={out}") == 0
    assert table["saturated"].sum() < Table.read(out)["saturated"].sum() < len(table)


def test_a_catalogue_keeps_its_stars_in_the_next_run(picture: Path, tmp_path: Path) -> None:
    assert main(picture, "-q", "--catalog=" + str(tmp_path / "c.ecsv")) == 0
    table = Table.read(tmp_path / "c.ecsv", format="ascii.ecsv")[:1]
    x, y = round(table["x"][0]), round(table["y"][0])
    sky = Table({"RA": table["ra"], "Dec": table["dec"]})
    pixel = Table({"x": table["x"], "y": table["y"], "radius": [9.0]})
    for k, (kept, name) in enumerate(((table, "k.ecsv"), (sky, "k.csv"), (pixel, "k.fits"))):
        kept.write(tmp_path / name, overwrite=True)
        out = tmp_path / f"o{k}.fits"
        assert main(picture, "-q", "-o", out, "--keep", tmp_path / name) == 0
        assert data(out)[y, x] == data(picture)[y, x]
        assert (data(out) != data(picture)).any()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "has the columns a, b; it must have x and y, or ra and dec"),
        ("", "not a readable catalogue"),
    ],
)
def test_wrong_catalogues(
    picture: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = picture.with_name("k.csv")
    path.write_text(text)
    assert main(picture, "-q", "--keep", path) == 1
    (line,) = errors(capsys)
    assert says in line
    assert str(path) in line


def test_strength_and_region(picture: Path, tmp_path: Path) -> None:
    outs = []
    for k, extra in enumerate(([], ["--strength", 0.5], ["--strength", 0])):
        outs.append(tmp_path / f"{k}.fits")
        assert main(picture, "-q", "-o", outs[-1], *extra) == 0
    whole, half, none = (data(o).astype(int) for o in outs)
    assert whole.sum() < half.sum() < none.sum()
    np.testing.assert_array_equal(none, data(picture))
    assert main(picture, "-q", "-o", tmp_path / "r.fits", "--region", "20:100,30:60") == 0
    part, before = data(tmp_path / "r.fits"), data(picture)
    outside = np.ones(part.shape, bool)
    outside[30:60, 20:100] = False
    np.testing.assert_array_equal(part[outside], before[outside])
    assert (part != before).any()


def test_a_wrong_region_is_a_usage_error(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(picture, "--region", "1,2,3")
    assert caught.value.code == 2
    assert "is no region; write X0:X1,Y0:Y1" in capsys.readouterr().err
    assert main(picture, "-q", "--region", "0:9999,0:5") == 1
    (line,) = errors(capsys)
    assert f"{picture}: the region is columns 0 to 9999 and rows 0 to 5" in line


def test_a_catalogue_of_a_frame_that_nobody_knows(tmp_path: Path) -> None:
    header = sky_header()
    header["RADESYS"] = "J2000"
    path = tmp_path / "a.fits"
    fits.writeto(path, (starry()[0] * 60000).astype("u2"), header)
    assert main(path, "-q", "--catalog", tmp_path / "a.fts") == 0
    table = Table.read(tmp_path / "a.fts", format="fits")
    assert len(table) > 5
    ra, dec = WCS(header).all_pix2world(table["x"], table["y"], 0)
    np.testing.assert_allclose(table["ra"], ra)
    np.testing.assert_allclose(table["dec"], dec)
    # What was written as a catalogue can be read as one.
    kept = tmp_path / "kept.fits"
    assert main(path, "-q", "-o", kept, "--keep", tmp_path / "a.fts") == 0
    changed = fits.getdata(kept) != fits.getdata(path)
    assert not changed[np.rint(table["y"]).astype(int), np.rint(table["x"]).astype(int)].any()


def test_a_catalogue_calls_nothing_ra_that_is_none(tmp_path: Path) -> None:
    header = sky_header()
    header["CTYPE1"], header["CTYPE2"] = "ELON-TAN", "ELAT-TAN"
    path = tmp_path / "a.fits"
    fits.writeto(path, (starry()[0] * 60000).astype("u2"), header)
    assert main(path, "-q", "--catalog", tmp_path / "a.ecsv") == 0
    table = Table.read(tmp_path / "a.ecsv")
    assert len(table) > 5
    assert "ra" not in table.colnames


def test_some_results_there_is_told_without_an_option_that_cannot_be_given(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(picture, "-q") == 0
    assert main(picture, "-q", "--skip-existing", "--preview") == 1
    (line,) = errors(capsys)
    assert "but not all results of" in line
    assert "--overwrite instead of --skip-existing" in line


def test_the_preview_is_as_dark_as_the_file(tmp_path: Path) -> None:
    import imagecodecs

    dark = (starry(channels=1)[0] * 160).clip(0, 255).astype("u1")
    dark[dark < 60] = 4  # a sky of 0.016, which the model is shown lifted
    fits.writeto(tmp_path / "a.fits", dark)
    assert main(tmp_path / "a.fits", "-q", "--preview", tmp_path / "a.png") == 0
    seen = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    assert np.median(seen) == 4


def test_extremes_of_the_old_pixels_are_not_those_of_the_new(tmp_path: Path) -> None:
    header = fits.Header({"DATAMIN": 700.0, "DATAMAX": 21000.0, "OBJECT": "M31"})
    fits.writeto(tmp_path / "a.fits", (starry()[0] * 60000).astype("u2"), header)
    assert main(tmp_path / "a.fits", "-q", "--stars") == 0
    stars, starless = (fits.getheader(tmp_path / f"a_{n}.fits") for n in ("stars", "starless"))
    assert "DATAMIN" not in stars
    assert "DATAMAX" not in stars
    assert stars["OBJECT"] == starless["OBJECT"] == "M31"
    assert starless["DATAMAX"] == 21000.0  # every card is kept there


@pytest.mark.parametrize("kind", ["fits", "png", "tif"])
def test_a_mask_picture_protects(picture: Path, tmp_path: Path, kind: str) -> None:
    import imagecodecs

    mask = np.zeros((150, 170), "u1")
    mask[100:] = 255  # rows of the FITS file, which shows the first at the bottom
    path = tmp_path / f"mask.{kind}"
    if kind == "fits":
        fits.writeto(path, mask / np.float32(255))
    elif kind == "tif":
        tifffile.imwrite(path, mask[::-1])
    else:
        path.write_bytes(imagecodecs.png_encode(mask[::-1].copy()))
    assert main(picture, "-q", "-o", tmp_path / "o.fits", "--protect", path) == 0
    before, after = data(picture), data(tmp_path / "o.fits")
    np.testing.assert_array_equal(before[100:], after[100:])
    assert (before[:100] != after[:100]).any()


@pytest.mark.parametrize("sky", [False, True])
def test_region_files_protect(picture: Path, tmp_path: Path, sky: bool) -> None:
    pytest.importorskip("regions")
    path = tmp_path / "a.reg"
    if sky:
        wcs = WCS(fits.getheader(picture))
        ra, dec = wcs.wcs_pix2world(60, 50, 0)
        text = f'fk5\ncircle({ra},{dec},{40 * 3.6}")\n'
    else:
        # DS9 counts from 1.
        text = "image\ncircle(61,51,40)\nellipse(130,100,20,10,30)\nbox(20,130,10,10,0)\n" \
               "polygon(100,10,120,10,120,30)\n-circle(61,51,5)\n"  # fmt: skip
    path.write_text("# Region file format: DS9 version 4.1\n" + text)
    assert main(picture, "-q", "-o", tmp_path / "o.fits", "--protect", path) == 0
    before, after = data(picture), data(tmp_path / "o.fits")
    yy, xx = np.mgrid[:150, :170]
    away = np.hypot(xx - 60, yy - 50)
    inside = (away < 38) & (away > (0 if sky else 7))
    np.testing.assert_array_equal(before[inside], after[inside])
    assert (before[away > 42] != after[away > 42]).any()
    if not sky:
        np.testing.assert_array_equal(before[126:133, 16:23], after[126:133, 16:23])


def test_wrong_protection(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits.writeto(tmp_path / "small.fits", np.zeros((9, 9), "f4"))
    fits.writeto(tmp_path / "high.fits", np.full((150, 170), 7, "f4"))
    (tmp_path / "no.reg").write_text("circle(")
    (tmp_path / "empty.reg").write_text("image\n")
    tifffile.imwrite(tmp_path / "a.tif", starry()[0].astype("f4"))
    (tmp_path / "sky.reg").write_text('fk5\ncircle(83.8,-5.4,60")\n')
    for source, name, says in (
        (picture, "small.fits", "the mask is 9 x 9, the picture 170 x 150 pixels"),
        (picture, "high.fits", "floats must be from 0 to 1"),
        (picture, "no.reg", "region"),
        (picture, "empty.reg", "holds no region"),
        (tmp_path / "a.tif", "sky.reg", "has no WCS"),
    ):
        assert main(source, "-q", "--protect", tmp_path / name) == 1
        (line,) = errors(capsys)
        assert says in line
        assert name in line


def test_a_folder_and_its_folders(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = night.parent / "out"
    assert main(night, "-o", out) == 0
    assert "2 done, 0 failed, 0 skipped" in capsys.readouterr().err
    assert sorted(p.name for p in out.iterdir()) == ["a_starless.fits", "b_starless.tif"]
    assert main(night, "-o", out, "--recursive", "--skip-existing") == 0
    assert "2 done, 0 failed, 2 skipped" in capsys.readouterr().err
    assert (out / "dark" / "a_starless.fits").exists()
    assert (out / "dark" / "er" / "c_starless.fits").exists()


def test_patterns_that_the_shell_left(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = night.parent / "out"
    assert main(f"{night}/dark/*.fits", "-o", f"{out}/", "-q") == 0
    assert [p.name for p in out.iterdir()] == ["a_starless.fits"]
    assert main(f"{night}/*.xisf", "-q") == 2
    assert "matches no file" in errors(capsys)[0]
    (night / "none").mkdir()
    assert main(night / "none", "-q") == 2
    assert "a folder without pictures" in errors(capsys)[0]


def test_resume_goes_on_where_it_stopped(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = night.parent / "out"
    (night / "dark" / "bad.fits").write_text("nothing " * 999)
    run = (night, "-o", out, "--recursive", "--resume")
    assert main(*run) == 1
    err = capsys.readouterr().err
    assert "4 done, 1 failed, 0 skipped" in err
    assert main(*run) == 1
    assert "0 done, 1 failed, 4 skipped" in capsys.readouterr().err
    # A changed input, a lost result, other settings: done again.
    (night / "dark" / "bad.fits").unlink()
    fits.writeto(night / "a.fits", np.full((30, 30), 7, "u2"), overwrite=True)
    (out / "b_starless.tif").unlink()
    assert main(*run, "--overwrite") == 0
    assert "2 done, 0 failed, 2 skipped" in capsys.readouterr().err
    assert main(*run, "--overwrite", "--strength", 0.5) == 0
    assert "4 done, 0 failed, 0 skipped" in capsys.readouterr().err
    journal = out / "nox-runtime.journal"
    journal.write_text(journal.read_text() + '{"input": "half a li')
    assert main(*run, "--strength", 0.5) == 0
    assert "0 done, 0 failed, 4 skipped" in capsys.readouterr().err
    journal.write_text("my diary\n")
    assert main(*run) == 2
    assert "is no journal" in errors(capsys)[0]


def test_dry_run_does_nothing(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(night.rglob("*"))
    assert main(night, "-o", night.parent / "out", "--recursive", "--dry-run", "--stars") == 0
    out = capsys.readouterr().out
    assert "a.fits: 1 x 70 x 80 uint16" in out
    assert f"would write {night.parent / 'out' / 'dark' / 'er' / 'c_stars.fits'}" in out
    assert sorted(night.rglob("*")) == before
    assert not (night.parent / "out").exists()
    assert main(night / "notes.txt", "--dry-run", "--json") == 1


def test_dry_run_leaves_out_what_the_run_would(
    night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = night.parent / "out"
    run = (night, "-o", out, "-q")
    assert main(*run, "--resume") == 0
    (out / "b_starless.tif").unlink()
    before = sorted(out.iterdir())
    for option, why in (
        ("--skip-existing", "its results exist"),
        ("--resume", "done already, says the journal"),
    ):
        assert main(*run, "--dry-run", option) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{night / 'a.fits'}: would be left out, {why}"
        assert lines[1:] == [
            f"{night / 'b.tif'}: 1 x 70 x 80 uint16", f"  would write {out / 'b_starless.tif'}"
        ]  # fmt: skip
    assert main(*run, "--dry-run", "--json", "--skip-existing") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"input": str(night / "a.fits"), "skip": "its results exist"}
    assert second["outputs"] == {"starless": str(out / "b_starless.tif")}
    assert main(*run, "--dry-run") == 1
    assert "a_starless.fits: exists already" in errors(capsys)[0]
    assert main(night, "-o", night.parent / "new", "--dry-run", "--resume") == 0
    assert sorted(out.iterdir()) == before
    assert not Path("nox-runtime.journal").exists()


def test_json_tells_failures_and_the_sum(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = night.parent / "out"
    bad = night / "bad.fits"
    bad.write_text("nothing " * 999)
    assert main(bad, night / "a.fits", "-o", out, "--json", "-q") == 1
    said = capsys.readouterr()
    failure, report, last = map(json.loads, said.out.splitlines())
    assert failure["input"] == str(bad)
    assert failure["kind"] == "ImageError"
    assert said.err == f"nox-runtime: error: {failure['error']}\n"
    assert report["outputs"] == {"starless": str(out / "a_starless.fits")}
    assert last == {"summary": {"done": 1, "failed": 1, "skipped": 0, "not_done": 0}}


def test_resume_looks_at_all_that_a_result_comes_from(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, stars = picture.with_name("mask.tif"), picture.with_name("k.csv")
    tifffile.imwrite(mask, np.zeros((150, 170), "u1"))
    stars.write_text("x,y,radius\n20,20,5\n")
    run = (picture, "--resume", picture.with_name("j"), "--protect", mask, "--keep", stars)

    def skipped() -> bool:
        assert main(*run, "--overwrite") == 0
        return "0 done, 0 failed, 1 skipped" in capsys.readouterr().err

    assert not skipped()
    assert skipped()
    tifffile.imwrite(mask, np.full((150, 170), 255, "u1"))
    assert not skipped()
    assert skipped()
    stars.write_text("x,y,radius\n30,30,5\n")
    assert not skipped()
    assert skipped()
    monkeypatch.setattr(run_command, "__version__", "99.0")
    assert not skipped()
    assert skipped()
    other = picture.with_name("other.onnx")
    other.write_bytes(b"another model")
    monkeypatch.setattr(model, "find_model", lambda name: other)
    assert not skipped()
    assert skipped()
    other.write_bytes(b"trained further")
    assert not skipped()


def test_resume_goes_on_after_a_crash_between_the_names_of_results(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that ends without a word after the first of three files has its name."""
    code = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from conftest import StandIn\n"
        "from nox_runtime import cli\nfrom nox_runtime.images import base\n"
        "from nox_runtime.removal import StarRemover\n"
        "cli._remover = lambda args: StarRemover(StandIn(), tile=128)\n"
        "give = base.give_name\n"
        "base.give_name = lambda *args: (give(*args), os._exit(9))\n"
        "cli.main(sys.argv[1:])"
    )
    run = (str(picture), "--stars", "--mask", "--resume", str(picture.with_name("j")))
    done = subprocess.run([sys.executable, "-c", code, "run", *run], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    starless, stars = picture.with_name("m42_starless.fits"), picture.with_name("m42_stars.fits")
    assert starless.exists()
    assert not stars.exists()
    # Not its own run: it does not know what that is.
    assert main(picture, "-q", "--stars", "--mask") == 1
    assert "exists already" in errors(capsys)[0]
    assert main(*run) == 0
    np.testing.assert_array_equal(data(starless).astype(int) + data(stars), data(picture))
    assert not [p for p in picture.parent.glob(".m42*") if p.stat().st_nlink > 1]


def test_compressed_by_default_name(picture: Path) -> None:
    assert main(picture, "-q", "--compress") == 0
    assert picture.with_name("m42_starless.fits.fz").exists()


def test_options_that_exclude_one_another(picture: Path) -> None:
    for pair in (["--overwrite", "--skip-existing"], ["-q", "-v"]):
        with pytest.raises(SystemExit):
            main(picture, *pair)


def test_verbose_tells_the_stages(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(picture, "-v", "--stretch", "asinh", "--linked") == 0
    err = capsys.readouterr().err
    assert "factor" in err
    assert "seconds: open" in err
    assert "network" in err
