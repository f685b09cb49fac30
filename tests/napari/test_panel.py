"""The panel in a real window: every control, a run, progress, cancel in mid-run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("qtpy")

#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000


def test_opens_without_a_layer_and_says_what_to_do(opened: Any, notified: Any) -> None:
    viewer, panel = opened()
    assert panel.status.text() == "Open a picture to begin."
    assert not panel.compare.isEnabled()
    panel.run_button.click()
    panel.preview_button.click()
    assert len(notified()) == 2
    assert all("no picture is open" in text for text in notified())
    assert list(viewer.layers) == []


def test_choosers_follow_the_layers(opened: Any, make_sky: Any) -> None:
    viewer, panel = opened()
    form = panel.form
    one = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    assert panel.picture() is one
    assert panel.status.text() == "170 x 150 px, uint16 RGB"
    two = viewer.add_image(make_sky("f4", channels=1), name="m33")
    assert panel.picture() is two
    viewer.layers.selection.active = one
    assert panel.picture() is one
    labels = viewer.add_labels(np.zeros((150, 170), int), name="keep")
    viewer.add_shapes(name="frame")
    viewer.add_points(name="points")
    assert panel.picture() is one
    assert [form.protect.itemText(i) for i in range(form.protect.count())] == [
        "Nothing", "keep", "frame",
    ]  # fmt: skip
    form.protect.setCurrentIndex(1)
    labels.name = "nebula"
    assert form.protect.currentText() == "nebula"
    viewer.layers.remove(labels)
    assert form.protect.currentText() == "Nothing"
    one.name = "andromeda"
    assert form.image.currentText() == "andromeda"
    viewer.layers.remove(one)
    assert panel.picture() is two
    assert not form.whole_stack.isEnabled()
    viewer.add_image(np.zeros((3, 20, 20), "u2"))
    assert form.whole_stack.isEnabled()
    viewer.layers.clear()
    assert panel.picture() is None


def test_every_control_reaches_the_job_and_defaults_come_back(opened: Any) -> None:
    _, panel = opened()
    form = panel.form
    before = form.settings()
    assert before.model == "stand-in.onnx"
    assert form.model.currentText() == "stand-in  ·  18 MB  ·  MIT"
    form.stretch.setCurrentIndex(form.stretch.findData("asinh"))
    form.strength.setValue(40)
    form.device.setCurrentIndex(form.device.findData("cpu"))
    form.max_size.setValue(7.5)
    form.large_stars.setChecked(True)
    form.tile.setValue(512)
    form.screen_stars.setChecked(True)
    form.whole_stack.setChecked(True)
    for role in ("stars", "mask", "points"):
        form.outputs[role].click()
    settings = form.settings()
    assert settings.stretch == "asinh"
    assert settings.strength == 0.4
    assert settings.device == "cpu"
    assert settings.max_size == 7.5
    assert settings.large_stars
    assert settings.tile == 512
    assert settings.screen
    assert settings.whole_stack
    assert settings.outputs == ("starless", "mask", "points")
    form.defaults.click()
    form.tile.setValue(256)
    assert form.settings() == before


def test_a_run_adds_layers_and_tells_what_ran(
    opened: Any, make_sky: Any, ended: Any, notified: Any
) -> None:
    viewer, panel = opened()
    layer = viewer.add_image(make_sky("u2", (300, 400)), rgb=True, name="m31")
    for box in panel.form.outputs.values():
        box.setChecked(True)
    panel.run_button.click()
    assert panel.run_button.text() == "Cancel"
    assert not panel.preview_button.isEnabled()
    ended(panel)
    assert [x.name for x in viewer.layers] == [
        "m31", "m31 star mask", "m31 stars", "m31 starless", "m31 removed stars",
    ]  # fmt: skip
    assert panel.picture() is layer
    assert panel.run_button.text() == "Remove stars"
    assert panel.status.text().startswith("Done on cpu, no stretch (stretched already), ")
    assert panel.compare.isEnabled()
    assert notified() == []
    starless = viewer.layers["m31 starless"]
    panel.form.strength.setValue(50)
    panel.run_button.click()
    ended(panel)
    assert len(viewer.layers) == 5
    assert viewer.layers["m31 starless"] is starless
    assert starless.metadata["nox"]["strength"] == 0.5


def test_progress_and_cancel_in_mid_run(
    opened: Any, make_sky: Any, gated: Any, qtbot: Any, ended: Any, notified: Any
) -> None:
    from napari.utils import progress

    slow = gated()
    viewer, panel = opened(model=slow)
    viewer.add_image(make_sky("u2", (300, 700)), rgb=True, name="m31")
    before = list(viewer.layers)
    panel.run_button.click()
    qtbot.waitUntil(lambda: slow.calls == 1, timeout=WAIT)
    (bar,) = progress._all_instances
    assert bar.desc.startswith("nox: m31")
    slow.gate.release(2)
    qtbot.waitUntil(lambda: bar.n == 2, timeout=WAIT)
    assert bar.total > 4
    assert panel.progress.maximum() == bar.total
    assert panel.progress.value() == 2
    qtbot.waitUntil(lambda: panel.status.text().startswith("Tile 2 of"), timeout=WAIT)
    assert " on cpu, no stretch" in panel.status.text()
    assert panel.status.text().endswith(" left")
    panel.run_button.click()
    assert panel.run_button.text() == "Remove stars"
    assert panel.status.text() == "Cancelled. Nothing was changed."
    assert not progress._all_instances
    assert list(viewer.layers) == before
    # The next run waits for the tile that is still being worked on.
    panel.run_button.click()
    qtbot.waitUntil(lambda: "Waiting" in panel.status.text(), timeout=WAIT)
    slow.gate.release(100)
    ended(panel)
    assert "m31 starless" in viewer.layers
    assert notified() == []


def test_the_activity_dock_cancels_too(
    opened: Any, make_sky: Any, gated: Any, qtbot: Any, settled: Any
) -> None:
    from napari.utils import progress

    slow = gated()
    viewer, panel = opened(model=slow)
    viewer.add_image(make_sky("u2", (300, 700)), rgb=True)
    panel.run_button.click()
    qtbot.waitUntil(lambda: slow.calls == 1, timeout=WAIT)
    (bar,) = progress._all_instances
    bar.cancel()
    qtbot.waitUntil(lambda: panel._job is None, timeout=WAIT)
    assert len(viewer.layers) == 1
    slow.gate.release(100)
    settled()
    assert len(viewer.layers) == 1


def test_the_largest_star_reaches_the_run(opened: Any, make_sky: Any, ended: Any) -> None:
    viewer, panel = opened()
    picture = make_sky("u2")
    viewer.add_image(picture, rgb=True, name="m31")
    for size, changed in ((0.5, False), (60, True)):  # the stars are 2.9 px wide
        panel.form.max_size.setValue(size)
        panel.run_button.click()
        ended(panel)
        assert (viewer.layers["m31 starless"].data != picture).any() == changed


def test_fallbacks_are_in_the_status_line_and_one_notification(
    opened: Any, make_sky: Any, ended: Any, notified: Any
) -> None:
    from conftest import StandIn

    model = StandIn()
    model.note("CUDA could not be started; running on the CPU")
    viewer, panel = opened(model=model)
    viewer.add_image(make_sky("u2", (300, 700)), rgb=True, name="m31")
    panel.run_button.click()
    ended(panel)
    assert panel.status.text().startswith("Done on cpu, ")
    assert panel.status.text().endswith("\nCUDA could not be started; running on the CPU")
    assert notified("info") == ["CUDA could not be started; running on the CPU"]
    assert notified("warning") == notified() == []


def test_protection_reaches_the_run(opened: Any, make_sky: Any, ended: Any) -> None:
    viewer, panel = opened()
    picture = make_sky("u2")
    layer = viewer.add_image(picture, rgb=True, name="m31")
    labels = np.zeros((150, 170), int)
    labels[:, :90] = 1
    viewer.add_labels(labels, name="keep")
    viewer.layers.selection.active = layer
    panel.form.protect.setCurrentIndex(1)
    panel.run_button.click()
    ended(panel)
    starless = viewer.layers["m31 starless"].data
    np.testing.assert_array_equal(starless[:, :90], picture[:, :90])
    assert (starless[:, 90:] != picture[:, 90:]).any()


def test_the_row_order_box_turns_the_view_over(opened: Any) -> None:
    from nox_napari.display import is_turned_over

    viewer, panel = opened()
    panel.form.turned_over.click()
    assert is_turned_over(viewer)
    viewer.camera.orientation2d = ("down", "right")
    assert not panel.form.turned_over.isChecked()
