"""Diffraction against photutils, closed forms and the geometry of apertures."""

from __future__ import annotations

import numpy as np
import pytest
from photutils.psf import AiryDiskPSF
from scipy import ndimage, special

from nox_train import psf
from nox_train.psf.grids import bin_pixels


def _around(image: np.ndarray, inner: float, outer: float) -> tuple[np.ndarray, np.ndarray]:
    """Light by direction, between two radii; directions in degrees from +x to +y."""
    c = image.shape[0] // 2
    t = np.radians(np.arange(0, 360, 0.5))
    light = np.zeros(len(t))
    for r in np.linspace(inner, outer, 2 * int(outer - inner) + 1):
        y, x = np.rint(c + r * np.sin(t)).astype(int), np.rint(c + r * np.cos(t)).astype(int)
        light += image[y, x] * r  # spikes fall as 1 / r^2 and less
    return np.degrees(t), light


def _spikes(image: np.ndarray, inner: float, outer: float, apart: float) -> list[float]:
    """Directions of the maxima that stand out, `apart` degrees from each other at least."""
    t, light = _around(image, inner, outer)
    found: list[float] = []
    floor = 4 * np.median(light)
    for i in np.argsort(light)[::-1]:
        if light[i] < max(floor, 0.15 * light.max()):
            break
        if all(abs((t[i] - f + 180) % 360 - 180) > apart for f in found):
            found.append(float(t[i]))
    return sorted(found)


def _same_directions(found: list[float], wanted: list[float], within: float = 2.0) -> bool:
    gaps = [min(abs((f - w + 180) % 360 - 180) for w in wanted) for f in found]
    return len(found) == len(wanted) and max(gaps) <= within


def test_a_clear_aperture_makes_photutils_airy_disc() -> None:
    scale, size = 4.0, 129  # lambda / D in pixels: so wide that pixels hardly integrate
    image = psf.diffraction(size, scale, oversample=3)
    yy, xx = np.mgrid[:size, :size]
    airy = AiryDiskPSF(flux=1, x_0=64, y_0=64, radius=1.21967 * scale)(xx, yy)
    np.testing.assert_allclose(image[64] / image.max(), airy[64] / airy.max(), atol=0.02)


@pytest.mark.parametrize("obstruction", [0.2, 0.33, 0.5])
def test_an_obstructed_aperture_makes_the_annular_airy_pattern(obstruction: float) -> None:
    scale, size = 5.0, 257
    image = psf.diffraction(size, scale, obstruction=obstruction, oversample=2)
    v = np.pi * (np.arange(1, 80)) / scale
    e = obstruction
    field = (2 * special.j1(v) / v - e**2 * 2 * special.j1(e * v) / (e * v)) / (1 - e**2)
    made = image[128, 129:208] / image[128, 128]
    np.testing.assert_allclose(made, field**2, atol=0.01)


@pytest.mark.parametrize("obstruction", [0.0, 0.4])
def test_diffraction_is_galsims_airy_pattern(obstruction: float) -> None:
    galsim = pytest.importorskip("galsim")
    star = galsim.Airy(lam_over_diam=1.6, obscuration=obstruction)
    wanted = star.drawImage(nx=65, ny=65, scale=1.0).array
    made = psf.diffraction(513, 1.6, obstruction=obstruction, oversample=4)[224:289, 224:289]
    np.testing.assert_allclose(made, wanted, atol=0.01 * wanted.max())


@pytest.mark.parametrize(("vanes", "spikes"), [(0, 0), (2, 2), (3, 6), (4, 4), (6, 6), (8, 8)])
def test_vanes_make_their_spikes_at_right_angles(vanes: int, spikes: int) -> None:
    angle = 0.4
    image = psf.diffraction(257, 1.2, obstruction=0.3, vanes=vanes, vane_width=0.02,
                            vane_angle=angle, wavelengths=(0.9, 0.95, 1.0, 1.05, 1.1))  # fmt: skip
    found = _spikes(image, 35, 90, 15)
    # Each vane throws light at right angles to itself, both ways; odd numbers of
    # vanes have no two in line, so that each makes two spikes of its own.
    turns = [np.degrees(angle + 2 * np.pi * k / max(vanes, 1)) for k in range(vanes)]
    wanted = sorted({round((a + s) % 360, 3) for a in turns for s in (90, 270)})
    assert len(found) == len(wanted) == spikes
    assert not spikes or _same_directions(found, wanted)


@pytest.mark.parametrize(("blades", "spikes"), [(5, 10), (6, 6), (7, 14), (8, 8)])
def test_an_iris_makes_a_star(blades: int, spikes: int) -> None:
    image = psf.diffraction(257, 1.2, blades=blades, blade_angle=0.2,
                            wavelengths=(0.9, 0.95, 1.0, 1.05, 1.1))  # fmt: skip
    turns = [np.degrees(0.2) + 360 * k / blades + s for k in range(blades) for s in (0, 180)]
    wanted = sorted({round(a % 360, 3) for a in turns})
    found = _spikes(image, 35, 90, 10)
    assert len(found) == spikes
    assert _same_directions(found, wanted)


def test_turned_blades_part_the_ends_of_a_spike() -> None:
    errors = (0.0, 0.0, 0.0, 0.2, 0.2, 0.2)
    image = psf.diffraction(257, 1.2, blades=6, blade_angle=0.3, blade_errors=errors,
                            wavelengths=(0.9, 0.95, 1.0, 1.05, 1.1))  # fmt: skip
    turns = [np.degrees(0.3 + 2 * np.pi * k / 6 + e) + s for k, e in enumerate(errors)
             for s in (0, 180)]  # fmt: skip
    found = _spikes(image, 35, 90, 10)
    assert len(found) == 12
    assert _same_directions(found, sorted({round(a % 360, 3) for a in turns}))


def test_clips_throw_rays_at_right_angles_to_themselves() -> None:
    angle = 0.5
    clips = ((angle, 0.02, 0.06), (angle + np.pi, 0.02, 0.06))
    bare, held = (
        _around(psf.diffraction(257, 1.2, clips=c, wavelengths=(0.9, 1.0, 1.1)), 20, 60)
        for c in ((), clips)
    )
    more = held[1] / bare[1]
    found = held[0][np.argsort(more)[-4:]]
    off = np.abs((found - np.degrees(angle)) % 180 - 90)
    assert off.max() < 8
    assert more.max() > 1.5 * np.median(more)


def test_curved_vanes_smear_their_spikes() -> None:
    shape = {"vanes": 4, "vane_width": 0.02, "obstruction": 0.3}
    straight = _around(psf.diffraction(257, 1.2, **shape), 40, 90)[1]
    curved = _around(psf.diffraction(257, 1.2, vane_bend=0.08, **shape), 40, 90)[1]
    assert curved.max() / np.median(curved) < 0.3 * straight.max() / np.median(straight)


@pytest.mark.parametrize("wavelength", [0.8, 1.0, 1.3])
def test_spikes_are_as_long_as_their_wavelength(wavelength: float) -> None:
    # A vane of width w is a slit's complement: its spike ends at lambda / w.
    width = 0.03
    image = psf.diffraction(385, 1.5, vanes=2, vane_width=width, obstruction=0.0,
                            wavelengths=(wavelength,))  # fmt: skip
    beside = image[192 + 10 : 192 + 130, 188:197].sum(axis=1)  # vanes along x, spikes along y
    wanted = 1.5 * wavelength / width
    smooth = np.convolve(beside, np.ones(5), "same")
    # The first of its zeros: nothing before it is as dark, however the rings beat.
    first = 10 + int(np.nonzero(smooth[: int(1.6 * wanted) - 10] < 0.15 * smooth[:20].mean())[0][0])
    end = first + int(np.argmin(smooth[first - 10 : first + 25]))
    assert end == pytest.approx(wanted, rel=0.06)


def test_bands_are_the_sum_of_their_wavelengths() -> None:
    shape = {"obstruction": 0.3, "vanes": 4, "vane_width": 0.01, "vane_angle": 0.3}
    size, scale, low, high = 256, 1.6, 1.1, 1.3
    made = psf.bands(size, scale, [(1.0, 1.05), (low, high)], **shape)[1]
    fine = psf.diffraction(
        size, scale, wavelengths=np.geomspace(low, high, 41).tolist(), oversample=2, **shape
    )
    air = psf.moffat(size, 1.5, 4.0)
    a, b = psf.convolve(bin_pixels(made, 2), air), psf.convolve(fine, air)
    # The core to a hundredth of the peak, spikes to a few per cent of their own light.
    np.testing.assert_allclose(a, b, atol=0.01 * b.max())
    r = np.hypot(*(np.mgrid[:size, :size] - size // 2))
    spike = (r > 15) & (r < 100) & (b > 5 * np.median(b[(r > 15) & (r < 100)]))
    ratio = a[spike] / b[spike]
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert np.percentile(np.abs(ratio - 1), 90) < 0.1


def test_bands_have_aberrations_of_their_own() -> None:
    sharp, soft = psf.bands(128, 1.5, [(0.95, 1.05), (0.95, 1.05)],
                            aberrations=[{}, {"defocus": 0.3}])  # fmt: skip
    assert sharp.sum() == pytest.approx(1, rel=1e-4)
    assert soft.max() < 0.5 * sharp.max()


def test_webbs_segments_make_six_spikes_and_its_strut_two() -> None:
    image = psf.diffraction(385, 1.2, aperture="hexagons",
                            wavelengths=np.linspace(0.85, 1.15, 9).tolist())  # fmt: skip
    found = _spikes(image, 25, 80, 12)
    assert _same_directions(found, [30, 90, 150, 210, 270, 330, 0, 180], 3.0)
    # The strut is a slit's complement and ends; the segments' edges go on.
    t, light = _around(image, 95, 150)
    strong = [light[np.abs(t - a) < 4].max() for a in (30, 90, 150, 210, 270, 330)]
    assert light[np.abs(t - 180) < 4].max() < min(strong)


def test_webb_has_eighteen_segments() -> None:
    without_struts = psf.hexagons(1001, 980.0, gap=0.004, strut_width=0.0)
    _, count = ndimage.label(without_struts > 0.5)
    assert count == 18
    assert without_struts[500, 500] == 0


def test_bahtinovs_mask_makes_three_pairs() -> None:
    image = psf.diffraction(385, 1.1, aperture="bahtinov", wavelengths=(0.9, 1.0, 1.1))
    t, light = _around(image, 22, 34)  # its first orders, lambda over the period
    pairs = [a + s for a in (70, 90, 110) for s in (0, 180)]
    near = np.min([np.abs((t - a + 180) % 360 - 180) for a in pairs], axis=0)
    assert light[near < 5].mean() > 10 * np.median(light[near > 15])
    for a in pairs:
        mine = np.abs((t - a + 180) % 360 - 180) < 9
        assert t[mine][light[mine].argmax()] == pytest.approx(a, abs=3)


def test_a_mask_shifts_its_middle_pair_with_the_focus() -> None:
    def places(defocus: float) -> float:
        image = psf.diffraction(385, 1.1, aperture="bahtinov", aberrations={"defocus": defocus})
        row = image[192 + 25 : 192 + 31, 192 - 6 : 192 + 7].sum(axis=0)
        return float(row @ np.arange(-6, 7) / row.sum())

    inside, outside = places(0.25), places(-0.25)
    assert inside * outside < 0
    assert abs(inside - outside) > 1


def test_nolls_table() -> None:
    table = {1: (0, 0), 2: (1, 1), 3: (1, -1), 4: (2, 0), 5: (2, -2), 6: (2, 2), 7: (3, -1),
             8: (3, 1), 9: (3, -3), 10: (3, 3), 11: (4, 0), 12: (4, 2), 13: (4, -2), 14: (4, 4),
             15: (4, -4), 16: (5, 1), 17: (5, -1), 18: (5, 3), 22: (6, 0)}  # fmt: skip
    assert {j: psf.noll_to_nm(j) for j in table} == table
    with pytest.raises(ValueError, match="index is 0; it must be at least 1"):
        psf.noll_to_nm(0)


def test_zernikes_are_those_of_noll_1976() -> None:
    rng = np.random.default_rng(1)
    r, t = np.sqrt(rng.random(50)), rng.uniform(0, 2 * np.pi, 50)
    x, y = r * np.cos(t), r * np.sin(t)
    closed = {
        1: np.ones(50),
        3: 2 * r * np.sin(t),
        4: np.sqrt(3) * (2 * r**2 - 1),
        5: np.sqrt(6) * r**2 * np.sin(2 * t),
        8: np.sqrt(8) * (3 * r**3 - 2 * r) * np.cos(t),
        9: np.sqrt(8) * r**3 * np.sin(3 * t),
        11: np.sqrt(5) * (6 * r**4 - 6 * r**2 + 1),
    }
    for j, wanted in closed.items():
        np.testing.assert_allclose(psf.zernike(j, x, y), wanted, atol=1e-12)


def test_zernikes_are_orthonormal_on_the_disc() -> None:
    # Exact quadrature: Gauss-Legendre in r^2, even steps in the angle.
    nodes, weights = np.polynomial.legendre.leggauss(20)
    r, t = np.sqrt((nodes + 1) / 2)[:, None], np.arange(64) * 2 * np.pi / 64
    x, y = r * np.cos(t), r * np.sin(t)
    share = np.broadcast_to(weights[:, None] / 2 / 64, x.shape)
    z = np.stack([psf.zernike(j, x, y) for j in range(1, 37)])
    np.testing.assert_allclose(np.einsum("aij,bij,ij->ab", z, z, share), np.eye(36), atol=1e-10)


@pytest.mark.parametrize("name", ["defocus", "astigmatism_0", "coma_y", "trefoil_30", "spherical"])
def test_small_aberrations_cost_the_peak_what_marechal_says(name: str) -> None:
    sharp = psf.diffraction(129, 3.0, oversample=2)
    made = psf.diffraction(129, 3.0, oversample=2, aberrations={name: 0.05})
    c = slice(62, 67)  # coma's peak leaves the middle by a part of a pixel
    strehl = made[c, c].max() / sharp.max()
    assert strehl == pytest.approx(np.exp(-((2 * np.pi * 0.05) ** 2)), abs=0.02)


def test_coma_carries_the_centroid_by_the_mean_slope() -> None:
    scale, waves = 3.0, 0.3
    image = psf.diffraction(513, scale, oversample=1, aberrations={"coma_x": waves})
    xs = np.arange(513) - 256
    near = np.abs(xs) < 120
    inner = image[np.ix_(near, near)]
    # <dW/dx> over the disc is sqrt(8) a waves a radius, which is 2 sqrt(8) a lambda / D.
    assert inner.sum(0) @ xs[near] / inner.sum() == pytest.approx(
        2 * np.sqrt(8) * waves * scale, rel=0.05
    )
    assert inner.sum(1) @ xs[near] / inner.sum() == pytest.approx(0, abs=0.02)


def test_defocus_makes_a_ring_of_the_geometric_size() -> None:
    scale, waves, obstruction = 1.2, 2.5, 0.4
    image = psf.diffraction(257, scale, obstruction=obstruction, oversample=2,
                            aberrations={"defocus": waves})  # fmt: skip
    # W = a sqrt(3) (2 r^2 - 1): the edge's slope is 4 sqrt(3) a, twice that in lambda / D.
    outer = 2 * 4 * np.sqrt(3) * waves * scale
    r = np.hypot(*(np.mgrid[:257, :257] - 128))
    ring = np.array([image[(r >= k) & (r < k + 1)].mean() for k in range(70)])
    level = np.median(ring[int(outer * 0.55) : int(outer * 0.85)])
    # A straight edge's diffraction leaves a quarter of the light at the shadow's rim.
    edge = np.nonzero(ring > level / 4)[0][-1] + 0.5
    assert edge == pytest.approx(outer, rel=0.05)
    assert ring[: int(0.6 * outer * obstruction)].mean() < 0.4 * level


def test_aberrations_of_no_such_name_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown aberration 'bloat'; it must be one of tilt_x"):
        psf.diffraction(64, 1.0, aberrations={"bloat": 1.0})
    by_index = psf.diffraction(64, 2.0, aberrations={"Z11": 0.1})
    np.testing.assert_allclose(by_index, psf.diffraction(64, 2.0, aberrations={"spherical": 0.1}))


def test_too_small_a_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"it must be at least 0\.5 px"):
        psf.diffraction(64, 0.3)
