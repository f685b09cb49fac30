from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from astropy.io import fits
from conftest import starry

from nox_runtime import cli, samples
from nox_runtime.cli import main
from nox_runtime.model import find_model


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "m42.fits"
    fits.writeto(path, (starry() ** 3 * 4000 + 500).astype("u2")[0])
    return path


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was complained about; nothing else may look like a traceback."""
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return [line for line in out.err.splitlines() if "error:" in line]


def test_run_writes_what_was_asked_for_and_says_so(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(picture), "--stars", "--preview"]) == 0
    out = capsys.readouterr()
    assert out.out == ""
    for name in ("m42_starless.fits", "m42_stars.fits", "m42_preview.png"):
        assert picture.with_name(name).stat().st_size > 1000
        assert f"wrote {picture.with_name(name)}" in out.err
    assert "stretch auto (linear" in out.err
    assert "on cpu" in out.err


def test_run_prints_a_json_line_a_file(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(picture), "--json", "-q", "-o", str(picture.parent / "out.fits")]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    report, last = map(json.loads, out.out.splitlines())
    assert report["outputs"] == {"starless": str(picture.parent / "out.fits")}
    assert last == {"summary": {"done": 1, "failed": 0, "skipped": 0, "not_done": 0}}


@pytest.mark.parametrize("asked", [True, False])
def test_the_report_tells_how_it_was_looked_for(
    asked: bool, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--large-stars", "--passes", "2"] if asked else []
    assert main(["run", str(picture), "--json", "-q", *options]) == 0
    controls = json.loads(capsys.readouterr().out.splitlines()[0])["controls"]
    assert controls["large stars"] is asked
    assert controls["passes"] == 1 + asked
    assert not controls["upsample"]


def _empty(folder: Path) -> Path:
    (folder / "empty.fits").touch()
    return folder / "empty.fits"


def _no_image(folder: Path) -> Path:
    (folder / "notes.fits").write_text("this is no picture at all, just a text " * 200)
    return folder / "notes.fits"


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("hello")
    return folder / "notes.txt"


def _no_data(folder: Path) -> Path:
    fits.HDUList([fits.PrimaryHDU()]).writeto(folder / "table.fits")
    return folder / "table.fits"


def _spectrum(folder: Path) -> Path:
    fits.writeto(folder / "spectrum.fits", np.zeros(100, "f4"))
    return folder / "spectrum.fits"


def _cut(folder: Path) -> Path:
    fits.writeto(folder / "cut.fits", np.zeros((300, 300), "f4"))
    data = (folder / "cut.fits").read_bytes()
    (folder / "cut.fits").write_bytes(data[:100_000])
    return folder / "cut.fits"


def _cut_gz(folder: Path) -> Path:
    fits.writeto(folder / "cut.fits.gz", np.random.default_rng(0).random((99, 99)))
    data = (folder / "cut.fits.gz").read_bytes()
    (folder / "cut.fits.gz").write_bytes(data[:30_000])
    return folder / "cut.fits.gz"


def _cut_fz(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    hdu = fits.CompImageHDU(rng.integers(0, 9999, (300, 300)).astype("i2"))
    hdu.writeto(folder / "cut.fits.fz")
    data = (folder / "cut.fits.fz").read_bytes()
    (folder / "cut.fits.fz").write_bytes(data[: len(data) * 6 // 10])
    return folder / "cut.fits.fz"


def _odd_axes(folder: Path) -> Path:
    fits.writeto(folder / "odd.fits", np.zeros((30, 30), "f4"))
    data = (folder / "odd.fits").read_bytes()
    data = data.replace(b"NAXIS1  =" + b"30".rjust(21), b"NAXIS1  =" + b"xx".rjust(21))
    (folder / "odd.fits").write_bytes(data)
    return folder / "odd.fits"


def _bayer(folder: Path) -> Path:
    hdu = fits.PrimaryHDU(np.zeros((30, 30), "u2"))
    hdu.header["BAYERPAT"] = "RGGB"
    hdu.writeto(folder / "raw.fits")
    return folder / "raw.fits"


def _bad_tiff(folder: Path) -> Path:
    (folder / "bad.tif").write_bytes(b"II*\0 and nothing more")
    return folder / "bad.tif"


def _pages(folder: Path) -> Path:
    tifffile.imwrite(folder / "pages.tif", np.zeros((4, 30, 30), "u2"), photometric="minisblack")
    return folder / "pages.tif"


def _bad_png(folder: Path) -> Path:
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    return folder / "bad.png"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_empty, "an empty file; make or fetch it again"),
        (_no_image, "not a readable FITS file"),
        (_text, "not a picture of a known format; give one of .fits"),
        (_no_data, "a FITS file without image data; give one that holds a picture"),
        (_spectrum, "holds no mono or RGB picture (only 100); give one with axes"),
        (_cut, "truncated"),
        (_cut_gz, "cannot be unpacked"),
        (_cut_fz, "its compressed pixels are damaged"),
        (_odd_axes, "not a readable FITS file"),
        (_bayer, "raw colour mosaic (BAYERPAT 'RGGB'); debayer it first"),
        (_bad_tiff, "not a readable picture"),
        (_pages, "holds 4 pages; split it"),
        (_bad_png, "not a readable picture"),
        (lambda folder: folder / "nowhere.fits", "no such file; check the name"),
    ],
)
def test_bad_input_is_one_clear_line(
    make: object, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    before = sorted(tmp_path.iterdir())
    assert main(["run", str(path), "-q"]) == 1
    lines = errors(capsys)
    assert len(lines) == 1
    assert lines[0].startswith(f"nox-runtime: error: {path}")
    assert says in lines[0]
    assert sorted(tmp_path.iterdir()) == before


def test_unwritable_output(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = picture.parent / "missing" / "out.fits"
    assert main(["run", str(picture), "-q", "-o", str(out)]) == 1
    assert "its folder does not exist" in errors(capsys)[0]
    if not Path("/proc").is_dir():
        pytest.skip("no /proc, which takes no new files, not even from root")
    assert main(["run", str(picture), "-q", "-o", "/proc/out.fits"]) == 1
    (line,) = errors(capsys)
    assert "/proc/out.fits: cannot be written" in line
    assert "choose another folder with -o" in line


def test_existing_output(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = picture.with_name("m42_starless.fits")
    out.write_text("mine")
    assert main(["run", str(picture), "-q"]) == 1
    assert f"{out}: exists already; give --overwrite" in errors(capsys)[0]
    assert out.read_text() == "mine"
    assert main(["run", str(picture), "-q", "--overwrite"]) == 0


def test_wrong_models(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = onnx.load(find_model(None))
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    for name, says in (
        (str(tmp_path / "bare.onnx"), "not a model for nox (its metadata has no nox.name)"),
        (str(tmp_path / "text.onnx"), "not a readable ONNX model"),
        ("nonesuch", "no such model; give an .onnx file or the name of a built-in model (nox-1"),
    ):
        assert main(["run", str(picture), "-q", "--model", name]) == 1
        (line,) = errors(capsys)
        assert says in line
        assert name in line
    assert not picture.with_name("m42_starless.fits").exists()


def test_device_that_is_not_there(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(picture), "-q", "--device", "dml"]) == 1
    assert "device dml is not in this build of ONNX Runtime" in errors(capsys)[0]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--strength", "5", "'5' must be a number from 0 to 1"),
        ("--strength", "nan", "'nan' must be a number from 0 to 1"),
        ("--min-roundness", "-0.1", "must be a number from 0 to 1"),
        ("--max-size", "0", "'0' must be a number above 0"),
        ("--max-size", "inf", "'inf' must be a number above 0"),
        ("--threads", "-3", "'-3' must be a whole number, 0 or more"),
        ("--overlap", "-4", "'-4' must be a whole number, 0 or more"),
        ("--overlap", "1.5", "'1.5' must be a whole number, 0 or more"),
        ("--passes", "3", "invalid choice: 3"),
    ],
)
def test_numbers_out_of_range_are_usage_errors_before_any_work(
    option: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(cli, "_remover", lambda args: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as caught:
        main(["run", "nowhere.fits", f"{option}={value}"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {option}: " in said
    assert says in said


@pytest.mark.parametrize("extra", [["--tile", "8"], ["other.fits", "--stars=x.fits"]])
def test_usage_errors_exit_with_2(
    picture: Path, extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "-q", str(picture), *extra]) == 2
    assert len(errors(capsys)) == 1


def test_the_readmes_example_makes_its_folder(picture: Path) -> None:
    out = picture.parent / "out"
    assert main(["run", str(picture), "-q", "-o", f"{out}/", "--stars", "--preview"]) == 0
    names = sorted(p.name for p in out.iterdir())
    assert names == ["m42_preview.png", "m42_starless.fits", "m42_stars.fits"]


def test_results_may_not_replace_inputs_or_each_other(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = picture.with_name("m42_starless.fits")
    first.write_bytes(picture.read_bytes())
    assert main(["run", str(picture), str(first), "-q", "--overwrite"]) == 2
    assert "is an input too" in errors(capsys)[0]
    (tmp_path / "b").mkdir()
    second = tmp_path / "b" / "m42.fits"
    second.write_bytes(picture.read_bytes())
    out = str(tmp_path / "o")
    assert main(["run", str(picture), str(second), "-q", "-o", out, "--overwrite"]) == 2
    assert "would be the result of both" in errors(capsys)[0]
    assert main(["run", str(picture), "-q", "--preview", str(second), "--overwrite"]) == 2
    assert "a preview is a PNG" in errors(capsys)[0]
    assert second.read_bytes() == picture.read_bytes() == first.read_bytes()


def test_overwrite_does_not_replace_an_input_that_an_option_swallowed(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "oiii.fits"
    other.write_bytes(picture.read_bytes())
    assert main(["run", "-q", "--overwrite", "--stars", str(other), str(picture)]) == 2
    (line,) = errors(capsys)
    assert f"{other}: would be replaced by the result of --stars; if it is an input" in line
    assert other.read_bytes() == picture.read_bytes()
    assert main(["run", "-q", "--overwrite", f"--stars={other}", str(picture)]) == 0
    assert other.read_bytes() != picture.read_bytes()
    for words in (
        [str(picture), "--stars", str(other)],  # all inputs came before
        ["--stars", str(tmp_path / "my_stars.fits"), str(picture)],
        ["--catalog", str(tmp_path / "c.ecsv"), str(picture)],
    ):
        for _ in range(2):
            assert main(["run", "-q", "--overwrite", *words]) == 0


def test_names_that_a_pipe_has_no_letters_for(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture.with_name("\u661f.fits")
    path.write_bytes(picture.read_bytes())
    told = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", told)
    assert main(["info", str(path)]) == 0
    told.flush()
    assert b"\\u661f.fits" in told.buffer.getvalue()


def test_a_gzipped_file_is_known_by_its_start(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import gzip

    plain = picture.read_bytes()
    assert main(["run", str(picture), "-q", "-o", str(picture.parent / "a.fits")]) == 0
    picture.write_bytes(gzip.compress(plain))
    assert main(["run", str(picture), "-q", "-o", str(picture.parent / "b.fits")]) == 0
    one, two = (fits.getdata(picture.parent / n) for n in ("a.fits", "b.fits"))
    np.testing.assert_array_equal(one, two)


def test_one_bad_file_does_not_stop_the_rest(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(_empty(tmp_path)), str(picture), "-o", str(out)]) == 1
    assert (out / "m42_starless.fits").exists()
    err = capsys.readouterr().err
    assert "empty.fits: an empty file" in err
    assert "1 done, 1 failed" in err


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.tif", "u2"), ("a.tif", "f4"), ("a.png", "u1"), ("a.png", "u2")]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_fits_becomes_the_format_that_the_ending_names(
    tmp_path: Path, name: str, dtype: str, channels: int, stand_in: object
) -> None:
    import imagecodecs

    from nox_runtime.batch import run_file

    sky = starry(channels=channels)
    scale = 1 if dtype == "f4" else np.iinfo(dtype).max
    path = tmp_path / "in.fits"
    fits.writeto(path, (sky * scale).astype(dtype))
    report = run_file(path, tmp_path / name, remover=stand_in)  # type: ignore[arg-type]
    assert any("header and other HDUs of in.fits are not kept" in n for n in report["notes"])
    run_file(path, tmp_path / "b.fits", remover=stand_in)  # type: ignore[arg-type]
    expected = fits.getdata(tmp_path / "b.fits")
    data = (tmp_path / name).read_bytes()
    got = tifffile.imread(tmp_path / name) if name.endswith("tif") else imagecodecs.png_decode(data)
    if channels == 3:
        got = np.moveaxis(got, -1, 0)
    else:
        expected = expected[0]
    # FITS shows its first row at the bottom, TIFF and PNG at the top.
    np.testing.assert_array_equal(got[..., ::-1, :], expected)


def test_png_cannot_hold_floats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.fits"
    fits.writeto(path, starry()[0].astype("f4"))
    assert main(["run", str(path), "-q", "-o", str(tmp_path / "out.png")]) == 1
    assert "PNG holds 8 or 16 bit integers, the picture is float32" in errors(capsys)[0]


def test_demo_leaves_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    paths = [Path(p) for p in capsys.readouterr().out.split()]
    assert [p.name for p in paths] == [
        "nebula_starless.fits",
        "nebula_stars.fits",
        "nebula_preview.png",
    ]
    header = fits.getheader(paths[0], 1)
    assert header["CTYPE1"] == "RA---TAN"
    starless, stars = (fits.getdata(p, 1) for p in paths[:2])
    with fits.open(samples.sample("nebula")) as before:
        np.testing.assert_array_equal(starless.astype("i8") + stars, before[1].data)


def test_demo_replaces_nothing_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "nebula_stars.fits"
    mine.write_text("mine")
    assert main(["demo", "-o", str(tmp_path)]) == 1
    assert errors(capsys)[0].endswith(f"{mine}: exists already; give --overwrite to replace it")
    assert mine.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [mine]
    assert main(["demo", "-o", str(tmp_path), "--overwrite"]) == 0
    assert fits.getheader(mine, 1)["NOXVER"]


def test_horsehead_is_checked_against_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], astro: Path
) -> None:
    import http.server
    import threading

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "good.fits").symlink_to(astro / "astropydata__HorseHead.fits")
    (tmp_path / "www" / "bad.fits").write_bytes(b"something else")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "www"))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(samples, "HORSEHEAD_URL", f"{base}/bad.fits")
        assert main(["demo", "--sample", "horsehead", "-o", str(tmp_path / "d")]) == 1
        assert "could not be fetched" in errors(capsys)[0]
        monkeypatch.setattr(samples, "HORSEHEAD_URL", f"{base}/good.fits")
        assert main(["demo", "--sample", "horsehead", "-o", str(tmp_path / "d")]) == 0
        server.shutdown()
    assert fits.getheader(tmp_path / "d" / "horsehead_starless.fits")["NOXMODEL"]


def test_info_and_models(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert "device cpu" in capsys.readouterr().out
    assert main(["info", str(picture)]) == 0
    assert "stretch auto (linear" in capsys.readouterr().out
    assert main(["models"]) == 0
    assert "nox-1: version" in capsys.readouterr().out


def test_info_on_a_cube_takes_the_option_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cube.fits"
    cube = np.stack([(starry()[0] ** 3 * 4000 + 500), starry()[0] * 60000]).astype("u2")
    fits.writeto(path, cube)
    assert main(["info", str(path)]) == 1
    assert "or --stack for each plane by itself" in errors(capsys)[0]
    assert main(["info", str(path), "--stack"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{path}: 2 x 150 x 170 uint16"
    assert said[2].startswith("plane 0: stretch auto (linear")
    assert said[4].startswith("plane 1: stretch none (stretched already")
    for k in (0, 1):
        assert said[2 * k + 1].startswith(f"plane {k}: values {cube[k].min()} to {cube[k].max()},")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_leaves_nothing(tmp_path: Path, name: str) -> None:
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("this system has no SIGHUP")
    path = tmp_path / "big.fits"
    fits.writeto(path, np.zeros((3000, 3000), "f4"))
    code = (
        "import signal, sys\nfrom nox_runtime import engine, cli\n"
        "from nox_runtime.model import Model\n"
        "call = Model.__call__\n"
        # Started in the background, a process inherits an ignored SIGINT.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "def stopped(self, *given):\n"
        f"    signal.raise_signal(signal.{name})\n"
        "    return call(self, *given)\n"
        "Model.__call__ = stopped\n"
        f"sys.exit(cli.main(['run', {str(path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["big.fits"]
