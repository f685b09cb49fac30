"""The air's profiles against astropy, photutils, GalSim and their own laws."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.modeling import fitting, models
from photutils.psf import GaussianPRF

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
    image = psf.moffat(129, fwhm, beta)
    yy, xx = np.mgrid[:129, :129]
    start = models.Moffat2D(image.max(), 64, 64, gamma=3, alpha=3)
    fit = fitting.LMLSQFitter()(start, xx, yy, image, maxiter=500)
    assert fit.fwhm == pytest.approx(np.hypot(fwhm, 0.62), rel=0.03)
    assert (fit.x_0.value, fit.y_0.value) == pytest.approx((64, 64), abs=1e-3)


@pytest.mark.parametrize("fwhm", [0.4, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.45)])
def test_a_narrow_gaussian_is_integrated_over_the_pixel(
    fwhm: float, offset: tuple[float, float]
) -> None:
    dx, dy = offset
    image = psf.moffat(33, fwhm, 3000.0, dx=dx, dy=dy)  # the limit of a large beta
    yy, xx = np.mgrid[:33, :33]
    exact = GaussianPRF(flux=1, x_0=16 + dx, y_0=16 + dy, x_fwhm=fwhm, y_fwhm=fwhm)(xx, yy)
    np.testing.assert_allclose(image, exact, atol=1e-3 * exact.max())


@pytest.mark.parametrize("ellipticity", [0.0, 0.4])
def test_sub_pixels_change_nothing(ellipticity: float) -> None:
    fine = psf.moffat(65, 0.9, 2.5, ellipticity=ellipticity, angle=0.4, oversample=11)
    plain = psf.moffat(65, 0.9, 2.5, ellipticity=ellipticity, angle=0.4)
    np.testing.assert_allclose(plain, fine, rtol=2e-3, atol=1e-5 * fine.max())


def test_moffats_ellipse_has_the_axes_and_the_angle_asked_for() -> None:
    image = psf.moffat(257, 8.0, 6.0, ellipticity=0.4, angle=0.6)
    near = np.arange(-60, 61)
    inner = image[68:189, 68:189]
    x2, y2 = inner.sum(0) @ near**2, inner.sum(1) @ near**2
    xy = near @ inner @ near
    assert 0.5 * np.arctan2(2 * xy, x2 - y2) == pytest.approx(0.6, abs=0.01)
    mean, half = (x2 + y2) / 2, np.hypot((x2 - y2) / 2, xy)
    assert np.sqrt((mean - half) / (mean + half)) == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("fwhm", [0.6, 1.0, 2.5])
def test_moffat_is_galsims(fwhm: float) -> None:
    galsim = pytest.importorskip("galsim")
    star = galsim.Moffat(beta=3.0, fwhm=fwhm).shift(0.2, 0.1)
    wanted = star.drawImage(nx=65, ny=65, scale=1.0).array
    made = psf.moffat(65, fwhm, 3.0, dx=0.2, dy=0.1)
    np.testing.assert_allclose(made, wanted / wanted.sum(), atol=2e-3 * wanted.max())


@pytest.mark.parametrize("fwhm", [6.0, 12.0])
def test_kolmogorovs_width_is_0_976_lambda_over_r0(fwhm: float) -> None:
    # exp(-3.44 (lambda f / r0)^(5/3)) falls to 1/e at f = 3.44^(-3/5) r0 / lambda.
    r0_over_lambda = 0.9759 / fwhm
    at = 3.44 ** (-3 / 5) * r0_over_lambda
    assert psf.kolmogorov_otf(np.array([at]), fwhm)[0] == pytest.approx(np.exp(-1))
    profile = psf.kolmogorov(257, fwhm)[128]
    assert _width(profile) == pytest.approx(np.hypot(fwhm, 0.62), rel=0.005)


@pytest.mark.parametrize("fwhm", [0.8, 1.3, 3.0])
@pytest.mark.parametrize("outer_scale", [None, 100.0])
def test_kolmogorov_and_von_karman_are_galsims(fwhm: float, outer_scale: float | None) -> None:
    galsim = pytest.importorskip("galsim")
    if outer_scale is None:
        star = galsim.Kolmogorov(fwhm=fwhm)
    else:
        lam = 500.0  # nm; any, as its ratio to r0 is what counts, in units of a pixel
        r0 = lam * 1e-9 / (fwhm / 0.9759 * np.pi / 180 / 3600)
        star = galsim.VonKarman(lam=lam, r0=r0, L0=outer_scale * r0, do_delta=False)
    wanted = star.drawImage(nx=129, ny=129, scale=1.0).array
    made = psf.kolmogorov(129, fwhm, outer_scale=outer_scale)
    np.testing.assert_allclose(made, wanted / wanted.sum(), atol=4e-3 * wanted.max())


@pytest.mark.parametrize("outer_scale", [60.0, 200.0])
def test_an_outer_scale_narrows_the_seeing_as_tokovinin_found(outer_scale: float) -> None:
    plain = _width(psf.kolmogorov(257, 14.0)[128])
    narrowed = _width(psf.kolmogorov(257, 14.0, outer_scale=outer_scale)[128])
    expected = np.sqrt(1 - 2.183 * (1 / outer_scale) ** 0.356)  # 2002, PASP 114, 1156
    assert narrowed / plain == pytest.approx(expected, rel=0.02)


def test_a_far_outer_scale_is_none() -> None:
    f = np.linspace(0, 0.5, 50)
    far = psf.kolmogorov_otf(f, 3.0, 1e7)
    np.testing.assert_allclose(far, psf.kolmogorov_otf(f, 3.0), atol=0.01)


def test_bad_widths_say_what_is_right() -> None:
    for profile in (psf.moffat, psf.kolmogorov):
        with pytest.raises(ValueError, match="fwhm is 0; it must be greater than 0"):
            profile(33, 0)
