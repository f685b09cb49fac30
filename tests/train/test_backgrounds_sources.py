"""Readers of folders, the hold-out split, and points of light in photographs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from nox_train import backgrounds
from nox_train.backgrounds import points

REAL = Path(__file__).parents[3] / "shared" / "data" / "backgrounds"


def _save(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (value, value, value)).save(path)
    return path


def _sidd(folder: Path, scenes: int = 10, cameras: tuple[str, ...] = ("S6", "GP")) -> Path:
    """A tree with the layout of SIDD_Small_sRGB_Only: an instance a scene and camera."""
    instance = 0
    for scene in range(1, scenes + 1):
        for camera in cameras:
            instance += 1
            name = f"{instance:04d}_{scene:03d}_{camera}_00100_00060_3200_L"
            for kind in ("GT", "NOISY"):
                _save(folder / "Data" / name / f"{instance:04d}_{kind}_SRGB_010.PNG", instance)
    (folder / "ReadMe.txt").write_text("not a picture")
    return folder


def _renoir(folder: Path, batches: int = 12) -> Path:
    for camera in ("Mi3", "S90", "T3i"):
        for batch in range(1, batches + 1):
            at = folder / f"{camera}_Aligned" / f"Batch_{batch:03d}"
            _save(at / f"IMG_{batch:04d}Reference.bmp")
            _save(at / f"IMG_{batch:04d}Noisy.bmp")
    return folder


def test_sidd_is_known_by_its_layout(tmp_path: Path) -> None:
    found = backgrounds.open_source(_sidd(tmp_path))
    assert len(found) == 20
    assert {p.kind for p in found} == {"photograph"}
    assert all("_GT_SRGB_" in p.path.name for p in found)
    assert {p.source for p in found} == {f"sidd:{i:03d}" for i in range(1, 11)}
    both = backgrounds.open_source(tmp_path, noisy=True)
    assert len(both) == 40
    assert sum(p.kind == "noisy" for p in both) == 20


def test_renoir_is_known_by_its_layout(tmp_path: Path) -> None:
    found = backgrounds.open_source(_renoir(tmp_path))
    assert len(found) == 36
    assert all(p.path.name.endswith("Reference.bmp") for p in found)
    assert {p.source for p in found} == {f"renoir:{i:03d}" for i in range(1, 13)}
    assert len(backgrounds.open_source(tmp_path, noisy=True)) == 72


def test_mixed_folders_and_maps(tmp_path: Path) -> None:
    _sidd(tmp_path / "sidd", 2)
    _renoir(tmp_path / "renoir", 2)
    _save(tmp_path / "mine" / "hill.jpg")
    # Like RENOIR's, but in no batch: a picture like any other.
    _save(tmp_path / "mine" / "Noisy.bmp")
    fits.writeto(tmp_path / "dust.fits", np.ones((4, 4)))
    _save(tmp_path / ".trash.png")
    found = {p.path.name: p for p in backgrounds.open_source(tmp_path)}
    assert len(found) == 4 + 2 + 3  # the cameras' files of a batch share their name
    assert found["hill.jpg"].source == "hill.jpg"
    assert found["Noisy.bmp"].kind == "photograph"
    assert found["dust.fits"].kind == "map"
    listed = backgrounds.list_pictures(tmp_path)
    assert listed == sorted(listed)
    assert len(listed) == 4 + 6 + 3


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone: no such folder; give one"):
        backgrounds.open_source(tmp_path / "gone")
    assert backgrounds.open_source(tmp_path) == []


def test_hold_out_is_by_name_and_about_a_tenth(tmp_path: Path) -> None:
    names = [Path(f"picture-{i}.png") for i in range(2000)]
    held = [backgrounds.is_held_out(n) for n in names]
    assert 0.08 < np.mean(held) < 0.12
    assert backgrounds.is_held_out(tmp_path / names[0].name) == held[0]
    # The rule of nox-1's training; another would mix its two sides.
    first = hashlib.sha256(b"picture-0.png").digest()[:4]
    assert held[0] == (int.from_bytes(first, "big") % 10 == 0)


@pytest.mark.parametrize("make", [_sidd, _renoir])
def test_pictures_of_one_scene_are_on_one_side(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path, 40)
    sides: dict[str, set[bool]] = {}
    for picture in backgrounds.open_source(tmp_path, noisy=True):
        sides.setdefault(picture.source, set()).add(backgrounds.is_held_out(picture.path))
    assert len(sides) == 40
    assert all(len(side) == 1 for side in sides.values())
    assert 0 < sum(side == {True} for side in sides.values()) < 12


def test_sixteen_bit_pictures_keep_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(32, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    read = backgrounds.read_picture(tmp_path / "deep.png")
    assert read.shape == (3, 32, 64)
    np.testing.assert_allclose(read[1], ramp / 65535, atol=1e-6)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "planar.tif"])
def test_sixteen_bit_colour_keeps_its_steps(name: str, tmp_path: Path) -> None:
    steps = np.arange(64 * 3, dtype=np.uint16).reshape(1, 64, 3).repeat(8, 0) + 20_000
    path = tmp_path / name
    if name.endswith("png"):
        path.write_bytes(imagecodecs.png_encode(steps))
    elif name.startswith("planar"):
        planes = np.ascontiguousarray(np.moveaxis(steps, -1, 0))
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    else:
        tifffile.imwrite(path, steps, photometric="rgb")
    read = backgrounds.read_picture(path)
    np.testing.assert_allclose(read, np.moveaxis(steps, -1, 0) / 65535, atol=1e-6)


def test_pictures_of_floats_are_scaled_by_what_they_span(tmp_path: Path) -> None:
    linear = np.linspace(100, 900, 32 * 32 * 3, dtype=np.float32).reshape(32, 32, 3)
    tifffile.imwrite(tmp_path / "linear.tif", linear, photometric="rgb")
    read = backgrounds.read_picture(tmp_path / "linear.tif")
    assert (read.min(), read.max()) == (0, 1)
    low, high = np.percentile(linear, [1, 99.5])
    expected = ((np.moveaxis(linear, -1, 0) - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(read, expected, atol=1e-5)


def test_palettes_are_read_as_colours(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), (255, 128, 0)).quantize(4)
    picture.save(tmp_path / "palette.png")
    read = backgrounds.read_picture(tmp_path / "palette.png")
    assert read[:, 4, 4] == pytest.approx([1, 128 / 255, 0], abs=0.01)


def test_maps_are_scaled_and_gaps_filled(tmp_path: Path) -> None:
    data = np.linspace(-3, 8, 2500).reshape(50, 50)
    data[10, 10] = np.nan
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.stack([0 * data, data, 0 * data]))]
    fits.HDUList(hdus).writeto(tmp_path / "cube.fits")
    read = backgrounds.read_picture(tmp_path / "cube.fits")
    assert read.shape == (3, 50, 50)
    assert read.dtype == np.float32
    assert read.min() == 0
    assert read.max() == 1
    assert read[0, 10, 10] == 0


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG not at all")
    with pytest.raises(ValueError, match=r"broken.png: cannot be read as a picture \(.*take it"):
        backgrounds.read_picture(broken)
    fits.writeto(tmp_path / "spectrum.fits", np.ones(5))
    with pytest.raises(ValueError, match=r"spectrum.fits: .*no HDU holds an image"):
        backgrounds.read_picture(tmp_path / "spectrum.fits")
    fits.writeto(tmp_path / "gap.fits", np.full((5, 5), np.nan))
    with pytest.raises(ValueError, match=r"gap.fits: .*it holds no number"):
        backgrounds.read_picture(tmp_path / "gap.fits")


def _with_stars(ground: np.ndarray, places: np.ndarray, fwhm: float, height: float) -> np.ndarray:
    picture = np.array(ground)
    yy, xx = np.mgrid[: ground.shape[1], : ground.shape[2]]
    for y, x in places:
        r2 = (yy - y) ** 2 + (xx - x) ** 2
        picture += height * np.exp(-2.773 * r2 / fwhm**2).astype(np.float32)
    return picture.clip(0, 1)


@pytest.mark.parametrize("fwhm", [2.0, 3.5, 6.0])
def test_stars_on_a_smooth_ground_are_found_and_mended(fwhm: float) -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(0.1, 0.4, 200, dtype=np.float32)
    ground = np.broadcast_to(ramp, (3, 200, 200)) + rng.normal(0, 0.004, (3, 200, 200))
    ground = ground.astype(np.float32)
    places = np.stack(np.meshgrid([30, 75, 120, 165], [35, 80, 125, 170]), -1).reshape(-1, 2)
    picture = _with_stars(ground, places + 0.3, fwhm, 0.25)
    found = points.find_points(picture)
    assert len(found) == len(places)
    for y, x in places:
        assert np.hypot(found[:, 0] - y, found[:, 1] - x).min() < 1.6
    mended = points.mend(picture, found, rng)
    assert len(points.find_points(mended)) == 0
    assert np.abs(mended - ground).max() < 0.05
    far = np.min([np.hypot(*np.mgrid[-y : 200 - y, -x : 200 - x]) for y, x in places], axis=0) > 20
    np.testing.assert_array_equal(mended[:, far], picture[:, far])


def test_texture_edges_lines_and_galaxies_are_no_points() -> None:
    rng = np.random.default_rng(2)
    rough = backgrounds.fractal(256, 1.5, rng).astype(np.float32)
    edge = np.where(np.arange(256) > 100, 0.8, 0.1).astype(np.float32)[None].repeat(256, 0)
    line = np.exp(-((np.arange(256, dtype=np.float32) - 80) ** 2) / 4)[None].repeat(256, 0)
    galaxy = 0.1 + 0.5 * backgrounds.sersic(256, 14.0, 1.0, 0.4, 0.6, 128, 128)
    for picture in (rough, edge, line, galaxy.astype(np.float32)):
        noise = rng.normal(0, 0.003, picture.shape).astype(np.float32)
        assert len(points.find_points(np.stack([picture + noise] * 3))) <= 1


def test_a_crop_full_of_stars_is_thrown_away() -> None:
    rng = np.random.default_rng(3)
    ground = np.full((3, 256, 256), 0.15, np.float32)
    many = _with_stars(ground, rng.uniform(0, 256, (120, 2)), 2.5, 0.3)
    cut, facts = backgrounds.star_free_crop(many, 256, rng)
    assert cut is None
    assert facts["rejected"] > 0
    few = _with_stars(ground, np.array([[60.0, 70.0], [180.0, 120.0]]), 2.5, 0.3)
    cut, facts = backgrounds.star_free_crop(few, 256, rng)
    assert cut is not None
    assert facts == {"rejected": 0, "mended": 2}
    assert cut.max() < 0.2


@pytest.mark.skipif(not REAL.is_dir(), reason="no real backgrounds beside the checkout")
def test_wallpapers_with_star_skies_are_recognised() -> None:
    """Found by looking: of the real folder's pictures these show stars, those do not."""

    def most(start: str) -> int:
        path = next(p for p in backgrounds.list_pictures(REAL) if p.name.startswith(start))
        picture = backgrounds.read_picture(path)
        cuts = (backgrounds.crop(picture, 512, np.random.default_rng(k)) for k in range(2))
        return max(len(points.find_points(cut)) for cut in cuts)

    for name in ("worksuite__patrick-fore", "trident__scenic-view-of-field-during"):
        assert most(name) > 30, name
    for name in ("celestia__venus-clouds", "redeclipse__clouds04"):
        assert most(name) <= 2, name
