from __future__ import annotations

import numpy as np
import pytest
from astropy.modeling import fitting, models
from photutils.psf import AiryDiskPSF

from nox_train import psf


def _width(profile: np.ndarray) -> float:
    """Full width at half maximum of a one-dimensional profile, by interpolation."""
    half = profile.max() / 2
    above = np.nonzero(profile >= half)[0]
    i, j = above[0], above[-1]
    left = i - (profile[i] - half) / (profile[i] - profile[i - 1])
    right = j + (profile[j] - half) / (profile[j] - profile[j + 1])
    return float(right - left)


@pytest.mark.parametrize("fwhm", [3.0, 5.0, 9.0])
@pytest.mark.parametrize("beta", [2.5, 4.765])
def test_moffat_agrees_with_astropys_fit(fwhm: float, beta: float) -> None:
    image = psf.moffat(129, fwhm, beta, oversample=9)
    yy, xx = np.mgrid[:129, :129]
    start = models.Moffat2D(image.max(), 64, 64, gamma=3, alpha=3)
    fit = fitting.LMLSQFitter()(start, xx, yy, image, maxiter=500)
    assert fit.fwhm == pytest.approx(np.hypot(fwhm, 0.62), rel=0.03)
    assert (fit.x_0.value, fit.y_0.value) == pytest.approx((64, 64), abs=1e-3)


@pytest.mark.parametrize("size", [64, 65])
def test_every_psf_sums_to_1_and_sits_on_its_centre(size: int) -> None:
    made = {
        "moffat": psf.moffat(size, 1.2),
        "diffraction": psf.diffraction(size, 1.5, obstruction=0.3),
        "aureole": psf.aureole(size),
        "reflection": psf.reflection(size, 12, hole=0.3),
    }
    xs = np.arange(size) - size // 2
    for name, image in made.items():
        assert image.sum() == pytest.approx(1), name
        assert image.min() >= 0, name
        near = np.abs(xs) <= 20  # odd and even grids end differently
        inner = image[np.ix_(near, near)]
        assert (inner.sum(0) @ xs[near]) == pytest.approx(0, abs=0.02), name
        assert (inner.sum(1) @ xs[near]) == pytest.approx(0, abs=0.02), name


def test_undersampled_moffat_is_integrated_over_the_pixel() -> None:
    fine = psf.moffat(33, 0.9, 3.0, oversample=63)
    assert psf.moffat(33, 0.9, 3.0).max() == pytest.approx(fine.max(), rel=0.01)


def test_diffraction_of_a_clear_aperture_is_photutils_airy_disc() -> None:
    scale, size = 4.0, 129  # lambda / D in pixels: so wide that pixels hardly integrate
    image = psf.diffraction(size, scale, oversample=3)
    yy, xx = np.mgrid[:size, :size]
    airy = AiryDiskPSF(flux=1, x_0=64, y_0=64, radius=1.21967 * scale)(xx, yy)
    np.testing.assert_allclose(image[64] / image.max(), airy[64] / airy.max(), atol=0.02)
    assert _width(image[64]) == pytest.approx(1.029 * scale, rel=0.03)


@pytest.mark.parametrize(("vanes", "spikes"), [(3, 6), (4, 4), (6, 6)])
def test_vanes_make_their_spikes(vanes: int, spikes: int) -> None:
    angle = 0.4
    image = psf.diffraction(257, 1.2, obstruction=0.3, vanes=vanes, vane_width=0.02,
                            vane_angle=angle, wavelengths=(0.9, 1.0, 1.1))  # fmt: skip
    t = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    light = np.zeros(720)
    for r in np.linspace(40, 100, 61):
        y = np.rint(128 + r * np.sin(t)).astype(int)
        x = np.rint(128 + r * np.cos(t)).astype(int)
        light += image[y, x]
    # Each vane throws light at right angles to itself, both ways.
    sides = {(angle + 2 * np.pi * k / vanes + s * np.pi / 2) for k in range(vanes) for s in (1, -1)}
    expected = np.unique(np.round(np.degrees(list(sides)) % 360, 3))
    assert len(expected) == spikes
    found = []
    for direction in expected:
        near = np.abs((np.degrees(t) - direction + 180) % 360 - 180) < 6
        found.append(np.degrees(t)[near][light[near].argmax()] - direction)
        assert light[near].max() > 5 * np.median(light)
    assert np.abs(found).max() < 2


def test_aureole_falls_by_its_power() -> None:
    glow = psf.aureole(513, 2.5, core=2.0)[256]
    assert np.log(glow[256 + 200] / glow[256 + 50]) / np.log(4) == pytest.approx(-2.5, abs=0.01)


def test_colour_psf_keeps_shift_and_width_of_each_channel() -> None:
    optics = psf.Optics(fwhm=4, width_ratio=(1.5, 1, 1), shift=((1.25, -0.5), (0, 0), (0, 0)),
                        aureole_share=0)  # fmt: skip
    made = psf.colour_psf(optics, 128)
    assert made.sum(axis=(1, 2)) == pytest.approx([1, 1, 1])
    assert _width(made[0].sum(0)) > 1.4 * _width(made[1].sum(0))
    assert made[0].sum(0).argmax() - made[1].sum(0).argmax() in (1, 2)


def test_bad_arguments_say_what_is_right() -> None:
    with pytest.raises(ValueError, match="fwhm is 0; it must be greater than 0"):
        psf.moffat(33, 0)
    with pytest.raises(ValueError, match=r"it must be at least 0\.5 px"):
        psf.diffraction(64, 0.3)


def test_random_optics_always_make_a_psf() -> None:
    rng = np.random.default_rng(3)
    for _ in range(4):
        made = psf.colour_psf(psf.random_optics(rng), 256)
        assert made.sum(axis=(1, 2)) == pytest.approx([1, 1, 1])
        assert made.min() >= 0
