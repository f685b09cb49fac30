"""Statistics are numpy's, and those of the whole are those of its rows."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import starry

from nox_runtime.statistics import MAD_TO_SIGMA, gathered, grain, statistics


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "u8", "f4", "f8"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 5), (40, 50)])
def test_medians_are_numpys(dtype: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(100, 20, (3, *size)).clip(0, 255).astype(dtype)
    made = statistics(picture)
    for c, channel in enumerate(picture.astype("f8")):
        middle = np.median(channel)
        assert made.median[c] == middle
        assert made.sigma[c] == MAD_TO_SIGMA * np.median(np.abs(channel - middle))


def test_what_is_no_number_is_left_out() -> None:
    picture = starry(channels=1).astype("f4")
    sound = picture[:, 2:]
    picture[:, 0], picture[:, 1] = np.nan, np.inf
    made, expected = statistics(picture), statistics(sound)
    assert (made.median, made.sigma, made.high) == (
        expected.median, expected.sigma, expected.high
    )  # fmt: skip
    nothing = statistics(np.full((1, 4, 4), np.nan, "f4"))
    assert (nothing.median, nothing.sigma) == ((0.0,), (0.0,))


def test_rows_give_what_the_whole_gives() -> None:
    picture = starry(300, 170, 3).astype("f4")
    told: list[int] = []
    made = gathered(lambda a, b: picture[:, a:b], (3, 300, 170), picture.dtype, told.append)
    assert made == statistics(picture)
    assert told[-1] == 300


def _grain(picture: np.ndarray) -> tuple[float, ...]:
    triples = statistics(picture).triples
    assert triples is not None
    return grain(triples)


@pytest.mark.parametrize("kind", ["f4", "f8", "u2", "i4"])
def test_grain_is_the_noise_whatever_lies_beneath(kind: str) -> None:
    """Not the spread of the picture: nebula, gradients and stars are no grain."""
    rng = np.random.default_rng(1)
    across = np.linspace(0, 9000, 500)
    picture = 9000 + across + 3000 * np.sin(np.arange(400) / 40)[:, None] + np.zeros((3, 1, 1))
    picture += rng.normal(0, 1, picture.shape) * np.array([60.0, 90.0, 150.0])[:, None, None]
    picture[:, rng.integers(0, 400, 900), rng.integers(0, 500, 900)] = 40000
    made = _grain(picture.astype(kind))
    assert statistics(picture).sigma[0] > 10 * made[0]
    np.testing.assert_allclose(made, [60, 90, 150], rtol=0.05)


@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_an_empty_canvas_has_no_part_in_statistics(dtype: str) -> None:
    rng = np.random.default_rng(3)
    picture = np.abs(rng.normal(1200, 40, (3, 200, 300))).astype(dtype)
    canvas = np.zeros((3, 700, 300), dtype)
    canvas[:, 250:450] = picture
    of_picture, of_canvas = statistics(picture), statistics(canvas)
    np.testing.assert_allclose(of_canvas.median, of_picture.median, rtol=0.01)
    np.testing.assert_allclose(of_canvas.sigma, of_picture.sigma, rtol=0.1)
    np.testing.assert_allclose(grain(of_canvas.triples), grain(of_picture.triples), rtol=0.1)
    assert of_canvas.low == 0
    eight = statistics((canvas // 8).astype("u1"))  # a black sky is taken as it is
    assert eight.median == (0.0, 0.0, 0.0)


def test_grain_is_found_where_neighbours_are_alike() -> None:
    """Demosaicing, aligning and enlarging smooth the noise from pixel to pixel."""
    noise = np.random.default_rng(8).normal(0, 1, (1, 600, 601))
    smooth = noise[:, :, :-1] + noise[:, :, 1:]
    assert np.diff(smooth).std() < 0.75 * np.sqrt(2) * smooth.std()
    assert _grain(smooth)[0] == pytest.approx(smooth.std(), rel=0.02)


def test_grain_of_large_pictures_is_that_of_a_sample() -> None:
    picture = np.random.default_rng(3).normal(0.3, 0.02, (1, 1500, 1700)).astype("f4")
    assert _grain(picture)[0] == pytest.approx(0.02, rel=0.02)


def test_grain_without_neighbours_or_numbers_is_0() -> None:
    assert _grain(np.ones((2, 50, 4), "f4")) == (0.0, 0.0)
    assert _grain(np.full((1, 50, 60), 7, "u1")) == (0.0,)
    assert _grain(np.full((1, 4, 4), np.nan, "f4")) == (0.0,)
    holes = np.random.default_rng(4).normal(0, 3, (1, 300, 300))
    holes[:, ::5] = np.nan
    assert _grain(holes)[0] == pytest.approx(3, rel=0.05)
