"""A line in napari's activity dock, with its own cancel button."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils import cancelable_progress
from qtpy.QtCore import QTimer

from nox_napari.job import Progress


class _Bar(cancelable_progress):
    """Asks at once; napari's own asks at the next step of a loop, which there is none of."""

    def cancel(self) -> None:
        super().cancel()
        # After the click is over: the bar that was clicked on goes with it.
        QTimer.singleShot(0, self.cancel_callback)


class Activity:
    """One bar at a time.

    Parameters
    ----------
    cancel : callable
        What its button does.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._bar: _Bar | None = None

    def begin(self, text: str) -> None:
        """Show a bar that does not know its length yet."""
        self.end()
        self._bar = _Bar(desc=text, total=0, cancel_callback=self._cancel)

    def show(self, progress: Progress) -> None:
        """Move it."""
        if self._bar is None or progress.total == 0:
            return
        if self._bar.total != progress.total:
            self._bar.total = progress.total
        if progress.done > self._bar.n:
            self._bar.update(progress.done - self._bar.n)

    def end(self) -> None:
        """Take it away."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
