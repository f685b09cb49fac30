"""The panel in a real window: every control, cancel in mid-run, errors, what is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import StandIn
from napari.utils.notifications import notification_manager

from nox_runtime.errors import DeviceError, ModelError

pytest.importorskip("qtpy")

#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000


def ended(qtbot: Any, panel: Any) -> None:
    qtbot.waitUntil(lambda: panel._job is None, timeout=WAIT)


def errors() -> list[str]:
    return [str(n.message) for n in notification_manager.records if str(n.severity) == "error"]


def test_opens_without_a_layer_and_says_what_to_do(opened: Any) -> None:
    viewer, panel = opened()
    assert panel.status.text() == "Open a picture to begin."
    assert not panel.compare.isEnabled()
    panel.run_button.click()
    panel.preview_button.click()
    assert len(errors()) == 2
    assert all("no picture is open" in text for text in errors())
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
    assert settings.tile == 512
    assert settings.screen
    assert settings.whole_stack
    assert settings.outputs == ("starless", "mask", "points")
    form.defaults.click()
    form.tile.setValue(256)
    assert form.settings() == before


def test_a_run_adds_layers_and_tells_what_ran(opened: Any, make_sky: Any, qtbot: Any) -> None:
    viewer, panel = opened()
    layer = viewer.add_image(make_sky("u2", (300, 400)), rgb=True, name="m31")
    for box in panel.form.outputs.values():
        box.setChecked(True)
    panel.run_button.click()
    assert panel.run_button.text() == "Cancel"
    assert not panel.preview_button.isEnabled()
    ended(qtbot, panel)
    assert [x.name for x in viewer.layers] == [
        "m31", "m31 star mask", "m31 stars", "m31 starless", "m31 removed stars",
    ]  # fmt: skip
    assert panel.picture() is layer
    assert panel.run_button.text() == "Remove stars"
    assert panel.status.text().startswith("Done on cpu, no stretch (stretched already), ")
    assert panel.compare.isEnabled()
    assert errors() == []
    starless = viewer.layers["m31 starless"]
    panel.form.strength.setValue(50)
    panel.run_button.click()
    ended(qtbot, panel)
    assert len(viewer.layers) == 5
    assert viewer.layers["m31 starless"] is starless
    assert starless.metadata["nox"]["strength"] == 0.5


def test_progress_and_cancel_in_mid_run(opened: Any, make_sky: Any, gated: Any, qtbot: Any) -> None:
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
    ended(qtbot, panel)
    assert "m31 starless" in viewer.layers
    assert errors() == []


def test_the_activity_dock_cancels_too(opened: Any, make_sky: Any, gated: Any, qtbot: Any) -> None:
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
    qtbot.waitUntil(lambda: not panel.session.engine.lock.locked(), timeout=WAIT)
    qtbot.wait(50)
    assert len(viewer.layers) == 1


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            DeviceError("a.onnx: the cuda device failed (lost); try a smaller --tile, "
                        "or --device cpu"),
            "a.onnx: the cuda device failed (lost); try smaller tiles, or the device cpu",
        ),
        (MemoryError(), "not enough memory for this picture"),
        (ValueError("nobody foresaw this"), "nobody foresaw this"),
    ],
)  # fmt: skip
def test_a_failure_is_one_notification_and_nothing_else(
    opened: Any, make_sky: Any, gated: Any, qtbot: Any, error: Exception, said: str, preview: bool
) -> None:
    viewer, panel = opened(model=gated(error=error))
    layer = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    before = layer.data.copy()
    with qtbot.captureExceptions() as raised:
        (panel.preview_button if preview else panel.run_button).click()
        ended(qtbot, panel)
        qtbot.wait(50)
    assert len(errors()) == 1
    assert said in errors()[0]
    assert not raised
    assert list(viewer.layers) == [layer]
    np.testing.assert_array_equal(layer.data, before)
    assert panel.run_button.text() == "Remove stars"
    assert panel.run_button.isEnabled()
    assert not panel.session.engine.lock.locked()


def test_a_model_that_is_gone_is_one_notification(
    opened: Any, make_sky: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import job

    viewer, panel = opened()

    def gone(*_: Any, **__: Any) -> None:
        raise ModelError("x.onnx: no such model; give an .onnx file")

    monkeypatch.setattr(job, "load_model", gone)
    viewer.add_image(make_sky("u2"), rgb=True)
    panel.run_button.click()
    ended(qtbot, panel)
    assert errors() == ["x.onnx: no such model; give an .onnx file"]
    assert len(viewer.layers) == 1


def test_a_labels_layer_as_the_only_one_is_no_picture(opened: Any) -> None:
    viewer, panel = opened()
    viewer.add_labels(np.zeros((20, 20), int))
    panel.run_button.click()
    assert len(errors()) == 1
    assert "no picture is open" in errors()[0]
    assert len(viewer.layers) == 1


def test_disk_full_on_save_is_one_error_and_an_unchanged_viewer(
    opened: Any, make_sky: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, npe2pm: Any
) -> None:
    """Through napari's own way of saving; it shows what a plugin raises."""
    from npe2 import PluginManifest

    from nox_napari import fits_writer
    from nox_runtime.errors import OutputError

    npe2pm.register(PluginManifest.from_distribution("astronox"))
    viewer, _ = opened()
    layer = viewer.add_image(make_sky("f4", channels=1), name="m31")
    good = tmp_path / "good.fits"
    assert viewer.layers.save(str(good), plugin="astronox") == [str(good)]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits_writer.os, "replace", full)
    with pytest.raises(OutputError, match=r"No space left on device.*free some space"):
        viewer.layers.save(str(tmp_path / "a.fits"), plugin="astronox")
    assert list(tmp_path.iterdir()) == [good]
    assert list(viewer.layers) == [layer]


def test_opening_a_damaged_file_leaves_the_viewer_as_it_was(
    opened: Any, tmp_path: Path, npe2pm: Any
) -> None:
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("astronox"))
    viewer, _ = opened()
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"no picture")
    with pytest.raises(Exception, match=r"bad.fits: not a readable FITS file"):
        viewer.open(str(bad), plugin="astronox")
    assert list(viewer.layers) == []


def test_without_onnxruntime_the_panel_shows_the_install_line(
    opened: Any, make_sky: Any, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    from nox_napari import messages, panel

    viewer, _ = opened()
    real = messages.find_spec
    monkeypatch.setattr(
        messages, "find_spec", lambda name: None if name == "onnxruntime" else real(name)
    )
    made = panel.StarRemovalPanel(viewer)
    qtbot.addWidget(made)
    assert "pip install 'astronox[cpu]'" in made.trouble.text()
    assert not made.trouble.isHidden()
    assert not made.run_button.isEnabled()
    assert not made.preview_button.isEnabled()
    made.close()


def test_damaged_models_are_told_in_the_panel(
    opened: Any, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    from nox_napari import panel

    viewer, _ = opened()

    def damaged() -> None:
        raise ModelError("nox-1.onnx: not a readable ONNX model")

    monkeypatch.setattr(panel, "available_models", damaged)
    made = panel.StarRemovalPanel(viewer)
    qtbot.addWidget(made)
    qtbot.waitUntil(lambda: not made.trouble.isHidden(), timeout=WAIT)
    assert "not a readable ONNX model" in made.trouble.text()
    assert not made.run_button.isEnabled()
    made.close()


def test_another_model_file_is_offered_and_chosen(
    opened: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nox_napari import panel as module

    _, panel = opened()
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"x" * 2_000_000)
    asked = [str(mine), str(tmp_path / "bad.onnx"), ""]
    monkeypatch.setattr(module.QFileDialog, "getOpenFileName", lambda *_, **__: (asked.pop(0), ""))
    monkeypatch.setattr(module, "load_model", _load_if_good)
    for _ in range(3):
        last = panel.form.model.count() - 1
        panel.form.model.setCurrentIndex(last)
        panel.form.model.activated.emit(last)
        if len(asked) == 2:
            assert panel.form.settings().model == str(mine)
            assert panel.form.model.currentText() == "mine  ·  2 MB  ·  MIT"
    assert errors() == ["bad.onnx: not a model"]
    assert panel.form.model.count() == 3
    assert panel.form.settings().model == "stand-in.onnx"


def _load_if_good(name: str, **_: Any) -> StandIn:
    if "bad" in name:
        raise ModelError("bad.onnx: not a model")
    return StandIn()


def test_protection_reaches_the_run(opened: Any, make_sky: Any, qtbot: Any) -> None:
    viewer, panel = opened()
    picture = make_sky("u2")
    layer = viewer.add_image(picture, rgb=True, name="m31")
    labels = np.zeros((150, 170), int)
    labels[:, :90] = 1
    viewer.add_labels(labels, name="keep")
    viewer.layers.selection.active = layer
    panel.form.protect.setCurrentIndex(1)
    panel.run_button.click()
    ended(qtbot, panel)
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


def test_closing_in_mid_run_leaves_nothing_behind(
    opened: Any, make_sky: Any, gated: Any, qtbot: Any
) -> None:
    slow = gated()
    viewer, panel = opened(model=slow)
    viewer.add_image(make_sky("u2", (300, 700)), rgb=True)
    panel.run_button.click()
    qtbot.waitUntil(lambda: slow.calls == 1, timeout=WAIT)
    engine = panel.session.engine
    panel.close()
    slow.gate.release(100)
    qtbot.waitUntil(lambda: not engine.lock.locked(), timeout=WAIT)
    qtbot.wait(50)
    assert len(viewer.layers) == 1
    assert errors() == []
