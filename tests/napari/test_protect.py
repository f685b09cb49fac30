"""Labels and shapes as protection, on whatever grid they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import StandIn
from napari.components import ViewerModel

from nox_napari.job import Engine, Outcome, Request, Settings, run
from nox_napari.layers import picture_of
from nox_napari.protect import protection_of


def masked(viewer: ViewerModel, picture: Any, protector: Any, plane: tuple[int, ...] = ()) -> Any:
    protection = protection_of(protector)
    assert protection is not None
    return protection.mask(picture_of(picture), plane)


def test_labels_on_the_same_grid() -> None:
    viewer = ViewerModel()
    picture = viewer.add_image(np.zeros((30, 40)))
    labels = np.zeros((30, 40), int)
    labels[5:9, 10:20] = 3
    np.testing.assert_array_equal(masked(viewer, picture, viewer.add_labels(labels)), labels > 0)
    assert masked(viewer, picture, viewer.add_labels(labels * 0)) is None
    assert protection_of(None) is None


def test_labels_on_a_coarser_shifted_grid() -> None:
    viewer = ViewerModel()
    picture = viewer.add_image(np.zeros((30, 40)), translate=(100, 50))
    labels = np.zeros((6, 8), int)
    labels[1, 2] = 1
    made = viewer.add_labels(labels, scale=(5, 5), translate=(102, 52))
    mask = masked(viewer, picture, made)
    assert mask[5:10, 10:15].all()
    assert mask.sum() == 25


def test_labels_of_a_stack_and_one_for_all() -> None:
    viewer = ViewerModel()
    stack = viewer.add_image(np.zeros((3, 30, 40)))
    labels = np.zeros((3, 30, 40), int)
    labels[2, :5] = 1
    made = viewer.add_labels(labels)
    assert masked(viewer, stack, made, (0,)) is None
    assert masked(viewer, stack, made, (2,)).sum() == 200
    assert masked(viewer, stack, viewer.add_labels(labels[2]), (1,)).sum() == 200


def test_shapes_of_every_kind() -> None:
    viewer = ViewerModel()
    picture = viewer.add_image(np.zeros((60, 80)), scale=(2, 2))
    box = np.array([[10, 10], [10, 29], [29, 29], [29, 10]])
    made = viewer.add_shapes([box], shape_type="rectangle", scale=(2, 2))
    mask = masked(viewer, picture, made)
    assert mask.sum() == 400
    assert mask[10:30, 10:30].all()
    round_ = viewer.add_shapes([box], shape_type="ellipse", scale=(2, 2))
    area = masked(viewer, picture, round_).sum()
    assert 0.9 * np.pi * 9.5**2 < area < 1.1 * np.pi * 9.5**2
    triangle = viewer.add_shapes([box[:3]], shape_type="polygon", scale=(2, 2))
    assert 150 < masked(viewer, picture, triangle).sum() < 250
    line = viewer.add_shapes([box[:2]], shape_type="line", scale=(2, 2))
    assert masked(viewer, picture, line) is None
    path = viewer.add_shapes([box], shape_type="path", scale=(2, 2))
    assert masked(viewer, picture, path) is None
    # Drawn on a grid of its own: half the size in pixels of the picture.
    other = viewer.add_shapes([box], shape_type="rectangle")
    assert abs(masked(viewer, picture, other).sum() - 100) < 25
    assert masked(viewer, picture, viewer.add_shapes(ndim=2)) is None


def test_shapes_drawn_on_one_picture_of_a_stack() -> None:
    viewer = ViewerModel()
    stack = viewer.add_image(np.zeros((3, 30, 40)))
    box = np.array([[1, 5, 5], [1, 5, 9], [1, 9, 9], [1, 9, 5]])
    made = viewer.add_shapes([box], shape_type="rectangle")
    assert masked(viewer, stack, made, (1,)).sum() == 25
    assert masked(viewer, stack, made, (0,)) is None


def test_what_lies_at_a_picture_counts_whatever_its_number() -> None:
    """Axes before the rows have scales and places of their own."""
    viewer = ViewerModel()
    labels = np.zeros((10, 30, 40), int)
    labels[4, :5] = 1
    stack = viewer.add_image(np.zeros((10, 30, 40)), scale=(5, 1, 1))
    painted = viewer.add_labels(labels, scale=(5, 1, 1))
    box = np.array([[20, 5, 5], [20, 5, 9], [20, 9, 9], [20, 9, 5]])
    drawn = viewer.add_shapes([box], shape_type="rectangle")
    placed = viewer.add_image(np.zeros((1, 30, 40)), scale=(5, 1, 1), translate=(20, 0, 0))
    for picture, plane in ((stack, (4,)), (placed, (0,))):
        assert masked(viewer, picture, painted, plane).sum() == 200
        assert masked(viewer, picture, drawn, plane).sum() == 25
    for protector in (painted, drawn):
        assert masked(viewer, stack, protector, (3,)) is None
    beyond = viewer.add_labels(labels[:2] + 1)
    assert masked(viewer, stack, beyond, (0,)).all()
    assert masked(viewer, stack, beyond, (1,)) is None
    one_for_all = viewer.add_labels(labels[4:5])
    assert masked(viewer, stack, one_for_all, (7,)).sum() == 200


def test_of_a_stack_over_one_picture_that_in_view_counts() -> None:
    viewer = ViewerModel()
    picture = viewer.add_image(np.zeros((30, 40)))
    labels = np.zeros((10, 30, 40), int)
    labels[4, :5] = 1
    made = viewer.add_labels(labels)
    for shown, count in ((4, 200), (3, 0)):
        viewer.dims.set_point(0, shown)
        protection = protection_of(made, tuple(viewer.dims.point))
        assert protection is not None
        mask = protection.mask(picture_of(picture), ())
        assert (0 if mask is None else mask.sum()) == count


@pytest.mark.parametrize("kind", ["empty", "elsewhere", "there"])
def test_protection_that_covers_nothing_is_noted(make_sky: Callable[..., Any], kind: str) -> None:
    viewer = ViewerModel()
    sky = make_sky("f4", channels=1)
    picture = viewer.add_image(sky)
    made = viewer.add_labels(
        np.full(sky.shape, int(kind != "empty")), translate=(0, 500 * (kind == "elsewhere"))
    )
    request = Request(picture_of(picture), Settings(), protection=protection_of(made))
    *_, outcome = run(request, Engine(models={(None, "auto"): StandIn()}))
    assert isinstance(outcome, Outcome)
    said = f"{made.name} covers nothing of the picture"
    assert (said in outcome.notes) == (kind != "there")


@pytest.mark.parametrize("window", [(0, 30, 0, 40), (4, 11, 7, 26), (29, 30, 39, 40)])
@pytest.mark.parametrize("kind", ["same grid", "turned", "far away", "shapes"])
def test_a_window_is_that_part_of_the_whole(kind: str, window: tuple[int, ...]) -> None:
    viewer = ViewerModel()
    picture = viewer.add_image(np.zeros((30, 40)))
    labels = (np.random.default_rng(1).random((30, 40)) > 0.5).astype(int)
    if kind == "shapes":
        box = np.array([[2, 3], [2, 36], [27, 36], [27, 3]])
        made = viewer.add_shapes([box, box / 2], shape_type=["ellipse", "rectangle"])
    else:
        where = {"turned": {"rotate": 20, "scale": (0.8, 1.3)}, "far away": {"translate": (99, 0)}}
        made = viewer.add_labels(labels, **where.get(kind, {}))
    protection, job = protection_of(made), picture_of(picture)
    assert protection is not None
    whole, part = protection.mask(job, ()), protection.mask(job, (), window)  # type: ignore[arg-type]
    y0, y1, x0, x1 = window
    expected = np.zeros((30, 40), bool) if whole is None else whole
    assert (whole is None) == (kind == "far away")
    if part is None:
        part = np.zeros((y1 - y0, x1 - x0), bool)
    np.testing.assert_array_equal(part, expected[y0:y1, x0:x1])


def test_no_more_of_the_labels_is_read_than_the_window_needs() -> None:
    import dask.array as da

    seen = []

    def block(block_info: Any = None) -> np.ndarray:
        seen.append(block_info[None]["array-location"])
        return np.ones((100, 100), int)

    labels = da.map_blocks(block, chunks=((100,) * 8, (100,) * 8), dtype=int, meta=np.empty((0, 0)))
    viewer = ViewerModel()
    picture = viewer.add_image(np.zeros((400, 400)))
    for scale in ((1, 1), (0.5, 0.5)):
        made = viewer.add_labels(labels, scale=scale)
        protection = protection_of(made)
        assert protection is not None
        seen.clear()
        mask = protection.mask(picture_of(picture), (), (110, 140, 120, 160))
        assert mask is not None
        assert mask.all()
        assert 1 <= len(seen) <= 4


@pytest.mark.parametrize("step", [None, 1, 2])
def test_nothing_changes_under_protection(make_sky: Callable[..., Any], step: int | None) -> None:
    viewer = ViewerModel()
    picture = make_sky("f4", channels=1)
    labels = np.zeros(picture.shape, int)
    labels[:, :80] = 1
    layer = viewer.add_image(picture)
    protection = protection_of(viewer.add_labels(labels))
    window = None if step is None else (0, 150, 0, 170)
    request = Request(
        picture_of(layer), Settings(), protection=protection, window=window, step=step or 1
    )
    *_, outcome = run(request, Engine(models={(None, "auto"): StandIn()}))
    assert isinstance(outcome, Outcome)
    mask = outcome.removals[0].mask
    edge = 80 // (step or 1)
    assert not mask[:, :edge].any()
    assert mask[:, edge:].any()
