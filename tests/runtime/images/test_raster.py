"""TIFF, PNG and JPEG files as other programs write them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import starry
from PIL import Image, PngImagePlugin, TiffImagePlugin

from nox_runtime.batch import run_file
from nox_runtime.images import open_image
from nox_runtime.removal import StarRemover


def planes(channels: int, dtype: str) -> np.ndarray:
    """A starry picture as (H, W) or (H, W, C)."""
    sky = starry(channels=channels)
    scale = 1 if np.dtype(dtype).kind == "f" else min(np.iinfo(dtype).max, 65535)
    picture = np.ascontiguousarray(np.moveaxis((sky * scale).astype(dtype), 0, -1))
    return picture if channels > 1 else picture[:, :, 0]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4", "f8"])
@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (1, {}),
        (3, {"planarconfig": "contig"}),
        (3, {"planarconfig": "separate"}),
        (3, {"planarconfig": "contig", "compression": "zlib", "predictor": True}),
        (1, {"compression": "lzw"}),
        (1, {"byteorder": ">", "bigtiff": True}),
        (3, {"tile": (64, 64), "planarconfig": "contig"}),
    ],
)
def test_tiff_comes_out_as_it_went_in(
    tmp_path: Path, stand_in: StarRemover, dtype: str, channels: int, options: dict
) -> None:
    picture = planes(channels, dtype)
    path = tmp_path / "a.tif"
    stored = np.moveaxis(picture, -1, 0) if options.get("planarconfig") == "separate" else picture
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(path, stored, photometric=photometric, **options)
    report = run_file(path, remover=stand_in, stars=True)
    with (
        tifffile.TiffFile(path) as before,
        tifffile.TiffFile(report["outputs"]["starless"]) as after,
    ):
        a, b = before.pages[0], after.pages[0]
        assert (a.shape, a.dtype, a.axes) == (b.shape, b.dtype, b.axes)
        assert a.planarconfig == b.planarconfig
        assert before.is_bigtiff == after.is_bigtiff
        assert before.byteorder == after.byteorder
    starless, stars = (tifffile.imread(report["outputs"][k]) for k in ("starless", "stars"))
    assert (stars > 0).any()
    if picture.dtype.kind == "u":
        np.testing.assert_array_equal(starless + stars, stored)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_comes_out_as_it_went_in(
    tmp_path: Path, stand_in: StarRemover, dtype: str, channels: int
) -> None:
    picture = planes(channels, dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture))
    out = run_file(tmp_path / "a.png", remover=stand_in, stars=True)["outputs"]
    starless, stars = (
        imagecodecs.png_decode(Path(out[k]).read_bytes()) for k in ("starless", "stars")
    )
    assert starless.dtype == picture.dtype
    np.testing.assert_array_equal(starless + stars, picture)


def test_png_keeps_text_profile_and_alpha(tmp_path: Path, stand_in: StarRemover) -> None:
    rgba = np.dstack([planes(3, "u1"), np.arange(150 * 170).reshape(150, 170) % 251])
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "me")
    profile = bytes(imagecodecs.cms_profile("srgb"))
    picture = Image.fromarray(rgba.astype("u1"))
    picture.save(tmp_path / "a.png", pnginfo=text, icc_profile=profile, dpi=(300, 300))
    out = run_file(tmp_path / "a.png", remover=stand_in)["outputs"]["starless"]
    with Image.open(out) as made:
        made.load()
        assert made.text["Author"] == "me"
        assert made.info["icc_profile"] == profile
        assert made.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        np.testing.assert_array_equal(np.asarray(made)[:, :, 3], rgba[:, :, 3])


def test_jpeg_goes_in_and_png_comes_out(tmp_path: Path, stand_in: StarRemover) -> None:
    Image.fromarray(planes(3, "u1")).save(tmp_path / "a.jpg", quality=95)
    out = run_file(tmp_path / "a.jpg", remover=stand_in)["outputs"]["starless"]
    assert out.endswith("a_starless.png")
    with open_image(tmp_path / "a.jpg") as source:
        before = np.moveaxis(source.pixels, 0, -1)
    made = imagecodecs.png_decode(Path(out).read_bytes())
    assert made.shape == before.shape
    assert (made <= before).all()
    assert (made < before).any()


def test_a_jpegs_profile_and_exif_go_into_the_png_or_are_named(
    tmp_path: Path, stand_in: StarRemover
) -> None:
    profile = bytes(imagecodecs.cms_profile("srgb")) + bytes(range(256)) * 600  # in three parts
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    Image.fromarray(planes(3, "u1")).save(tmp_path / "a.jpg", icc_profile=profile, exif=exif)
    report = run_file(tmp_path / "a.jpg", remover=stand_in)
    assert report["notes"] == []
    with Image.open(report["outputs"]["starless"]) as made:
        assert made.info["icc_profile"] == profile
        assert made.getexif()[0x010F] == "A camera"
    report = run_file(tmp_path / "a.jpg", tmp_path / "a.fits", remover=stand_in)
    assert report["notes"] == ["the tags, profile and alpha of a.jpg are not kept in .fits"]
    Image.fromarray(planes(3, "u1")).save(tmp_path / "bare.jpg")
    assert not run_file(tmp_path / "bare.jpg", tmp_path / "b.fits", remover=stand_in)["notes"]


def test_a_tiffs_exif_is_named_where_it_is_lost(tmp_path: Path, stand_in: StarRemover) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x8769], tags.tagtype[0x8769] = {0x829A: 30.0}, 4  # the time of exposure
    Image.fromarray(planes(3, "u1")).save(tmp_path / "a.tif", tiffinfo=tags)
    report = run_file(tmp_path / "a.tif", remover=stand_in, stars=True)
    assert report["notes"] == ["the Exif data of a.tif are not kept"]
    Image.fromarray(planes(3, "u1")).save(tmp_path / "bare.tif")
    assert run_file(tmp_path / "bare.tif", remover=stand_in)["notes"] == []


def test_colours_that_are_not_rgb_are_refused(tmp_path: Path) -> None:
    cmyk = np.zeros((30, 30, 4), "u1")
    tifffile.imwrite(tmp_path / "a.tif", cmyk, photometric="separated")
    with pytest.raises(Exception, match="colours are SEPARATED; save it as RGB or grey"):
        open_image(tmp_path / "a.tif")
