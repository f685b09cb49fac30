from __future__ import annotations

import numpy as np
import pytest

from nox_train import psf, stars


@pytest.mark.parametrize("slope", [0.5, 0.9, 1.4])
def test_fluxes_follow_their_power_law(slope: float) -> None:
    flux = stars.power_law_fluxes(200_000, slope, 1e5, np.random.default_rng(1))
    assert flux.min() >= 1
    assert flux.max() <= 1e5
    # Maximum likelihood of a Pareto law (Hill), over a range that the end hardly bends.
    low = flux[flux < 1e3]
    counts = [(flux > f).sum() for f in (2, 20)]
    measured = -np.log10(counts[1] / counts[0])
    assert measured == pytest.approx(slope, abs=0.05)
    assert len(low) > 1000


def test_blackbody_colours() -> None:
    colour = stars.blackbody_rgb(np.array([3000.0, 6000.0, 20000.0]))
    assert colour.mean(axis=0) == pytest.approx([1, 1, 1])
    assert colour[:, 1] == pytest.approx([1, 1, 1])
    assert colour[0, 0] > colour[2, 0]
    assert colour[2, 2] > colour[0, 2]
    # Wien's side at 3000 K, photons: (530/465)^-4 exp(hc/k/T (1/530 - 1/465 nm)), over 6000 K's
    x = 14387.77 * (1 / 0.465 - 1 / 0.610)
    assert np.log(colour[0, 0] / colour[2, 0]) == pytest.approx(x / 3000 - x / 6000, abs=0.03)


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
    x, y = stars.positions(5000, 1000, rng, cluster_share=0.8)
    counts = np.histogram2d(x, y, 10, [[0, 1000]] * 2)[0]
    assert counts.max() > 8 * np.median(counts)
    x, y = stars.positions(5000, 1000, rng)
    assert np.histogram2d(x, y, 10, [[0, 1000]] * 2)[0].max() < 2 * 50


def test_a_field_smaller_than_its_psf_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 256; it must be at least psf_size, 512"):
        stars.star_field(256, psf.Optics(), stars.Population(), np.random.default_rng(0))
