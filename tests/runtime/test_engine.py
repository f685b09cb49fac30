from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from conftest import StandIn, starry

from nox_runtime.engine import Layout, _most_near, _window, count_tiles, iter_residual
from nox_runtime.tiling import Span, reflected, spans


def _whole(picture: np.ndarray, tile: int, channels: int = 3) -> np.ndarray:
    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        assert 0 <= y0 < y1 <= picture.shape[1]
        assert 0 <= x0 < x1 <= picture.shape[2]
        return picture[:, y0:y1, x0:x1]

    layout = Layout(channels, 32, 32, tile)
    out = np.full(picture.shape, np.nan, np.float32)
    steps = list(iter_residual(read, picture.shape, StandIn(), layout))
    numbers = [step.done for step in steps]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, count_tiles(*picture.shape[1:], layout) + 1))
    for step in steps:
        assert step.total == numbers[-1]
        if step.residual is not None:
            rows = slice(step.start, step.start + step.residual.shape[1])
            assert np.isnan(out[:, rows]).all()
            out[:, rows] = step.residual
    return out


@pytest.mark.parametrize("tile", [128, 160, 256])
def test_contract_5_result_does_not_depend_on_tiles(tile: int) -> None:
    picture = starry(300, 410, 3).astype(np.float32)
    one, many = _whole(picture, 4096), _whole(picture, tile)
    assert not np.isnan(many).any()
    np.testing.assert_allclose(many, one, atol=1e-5)


def test_zero_stays_zero_through_the_blend() -> None:
    picture = starry(300, 410, 3).astype(np.float32)
    one, many = _whole(picture, 4096), _whole(picture, 128)
    np.testing.assert_array_equal(one == 0, many == 0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (5, 400), (33, 31)])
def test_any_size_and_channels(channels: int, size: tuple[int, int]) -> None:
    picture = starry(*size, channels).astype(np.float32)
    assert _whole(picture, 128).shape == picture.shape


def test_mono_model_on_colour() -> None:
    picture = starry(90, 90, 3).astype(np.float32)
    each = np.concatenate([_whole(picture[c : c + 1], 512, 1) for c in range(3)])
    np.testing.assert_allclose(_whole(picture, 512, 1), each, atol=1e-6)


def test_the_model_sees_tiles_of_one_size() -> None:
    picture = starry(300, 410, 3).astype(np.float32)
    model = StandIn()
    layout = Layout(3, 32, 32, 160)
    shape = picture.shape[0], picture.shape[1], picture.shape[2]
    steps = iter_residual(lambda a, b, c, d: picture[:, a:b, c:d], shape, model, layout)
    list(steps)
    assert len(model.seen) == count_tiles(300, 410, layout) > 4
    assert len(set(model.seen)) == 1


def test_a_model_may_answer_with_what_it_was_given() -> None:
    """The engine writes over a model's answer, but not over the window."""
    picture = starry(200, 300, 3).astype(np.float32)
    before = picture.copy()
    layout = Layout(3, 32, 32, 160, passes=2)

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return picture[:, y0:y1, x0:x1]

    steps = iter_residual(read, picture.shape, lambda shown: shown, layout)
    for step in steps:
        assert step.residual is None or not step.residual.any()
    np.testing.assert_array_equal(picture, before)


def test_rows_may_be_kept_and_written_into() -> None:
    """The engine hands its rows over; what becomes of them does not reach the next ones."""
    picture = starry(300, 200, 1).astype(np.float32)
    made = []
    for spoil in (False, True):
        rows = []
        for step in iter_residual(
            lambda a, b, c, d: picture[:, a:b, c:d],
            (1, 300, 200),
            StandIn(),
            Layout(3, 32, 32, 128),
        ):
            if step.residual is not None:
                rows.append(step.residual.copy())
                if spoil:
                    step.residual[:] = 9
        made.append(np.concatenate(rows, axis=1))
    np.testing.assert_array_equal(*made)


#: First pixel, pixel after the last, and how many there are.
EDGES = [
    *((0, 9, 9), (2, 7, 9), (-3, 12, 9), (-3, 5, 9), (4, 13, 9)),
    *((-9, 20, 4), (-2, 3, 1), (-4, 6, 2), (-1, 1, 2)),
]


@pytest.mark.parametrize("down", EDGES)
@pytest.mark.parametrize("across", EDGES)
def test_edges_are_taken_as_numpy_takes_them(
    down: tuple[int, int, int], across: tuple[int, int, int]
) -> None:
    (top, bottom, height), (left, right, width) = down, across
    picture = np.random.default_rng(0).random((2, height, width), np.float32)
    row, column = (Span(a, b, 0, n, 0, 0) for a, b, n in (down, across))
    made = _window(lambda a, b, c, d: picture[:, a:b, c:d], row, column, height, width)
    y, x = reflected(top, bottom, height), reflected(left, right, width)
    np.testing.assert_array_equal(made, picture[:, y][:, :, x])
    assert made.flags.c_contiguous


def _peak(height: int, width: int, layout: Layout) -> int:
    """Most bytes held at once while a picture without stars goes through."""

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return np.zeros((1, y1 - y0, x1 - x0), np.float32)

    tracemalloc.start()
    try:
        for _ in iter_residual(read, (1, height, width), lambda shown: shown, layout):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_contract_6_memory_is_two_rows_of_tiles_whatever_the_height() -> None:
    layout = Layout(1, 32, 32, 160)
    narrow, wide, tall = (_peak(*size, layout) for size in ((256, 1024), (256, 4096), (512, 4096)))
    assert tall == pytest.approx(wide, rel=0.1)
    # What tiles write and fade into, of the row at work and of the one handed on.
    span = spans(256, layout.tile, layout.margin, layout.multiple)[1]
    rows = span.write_stop - span.write_start + span.ramp_in
    assert rows < layout.tile
    assert (wide - narrow) / (4096 - 1024) == pytest.approx(2 * rows * 4, rel=0.1)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (7, 7), (40, 23)])
def test_the_most_near_is_the_largest_of_five_by_five(size: tuple[int, int]) -> None:
    values = np.random.default_rng(2).random(size, np.float32)
    wide = np.pad(values, 2)
    expected = np.lib.stride_tricks.sliding_window_view(wide, (5, 5)).max(axis=(2, 3))
    for step in (1, 5, 64):  # however the rows come in bands
        bands = [
            _most_near(values, slice(y, min(y + step, size[0]))) for y in range(0, size[0], step)
        ]
        np.testing.assert_array_equal(np.concatenate(bands), expected)


def _taken(light: np.ndarray, floor: float) -> np.ndarray:
    """What goes of a picture of which the model would take `light`."""
    height, width = light.shape[1:]
    picture = np.full(light.shape, 0.5, np.float32)
    layout = Layout(len(light), 32, 32, 96, floor=floor)
    marked = picture + light

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return marked[:, y0:y1, x0:x1]

    def model(pictures: np.ndarray) -> np.ndarray:
        return np.full_like(pictures, 0.5)

    steps = iter_residual(read, (len(light), height, width), model, layout)
    return np.concatenate([s.residual for s in steps if s.residual is not None], axis=1)


def test_light_below_the_floor_goes_only_near_light_above_it() -> None:
    floor, channels = 0.01, 3
    light = np.full((channels, 90, 150), 0.8 * floor, np.float32)
    light[1, 40, 60] = 2.5 * floor  # one channel of a star's middle is enough
    light[:, 70, 120] = 1.5 * floor  # between the floor and twice that: a share
    exact = (np.float32(0.5) + light) - np.float32(0.5)
    np.testing.assert_allclose(_taken(light, 0.0), exact, atol=1e-7)
    made = _taken(light, floor)
    near = np.zeros((90, 150))
    near[38:43, 58:63], near[68:73, 118:123] = 1.0, 0.5
    np.testing.assert_allclose(made, exact * near, atol=1e-7)
    assert not made[:, near == 0].any()


def test_contract_5_the_floor_does_not_show_the_tiles() -> None:
    rng = np.random.default_rng(5)
    light = (0.012 * rng.random((1, 200, 330)) ** 4).astype(np.float32)
    light[0, rng.integers(0, 200, 30), rng.integers(0, 330, 30)] = 0.03
    picture = light + np.float32(0.5)
    made = []
    for tile in (4096, 96, 128):
        steps = iter_residual(
            lambda a, b, c, d: picture[:, a:b, c:d],
            (1, 200, 330),
            lambda shown: np.full_like(shown, 0.5),
            Layout(1, 32, 32, tile, floor=0.008),
        )
        made.append(np.concatenate([s.residual for s in steps if s.residual is not None], axis=1))
    assert 0.05 < (made[0] == 0).mean() < 0.95
    np.testing.assert_allclose(made[1], made[0], atol=1e-6)
    np.testing.assert_allclose(made[2], made[0], atol=1e-6)
