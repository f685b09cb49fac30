"""Dask arrays stay lazy, and become what numpy arrays become."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from conftest import StandIn, starry

from nox_runtime.errors import UsageError
from nox_runtime.removal import StarRemover, remove_stars

da = pytest.importorskip("dask.array")


@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize("shape", [(300, 410), (3, 300, 410), (300, 410, 3)])
def test_dask_arrays_stay_lazy_and_give_the_same(dtype: str, shape: tuple[int, ...]) -> None:
    model = StandIn()
    remover = StarRemover(model, tile=256)
    channels = 3 if len(shape) == 3 else 1
    picture = (starry(300, 410, channels) ** 3 * (60000 if dtype == "u2" else 0.9)).astype(dtype)
    picture = picture[0] if channels == 1 else picture
    picture = np.moveaxis(picture, 0, -1) if shape[-1] == 3 else picture
    options = {"strength": 0.8, "region": (20, 280, 5, 400), "keep": [(100, 90, 12)]}
    expected = remover.remove(picture, **options)  # type: ignore[arg-type]
    model.seen.clear()
    made = remover.remove(da.from_array(picture, chunks=100), **options)  # type: ignore[arg-type]
    assert not model.seen
    assert made.starless.shape == made.stars.shape == shape
    assert made.starless.dtype == picture.dtype
    assert made.mask.shape == (300, 410)
    assert made.stretch.compute() == expected.stretch
    starless, stars, mask = da.compute(made.starless, made.stars, made.mask)
    step = 1 if dtype == "u2" else 2e-4
    np.testing.assert_allclose(starless, expected.starless, atol=step)
    np.testing.assert_allclose(mask, expected.mask, atol=1e-4)
    if dtype == "u2":
        np.testing.assert_array_equal(starless.astype(int) + stars, picture)
    pixels = starless if shape[-1] != 3 else np.moveaxis(starless, -1, 0)
    before = picture if shape[-1] != 3 else np.moveaxis(picture, -1, 0)
    np.testing.assert_array_equal(pixels[..., mask == 0], before[..., mask == 0])


@pytest.mark.parametrize(
    ("dtype", "scale"), [("f4", 5000), ("f4", 0.9), ("u2", 60000), ("i2", 900)]
)
def test_descreened_stars_stay_lazy_and_are_those_of_the_array(dtype: str, scale: float) -> None:
    model = StandIn()
    picture = (starry(200, 230, 3) * scale).astype(dtype)
    expected = StarRemover(model, tile=256).remove(picture, stretch="none")
    model.seen.clear()
    lazy = da.from_array(picture, chunks=(3, 90, 100))
    made = StarRemover(model, tile=256).remove(lazy, stretch="none")
    descreened = made.descreened
    assert isinstance(descreened, da.Array)
    assert not model.seen
    assert descreened.dtype == picture.dtype
    assert made.white.compute() == expected.white
    step = 1 if dtype != "f4" else 2e-4 * scale
    assert expected.descreened.max() > 0.3 * scale
    np.testing.assert_allclose(descreened.compute(), expected.descreened, atol=step)


def test_only_the_blocks_asked_for_are_computed() -> None:
    model = StandIn()
    picture = da.from_array(starry(900, 900)[0].astype("f4"), chunks=300)
    made = StarRemover(model, tile=320).remove(picture, stretch="none")
    made.starless[:50, :50].compute()
    assert 0 < len(model.seen) <= 4


def test_controls_that_need_the_whole_picture_are_refused() -> None:
    picture = da.zeros((90, 90), chunks=50)
    for options in ({"catalog": True}, {"max_size": 4.0}, {"keep": [(1, 1)]}):
        with pytest.raises(UsageError, match="need the whole picture"):
            StarRemover(StandIn()).remove(picture, **options)  # type: ignore[arg-type]


def test_astropys_containers() -> None:
    picture = starry()[0].astype("f4")
    expected = remove_stars(picture, model=StandIn()).starless  # type: ignore[arg-type]
    hdu = fits.PrimaryHDU(picture.astype(">f4"))
    for image in (NDData(picture), CCDData(picture, unit="adu"), hdu, fits.ImageHDU(picture)):
        made = remove_stars(image, model=StandIn())  # type: ignore[arg-type]
        np.testing.assert_array_equal(made.starless, expected)
        assert type(made.starless) is np.ndarray
    with pytest.raises(UsageError, match="they must be integers or floats"):
        remove_stars(fits.PrimaryHDU(), model=StandIn())  # type: ignore[arg-type]
