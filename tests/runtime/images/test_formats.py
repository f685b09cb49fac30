"""Formats, windows and HDUs that came with the complete runtime."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from conftest import StandIn, starry
from hypothesis import given
from hypothesis import strategies as st

from nox_runtime.batch import run_file
from nox_runtime.errors import ImageError, OutputError, UsageError
from nox_runtime.images import CachedRows, open_image
from nox_runtime.images.checksum import encoded, ones_sum
from nox_runtime.removal import StarRemover


def whole(path: Path | str, **options: object) -> np.ndarray:
    """All pixels of a file, as nox reads them."""
    with open_image(path, **options) as source:  # type: ignore[arg-type]
        return source.read(0, source.shape[1], 0, source.shape[2])


@given(st.binary(min_size=4, max_size=400).map(lambda b: b[: len(b) // 4 * 4].replace(b"0", b"1")))
def test_checksum_is_that_of_the_standard(data: bytes) -> None:
    # As in a header: 16 zeros that begin one byte before a multiple of four.
    zeros = data + b"abc" + b"0" * 16 + b"d"
    made = encoded(ones_sum(zeros))
    assert made.isascii()
    assert made.isalnum()
    assert ones_sum(zeros.replace(b"0" * 16, made.encode())) == 0xFFFFFFFF


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_compressed_fits_out_is_read_by_others_without_loss(
    tmp_path: Path, stand_in: StarRemover, dtype: str, channels: int
) -> None:
    scale = 1.0 if dtype[0] == "f" else 240 if dtype == "u1" else 30000
    path = tmp_path / "a.fits"
    header = fits.Header({"OBJECT": "M 42", "CRVAL1": 83.8})
    picture = (starry(channels=channels) * scale).astype(dtype)
    fits.writeto(path, picture[0] if channels == 1 else picture, header)
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.eye(5), name="MASK"))
    plain = run_file(path, remover=stand_in)["outputs"]["starless"]
    packed = run_file(path, tmp_path / "b.fits.fz", remover=stand_in)["outputs"]["starless"]
    assert Path(packed).stat().st_size < Path(plain).stat().st_size
    with fits.open(packed) as hdus:
        hdus.verify("exception")
        assert isinstance(hdus[1], fits.CompImageHDU)
        assert hdus[1].header["OBJECT"] == "M 42"
        assert hdus[1].header["NOXVER"]
        assert hdus["MASK"].data.trace() == 5
        np.testing.assert_array_equal(hdus[1].data, fits.getdata(plain))
    np.testing.assert_array_equal(whole(packed), whole(plain))
    if shutil.which("funpack"):
        subprocess.run(["funpack", "-O", str(tmp_path / "c.fits"), packed], check=True)
        np.testing.assert_array_equal(fits.getdata(tmp_path / "c.fits"), fits.getdata(plain))


def test_compressed_extension_stays_an_extension(tmp_path: Path, stand_in: StarRemover) -> None:
    image = fits.ImageHDU((starry()[0] * 30000).astype("u2"), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "a.fits", checksum=True)
    run_file(tmp_path / "a.fits", tmp_path / "b.fits.fz", remover=stand_in)
    with fits.open(tmp_path / "b.fits.fz") as hdus:
        hdus.verify("exception")
        assert [h.name for h in hdus] == ["PRIMARY", "SCI"]
        assert hdus["SCI"].data.dtype == np.uint16


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A file with two pictures and a table."""
    path = tmp_path / "several.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(5.0))], name="CAT")
    hdus = [fits.PrimaryHDU(), table]
    for k, name in enumerate(("RED", "BLUE")):
        hdus.append(fits.ImageHDU((starry(seed=k)[0] * 999).astype("i2"), name=name))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("hdu", [3, "3", "BLUE", "blue"])
def test_hdu_by_number_or_name(several: Path, stand_in: StarRemover, hdu: int | str) -> None:
    out = run_file(several, remover=stand_in, hdu=hdu)["outputs"]["starless"]
    with fits.open(several) as before, fits.open(out) as after:
        np.testing.assert_array_equal(before["RED"].data, after["RED"].data)
        assert (before["BLUE"].data != after["BLUE"].data).any()
        assert "NOXVER" in after["BLUE"].header
        np.testing.assert_array_equal(before["CAT"].data, after["CAT"].data)


@pytest.mark.parametrize(
    ("hdu", "says"),
    [
        (9, r"has no HDU 9; it has 0 \(PRIMARY\), 1 \(CAT\), 2 \(RED\)"),
        ("GREEN", "has no HDU GREEN"),
        ("CAT", "HDU CAT holds no image data; leave --hdu out"),
    ],
)
def test_a_wrong_hdu_names_those_there(several: Path, hdu: int | str, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        open_image(several, hdu=hdu)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("packed", [False, True])
def test_a_stack_is_its_planes_each_by_itself(
    tmp_path: Path, stand_in: StarRemover, count: int, packed: bool
) -> None:
    planes = np.stack([starry(seed=k)[0] * (k + 1) * 5000 for k in range(count)]).astype("u2")
    path = tmp_path / ("a.fits.fz" if packed else "a.fits")
    if packed:
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(planes)]).writeto(path)
    else:
        fits.writeto(path, planes)
    report = run_file(path, remover=stand_in, stack=True, stars=True, mask=True)
    starless, stars, mask = (
        fits.getdata(report["outputs"][k]) for k in ("starless", "stars", "mask")
    )
    assert starless.shape == mask.shape == planes.shape
    np.testing.assert_array_equal(starless.astype(int) + stars, planes)
    assert len(report["stretches"]) == count
    for k in range(count):
        fits.writeto(tmp_path / f"{k}.fits", planes[k])
        alone = run_file(tmp_path / f"{k}.fits", remover=stand_in)["outputs"]["starless"]
        np.testing.assert_array_equal(fits.getdata(alone), starless[k])


def test_a_cube_without_stack_names_the_option(tmp_path: Path, stand_in: StarRemover) -> None:
    fits.writeto(tmp_path / "a.fits", np.zeros((5, 30, 40), "f4"))
    with pytest.raises(ImageError, match=r"only 40 x 30 x 5.*or --stack for each plane"):
        run_file(tmp_path / "a.fits", remover=stand_in)
    with pytest.raises(OutputError, match="only FITS holds a stack"):
        run_file(tmp_path / "a.fits", tmp_path / "b.tif", remover=stand_in, stack=True)
    with pytest.raises(UsageError, match="a stack has no preview"):
        run_file(tmp_path / "a.fits", remover=stand_in, stack=True, preview=True)
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((30, 40), "u2"))
    with pytest.raises(ImageError, match="is no FITS file, which alone has HDUs"):
        run_file(tmp_path / "c.tif", remover=stand_in, hdu=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rowsperstrip": 7},
        {"compression": "zlib", "rowsperstrip": 7, "predictor": True},
        {"compression": "lzw", "rowsperstrip": 16},
        {"tile": (32, 48)},
        {"tile": (32, 48), "compression": "zlib"},
        {"planarconfig": "separate", "rowsperstrip": 9},
        {"planarconfig": "separate", "compression": "zlib", "tile": (32, 32)},
        {"byteorder": ">", "bigtiff": True, "rowsperstrip": 11},
        {"compression": "zstd"},
        {"compression": "packbits"},
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiff_windows_are_those_of_the_whole(tmp_path: Path, options: dict, dtype: str) -> None:
    picture = (starry(channels=3) * (1 if dtype == "f4" else 250)).astype(dtype)
    stored = picture if "planarconfig" in options else np.moveaxis(picture, 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **options)
    with open_image(tmp_path / "a.tif") as source:
        for window in ((0, 150, 0, 170), (3, 40, 20, 33), (149, 150, 169, 170), (31, 97, 0, 170)):
            y0, y1, x0, x1 = window
            np.testing.assert_array_equal(source.read(*window), picture[:, y0:y1, x0:x1])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw"}])
@pytest.mark.parametrize("separate", [False, True])
def test_tiff_alpha_goes_through(
    tmp_path: Path, stand_in: StarRemover, options: dict, separate: bool
) -> None:
    rgb = (starry(channels=3) * 60000).astype("u2")
    alpha = (np.arange(150 * 170).reshape(1, 150, 170) % 65521).astype("u2")
    four = np.concatenate([rgb, alpha])
    stored = four if separate else np.ascontiguousarray(np.moveaxis(four, 0, -1))
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unassalpha"],
        planarconfig="separate" if separate else "contig", **options,
    )  # fmt: skip
    out = run_file(tmp_path / "a.tif", remover=stand_in)["outputs"]["starless"]
    made = tifffile.imread(out)
    made = made if separate else np.moveaxis(made, -1, 0)
    np.testing.assert_array_equal(made[3], alpha[0])
    assert (made[:3] != rgb).any()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_tags_with_letters_beyond_ascii_go_through(
    tmp_path: Path, stand_in: StarRemover, compression: str | None
) -> None:
    said = {"Artist": "Jos\u00e9", "Copyright": "\u00a9 2026 \u0160\u00e1rka"}
    extra = [
        (code, 2, None, text.encode(), True)
        for code, text in zip((315, 33432), said.values(), strict=True)
    ]
    picture = (starry() * 60000).astype("u2")[0]
    tifffile.imwrite(tmp_path / "a.tif", picture, compression=compression, extratags=extra)
    report = run_file(tmp_path / "a.tif", remover=stand_in)
    with tifffile.TiffFile(report["outputs"]["starless"]) as made:
        assert {name: made.pages[0].tags[name].value for name in said} == said


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_a_picture_in_one_strip_is_unpacked_once(
    tmp_path: Path, stand_in: StarRemover, monkeypatch: pytest.MonkeyPatch, planes: str
) -> None:
    four = (np.concatenate([starry(channels=3), starry()]) * 60000).astype("u2")
    stored = four if planes == "separate" else np.moveaxis(four, 0, -1)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unassalpha"],
        planarconfig=planes, compression="zlib", rowsperstrip=150,
    )  # fmt: skip
    decoded = []
    plain = tifffile.TiffPage.decode.func

    def counted(page: tifffile.TiffPage) -> object:
        decode = plain(page)
        return lambda data, index, **rest: decoded.append(index) or decode(data, index, **rest)

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(counted))
    report = run_file(tmp_path / "a.tif", remover=stand_in, stars=True)
    assert sorted(decoded) == ([0, 1, 2, 3] if planes == "separate" else [0])
    monkeypatch.undo()
    starless, stars = (whole(report["outputs"][k]) for k in ("starless", "stars"))
    np.testing.assert_array_equal(starless + stars, four[:3])


def test_a_cut_tiff_is_refused(tmp_path: Path) -> None:
    for name, options in (("a.tif", {}), ("b.tif", {"compression": "zlib"})):
        path = tmp_path / name
        tifffile.imwrite(path, np.random.default_rng(0).random((90, 90)), **options)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        with pytest.raises(ImageError, match=r"\.tif: .*(not a readable picture|damaged)"):
            whole(path)


def test_imagemagicks_tiff_and_png(tmp_path: Path, stand_in: StarRemover) -> None:
    convert = shutil.which("magick") or shutil.which("convert")
    said = subprocess.run([convert, "-version"], capture_output=True).stdout if convert else b""
    if not convert or b"ImageMagick" not in said:
        pytest.skip("ImageMagick is not installed (Debian: imagemagick)")
    picture = (starry(channels=3) * 65535).astype("u2")
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(picture, 0, -1), photometric="rgb")
    for name in ("b.tif", "c.png"):
        subprocess.run([convert, str(tmp_path / "a.tif"), str(tmp_path / name)], check=True)
        np.testing.assert_array_equal(whole(tmp_path / name), picture)
        assert run_file(tmp_path / name, remover=stand_in)["changed_share"] > 0


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_xisf_in_and_out(tmp_path: Path, stand_in: StarRemover, dtype: str, channels: int) -> None:
    xisf = pytest.importorskip("xisf")
    scale = 1 if dtype[0] == "f" else np.iinfo(dtype).max
    picture = (starry(channels=channels) * scale).astype(dtype)
    keywords = {"OBJECT": [{"value": "'M 42'", "comment": "target"}]}
    xisf.XISF.write(
        str(tmp_path / "a.xisf"), np.ascontiguousarray(np.moveaxis(picture, 0, -1)),
        image_metadata={"FITSKeywords": keywords},
    )  # fmt: skip
    np.testing.assert_array_equal(whole(tmp_path / "a.xisf"), picture)
    report = run_file(tmp_path / "a.xisf", remover=stand_in, stars=True)
    starless, stars = (whole(report["outputs"][k]) for k in ("starless", "stars"))
    assert starless.dtype == picture.dtype
    if dtype[0] == "u":
        np.testing.assert_array_equal(starless + stars, picture)
    made = xisf.XISF(report["outputs"]["starless"]).get_images_metadata()[0]["FITSKeywords"]
    assert made["OBJECT"][0]["value"].strip("'") == "M 42"
    assert "stand-in" in made["NOXMODEL"][0]["value"]


def test_xisf_keywords_and_properties_come_back_as_they_were(
    tmp_path: Path, stand_in: StarRemover, capsys: pytest.CaptureFixture[str]
) -> None:
    xisf = pytest.importorskip("xisf")
    properties = {
        "Observation:Object:Name": {"id": "Observation:Object:Name", "type": "String", "value": ""},
        "Instrument:Filter:Name": {"id": "Instrument:Filter:Name", "type": "String", "value": "5"},
        "PCL:CFA": {"id": "PCL:CFA", "type": "Boolean", "value": "true"},
        "Odd": {"id": "Odd", "type": "Float64", "value": 1.5},
    }
    keywords = {
        "OBJECT": [{"value": "'M 31'", "comment": ""}], "FILTER": [{"value": "'5'", "comment": ""}],
        "EXPTIME": [{"value": "300.", "comment": "s"}],
    }  # fmt: skip
    pixels = np.ascontiguousarray(np.moveaxis(starry(channels=3), 0, -1)).astype("f4")
    path = tmp_path / "a.xisf"
    about = {"FITSKeywords": keywords, "XISFProperties": properties}
    xisf.XISF.write(str(path), pixels, image_metadata=about)
    raw = path.read_bytes()  # a kind that the library prints about, and reads as False
    path.write_bytes(raw.replace(b'type="Float64" value="1.5"', b'type="Gloat64" valux="1.5"'))
    report = run_file(path, remover=stand_in)
    assert capsys.readouterr().out == ""
    assert any("property Odd is not kept" in note for note in report["notes"])
    made = Path(report["outputs"]["starless"]).read_bytes()
    header = made[16 : 16 + int.from_bytes(made[8:12], "little")].decode()
    assert """value="'M 31'\"""" in header
    assert """value="'5'\"""" in header
    assert 'value="300."' in header
    assert 'id="PCL:CFA" type="Boolean" value="true"' in header
    assert ">None<" not in header


@pytest.mark.parametrize(
    ("said", "other"), [('byteOrder="big"', "byteOrder"), ('pixelStorage="Normal"', "pixelStorage")]
)
def test_xisf_that_the_library_would_read_wrongly_is_refused(
    tmp_path: Path, said: str, other: str
) -> None:
    xisf = pytest.importorskip("xisf")
    path = tmp_path / "a.xisf"
    pixels = np.ascontiguousarray(np.moveaxis(starry(channels=3), 0, -1)).astype("f4")
    xisf.XISF.write(str(path), pixels, creator_app="x" * 40)
    raw = path.read_bytes()
    assert raw.count(b"x" * 40) == 1
    room = b"x" * (40 - len(said) - 1)
    raw = raw.replace(b"x" * 40, room).replace(b"<Image ", f"<Image {said} ".encode(), 1)
    path.write_bytes(raw)
    with pytest.raises(ImageError, match=f"a.xisf: its {other} is"):
        whole(path)


def test_a_raw_mosaic_in_xisf_is_refused(tmp_path: Path) -> None:
    xisf = pytest.importorskip("xisf")
    keywords = {"BAYERPAT": [{"value": "'RGGB'", "comment": ""}]}
    for channels in (1, 3):
        picture = np.ascontiguousarray(np.moveaxis(starry(channels=channels), 0, -1)).astype("f4")
        name = str(tmp_path / f"{channels}.xisf")
        xisf.XISF.write(name, picture, image_metadata={"FITSKeywords": keywords})
    with pytest.raises(ImageError, match=r"1\.xisf: raw colour mosaic \(BAYERPAT 'RGGB'\)"):
        whole(tmp_path / "1.xisf")
    assert whole(tmp_path / "3.xisf").shape[0] == 3


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("span", [(0, 0.9), (0, 1.25), (-40, 3500), (0, 0.125)])
def test_xisf_has_the_bounds_of_its_values(
    tmp_path: Path, stand_in: StarRemover, dtype: str, span: tuple[float, float]
) -> None:
    """Without them PixInsight takes 0 to 1, and clips what lies beyond."""
    xisf = pytest.importorskip("xisf")
    picture = (starry(channels=3) * span[1]).astype(dtype)
    picture[0, 3, 4], picture[1, 3, 4], picture[2, 3, 4] = span[0], span[1], np.nan
    fits.writeto(tmp_path / "a.fits", picture)
    run_file(tmp_path / "a.fits", tmp_path / "b.xisf", remover=stand_in, stretch="none")
    about = xisf.XISF(str(tmp_path / "b.xisf")).get_images_metadata()[0]
    starless = whole(tmp_path / "b.xisf")
    low, high = map(float, about["bounds"].split(":"))
    assert low == min(0, np.nanmin(starless))
    assert high == max(1, np.nanmax(starless))
    assert set(about["FITSKeywords"]) == {"NOXVER", "NOXMODEL", "NOXSHA"}
    run_file(tmp_path / "a.fits", tmp_path / "b.fits", remover=stand_in, stretch="none")
    np.testing.assert_array_equal(starless[:, ::-1], whole(tmp_path / "b.fits"))
    # The results of an XISF file have its bounds, stars and starless alike.
    report = run_file(tmp_path / "b.xisf", remover=stand_in, stretch="none", stars=True)
    for path in report["outputs"].values():
        assert xisf.XISF(path).get_images_metadata()[0]["bounds"] == about["bounds"]


@pytest.mark.parametrize("name", ["photutils__M51.fits", "siril__star_test1.fit.fz"])
def test_real_fits_to_xisf_and_back(astro: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("xisf")
    remover = StarRemover(StandIn(), tile=1024)
    pixels = whole(astro / name).astype("f4" if "M51" in name else "u2")
    fits.writeto(tmp_path / "a.fits", pixels)
    run_file(tmp_path / "a.fits", tmp_path / "b.xisf", remover=remover, strength=0)
    np.testing.assert_array_equal(whole(tmp_path / "b.xisf"), pixels[:, ::-1])
    report = run_file(tmp_path / "b.xisf", tmp_path / "c.fits", remover=remover, strength=0)
    back = whole(tmp_path / "c.fits")
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)
    assert report["notes"] == ["the properties and keywords of b.xisf are not kept in .fits"]


def test_xisf_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "xisf", None)
    (tmp_path / "a.xisf").write_bytes(b"XISF0100 and more")
    with pytest.raises(ImageError, match=r"pip install 'astronox\[xisf\]'"):
        open_image(tmp_path / "a.xisf")


def test_damaged_xisf_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("xisf")
    (tmp_path / "a.xisf").write_bytes(b"XISF0100 and more")
    with pytest.raises(ImageError, match=r"a\.xisf: not a readable XISF file"):
        open_image(tmp_path / "a.xisf")


def test_cached_rows_unpack_each_row_once(tmp_path: Path) -> None:
    picture = (starry(300, 90) * 9999).astype("u2")
    fits.CompImageHDU(picture[0]).writeto(tmp_path / "a.fits.fz")
    with open_image(tmp_path / "a.fits.fz") as source:
        assert source.costly
        rows_read = []
        read = source.read
        source.read = lambda *w: rows_read.append(w[1] - w[0]) or read(*w)  # type: ignore
        cached = CachedRows(source)
        for y0, y1 in ((0, 128), (0, 128), (40, 100), (64, 200), (150, 300)):
            np.testing.assert_array_equal(cached.read(y0, y1, 5, 50), picture[:, y0:y1, 5:50])
            cached.forget(max(0, y0 - 10))
        assert sum(rows_read) == 300


def test_a_mask_goes_to_every_format_and_is_0_where_nothing_changed(tmp_path: Path) -> None:
    remover = StarRemover(StandIn(), tile=128)
    picture = (starry(channels=3) * 65535).astype("u2")
    fits.writeto(tmp_path / "a.fits", picture)
    starless = None
    for name in ("m.fits", "m.tif", "m.png"):
        report = run_file(
            tmp_path / "a.fits", remover=remover, mask=tmp_path / name, overwrite=True
        )
        starless = fits.getdata(report["outputs"]["starless"])
        mask = whole(tmp_path / name)[0]
        mask = mask if name == "m.fits" else mask[::-1] / 65535
        assert 0 < mask.max() <= 1
        changed = (starless != picture).any(axis=0)
        assert (mask[changed] > 0).all()
    np.testing.assert_array_equal(starless[:, mask == 0], picture[:, mask == 0])


def test_the_inverse_of_a_pre_stretched_run_is_the_linear_run(remover: StarRemover) -> None:
    """Linear data, against the same stretched by hand, processed and inverted."""
    from nox_runtime import samples
    from nox_runtime.stretch import choose, mtf, statistics

    linear = whole(samples.sample("nebula"))[:, :256, :256].astype("f8") / 65535
    used = choose("auto", statistics(linear))
    assert used.kind == "auto"
    black, white, m = (np.array(v)[:, None, None] for v in (used.black, used.white, used.midtones))
    shown = mtf(np.clip((linear - black) / (white - black), 0, 1), m)
    by_hand = remover.remove(shown, stretch="none").starless
    back = mtf(by_hand, 1 - m) * (white - black) + black
    one_go = remover.remove(linear, stretch=used)
    inside = ((linear > black) & (linear < white)).all(axis=0)
    assert np.abs(one_go.starless - back)[:, inside].max() <= 1e-5


@pytest.mark.parametrize("name", ["photutils__M51.fits", "siril__star_test1.fit.fz"])
def test_a_real_linear_file_is_as_if_stretched_by_hand(
    remover: StarRemover, astro: Path, tmp_path: Path, name: str
) -> None:
    """From file to file: stretched, written, processed without a stretch, unstretched.

    As 32-bit floats, which stacking programs write: integers are rounded to half a step,
    2.5e-5 of the range of this M 51.
    """
    from nox_runtime.stretch import mtf

    linear = whole(astro / name)[:, -512:, -512:].astype("f4")
    fits.writeto(tmp_path / "linear.fits", linear)
    report = run_file(tmp_path / "linear.fits", remover=remover)
    used = report["stretch"]
    assert used["kind"] == "auto"
    (black,), (white,), (m,) = used["black"], used["white"], used["midtones"]
    shown = mtf(np.clip((linear.astype("f8") - black) / (white - black), 0, 1), m)
    fits.writeto(tmp_path / "shown.fits", shown.astype("f4"))
    run_file(tmp_path / "shown.fits", remover=remover, stretch="none")
    by_hand = whole(tmp_path / "shown_starless.fits").astype("f8")
    back = mtf(by_hand, 1 - m) * (white - black) + black
    starless = whole(tmp_path / "linear_starless.fits")
    assert (starless != linear).mean() > 0.05
    inside = (linear > black) & (linear < white)  # by hand, what is clipped is lost
    assert inside.mean() > 0.99
    assert np.abs(starless - back)[inside].max() <= 1e-5 * (linear.max() - linear.min())
