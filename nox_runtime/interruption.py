"""Ends what a model has under way, from another thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol

from nox_runtime.errors import StoppedError


class _Options(Protocol):
    """What is needed of `onnxruntime.RunOptions`."""

    terminate: bool


class Interruption:
    """Belongs to one removal: its runs of a model, on any thread, end when it is told.

    ONNX Runtime looks at ``RunOptions.terminate`` before each layer, so that on the CPU a run
    ends after a layer instead of after a tile.  Devices that are given the whole network at
    once finish the tile.

    Attributes
    ----------
    ended : bool
        Whether it was told to end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[_Options] = []
        self.ended = False

    def end(self) -> None:
        """End the runs that are under way, and those that are begun from now on."""
        with self._lock:
            self.ended = True
            for options in self._running:
                options.terminate = True

    @contextlib.contextmanager
    def over(self, options: _Options) -> Iterator[None]:
        """Watch over a run that was given these options.

        Parameters
        ----------
        options : onnxruntime.RunOptions

        Raises
        ------
        StoppedError
            It is to end before it has begun.
        """
        with self._lock:
            if self.ended:
                raise StoppedError("stopped")
            self._running.append(options)
        try:
            yield
        finally:
            with self._lock:
                self._running = [other for other in self._running if other is not options]
