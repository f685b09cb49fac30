"""Statistics are numpy's, and those of the whole are those of its rows."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import starry

from nox_runtime.statistics import MAD_TO_SIGMA, gathered, statistics


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
