"""What masks, region files and catalogues protect, against what their makers meant."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from nox_runtime.errors import UsageError
from nox_runtime.images import open_image
from nox_runtime.veto_files import keep_table, protect_rows

SHAPE = (60, 80)


def picture(tmp_path: Path, header: fits.Header | None = None) -> Path:
    path = tmp_path / "m42.fits"
    fits.writeto(path, np.zeros(SHAPE, "f4"), header)
    return path


def weights(path: Path, protect: Path) -> tuple[np.ndarray, list[str]]:
    with ExitStack() as stack:
        source = stack.enter_context(open_image(path))
        rows = protect_rows(protect, source, stack)
        parts = [rows(y, min(y + 7, SHAPE[0])) for y in range(0, SHAPE[0], 7)]
        return np.concatenate(parts), source.notes


@pytest.mark.parametrize(("dtype", "white"), [("u1", 1), ("u1", 255), ("u2", 65535), ("i2", 1)])
def test_integer_masks_are_white_at_1_or_at_their_types_end(
    tmp_path: Path, dtype: str, white: int
) -> None:
    mask = np.zeros(SHAPE, dtype)
    mask[40:, 5:] = white  # beyond the first rows that are read
    fits.writeto(tmp_path / "mask.fits", mask)
    got, _ = weights(picture(tmp_path), tmp_path / "mask.fits")
    np.testing.assert_array_equal(got, mask > 0)


def test_grey_of_an_integer_mask_is_a_share_of_white(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "mask.fits", np.full(SHAPE, 51, "u1"))
    got, _ = weights(picture(tmp_path), tmp_path / "mask.fits")
    np.testing.assert_allclose(got, 0.2)


@pytest.mark.parametrize(
    ("of_picture", "of_mask", "flipped"),
    [
        ("TOP-DOWN", None, False), ("TOP-DOWN", "TOP-DOWN", False), ("TOP-DOWN", "BOTTOM-UP", True),
        (None, None, False), (None, "TOP-DOWN", True), ("BOTTOM-UP", None, False),
    ],
)  # fmt: skip
def test_a_mask_that_names_no_row_order_has_the_pictures(
    tmp_path: Path, of_picture: str | None, of_mask: str | None, flipped: bool
) -> None:
    def header(order: str | None) -> fits.Header:
        return fits.Header([("ROWORDER", order)] if order else [])

    mask = np.zeros(SHAPE, "f4")
    mask[:11] = 1
    fits.writeto(tmp_path / "mask.fits", mask, header(of_mask))
    got, _ = weights(picture(tmp_path, header(of_picture)), tmp_path / "mask.fits")
    np.testing.assert_array_equal(got, mask[::-1] if flipped else mask)


def regions(tmp_path: Path, text: str) -> tuple[np.ndarray, list[str]]:
    pytest.importorskip("regions")
    path = tmp_path / "a.reg"
    path.write_text("# Region file format: DS9 version 4.1\n" + text)
    return weights(picture(tmp_path), path)


def test_an_annulus_protects_its_ring_alone(tmp_path: Path) -> None:
    got, notes = regions(tmp_path, "linear\nimage\nannulus(40,30,8,15)\n")
    assert (got[29, 39], got[29, 39 + 11], got[29, 39 + 20]) == (0, 1, 0)
    assert not notes


def test_what_of_a_region_file_is_left_out_is_said(tmp_path: Path) -> None:
    text = "image\ncircle(30,30,9)\npanda(60,30,0,360,4,5,9,2)\npoint(5,5)\ntext(9,9) # text={a}\n"
    got, notes = regions(tmp_path, text)
    assert got[29, 29] == 1
    assert got[29, 59 + 7] == 0
    assert notes == [
        "a.reg: panda left out, not protected",
        "a.reg: point left out, without an area",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image\npoint(5,5)\n", "holds no region that protects anything; draw a circle"),
        ("image\n-circle(30,30,9)\n", "holds no region that protects anything"),
        ("image\npanda(60,30,0,360,4,5,9,2)\n", "holds no region that protects anything"),
        ("physical\ncircle(30,30,9)\n", r"nox does not know \(physical\); save it in image"),
        ("image\npanda(60,30,0,360,4,5,9,2)\nphysical\ncircle(30,30,9)\n", r"know \(physical\)"),
    ],
)
def test_regions_that_would_protect_nothing_are_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        regions(tmp_path, text)


def sky(kind: str) -> WCS:
    """A field of 80 x 60 px, distorted or in galactic coordinates."""
    header = fits.Header()
    names = ("GLON-TAN", "GLAT-TAN") if kind == "galactic" else ("RA---TAN-SIP", "DEC--TAN-SIP")
    for axis, name, value, pixel in zip("12", names, (83.8, -5.4), (40, 30), strict=True):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = name, value
        header[f"CRPIX{axis}"], header[f"CDELT{axis}"] = pixel, 1e-3
    if kind == "distorted":
        header["A_ORDER"], header["B_ORDER"], header["A_2_0"], header["B_0_2"] = 2, 2, 2e-3, 2e-3
    return WCS(header)


@pytest.mark.parametrize("kind", ["distorted", "galactic"])
def test_places_in_the_sky_come_back_to_their_pixels(tmp_path: Path, kind: str) -> None:
    wcs = sky(kind)
    x, y = np.array([5.0, 41.0, 77.0]), np.array([50.0, 29.0, 7.0])
    there = wcs.pixel_to_world(x, y).icrs
    assert isinstance(there, SkyCoord)
    table = Table({"ra": there.ra.deg, "dec": there.dec.deg})
    table.add_row((263.0, 5.0))  # the other side of the sky
    table.add_row((83.8, -999.0))  # not known
    table.write(tmp_path / "k.csv")
    path = picture(tmp_path, wcs.to_header(relax=True))
    with open_image(path) as source:
        kept = np.asarray(keep_table(tmp_path / "k.csv", source))
    np.testing.assert_allclose(kept[:3, :2], np.transpose([x, y]), atol=1e-3)
    assert len(kept) in (3, 4)
    assert not ((kept[3:, :2] >= 0) & (kept[3:, :2] < 80)).all(axis=1).any()
