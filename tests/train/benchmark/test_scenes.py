"""The benchmark's scenes: balanced, reproducible, and true to their tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("galsim", reason="the benchmark needs galsim (extra bench)")

from nox_train.benchmark import light
from nox_train.benchmark.grid import FWHMS, STRETCHES, grid
from nox_train.benchmark.scene import Curve, Scene, automatic, unit
from nox_train.benchmark.scenes import SceneSet, compose, held_out, texture

from .conftest import COLOUR


def test_the_grid_is_balanced_and_always_the_same() -> None:
    specs = grid()
    assert len(specs) >= 60
    assert specs == grid()
    assert Counter((s.fwhm, s.stretch) for s in specs) == {
        (f, s): 2 for f in FWHMS for s in STRETCHES
    }
    assert Counter(s.mono for s in specs) == {True: 16, False: 48}
    assert set(Counter(s.grain for s in specs).values()) == {16}
    assert len({s.name for s in specs}) == len(specs)


def test_quick_scenes_are_some_of_all_and_cover_widths_and_stretches() -> None:
    quick = grid(quick=True)
    assert set(quick) <= set(grid())
    assert {s.fwhm for s in quick} == set(FWHMS)
    assert {s.stretch for s in quick} == set(STRETCHES)


def test_a_scene_is_the_same_bit_by_bit_when_made_again(colour: Scene) -> None:
    again = compose(COLOUR)
    for name in ("input", "truth", "sigma", "stars", "objects", "apertures", "light"):
        np.testing.assert_array_equal(getattr(again, name), getattr(colour, name))
    assert (compose(replace(COLOUR, index=9)).input != colour.input).any()


def test_a_scene_comes_back_from_disk_as_it_was(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path / "scene.npz")
    back = Scene.load(tmp_path / "scene.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["scene.npz"]
    np.testing.assert_array_equal(back.input, scene.input)
    np.testing.assert_array_equal(back.stars, scene.stars)
    np.testing.assert_allclose(back.sigma, scene.sigma, rtol=1e-3)
    assert back.curve == scene.curve
    assert back.facts == scene.facts


def test_input_and_truth_share_background_and_noise(scene: Scene) -> None:
    difference = scene.input.astype(int) - scene.truth.astype(int)
    same = (difference == 0).all(axis=0)
    assert 0.02 < same.mean() < 0.99
    assert difference[:, ~same].mean() > 0  # stars are light
    assert scene.input.max() == 65535
    assert scene.truth.std() > 0


def test_stars_are_where_the_table_has_them(scene: Scene) -> None:
    light_ = (scene.in_light(scene.picture) - scene.in_light(unit(scene.truth))).mean(axis=0)
    bright = scene.stars[
        (scene.stars["snr"] > 20) & scene.stars["counted"] & ~scene.stars["saturated"]
    ]
    assert len(bright) > 3
    rows, columns = (np.floor(bright[k] + 0.5).astype(int) for k in ("y", "x"))
    # Shot noise, neighbours and, on displayed pictures, rounding near white.
    ratio = light_[rows, columns] / bright["peak"]
    assert 0.9 < np.median(ratio) < 1.15


def test_saturated_stars_are_flagged(scene: Scene) -> None:
    full = scene.stars[scene.stars["saturated"] & scene.stars["counted"]]
    assert len(full)
    h, w = scene.input.shape[1:]
    for row in full:
        y, x = min(h - 1, round(row["y"])), min(w - 1, round(row["x"]))
        assert scene.input[:, y, x].max() > 0.97 * 65535
        assert row["radius"] >= 1


def test_an_aperture_holds_nine_tenths_of_its_object(scene: Scene) -> None:
    stop = np.cumsum(scene.objects["pixels"])
    assert stop[-1] == len(scene.apertures) == len(scene.light)
    for row, part in zip(scene.objects, np.split(scene.light, stop[:-1]), strict=True):
        assert 0.9 <= part.sum() / row["flux"] < 0.97
        assert row["kind"] in ("galaxy", "knot", "planetary")


def test_the_noise_of_the_truth_is_that_of_the_table(linear: Scene) -> None:
    shown = linear.display(unit(linear.truth)).mean(axis=0)
    rough = np.diff(shown, axis=1)[:, ::4] / np.sqrt(2)  # neighbours share some noise
    assert 0.5 < rough.std() / np.median(linear.sigma) < 1.6


def test_texture_is_what_is_as_fine_as_a_star() -> None:
    ramp = np.linspace(0.1, 0.4, 256)[None].repeat(256, axis=0)
    assert texture(ramp, 2.0)[32:-32, 32:-32].max() < 1e-3
    rng = np.random.default_rng(1)
    rough = np.zeros((256, 256))
    rough[:, 128:] = rng.normal(0, 0.05, (256, 128))
    made = texture(rough, 2.0)
    assert np.median(made[:, 160:]) == pytest.approx(0.05, rel=0.1)
    assert made[:, :96].max() < 1e-4


def test_texture_lowers_what_a_star_stands_out_by(scene: Scene) -> None:
    assert (scene.stars["snr"] <= scene.stars["grain snr"]).all()
    share = scene.stars["snr"] / scene.stars["grain snr"]
    assert np.percentile(share, 90) > np.percentile(share, 10) + 0.1  # smooth places and rough


def test_light_is_kept_by_the_renderer() -> None:
    rng = np.random.default_rng(1)
    psf = light.point_spread(COLOUR, rng)
    picture = np.zeros((3, 257, 257))
    light.add_star(picture, psf, 128.25, 128.5, np.array([1.0, 2.0, 3.0]), 400)
    np.testing.assert_allclose(picture.sum(axis=(1, 2)), [1, 2, 3], rtol=0.06)
    yy, xx = np.mgrid[:257, :257]
    middle = picture[1] / picture[1].sum()
    assert (middle * xx).sum() == pytest.approx(128.25, abs=0.15)
    assert (middle * yy).sum() == pytest.approx(128.5, abs=0.15)


def test_a_star_beyond_the_edge_adds_its_wings_only() -> None:
    psf = light.point_spread(COLOUR, np.random.default_rng(1))
    picture = np.zeros((3, 40, 40))
    light.add_star(picture, psf, -3.0, 20.0, np.ones(3), 30)
    assert picture[:, 20, 0].min() > picture[:, 20, 9].max() > 0
    before = picture.copy()
    light.add_star(picture, psf, -300.0, 20.0, np.ones(3), 30)
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("kind", ["galaxy", "knot", "planetary"])
def test_objects_are_wider_than_stars(kind: str) -> None:
    for seed in range(6):
        stamp = light.galaxy(kind, 3.0, np.random.default_rng(seed))
        assert stamp.sum() == pytest.approx(1)
        lit = np.sort(stamp.ravel())[::-1]
        half = int(np.searchsorted(np.cumsum(lit), 0.5)) + 1
        # A Gaussian star of 3 px has half of its light within 7 px.
        assert half > 2 * np.pi * 1.5**2


@given(
    kind=st.sampled_from(["mtf", "asinh"]),
    strength=st.floats(0.002, 0.4),
    black=st.floats(0, 0.3),
    value=st.floats(0, 1),
)
def test_a_curve_inverts(kind: str, strength: float, black: float, value: float) -> None:
    curve = Curve(kind, (black,), (strength if kind == "mtf" else 400 * strength,))
    linear_ = np.full((1, 1, 1), black + (1 - black) * value)
    np.testing.assert_allclose(curve.inverse(curve.forward(linear_)), linear_, atol=1e-9)


def test_the_automatic_stretch_brings_the_sky_to_a_quarter() -> None:
    rng = np.random.default_rng(1)
    picture = rng.normal(0.01, 0.001, (3, 99, 99)) + np.array([0, 0.01, 0.05])[:, None, None]
    shown = automatic(picture).forward(picture)
    np.testing.assert_allclose(np.median(shown, axis=(1, 2)), 0.25, atol=1e-3)
    flat = automatic(np.full((1, 9, 9), 0.2))
    assert np.isfinite(flat.forward(np.full((1, 9, 9), 0.2))).all()


def test_a_set_reads_what_it_made_and_mends_what_is_damaged(tmp_path: Path) -> None:
    scenes = SceneSet([COLOUR], cache=tmp_path)
    first = scenes[0]
    path = scenes.prepare(0)
    stamp = path.stat().st_mtime_ns
    np.testing.assert_array_equal(SceneSet([COLOUR], cache=tmp_path)[0].input, first.input)
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(path.read_bytes()[:5000])
    np.testing.assert_array_equal(scenes[0].input, first.input)
    assert scenes.key in str(path)


def test_backgrounds_come_from_held_out_pictures_only(tmp_path: Path) -> None:
    from PIL import Image

    from nox_train.backgrounds import is_held_out

    rng = np.random.default_rng(1)
    for i in range(30):
        picture = np.full((300, 300, 3), 40 + i, np.uint8) + rng.integers(0, 9, (300, 300, 3))
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{i}.png")
    found = held_out(tmp_path)
    assert found
    assert all(is_held_out(p) for p in found)
    assert SceneSet([COLOUR], tmp_path).key != SceneSet([COLOUR]).key
    assert compose(COLOUR, found).input.shape == (3, 192, 192)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="no held-out picture"):
        held_out(tmp_path / "none")
