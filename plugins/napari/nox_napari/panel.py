"""The panel that napari docks: controls, one button, a status line, before and after."""

from __future__ import annotations

import threading
from typing import Any

import napari.viewer
from napari.layers import Image, Layer
from napari.utils.notifications import notification_manager, show_error, show_info
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

# napari's own create_worker stumbles over errors (0.9.2): its status handler takes none.
from superqt.utils import create_worker

from nox_napari.activity import Activity
from nox_napari.collector import Collector
from nox_napari.compare import Compare
from nox_napari.display import camera, is_turned_over, set_turned_over
from nox_napari.form import Form, Upright, refill
from nox_napari.job import Progress
from nox_napari.messages import for_window
from nox_napari.models import Models
from nox_napari.results import mark, place
from nox_napari.session import Failure, Session, progress_in_words, size_in_words, work
from nox_runtime.errors import NoxError


class _Job:
    """A run in another thread: its flag, and where it stands."""

    def __init__(self, preview: bool) -> None:
        self.preview = preview
        self.stopped = threading.Event()
        self.placing = False
        self.worker: Any = None


class StarRemovalPanel(QWidget):
    """Remove stars from an image layer.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    _docked = False  # Qt sends events before __init__ is through

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # Plugins are given a proxy; layers that come through it do not compare equal to
        # those of the viewer's own selection (https://github.com/napari/napari/issues/5767).
        self.viewer: Any = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.session = Session(self.viewer)
        self._job: _Job | None = None
        self._gone = threading.Event()
        self.destroyed.connect(self._gone.set)  # with the main window, which closes no child
        self._collector = Collector()
        self.destroyed.connect(self._collector.release)
        self._seen: Layer | None = None
        self._active: Any = None  # the unique_id of the layer last seen active
        self._activity = Activity(self.cancel)
        self._build()
        self._connect()
        self.reload_layers()
        self.models.find()

    # What is seen

    def _build(self) -> None:
        self.form = Form()
        self.models = Models(self.form, self)
        self.trouble = QLabel()
        self.trouble.setWordWrap(True)
        self.trouble.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.trouble.setVisible(False)
        self.preview_button = QPushButton("Preview view")
        self.preview_button.setToolTip("Try it on what is in view: about a second")
        self.run_button = QPushButton("Remove stars")
        self.run_button.setToolTip("The whole picture. Adds layers; yours stay as they are")
        font = self.run_button.font()
        font.setBold(True)
        self.run_button.setFont(font)
        for button in (self.preview_button, self.run_button):
            button.setMinimumHeight(36)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.preview_button, 2)
        buttons.addWidget(self.run_button, 3)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setMinimumHeight(2 * self.status.fontMetrics().lineSpacing() + 2)
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        self.compare = Compare(self.viewer)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addWidget(self.trouble)
        layout.addWidget(self.form)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        layout.addWidget(line)
        layout.addWidget(self.compare)
        layout.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(Upright(inside))
        self._idle()

    def _connect(self) -> None:
        self.run_button.clicked.connect(self._clicked)
        self.preview_button.clicked.connect(lambda: self.start(preview=True))
        self.form.image.currentIndexChanged.connect(self._picture_chosen)
        self.models.changed.connect(self._models_changed)
        self.form.turned_over.toggled.connect(lambda up: set_turned_over(self.viewer, up))
        layers = self.viewer.layers
        for event in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            event.connect(self.reload_layers)
        if hasattr(layers.events, "renamed"):
            layers.events.renamed.connect(self.reload_layers)
        layers.selection.events.active.connect(self._activated)
        camera(self.viewer).events.orientation.connect(self._camera_turned)
        self._camera_turned()
        self.viewer.events.theme.connect(self._themed)
        self._themed()

    # Layers

    def reload_layers(self, *_: Any) -> None:
        """Bring the choosers in line with the viewer's layers."""
        if isalive(self):
            self._reload(self.picture())

    def _activated(self, *_: Any) -> None:
        """A picture that was just selected becomes the chosen one."""
        # While results are placed, napari selects them, and `place` undoes it.
        if not isalive(self) or (self._job is not None and self._job.placing):
            return
        active = self.viewer.layers.selection.active
        known = active.unique_id if active is not None else None
        wins = known != self._active and isinstance(active, Image) and not mark(active)
        self._active = known
        self._reload(active if wins else self.picture())

    def _reload(self, wanted: Layer | None) -> None:
        chosen = self.session.preferred(wanted)
        pictures = [(layer.name, layer) for layer in self.session.pictures()]
        refill(self.form.image, pictures, chosen)
        others: list[tuple[str, Layer | None]] = [("Nothing", None)]
        others += [(layer.name, layer) for layer in self.session.protectors()]
        refill(self.form.protect, others, self.form.protect.currentData())
        self._picture_chosen()

    def picture(self) -> Layer | None:
        """The chosen layer."""
        layer: Layer | None = self.form.image.currentData()
        return layer

    def _picture_chosen(self, *_: Any) -> None:
        layer = self.picture()
        self.form.whole_stack.setEnabled(layer is not None and layer.ndim > 2)
        self.compare.follow(str(layer.unique_id) if layer is not None else None)
        if self._job is None and (layer is not self._seen or layer is None):
            self.status.setText(size_in_words(layer))
        self._seen = layer

    def _themed(self, *_: Any) -> None:
        """The one button that matters in the theme's own colour."""
        if isalive(self):
            colour = get_theme(self.viewer.theme).current.as_hex()
            self.run_button.setStyleSheet(f"QPushButton:enabled {{ background: {colour}; }}")

    def _camera_turned(self, *_: Any) -> None:
        if isalive(self):
            self.form.turned_over.blockSignals(True)
            self.form.turned_over.setChecked(is_turned_over(self.viewer))
            self.form.turned_over.blockSignals(False)

    # Models

    def _models_changed(self) -> None:
        self.trouble.setText(self.models.trouble)
        self.trouble.setVisible(bool(self.models.trouble))
        if self._job is None:
            self._idle()

    # Running

    def _clicked(self) -> None:
        if self._job is None:
            self.start()
        else:
            self.cancel()

    def start(self, preview: bool = False) -> None:
        """Run, on the whole picture or on what is in view."""
        if self._job is not None:
            return
        layer = self.picture()
        if layer is None:  # the error then names what was chosen instead
            layer = self.viewer.layers.selection.active
        try:
            request = self.session.request(
                layer, self.form.settings(), self.form.protect.currentData(),
                preview=preview, device=self._likely_device(),
            )  # fmt: skip
        except NoxError as error:
            show_error(for_window(error))
            return
        job, gone = _Job(preview), self._gone
        self._job = job
        self._collector.hold()
        self.run_button.setText("Cancel")
        self.preview_button.setEnabled(False)
        self.progress.setRange(0, 0)
        self.status.setText("Starting ...")
        self._activity.begin(f"nox: {request.picture.name}")
        job.worker = create_worker(
            work, request, self.session.engine, lambda: job.stopped.is_set() or gone.is_set(),
            _start_thread=True, _ignore_errors=True,
            _connect={
                "yielded": lambda item: self._received(job, item),
                "errored": lambda error: self._broken(job, error),
            },
        )  # fmt: skip

    def _likely_device(self) -> str:
        """What will run the model: what was chosen, or what *Automatic* took last."""
        chosen = self.form.settings().device
        return self.models.device if chosen == "auto" else chosen

    def cancel(self) -> None:
        """Stop; the tile that is being worked on is given up by its own thread."""
        if self._job is not None and not self._job.placing:
            self._job.stopped.set()
            self._job = None
            self._idle()
            self.status.setText("Cancelled. Nothing was changed.")

    def _received(self, job: _Job, item: Any) -> None:
        if job is not self._job or not isalive(self):
            return
        if isinstance(item, Progress):
            self.progress.setRange(0, item.total)
            self.progress.setValue(item.done)
            self.status.setText(progress_in_words(item))
            self._activity.show(item)
        elif isinstance(item, Failure):
            self._job = None
            self._idle()
            text = for_window(item.error)
            self.status.setText(text)
            show_error(text)
        else:
            outcome, layers = item
            job.placing = True  # half of the layers would be worse than all
            self.models.device = outcome.removals[0].device
            self.compare.hold(True)
            # One layer for each turn of the event loop: napari needs its time for each.
            steps = place(self.viewer, layers)
            QTimer.singleShot(0, lambda: self._place_next(job, outcome, steps))

    def _place_next(self, job: _Job, outcome: Any, steps: Any) -> None:
        if job is not self._job or not isalive(self):
            return
        try:
            more = next(steps, None) is not None
        except Exception as error:  # another plugin's handler, or the user's hand in between
            self._broken(job, error)
            return
        if more:
            QTimer.singleShot(0, lambda: self._place_next(job, outcome, steps))
            return
        self._job = None
        self._idle()
        self.compare.refresh()
        self.status.setText("\n".join([outcome.summary, *outcome.notes]))
        for note in outcome.notes:
            show_info(note)

    def _broken(self, job: _Job, error: Exception) -> None:
        """Something went wrong that nobody foresaw; napari shows what, with a traceback."""
        notification_manager.receive_error(type(error), error, error.__traceback__)
        if job is self._job and isalive(self):
            self._job = None
            self._idle()
            changed = "Some layers may be missing." if job.placing else "Nothing was changed."
            self.status.setText(f"An error ended the run. {changed}")

    def _idle(self) -> None:
        self._collector.release()
        self.run_button.setText("Remove stars")
        for button in (self.run_button, self.preview_button):
            button.setEnabled(not self.models.trouble)
        self.progress.setRange(0, 1)
        self.progress.setValue(0)
        self._activity.end()
        self.compare.hold(False)

    def changeEvent(self, event: Any) -> None:  # noqa: N802
        """napari closes a dock by taking the panel out of it; no close event comes."""
        if event.type() == QEvent.Type.ParentChange:
            was, self._docked = self._docked, self.parent() is not None
            if was and not self._docked:
                self._leave()
        super().changeEvent(event)

    def closeEvent(self, event: Any) -> None:  # noqa: N802
        """The panel alone, in no dock."""
        self._leave()
        super().closeEvent(event)

    def _leave(self) -> None:
        """Leave nothing running and the canvas as it was."""
        self.cancel()
        self.compare.stop()
