from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nox_runtime.tiling import Span, reflected, spans

AXES = st.tuples(
    st.integers(1, 3000), st.integers(64, 700), st.integers(0, 150), st.sampled_from([1, 16, 32])
)


@given(AXES)
def test_weights_cover_every_pixel_once(axis: tuple[int, int, int, int]) -> None:
    length, tile, margin, multiple = axis
    total = np.zeros(length, np.float64)
    for span in spans(length, tile, margin, multiple):
        assert 0 <= span.write_start < span.write_stop <= length
        total[span.write_start : span.write_stop] += span.weights()
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


@given(AXES)
def test_reads_are_whole_multiples_on_one_grid(axis: tuple[int, int, int, int]) -> None:
    length, tile, margin, multiple = axis
    for span in spans(length, tile, margin, multiple):
        assert span.read_start % multiple == 0
        assert (span.read_stop - span.read_start) % multiple == 0


@given(AXES)
def test_every_written_pixel_has_its_margin_or_the_pictures_edge(
    axis: tuple[int, int, int, int],
) -> None:
    length, tile, margin, multiple = axis
    edge = min(margin, multiple)
    for span in spans(length, tile, margin, multiple):
        # Counted from the middle of a fade.
        before, after = margin - span.ramp_in // 2, margin - -(-span.ramp_out // 2)
        assert span.read_start <= max(span.write_start - max(before, 0), -edge)
        assert span.read_stop >= min(span.write_stop + max(after, 0), length + edge)


@given(AXES)
def test_rows_become_final_in_order(axis: tuple[int, int, int, int]) -> None:
    length, tile, margin, multiple = axis
    tiles = spans(length, tile, margin, multiple)
    for one, two in itertools.pairwise(tiles):
        assert two.write_start == one.final_stop
    assert tiles[-1].final_stop == length


@given(AXES)
def test_tiles_are_as_long_as_each_other_and_no_longer_than_asked_for(
    axis: tuple[int, int, int, int],
) -> None:
    length, tile, margin, multiple = axis
    around = -(-max(margin, min(16, multiple) // 2) // multiple) * multiple
    tiles = spans(length, tile, margin, multiple)
    sizes = {span.read_stop - span.read_start for span in tiles[:-1]}
    assert len(sizes) <= 1
    assert all(size <= max(tile, 2 * around + multiple) for size in sizes)
    # The last has taken in one too short for its fade, if it is longer.
    last = tiles[-1].read_stop - tiles[-1].read_start
    assert all(size <= last < size + 2 * around + multiple for size in sizes)


@given(AXES)
def test_no_fewer_tiles_would_do(axis: tuple[int, int, int, int]) -> None:
    length, tile, margin, multiple = axis
    tiles = spans(length, tile, margin, multiple)
    if len(tiles) == 1:
        return
    around = -(-max(margin, min(16, multiple) // 2) // multiple) * multiple
    edge = min(-(-margin // multiple) * multiple, multiple)
    middle = max((tile - 2 * around) // multiple * multiple, multiple)
    ending = max((tile - around - edge) // multiple * multiple, multiple)
    padded = -(-length // multiple) * multiple
    one_less = 2 * ending + (len(tiles) - 3) * middle if len(tiles) > 2 else tile - 2 * edge
    assert one_less < padded


def test_a_camera_s_picture_takes_six_tiles() -> None:
    """6000 x 4000 px with surroundings of 160 px: 24 % more than the picture is read."""
    read = [sum(s.read_stop - s.read_start for s in spans(n, 2304, 160, 32)) for n in (6000, 4000)]
    assert [len(spans(n, 2304, 160, 32)) for n in (6000, 4000)] == [3, 2]
    assert read[0] * read[1] < 1.24 * 6000 * 4000


def test_tiles_overlap_by_their_margins_alone_but_for_the_first() -> None:
    tiles = spans(6000, 1536, 128, 32)
    overlaps = [a.read_stop - b.read_start for a, b in itertools.pairwise(tiles)]
    assert overlaps[1:] == [2 * 128] * 3
    # Rounding each of five tiles up to the network's grid leaves that much over.
    assert 2 * 128 <= overlaps[0] < 2 * 128 + 5 * 32


@given(st.integers(1, 50), st.integers(-120, 0), st.integers(1, 170))
def test_reflection_is_numpys(length: int, start: int, stop: int) -> None:
    padded = np.pad(np.arange(length), (-start, max(0, stop - length)), mode="reflect")
    np.testing.assert_array_equal(reflected(start, stop, length), padded[: stop - start])


def test_a_span_reads_well() -> None:
    assert repr(Span(-32, 96, 0, 60, 0, 16)) == "Span(read -32:96, write 0:60, fades 0+16)"
