"""Before and after: a slider that wipes or blends, live."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from nox_napari.form import combo, slider
from nox_napari.results import own_layers
from nox_napari.wipe import Line, Wipe

_FULL = 1000


class Compare(QWidget):
    """Compares a picture with its starless layer, or with a preview of it.

    Wiping shows the picture left of a line on the canvas and the result right of it;
    blending fades from one to the other.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._wipe = Wipe(viewer)
        self._line: Line | None = None
        self._faded: tuple[Layer, float] | None = None
        self._key: str | None = None
        self._away = False
        self._held = False
        self.mode = combo("How to compare")
        for value, text in {"off": "Off", "wipe": "Wipe", "blend": "Blend"}.items():
            self.mode.addItem(text, value)
        self.slider = slider()
        self.slider.setValue(_FULL // 2)
        self.slider.setToolTip("Drag to compare")
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        row.addWidget(QLabel("Compare"))
        row.addWidget(self.mode)
        ends = QHBoxLayout()
        ends.setContentsMargins(0, 0, 0, 0)
        ends.addWidget(QLabel("before"))
        ends.addWidget(self.slider, 1)
        ends.addWidget(QLabel("after"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addLayout(ends)
        self.mode.currentIndexChanged.connect(self.refresh)
        self.slider.valueChanged.connect(self.refresh)
        self.follow(None)

    def follow(self, key: str | None) -> None:
        """Compare the results of the layer with this key."""
        self._key = key
        self.refresh()

    def target(self) -> Layer | None:
        """The layer that is cut or faded."""
        made = own_layers(self._viewer, self._key) if self._key else {}
        return made.get("preview") or made.get("starless")

    def refresh(self, *_: Any) -> None:
        """Bring the canvas in line with the controls."""
        if not isalive(self):
            return
        target = self.target()
        self.setEnabled(target is not None)
        mode = self.mode.currentData() if target is not None and not self._away else "off"
        self.slider.setEnabled(mode != "off")
        if mode == "wipe" and target is not None and self._cut(target):
            self._unfade()
            return
        self._wipe.clear()
        self._show_line(False)
        if mode == "off" or target is None or self._held:
            self._unfade()
            return
        self._fade(target)  # also where a wipe is not possible

    def hold(self, held: bool) -> None:
        """Fade nothing while layers are replaced: new ones take over the opacity of old ones."""
        if held != self._held:
            self._held = held
            self.refresh()

    def _share(self) -> float:
        return self.slider.value() / _FULL

    def _cut(self, target: Layer) -> bool:
        if not self._wipe.set(target, self._share()):
            return False
        self._show_line(True)
        return True

    def _show_line(self, visible: bool) -> None:
        if visible and (self._line is None or not isalive(self._line)):
            canvas = self._wipe.native()
            if canvas is None:
                return
            self._line = Line(canvas)
            self._line.moved.connect(lambda share: self.slider.setValue(round(share * _FULL)))
        if self._line is not None and isalive(self._line):
            self._line.put(self._share())
            self._line.setVisible(visible)

    def _fade(self, target: Layer) -> None:
        if self._faded is None or self._faded[0] is not target:
            self._unfade()
            self._faded = (target, target.opacity)
        target.opacity = self._share()

    def _unfade(self) -> None:
        if self._faded is not None:
            layer, opacity = self._faded
            self._faded = None
            layer.opacity = opacity

    def hideEvent(self, event: Any) -> None:  # noqa: N802
        """Without the panel nothing is compared: nobody could end it."""
        self._away = True
        self.refresh()
        super().hideEvent(event)

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Compare again."""
        self._away = False
        self.refresh()
        super().showEvent(event)

    def stop(self) -> None:
        """Leave the canvas as it was, until the panel is shown again."""
        self._away = True
        self._wipe.clear()
        self._unfade()
        if self._line is not None and isalive(self._line):
            self._line.leave()
        self._line = None
