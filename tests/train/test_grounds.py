"""Backgrounds fit the stars on them: objects are no sharper, nor is anything else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nox_train.grounds import SEEING_OF_WIDTH, Grounds

SEEING = (*map(float, np.geomspace(1.0, 10.0, 30)), None)


@pytest.fixture(scope="module")
def grounds() -> Grounds:
    noise = np.random.default_rng(1).random((len(SEEING), 3, 128, 128), np.float32)
    return Grounds(noise.astype(np.float16), SEEING)


@pytest.mark.parametrize("width", [1.2, 2.0, 3.5, 7.0, 9.0])
def test_objects_have_been_through_the_air_of_the_stars(grounds: Grounds, width: float) -> None:
    rng, numbers = np.random.default_rng(2), set()
    for _ in range(60):
        _, facts = grounds.draw(rng, width, 64)
        numbers.add(facts["background"])
        seeing = SEEING[facts["background"]]
        if seeing is not None:
            assert seeing * facts["grown"] >= SEEING_OF_WIDTH[0] * width * 0.999
            assert seeing * facts["grown"] <= max(SEEING_OF_WIDTH[1] * width, 2.0) * 1.001
    assert len(numbers) > 1


def test_scenes_to_be_shrunk_have_objects_that_survive_it(grounds: Grounds) -> None:
    rng = np.random.default_rng(3)
    drawn = {grounds.draw(rng, 1.2, 64, shrinking=True)[1]["background"] for _ in range(40)}
    assert len(drawn) > 2
    for j in drawn - {SEEING.index(None)}:
        assert 1.8 <= SEEING[j] <= 2.4


def test_where_nothing_fits_the_nearest_are_taken() -> None:
    some = Grounds(np.zeros((5, 3, 64, 64), np.float16), (1.0, 4.0, 2.0, 1.1, 1.2))
    rng = np.random.default_rng(4)
    far = [some.draw(rng, 40.0, 32)[1] for _ in range(30)]
    assert {facts["background"] for facts in far} == {1, 2, 4}


def test_backgrounds_under_wide_stars_are_as_smooth(grounds: Grounds) -> None:
    def fine(picture: np.ndarray, width: float) -> float:
        picture = np.asarray(picture[0, :64, :64], np.float32)
        return float((picture - ndimage.gaussian_filter(picture, width / 2.35)).std())

    rng, rough = np.random.default_rng(5), {1.0: [], 2.0: []}
    for _ in range(40):
        picture, facts = grounds.draw(rng, 6.0, 64)
        assert min(picture.shape[1:]) >= 64
        assert picture.min() >= 0
        assert picture.max() <= 1
        rough[1.0 if facts["grown"] == 1 else 2.0].append(fine(picture, 6.0))
    assert 2 < len(rough[1.0]) < 20
    assert np.median(rough[2.0]) < 0.75 * np.median(rough[1.0])
    assert {grounds.draw(rng, 2.0, 64)[1]["grown"] for _ in range(20)} == {1.0}
