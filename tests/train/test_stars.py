from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import ndimage, optimize

from nox_train import colours, psf, stars


def _fitted_slope(flux: np.ndarray, dynamic_range: float) -> float:
    """Maximum likelihood of a Pareto law cut off at `dynamic_range` (Aban et al. 2006)."""
    end = np.log(dynamic_range)

    def excess(slope: float) -> float:
        cut = end / np.expm1(slope * end)
        return float(np.log(flux).mean() - 1 / slope + cut)

    return float(optimize.brentq(excess, 0.05, 5.0))


@pytest.mark.parametrize("slope", [0.5, 0.9, 1.4])
def test_fluxes_follow_their_power_law(slope: float) -> None:
    flux = stars.power_law_fluxes(400_000, slope, 1e5, np.random.default_rng(1))
    assert flux.min() >= 1
    assert flux.max() <= 1e5
    assert _fitted_slope(flux, 1e5) == pytest.approx(slope, abs=0.01)
    # The law holds in each of the five decades, not only where most of the stars are.
    edges = 10.0 ** np.arange(6)
    expected = len(flux) * -np.diff(edges**-slope) / (1 - 1e5**-slope)
    counts = np.histogram(flux, edges)[0]
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected) + 1).all()


@pytest.mark.parametrize("slope", [0.6, 1.1])
def test_the_power_law_can_be_counted_in_a_drawn_field(slope: float) -> None:
    """By the light in the pixels round each star, far enough apart to tell them."""
    population = stars.Population(
        density=300, slope=slope, dynamic_range=100, double_share=0, mono=True
    )
    optics = psf.Optics(fwhm=2.2, beta=5.0, aureole_share=0)
    flux = []
    for seed in range(4):
        field = stars.star_field(1024, optics, population, np.random.default_rng(seed))
        light = field.light[0] / field.faintest
        aperture = ndimage.uniform_filter(light, 9, mode="wrap") * 81
        peaks = (light == ndimage.maximum_filter(light, 9, mode="wrap")) & (light > 0.4)
        flux.extend(aperture[peaks])
    measured = np.array(flux) / np.percentile(flux, 0.5)  # the faintest have flux 1
    assert len(measured) > 900
    assert _fitted_slope(measured.clip(1, 100), 100) == pytest.approx(slope, abs=0.1)


@pytest.mark.parametrize("share", [1e-4, 0.01, 0.3])
def test_the_flux_that_a_share_exceeds(share: float) -> None:
    flux = stars.power_law_fluxes(400_000, 0.8, 1e4, np.random.default_rng(2))
    asked = stars.flux_of_share(share, 0.8, 1e4)
    assert (flux > asked).mean() == pytest.approx(share, rel=0.05, abs=5e-5)


def test_blackbody_colours() -> None:
    colour = colours.blackbody_rgb(np.array([3000.0, 6000.0, 20000.0]))
    assert colour.mean(axis=0) == pytest.approx([1, 1, 1])
    assert colour[:, 1] == pytest.approx([1, 1, 1])
    assert colour[0, 0] > colour[2, 0]
    assert colour[2, 2] > colour[0, 2]
    warm = colours.blackbody_rgb(np.array([5000.0]), white=5000.0)
    assert warm[:, 0] == pytest.approx([1, 1, 1])
    dusty = colours.blackbody_rgb(np.array([6000.0]), reddening=1.0)
    # A_R - A_B at 1 / wavelength: 0.55 (1 / 0.465 - 1 / 0.600) magnitudes.
    assert -2.5 * np.log10(dusty[2, 0] / dusty[0, 0]) == pytest.approx(0.266, abs=0.02)


@pytest.mark.parametrize("kelvin", [3200.0, 4500.0, 8000.0, 15000.0])
def test_the_colour_temperature_can_be_read_from_a_star(kelvin: float) -> None:
    """From a drawn star's red over blue, by Planck's law at the two wavelengths alone."""
    population = stars.Population(density=20, temperature=kelvin, temperature_spread=0.0)
    field = stars.star_field(512, psf.Optics(), population, np.random.default_rng(7))
    red, _, blue = field.light.sum(axis=(1, 2))
    grid = np.geomspace(2000, 40000, 4000)

    def photons(um: float, t: np.ndarray | float) -> np.ndarray:
        return um**-4 / np.expm1(14387.77 / (um * np.asarray(t)))

    ratio = photons(0.600, grid) / photons(0.465, grid)
    ratio = ratio / (photons(0.600, 6000.0) / photons(0.465, 6000.0))
    measured = np.interp(-np.log(red / blue), -np.log(ratio), grid)
    assert measured == pytest.approx(kelvin, rel=0.05)


def test_narrowband_stars_have_the_tint_of_the_gains() -> None:
    colour = colours.narrowband_rgb(np.array([6000.0, 20000.0]), "SHO", (1.0, 0.5, 1.0))
    assert colour[:, 0] == pytest.approx([1.2, 0.6, 1.2])
    assert colour[2, 1] > colour[0, 1]  # hot stars are brighter at [OIII]
    same = colours.narrowband_rgb(np.array([3000.0]), "HOO", (1.0, 1.0, 1.0))
    assert same[1] == pytest.approx(same[2])
    with pytest.raises(ValueError, match="palette is 'RGB'; it must be three letters"):
        colours.narrowband_rgb(np.array([6000.0]), "RGB", (1.0, 1.0, 1.0))


def test_impulses_keep_flux_and_place() -> None:
    x, y = np.array([20.37, 63.9]), np.array([31.81, 0.2])
    image = stars.impulse_map(64, x[:1], y[:1], np.array([[5.0], [2.0]]))
    assert image.sum(axis=(1, 2)) == pytest.approx([5, 2])
    grid = np.arange(64)
    assert (image[0].sum(0) @ grid) / 5 == pytest.approx(20.37)
    assert (image[0].sum(1) @ grid) / 5 == pytest.approx(31.81)
    wrapped = stars.impulse_map(64, x, y, np.ones((1, 2)))
    assert wrapped.sum() == pytest.approx(2)


def test_a_field_has_the_density_and_the_flux_asked_for() -> None:
    rng = np.random.default_rng(2)
    population = stars.Population(density=2000, dynamic_range=100, mono=True)
    field = stars.star_field(1024, psf.Optics(aureole_share=0), population, rng)
    expected = 2000 * 1024**2 / 1e6
    assert field.parameters["stars"] == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert field.light.dtype == np.float32
    assert field.light.min() >= 0
    assert 1 / 100 <= field.faintest <= 1
    np.testing.assert_allclose(field.light[0], field.light[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mono", [False, True])
def test_a_random_population_is_mono_when_asked(mono: bool) -> None:
    rng = np.random.default_rng(6)
    assert stars.random_population(rng, 2.5, mono=mono).mono is mono


def test_clusters_gather_stars() -> None:
    rng = np.random.default_rng(4)
    for cluster in ("open", "globular"):
        x, y = stars.positions(5000, 1000, rng, cluster=cluster, cluster_share=0.8)
        counts = np.histogram2d(x, y, 10, [[0, 1000]] * 2)[0]
        assert counts.max() > 8 * np.median(counts)
    x, y = stars.positions(5000, 1000, rng)
    assert np.histogram2d(x, y, 10, [[0, 1000]] * 2)[0].max() < 2 * 50
    with pytest.raises(ValueError, match="cluster is 'ring'; it must be one of"):
        stars.positions(5, 100, rng, cluster="ring")


def test_open_clusters_have_plummers_profile() -> None:
    r = stars.plummer_radii(200_000, 10.0, np.random.default_rng(1))
    # Half of the light lies within the core radius, and 0.8 within twice that.
    assert (r < 10).mean() == pytest.approx(0.5, abs=0.01)
    assert (r < 20).mean() == pytest.approx(0.8, abs=0.01)


def test_globular_clusters_have_kings_profile() -> None:
    r = stars.king_radii(400_000, 5.0, 100.0, np.random.default_rng(1))
    assert r.max() <= 100
    edges = np.array([0, 2, 5, 10, 20, 40, 60])
    counts = np.histogram(r, edges)[0]
    middle = (edges[1:] + edges[:-1]) / 2
    density = counts / (np.pi * (edges[1:] ** 2 - edges[:-1] ** 2))
    law = ((1 + (middle / 5) ** 2) ** -0.5 - (1 + 400) ** -0.5) ** 2
    np.testing.assert_allclose(density / density[1], law / law[1], rtol=0.12)


def test_density_falls_along_its_gradient() -> None:
    x, y = stars.positions(100_000, 1000, np.random.default_rng(3), gradient=0.8, double_share=0)
    counts = np.histogram(x, 4, (0, 1000))[0] / 25_000
    assert counts == pytest.approx([1.6, 1.2, 0.8, 0.4], abs=0.02)
    assert np.histogram(y, 4, (0, 1000))[0] / 25_000 == pytest.approx(1, abs=0.02)


def _single(optics: psf.Optics) -> np.ndarray:
    """One star of a field through these optics, cut out round its centre."""
    population = stars.Population(density=3e-6, mono=True, double_share=0)
    field = stars.star_field(512, optics, population, np.random.default_rng(8))
    light = field.light[1]
    y, x = np.unravel_index(light.argmax(), light.shape)
    return np.roll(light, (256 - y, 256 - x), (0, 1))[236:277, 236:277]


def _moffat(
    at: tuple[np.ndarray, np.ndarray], peak: float, fwhm: float, e1: float, e2: float, x: float,
    y: float,
) -> np.ndarray:  # fmt: skip
    """Of beta 4; ellipticity 1 - b/a at half the angle of (e1, e2), FWHM of the mean axis."""
    angle, q = 0.5 * np.arctan2(e2, e1), np.sqrt(max(1 - np.hypot(e1, e2), 0.05))
    dx, dy = at[0] - x, at[1] - y
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = -dx * np.sin(angle) + dy * np.cos(angle)
    r2 = (u * q) ** 2 + (v / q) ** 2
    core = 4 * (2**0.25 - 1) / fwhm**2
    return np.asarray(peak * (1 + core * r2) ** -4.0).ravel()


@pytest.mark.parametrize(("fwhm", "ellipticity"), [(2.0, 0.0), (3.5, 0.25), (6.0, 0.4)])
def test_stars_in_a_field_have_the_width_and_shape_asked_for(
    fwhm: float, ellipticity: float
) -> None:
    optics = psf.Optics(fwhm=fwhm, beta=4.0, ellipticity=ellipticity, angle=0.5, aureole_share=0)
    star = _single(optics)
    yy, xx = np.mgrid[:41, :41] - 20
    # A Moffat with an ellipse of its own, measured and not told what to find.
    found, _ = optimize.curve_fit(
        _moffat, (xx, yy), star.ravel(), (star.max(), fwhm, 0.1, 0.2, 0.0, 0.0)
    )
    _, width, e1, e2, *_ = found
    assert abs(width) == pytest.approx(np.hypot(fwhm, 0.75), rel=0.06)
    # Cubic weights broaden a narrow star unequally along x and y.
    slack = 0.05 if fwhm < 3 else 0.03
    assert np.hypot(e1, e2) == pytest.approx(ellipticity, abs=slack)
    if ellipticity:
        assert 0.5 * np.arctan2(e2, e1) == pytest.approx(0.5, abs=np.radians(3))


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("fwhm", [0.6, 1.0, 1.9])
def test_sharp_stars_have_no_dark_rings_and_keep_flux_and_place(fwhm: float, nodes: int) -> None:
    optics = psf.Optics(fwhm=fwhm, aureole_share=0.02)
    x, y = np.array([100.3]), np.array([140.85])
    drawn = stars._convolved if nodes == 1 else partial(stars._over_frame, nodes)
    light, _ = drawn(256, x, y, np.ones((3, 1)), optics, 256)
    assert light.sum(axis=(1, 2)) == pytest.approx(np.ones(3), rel=1e-3)
    near = light[1, 133:150, 93:110]
    assert (near.sum(0) @ np.arange(93, 110)) / near.sum() == pytest.approx(100.3, abs=0.03)
    assert (near.sum(1) @ np.arange(133, 150)) / near.sum() == pytest.approx(140.85, abs=0.03)
    # Outwards from the star every ring of pixels is darker than the one before.
    yy, xx = np.mgrid[:256, :256]
    r = np.hypot(xx - 100.3, yy - 140.85)
    rings = [light[1][(r >= k) & (r < k + 1)] for k in range(1, 12)]
    assert min(ring.min() for ring in rings[:4]) > rings[10].max()


def test_stars_of_a_whole_frame_grow_tails_towards_the_corners() -> None:
    optics = psf.Optics(fwhm=2.0, lambda_over_d=1.0, field_coma=0.4, aureole_share=0)
    population = stars.Population(density=400, slope=1.2, dynamic_range=3, mono=True)
    rng = np.random.default_rng(5)
    field = stars.star_field(512, optics, population, rng, psf_size=128, nodes=3)
    whole = stars.star_field(512, optics, population, np.random.default_rng(5), psf_size=128)
    assert field.light.sum() > 0
    # The middle is that of the field's middle; the corners' light is spread wider.
    middle, corner = np.s_[0, 206:306, 206:306], np.s_[0, :80, :80]
    sharp = [
        (f.light[p] ** 2).sum() / f.light[p].sum() for f in (whole, field) for p in (middle, corner)
    ]
    assert sharp[2] == pytest.approx(sharp[0], rel=0.35)
    assert sharp[3] < 0.6 * sharp[1]


def test_a_field_smaller_than_its_psf_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 256; it must be at least psf_size, 512"):
        stars.star_field(256, psf.Optics(), stars.Population(), np.random.default_rng(0))
