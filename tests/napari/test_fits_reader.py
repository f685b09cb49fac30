"""The reader: every image, its values, its rows and its header."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from conftest import starry
from napari.components import ViewerModel

from nox_napari import fits_reader
from nox_napari.display import is_turned_over, shown_like_stretched, turn_over
from nox_napari.fits_reader import get_reader, read, sample_nebula
from nox_runtime.errors import ImageError
from nox_runtime.images import open_image

Write = Callable[..., Path]


def test_claims_what_it_reads() -> None:
    for name in ("a.fits", "a.FIT", "a.b.fts", "a.fits.gz", "a.fits.fz", "a.fit.bz2"):
        assert get_reader(name) is read
        assert get_reader([name, name]) is read
    for name in ("a.tif", "a.fitsy", "fits", "a.gz"):
        assert get_reader(name) is None


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_mono_keeps_values_type_and_rows(fits_file: Write, dtype: str) -> None:
    picture = (starry(40, 60)[0] * 200).astype(dtype)
    ((data, settings, kind),) = read(str(fits_file(picture)))
    assert kind == "image"
    assert data.dtype == np.dtype(dtype)
    assert data.dtype.isnative
    np.testing.assert_array_equal(data, picture)
    assert settings["name"] == "m31"
    assert not settings["rgb"]
    assert settings["metadata"]["fits"]["bottom_up"]


def test_nan_scaling_and_blank_are_applied(fits_file: Write) -> None:
    hdu = fits.PrimaryHDU(np.arange(12, dtype="i2").reshape(3, 4))
    hdu.header["BLANK"] = 5
    path = fits_file(hdu)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.5, 10.0
    ((data, _, _),) = read(str(path))
    assert np.isnan(data[1, 1])
    assert data[2, 3] == 10 + 0.5 * 11


def test_rgb_cube_is_one_rgb_layer_without_a_copy(fits_file: Write) -> None:
    cube = starry(50, 70, 3).astype("f4")
    ((data, settings, _),) = read(str(fits_file(cube)))
    assert settings["rgb"]
    assert data.shape == (50, 70, 3)
    assert data.base is not None
    np.testing.assert_array_equal(np.moveaxis(data, -1, 0), cube)


def test_stack_stays_a_stack_and_three_frequencies_are_no_colours(fits_file: Write) -> None:
    stack = np.arange(5 * 6 * 7, dtype="f4").reshape(5, 6, 7)
    ((data, settings, _),) = read(str(fits_file(stack)))
    assert not settings["rgb"]
    np.testing.assert_array_equal(data, stack)
    spectral = fits.PrimaryHDU(stack[:3])
    spectral.header["CTYPE3"] = "FREQ"
    ((data, settings, _),) = read(str(fits_file(spectral, name="cube.fits")))
    assert not settings["rgb"]
    assert data.shape == (3, 6, 7)


def test_axes_of_length_one_are_dropped(fits_file: Write) -> None:
    ((data, _, _),) = read(str(fits_file(np.zeros((1, 1, 6, 7), "f4"))))
    assert data.shape == (6, 7)


def test_every_image_becomes_a_layer_and_tables_none(fits_file: Write) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    sci = fits.ImageHDU(np.ones((4, 5), "f4"), name="SCI")
    other = fits.ImageHDU(np.ones((6, 5), "i2"))
    path = fits_file(fits.PrimaryHDU(), sci, table, other)
    layers = read(str(path))
    assert [s["name"] for _, s, _ in layers] == ["m31 [SCI]", "m31 [3]"]
    assert [s["metadata"]["fits"]["hdu"] for _, s, _ in layers] == [1, 3]


def test_header_wcs_unit_and_row_order_are_in_the_metadata(fits_file: Write) -> None:
    hdu = fits.PrimaryHDU(starry(40, 60)[0].astype("f4"))
    for key, value in {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4,
        "CRPIX1": 30.0, "CRPIX2": 20.0, "CDELT1": -1e-3, "CDELT2": 1e-3,
        "BUNIT": "adu", "ROWORDER": "TOP-DOWN", "OBJECT": "M42",
    }.items():  # fmt: skip
        hdu.header[key] = value
    ((_, settings, _),) = read(str(fits_file(hdu)))
    known = settings["metadata"]
    assert known["header"]["OBJECT"] == "M42"
    assert known["bunit"] == "adu"
    assert not known["fits"]["bottom_up"]
    sky = known["wcs"].pixel_to_world(29, 19)
    assert abs(sky.ra.deg - 83.8) < 1e-9
    assert abs(sky.dec.deg + 5.4) < 1e-9


@pytest.mark.parametrize(("packer", "ending"), [(gzip, ".gz"), (bz2, ".bz2")])
def test_packed_files(fits_file: Write, packer: object, ending: str) -> None:
    picture = (starry(40, 60)[0] * 60000).astype("u2")
    path = fits_file(picture)
    packed = path.with_name(path.name + ending)
    packed.write_bytes(packer.compress(path.read_bytes()))  # type: ignore[attr-defined]
    ((data, settings, _),) = read(str(packed))
    np.testing.assert_array_equal(data, picture)
    assert settings["name"] == "m31"


@pytest.mark.parametrize("shape", [(40, 60), (3, 40, 60), (5, 40, 60)])
def test_tile_compressed_files(fits_file: Write, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(1).integers(0, 60000, shape).astype("u2")
    path = fits_file(fits.PrimaryHDU(), fits.CompImageHDU(picture, compression_type="RICE_1"))
    ((data, settings, _),) = read(str(path))
    assert data.dtype == np.uint16
    np.testing.assert_array_equal(np.moveaxis(data, -1, 0) if settings["rgb"] else data, picture)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(300, 400), (3, 300, 400), (4, 300, 400)])
def test_big_files_are_lazy_with_several_scales(
    fits_file: Write, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], packed: bool
) -> None:
    monkeypatch.setattr(fits_reader, "LAZY_BYTES", 1000)
    monkeypatch.setattr(fits_reader, "_COARSE", 100)
    monkeypatch.setattr(fits_reader, "_CHUNK", 128)
    picture = np.random.default_rng(1).integers(0, 60000, shape).astype("u2")
    made = [fits.PrimaryHDU(), fits.CompImageHDU(picture)] if packed else [picture]
    ((levels, settings, _),) = read(str(fits_file(*made)))
    assert settings["multiscale"]
    assert len(levels) == 3
    assert type(levels[0]).__module__.startswith("dask")
    whole = np.asarray(levels[0])
    np.testing.assert_array_equal(np.moveaxis(whole, -1, 0) if settings["rgb"] else whole, picture)
    rows, columns = (0, 1) if settings["rgb"] else (-2, -1)
    assert levels[2].shape[rows] == 75
    assert levels[2].shape[columns] == 100
    viewer = ViewerModel()
    layer = viewer.add_image(levels, **settings)
    assert layer.multiscale


def test_the_runtime_sees_the_same_picture(astro: Path) -> None:
    """Real files: what the reader shows is what nox-runtime works on."""
    seen = 0
    for path in sorted(astro.glob("*.fit*")):
        try:
            source = open_image(path)
        except ImageError:  # a colour mosaic, or a stack: shown, but not worked on
            continue
        with source:
            planes = source.read(0, source.shape[1], 0, source.shape[2])
            index = source.index  # type: ignore[attr-defined]
        for data, settings, _ in read(str(path)):
            if settings["metadata"]["fits"]["hdu"] != index:
                continue
            mine = np.moveaxis(data, -1, 0) if settings["rgb"] else data[None]
            np.testing.assert_array_equal(mine, planes)
            assert mine.dtype == planes.dtype
            assert settings["metadata"]["fits"]["bottom_up"] == source.bottom_up
            seen += 1
    assert seen >= 10


def test_a_solved_colour_picture_with_distortions_has_its_wcs(fits_file: Write) -> None:
    hdu = fits.PrimaryHDU(np.zeros((3, 40, 50), "f4"))
    cards = {
        "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 83.8, "CRVAL2": -5.4,
        "CRPIX1": 25.0, "CRPIX2": 20.0, "CD1_1": -4e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 4e-4,
        "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_0_2": -1e-5,
    }  # fmt: skip
    hdu.header.update(cards)
    ((_, settings, _),) = read(str(fits_file(hdu)))
    ra, dec = settings["metadata"]["wcs"].all_pix2world(24, 19, 0)
    np.testing.assert_allclose((ra, dec), (83.8, -5.4), atol=1e-6)


def test_files_opened_as_a_stack_are_one_layer(
    fits_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    subs = [np.full((40, 60), k, "u2") for k in range(3)]
    paths = [str(fits_file(sub, name=f"sub{k}.fits")) for k, sub in enumerate(subs)]
    ((data, settings, _),) = read(paths)
    np.testing.assert_array_equal(data, np.stack(subs))
    assert settings["name"] == "sub0 and 2 more"
    assert "fits" not in settings["metadata"]  # no file's picture: saving copies none
    other = str(fits_file(np.zeros((40, 61), "u2"), name="other.fits"))
    assert len(read([*paths, other])) == 4
    cubes = [str(fits_file(np.zeros((3, 20, 30), "f4"), name=f"c{k}.fits")) for k in range(2)]
    ((data, settings, _),) = read(cubes)
    assert data.shape == (2, 20, 30, 3)
    assert settings["rgb"]
    monkeypatch.setattr(fits_reader, "LAZY_BYTES", 1000)
    ((levels, settings, _),) = read(paths)
    assert settings["multiscale"]
    np.testing.assert_array_equal(np.asarray(levels[0]), np.stack(subs))


def test_the_sample_comes_with_nox() -> None:
    ((data, settings, _),) = sample_nebula()
    assert settings["name"] == "nebula"
    assert min(data.shape[:2]) > 200


def test_linear_pictures_are_shown_with_their_background_at_a_quarter() -> None:
    rng = np.random.default_rng(0)
    sky = 0.01 + rng.normal(0, 0.0005, (1, 200, 200))
    sky[0, ::20, ::20] = 0.9
    shown = shown_like_stretched(sky)
    low, high = shown["contrast_limits"]
    assert 0.2 < ((0.01 - low) / (high - low)) ** shown["gamma"] < 0.3
    assert shown_like_stretched(starry().clip(0, 1)) == {"contrast_limits": (0, 1), "gamma": 1.0}
    dark = rng.normal(0.03, 0.02, (1, 200, 200)).clip(0, 1)
    dark[0, ::20, ::20] = 1.0
    assert shown_like_stretched(dark) == {"contrast_limits": (0, 1), "gamma": 1.0}  # no brighter
    flat = shown_like_stretched(np.zeros((1, 20, 20)))
    assert flat["contrast_limits"][0] < flat["contrast_limits"][1]


def test_the_view_turns_over_and_back_and_the_data_do_not() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.arange(12.0).reshape(3, 4))
    turn_over(viewer)  # type: ignore[arg-type]
    assert is_turned_over(viewer)
    assert layer.data[0, 0] == 0
    turn_over(viewer)  # type: ignore[arg-type]
    assert not is_turned_over(viewer)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not a readable FITS file"),
        (b"SIMPLE  =                    T", "not a readable FITS file|without an image"),
        (b"plain text, no picture at all", "not a readable FITS file"),
        (b"\x1f\x8b\x08\x00broken", "not a readable FITS file"),
    ],
)
def test_damaged_files_get_one_line(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "bad.fits"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=match) as caught:
        read(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_missing_and_empty_files(fits_file: Write, tmp_path: Path) -> None:
    path = fits_file(np.zeros((100, 100), "f4"))
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(ImageError, match="truncated"):
        read(str(path))
    with pytest.raises(ImageError, match="no such file"):
        read(str(tmp_path / "nowhere.fits"))
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    with pytest.raises(ImageError, match="without an image"):
        read(str(fits_file(fits.PrimaryHDU(), table, name="table.fits")))
