"""The writer: the source's header, NOX* cards, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from conftest import starry

from nox_napari.fits_reader import read
from nox_napari.fits_writer import write_image
from nox_runtime.errors import OutputError

Write = Callable[..., Path]
MADE = {
    "role": "starless", "model": "nox-1", "model_version": "0.1.0", "weights_sha256": "ab" * 32,
    "stretch": "auto", "device": "cpu", "strength": 0.5,
}  # fmt: skip


def like(settings: dict[str, Any], **made: Any) -> dict[str, Any]:
    metadata = {**settings["metadata"], "nox": {**MADE, **made}}
    return {**settings, "metadata": metadata}


def test_file_still_there_every_card_and_hdu_is_kept(fits_file: Write, tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU((starry(40, 60)[0] * 60000).astype("u2"))
    hdu.header["OBJECT"] = ("M31", "what was photographed")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])], name="NOTES")
    path = fits_file(hdu, table)
    ((data, settings, _),) = read(str(path))
    out = tmp_path / "m31 starless.fits"
    assert write_image(str(out), data // 2, like(settings)) == [str(out)]
    with fits.open(out) as hdus, fits.open(path) as before:
        np.testing.assert_array_equal(hdus[0].data, data // 2)
        assert hdus[0].data.dtype == np.uint16
        for card in before[0].header.cards:
            assert hdus[0].header[card.keyword] == card.value
        assert hdus[0].header["NOXMODEL"] == "nox-1 0.1.0"
        assert hdus[0].header["NOXSHA"] == "ab" * 8
        history = "\n".join(hdus[0].header["HISTORY"])
        assert "stretch auto, on cpu" in history
        assert "strength 0.50" in history
        np.testing.assert_array_equal(hdus["NOTES"].data["a"], [1, 2])


def test_the_second_image_of_a_file_and_a_stack_keep_the_rest(
    fits_file: Write, tmp_path: Path
) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])], name="NOTES")
    pictures = [fits.ImageHDU(starry(40, 60, n).squeeze().astype("f4")) for n in (1, 1, 5)]
    head = fits.PrimaryHDU()
    head.header["OBJECT"] = "M31"
    path = fits_file(head, *pictures, table)
    layers = read(str(path))
    assert len(layers) == 3
    for k, (data, settings, _) in enumerate(layers, start=1):
        out = tmp_path / f"{k}.fits"
        write_image(str(out), np.asarray(data) / 2, like(settings))
        with fits.open(out) as hdus:
            assert hdus[0].header["OBJECT"] == "M31"
            np.testing.assert_array_equal(hdus["NOTES"].data["a"], [1, 2])
            np.testing.assert_array_equal(hdus[k].data, np.asarray(data) / 2)


def test_stars_for_screen_blending_are_told_from_light(tmp_path: Path) -> None:
    for screen, said in (
        (True, "stars for screen blending, in napari"),
        (False, " stars, in napari"),
    ):
        out = tmp_path / f"{screen}.fits"
        settings = {"metadata": {"nox": {**MADE, "role": "stars", "screen": screen}}}
        write_image(str(out), np.zeros((9, 9), "f4"), settings)
        assert said in "".join(fits.getheader(out)["HISTORY"])


@pytest.mark.parametrize("ending", [".fits", ".fit", ".fts", ".fits.gz", ".fits.fz"])
def test_file_gone_the_header_in_the_metadata_is_used(
    fits_file: Write, tmp_path: Path, ending: str
) -> None:
    hdu = fits.PrimaryHDU(starry(40, 60, 3).astype("f4"))
    hdu.header["OBJECT"], hdu.header["CRVAL1"] = "M31", 10.68
    path = fits_file(hdu)
    ((data, settings, _),) = read(str(path))
    path.unlink()
    out = tmp_path / f"copy{ending}"
    write_image(str(out), data, like(settings))
    ((again, restored, _),) = read(str(out))
    np.testing.assert_array_equal(again, data)
    assert restored["rgb"]
    header = restored["metadata"]["header"]
    assert (header["OBJECT"], header["CRVAL1"], header["NOXMODEL"]) == ("M31", 10.68, "nox-1 0.1.0")
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name]


def test_compressed_like_its_source(fits_file: Write, tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU((starry(40, 60)[0] * 60000).astype("u2"))
    hdu.header["OBJECT"] = "M31"
    ((data, settings, _),) = read(str(fits_file(hdu)))
    out = tmp_path / "m31 starless.fits.fz"
    write_image(str(out), data // 2, like(settings))
    with fits.open(out) as hdus:
        assert isinstance(hdus[1], fits.CompImageHDU)
        assert hdus[1].header["OBJECT"] == "M31"
        assert hdus[1].header["NOXMODEL"] == "nox-1 0.1.0"
        np.testing.assert_array_equal(hdus[1].data, data // 2)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("shape", [(40, 60), (5, 40, 60)])
@pytest.mark.parametrize("ending", [".fits", ".fits.fz"])
def test_layers_that_no_file_stands_behind(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], ending: str
) -> None:
    data = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    out = tmp_path / f"made{ending}"
    write_image(str(out), data, {"rgb": False, "metadata": {}})
    ((again, _, _),) = read(str(out))
    np.testing.assert_array_equal(again, data)


def test_the_mask_of_an_integer_picture_is_float_with_the_header(
    fits_file: Write, tmp_path: Path
) -> None:
    hdu = fits.PrimaryHDU((starry(40, 60)[0] * 60000).astype("u2"))
    hdu.header["OBJECT"] = "M31"
    ((data, settings, _),) = read(str(fits_file(hdu)))
    mask = (data > 20000).astype("f4")
    out = tmp_path / "mask.fits"
    write_image(str(out), mask, like(settings, role="mask"))
    ((again, restored, _),) = read(str(out))
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, mask)
    assert restored["metadata"]["header"]["OBJECT"] == "M31"


def test_several_scales_and_dask_write_the_finest(tmp_path: Path) -> None:
    import dask.array as da

    data = np.random.default_rng(0).random((64, 80, 3)).astype("f4")
    levels = [da.from_array(data, chunks=32), da.from_array(data[::2, ::2], chunks=32)]
    out = tmp_path / "a.fits"
    write_image(str(out), levels, {"rgb": True, "metadata": {}})
    ((again, _, _),) = read(str(out))
    np.testing.assert_array_equal(again, data)


def test_the_source_is_never_overwritten(fits_file: Write) -> None:
    path = fits_file(starry(40, 60)[0].astype("f4"))
    before = path.read_bytes()
    ((data, settings, _),) = read(str(path))
    with pytest.raises(OutputError, match="is the file this picture came from"):
        write_image(str(path), data * 0, like(settings))
    assert path.read_bytes() == before


def test_nor_by_a_preview_of_it(fits_file: Write) -> None:
    path = fits_file((starry(40, 60)[0] * 60000).astype("u2"))
    before = path.read_bytes()
    preview = {"metadata": {"nox": {**MADE, "role": "preview", "file": str(path)}}}
    with pytest.raises(OutputError, match="is the file this picture came from"):
        write_image(str(path), np.zeros((5, 6), "u2"), preview)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "metadata",
    [
        {"header": {"OBJECT": "M31"}}, {"header": "SIMPLE = T"}, {"fits": {"id": 7}},
        {"fits": "m31.fits"}, {"nox": 3}, {"header": None, "fits": None, "nox": None},
    ],
)  # fmt: skip
def test_what_other_plugins_keep_under_our_names_is_no_obstacle(
    metadata: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "m31.fits"
    write_image(str(out), np.full((5, 6), 3, "u2"), {"metadata": metadata})
    np.testing.assert_array_equal(fits.getdata(out), np.full((5, 6), 3))


def test_an_existing_file_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "a.fits"
    out.write_bytes(b"old")
    write_image(str(out), np.zeros((4, 5), "f4"), {})
    ((again, _, _),) = read(str(out))
    assert again.shape == (4, 5)


@pytest.mark.parametrize("source_there", [True, False])
def test_full_disk_leaves_nothing_and_says_so(
    fits_file: Write, full_folder: Path, source_there: bool
) -> None:
    path = fits_file(starry(40, 60)[0].astype("f4"))
    ((data, settings, _),) = read(str(path))
    if not source_there:
        path.unlink()
    with pytest.raises(OutputError, match=r"cannot be written.*free some space"):
        write_image(str(full_folder / "a.fits"), data, like(settings))
    assert list(full_folder.iterdir()) == []


def test_values_that_fits_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="complex64"):
        write_image(str(tmp_path / "a.fits"), np.zeros((4, 5), "c8"), {})
