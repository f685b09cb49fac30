"""Make the pictures of docs/napari.md: a real window, a real photograph, the real model.

xvfb-run -a -s "-screen 0 1600x1200x24" python docs/make_napari_pictures.py PHOTOGRAPH RINGS
    [--names NAME NAME] [--at X Y ZOOM] [-o FOLDER]

The first photograph is for the panel and the animation, the second for the rings on the
removed stars.

Writes napari-panel.png, napari-removed-stars.png, napari-running.png and the animation
napari-slider.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (1360, 860)
#: Of the animation: frames, and milliseconds each; together 20 seconds.
FRAMES, EACH = 100, 200
ANIMATED_WIDTH = 640


class Window:
    """A viewer with the panel, and an event loop turned by hand."""

    def __init__(self) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        self.app: Any = QApplication.instance()
        self.viewer = napari.Viewer(show=True)
        self.app = QApplication.instance()
        self.window: Any = self.viewer.window._qt_window
        self.window.resize(*SIZE)
        _, self.panel = self.viewer.window.add_plugin_dock_widget("astronox", "Remove stars")
        self.turn(lambda: self.panel.form.model.count() > 1)

    def open(self, photograph: Path, name: str) -> None:
        """Show this photograph alone, as large as the canvas is high or wide."""
        self.viewer.layers.clear()
        pixels = np.asarray(Image.open(photograph).convert("RGB"))
        self.viewer.add_image(pixels, rgb=True, name=name)
        self.viewer.reset_view(margin=0)
        left, top, right, bottom = self.canvas_box()
        height, width = pixels.shape[:2]
        self.viewer.scene.camera.zoom = max((right - left) / width, (bottom - top) / height)
        self.rest()

    def turn(self, until: Callable[[], bool], at_most: float = 600) -> None:
        """Let things happen."""
        end = time.monotonic() + at_most
        while not until():
            if time.monotonic() > end:
                raise SystemExit("the window did not get there in time")
            self.app.processEvents()
            time.sleep(0.005)

    def rest(self, seconds: float = 0.7) -> None:
        """Let everything be drawn."""
        end = time.monotonic() + seconds
        self.turn(lambda: time.monotonic() > end)

    def grab(self) -> Image.Image:
        """The window as it is seen."""
        from qtpy.QtGui import QImage

        shot = self.window.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
        raw = np.frombuffer(shot.constBits(), np.uint8)
        rows = raw.reshape(shot.height(), shot.bytesPerLine())[:, : shot.width() * 3]
        return Image.fromarray(rows.reshape(shot.height(), shot.width(), 3).copy())

    def canvas_box(self) -> tuple[int, int, int, int]:
        """Where the canvas is in the window."""
        from qtpy.QtCore import QPoint

        canvas = self.panel.compare._wipe.native()
        corner = canvas.mapTo(self.window, QPoint(0, 0))
        return (
            corner.x(), corner.y(), corner.x() + canvas.width(), corner.y() + canvas.height(),
        )  # fmt: skip


def small(shot: Image.Image, path: Path) -> None:
    """Save with 256 colours: a third of the bytes, and nobody sees it."""
    shot.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def animate(window: Window, path: Path) -> None:
    """The line going over the picture and back, 20 seconds."""
    slider = window.panel.compare.slider
    box, shots = window.canvas_box(), []
    for k in range(FRAMES):
        slider.setValue(round(500 - 440 * np.sin(2 * np.pi * k / FRAMES)))
        window.rest(0.06)
        shot = window.grab().crop(box)
        height = round(shot.height * ANIMATED_WIDTH / shot.width)
        shots.append(shot.resize((ANIMATED_WIDTH, height), Image.Resampling.LANCZOS))
    palette = Image.fromarray(
        np.concatenate([np.asarray(shots[i]) for i in (0, FRAMES // 4, 3 * FRAMES // 4)])
    ).quantize(255)
    frames = [s.quantize(palette=palette, dither=Image.Dither.NONE) for s in shots]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=EACH, loop=0)


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photograph", type=Path)
    parser.add_argument("rings", type=Path)
    parser.add_argument("--names", nargs=2, help="of the layers; by default the files'")
    parser.add_argument(
        "--at", nargs=3, type=float, default=(0.5, 0.5, 3.5), metavar=("X", "Y", "ZOOM"),
        help="what the rings are shown on: shares of width and height, screen pixels a pixel",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    args = parser.parse_args()
    first, second = args.names or (args.photograph.stem, args.rings.stem)
    window = Window()
    panel, viewer = window.panel, window.viewer
    panel.form.tile.setValue(768)
    window.open(args.photograph, first)

    panel.run_button.click()
    window.turn(lambda: panel._job is None or panel.progress.value() >= 4)
    small(window.grab(), args.output / "napari-running.png")
    window.turn(lambda: panel._job is None)
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findData("wipe"))
    window.rest()
    small(window.grab(), args.output / "napari-panel.png")
    animate(window, args.output / "napari-slider.png")

    window.open(args.rings, second)
    for role, box in panel.form.outputs.items():
        box.setChecked(role in ("starless", "points"))
    panel.run_button.click()
    window.turn(lambda: panel._job is None)
    panel.compare.slider.setValue(500)
    height, width = viewer.layers[0].data.shape[:2]
    x, y, zoom = args.at
    viewer.scene.camera.center = (y * height, x * width)
    viewer.scene.camera.zoom = zoom
    panel.form.more.setChecked(True)
    window.rest()
    small(window.grab(), args.output / "napari-removed-stars.png")
    panel.close()
    viewer.close()


if __name__ == "__main__":
    main()
