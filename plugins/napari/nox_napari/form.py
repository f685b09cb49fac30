"""The panel's controls: what can be chosen, laid out; no work is done here."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QGridLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledSlider

from nox_napari.job import Settings
from nox_runtime.engine import DEFAULT_TILE
from nox_runtime.model import ModelEntry

STRETCHES = {
    "auto": "Automatic",
    "none": "None (already stretched)",
    "mtf": "Midtones (MTF)",
    "asinh": "Asinh",
}
DEVICES = {
    "auto": "Automatic", "cpu": "CPU", "cuda": "NVIDIA (CUDA)", "tensorrt": "NVIDIA (TensorRT)",
    "coreml": "Apple (CoreML)", "dml": "DirectML", "openvino": "Intel (OpenVINO)",
}  # fmt: skip
OUTPUTS = {
    "starless": ("Starless", "The picture without its stars"),
    "stars": ("Stars", "What was taken away: picture - starless"),
    "mask": ("Star mask", "Where the picture was changed, 0 to 1"),
    "points": ("Removed stars", "A ring on each removed star, with position, flux and FWHM"),
}


def combo(tip: str) -> QComboBox:
    """A box to choose from that shrinks with the panel instead of widening it."""
    box = QComboBox()
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return still(box)


class _Still(QObject):
    """Leaves the wheel to whatever scrolls, unless the control was clicked before."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() != QEvent.Type.Wheel or watched.hasFocus():
            return False
        event.ignore()
        return True


def still(control: QWidget) -> Any:
    """A control that the wheel does not change in passing: the panel scrolls by the wheel."""
    filter_ = _Still(control)
    for part in (control, *control.findChildren(QWidget)):
        if part.focusPolicy() == Qt.FocusPolicy.WheelFocus:
            part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        part.installEventFilter(filter_)
    return control


def described(entry: ModelEntry) -> str:
    """A model as the chooser shows it: name, size and licence."""
    return f"{entry.name}  ·  {entry.bytes / 1e6:.0f} MB  ·  {entry.facts.licence}"


class Upright(QScrollArea):
    """Scrolls upwards and downwards on low screens, and is as wide as what it holds.

    Parameters
    ----------
    inside : QWidget
    """

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow what is inside: fonts and themes change its width."""
        if watched is self.widget() and event.type() in (
            QEvent.Type.LayoutRequest, QEvent.Type.Polish, QEvent.Type.Show,
        ):  # fmt: skip
            bar = self.verticalScrollBar().sizeHint().width()
            self.setMinimumWidth(max(300, self.widget().minimumSizeHint().width() + bar))
        return bool(super().eventFilter(watched, event))


class Form(QWidget):
    """Everything that can be set.  `settings` tells what is set."""

    def __init__(self) -> None:
        super().__init__()
        self.image = combo("The picture to remove stars from: any image layer")
        self.model = combo("The trained model: name, size and licence")
        self.stretch = combo(
            "How the model is shown the picture. Automatic finds out whether it is linear.\n"
            "The result is always in the picture's own scale."
        )
        for value, text in STRETCHES.items():
            self.stretch.addItem(text, value)
        self.strength = still(QLabeledSlider(Qt.Orientation.Horizontal))
        self.strength.setRange(0, 100)
        self.strength.setToolTip("100 takes stars away; less makes them smaller and fainter")
        self.protect = combo(
            "Paint a labels layer, or draw in a shapes layer: what they cover is left alone"
        )
        self.outputs = {}
        boxes = QGridLayout()
        boxes.setContentsMargins(0, 0, 0, 0)
        boxes.setVerticalSpacing(4)
        for i, (role, (text, tip)) in enumerate(OUTPUTS.items()):
            box = QCheckBox(text)
            box.setToolTip(tip)
            self.outputs[role] = box
            boxes.addWidget(box, i // 2, i % 2)

        rows = _form()
        rows.addRow("Picture", self.image)
        rows.addRow("Model", self.model)
        rows.addRow("Stretch", self.stretch)
        rows.addRow("Strength", self.strength)
        rows.addRow("Protect", self.protect)
        rows.addRow("Make", boxes)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(rows)
        self.more_options = self._more()
        self.more = QPushButton()
        self.more.setCheckable(True)
        self.more.setStyleSheet(
            "QPushButton { text-align: left; background: transparent; border: none; }"
        )
        self.more.toggled.connect(self._unfold)
        self._unfold(False)
        layout.addWidget(self.more)
        layout.addWidget(self.more_options)
        self.restore()

    def _more(self) -> QWidget:
        self.device = combo("What runs the model; the line below tells what really did")
        self.device.addItem(DEVICES["auto"], "auto")
        self.max_size = still(QDoubleSpinBox())
        self.max_size.setRange(0, 500)
        self.max_size.setDecimals(1)
        self.max_size.setSuffix(" px")
        self.max_size.setSpecialValueText("Any")
        self.max_size.setToolTip("Objects of a larger FWHM stay, small galaxies for example")
        self.large_stars = QCheckBox("Look for large stars too")
        self.large_stars.setToolTip(
            "A second look at half the scale; many small galaxies go with them, unless protected"
        )
        self.screen_stars = QCheckBox("Stars for screen blending")
        self.screen_stars.setToolTip(
            "(picture - starless) / (1 - starless): put them back with the blend mode screen"
        )
        self.whole_stack = QCheckBox("All pictures of a stack")
        self.whole_stack.setToolTip("Otherwise the one in view")
        self.tile = still(QSpinBox())
        self.tile.setRange(256, 8192)
        self.tile.setSingleStep(256)
        self.tile.setSuffix(" px")
        self.tile.setToolTip("Smaller tiles need less memory; the result is the same")
        self.turned_over = QCheckBox("First row at the bottom (FITS)")
        self.turned_over.setToolTip("Turns the view over; the data stay as they are")
        self.defaults = QPushButton("Restore defaults")
        self.defaults.clicked.connect(self.restore)
        inside = QWidget()
        rows = _form(inside)
        rows.setContentsMargins(0, 4, 0, 4)
        rows.addRow("Device", self.device)
        rows.addRow("Largest star", self.max_size)
        rows.addRow("Tile", self.tile)
        for box in (
            self.large_stars, self.screen_stars, self.whole_stack, self.turned_over,
        ):  # fmt: skip
            rows.addRow(box)
        rows.addRow(self.defaults)
        return inside

    def _unfold(self, open_: bool) -> None:
        self.more_options.setVisible(open_)
        self.more.setText(("\u25be" if open_ else "\u25b8") + "  More options")

    def restore(self) -> None:
        """Set everything but the layers as it was at first."""
        first = Settings()
        for box, value in ((self.stretch, first.stretch), (self.device, first.device)):
            box.setCurrentIndex(box.findData(value))
        self.model.setCurrentIndex(0)
        self.strength.setValue(round(first.strength * 100))
        self.protect.setCurrentIndex(0)
        self.max_size.setValue(first.max_size or 0)
        self.tile.setValue(DEFAULT_TILE)
        self.large_stars.setChecked(first.large_stars)
        self.screen_stars.setChecked(first.screen)
        self.whole_stack.setChecked(first.whole_stack)
        for role, output in self.outputs.items():
            output.setChecked(role in first.outputs)

    def settings(self) -> Settings:
        """What is set."""
        model = self.model.currentData()
        return Settings(
            model=str(model) if model else None,
            device=self.device.currentData() or "auto",
            stretch=self.stretch.currentData(),
            strength=self.strength.value() / 100,
            max_size=self.max_size.value() or None,
            large_stars=self.large_stars.isChecked(),
            tile=self.tile.value(),
            outputs=tuple(role for role, box in self.outputs.items() if box.isChecked()),
            screen=self.screen_stars.isChecked(),
            whole_stack=self.whole_stack.isChecked(),
        )


def _form(parent: QWidget | None = None) -> QFormLayout:
    rows = QFormLayout(parent) if parent is not None else QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setHorizontalSpacing(10)
    rows.setVerticalSpacing(6)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return rows


def refill(box: QComboBox, items: list[tuple[str, Any]], keep: Any) -> None:
    """Give a box new items, silently; choose the one whose value is `keep`, or the first."""
    box.blockSignals(True)
    box.clear()
    for text, value in items:
        box.addItem(text, value)
    found = [i for i, (_, value) in enumerate(items) if value == keep]
    box.setCurrentIndex(found[0] if found else (0 if items else -1))
    box.blockSignals(False)


def slider() -> QSlider:
    """A plain horizontal slider in thousandths."""
    made = QSlider(Qt.Orientation.Horizontal)
    made.setRange(0, 1000)
    return made
