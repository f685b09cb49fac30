"""Objects that must stay: their forms are what was asked for, and none is a star."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.modeling.models import Sersic2D
from hypothesis import given, settings
from hypothesis import strategies as st

from nox_train import backgrounds
from nox_train.backgrounds import galaxies, objects, passing, profiles
from nox_train.backgrounds.canvas import Canvas, blurred, polar
from nox_train.backgrounds.palette import Palette

SKY = np.full((3, 192, 192), 0.12, np.float32)
ALL_KINDS = [*objects.KINDS, "small galaxies", "marks"]


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    middle = (size - 1) / 2
    return polar((slice(0, size), slice(0, size)), middle, middle)


def _shape(light: np.ndarray) -> tuple[float, float]:
    """Major and minor axis of a map of light: standard deviations by second moments."""
    yy, xx = np.mgrid[: light.shape[0], : light.shape[1]]
    total = light.sum()
    y, x = (yy * light).sum() / total, (xx * light).sum() / total
    moments = [
        [((xx - x) ** 2 * light).sum(), ((xx - x) * (yy - y) * light).sum()],
        [((xx - x) * (yy - y) * light).sum(), ((yy - y) ** 2 * light).sum()],
    ]
    minor, major = np.sqrt(np.linalg.eigvalsh(np.array(moments) / total))
    return float(major), float(minor)


@pytest.mark.parametrize(("n", "radius", "side"), [(1.0, 20.0, 401), (2.5, 10.0, 601), (4, 6, 901)])
@pytest.mark.parametrize("q", [1.0, 0.4])
def test_sersic_has_its_flux_and_half_of_it_within_its_radius(
    n: float, radius: float, side: int, q: float
) -> None:
    middle = side // 2
    light = profiles.sersic_integrated(side, middle, middle, radius, n, q, 0.0)
    flux = profiles.sersic_flux(radius, n, q)
    assert light.sum() == pytest.approx(flux, rel=0.02)
    yy, xx = np.mgrid[:side, :side] - middle
    inside = np.hypot(xx, yy / q) <= radius
    assert light[inside].sum() / flux == pytest.approx(0.5, abs=0.02)


def test_sersic_agrees_with_astropy() -> None:
    light = profiles.sersic_integrated(121, 60, 60, 18.0, 1.6, 0.6, 0.7)
    model = Sersic2D(1.0, 18.0, 1.6, 60, 60, 0.4, 0.7)
    yy, xx = np.mgrid[:121, :121]
    away = np.hypot(xx - 60, yy - 60) > 8  # the middle is integrated over pixels
    np.testing.assert_allclose(light[away], model(xx, yy)[away], rtol=2e-3)


@pytest.mark.parametrize("q", [0.9, 0.5, 0.25])
def test_sersic_has_its_axis_ratio(q: float) -> None:
    light = profiles.sersic_integrated(301, 150, 150, 14.0, 1.0, q, 0.5)
    major, minor = _shape(light)
    assert minor / major == pytest.approx(q, rel=0.03)


@pytest.mark.parametrize("degrees", [8.0, 15.0, 30.0, -20.0])
@pytest.mark.parametrize("arms", [2, 3])
def test_arms_have_their_pitch_angle(degrees: float, arms: int) -> None:
    """The phase of the arms' Fourier mode turns with ln r by m / tan(pitch)."""
    u, v = _grid(301)
    light = profiles.arm_contrast(
        profiles.arm_phase(u, v, np.radians(degrees), arms, 20.0, 0.3), 3.0
    )
    r, theta = np.hypot(u, v), np.arctan2(v, u)
    rings = np.exp(np.arange(np.log(25), np.log(140), 0.03))
    modes = [
        np.mean((light * np.exp(-1j * arms * theta))[(r >= a) & (r < a * 1.03)]) for a in rings[:-1]
    ]
    slope = np.polyfit(np.log(rings[:-1]), np.unwrap(np.angle(modes)), 1)[0]
    measured = np.degrees(np.arctan(-arms / slope))
    assert measured == pytest.approx(degrees, rel=0.06)


def test_a_drawn_spiral_has_the_pitch_angle_it_reports() -> None:
    measured, asked = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        canvas = Canvas(512, Palette("mono"), at=(256.0, 256.0), seeing=1.0)
        facts = galaxies.spiral(canvas, rng)
        if facts["scale_length"] < 25 or not facts["grand_design"] or "bar" in facts:
            continue
        u, v = polar((slice(0, 512),) * 2, 256, 256, facts["angle"], facts["axis_ratio"])
        r, theta, m = np.hypot(u, v), np.arctan2(v, u), facts["arms"]
        scale = facts["scale_length"]
        rings = np.exp(np.arange(np.log(1.5 * scale), np.log(3 * scale), 0.08))
        light = canvas.light[1] / np.exp(-r / scale)
        modes = [
            np.mean((light * np.exp(-1j * m * theta))[(r >= a) & (r < a * 1.08)]) for a in rings
        ]
        slope = np.polyfit(np.log(rings), np.unwrap(np.angle(modes)), 1)[0]
        measured.append(np.degrees(np.arctan(-m / slope)))
        asked.append(np.degrees(facts["pitch"]))
    assert len(asked) >= 4
    # Knots, dust and the rough edges move single ones.
    assert np.median(np.abs(np.array(measured) - asked)) < 3.0
    assert (np.sign(measured) == np.sign(asked)).all()


def test_coma_falls_as_one_over_r() -> None:
    r = np.geomspace(8, 60, 50)
    slope = np.polyfit(np.log(r), np.log(passing.coma(r, 1.5, 5000.0)), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.03)


def test_a_drawn_comet_falls_as_one_over_r_on_the_side_of_the_sun() -> None:
    for seed in range(5):
        canvas = Canvas(384, Palette("broadband"), at=(192.0, 192.0))
        facts = passing.comet(canvas, np.random.default_rng(seed))
        u, v = polar((slice(0, 384),) * 2, 192, 192, facts["angle"])
        r = np.hypot(u, v)
        sunward = (u < -0.7 * r) & (r > 8 * facts["core"]) & (r < 150)
        light = canvas.light[1] * np.exp(r / facts["coma"])
        slope = np.polyfit(np.log(r[sunward]), np.log(light[sunward]), 1)[0]
        assert slope == pytest.approx(-1.0, abs=0.08)


def test_seeing_has_its_width_and_keeps_the_light() -> None:
    for fwhm in (2.0, 3.0):
        point = np.zeros((61, 61), np.float32)
        point[30, 30] = 1
        soft = blurred(point, fwhm)
        assert soft.sum() == pytest.approx(1, rel=1e-3)
        row = soft[30] / soft[30, 30]
        right = np.interp(-0.5, -row[30:], np.arange(31))
        assert 2 * right == pytest.approx(fwhm, rel=0.12)


def test_continuum_has_the_colour_of_its_temperature() -> None:
    broad, narrow = Palette("broadband"), Palette("SHO")
    np.testing.assert_allclose(broad.continuum(5772), 1)
    ratio = [broad.continuum(t)[2] / broad.continuum(t)[0] for t in (3000, 5000, 8000, 20000)]
    assert np.all(np.diff(ratio) > 0)
    assert ratio[0] < 0.4
    # Through narrow filters of lines it is all but grey.
    assert abs(narrow.continuum(3000)[2] - 1) < 0.3 * abs(broad.continuum(3000)[2] - 1)
    np.testing.assert_array_equal(Palette("mono").continuum(3000), 1)


@settings(max_examples=60, deadline=None)
@given(
    radius=st.floats(0.5, 12), seeing=st.floats(1.0, 3.0), early=st.booleans(),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_no_small_galaxy_has_a_stars_shape(
    radius: float, seeing: float, early: bool, seed: int
) -> None:
    size, q = galaxies.resolved(np.random.default_rng(seed), radius, seeing, early)
    star = seeing / 2.3548
    sigma = size * (0.5 if early else 1.0) / 1.177
    major, minor = np.hypot(sigma, star), np.hypot(q * sigma, star)
    assert minor / major <= 0.72 or minor >= 3.0 * star


def test_small_galaxies_as_drawn_are_wider_or_longer_than_stars() -> None:
    star_like = 0
    for seed in range(80):
        canvas = Canvas(96, Palette("mono"), seeing=1.6)
        galaxies.small(canvas, np.random.default_rng(seed), 1)
        light = blurred(canvas.light, canvas.seeing)[1]
        light = np.where(light > 0.02 * light.max(), light, 0)
        point = np.zeros((96, 96), np.float32)
        point[48, 48] = 1
        star = blurred(point, canvas.seeing)
        width, _ = _shape(np.where(star > 0.02 * star.max(), star, 0))
        if (light[[0, -1]] > 0).any() or (light[:, [0, -1]] > 0).any():
            continue  # cut by the frame
        major, minor = _shape(light)
        star_like += minor / major > 0.85 and minor < 1.25 * width
    assert star_like == 0


@pytest.mark.parametrize("kind", ["elliptical", "edge-on", "planetary nebula", "clump"])
@pytest.mark.parametrize("seeing", [2.0, 9.0])
def test_objects_are_larger_where_the_air_is_worse(kind: str, seeing: float) -> None:
    point = np.zeros((384, 384), np.float32)
    point[192, 192] = 1
    star, longer = blurred(point, seeing), []
    for seed in range(24):
        canvas = Canvas(384, Palette("mono"), at=(192.0, 192.0), seeing=seeing)
        objects.KINDS[kind][0](canvas, np.random.default_rng(seed))
        light = blurred(canvas.light, seeing)[1]
        cores = [_shape(np.where(x > 0.3 * x.max(), x, 0))[0] for x in (light, star)]
        longer.append(cores[0] / cores[1])
    assert min(longer) > 1.6, longer


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_each_kind_can_be_drawn(kind: str) -> None:
    changed = 0
    for seed in range(4):
        made, facts = backgrounds.add_objects(
            SKY, np.random.default_rng(seed), kinds=[kind], at=(96.0, 96.0)
        )
        assert made.shape == SKY.shape
        assert made.dtype == np.float32
        assert np.isfinite(made).all()
        assert 0 <= made.min() <= made.max() <= 1
        json.dumps(facts)
        changed += bool(np.abs(made - SKY).max() > 0.01)
        if kind != "small galaxies":
            assert facts[0]["kind"] == kind
    # Of the small ones a frame of 192 px holds one on average.
    assert changed >= (1 if kind == "small galaxies" else 3)
    assert (np.float32(0.12) == SKY).all()


def test_objects_depend_on_the_seed_alone() -> None:
    one, facts = backgrounds.add_objects(SKY, np.random.default_rng(5), mode="many")
    two, again = backgrounds.add_objects(SKY, np.random.default_rng(5), mode="many")
    np.testing.assert_array_equal(one, two)
    assert facts == again
    assert not np.array_equal(
        one, backgrounds.add_objects(SKY, np.random.default_rng(6), mode="many")[0]
    )


def test_most_hold_a_few_objects_and_a_tenth_or_more_many_small_galaxies() -> None:
    sky = np.full((3, 32, 32), 0.1, np.float32)
    counts = []
    for seed in range(300):
        _, facts = backgrounds.add_objects(sky, np.random.default_rng(seed))
        counts.append(len(facts))
    assert min(counts) > 0
    many = [
        backgrounds.add_objects(SKY, np.random.default_rng(s), mode="many")[1][-1]["count"]
        for s in range(12)
    ]
    area = (192 / 512) ** 2
    assert min(many) >= int(80 * area)
    assert max(many) <= 900 * area + 1
    assert max(many) > 3 * min(many)


def test_no_object_leaves_the_picture_as_it_is() -> None:
    made, facts = backgrounds.add_objects(SKY, np.random.default_rng(0), kinds=[])
    np.testing.assert_array_equal(made, SKY)
    assert facts == []


def test_globules_only_darken_what_lies_behind() -> None:
    canvas = Canvas(96, Palette("mono"), at=(48.0, 48.0))
    canvas.shade((slice(20, 60), slice(20, 60)), np.full((40, 40), 2.0))
    made = canvas.put_on(np.full((3, 96, 96), 0.5, np.float32))
    assert made[0, 40, 40] < 0.2
    assert made[0, 90, 90] == pytest.approx(0.5, abs=1e-5)


def test_objects_that_do_not_exist_are_named() -> None:
    with pytest.raises(ValueError, match=r"kinds holds 'quasar'; each must be one of"):
        backgrounds.add_objects(SKY, np.random.default_rng(0), kinds=["quasar"])
    with pytest.raises(ValueError, match=r"mode is 'some'; it must be one of"):
        backgrounds.add_objects(SKY, np.random.default_rng(0), mode="some")


def test_the_docs_state_the_rates_that_are_drawn() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "backgrounds.md"
    rows = [line.split("|")[1:3] for line in page.read_text().splitlines() if line.startswith("| ")]
    stated = {kind.strip(): rate.strip() for kind, rate in rows}
    for kind, (_, rate) in objects.KINDS.items():
        assert float(stated[kind]) == rate, kind


def test_more_objects_are_more_of_each_kind() -> None:
    usual, more = ([], [])
    for abundance, into in ((1.0, usual), (3.0, more)):
        rng = np.random.default_rng(9)
        for _ in range(40):
            facts = backgrounds.add_objects(SKY, rng, abundance=abundance)[1]
            into.append([f["kind"] for f in facts])
    for kind in ("spiral", "elliptical", "planetary nebula", "clump"):
        counts = [sum(f.count(kind) for f in made) for made in (usual, more)]
        assert counts[1] > 1.3 * counts[0], kind


def test_the_usual_number_of_objects_is_one() -> None:
    """The benchmark's invented backgrounds stay what they are."""
    one, two = (
        backgrounds.add_objects(SKY, np.random.default_rng(4), **kw)
        for kw in ({}, {"abundance": 1.0})
    )
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]


def test_every_background_holds_something_that_must_stay() -> None:
    picture = np.full((3, 512, 512), 0.2, np.float32)
    for seed in range(12):
        _, facts = backgrounds.add_objects(picture, np.random.default_rng(seed))
        assert facts
