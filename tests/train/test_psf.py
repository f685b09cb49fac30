"""What every point spread function promises, and the optics that `colour_psf` puts together."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from nox_train import psf
from nox_train.psf import Halo, Optics

QUIET = Optics(aureole_share=0.0)


def _moments(image: np.ndarray, reach: int = 40) -> tuple[float, float, float, float, float]:
    """Centroid x, y from pixel ``size // 2``, and variances xx, yy, xy, within `reach`."""
    c = image.shape[0] // 2
    near = np.arange(-reach, reach + 1)
    inner = image[c - reach : c + reach + 1, c - reach : c + reach + 1]
    inner = inner / inner.sum()
    x, y = float(inner.sum(0) @ near), float(inner.sum(1) @ near)
    xx = float(inner.sum(0) @ near**2) - x * x
    yy = float(inner.sum(1) @ near**2) - y * y
    return x, y, xx, yy, float(near @ inner @ near) - x * y


@pytest.mark.parametrize("size", [64, 65])
def test_every_psf_sums_to_1_and_sits_on_its_centre(size: int) -> None:
    motion = psf.together(psf.trail(5, 0.3, 1.0), psf.wind(1.0))
    made = {
        "moffat": psf.moffat(size, 1.2),
        "kolmogorov": psf.kolmogorov(size, 1.2),
        "diffraction": psf.diffraction(size, 1.5, obstruction=0.3),
        "three sub-pixels": psf.diffraction(size, 1.5, obstruction=0.3, oversample=3),
        "hexagons": psf.diffraction(size, 1.5, aperture="hexagons"),
        "bahtinov": psf.diffraction(size, 1.5, aperture="bahtinov"),
        "aureole": psf.aureole(size),
        "reflection": psf.reflection(size, 12, hole=0.3),
        "microlens": psf.microlens(size, 9, orders=2),
        "motion": psf.motion_kernel(size, motion),
    }
    xs = np.arange(size) - size // 2
    for name, image in made.items():
        assert image.sum() == pytest.approx(1), name
        assert image.min() >= 0, name
        near = np.abs(xs) <= 20  # odd and even grids end differently
        inner = image[np.ix_(near, near)]
        assert (inner.sum(0) @ xs[near]) == pytest.approx(0, abs=0.02), name
        assert (inner.sum(1) @ xs[near]) == pytest.approx(0, abs=0.02), name


@pytest.mark.parametrize("exponent", [2.0, 2.5, 3.0])
def test_aureole_falls_by_its_power(exponent: float) -> None:
    glow = psf.aureole(513, exponent, core=2.0)[256]
    slope = np.log(glow[256 + 200] / glow[256 + 50]) / np.log(4)
    assert slope == pytest.approx(-exponent, abs=0.01)


def test_a_reflection_has_its_place_and_its_hole() -> None:
    ring = psf.reflection(129, 30, hole=0.5, dx=4, dy=-7)
    inside = ring > ring.max() / 2
    assert inside.sum() == pytest.approx(np.pi * (30**2 - 15**2), rel=0.01)
    yy, xx = np.nonzero(inside)
    assert (xx.mean() - 64, yy.mean() - 64) == pytest.approx((4, -7), abs=0.01)


def test_microlenses_repeat_the_star_along_rows_and_columns() -> None:
    image = psf.microlens(257, 30.0, wavelengths=(0.999, 1.001), orders=3, blur=1.0, blaze=4.0)
    for m, n in ((1, 0), (0, -1), (1, 1), (-2, 1)):
        y, x = 128 + 30 * n, 128 + 30 * m
        box = image[y - 4 : y + 5, x - 4 : x + 5]
        assert box.argmax() == 40
        wanted = (np.sinc(m / 4) * np.sinc(n / 4)) ** 2
        first = image[128 - 4 : 128 + 5, 158 - 4 : 158 + 5].sum()
        assert box.sum() / first == pytest.approx(wanted / np.sinc(1 / 4) ** 2, rel=0.02)
    assert image[120:137, 120:137].sum() < 1e-4  # the star itself is elsewhere
    with pytest.raises(ValueError, match="it must be below half of size"):
        psf.microlens(64, 60.0)


def test_microlens_dashes_point_at_the_star_and_grow_with_the_passband() -> None:
    image = psf.microlens(257, 40.0, wavelengths=(0.9, 1.1), orders=2, blur=0.8)
    dash = image[120:137, 128 + 55 : 128 + 105]
    along = np.nonzero(dash.sum(0) > dash.sum(0).max() / 2)[0]
    assert len(along) == pytest.approx(80 * 0.2, abs=2)
    across = np.nonzero(dash.sum(1) > dash.sum(1).max() / 2)[0]
    assert len(across) <= 3


def test_motions_have_the_moments_of_their_laws() -> None:
    def variance(motion: tuple, angle: float) -> tuple[float, float]:
        points, shares = motion
        along = points @ [np.cos(angle), np.sin(angle)]
        across = points @ [-np.sin(angle), np.cos(angle)]
        assert shares.sum() == pytest.approx(1)
        assert np.abs(shares @ points).max() < 1e-9
        return float(shares @ along**2), float(shares @ across**2)

    assert variance(psf.trail(8, 0.7), 0.7) == pytest.approx((8**2 / 12, 0), rel=0.01, abs=1e-9)
    assert variance(psf.periodic(3, 0.2), 0.2) == pytest.approx((4.5, 0), rel=0.01, abs=1e-9)
    assert variance(psf.wind(1.5, 1.0), 1.0) == pytest.approx((2.25, 0), rel=0.02, abs=1e-9)
    assert variance(psf.double(5, 0.4, 0.2), 0.4) == pytest.approx((4.0, 0), rel=0.01, abs=1e-9)
    # An arc of sagitta b: b (1 - t^2) has the variance b^2 4 / 45.
    assert variance(psf.trail(10, 0.0, 2.0), 0.0)[1] == pytest.approx(4 * 4 / 45, rel=0.02)


def test_motions_add_their_variances_to_the_star() -> None:
    still = _moments(psf.colour_psf(replace(QUIET, fwhm=3, beta=20), 128)[0])
    moved = replace(QUIET, fwhm=3, beta=20, trail=6, trail_angle=0.0, wind=1.2,
                    wind_angle=np.pi / 2)  # fmt: skip
    x, y, xx, yy, xy = _moments(psf.colour_psf(moved, 128)[0])
    assert (x, y, xy) == pytest.approx((0, 0, 0), abs=0.01)
    assert xx - still[2] == pytest.approx(6**2 / 12, rel=0.03)
    assert yy - still[3] == pytest.approx(1.2**2, rel=0.03)


@pytest.mark.parametrize("fwhm", [0.5, 0.9, 1.4])
@pytest.mark.parametrize("lambda_over_d", [0.7, 1.3])
def test_diffraction_air_and_pixel_meet_in_the_peak(fwhm: float, lambda_over_d: float) -> None:
    # The central pixel holds the integral of the product of all transfer functions,
    # the box of the pixel once among them: the Airy disc's is known in closed form,
    # Moffat's of a large exponent is a Gaussian.
    made = psf.colour_psf(
        replace(QUIET, fwhm=fwhm, beta=2000.0, lambda_over_d=lambda_over_d,
                bandwidth=(1e-6,) * 3, wavelengths_um=(0.5,) * 3), 256)  # fmt: skip
    f = np.linspace(-1 / lambda_over_d, 1 / lambda_over_d, 801)
    r = np.minimum(np.hypot(f[None, :], f[:, None]) * lambda_over_d, 1.0)
    airy = 2 / np.pi * (np.arccos(r) - r * np.sqrt(1 - r * r))
    sigma = fwhm / np.sqrt(8 * np.log(2))
    air = np.exp(-2 * (np.pi * sigma) ** 2 * (f[None, :] ** 2 + f[:, None] ** 2))
    peak = (airy * air * np.sinc(f)[None, :] * np.sinc(f)[:, None]).sum() * (f[1] - f[0]) ** 2
    assert made[1].max() == pytest.approx(peak, rel=0.02)


def test_an_undersampled_star_is_shifted_without_ringing() -> None:
    optics = replace(QUIET, fwhm=0.5, beta=2000.0, shift=((0.5, 0.25), (0, 0), (0, 0)))
    made = psf.colour_psf(optics, 64)[0]
    sigma = 0.5 / np.sqrt(8 * np.log(2)) * np.sqrt(2)

    def share(edge: float) -> float:
        return 0.5 * float(special.erf((edge + 0.5) / sigma) - special.erf((edge - 0.5) / sigma))

    assert made[32, 32] == pytest.approx(share(-0.5) * share(-0.25), rel=0.01)
    assert made[32, 33] == pytest.approx(share(0.5) * share(-0.25), rel=0.01)
    assert made[32, 30] < 1e-6


@pytest.mark.parametrize("lambda_over_d", [0.0, 1.2])
def test_colour_psf_keeps_shift_and_width_of_each_channel(lambda_over_d: float) -> None:
    optics = replace(QUIET, fwhm=3, beta=8.0, width_ratio=(1.5, 1, 1), lambda_over_d=lambda_over_d,
                     shift=((1.25, -0.5), (0, 0), (0, 0)))  # fmt: skip
    red, green, _ = (_moments(p, 12) for p in psf.colour_psf(optics, 128))
    assert red[:2] == pytest.approx((1.25, -0.5), abs=0.06)
    assert green[:2] == pytest.approx((0, 0), abs=0.01)
    assert red[2] > 1.5 * green[2]


@pytest.mark.parametrize("seeing", ["moffat", "kolmogorov"])
def test_shares_are_what_was_asked_for(seeing: str) -> None:
    halo = Halo((0.03, 0.01, 0.02), radius=40, hole=0.5, offset=(3, 0))
    without = psf.colour_psf(replace(QUIET, seeing=seeing), 256)
    made = psf.colour_psf(replace(QUIET, seeing=seeing, halos=(halo,)), 256)
    r = np.hypot(np.arange(256)[None, :] - 131, np.arange(256)[:, None] - 128)
    inside = (r > 18) & (r < 42)
    more = [float(m[inside].sum() - (1 - s) * w[inside].sum())
            for m, w, s in zip(made, without, halo.share, strict=True)]  # fmt: skip
    assert more == pytest.approx(halo.share, rel=0.03)


def test_an_achromats_violet_light_lies_round_the_star() -> None:
    optics = replace(QUIET, fwhm=2.5, lambda_over_d=1.2, chromatic_defocus=(0.05, 0, 0.3),
                     fringe_share=(0, 0, 0.2), fringe_width=8)  # fmt: skip
    red, green, blue = psf.colour_psf(optics, 256)
    assert blue.max() < 0.6 * green.max()
    assert blue[128, 128 + 12] > 3 * green[128, 128 + 12]
    assert red.max() > blue.max()


def test_coma_grows_with_the_field_and_points_away_or_to_the_centre() -> None:
    optics = replace(QUIET, fwhm=1.5, lambda_over_d=1.5, field_coma=0.3)
    at = {p: _moments(psf.colour_psf(optics.at(*p), 128)[1], 20)[:2]
          for p in ((0, 0), (0.5, 0), (1, 0), (0, 1), (-0.6, 0.6))}  # fmt: skip
    assert at[0, 0] == pytest.approx((0, 0), abs=0.01)
    assert at[1, 0][0] == pytest.approx(2 * at[0.5, 0][0], rel=0.12)
    assert at[1, 0][1] == pytest.approx(0, abs=0.02)
    assert at[0, 1][1] == pytest.approx(at[1, 0][0], rel=0.02)
    assert at[-0.6, 0.6][0] == pytest.approx(-at[-0.6, 0.6][1], rel=0.02)


def test_field_aberrations_follow_third_order_theory() -> None:
    optics = Optics(field_coma=0.3, field_astigmatism=0.2, field_curvature=0.1,
                    field_tilt=(0.05, -0.02), aberrations={"defocus": 0.01, "Z14": 0.02},
                    chromatic_defocus=(0.1, 0.0, -0.1))  # fmt: skip
    red, green, _ = optics.at(0.6, -0.8).local_aberrations()
    assert np.hypot(green["coma_x"], green["coma_y"]) == pytest.approx(0.3)
    assert np.hypot(green["astigmatism_0"], green["astigmatism_45"]) == pytest.approx(0.2)
    assert green["defocus"] == pytest.approx(0.01 + 0.1 + 0.6 * 0.05 + 0.8 * 0.02)
    assert red["defocus"] - green["defocus"] == pytest.approx(0.1)
    assert green["Z14"] == 0.02
    half = optics.at(0.3, -0.4).local_aberrations()[1]
    assert half["coma_x"] == pytest.approx(green["coma_x"] / 2)
    assert half["astigmatism_45"] == pytest.approx(green["astigmatism_45"] / 4)
    assert optics.at(0, 0).local_aberrations()[1] == {"defocus": 0.01, "Z14": 0.02}


@pytest.mark.parametrize("defocus", [-0.35, 0.35])
def test_astigmatism_lies_along_the_radius_or_across_it(defocus: float) -> None:
    optics = replace(QUIET, fwhm=1.5, lambda_over_d=1.3, field_astigmatism=0.25,
                     aberrations={"defocus": defocus}, wavelengths_um=(0.5,) * 3)  # fmt: skip
    at = (0.9 * np.cos(0.5), 0.9 * np.sin(0.5))
    _, _, xx, yy, xy = _moments(psf.colour_psf(optics.at(*at), 128)[1], 15)
    long_axis = 0.5 * np.arctan2(2 * xy, xx - yy) % np.pi
    wanted = (0.5 if defocus > 0 else 0.5 + np.pi / 2) % np.pi
    assert long_axis == pytest.approx(wanted, abs=0.05)


def test_a_barrel_cuts_the_corners_stars_along_the_radius() -> None:
    clear = psf.pupil(401, 380)
    cut = psf.pupil(401, 380, vignetting=0.3)
    # Two circles, 0.6 radii apart: the area of the lens between them.
    lens = 2 * np.arccos(0.3) - 0.6 * np.sqrt(1 - 0.3**2)
    assert cut.sum() / clear.sum() == pytest.approx(lens / np.pi, rel=1e-3)
    optics = replace(QUIET, fwhm=1.5, lambda_over_d=1.3, field_vignetting=0.35,
                     aberrations={"defocus": 0.8}, wavelengths_um=(0.5,) * 3)  # fmt: skip
    _, _, xx, yy, xy = _moments(psf.colour_psf(optics.at(0.6, 0.6), 128)[1], 30)
    long_axis = 0.5 * np.arctan2(2 * xy, xx - yy)  # a cat's eye is narrow along the radius
    assert long_axis == pytest.approx(-np.pi / 4, abs=0.05)


def test_lateral_colour_is_radial_and_rotation_tangential() -> None:
    optics = replace(QUIET, fwhm=3, field_colour=2.0)
    red, green, blue = (_moments(p, 15) for p in psf.colour_psf(optics.at(0.6, 0.8), 128))
    assert green[:2] == pytest.approx((0, 0), abs=0.01)
    assert (red[0] - blue[0], red[1] - blue[1]) == pytest.approx((1.2, 1.6), rel=0.03)
    turned = replace(QUIET, fwhm=2, beta=20, field_rotation=8.0).at(0.5, 0.5)
    _, _, xx, yy, xy = _moments(psf.colour_psf(turned, 128)[0])
    assert 0.5 * np.arctan2(2 * xy, xx - yy) == pytest.approx(-np.pi / 4, abs=0.01)


def test_the_air_orders_the_colours_along_one_direction() -> None:
    assert psf.refractivity(0.5) == pytest.approx(2.79e-4, rel=0.002)  # of dry air
    red, green, blue = psf.dispersion(2.0, 0.3, psf.RGB_WAVELENGTHS_UM)
    along = np.array([np.cos(0.3), np.sin(0.3)])
    assert green == (0.0, 0.0)
    assert np.dot(blue, along) > 0 > np.dot(red, along)
    assert np.dot(np.subtract(blue, red), along) == pytest.approx(2.0)
    assert np.dot(blue, [-along[1], along[0]]) == pytest.approx(0)
    assert np.dot(blue, along) > -np.dot(red, along)  # steeper towards the blue


def test_a_grid_holds_the_local_optics_and_its_weights_are_bilinear() -> None:
    optics = replace(QUIET, fwhm=1.5, lambda_over_d=1.2, field_coma=0.3, field_colour=1.0)
    made = psf.psf_grid(optics, 3, 64)
    assert made.shape == (3, 3, 3, 64, 64)
    assert made.sum(axis=(3, 4)) == pytest.approx(np.ones((3, 3, 3)))
    np.testing.assert_allclose(made[0, 2], psf.colour_psf(optics.at(1, -1), 64))
    x, y = np.random.default_rng(1).uniform(-1, 1, (2, 200))
    w = psf.grid_weights(5, x, y)
    assert w.shape == (5, 5, 200)
    assert w.sum(axis=(0, 1)) == pytest.approx(np.ones(200))
    assert (w > 0).sum(axis=(0, 1)).max() <= 4
    nodes = np.linspace(-1, 1, 5)
    # Bilinear weights give back any function a + b x + c y + d x y.
    np.testing.assert_allclose(np.einsum("ijk,j->k", w, nodes), x, atol=1e-12)
    np.testing.assert_allclose(np.einsum("ijk,i,j->k", w, nodes, nodes), x * y, atol=0.07)
    with pytest.raises(ValueError, match="n is 1; a grid needs at least 2"):
        psf.psf_grid(optics, 1)


@given(seed=st.integers(0, 2**32 - 1), mono=st.booleans())
@settings(max_examples=8, deadline=None)
def test_random_optics_always_make_a_psf(seed: int, mono: bool) -> None:
    optics = psf.random_optics(np.random.default_rng(seed), mono=mono)
    assert optics == psf.random_optics(np.random.default_rng(seed), mono=mono)
    made = psf.colour_psf(optics, 256)
    assert made.sum(axis=(1, 2)) == pytest.approx([1, 1, 1])
    assert made.min() >= 0
    if mono:
        assert (made[0] == made[1]).all()
        assert (made[0] == made[2]).all()
    stored = json.loads(json.dumps(asdict(optics)))
    assert stored["fwhm"] == optics.fwhm


def test_random_optics_are_as_common_as_they_are_said_to_be() -> None:
    rng = np.random.default_rng(5)
    drawn = [psf.random_optics(rng) for _ in range(4000)]

    def share(holds: list[bool]) -> float:
        return sum(holds) / len(holds)

    assert 0.35 < share([o.fwhm < 1.8 for o in drawn]) < 0.5
    assert 0.06 < share([o.fwhm > 6.0 for o in drawn]) < 0.12
    assert 0.5 < share([o.lambda_over_d > 0 for o in drawn]) < 0.75
    assert share([bool(o.clips) for o in drawn]) == pytest.approx(1 / 8, abs=0.025)
    uneven = [any(o.blade_errors) for o in drawn if o.blades]
    assert share(uneven) == pytest.approx(0.5, abs=0.15)
    assert share([o.aperture == "hexagons" for o in drawn]) == pytest.approx(0.03, abs=0.01)
    assert share([o.microlens_share > 0 for o in drawn]) == pytest.approx(0.05, abs=0.012)
    assert share([o.field_coma != 0 for o in drawn]) == pytest.approx(0.2, abs=0.03)
    donuts = [abs(o.aberrations.get("defocus", 0)) >= 0.5 for o in drawn]
    assert 0.008 < share(donuts) < 0.025
    assert not any(o.aperture == "bahtinov" for o in drawn)
    assert share([bool(o.halos) for o in drawn]) == pytest.approx(0.42, abs=0.04)
    mount = [any((o.trail, o.periodic_error, o.wind, o.jump, o.field_rotation)) for o in drawn]
    assert share(mount) == pytest.approx(1 / 6, abs=0.025)
    # Narrow bands come with the stars' colours, from the population's palette.
    assert not any(o.bandwidth == (0.01,) * 3 for o in drawn)
    assert {o.vanes for o in drawn} == {0, 2, 3, 4, 6, 8}
    assert {o.seeing for o in drawn} == {"moffat", "kolmogorov"}


def test_replicas_outside_the_grid_are_left_out() -> None:
    optics = replace(QUIET, microlens_share=0.01, microlens_period=60.0)
    np.testing.assert_allclose(psf.colour_psf(optics, 96), psf.colour_psf(QUIET, 96))
    assert psf.colour_psf(optics, 256)[1, 128, 188] > psf.colour_psf(QUIET, 256)[1, 128, 188] * 10


def test_narrowband_spikes_are_as_long_as_their_lines() -> None:
    optics = replace(QUIET, fwhm=1.5, lambda_over_d=1.2, vanes=2, vane_width=0.025)
    sulphur, hydrogen, oxygen = psf.colour_psf(optics.through("SHO"), 256)

    def end(image: np.ndarray) -> int:
        beside = image[128 + 25 : 128 + 90, 127:130].sum(axis=1)
        return 25 + int(beside[: int(np.argmax(beside < 0.02 * beside[0])) + 12].argmin())

    assert end(hydrogen) == pytest.approx(1.2 / 0.025, abs=2)
    assert end(oxygen) / end(hydrogen) == pytest.approx(0.5007 / 0.6563, abs=0.05)
    assert end(sulphur) >= end(hydrogen)
    assert optics.through("H").wavelengths_um == (0.6563,) * 3
    with pytest.raises(ValueError, match="palette is 'RGB'; it must be one or three letters"):
        optics.through("RGB")


def test_no_such_seeing_is_refused() -> None:
    with pytest.raises(ValueError, match="seeing is 'fog'; it must be 'moffat' or 'kolmogorov'"):
        psf.colour_psf(Optics(seeing="fog"), 64)


@pytest.mark.parametrize("fwhm", [2.0, 6.0])
def test_measured_widths_are_those_of_the_image(fwhm: float) -> None:
    optics = replace(QUIET, fwhm=fwhm, beta=2000.0)
    sigma = np.hypot(fwhm / np.sqrt(8 * np.log(2)), 1 / np.sqrt(12))  # the pixel's box
    assert psf.measured_fwhm(optics) == pytest.approx(sigma * np.sqrt(8 * np.log(2)), rel=0.1)
    wide = replace(optics, trail=8.0)
    assert psf.measured_fwhm(wide) > 1.2 * psf.measured_fwhm(optics)
