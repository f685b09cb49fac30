"""FITS files as other programs write them."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from conftest import starry
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nox_runtime.batch import run_file
from nox_runtime.errors import ImageError
from nox_runtime.images import open_image
from nox_runtime.images.encoding import Encoding
from nox_runtime.removal import StarRemover


def whole(path: Path | str) -> np.ndarray:
    """All pixels of a file, as nox reads them."""
    with open_image(path) as source:
        return source.read(0, source.shape[1], 0, source.shape[2])


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(40, 50), (1, 40, 50), (3, 40, 50), (1, 1, 40, 50)])
def test_every_type_is_read_as_astropy_reads_it(tmp_path: Path, dtype: str, shape: tuple) -> None:
    rng = np.random.default_rng(0)
    high = 250 if dtype == "u1" else 30000
    picture = rng.integers(0, high, shape).astype(dtype)
    fits.writeto(tmp_path / "a.fits", picture)
    with open_image(tmp_path / "a.fits") as source:
        assert source.dtype == picture.dtype
        assert source.shape == (3 if shape[0] == 3 else 1, 40, 50)
        expected = picture.reshape(source.shape)[:, 3:9, 5:20]
        np.testing.assert_array_equal(source.read(3, 9, 5, 20), expected)


@given(
    st.sampled_from([Encoding(16, bzero=32768.0), Encoding(32, bzero=2.0**31), Encoding(64)]),
    hnp.arrays("i8", 20, elements=st.integers(-(2**62), 2**62)),
)
def test_integers_survive_their_encoding(encoding: Encoding, values: np.ndarray) -> None:
    values = values.astype(encoding.dtype)
    np.testing.assert_array_equal(encoding.decode(encoding.encode(values)), values)


@given(
    st.sampled_from([8, 16, 32]),
    st.floats(1e-3, 1e3),
    st.floats(-1e4, 1e4),
    hnp.arrays("i2", 20, elements=st.integers(0, 255)),
)
def test_scaled_numbers_come_back_as_they_were(
    bitpix: int, bscale: float, bzero: float, raw: np.ndarray
) -> None:
    encoding = Encoding(bitpix, bscale, bzero)
    raw = raw.astype(encoding.raw_dtype)
    np.testing.assert_array_equal(encoding.encode(encoding.decode(raw)), raw)


@pytest.mark.parametrize("flags", [["-r"], ["-g1"], ["-h"]])
@pytest.mark.parametrize("dtype", ["i2", "u2", "f4"])
def test_fpacked_files(tmp_path: Path, stand_in: StarRemover, dtype: str, flags: list[str]) -> None:
    if not shutil.which("fpack"):
        pytest.skip("fpack is not installed (Debian: libcfitsio-bin)")
    scale = 1.0 if dtype == "f4" else 30000
    path = tmp_path / "a.fits"
    header = fits.Header({"OBJECT": "M 42", "CRVAL1": 83.8})
    fits.writeto(path, (starry()[0] * scale).astype(dtype), header)
    # Floats can be packed without loss by gzip only.
    lossless = ["-q", "0"] if dtype == "f4" and flags == ["-g1"] else []
    subprocess.run(["fpack", *flags, *lossless, str(path)], check=True, capture_output=True)
    packed = tmp_path / "a.fits.fz"
    if lossless or dtype != "f4":
        np.testing.assert_array_equal(whole(packed), whole(path))
    out = run_file(packed, remover=stand_in)["outputs"]["starless"]
    assert out == str(tmp_path / "a_starless.fits")
    with fits.open(out) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["OBJECT"] == "M 42"
        assert hdus[0].data.dtype.newbyteorder("=") == np.dtype(dtype)
    # The result is what the unpacked picture gives.
    plain = tmp_path / "plain.fits"
    fits.writeto(plain, whole(packed)[0], header)
    again = run_file(plain, remover=stand_in)["outputs"]["starless"]
    np.testing.assert_array_equal(whole(out), whole(again))


def test_gzip_in_and_out(tmp_path: Path, stand_in: StarRemover) -> None:
    picture = starry().astype("f4")
    fits.writeto(tmp_path / "a.fits.gz", picture)
    fits.writeto(tmp_path / "b.fits", picture)
    out = run_file(tmp_path / "a.fits.gz", remover=stand_in)["outputs"]["starless"]
    assert out.endswith("a_starless.fits.gz")
    with gzip.open(out) as stream:
        assert stream.read(9) == b"SIMPLE  ="
    plain = run_file(tmp_path / "b.fits", remover=stand_in)["outputs"]["starless"]
    np.testing.assert_array_equal(whole(out), whole(plain))


def test_the_first_picture_of_many_hdus(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(3.0))])
    spectrum = fits.ImageHDU(np.arange(100.0), name="SPEC")
    picture = fits.ImageHDU(np.full((30, 40), 7, "i2"), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), table, spectrum, picture]).writeto(tmp_path / "a.fits")
    with open_image(tmp_path / "a.fits") as source:
        assert source.shape == (1, 30, 40)
        assert source.notes == ["the picture is HDU 3 (SCI)"]


def test_a_file_of_another_name_is_known_by_its_start(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", starry()[0].astype("f4"))
    (tmp_path / "a.fits").rename(tmp_path / "a.dat")
    with open_image(tmp_path / "a.dat") as source:
        assert source.shape == (1, 150, 170)


def test_windows_are_the_same_where_files_cannot_be_read_at_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = np.random.default_rng(0).random((3, 40, 50), np.float32)
    fits.writeto(tmp_path / "a.fits", picture)
    windows = [(0, 40, 0, 50), (3, 9, 5, 44), (39, 40, 49, 50)]
    made = []
    for there in (True, False):
        if not there:
            monkeypatch.delattr("os.preadv", raising=False)
        with open_image(tmp_path / "a.fits") as source:
            made.append([source.read(*window) for window in windows])
    for one, other, (y0, y1, x0, x1) in zip(*made, windows, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, picture[:, y0:y1, x0:x1])


def test_errors_of_reading_are_no_errors_of_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_runtime.images import fits as fits_module
    from nox_runtime.images.raw import RawPixels

    path = tmp_path / "a.fits"
    fits.writeto(path, np.ones((20, 30), "f4"))

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, open_image(path) as source:
        patch.setattr(RawPixels, "read", broken)
        with pytest.raises(ImageError, match=r"a\.fits: cannot be read \(.*Input/output error"):
            source.read(0, 5, 0, 5)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    monkeypatch.setattr(fits_module.shutil, "copyfileobj", full)
    with pytest.raises(ImageError, match=r"no room to unpack it in .*TMPDIR"):
        open_image(tmp_path / "b.fits.gz")
