"""Make the pictures of docs/napari.md: a real window, real photographs, the real model.

python docs/make_napari_pictures.py [PHOTOGRAPH RINGS] [--names NAME NAME] [--at X Y ZOOM]
    [-o FOLDER]

The first photograph is for the panel and the animation, the second for the rings on the
removed stars; by default those of the captions, from the data beside the checkout.  Without
a display it starts a window that nobody sees (xvfb-run).

Writes napari-panel.png, napari-removed-stars.png, napari-running.png and the animation
napari-slider.png, and puts the model's version into the captions of napari.md in that folder.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "astro"
SIZE = (1360, 860)
#: Of the animation: frames, and milliseconds each; together 20 seconds.
FRAMES, EACH = 100, 200
ANIMATED_WIDTH = 640


class Window:
    """A viewer with the panel, and an event loop turned by hand.

    Parameters
    ----------
    viewer : napari.Viewer, optional
        A new one by default.
    """

    def __init__(self, viewer: Any = None) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        self.viewer = viewer if viewer is not None else napari.Viewer(show=True)
        self.app: Any = QApplication.instance()
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
        self.camera.zoom = max((right - left) / width, (bottom - top) / height)
        self.rest()

    @property
    def camera(self) -> Any:
        """The viewer's."""
        from nox_napari.display import camera

        return camera(self.viewer)

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


def panel_and_slider(window: Window, photograph: Path, name: str, folder: Path) -> None:
    """A run, its result under the wipe, and the line in motion."""
    panel = window.panel
    window.open(photograph, name)
    panel.run_button.click()
    window.turn(lambda: panel._job is None or panel.progress.value() >= 4)
    small(window.grab(), folder / "napari-running.png")
    window.turn(lambda: panel._job is None)
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findData("wipe"))
    window.rest()
    small(window.grab(), folder / "napari-panel.png")
    animate(window, folder / "napari-slider.png")


def rings(
    window: Window, photograph: Path, name: str, folder: Path, at: tuple[float, float, float]
) -> None:
    """Rings on the removed stars, close up; `at` as on the command line."""
    panel = window.panel
    window.open(photograph, name)
    for role, box in panel.form.outputs.items():
        box.setChecked(role in ("starless", "points"))
    panel.run_button.click()
    window.turn(lambda: panel._job is None)
    panel.compare.slider.setValue(500)
    height, width = window.viewer.layers[0].data.shape[:2]
    x, y, zoom = at
    window.camera.center = (y * height, x * width)
    window.camera.zoom = zoom
    panel.form.more.setChecked(True)
    window.rest()
    small(window.grab(), folder / "napari-removed-stars.png")


def captioned(page: Path, model: str) -> None:
    """Put the model's name and version, such as 'nox-1 0.3.0', into a page's captions."""
    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub(r"nox-1 \d+\.\d+\.\d+", model, text), encoding="utf-8")


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "photographs", type=Path, nargs="*", metavar="PHOTOGRAPH",
        default=[PHOTOGRAPHS / f"jamesbrink__{n}-nebula.jpg" for n in ("california", "crescent")],
        help="two: for the panel and the animation, and for the rings",
    )  # fmt: skip
    parser.add_argument(
        "--names", nargs=2, default=("California nebula", "Crescent nebula"), help="of the layers"
    )
    parser.add_argument(
        "--at", nargs=3, type=float, default=(0.5, 0.5, 3.5), metavar=("X", "Y", "ZOOM"),
        help="what the rings are shown on: shares of width and height, screen pixels a pixel",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    if len(args.photographs) != 2:
        parser.error(f"{len(args.photographs)} photographs; give two, or none for the usual ones")
    for photograph in args.photographs:
        if not photograph.is_file():
            parser.error(f"{photograph}: no such file; give two photographs")
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        if shutil.which("xvfb-run") is None:
            parser.error("no display; install xvfb, or run it where there is a screen")
        os.environ["LIBGL_ALWAYS_SOFTWARE"] = "1"
        screen = ["xvfb-run", "-a", "-s", "-screen 0 1600x1200x24"]
        os.execvp(screen[0], [*screen, sys.executable, *sys.argv])

    window = Window()
    window.panel.form.tile.setValue(768)
    panel_and_slider(window, args.photographs[0], args.names[0], args.output)
    rings(window, args.photographs[1], args.names[1], args.output, tuple(args.at))
    made = window.viewer.layers[-1].metadata["nox"]
    model = f"{made['model']} {made['model_version']}"
    if (args.output / "napari.md").is_file():
        captioned(args.output / "napari.md", model)
    print(f"four pictures in {args.output}, by {model}")
    window.panel.close()
    window.viewer.close()


if __name__ == "__main__":
    main()
