"""The script in real Sirils, without their windows; judged from outside, by astropy."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from conftest import starry
from PIL import Image
from siril.real_siril import SCRIPT, RealSiril, script_process, sockets, waited

from nox_runtime.cli import main

STAR_REMOVAL = f"pyscript {SCRIPT}"
#: Longer than a card: it goes on in CONTINUE cards.
STORY = "".join(f"{k:02d} it's told at length; " for k in range(8))[:150]


def picture(channels: int = 3, *, linear: bool = False, seed: int = 1) -> np.ndarray:
    """A little sky, float32; (H, W) if mono, and as dark as a stack of raw frames if linear."""
    sky = starry(300, 420, channels, seed)
    sky = 0.002 + 0.2 * (sky - 0.12) ** 3 if linear else sky
    return (sky[0] if channels == 1 else sky).astype(np.float32)


def save(path: Path, values: np.ndarray) -> Path:
    header = fits.Header()
    header["FILTER"], header["OBJECT"] = "Ha", "M 42"
    header["MYKEY"] = (42, "a key that Siril does not know")
    header["STORY"] = STORY
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 83.8, -5.4
    header["CRPIX1"], header["CRPIX2"] = 210.0, 150.0
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -0.001, 0.0, 0.0, 0.001
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header.add_history("stacked")
    fits.writeto(path, values, header)
    return path


def by_nox_runtime(path: Path, *options: str) -> tuple[np.ndarray, np.ndarray]:
    """What `nox-runtime run` makes of the same file: starless and stars."""
    starless, stars = path.parent / "reference.fits", path.parent / "reference_stars.fits"
    command = ["run", str(path), "-o", str(starless), f"--stars={stars}", "-q", "--overwrite"]
    assert main([*command, "--device", "cpu", *options]) == 0
    return fits.getdata(starless), fits.getdata(stars)


def white_of(values: np.ndarray) -> float:
    """What 1 is on the 0 to 1 scale."""
    return float(np.iinfo(values.dtype).max) if values.dtype.kind == "u" else 1.0


def blended(name: str) -> list[str]:
    """Commands by which Siril's PixelMath puts the stars back, into the file `again`."""
    formula = f"1 - (1 - $starless_{name}$) * (1 - $starmask_{name}$)"
    return [f'pm "{formula}"', "save again"]


def check_pixel_math(folder: Path, original: np.ndarray) -> None:
    """What `blended` made is the picture, within the rounding of the type that Siril gave it."""
    made = fits.getdata(folder / "again.fit")
    rounding = 0.5 / white_of(made) if made.dtype.kind == "u" else 0.0
    difference = made / np.float64(white_of(made)) - original / np.float64(white_of(original))
    assert np.abs(difference).max() < 1e-6 + rounding


def check_recombines(folder: Path, name: str, original: np.ndarray) -> None:
    """Screen blending on the 0 to 1 scale gives the picture back."""
    white = white_of(original)
    starless = fits.getdata(folder / f"starless_{name}.fit") / np.float64(white)
    stars = fits.getdata(folder / f"starmask_{name}.fit").astype(float)
    again = 1 - (1 - starless) * (1 - stars)
    assert np.nanmax(np.abs(again - original / np.float64(white))) < 1e-6


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("linear", [False, True], ids=["stretched", "linear"])
def test_the_image_becomes_what_nox_runtime_makes_of_its_file(
    siril: RealSiril, tmp_path: Path, bits: int, channels: int, linear: bool
) -> None:
    values = picture(channels, linear=linear)
    if bits == 16:
        values = np.rint(values * 65535).astype(np.uint16)
    path = save(tmp_path / "m 42.fit", values)
    flag = "-stretch" if linear else ""
    lines = ['load "m 42.fit"', f"{STAR_REMOVAL} {flag}", "save out", *blended("m 42")]
    log = siril.run(lines, tmp_path)
    expected, stars = by_nox_runtime(path, "--stretch", "mtf" if linear else "auto")
    assert stars.max() > 0.1 * expected.max()
    for name in ("out", "starless_m 42"):
        with fits.open(tmp_path / f"{name}.fit") as hdus:
            made, header = hdus[0].data, hdus[0].header
        assert made.shape == values.shape
        assert made.dtype.newbyteorder("=") == values.dtype
        scale = 65535.0 if bits == 16 else 1.0
        assert np.abs(made / scale - expected / scale).max() < 1e-6
        assert header["FILTER"] == "Ha_Starless"
        assert (header["MYKEY"], header["OBJECT"]) == (42, "M 42")
        assert header["NOXMODEL"].startswith("nox-1 ")
        assert (header["CTYPE1"], header["CRVAL1"]) == ("RA---TAN", 83.8)
        assert header["CDELT1"] * header["PC1_1"] == pytest.approx(-0.001)
        assert "EQUINOX" not in header or header["EQUINOX"] < 1e100 or name == "out"
        assert "stacked" in header["HISTORY"]
        assert header["STORY"] == STORY
    wanted = "stretch mtf" if linear else "stretch none"
    assert wanted in header["HISTORY"][1]
    mask = fits.getheader(tmp_path / "starmask_m 42.fit")
    assert (mask["FILTER"], mask["BITPIX"], mask["MYKEY"]) == ("Ha_StarMask", -32, 42)
    check_recombines(tmp_path, "m 42", values)
    check_pixel_math(tmp_path, values)
    assert np.array_equal(fits.getdata(path), values)
    assert any("stars removed in" in line and "on cpu" in line for line in log)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_8_bit_png_stays_8_bit_and_gets_what_nox_runtime_makes_of_it(
    siril: RealSiril, tmp_path: Path, channels: int
) -> None:
    pixels = np.rint(picture(channels) * 255).astype(np.uint8)
    path = tmp_path / "m42.png"
    Image.fromarray(np.moveaxis(pixels, 0, -1) if channels == 3 else pixels).save(path)
    siril.run(["load m42.png", STAR_REMOVAL, "save out", *blended("m42")], tmp_path)
    expected, _ = by_nox_runtime(path)
    for name in ("out", "starless_m42"):
        made = fits.getdata(tmp_path / f"{name}.fit")
        assert made.dtype == np.uint8
        assert np.array_equal(made, expected)  # both bottom row first
    check_recombines(tmp_path, "m42", pixels[..., ::-1, :])
    check_pixel_math(tmp_path, pixels[..., ::-1, :])


def test_only_the_selection_changes(siril: RealSiril, tmp_path: Path) -> None:
    values = picture()
    path = save(tmp_path / "m42.fit", values)
    x, y, w, h = 60, 40, 150, 120
    commands = ["load m42.fit", f"boxselect {x} {y} {w} {h}", f"{STAR_REMOVAL} -selection"]
    siril.run([*commands, "save out"], tmp_path)
    made = fits.getdata(tmp_path / "out.fit")
    height = values.shape[1]
    rows, columns = slice(height - y - h, height - y), slice(x, x + w)
    inside = np.zeros(values.shape, bool)
    inside[:, rows, columns] = True
    assert np.array_equal(made[~inside], values[~inside])
    assert (made != values)[:, rows, columns].mean() > 0.01
    region = f"{columns.start}:{columns.stop},{rows.start}:{rows.stop}"
    expected, _ = by_nox_runtime(path, "--region", region)
    assert np.abs(made - expected).max() < 1e-6


def test_nan_negatives_and_values_over_1_come_back(siril: RealSiril, tmp_path: Path) -> None:
    values = picture(1, linear=True)
    values[40:60, 50:90] = np.nan
    values[200:210, 300:310] = -0.01
    values[100:103, 100:103] = 1.2
    path = save(tmp_path / "m42.fit", values)
    siril.run(["load m42.fit", f"{STAR_REMOVAL} -stretch", "save out"], tmp_path)
    expected, _ = by_nox_runtime(path, "--stretch", "mtf")
    made = fits.getdata(tmp_path / "out.fit")
    assert np.array_equal(np.isnan(made), np.isnan(values))
    assert np.nanmax(np.abs(made - expected)) < 1e-6
    assert (made[200:210, 300:310] == np.float32(-0.01)).all()
    check_recombines(tmp_path, "m42", values)


def test_32bit_keeps_what_16_bits_would_round(siril: RealSiril, tmp_path: Path) -> None:
    values = np.rint(picture(1, linear=True) * 65535).astype(np.uint16)
    save(tmp_path / "m42.fit", values)
    siril.run(["load m42.fit", f"{STAR_REMOVAL} -stretch -32bit -nomask", "save out"], tmp_path)
    made = fits.getdata(tmp_path / "starless_m42.fit")
    assert made.dtype == np.dtype(">f4")
    steps = made.astype(float) * 65535
    assert np.abs(steps - np.rint(steps)).max() > 0.1
    assert not (tmp_path / "starmask_m42.fit").exists()
    bits = fits.getheader(tmp_path / "out.fit")["BITPIX"]
    assert bits == (-32 if siril.version >= (1, 4, 5) else 16)  # the older one rounds


def test_a_sequence_of_files_becomes_two_sequences(siril: RealSiril, tmp_path: Path) -> None:
    frames = [picture(1, linear=True, seed=seed) for seed in (1, 2, 3)]
    for k, frame in enumerate(frames):
        save(tmp_path / f"light_{k + 1:05d}.fit", frame)
    log = siril.run([f"{STAR_REMOVAL} -sequence=light_ -stretch"], tmp_path)
    assert any("6 files written" in line for line in log)
    for k, frame in enumerate(frames):
        name = f"light_{k + 1:05d}"
        expected, _ = by_nox_runtime(tmp_path / f"{name}.fit", "--stretch", "mtf")
        made = fits.getdata(tmp_path / f"starless_{name}.fit")
        assert np.abs(made - expected).max() < 1e-6
        check_recombines(tmp_path, name, frame)
    header = fits.getheader(tmp_path / "starless_light_00002.fit")
    assert (header["FILTER"], header["MYKEY"]) == ("Ha_Starless", 42)
    for kind in ("starless", "starmask"):
        text = (tmp_path / f"{kind}_light_.seq").read_text()
        assert f"S '{kind}_light_' 1 3 3 5" in text


def _untouched(siril: RealSiril, folder: Path, lines: list[str], **rest: object) -> list[str]:
    """Run what must fail; the image is as it was, and lines of the log say why."""
    values = picture(1)
    save(folder / "m42.fit", values)
    log = siril.run(["load m42.fit", *lines, "save out"], folder, **rest)  # type: ignore[arg-type]
    made, header = fits.getdata(folder / "out.fit", header=True)
    assert np.array_equal(made, values)
    assert header["FILTER"] == "Ha"
    assert {p.name for p in folder.iterdir()} == {"m42.fit", "out.fit", "test.ssf"}
    return [line for line in log if line.startswith("nox: error")]


def test_without_the_package_one_line_says_what_to_do(siril: RealSiril, tmp_path: Path) -> None:
    (said,) = _untouched(siril, tmp_path, [f"{STAR_REMOVAL} -stretch"], bare=True)
    assert "astronox not found in Siril's Python environment" in said
    assert "nox-runtime siril install" in said


def test_errors_are_one_line_each_and_leave_the_image(siril: RealSiril, tmp_path: Path) -> None:
    complaints = {
        "-model=nowhere.onnx": "nowhere.onnx: no such model",
        "-device=cuda": "device cuda is not in this build",
        "-selection": "nothing is selected",
        "-strength=2": "it must be 0 to 1",
        "-sequence=light_": "no files light_00001.fit",
        "-frobnicate": "unrecognized arguments: -frobnicate",
    }
    said = _untouched(siril, tmp_path, [f"{STAR_REMOVAL} {flag}" for flag in complaints])
    assert len(said) == len(complaints)
    for line, complaint in zip(said, complaints.values(), strict=True):
        assert complaint in line


def test_without_an_image_it_says_so(siril: RealSiril, tmp_path: Path) -> None:
    log = siril.run([STAR_REMOVAL], tmp_path)
    assert any("nox: error: no image is loaded" in line for line in log)


def test_a_stopped_run_leaves_nothing_behind(siril: RealSiril, tmp_path: Path) -> None:
    values = np.tile(picture(1), (4, 4))  # minutes of work, with tiles that small
    save(tmp_path / "m42.fit", values)

    def half_written() -> bool:
        """Whether the starless file has some of its pixels, and not the last ones."""
        for part in tmp_path.glob(".starless_*.part"):
            pixels = np.fromfile(part, np.uint8)[-values.nbytes :]
            return bool(pixels.any()) and not pixels[-values.nbytes // 4 :].any()
        return False

    def stop(process: int) -> None:
        python = waited(lambda: script_process(process), 200)
        assert isinstance(python, int)
        assert waited(half_written, 200)
        os.kill(python, signal.SIGTERM)

    lines = ["load m42.fit", f"{STAR_REMOVAL} -tile=256", "save out"]
    log = siril.run(lines, tmp_path, meanwhile=stop)
    assert any("nox: stopped; the image is as it was" in line for line in log)
    assert np.array_equal(fits.getdata(tmp_path / "out.fit"), values)
    assert {p.name for p in tmp_path.iterdir()} == {"m42.fit", "out.fit", "test.ssf"}


def test_help_lists_the_options_in_the_log(siril: RealSiril, tmp_path: Path) -> None:
    before = sockets()
    log = siril.run([f"{STAR_REMOVAL} -help"], tmp_path)
    assert sockets() <= before  # none of those that Siril leaves
    for flag in ("-stretch", "-nostarmask, -nomask", "-sequence", "-selection"):
        assert any(line.strip().startswith(flag) for line in log)
