"""What the user wants left alone stays, bit by bit, whatever the tiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from conftest import StandIn, starry
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nox_runtime.controls import reduction
from nox_runtime.errors import UsageError
from nox_runtime.removal import Removal, StarRemover, descreen, remove_stars

#: Column, row, peak and FWHM of stars far from one another.
STARS = [(40, 30, 0.7, 3.0), (120, 40, 0.5, 3.0), (60, 110, 0.6, 9.0), (130, 120, 0.4, 3.5)]


def sky(stars: list[tuple[float, ...]] = STARS, channels: int = 1) -> np.ndarray:
    """A dark sky with round stars, (C, 150, 170), float64 in 0..1."""
    yy, xx = np.mgrid[:150, :170]
    made = np.full((channels, 150, 170), 0.1)
    for x, y, peak, fwhm in stars:
        r2 = (yy - y) ** 2 + (xx - x) ** 2
        made += peak * np.exp(-4 * np.log(2) * r2 / fwhm**2)
    return made.clip(0, 1).astype("f4")


def run(remover: StarRemover, picture: np.ndarray, **options: object) -> Removal:
    return remover.remove(picture, stretch="none", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_strength_0_changes_nothing_and_1_takes_all(stand_in: StarRemover, dtype: str) -> None:
    picture = (starry(channels=3) * (1 if dtype == "f4" else 60000)).astype(dtype)
    none, all_ = run(stand_in, picture, strength=0.0), run(stand_in, picture)
    assert none.starless.tobytes() == picture.tobytes()
    assert not none.mask.any()
    assert not none.stars.any()
    again = run(stand_in, picture, strength=1.0)
    assert again.starless.tobytes() == all_.starless.tobytes()


def test_strength_makes_stars_smaller_and_fainter(stand_in: StarRemover) -> None:
    picture = sky()
    whole = run(stand_in, picture)
    left = [run(stand_in, picture, strength=s).starless - whole.starless for s in (0, 0.3, 0.6, 1)]
    for more, less in pairwise(left):
        assert (less <= more + 1e-6).all()
        assert less.sum() < more.sum()
    # The halo goes before the core: above half of its peak the star has fewer pixels.
    before, half = left[0], run(stand_in, picture, strength=0.5).starless - whole.starless
    assert (half > half.max() / 2).sum() < (before > before.max() / 2).sum()


@example(0.999, 0.0, 1.0)
@example(1 - 1e-12, 0.0, 1.0)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_reduction_is_a_share(strength: float, starless: float, star: float) -> None:
    shown = np.float32([[[starless + (1 - starless) * star]]])
    residual = shown - np.float32(starless)
    share = reduction(residual, shown, strength)
    assert 0 <= share.item() <= 1
    assert reduction(residual, shown, min(1, strength + 0.001)).item() >= share.item() - 1e-6


def test_reduction_keeps_the_colour(stand_in: StarRemover) -> None:
    picture = sky(channels=3) * np.float32([1, 0.6, 0.3])[:, None, None]
    whole, half = run(stand_in, picture), run(stand_in, picture, strength=0.5)
    part = (picture - half.starless)[:, 30, 40] / (picture - whole.starless)[:, 30, 40]
    np.testing.assert_allclose(part, part[0], rtol=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.integers(0, 3))
def test_contract_1_and_2_hold_under_every_control(strength: float, seed: int) -> None:
    remover = StarRemover(StandIn(), tile=128)
    picture = (starry(channels=3, seed=seed) * 60000).astype("u2")
    rng = np.random.default_rng(seed)
    protect = rng.random((150, 170)).round(1)
    made = run(
        remover, picture, strength=strength, protect=protect, keep=[(20, 30, 9)],
        region=(10, 140, 5, 160),
    )  # fmt: skip
    np.testing.assert_array_equal(made.starless.astype(int) + made.stars, picture)
    untouched = made.mask == 0
    assert untouched[protect == 1].all()
    np.testing.assert_array_equal(made.starless[:, untouched], picture[:, untouched])


@pytest.mark.parametrize("kind", [bool, float])
def test_protected_pixels_are_bit_identical(stand_in: StarRemover, kind: type) -> None:
    picture = sky()
    protect = np.zeros((150, 170), kind)
    protect[:, :80] = 1
    made = run(stand_in, picture, protect=protect)
    assert made.starless[:, :, :80].tobytes() == picture[:, :, :80].tobytes()
    assert made.mask[40, 120] > 0.1


def test_kept_stars_stay_and_others_go(stand_in: StarRemover) -> None:
    picture = sky()
    for keep in (
        [(40, 30, 8)],
        [(40, 30)],
        np.array([[40.0, 30.0]]),
        Table({"x": [41.0], "y": [29.0]}),
        Table({"xcentroid": [40.0], "ycentroid": [30.0], "radius": [8.0]}),
    ):
        made = run(stand_in, picture, keep=keep)
        near = np.s_[:, 25:36, 35:46]
        assert made.starless[near].tobytes() == picture[near].tobytes()
        assert made.mask[40, 120] > 0.1
        assert made.mask[120, 130] > 0.1


def test_large_objects_stay(stand_in: StarRemover) -> None:
    picture = sky()
    made = run(stand_in, picture, max_size=4.0)
    near = np.s_[:, 100:121, 50:71]
    assert made.starless[near].tobytes() == picture[near].tobytes()
    for x, y in ((40, 30), (120, 40), (130, 120)):
        assert made.mask[y, x] > 0.1
    assert "1 objects stay" in made.notes[-1]


def test_what_is_not_round_stays(stand_in: StarRemover) -> None:
    yy, xx = np.mgrid[:150, :170]
    picture = sky()
    streak = 0.5 * np.exp(-((xx - 90) ** 2) / 60.0 - (yy - 80) ** 2 / 4.0)
    picture = (picture + streak).clip(0, 1).astype("f4")
    made = run(stand_in, picture, min_roundness=0.6)
    assert made.starless[0, 80, 80:100].tobytes() == picture[0, 80, 80:100].tobytes()
    assert made.mask[30, 40] > 0.1
    assert made.mask[120, 130] > 0.1


def test_contract_5_objects_do_not_depend_on_tiles() -> None:
    picture = starry(1300, 300, 1, seed=4)
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:1300, :300]
    for _ in range(60):
        y, x = rng.uniform(0, 1300), rng.uniform(0, 300)
        picture[0] += 0.5 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / rng.uniform(2, 30))
    picture = picture.clip(0, 1).astype("f4")
    made = [
        run(StarRemover(StandIn(), tile=tile), picture, max_size=5.0, catalog=True)
        for tile in (128, 4096)
    ]
    np.testing.assert_allclose(made[0].starless, made[1].starless, atol=1e-4)
    assert len(made[0].catalog) == len(made[1].catalog) > 20
    np.testing.assert_allclose(made[0].catalog["x"], made[1].catalog["x"], atol=0.01)


@pytest.mark.parametrize("region", [(20, 60, 30, 100), (0, 150, 0, 170), (149, 150, 0, 1)])
def test_region_is_the_only_place_that_changes(
    stand_in: StarRemover, region: tuple[int, int, int, int]
) -> None:
    picture = starry(150, 170, 3, seed=2).astype("f4")
    whole, part = run(stand_in, picture), run(stand_in, picture, region=region)
    y0, y1, x0, x1 = region
    inside = np.zeros((150, 170), bool)
    inside[y0:y1, x0:x1] = True
    assert part.starless[:, ~inside].tobytes() == picture[:, ~inside].tobytes()
    np.testing.assert_allclose(part.starless[:, inside], whole.starless[:, inside], atol=1e-5)


def test_a_small_region_of_a_large_picture_runs_few_tiles() -> None:
    model = StandIn()
    remover = StarRemover(model, tile=128)
    picture = starry(900, 700).astype("f4")
    steps = list(remover.iter_remove(picture, stretch="none", region=(400, 450, 300, 350)))
    assert len(model.seen) == remover.tiles(900, 700, (400, 450, 300, 350))
    assert len(model.seen) < remover.tiles(900, 700) / 10
    assert [s.done for s, _ in steps] == sorted(s.done for s, _ in steps)
    assert steps[-1][1] is not None


def test_iter_remove_gives_the_result_last(stand_in: StarRemover) -> None:
    steps = list(stand_in.iter_remove(sky(), max_size=5.0))
    assert all(result is None for _, result in steps[:-1])
    assert isinstance(steps[-1][1], Removal)
    assert steps[-1][0].done == steps[-1][0].total == len({s.done for s, _ in steps})


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_descreened_stars_recombine_by_screening(stand_in: StarRemover, dtype: str) -> None:
    white = 1.0 if dtype[0] == "f" else float(np.iinfo(dtype).max)
    picture = (starry(channels=3) * white).astype(dtype)
    made = run(stand_in, picture)
    assert made.descreened.dtype == picture.dtype
    assert made.descreened.shape == picture.shape
    a, b = made.starless / white, made.descreened / white
    again = (1 - (1 - a) * (1 - b)) * white
    np.testing.assert_allclose(again, picture, atol=0.51 if white > 1 else 1e-6)
    assert not made.descreened[:, made.mask == 0].any()


def test_descreen_at_the_ends() -> None:
    picture = np.float32([1.0, 0.5, np.nan, np.inf, 0.2, 2.0])
    starless = np.float32([1.0, 0.0, np.nan, np.inf, 0.3, 1.0])
    np.testing.assert_allclose(descreen(picture, starless, 1.0), [0, 0.5, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="white is 0"):
        descreen(picture, starless, 0.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_catalogue_measures_what_was_put_in(channels: int) -> None:
    stars = [*STARS, (10, 140, 0.5, 4.0)]
    picture = sky(stars, channels)
    truth = np.full_like(picture, 0.1)

    class Knows(StandIn):
        def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
            return np.minimum(pictures, np.float32(0.1))

    made = StarRemover(Knows()).remove(picture, stretch="none", catalog=True)
    np.testing.assert_allclose(made.starless, truth, atol=0.0015)  # the dead zone
    table = made.catalog
    assert len(table) == len(stars)
    name = "flux" if channels == 1 else "flux_2"
    for x, y, peak, fwhm in stars:
        row = table[np.argmin(np.hypot(table["x"] - x, table["y"] - y))]
        assert np.hypot(row["x"] - x, row["y"] - y) < 0.05
        # Light below the threshold, under 2 % of these peaks, lies outside.
        assert row["fwhm"] == pytest.approx(fwhm, rel=0.1)
        assert row[name] == pytest.approx(peak * fwhm**2 * np.pi / (4 * np.log(2)), rel=0.06)
        assert row["peak"] == pytest.approx(peak, rel=0.01)
        assert not row["saturated"]


def test_catalogue_parts_neighbours_and_knows_saturation_and_sky() -> None:
    picture = sky([(50, 50, 1.5, 4.0), (58, 50, 0.5, 4.0), (120, 90, 0.3, 3.0)])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [83.8, -5.4]
    wcs.wcs.crpix, wcs.wcs.cdelt = [121, 91], [-1e-3, 1e-3]
    made = StarRemover(StandIn()).remove(picture, stretch="none", catalog=True, wcs=wcs)
    table = made.catalog
    assert len(table) == 3
    assert list(table["saturated"]) == [True, False, False]
    assert table["ra"][2] == pytest.approx(83.8, abs=2e-4)
    assert table["dec"][2] == pytest.approx(-5.4, abs=2e-4)


@pytest.mark.parametrize(
    ("scale", "limit", "dtype", "stated", "expected"),
    [
        (3000, None, "f4", None, [False] * 3),  # ADU as floats: a maximum is no limit
        (3000, None, "f4", 2900, [True, False, False]),
        (3000, None, "f4", 65535, [False] * 3),
        (3000, None, "f4", "unknown", [False] * 3),
        (3000, 1200, "f4", None, [True, True, False]),  # clipped: their tops are flat
        (1.0, None, "f4", None, [True, False, False]),
        (1.0, None, "f4", 65535, [True, False, False]),  # of the raw frames, not of this
        (0.9, None, "f4", None, [False] * 3),
        (65535, None, "u2", None, [True, False, False]),
        (9000, 4095, "u2", None, [True, True, False]),  # a 12-bit camera
        (4095, None, "u2", None, [False] * 3),
        (9000, 8100, "u2", 4000, [True, True, False]),
        (32767, None, "i2", None, [True, False, False]),
    ],
)
def test_saturation_is_a_level_or_a_plateau_never_the_maximum_alone(
    scale: float, limit: float | None, dtype: str, stated: object, expected: list[bool]
) -> None:
    picture = sky([(50, 50, 0.9, 4.0), (120, 90, 0.5, 4.0), (60, 120, 0.2, 4.0)])
    picture = np.minimum(picture * scale, limit or np.inf)
    hdu = fits.PrimaryHDU((np.rint(picture) if dtype != "f4" else picture).astype(dtype))
    if stated is not None:
        hdu.header["SATURATE"] = stated
    made = StarRemover(StandIn()).remove(hdu, catalog=True)  # type: ignore[arg-type]
    assert list(made.catalog["saturated"]) == expected


def test_no_catalogue_unless_asked_for(stand_in: StarRemover) -> None:
    assert run(stand_in, sky()).catalog is None
    empty = run(stand_in, np.full((1, 90, 90), 0.2, "f4"), catalog=True).catalog
    assert len(empty) == 0
    assert "flux" in empty.colnames


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strength": 1.2}, r"strength is 1\.2; it must be from 0 to 1"),
        ({"strength": np.nan}, "strength is nan"),
        ({"max_size": 0}, "max_size is 0; it must be above 0"),
        ({"min_roundness": -1}, "min_roundness is -1"),
        ({"region": (5, 5, 0, 9)}, r"the region is columns 0 to 9 and rows 5 to 5; each must end"),
        ({"protect": np.zeros((3, 3))}, r"protect has shape \(3, 3\)"),
        ({"protect": np.full((150, 170), 7)}, "protect holds values from 7 to 7"),
        ({"keep": Table({"a": [1]})}, "keep has the columns a; it must have x and y"),
        ({"keep": "m42"}, "keep must be a table or a list"),
        ({"keep": [(np.nan, 1)]}, "no numbers"),
        ({"stretch": "log"}, "stretch is 'log'"),
    ],
)
def test_wrong_controls_name_what_they_may_be(
    stand_in: StarRemover, options: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        stand_in.remove(sky(), **options)  # type: ignore[arg-type]


def test_what_is_missing_is_named(stand_in: StarRemover, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "photutils", None)
    for options in ({"catalog": True}, {"max_size": 3.0}, {"keep": [(1, 1)]}):
        with pytest.raises(UsageError, match=r"pip install 'astronox\[catalog\]'"):
            stand_in.remove(sky(), **options)  # type: ignore[arg-type]
    stand_in.remove(sky(), keep=[(1, 1, 5)])


def test_the_function_takes_the_same_controls() -> None:
    made = remove_stars(sky(), model=StandIn(), strength=0.5, region=(0, 50, 0, 60))  # type: ignore[arg-type]
    assert not made.mask[50:].any()
    assert made.mask[30, 40] > 0
