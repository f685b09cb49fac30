"""Closing the dock or the window in mid-run: nothing runs on, nothing is added."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qtpy")

#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000

TILES_AHEAD = 6


@pytest.fixture
def running(opened: Any, make_sky: Any, gated: Any, qtbot: Any) -> Any:
    """A viewer and a panel in the middle of a run of many tiles, and its model."""
    slow = gated()
    viewer, panel = opened(model=slow)
    viewer.add_image(make_sky("u2", (600, 1400)), rgb=True, name="m31")
    panel.run_button.click()
    qtbot.waitUntil(lambda: slow.calls == 1, timeout=WAIT)
    return viewer, panel, slow


def dock_of(viewer: Any, panel: Any) -> Any:
    from qtpy.QtWidgets import QDockWidget

    docks = viewer.window._qt_window.findChildren(QDockWidget)
    (dock,) = [dock for dock in docks if dock.widget() is panel]
    return dock


def by_its_cross(viewer: Any, panel: Any) -> None:
    dock_of(viewer, panel).destroyOnClose()


def by_a_script(viewer: Any, panel: Any) -> None:
    viewer.window.remove_dock_widget(panel)


def by_itself(viewer: Any, panel: Any) -> None:
    panel.close()


@pytest.mark.parametrize("close", [by_its_cross, by_a_script, by_itself])
def test_closing_the_dock_ends_the_run(
    running: Any, settled: Any, notified: Any, close: Callable[[Any, Any], None]
) -> None:
    from napari.utils import progress

    viewer, panel, slow = running
    assert not gc.isenabled()
    close(viewer, panel)
    assert panel._job is None
    assert gc.isenabled()
    assert not progress._all_instances
    slow.gate.release(1000)
    settled()
    assert slow.calls <= TILES_AHEAD
    assert not panel.session.engine.lock.locked()
    assert [layer.name for layer in viewer.layers] == ["m31"]
    assert notified() == []


def test_closing_the_window_ends_the_run(running: Any, settled: Any, qtbot: Any) -> None:
    from qtpy.compat import isalive

    viewer, panel, slow = running
    viewer.close()
    qtbot.waitUntil(lambda: not isalive(panel), timeout=WAIT)
    assert gc.isenabled()
    slow.gate.release(1000)
    settled()
    assert slow.calls <= TILES_AHEAD
    assert not viewer.layers  # napari itself clears them


def test_floating_and_docking_again_go_on(running: Any, ended: Any) -> None:
    viewer, panel, slow = running
    dock = dock_of(viewer, panel)
    dock.setFloating(True)
    dock.setFloating(False)
    slow.gate.release(1000)
    ended(panel)
    assert "m31 starless" in viewer.layers


def test_a_panel_taken_out_works_in_another_dock(running: Any, settled: Any, ended: Any) -> None:
    viewer, panel, slow = running
    viewer.window.remove_dock_widget(panel)
    viewer.window.add_dock_widget(panel, name="again")
    slow.gate.release(1000)
    settled()
    assert [layer.name for layer in viewer.layers] == ["m31"]
    panel.run_button.click()
    ended(panel)
    assert "m31 starless" in viewer.layers


def test_closing_the_dock_ends_the_comparison(opened: Any, make_sky: Any, ended: Any) -> None:
    viewer, panel = opened()
    viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    panel.run_button.click()
    ended(panel)
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findData("blend"))
    starless = viewer.layers["m31 starless"]
    assert starless.opacity == 0.5
    dock_of(viewer, panel).destroyOnClose()
    assert starless.opacity == 1
    viewer.add_image(np.zeros((5, 6)))  # the panel, if it lives on, hears of it
    assert starless.opacity == 1
