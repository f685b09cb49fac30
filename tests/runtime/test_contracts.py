"""The nine contracts of DESIGN.md, a test or more of each name."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.wcs import WCS
from conftest import starry
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nox_runtime import batch, fetching, samples
from nox_runtime.errors import OutputError
from nox_runtime.images import open_image
from nox_runtime.removal import StarRemover, split
from nox_runtime.stretch import Stretch
from nox_runtime.tiling import spans

REAL = (
    "astropydata__HorseHead.fits",
    "astropydata__M6707HH.fits",
    "aplpy__2MASS_j.fits.gz",
    "astropydata__reprojected_sdss_r.fits.bz2",
    "siril__star_test1.fit.fz",
    "photutils__M51.fits",
)


def assert_recombines(picture: np.ndarray, starless: np.ndarray, stars: np.ndarray) -> None:
    """starless + stars = picture: exactly for integers, else within 1 ulp of the largest."""
    assert starless.dtype == stars.dtype == picture.dtype
    if picture.dtype.kind in "ui":
        total = starless.astype("i8") + stars.astype("i8")
        np.testing.assert_array_equal(total, picture.astype("i8"))
        return
    largest = np.maximum(np.abs(picture), np.maximum(np.abs(starless), np.abs(stars)))
    finite = np.isfinite(picture)
    np.testing.assert_array_equal(starless[~finite], picture[~finite])
    with np.errstate(invalid="ignore"):
        error = np.abs((starless + stars) - picture)
    assert (error[finite] <= np.spacing(largest[finite])).all()


def make(kind: str, dtype: str) -> np.ndarray:
    """A picture of a type, in the ranges that people's programs write."""
    sky = starry(channels=3 if kind == "rgb" else 1, seed=3)
    if np.dtype(dtype).kind in "ui":
        top = min(np.iinfo(dtype).max, 60000)
        return (sky * top).astype(dtype)
    return (sky * 0.9).astype(dtype)


@pytest.mark.parametrize("kind", ["mono", "rgb"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i2", "i4", "i8", "f4", "f8"])
def test_contract_1_recombination(stand_in: StarRemover, kind: str, dtype: str) -> None:
    picture = make(kind, dtype)
    result = stand_in.remove(picture)
    assert (result.stars != 0).any()
    assert_recombines(picture, result.starless, result.stars)


@pytest.mark.parametrize(
    ("bitpix", "bscale", "bzero", "blank"),
    [(16, 0.01, 1000.0, None), (16, 0.5, 0.0, -32768), (32, 1.0, 5.0, None), (-32, 2.5, 1.0, None)],
)
def test_contract_1_recombination_of_scaled_fits(
    stand_in: StarRemover, tmp_path: Path, bitpix: int, bscale: float, bzero: float,
    blank: int | None,
) -> None:  # fmt: skip
    path = tmp_path / "scaled.fits"
    raw = (starry()[0] * 30000).astype(f"f{-bitpix // 8}" if bitpix < 0 else f"i{bitpix // 8}")
    hdu = fits.PrimaryHDU(raw)
    if blank is not None:
        raw[5:9, 5:9] = blank
        hdu.header["BLANK"] = blank
    hdu.header["BSCALE"], hdu.header["BZERO"] = bscale, bzero
    hdu.writeto(path)
    report = batch.run_file(path, remover=stand_in, stars=True)
    with (
        open_image(path) as before,
        open_image(report["outputs"]["starless"]) as starless,
        open_image(report["outputs"]["stars"]) as stars,
    ):
        assert starless.header["BSCALE"] == bscale
        assert starless.header["BITPIX"] == bitpix
        a, b, c = (s.read(0, 150, 0, 170) for s in (before, starless, stars))
        assert (c > 0).any()
        assert np.isnan(a).sum() == (0 if blank is None else 16)
        assert_recombines(a, b, c)
        np.testing.assert_array_equal(b[c == 0], a[c == 0])


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8"])
def test_contract_1_recombination_of_negative_integers(stand_in: StarRemover, dtype: str) -> None:
    picture = (make("mono", "f4") * 900 - 300).astype(dtype)
    result = stand_in.remove(picture, stretch="none")
    assert_recombines(picture, result.starless, result.stars)
    assert result.starless.min() >= picture.min()
    assert result.starless.max() <= picture.max()


def test_contract_1_recombination_where_values_round_to_blank(
    stand_in: StarRemover, tmp_path: Path
) -> None:
    raw = (make("mono", "f4")[0] * 40).astype("i2") + 2
    hdu = fits.PrimaryHDU(raw)
    hdu.header["BLANK"] = 9
    hdu.writeto(tmp_path / "a.fits")
    report = batch.run_file(tmp_path / "a.fits", remover=stand_in, stars=True, stretch="none")
    with (
        open_image(tmp_path / "a.fits") as before,
        open_image(report["outputs"]["starless"]) as starless,
        open_image(report["outputs"]["stars"]) as stars,
    ):
        a, b, c = (s.read(0, 150, 0, 170) for s in (before, starless, stars))
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    assert_recombines(a, b, c)


_values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
_pictures = hnp.arrays("f4", (3, 6, 7), elements=_values)
_residuals = hnp.arrays("f4", (3, 6, 7), elements=st.sampled_from([0.0, 1e-6, 0.01, 0.5, 1.0]))


@settings(max_examples=60)
@given(_pictures, _residuals, st.floats(0.002, 0.5))
def test_contract_1_recombination_of_any_values(
    picture: np.ndarray, residual: np.ndarray, m: float
) -> None:
    residual[~np.isfinite(picture)] = 0
    stretch = Stretch("mtf", (-200.0,) * 3, (40000.0,) * 3, (m,) * 3)
    starless, stars = split(picture, residual, stretch)
    assert_recombines(picture, starless, stars)


@pytest.mark.parametrize("name", REAL)
def test_contract_1_recombination_of_real_files(
    remover: StarRemover, astro: Path, tmp_path: Path, name: str
) -> None:
    report = batch.run_file(astro / name, tmp_path, stars=True, remover=remover)
    with (
        open_image(astro / name) as before,
        open_image(report["outputs"]["starless"]) as starless,
        open_image(report["outputs"]["stars"]) as stars,
    ):
        _, h, w = before.shape
        assert_recombines(*(s.read(0, h, 0, w) for s in (before, starless, stars)))


@pytest.mark.parametrize("stretch", ["auto", "none", "mtf"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_contract_2_untouched_pixels(stand_in: StarRemover, dtype: str, stretch: str) -> None:
    picture = make("rgb", dtype)
    result = stand_in.remove(picture, stretch=stretch)
    untouched = result.mask == 0
    assert 0.1 < untouched.mean() < 1
    assert result.starless[:, untouched].tobytes() == picture[:, untouched].tobytes()


def test_contract_2_untouched_pixels_with_clipped_shadows(stand_in: StarRemover) -> None:
    linear = (make("rgb", "f4") ** 4 * 3000 - 40).astype("f4")
    linear[:, ::9, ::7] -= 200
    result = stand_in.remove(linear, stretch="mtf")
    below = linear < np.array(result.stretch.black)[:, None, None]
    assert below.any()
    np.testing.assert_array_equal(result.starless[below], linear[below])


@pytest.mark.parametrize("name", REAL)
def test_contract_2_untouched_pixels_of_real_files(
    remover: StarRemover, astro: Path, name: str
) -> None:
    with open_image(astro / name) as source:
        picture = source.read(0, source.shape[1], 0, source.shape[2])
    result = remover.remove(picture)
    untouched = result.mask == 0
    assert result.starless[:, untouched].tobytes() == picture[:, untouched].tobytes()


@pytest.mark.parametrize("name", ["stellarium__n104.png", "skimage__hubble_deep_field.jpg"])
def test_contract_1_recombination_and_2_untouched_pixels_of_real_png_and_jpeg(
    remover: StarRemover, astro: Path, tmp_path: Path, name: str
) -> None:
    region = (301, 501, 351, 551)
    report = batch.run_file(
        astro / name, tmp_path, stars=True, mask=True, remover=remover, region=region
    )
    with open_image(astro / name) as source:
        before, (_, h, w) = source.read(0, source.shape[1], 0, source.shape[2]), source.shape
    made = {}
    for key, path in report["outputs"].items():
        assert path.endswith(".png")
        with open_image(path) as source:
            made[key] = source.read(0, h, 0, w)
    assert before.dtype == np.uint8
    assert_recombines(before, made["starless"], made["stars"])
    untouched = made["mask"][0] == 0
    assert made["stars"].max() > 50
    assert 0.02 < untouched[301:501, 351:551].mean() < 1
    np.testing.assert_array_equal(made["starless"][:, untouched], before[:, untouched])


def test_contract_3_values_come_back(stand_in: StarRemover) -> None:
    picture = make("mono", "f4") * 5000 - 300
    odd = {(3, 4): np.nan, (50, 60): np.inf, (51, 60): -np.inf, (90, 20): -1e4, (91, 20): 7e4}
    for (y, x), value in odd.items():
        picture[0, y, x] = value
    result = stand_in.remove(picture)
    assert result.starless.dtype == np.float32
    for (y, x), value in odd.items():
        if not np.isfinite(value):
            np.testing.assert_equal(result.starless[0, y, x], np.float32(value))
    untouched = result.mask == 0
    np.testing.assert_array_equal(result.starless[:, untouched], picture[:, untouched])
    assert np.nanmin(result.starless[np.isfinite(result.starless)]) == pytest.approx(-1e4)


@pytest.mark.parametrize("value", [-1e20, -1e30, -3.4e38])
def test_contract_3_numbers_that_stand_for_no_value(stand_in: StarRemover, value: float) -> None:
    picture = (make("mono", "f4") ** 4 * 3000 + 500).astype("f4")
    picture[0, :3] = value
    result = stand_in.remove(picture)
    np.testing.assert_array_equal(result.starless[0, :3], picture[0, :3])
    assert result.stretch.kind == "auto"
    assert result.starless[0, 3:].min() > 300
    flat = stand_in.remove(np.full((1, 40, 40), value, "f4"))
    assert (flat.starless == np.float32(value)).all()


def test_contract_3_no_star_above_the_range_stays(stand_in: StarRemover) -> None:
    picture = make("mono", "f4")
    picture[0, 70:73, 80:83] = 1.3
    result = stand_in.remove(picture)
    assert result.starless[0, 70:73, 80:83].max() < 1.0


def _rich_file(path: Path, picture: np.ndarray, **options: object) -> fits.HDUList:
    """A FITS file with all that people put into one."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN-SIP", "DEC--TAN-SIP"], [83.8, -5.4]
    wcs.wcs.cd = [[-4e-4, 1e-5], [1e-5, 4e-4]]
    image = fits.ImageHDU(picture, wcs.to_header(relax=True), name="SCI")
    header = image.header
    header["OBJECT"] = ("M 42", "target / with a slash")
    header["HIERARCH ESO INS FILT1 NAME"] = ("Ha", "long keyword")
    header["LONGSTR"] = "a value that is far too long for one card " * 4
    header["FILTER"] = "L"
    header["EXPTIME"] = 300.0
    header.add_comment("kept")
    header.add_history("stacked by someone")
    table = fits.BinTableHDU.from_columns(
        [fits.Column("x", "E", array=np.arange(5.0)), fits.Column("s", "4A", array=["abcd"] * 5)],
        name="CAT",
    )
    mask = fits.ImageHDU(np.eye(20, dtype=np.int16), name="MASK")
    hdus = fits.HDUList([fits.PrimaryHDU(), image, table, mask])
    hdus[0].header["OBSERVER"] = "somebody"
    hdus.writeto(path, **options)
    return hdus


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_contract_4_header(stand_in: StarRemover, tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "rich.fits"
    _rich_file(path, make("rgb", dtype), checksum=True)
    time.sleep(1.1)  # so that a checksum made anew would show by its date
    report = batch.run_file(path, remover=stand_in, stars=True)
    for out in (report["outputs"]["starless"], report["outputs"]["stars"]):
        with fits.open(path) as before, fits.open(out, checksum=True) as after:
            assert [h.name for h in after] == [h.name for h in before]
            for i in (0, 2, 3):
                assert repr(after[i].header) == repr(before[i].header)
            np.testing.assert_array_equal(after["CAT"].data, before["CAT"].data)
            np.testing.assert_array_equal(after["MASK"].data, before["MASK"].data)
            new = [c.image for c in after["SCI"].header.cards]
            sums = ("CHECKSUM", "DATASUM")
            for card in before["SCI"].header.cards:
                if card.keyword not in sums:
                    assert card.image in new, card
            header = after["SCI"].header
            assert header["NOXVER"] == report["nox"]
            assert header["NOXMODEL"] == "stand-in 1.0"
            assert len(header["NOXSHA"]) == 16
            assert any("stretch" in line for line in header["HISTORY"])
            assert header["CHECKSUM"]


def test_contract_4_header_cards_that_are_not_quite_standard(
    stand_in: StarRemover, tmp_path: Path
) -> None:
    path = tmp_path / "odd.fits"
    fits.writeto(path, make("mono", "f4"), fits.Header({"REPLACE": 1.5, "SECOND": 1}))
    data = path.read_bytes()
    odd = [b"CCD-TEMP= NaN".ljust(80), "OBJECT  = 'M42 5\xb0'".encode("latin-1").ljust(80)]
    for key, card in zip((b"REPLACE ", b"SECOND  "), odd, strict=True):
        at = data.index(key)
        data = data[:at] + card + data[at + 80 :]
    path.write_bytes(data)
    out = Path(batch.run_file(path, remover=stand_in)["outputs"]["starless"]).read_bytes()
    for card in odd:
        assert card in out


def test_contract_4_header_of_compressed_pictures_among_others(
    stand_in: StarRemover, tmp_path: Path
) -> None:
    picture = make("mono", "u2")[0]
    primary = fits.PrimaryHDU()
    primary.header["OBSERVER"] = "somebody"
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(5.0))], name="CAT")
    packed = fits.CompImageHDU(picture, fits.PrimaryHDU(picture).header, name="SCI")
    packed.header["FILTER"] = "Ha"
    other = fits.ImageHDU(np.eye(9), name="MASK")
    fits.HDUList([primary, table, packed, other]).writeto(tmp_path / "a.fits")
    out = batch.run_file(tmp_path / "a.fits", remover=stand_in)["outputs"]["starless"]
    with fits.open(out) as after:
        after.verify("exception")
        assert [h.name for h in after] == ["PRIMARY", "CAT", "SCI", "MASK"]
        assert after[0].header["OBSERVER"] == "somebody"
        assert after["SCI"].header["FILTER"] == "Ha"
        assert after["SCI"].data.dtype == np.uint16
        np.testing.assert_array_equal(after["CAT"].data["x"], np.arange(5.0))


@pytest.mark.parametrize("name", REAL)
def test_contract_4_header_of_real_files(
    remover: StarRemover, astro: Path, tmp_path: Path, name: str
) -> None:
    report = batch.run_file(astro / name, tmp_path, remover=remover)
    with open_image(astro / name) as before, open_image(report["outputs"]["starless"]) as after:
        new = {c.image for c in after.header.cards}
        # A picture kept in a compressed table changes its structural cards only.
        structural = {"XTENSION", "BITPIX", "PCOUNT", "GCOUNT", "CHECKSUM", "DATASUM"}
        for card in before.header.cards:
            if not (before.compressed and card.keyword in structural):
                assert card.image in new, card
        assert "NOXMODEL" in after.header


def test_contract_4_tags_of_tiff(stand_in: StarRemover, tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    picture = np.moveaxis(make("rgb", "u2"), 0, -1)
    profile = imagecodecs.cms_profile("srgb")
    tif = tmp_path / "a.tif"
    tifffile.imwrite(
        tif, picture, photometric="rgb", iccprofile=profile, resolution=(300, 300),
        description="M 42 by me", metadata=None, compression="zlib",
    )  # fmt: skip
    out = batch.run_file(tif, remover=stand_in)["outputs"]["starless"]
    with tifffile.TiffFile(out) as file:
        page = file.pages[0]
        assert bytes(page.tags["InterColorProfile"].value) == bytes(profile)
        assert page.description == "M 42 by me"
        assert page.tags["XResolution"].value == (300, 1)
        assert "nox" in page.tags["Software"].value


@pytest.mark.parametrize("tile", [320, 512])
def test_contract_5_tiles(remover: StarRemover, tile: int) -> None:
    """The shipped model on the sample: small tiles against the picture in one."""
    with open_image(samples.sample("nebula")) as source:
        picture = source.read(0, 480, 0, 480)
    # Larger than any tile, with stars on every seam.
    picture = np.concatenate([picture, picture[:, ::-1]], axis=1)
    whole = StarRemover(remover.model, tile=4096).remove(picture)
    tiled = StarRemover(remover.model, tile=tile).remove(picture)
    assert StarRemover(remover.model, tile=tile).tiles(960, 480) > 4
    assert whole.stretch == tiled.stretch
    shown = [whole.stretch.forward(r.starless) for r in (whole, tiled)]
    # The result is rounded to integers: allow that step on top of 1e-4.
    step = whole.stretch.forward(whole.starless + np.uint16(1)) - shown[0]
    assert (np.abs(shown[0] - shown[1]) <= 1e-4 + step + 1e-7).all()


@pytest.fixture(scope="module")
def sky_in_floats() -> np.ndarray:
    """A piece of the sample, with nothing to be rounded to; (3, 224, 448)."""
    with open_image(samples.sample("nebula")) as source:
        return source.read(0, 224, 0, 448).astype("f4") / np.float32(65535)


def test_contract_5_tiles_of_a_region_at_an_odd_place(
    remover: StarRemover, sky_in_floats: np.ndarray
) -> None:
    """A region's tiles begin elsewhere than the picture's."""
    y0, y1, x0, x1 = region = (43, 187, 211, 401)
    whole = remover.remove(sky_in_floats)
    part = remover.remove(sky_in_floats, region=region)
    shown = [whole.stretch.forward(r.starless)[:, y0:y1, x0:x1] for r in (whole, part)]
    assert np.abs(shown[0] - shown[1]).max() <= 1e-4
    assert (part.mask[y0:y1, x0:x1] > 0).any()
    outside = np.ones(part.mask.shape, bool)
    outside[y0:y1, x0:x1] = False
    assert not part.mask[outside].any()


def test_contract_5_tiles_leave_no_seam(remover: StarRemover, sky_in_floats: np.ndarray) -> None:
    """The mean difference from the whole, where tiles meet against elsewhere."""
    whole = remover.remove(sky_in_floats)

    def differences(overlap: int | None) -> tuple[float, float]:
        tiled = StarRemover(remover.model, tile=384, overlap=overlap)
        starless = tiled.remove(sky_in_floats).starless
        away = np.abs(whole.stretch.forward(starless) - whole.stretch.forward(whole.starless))
        layout = tiled.layout
        columns = spans(448, layout.tile, layout.margin, layout.multiple)
        meet = np.zeros(448, bool)
        for column in columns[1:]:
            meet[column.write_start : column.write_start + column.ramp_in] = True
        assert 0.03 < meet.mean() < 0.3
        return float(away[:, :, meet].mean()), float(away[:, :, ~meet].mean())

    meeting, elsewhere = differences(None)
    assert meeting <= elsewhere + 1e-6
    assert meeting <= 1e-5
    # The measure sees seams: without surroundings there are some.
    assert differences(0)[0] > 5e-5


def test_contract_7_files_input_unchanged_and_output_whole(
    stand_in: StarRemover, tmp_path: Path
) -> None:
    path = tmp_path / "in.fits"
    _rich_file(path, make("mono", "f4"))
    before = path.read_bytes()
    outputs = batch.plan_outputs(path, None, stars=True)
    steps = batch.iter_file(path, outputs, stand_in)
    next(steps)
    steps.close()  # cancelled: nothing is left
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.fits"]
    batch.run_file(path, remover=stand_in, stars=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "in.fits",
        "in_starless.fits",
        "in_stars.fits",
    ]
    assert path.read_bytes() == before


def test_contract_7_files_nothing_is_overwritten_unasked(
    stand_in: StarRemover, tmp_path: Path
) -> None:
    path, out = tmp_path / "in.fits", tmp_path / "in_starless.fits"
    fits.writeto(path, make("mono", "f4"))
    out.write_text("mine")
    with pytest.raises(OutputError, match=r"in_starless\.fits: exists already; give --overwrite"):
        batch.run_file(path, remover=stand_in)
    assert out.read_text() == "mine"
    batch.run_file(path, remover=stand_in, overwrite=True)
    assert fits.getheader(out)["NOXVER"]
    with pytest.raises(OutputError, match="is the input itself"):
        batch.run_file(path, path, remover=stand_in, overwrite=True)


def test_contract_7_files_made_meanwhile_are_safe(stand_in: StarRemover, tmp_path: Path) -> None:
    path = tmp_path / "in.fits"
    fits.writeto(path, make("mono", "f4"))
    outputs = batch.plan_outputs(path, None)
    steps = batch.iter_file(path, outputs, stand_in)
    next(steps)
    outputs.starless.write_text("another program's")
    with pytest.raises(OutputError, match="made by another program"):
        list(steps)
    assert outputs.starless.read_text() == "another program's"


@pytest.mark.skipif(not shutil.which("mount") or os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize("name", ["out.fits", "out.fits.gz", "out.tif"])
def test_contract_7_files_disk_full(stand_in: StarRemover, tmp_path: Path, name: str) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        path = tmp_path / ("in.tif" if name.endswith("tif") else "in.fits")
        if name.endswith("tif"):
            tifffile.imwrite(path, make("mono", "f4")[0])
        else:
            fits.writeto(path, make("mono", "f4"))
        with pytest.raises(OutputError, match=r"small.*: cannot be written.*free some space"):
            batch.run_file(path, small / name, remover=stand_in)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_contract_8_honesty(stand_in: StarRemover, tmp_path: Path) -> None:
    path = tmp_path / "in.fits"
    fits.writeto(path, (make("mono", "f4") ** 4 * 2000 + 500).astype("u2"))
    report = json.loads(json.dumps(batch.run_file(path, remover=stand_in)))
    assert report["device"] == "cpu"
    assert report["stretch"]["kind"] == "auto"
    assert report["stretch"]["reason"].startswith("linear")
    assert len(report["stretch"]["midtones"]) == 1
    assert report["model"]["name"] == "stand-in"
    assert report["seconds"]["total"] > 0
    assert 0 < report["changed_share"] < 1


def test_contract_8_honesty_a_device_that_fails_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import onnxruntime

    from nox_runtime import model

    real = onnxruntime.InferenceSession

    def without_gpu(path: str, options: object, providers: list[str]) -> object:
        assert providers[0] == "CUDAExecutionProvider" or path.endswith("nox-1.onnx")
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(
        onnxruntime, "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )  # fmt: skip
    monkeypatch.setattr(onnxruntime, "InferenceSession", without_gpu)
    loaded = model.load_model(device="auto")
    assert loaded.device == "cpu"
    assert loaded.notes == ["cuda could not be started; running on the CPU"]
    # Half precision is for the device that failed.
    assert loaded.path == model.find_model(None)
    assert loaded.session.get_inputs()[0].type == "tensor(float)"


def test_contract_9_network(
    stand_in: StarRemover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refused(*args: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    fits.writeto(tmp_path / "in.fits", make("mono", "f4"))
    StarRemover(device="cpu")
    assert batch.run_file(tmp_path / "in.fits", remover=stand_in, stars=True, preview=True)


_MEASURED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from conftest import FACTS
import numpy as np
from nox_runtime.batch import run_file
from nox_runtime.model import Model
from nox_runtime.removal import StarRemover

class Cut(Model):
    def __call__(self, pictures, interruption=None):
        return np.minimum(pictures, np.float32(0.5))

def most():
    "Peak resident MB; resource's figure is inherited from the parent process."
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) / 1024

remover = StarRemover(Cut(Path("cut.onnx"), FACTS, None, "cpu"), tile=512)
for _ in range(2):  # twice, so that the allocator has settled
    run_file(sys.argv[2], sys.argv[3], remover=remover, stars=True, mask=True, overwrite=True)
base = most()
run_file(sys.argv[4], sys.argv[5], remover=remover, stars=True, mask=True)
print(most() - base)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fits", "tif", "compressed.tif", "fits.fz"])
def test_contract_6_memory_is_bounded_by_the_tile(tmp_path: Path, kind: str) -> None:
    """Twice the rows, 64 MB more for each of picture, result, stars and mask."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to ask for the peak of resident memory")
    import subprocess
    import sys

    def write(path: Path, height: int, width: int) -> None:
        rng = np.random.default_rng(0)
        tile = rng.random((64, width), np.float32) * 0.6
        picture = np.tile(tile, (height // 64, 1))
        if kind == "fits":
            fits.writeto(path, picture)
        elif kind == "fits.fz":
            whole = (picture * 60000).astype("i2")
            fits.CompImageHDU(whole, compression_type="RICE_1").writeto(path)
        else:
            packed = {"compression": "zlib", "rowsperstrip": 64} if "compressed" in kind else {}
            tifffile.imwrite(path, picture, **packed)

    small, large = tmp_path / f"small.{kind}", tmp_path / f"large.{kind}"
    # The statistics' sample, of 4 million pixels, is as large for both.
    write(small, 31232, 512)  # 64 MB as 32-bit floats
    write(large, 62464, 512)
    out = [str(tmp_path / f"{name}_out.{kind.replace('.fz', '')}") for name in ("small", "large")]
    command = [sys.executable, "-c", _MEASURED, str(Path(__file__).parents[1]), str(small), out[0],
               str(large), out[1]]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # One of the four held in memory would be 64 MB more.
    assert float(done.stdout) < 48


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.fits.fz", "a.tif", "a.png"])
def test_contract_7_files_stopped_anywhere_leave_nothing(
    stand_in: StarRemover, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "in.fits"
    fits.writeto(path, (starry(300, 320) * 60000).astype("u2")[0])
    everything = {"stars": True, "descreened": True, "mask": True, "catalog": True, "preview": True}
    outputs = batch.plan_outputs(path, tmp_path / name, **everything)  # type: ignore[arg-type]
    count = len(list(batch.iter_file(path, outputs, stand_in)))
    for made in outputs.wanted():
        made.unlink()
    for stop in (1, 3, count - 1):
        steps = batch.iter_file(path, outputs, stand_in)
        for _ in range(stop):
            next(steps)
        steps.close()
        assert [p.name for p in tmp_path.iterdir()] == ["in.fits"]


def test_contract_8_honesty_every_choice_is_in_the_report(
    stand_in: StarRemover, tmp_path: Path
) -> None:
    path = tmp_path / "in.fits"
    fits.writeto(path, make("mono", "f4"))
    report = batch.run_file(
        path, remover=stand_in, strength=0.5, max_size=7.0, region=(0, 100, 0, 120), hashes=True
    )
    report = json.loads(json.dumps(report))
    assert report["controls"]["strength"] == 0.5
    assert report["controls"]["max_size"] == 7.0
    assert report["controls"]["region"] == [0, 100, 0, 120]
    assert len(report["sha256"]["input"]) == len(report["sha256"]["starless"]) == 64
    assert report["versions"]["nox"] == report["nox"]
    assert set(report["seconds"]) == {
        "open", "statistics", "remove", "network", "finish", "total"
    }  # fmt: skip
    assert any("objects stay" in note for note in report["notes"])


def test_contract_9_network_what_is_fetched_is_checked() -> None:
    """Each address that nox fetches from comes with a SHA-256; no other code connects."""
    import re

    folder = Path(samples.__file__).parent
    urls = {
        (p.name, url)
        for p in folder.rglob("*.py")
        for url in re.findall(r"https?://[^\s\"']+", p.read_text())
    }
    models = fetching.REGISTRY.values()
    assert urls == {
        ("samples.py", samples.HORSEHEAD_URL),
        *(("fetching.py", m.url) for m in models),
    }
    for known in (samples.HORSEHEAD_SHA256, *(m.sha256 for m in models)):
        assert re.fullmatch("[0-9a-f]{64}", known)
