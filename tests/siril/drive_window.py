"""The script's window without a display, for test_window.py: told what to do, a word a line.

    python -m siril.drive_window SCRIPT

`look` waits until the window shows what is loaded in Siril, `run` clicks on its button and
waits for the end; each is answered with what the window shows, a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from conftest import StandIn, starry
from siril.stand_in_siril import load_script

from nox_runtime import StarRemover


class Driver:
    """The window, its events, and the texts of its progress."""

    def __init__(self, nox: ModuleType) -> None:
        nox.make_remover = lambda *_: StarRemover(StandIn(), tile=64)  # type: ignore[attr-defined]
        self.si = nox.SirilInterface()
        self.si.connect()
        qt = nox.import_qt()
        self.app = qt.widgets.QApplication([])
        nox.dress(qt, self.app, self.si.get_siril_config("gui", "theme"))
        self.window = nox.Window(self.si, qt, nox.Settings(), threading.Event())
        self.palette = qt.gui.QPalette
        self.told: list[str] = []
        self.ended = 0
        progress, finished = self.window._progress, self.window._finished

        def hear(text: str, share: float) -> None:
            progress(text, share)
            self.told.append(self.window.status.text())

        def end(answer: Any) -> None:
            finished(answer)
            self.ended += 1

        self.window._progress, self.window._finished = hear, end
        self.window.window.show()
        self.use_frames(nox)

    def use_frames(self, nox: ModuleType) -> None:
        """Frames of a sequence come from here: the stand-in knows no sequences."""
        frames = [Path(f"l_{k:05d}.fit") for k in (1, 2)]
        nox.loaded_sequence = lambda _: frames  # type: ignore[attr-defined]
        values = (starry()[0] * 65535).astype("u2")
        header = "BITPIX  = 16\nBAYERPAT= 'RGGB    '\nEND"
        frame = SimpleNamespace(data=values, header=header, history=None)
        self.si.load_image_from_file = lambda _: frame

    def until(self, check: Any) -> None:
        """Handle events until something is so."""
        end = time.monotonic() + 300
        while not check():
            assert time.monotonic() < end, self.window.status.text()
            self.app.processEvents()
            time.sleep(0.01)

    def look(self) -> None:
        """Until the window has asked Siril anew what is loaded, and shows it."""
        self.until(lambda: not self.window.job)  # what it is asking now may be old
        self.window.looked = 0.0
        self.until(lambda: self.window.looked and not self.window.job)

    def run(self) -> None:
        ended = self.ended
        self.window.go.click()
        self.until(lambda: self.ended > ended and not self.window.job)

    def shown(self) -> dict[str, Any]:
        w = self.window
        radios = {"image": w.whole, "selection": w.selection, "sequence": w.sequence}
        return {
            "status": w.status.text(),
            "about": w.about.text(),
            "button": w.go.text() if w.go.isEnabled() else "",
            "views": [name for name, button in w.views.items() if button.isEnabled()],
            "view": w.view,
            "possible": [name for name, radio in radios.items() if radio.isEnabled()],
            "told": self.told,
            "back": self.app.palette().color(self.palette.ColorRole.Window).name(),
            "text": self.app.palette().color(self.palette.ColorRole.WindowText).name(),
        }


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")  # whatever others print does not belong to the answers
    os.dup2(2, 1)
    driver = Driver(load_script(sys.argv[1]))
    for line in sys.stdin:
        getattr(driver, line.strip())()
        print(json.dumps(driver.shown()), file=out, flush=True)
    driver.window.window.close()
