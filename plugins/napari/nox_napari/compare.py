"""Before and after: a slider that wipes or blends, live."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Layer
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
        self._faded: dict[Layer, float] = {}
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

    def targets(self) -> list[Layer]:
        """The layers that are cut or faded: all that hide the picture, or shine over it.

        None without a result to compare.
        """
        made = own_layers(self._viewer, self._key) if self._key else {}
        if "preview" not in made and "starless" not in made:
            return []
        return [layer for layer in made.values() if isinstance(layer, Image)]

    def refresh(self, *_: Any) -> None:
        """Bring the canvas in line with the controls."""
        if not isalive(self):
            return
        targets = self.targets()
        self.setEnabled(bool(targets))
        mode = self.mode.currentData() if targets and not self._away else "off"
        self.slider.setEnabled(mode != "off")
        if mode == "wipe" and self._cut(targets):
            self._unfade()
            return
        self._wipe.clear()
        self._show_line(False)
        if mode == "off" or self._held:
            self._unfade()
            return
        self._fade(targets)  # also where a wipe is not possible

    def hold(self, held: bool) -> None:
        """Fade nothing while layers are replaced: new ones take over the opacity of old ones."""
        if held != self._held:
            self._held = held
            self.refresh()

    def _share(self) -> float:
        return self.slider.value() / _FULL

    def _cut(self, targets: list[Layer]) -> bool:
        if not self._wipe.set(targets, self._share()):
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
            self._line.resized.connect(self.refresh)
        if self._line is not None and isalive(self._line):
            self._line.put(self._share())
            self._line.setVisible(visible)

    def _fade(self, targets: list[Layer]) -> None:
        if list(self._faded) != targets:
            self._unfade()
            self._faded = {layer: layer.opacity for layer in targets}
        for layer, opacity in self._faded.items():
            layer.opacity = self._share() * opacity

    def _unfade(self) -> None:
        faded, self._faded = self._faded, {}
        for layer, opacity in faded.items():
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
