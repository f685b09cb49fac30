"""How long the napari window stands still while stars are removed.

python benchmarks/bench_napari.py [--size 3000 2000] [--tile 1536]

Needs napari with a Qt binding and a display (xvfb-run will do).  A timer in the window's
thread notes how late it is called: the longest gap is how long nothing could be clicked.
All outputs are made: starless, stars, star mask and the rings on the removed stars.
What napari itself needs to add a layer is measured beside it, on the same picture, and as
many points as there are rings; Python's full garbage collection, which stops all threads; and
`elsewhere` is the longest that another process, which only sleeps, was kept waiting in the
same time: what the machine and not nox is to blame for.  `busy` is the most that the
window's thread computed between two turns, which a crowded machine does not change.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _environment import describe


@dataclass(frozen=True)
class Gap:
    """Milliseconds: between two turns, computed between two turns, in another process."""

    here: float
    busy: float
    elsewhere: float

    def __str__(self) -> str:
        return f"{self.here:5.0f} ms (busy {self.busy:.0f}, elsewhere {self.elsewhere:.0f})"


class Gaps:
    """The longest time between two turns of the event loop."""

    def __init__(self, app: Any) -> None:
        self.other = multiprocessing.get_context("spawn").Value("d", 0.0)
        multiprocessing.get_context("spawn").Process(
            target=_sleep, args=(self.other,), daemon=True
        ).start()
        from qtpy.QtCore import QTimer

        self.app, self.last, self.longest = app, time.perf_counter(), 0.0
        self.cpu, self.busy = time.thread_time(), 0.0
        self.timer = QTimer()
        self.timer.setInterval(1)
        self.timer.timeout.connect(self._tick)
        self.timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        cpu = time.thread_time()
        self.longest = max(self.longest, now - self.last)
        self.busy = max(self.busy, cpu - self.cpu)
        self.last, self.cpu = now, cpu

    def during(self, until: Callable[[], bool], begin: Callable[[], Any] | None = None) -> Gap:
        """From `begin` until `until` says so."""
        self.app.processEvents()
        self.last, self.longest, self.other.value = time.perf_counter(), 0.0, 0.0
        self.cpu, self.busy = time.thread_time(), 0.0
        if begin is not None:
            begin()
        end = time.monotonic() + 3600
        while not until() and time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.0005)
        return Gap(self.longest * 1000, self.busy * 1000, self.other.value * 1000)


def _sleep(longest: Any) -> None:
    last = time.perf_counter()
    while True:
        time.sleep(0.001)
        now = time.perf_counter()
        longest.value, last = max(longest.value, now - last), now


def picture(width: int, height: int) -> np.ndarray:
    """The sample that comes with nox, repeated to the size wanted, RGB, uint16."""
    from nox_napari.fits_reader import sample_nebula

    ((data, _, _),) = sample_nebula()
    data = data if data.ndim == 3 else np.repeat(data[..., None], 3, axis=2)
    rows, columns = -(-height // data.shape[0]), -(-width // data.shape[1])
    whole = np.tile(data, (rows, columns, 1))[:height, :width].astype("f8")
    low, high = whole.min(), whole.max()
    return ((whole - low) / (high - low) * 60000).astype("u2")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs=2, type=int, default=(3000, 2000), metavar=("W", "H"))
    parser.add_argument("--tile", type=int, default=1536)
    args = parser.parse_args()
    import napari
    from qtpy.QtWidgets import QApplication

    from nox_napari.display import camera
    from nox_napari.panel import StarRemovalPanel

    data = picture(*args.size)
    viewer = napari.Viewer(show=True)
    app = QApplication.instance()
    gaps = Gaps(app)

    def after(seconds: float) -> Callable[[], bool]:
        end = time.monotonic() + seconds
        return lambda: time.monotonic() > end

    panel = StarRemovalPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Remove stars")
    gaps.during(lambda: panel.form.model.count() > 1)
    viewer.add_image(data, rgb=True, name="picture")
    gaps.during(after(2))
    print(describe())
    print(f"{args.size[0]} x {args.size[1]} px, RGB, uint16; napari {napari.__version__}")
    print(f"window at rest         {gaps.during(after(3))}")

    def alone(adds: Callable[[], Any]) -> Gap:
        gap = gaps.during(after(2), adds)
        viewer.layers.remove("own")
        gaps.during(after(1))
        return gap

    def add(visible: bool) -> Gap:
        return alone(lambda: viewer.add_image(data, rgb=True, name="own", visible=visible))

    add(True)  # the first layer of a kind pays for all
    print(f"napari adds a layer    {add(True)}, a hidden one {add(False)}")
    began = time.perf_counter()
    gc.collect()
    spent = (time.perf_counter() - began) * 1000
    print(f"Python collects        {spent:5.0f} ms, {len(gc.get_objects())} objects")
    panel.form.tile.setValue(args.tile)
    for box in panel.form.outputs.values():
        box.setChecked(True)
    for name in ("first run ", "second run"):
        began = time.monotonic()
        working = gaps.during(
            lambda: panel._job is None or panel._job.placing, panel.run_button.click
        )
        ran = time.monotonic() - began
        over = after(2)
        adding = gaps.during(lambda over=over: panel._job is None and over())
        print(f"{name}, {ran:6.1f} s   {working}, layers put in {adding}")
    rings = viewer.layers["picture removed stars"]

    def add_points() -> Gap:
        return alone(lambda: viewer.add_points(
            rings.data, size=rings.size, symbol="disc", features=rings.features, name="own"
        ))  # fmt: skip

    print(f"napari adds {len(rings.data)} points {add_points()}, again {add_points()}")
    camera(viewer).zoom *= 3
    gaps.during(after(1))
    began = time.monotonic()
    gap = gaps.during(lambda: panel._job is None or panel._job.placing, panel.preview_button.click)
    print(f"preview, {time.monotonic() - began:8.1f} s   {gap}")
    gaps.during(lambda: panel._job is None)
    print(panel.status.text())
    viewer.close()


if __name__ == "__main__":
    main()
