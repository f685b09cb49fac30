"""Cut layers off left of a line on the canvas, so that what is below shows through.

napari has no public way to do this: the layers' drawing is reached through the window.
Where that fails, `Wipe.set` says so and the panel blends instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

from nox_napari.display import canvas

#: Width of the line's widget, in pixels: what a hand can catch.
_GRIP = 22
_LARGE = 1e6


class Wipe:
    """The cut through some layers."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        #: Of each layer that is cut: what draws it, and the filter that cuts.
        self._cuts: dict[Layer, tuple[Any, Any]] = {}

    def canvas(self) -> Any:
        """napari's canvas, or None without a window."""
        return canvas(self._viewer)

    def native(self) -> QWidget | None:
        """The canvas as a widget."""
        found = getattr(self.canvas(), "native", None)
        return found if isinstance(found, QWidget) else None

    def set(self, layers: Sequence[Layer], share: float) -> bool:
        """Cut layers at a share of the canvas's width; False where that cannot be."""
        plain = [getattr(layer, "__wrapped__", layer) for layer in layers]
        try:
            drawn = self.canvas().layer_to_visual
            nodes = {layer: drawn[layer].node for layer in plain}
            for layer in list(self._cuts):
                # In three dimensions napari draws a layer by another node.
                if nodes.get(layer) is not self._cuts[layer][0]:
                    self._whole(layer)
            for layer, node in nodes.items():
                if layer not in self._cuts:
                    from vispy.visuals.filters import Clipper

                    filter_ = Clipper()
                    node.attach(filter_)
                    self._cuts[layer] = (node, filter_)
        except Exception:  # an inside of napari we do not know
            self.clear()
            return False
        width = self._width()
        for node, filter_ in self._cuts.values():
            filter_.bounds = (share * width, -_LARGE, _LARGE, 2 * _LARGE)
            node.update()
        return True

    def _width(self) -> float:
        """Of the canvas, in the pixels of its frame buffer."""
        native = self.native()
        return native.width() * native.devicePixelRatioF() if native is not None else 1.0

    def clear(self) -> None:
        """Show the layers whole again."""
        for layer in list(self._cuts):
            self._whole(layer)

    def _whole(self, layer: Layer) -> None:
        node, filter_ = self._cuts.pop(layer)
        try:
            node.detach(filter_)
            node.update()
        except Exception:  # the layer, and its drawing, may be gone
            return


class Line(QWidget):
    """The line on the canvas, to be dragged.

    `moved` tells the share of the width; `resized` that the canvas has another size.
    """

    moved = Signal(float)
    resized = Signal()

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.share = 0.5
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setToolTip("Left: before. Right: after. Drag.")
        canvas.installEventFilter(self)
        self.put(self.share)

    def put(self, share: float) -> None:
        """Move to a share of the canvas's width."""
        self.share = share
        canvas = self.parentWidget()
        middle = round(share * canvas.width())
        self.setGeometry(middle - _GRIP // 2, 0, _GRIP, canvas.height())

    def leave(self) -> None:
        """Go from the canvas for good."""
        self.parentWidget().removeEventFilter(self)
        self.hide()
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Stay in place while the canvas changes its size."""
        if event.type() == QEvent.Type.Resize and watched is self.parentWidget():
            self.put(self.share)
            self.resized.emit()
        return False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Follow the hand."""
        canvas = self.parentWidget()
        at = self.mapToParent(event.position().toPoint()).x()
        self.moved.emit(min(max(at / max(canvas.width(), 1), 0.0), 1.0))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Keep the canvas from panning."""
        event.accept()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """A thin line with a knob."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, height = self.width() // 2, self.height()
        painter.fillRect(middle - 2, 0, 4, height, QColor(0, 0, 0, 90))
        painter.fillRect(middle - 1, 0, 2, height, QColor(255, 255, 255, 220))
        painter.setPen(QColor(0, 0, 0, 120))
        painter.setBrush(QColor(255, 255, 255, 235))
        painter.drawEllipse(middle - 9, height // 2 - 9, 18, 18)
        painter.setPen(QColor(60, 60, 60))
        for side in (-1, 1):
            tip = middle + side * 6
            painter.drawLine(tip, height // 2, tip - side * 3, height // 2 - 3)
            painter.drawLine(tip, height // 2, tip - side * 3, height // 2 + 3)
        painter.end()
