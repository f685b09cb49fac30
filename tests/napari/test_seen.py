"""What is on the canvas: pixels of screenshots of the real window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("qtpy")

#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000


def canvas(viewer: Any, qtbot: Any) -> np.ndarray:
    """A screenshot, once the canvas has kept its size for five looks in a row."""
    sizes: list[tuple[int, int]] = []

    def at_rest() -> bool:
        native = viewer.window._qt_viewer.canvas.native
        sizes.append((native.width(), native.height()))
        return len(sizes) > 5 and len(set(sizes[-5:])) == 1

    qtbot.waitUntil(at_rest, timeout=WAIT)
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(float)
    assert shot.std() > 1, "a black canvas"
    return shot


@pytest.fixture
def shown(opened: Any, make_sky: Any, qtbot: Any) -> Any:
    """A window with a picture whose stars were removed."""
    viewer, panel = opened(show=True)
    viewer.window._qt_window.resize(1200, 800)
    layer = viewer.add_image(make_sky("f4", (400, 500)).clip(0, 1), rgb=True, name="m31")
    layer.contrast_limits = (0, 1)
    viewer.reset_view()
    for role, box in panel.form.outputs.items():
        box.setChecked(role in ("starless", "points"))
    panel.run_button.click()
    qtbot.waitUntil(lambda: panel._job is None, timeout=WAIT)
    return viewer, panel


def bright(shot: np.ndarray) -> int:
    """Pixels of star cores."""
    return int((shot.min(axis=-1) > 150).sum())


def test_starless_rings_wipe_blend_and_preview(shown: Any, qtbot: Any) -> None:
    viewer, panel = shown
    rings, starless = viewer.layers["m31 removed stars"], viewer.layers["m31 starless"]
    with_rings = canvas(viewer, qtbot)
    red, green, blue = np.moveaxis(with_rings, -1, 0)
    assert ((red > 150) & (blue < 90) & (green > 90)).sum() > 50, "no rings"
    rings.visible = False
    after = canvas(viewer, qtbot)
    starless.visible = False
    before = canvas(viewer, qtbot)
    starless.visible = True
    assert bright(before) > 100
    assert bright(after) < bright(before) / 4

    half = before.shape[1] // 2
    mode, slider = panel.compare.mode, panel.compare.slider
    mode.setCurrentIndex(mode.findData("wipe"))
    assert slider.isEnabled()
    slider.setValue(500)
    wiped = canvas(viewer, qtbot)
    assert panel.compare._line.isVisible()
    np.testing.assert_array_equal(wiped[:, : half - 2], before[:, : half - 2])
    np.testing.assert_array_equal(wiped[:, half + 2 :], after[:, half + 2 :])
    slider.setValue(1000)
    np.testing.assert_array_equal(canvas(viewer, qtbot)[:, :-2], before[:, :-2])
    slider.setValue(0)
    np.testing.assert_array_equal(canvas(viewer, qtbot)[:, 2:], after[:, 2:])

    panel.hide()
    np.testing.assert_array_equal(canvas(viewer, qtbot)[:, 2:], after[:, 2:])
    slider.setValue(1000)
    assert not panel.compare._line.isVisible()
    panel.show()
    np.testing.assert_array_equal(canvas(viewer, qtbot)[:, :-2], before[:, :-2])

    mode.setCurrentIndex(mode.findData("blend"))
    assert not panel.compare._line.isVisible()
    slider.setValue(500)
    assert starless.opacity == 0.5
    mixed = canvas(viewer, qtbot)
    assert bright(after) <= bright(mixed) < bright(before)
    mode.setCurrentIndex(mode.findData("off"))
    assert starless.opacity == 1
    np.testing.assert_array_equal(canvas(viewer, qtbot), after)

    # Without a way into napari's drawing it blends.
    panel.compare._wipe.canvas = lambda: None
    mode.setCurrentIndex(mode.findData("wipe"))
    assert starless.opacity == 0.5
    del panel.compare._wipe.canvas
    mode.setCurrentIndex(mode.findData("off"))

    # The preview covers what is in view, and nothing else.
    viewer.layers.remove(starless)
    viewer.camera.zoom *= 2.5
    close = canvas(viewer, qtbot)
    panel.preview_button.click()
    qtbot.waitUntil(lambda: panel._job is None, timeout=WAIT)
    made = viewer.layers["m31 preview"]
    assert made.data.shape[0] < 400
    assert "Preview at" in panel.status.text()
    assert bright(canvas(viewer, qtbot)) < bright(close) / 4
    assert panel.compare.isEnabled()


def test_before_is_the_picture_whatever_was_made_of_it(shown: Any, qtbot: Any) -> None:
    viewer, panel = shown
    viewer.layers["m31 removed stars"].visible = False
    viewer.layers["m31 starless"].visible = False
    viewer.camera.zoom *= 2.5
    before = canvas(viewer, qtbot)
    viewer.layers["m31 starless"].visible = True
    panel.form.strength.setValue(50)
    panel.preview_button.click()
    qtbot.waitUntil(lambda: panel._job is None, timeout=WAIT)
    assert "m31 preview" in viewer.layers
    mode, slider = panel.compare.mode, panel.compare.slider
    slider.setValue(500)
    mode.setCurrentIndex(mode.findData("wipe"))
    half = before.shape[1] // 2
    wiped = canvas(viewer, qtbot)
    np.testing.assert_array_equal(wiped[:, : half - 2], before[:, : half - 2])
    assert (wiped[:, half + 2 :] != before[:, half + 2 :]).any()
    mode.setCurrentIndex(mode.findData("blend"))
    slider.setValue(0)
    np.testing.assert_array_equal(canvas(viewer, qtbot), before)


def test_the_cut_follows_the_window(shown: Any, qtbot: Any) -> None:
    viewer, panel = shown
    viewer.layers["m31 removed stars"].visible = False
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findData("wipe"))
    width = canvas(viewer, qtbot).shape[1]
    viewer.window._qt_window.resize(1000, 700)
    qtbot.waitUntil(lambda: canvas(viewer, qtbot).shape[1] != width, timeout=WAIT)
    wiped = canvas(viewer, qtbot)
    viewer.layers["m31 starless"].visible = False
    panel.compare.mode.setCurrentIndex(0)
    before, half = canvas(viewer, qtbot), wiped.shape[1] // 2
    np.testing.assert_array_equal(wiped[:, : half - 2], before[:, : half - 2])
    assert (wiped[:, half + 2 :] != before[:, half + 2 :]).any()


def test_the_canvas_tells_what_of_the_world_it_shows(shown: Any, qtbot: Any) -> None:
    from nox_napari.display import seen_box

    viewer, _ = shown
    viewer.camera.zoom *= 2.5
    canvas(viewer, qtbot)
    layer = viewer.layers["m31"]  # of one scale: napari's own corners are right
    corners = np.asarray(layer.corner_pixels)[:, -2:]
    box = np.clip(seen_box(viewer), 0, np.array(layer.data.shape[:2]) - 1)
    np.testing.assert_allclose(box, corners, atol=1.5)
    viewer.dims.ndisplay = 3
    assert seen_box(viewer) is None


def test_the_wheel_scrolls_and_changes_nothing(shown: Any, qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    _, panel = shown
    panel.form.more.setChecked(True)
    form = panel.form
    form.tile.clearFocus()
    before = form.settings()
    controls = (form.stretch, form.model, form.strength, form.max_size, form.tile, form.image)
    parts = [child for c in controls for child in c.children() if hasattr(child, "wheelEvent")]
    for widget in (*controls, *parts):
        for down in (-120, 120):
            event = QWheelEvent(
                QPointF(5, 5), QPointF(widget.mapToGlobal(QPoint(5, 5))), QPoint(), QPoint(0, down),
                Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
                Qt.ScrollPhase.NoScrollPhase, False,
            )  # fmt: skip
            QApplication.sendEvent(widget, event)
    assert form.settings() == before


def test_the_line_can_be_dragged_and_follows_the_window(shown: Any, qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    viewer, panel = shown
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findData("wipe"))
    line = panel.compare._line
    width = line.parentWidget().width()
    assert abs(line.geometry().center().x() - width / 2) <= 2
    QTest.mousePress(line, Qt.MouseButton.LeftButton, pos=QPoint(11, 50))
    QTest.mouseMove(line, QPoint(11 - width // 4, 50))
    qtbot.waitUntil(lambda: panel.compare.slider.value() < 400, timeout=WAIT)
    assert abs(panel.compare.slider.value() - 250) < 15
    center = viewer.camera.center
    QTest.mouseRelease(line, Qt.MouseButton.LeftButton, pos=QPoint(11, 50))
    assert viewer.camera.center == center
    viewer.window._qt_window.resize(1000, 700)
    qtbot.waitUntil(lambda: line.parentWidget().width() != width, timeout=WAIT)
    width = line.parentWidget().width()
    assert abs(line.geometry().center().x() - width / 4) <= 6
    viewer.layers.clear()
    assert not line.isVisible()
    assert not panel.compare.isEnabled()


def test_nothing_of_the_panel_is_clipped(shown: Any, qtbot: Any) -> None:
    from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton

    viewer, panel = shown
    viewer.window._qt_window.resize(1100, 820)
    panel.form.more.setChecked(True)
    canvas(viewer, qtbot)
    seen = 0
    for kind in (QLabel, QPushButton, QCheckBox):
        for widget in panel.findChildren(kind):
            if not widget.isVisible() or not widget.text():
                continue
            room = widget.fontMetrics().horizontalAdvance(widget.text().split("\n")[0])
            if not (isinstance(widget, QLabel) and widget.wordWrap()):
                assert widget.width() >= room, widget.text()
            edge = widget.mapTo(panel, widget.rect().bottomRight())
            assert edge.x() < panel.width(), widget.text()
            assert widget.height() >= widget.fontMetrics().height(), widget.text()
            seen += 1
    assert seen > 15
