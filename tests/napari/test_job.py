"""Jobs on layers of every kind, without a window: what goes in, what comes out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import StandIn, starry
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel

from nox_napari.job import Engine, Outcome, Progress, Request, Settings, run, shrunk
from nox_napari.layers import picture_of, visible_window
from nox_napari.results import build, mark, own_layers, place
from nox_napari.session import (
    Failure,
    Session,
    in_words,
    progress_in_words,
    size_in_words,
    work,
)
from nox_runtime.errors import DeviceError, StoppedError, UsageError
from nox_runtime.removal import StarRemover

ALL = ("starless", "stars", "mask", "points")


def engine(model: Any = None) -> Engine:
    return Engine(models={(None, "auto", 0): model or StandIn()})


def finished(request: Request, with_engine: Engine | None = None) -> Outcome:
    *steps, last = run(request, with_engine or engine())
    assert isinstance(last, Outcome)
    assert all(isinstance(s, Progress) for s in steps)
    return last


def removed(viewer: ViewerModel, layer: Any, **settings: Any) -> dict[str, Any]:
    """Run on a layer as the panel does, and give the layers that came of it."""
    session = Session(viewer)
    session.engine = engine()
    outcome = finished(session.request(layer, Settings(**settings)), session.engine)
    list(place(viewer, build(outcome)))
    return own_layers(viewer, str(layer.unique_id))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_every_type_recombines(make_sky: Callable[..., Any], dtype: str, channels: int) -> None:
    viewer = ViewerModel()
    picture = make_sky(dtype, channels=channels)
    layer = viewer.add_image(picture.copy(), rgb=channels == 3, name="m31")
    made = removed(viewer, layer, outputs=("starless", "stars", "mask"))
    assert [x.name for x in viewer.layers] == [
        "m31", "m31 star mask", "m31 stars", "m31 starless",
    ]  # fmt: skip
    np.testing.assert_array_equal(layer.data, picture)
    starless, stars = made["starless"].data, made["stars"].data
    assert starless.dtype == picture.dtype
    assert starless.shape == picture.shape
    if np.dtype(dtype).kind in "ui":
        np.testing.assert_array_equal(starless + stars, picture)
    else:
        np.testing.assert_allclose(starless + stars, picture, rtol=2**-20)
    mask = made["mask"].data
    assert mask.shape == picture.shape[:2]
    np.testing.assert_array_equal(starless[mask == 0], picture[mask == 0])
    assert (mask > 0.2).sum() > 50
    assert made["starless"].rgb == (channels == 3)
    assert not made["mask"].rgb


def test_nan_comes_back_and_alpha_is_no_colour(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    picture = make_sky("f4")
    picture[20:40, 30:60] = np.nan
    made = removed(viewer, viewer.add_image(picture, rgb=True, contrast_limits=(0, 1)))
    assert np.isnan(made["starless"].data[20:40, 30:60]).all()
    assert np.isfinite(made["starless"].data).sum() == np.isfinite(picture).sum()
    rgba = np.concatenate([make_sky("u1"), np.full((150, 170, 1), 255, "u1")], axis=2)
    made = removed(viewer, viewer.add_image(rgba, rgb=True))
    assert made["starless"].data.shape == (150, 170, 3)


def test_dask_and_several_scales_use_the_finest(make_sky: Callable[..., Any]) -> None:
    import dask.array as da

    viewer = ViewerModel()
    picture = make_sky("u2")
    plain = removed(viewer, viewer.add_image(picture, rgb=True))["starless"].data
    lazy = da.from_array(picture, chunks=(64, 64, 3))
    layer = viewer.add_image([lazy, lazy[::2, ::2]], rgb=True, multiscale=True)
    np.testing.assert_array_equal(removed(viewer, layer)["starless"].data, plain)


def test_a_stack_the_one_in_view_or_all(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    stack = np.stack([make_sky("u2", channels=1) // (k + 1) for k in range(3)])
    layer = viewer.add_image(stack, name="stack")
    viewer.dims.set_current_step(0, 1)
    one = removed(viewer, layer, outputs=ALL)
    assert one["starless"].data.shape == (1, 150, 170)
    # It lies where its picture lies.
    np.testing.assert_array_equal(one["starless"].data_to_world((0, 0, 0)), (1, 0, 0))
    assert set(np.asarray(one["points"].data)[:, 0]) == {0}
    np.testing.assert_array_equal(one["points"].data_to_world((0, 5, 6)), (1, 5, 6))
    every = removed(viewer, layer, outputs=ALL, whole_stack=True)
    assert every["starless"].data.shape == stack.shape
    np.testing.assert_array_equal(every["starless"].data[1], one["starless"].data[0])
    np.testing.assert_array_equal(every["starless"].data + every["stars"].data, stack)
    assert set(np.asarray(every["points"].data)[:, 0]) == {0, 1, 2}


def test_place_and_look_are_those_of_the_picture(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(
        make_sky("f4", channels=1), scale=(2, 3), translate=(10, -5), rotate=30, gamma=0.6,
        colormap="viridis", contrast_limits=(0.1, 0.7),
    )  # fmt: skip
    made = removed(viewer, layer, outputs=ALL)
    for at in ((0, 0), (10, 20), (149, 169)):
        for role in ALL:
            np.testing.assert_allclose(made[role].data_to_world(at), layer.data_to_world(at))
    assert made["starless"].gamma == 0.6
    assert made["starless"].colormap.name == "viridis"
    assert made["starless"].contrast_limits == [0.1, 0.7]
    assert made["stars"].contrast_limits == [0, pytest.approx(0.6)]


def test_rings_sit_on_the_stars(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True)
    made = removed(viewer, layer, outputs=ALL)
    points, mask = made["points"], made["mask"].data
    assert len(points.data) > 10
    rows, columns = np.rint(points.data).astype(int).T
    assert (mask[rows, columns] > 0.1).all()
    fwhm = points.features["fwhm"].to_numpy()
    np.testing.assert_allclose(points.size, np.maximum(2.5 * fwhm, 4), rtol=1e-5)
    assert {"x", "y", "flux_1", "peak", "saturated"} <= set(points.features)


def test_screen_stars_and_strength_and_header_are_on_record(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    picture = make_sky("f4").clip(0, 1)
    layer = viewer.add_image(picture, rgb=True, contrast_limits=(0, 1), metadata={"header": "h"})
    made = removed(viewer, layer, screen=True)
    starless, screen = made["starless"].data, made["stars"].data
    np.testing.assert_allclose(1 - (1 - starless) * (1 - screen), picture, atol=2e-5)
    assert made["starless"].metadata["header"] == "h"
    known = mark(made["starless"])
    assert (known["model"], known["device"], known["strength"]) == ("stand-in", "cpu", 1)
    half = removed(viewer, layer, strength=0.5)
    assert mark(half["starless"])["strength"] == 0.5
    taken, less = picture - starless, picture - half["starless"].data
    assert 0.1 < less.sum() / taken.sum() < 0.9


def test_a_second_run_replaces_its_own_layers_alone(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    first = removed(viewer, layer, outputs=ALL)
    first["starless"].opacity, first["mask"].visible = 0.5, True
    viewer.add_points([[1, 2]], name="mine")
    viewer.layers.selection.active = layer
    names = [x.name for x in viewer.layers]
    again = removed(viewer, layer, outputs=ALL, strength=0.5)
    assert [x.name for x in viewer.layers] == names
    assert again["starless"].opacity == 0.5
    assert again["mask"].visible
    assert mark(again["starless"])["strength"] == 0.5
    assert mark(again["points"])["strength"] == 0.5
    assert viewer.layers.selection.active is layer
    removed(viewer, layer, outputs=("starless",))
    assert [x.name for x in viewer.layers] == ["m31", "m31 starless", "mine"]
    other = viewer.add_image(make_sky("u2"), rgb=True, name="m33")
    removed(viewer, other)
    assert "m31 starless" in viewer.layers
    assert "m33 starless" in viewer.layers


def preview(session: Session, layer: Any, step: int, window: tuple[int, ...]) -> Any:
    request = session.request(layer, Settings(), preview=True)
    request = Request(
        request.picture,
        request.settings,
        request.planes,
        None,
        window,
        step,  # type: ignore[arg-type]
    )
    outcome = finished(request, session.engine)
    list(place(session.viewer, build(outcome)))
    return own_layers(session.viewer, str(layer.unique_id))["preview"], outcome


def test_a_full_size_preview_is_what_the_run_will_give(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True, scale=(2, 2), name="m31")
    session = Session(viewer)
    session.engine = engine()
    shown, outcome = preview(session, layer, 1, (30, 90, 41, 141))
    full = removed(viewer, layer)["starless"]
    assert "preview" not in own_layers(viewer, str(layer.unique_id))
    np.testing.assert_array_equal(shown.data, full.data[30:90, 41:141])
    np.testing.assert_allclose(shown.data_to_world((0, 0)), layer.data_to_world((30, 41)))
    assert "Preview at full size" in outcome.summary
    assert "header" not in shown.metadata


@pytest.mark.parametrize("window", [(30, 91, 41, 141), (0, 150, 0, 170), (147, 150, 0, 3)])
def test_a_shrunk_preview_covers_the_view(
    make_sky: Callable[..., Any], window: tuple[int, ...]
) -> None:
    viewer = ViewerModel()
    picture = make_sky("f4", channels=1)
    layer = viewer.add_image(picture, name="m31")
    session = Session(viewer)
    session.engine = engine()
    shown, outcome = preview(session, layer, 3, window)
    y0, y1, x0, x1 = window
    assert shown.data.shape == ((y1 - y0) // 3, (x1 - x0) // 3)
    # The middle of the first large pixel is that of the 3 x 3 below it.
    np.testing.assert_allclose(shown.data_to_world((0, 0)), (y0 + 1, x0 + 1))
    means = shrunk(picture[None, y0:y1, x0:x1], 3)[0]
    assert (shown.data <= means + 1e-6).all()
    assert np.median(np.abs(shown.data - means)) < 1e-6
    assert "Preview at 1/3 size" in outcome.summary


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_shrinking_keeps_means(h: int, w: int, step: int) -> None:
    a = np.random.default_rng(h * w).random((2, h, w)).astype("f4")
    small = shrunk(a, step)
    y, x = min(step, h), min(step, w)
    assert small.shape == (2, h // y, w // x)
    whole = a[:, : h // y * y, : w // x * x]
    np.testing.assert_allclose(small.mean(), whole.mean(), rtol=1e-4)


def test_previews_shrink_by_what_the_device_can_do() -> None:
    some = engine()
    assert some.preview_step((0, 200, 0, 200), "cpu") == 1
    assert some.preview_step((0, 4000, 0, 6000), "cpu") >= 8
    some.pace["cpu"] = 1e9
    assert some.preview_step((0, 4000, 0, 6000), "cpu") == 1


def test_the_view_is_found_also_for_several_scales(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True)
    layer.corner_pixels = np.array([[10, 20], [99, 119]])
    assert visible_window(layer, 150, 170) == (10, 100, 20, 120)
    layer.corner_pixels = np.array([[500, 500], [600, 600]])
    assert visible_window(layer, 150, 170) == (0, 150, 0, 170)
    data = make_sky("u2", (400, 600))
    scaled = viewer.add_image([data, data[::2, ::2], data[::4, ::4]], rgb=True, multiscale=True)
    scaled._data_level = 1
    scaled.corner_pixels = np.array([[10, 20], [99, 119]])
    assert visible_window(scaled, 400, 600) == (20, 200, 40, 240)


def test_of_several_scales_the_view_is_what_the_canvas_shows(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    data = make_sky("u2", (400, 600))
    scaled = viewer.add_image(
        [data, data[::2, ::2]], rgb=True, multiscale=True, scale=(0.5, 0.5), translate=(10, 20)
    )
    scaled.corner_pixels = np.array([[0, 0], [199, 299]])  # as napari leaves it: whole pieces
    box = np.array([[60.0, 70.0], [110.0, 95.0]])
    assert visible_window(scaled, 400, 600, box) == (100, 201, 100, 151)
    scaled.rotate = 90
    y0, y1, x0, x1 = visible_window(scaled, 400, 600, np.array([[-200.0, 50.0], [-100.0, 100.0]]))
    corners = [scaled.data_to_world((y, x)) for y in (y0, y1 - 1) for x in (x0, x1 - 1)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    np.testing.assert_allclose([low, high], [[-200, 50], [-100, 100]], atol=1)


class Fallen(StandIn):
    """A model on a GPU whose memory is full: the picture is done on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.device, self.notes = "cuda", ["half precision (x-fp16.onnx)"]

    def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
        if self.device != "cpu":
            self.device = "cpu"
            self.notes.append("the cuda device's memory was full: running on the CPU")
        return super().__call__(pictures)


def test_a_full_memory_is_no_reason_to_leave_the_device_for_good(
    make_sky: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import job

    loaded: list[Any] = []
    monkeypatch.setattr(job, "load_model", lambda *_, **__: loaded.append(Fallen()) or loaded[-1])
    viewer = ViewerModel()
    session = Session(viewer)
    request = session.request(viewer.add_image(make_sky("u2"), rgb=True), Settings())
    for n in (1, 2):
        made = finished(request, session.engine)
        assert len(loaded) == n
        assert any("memory was full" in note for note in made.notes)


def test_what_was_told_of_a_model_is_not_told_again(
    make_sky: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import job

    class Filling(StandIn):
        more: tuple[str, ...] = ()

        def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
            self.notes += [note for note in self.more if note not in self.notes]
            return super().__call__(pictures)

    model = Filling()
    model.notes = ["half precision (x-fp16.onnx)"]
    monkeypatch.setattr(job, "load_model", lambda *_, **__: model)
    viewer, some = ViewerModel(), Engine()
    request = Session(viewer).request(viewer.add_image(make_sky("u2"), rgb=True), Settings())
    assert finished(request, some).notes == ("half precision (x-fp16.onnx)",)
    assert finished(request, some).notes == ()
    model.more = ("the cuda device's memory was full: pieces of 512 px",)
    assert finished(request, some).notes == ("the cuda device's memory was full: pieces of 512 px",)


def test_a_model_file_that_was_written_anew_is_loaded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import job

    monkeypatch.setattr(job, "load_model", lambda *_, **__: StandIn())
    path, some = tmp_path / "mine.onnx", Engine()
    path.write_bytes(b"1")
    first = some.remover(Settings(model=str(path))).model
    assert some.remover(Settings(model=str(path))).model is first
    os.utime(path, ns=(1, 1))
    assert some.remover(Settings(model=str(path))).model is not first
    assert len(some.models) == 1


def test_a_preview_reads_as_far_as_large_stars_need(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    picture = make_sky("u2", (700, 700))
    layer = viewer.add_image(picture, rgb=True)
    settings = Settings(large_stars=True, outputs=("starless",))
    whole = removed(viewer, layer, large_stars=True)["starless"].data
    request = Request(picture_of(layer), settings, window=(300, 380, 310, 400))
    made = finished(request).removals[0].starless
    np.testing.assert_array_equal(np.moveaxis(made, 0, -1), whole[300:380, 310:400])


def test_the_pace_of_a_preview_is_that_of_all_that_was_computed(
    make_sky: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import job

    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr(job.time, "monotonic", lambda: next(ticks))
    viewer, some = ViewerModel(), engine()
    layer = viewer.add_image(make_sky("u2", (300, 300)), rgb=True)
    request = Request(picture_of(layer), Settings(), window=(140, 160, 140, 160))
    finished(request, some)
    (pace,) = some.pace.values()
    margin = StarRemover(StandIn()).layout.margin
    side = 20 + 2 * min(margin, 140)
    assert pace > 0.9 * side * side / 1000  # seconds: some of the ticks of ten


def test_errors_say_what_is_wrong(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    session = Session(viewer)
    with pytest.raises(UsageError, match="no picture is open"):
        session.request(None, Settings())
    labels = viewer.add_labels(np.ones((5, 6), int), name="L")
    with pytest.raises(UsageError, match="L: is a labels layer; choose an image layer"):
        session.request(labels, Settings())
    layer = viewer.add_image(make_sky("u2"), rgb=True)
    with pytest.raises(UsageError, match="nothing to make"):
        session.request(layer, Settings(outputs=()))
    with pytest.raises(UsageError, match="protect with a labels layer"):
        session.request(layer, Settings(), layer)
    truth = viewer.add_image(np.ones((5, 6), bool), name="T")
    with pytest.raises(UsageError, match="T: its values are bool"):
        session.request(truth, Settings())


def test_a_lost_device_is_forgotten_and_the_next_run_loads_again(
    make_sky: Callable[..., Any], gated: Any
) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True)
    some = engine(gated(error=DeviceError("gone")))
    with pytest.raises(DeviceError, match="gone"):
        finished(Request(picture_of(layer), Settings()), some)
    assert not some.models
    assert not some.lock.locked()


def test_cancelling_between_tiles_lets_the_device_go(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2", (300, 400)), rgb=True)
    some, model = engine(), StandIn()
    some.models[None, "auto"] = model
    steps = run(Request(picture_of(layer), Settings(tile=128)), some)
    for item in steps:
        assert isinstance(item, Progress)
        if item.done == 2:
            break
    assert some.lock.locked()
    steps.close()  # type: ignore[attr-defined]
    assert not some.lock.locked()
    # Of 108: two were taken, and each of two threads may have one waiting and one in hand.
    assert len(model.seen) <= 6


@pytest.mark.parametrize("preview", [False, True])
def test_a_cancel_reaches_the_tile_in_work_and_ends_in_silence(
    make_sky: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, preview: bool
) -> None:
    asked = threading.Event()

    def iter_remove(*_: Any, cancelled: Callable[[], bool], **__: Any) -> Any:
        asked.set()
        assert cancelled()
        raise StoppedError("stopped")
        yield

    monkeypatch.setattr(StarRemover, "iter_remove", iter_remove)
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2", (300, 400)), rgb=True)
    window = (0, 200, 0, 200) if preview else None
    request = Request(picture_of(layer), Settings(tile=128), window=window)
    seen = list(work(request, engine(), asked.is_set))
    assert asked.is_set()
    assert all(isinstance(item, Progress) for item in seen)


def test_work_ends_in_layers_a_failure_or_silence(make_sky: Callable[..., Any], gated: Any) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2", (300, 400)), rgb=True)
    request = Request(picture_of(layer), Settings(tile=128))
    *_, (outcome, layers) = work(request, engine(), lambda: False)  # type: ignore[misc]
    assert [mark(x)["role"] for x in layers] == ["stars", "starless"]
    assert outcome.summary.startswith("Done on cpu")
    *_, last = work(request, engine(gated(error=DeviceError("gone"))), lambda: False)
    assert isinstance(last, Failure)
    *_, last = work(request, engine(gated(error=MemoryError())), lambda: False)
    assert isinstance(last, Failure)
    stop = threading.Event()
    seen = []
    for item in work(request, engine(), stop.is_set):
        seen.append(item)
        if isinstance(item, Progress) and item.done == 3:
            stop.set()
    assert seen[-1].done == 3


def test_progress_tells_tile_device_stretch_and_time_left() -> None:
    line = progress_in_words(Progress(3, 12, 40.2, device="cpu", stretch="no stretch"))
    assert line == "Tile 3 of 12 on cpu, no stretch, 40 s left"
    assert progress_in_words(Progress(0, 0, text="Loading ...")) == "Loading ..."
    assert [in_words(s) for s in (0.2, 40, 100, 600)] == ["a second", "40 s", "2 min", "10 min"]
    viewer = ViewerModel()
    assert size_in_words(None) == "Open a picture to begin."
    stack = viewer.add_image(np.zeros((4, 5, 6), "u2"))
    assert size_in_words(stack) == "4 x 6 x 5 px, uint16 mono"


def test_time_left_comes_from_the_pace(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2", (300, 400)), rgb=True)
    some = engine()
    steps = list(run(Request(picture_of(layer), Settings(tile=128)), some))
    tiles = [s for s in steps if isinstance(s, Progress) and s.done]
    assert tiles[0].left is None
    assert tiles[-1].left == 0
    assert all(s.left is not None and s.left >= 0 for s in tiles[1:])
    assert some.pace["cpu"] > 0


def test_a_run_takes_pixels_that_were_edited_since_a_preview(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(starry(150, 170)[0].astype("f4"), name="m31")
    session = Session(viewer)
    session.engine = engine()
    _, shown = preview(session, layer, 1, (0, 60, 0, 60))
    assert shown.removals[0].stretch.kind == "none"
    layer.data[...] = (starry(150, 170)[0] ** 6) * 0.5
    outcome = finished(session.request(layer, Settings()), session.engine)
    assert outcome.removals[0].stretch.kind == "auto"


def test_linear_pictures_are_stretched_for_the_model_alone() -> None:
    viewer = ViewerModel()
    linear = (starry(150, 170)[0] ** 6).astype("f4") * 0.5
    layer = viewer.add_image(linear)
    outcome = finished(Request(picture_of(layer), Settings()))
    assert outcome.removals[0].stretch.kind == "auto"
    assert "automatic stretch (linear picture)" in outcome.summary
    outcome = finished(Request(picture_of(layer), Settings(stretch="asinh")))
    assert "asinh stretch" in outcome.summary
