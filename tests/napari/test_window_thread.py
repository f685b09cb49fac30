"""The window's thread does no work of its own while stars are removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("qtpy")

#: Seconds that the window's thread may compute between two turns of the event loop.  A run
#: in that thread would take several; the figure itself is benchmarks/bench_napari.py's.
MOST = 0.5


class Ticks:
    """The most that the window's thread computed between two turns of its event loop.

    Its own time and not the clock's: other programs do not count.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.last, self.most, self.count = time.thread_time(), 0.0, 0
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(0)

    def _tick(self) -> None:
        now = time.thread_time()
        self.most, self.last, self.count = max(self.most, now - self.last), now, self.count + 1

    def during(self, until: Callable[[], bool], qtbot: Any) -> float:
        self.last, self.most, self.count = time.thread_time(), 0.0, 0
        qtbot.waitUntil(lambda: until() and self.count > 20, timeout=180_000)
        return self.most


def test_the_window_is_never_busy_for_long(opened: Any, make_sky: Any, qtbot: Any) -> None:
    viewer, panel = opened(show=True)
    for box in panel.form.outputs.values():
        box.setChecked(True)
    viewer.add_image(make_sky("u2", (1000, 1500)), rgb=True, name="m31")
    ticks = Ticks()
    ticks.during(lambda: ticks.count > 200, qtbot)  # the window comes to rest
    gaps = []
    for _ in range(2):
        panel.run_button.click()
        gaps.append(ticks.during(lambda: panel._job is None or panel._job.placing, qtbot))
        gaps.append(ticks.during(lambda: panel._job is None, qtbot))
    assert len(viewer.layers) == 5
    # In the first run napari makes its own parts: a bar in its dock, the layers' drawings and
    # controls.  A second one shows what a run of ours takes.
    _, _, working, filling = gaps
    assert max(working, filling) < MOST
