"""Invented nebulae and skies."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from nox_train import backgrounds
from nox_train.backgrounds import nebulae
from nox_train.backgrounds.fractal import gaussian_field, warped
from nox_train.backgrounds.palette import LINES, SHARES, Palette
from nox_train.backgrounds.points import find_points


@pytest.mark.parametrize("family", list(backgrounds.FAMILIES))
def test_invented_backgrounds(family: str) -> None:
    made = backgrounds.procedural(128, np.random.default_rng(1), family)
    assert made.shape == (3, 128, 128)
    assert made.dtype == np.float32
    assert 0 <= made.min() < made.max() <= 1


def test_a_family_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"family is 'galaxy'; it must be one of \['emission'"):
        backgrounds.procedural(32, np.random.default_rng(1), "galaxy")


def test_shares_add_up() -> None:
    assert sum(nebulae.SHARES.values()) == pytest.approx(1)
    assert sum(SHARES.values()) == pytest.approx(1)
    assert nebulae.SHARES.keys() == backgrounds.FAMILIES.keys()
    assert SHARES.keys() == LINES.keys()


@pytest.mark.parametrize("slope", [2.5, 3.0, 3.7])
def test_fractal_has_its_power_spectrum(slope: float) -> None:
    field = backgrounds.fractal(512, slope, np.random.default_rng(5))
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512)))
    low, high = (power[(k > a) & (k < b)].mean() for a, b in ((0.02, 0.025), (0.2, 0.25)))
    assert np.log10(high / low) == pytest.approx(-slope, abs=0.35)


@pytest.mark.parametrize("slope", [2.5, 3.0, 3.7])
def test_gaussian_field_has_its_power_spectrum_and_variance(slope: float) -> None:
    field = gaussian_field(512, slope, np.random.default_rng(3))
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)
    taper = np.hanning(512)  # it is not periodic: its edges would leak
    power = np.abs(np.fft.fft2(field * taper[:, None] * taper)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512)))
    rings = np.geomspace(0.02, 0.3, 12)
    level = [power[(k > a) & (k < 1.15 * a)].mean() for a in rings]
    assert np.polyfit(np.log(rings), np.log(level), 1)[0] == pytest.approx(-slope, abs=0.2)


def test_warping_moves_points_and_changes_no_value() -> None:
    rng = np.random.default_rng(0)
    field = gaussian_field(128, 3.5, rng)
    moved = warped(field, 0.05, rng)
    assert moved.min() >= field.min()
    assert moved.max() <= field.max()
    assert np.abs(moved - field).mean() > 0.05
    np.testing.assert_array_equal(warped(field, 0.0, rng), field)


def test_mono_palettes_give_grey() -> None:
    for family, make in backgrounds.FAMILIES.items():
        light = make(96, np.random.default_rng(2), Palette("mono"))
        assert light.min() >= 0, family
        np.testing.assert_allclose(light[0], light[2], rtol=1e-4, atol=1e-6)


def test_reflection_is_blue_and_dust_reddens() -> None:
    blue = nebulae.reflection(128, np.random.default_rng(5), Palette("broadband"))
    assert blue[2].mean() > 1.3 * blue[0].mean()
    dark = nebulae.dark(256, np.random.default_rng(5), Palette("broadband"))
    deep = dark[1] < np.percentile(dark[1], 20)
    clear = dark[1] > np.percentile(dark[1], 80)
    ratio = dark[2] / dark[0]
    assert ratio[deep].mean() < 0.97 * ratio[clear].mean()


def test_gradients_are_smooth_and_reported() -> None:
    seen: set[str] = set()
    flat = np.ones((3, 96, 96), np.float32)
    for seed in range(60):
        light, facts = backgrounds.add_gradients(flat, np.random.default_rng(seed))
        seen |= facts.keys()
        assert light.min() > 0
        if not facts:
            np.testing.assert_array_equal(light, flat)
        if "dust_rings" not in facts:
            assert np.abs(np.diff(light, axis=2)).max() < 0.2
    assert seen == {"pollution", "vignetting", "amp_glow", "dust_rings"}
    assert (flat == 1).all()


@pytest.mark.parametrize("family", list(backgrounds.FAMILIES))
def test_invented_backgrounds_hold_no_stars(family: str) -> None:
    found = [
        len(
            find_points(
                backgrounds.procedural(256, np.random.default_rng(s), family, objects=False)
            )
        )
        for s in range(6)
    ]
    # 0.39 megapixels in all; the knots of filaments may look like one now and then.
    assert sum(found) <= 4


def test_made_backgrounds_report_what_they_hold(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made, facts = backgrounds.make(96, np.random.default_rng(4))
    assert made.shape == (3, 96, 96)
    assert facts["picture"] == ""
    assert facts["family"] in backgrounds.FAMILIES
    assert (facts["seeing"] is None) == (not facts["objects"])
    json.dumps(facts)
    again, _ = backgrounds.make(96, np.random.default_rng(4))
    np.testing.assert_array_equal(made, again)
    path = tmp_path / "hill.png"
    ramp = np.linspace(40, 200, 300).astype(np.uint8)
    Image.fromarray(np.repeat(np.repeat(ramp[None], 300, 0)[..., None], 3, 2)).save(path)
    made, facts = backgrounds.make(96, np.random.default_rng(4), path)
    assert facts["picture"] == "hill.png"
    assert "family" not in facts
    assert made.shape == (3, 96, 96)
    json.dumps(facts)


def test_a_picture_of_stars_is_replaced_by_an_invented_one(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    sky = np.full((300, 300), 40.0)
    yy, xx = np.mgrid[:300, :300]
    for y, x in rng.uniform(0, 300, (150, 2)):
        sky += rng.uniform(60, 200) * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 4)
    path = tmp_path / "milkyway.png"
    Image.fromarray(np.repeat(sky.clip(0, 255).astype(np.uint8)[..., None], 3, 2)).save(path)
    _, facts = backgrounds.make(256, np.random.default_rng(1), path)
    assert facts["picture"] == "milkyway.png"
    assert facts["rejected"] > 0
    assert facts["family"] in backgrounds.FAMILIES
