"""The choosers of model and device: what came with nox, and files that the user has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

# napari's own create_worker stumbles over errors (0.9.2): its status handler takes none.
from superqt.utils import create_worker

from nox_napari.form import DEVICES, Form, described, refill
from nox_napari.messages import for_window, missing_runtime
from nox_runtime import objects
from nox_runtime.errors import NoxError
from nox_runtime.model import ModelEntry, available_devices, available_models, load_model

#: The value of the model chooser's last entry.
OTHER = "(other)"


class Models(QObject):
    """Fills the form's choosers of model and device.

    Parameters
    ----------
    form : Form
    parent : QWidget
        Over which the file dialog opens.

    Attributes
    ----------
    changed : Signal
        `trouble` may be another.
    trouble : str
        Why nothing can be run; empty where something can.
    device : str
        What 'Automatic' will probably choose.
    """

    changed = Signal()

    def __init__(self, form: Form, parent: QWidget) -> None:
        super().__init__(parent)
        self.trouble = ""
        self.device = "cpu"
        self._form, self._parent = form, parent
        self._chosen: Any = None  # to go back to, when no other file comes of "Other file ..."
        self._workers: list[Any] = []
        form.model.currentIndexChanged.connect(self._remember)
        form.model.activated.connect(self._activated)

    def find(self) -> None:
        """Look for models and devices; that takes a while, and blocks nothing."""
        self._form.model.addItem("Looking for models ...", None)
        missing = missing_runtime()
        if missing:
            refill(self._form.model, [("None", None)], None)
            self._set_trouble(missing)
        else:
            self._in_a_thread(_look, self._found)

    def _in_a_thread(
        self, task: Callable[..., Any], then: Callable[[Any], None], *args: Any
    ) -> None:
        """`then` is given what the task returns, or the error that it raised."""
        self._workers.append(create_worker(
            task, *args, _start_thread=True, _ignore_errors=True,
            _connect={"returned": then, "errored": then},
        ))  # fmt: skip

    def _found(self, found: Any) -> None:
        if not isalive(self):
            return
        entries, devices, trouble = ([], [], for_window(found)) if _is_error(found) else found
        if not entries and not trouble:
            trouble = "No model came with this installation of nox; install it again."
        items: list[tuple[str, str | None]] = [(described(e), str(e.path)) for e in entries]
        refill(self._form.model, [*(items or [("None", None)]), ("Other file ...", OTHER)], None)
        self._remember()
        names = [("auto", DEVICES["auto"])] + [(d, DEVICES.get(d, d)) for d in devices]
        refill(self._form.device, [(text, value) for value, text in names], "auto")
        self.device = devices[0] if devices else "cpu"
        self._set_trouble(trouble)

    def _set_trouble(self, text: str) -> None:
        self.trouble = text
        self.changed.emit()

    def _remember(self, *_: Any) -> None:
        if self._form.model.currentData() != OTHER:
            self._chosen = self._form.model.currentData()

    def _activated(self, index: int) -> None:
        if self._form.model.itemData(index) != OTHER:
            return
        name, _ = QFileDialog.getOpenFileName(
            self._parent, "Choose a model", "", "Models (*.onnx)"
        )  # fmt: skip
        self._form.model.setCurrentIndex(max(self._form.model.findData(self._chosen), 0))
        if name:
            self._in_a_thread(_opened, self._opened, Path(name))

    def _opened(self, found: Any) -> None:
        if not isalive(self):
            return
        if _is_error(found):
            show_error(for_window(found))
        else:
            self.add(found)

    def add(self, entry: ModelEntry) -> None:
        """Offer a model file, and choose it."""
        box, path = self._form.model, str(entry.path)
        none = box.findText("None")
        if none >= 0:
            box.removeItem(none)
        if box.findData(path) < 0:
            box.insertItem(box.count() - 1, described(entry), path)
        box.setItemText(box.findData(path), described(entry))  # it may have been made anew
        box.setCurrentIndex(box.findData(path))
        self._set_trouble("")


def _is_error(found: Any) -> bool:
    return isinstance(found, BaseException)


def _look() -> tuple[list[ModelEntry], list[str], str]:
    """Models, devices, and why there are none."""
    devices: list[str] = []
    try:
        devices = available_devices()
        entries = available_models()
    except NoxError as error:
        return [], devices, for_window(error)
    # Loading what measures stars holds Python up for a tenth of a second: now, not in a run.
    with suppress(NoxError):
        objects.require("the removed stars")
    return entries, devices, ""


def _opened(path: Path) -> ModelEntry:
    """The model in a file."""
    facts = load_model(path, device="cpu", threads=1).facts
    return ModelEntry(path.stem, path, facts, path.stat().st_size)
