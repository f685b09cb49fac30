"""Python's collector of garbage waits while stars are removed.

A full collection looks at every object of the process, 430,000 of them in a napari just
opened, and holds the interpreter's lock for it: whichever thread it strikes, the window
stands still for a fifth of a second.  What no cycle holds is freed as always.
"""

from __future__ import annotations

import gc
import threading

_lock = threading.Lock()
_waiting: set[Collector] = set()
_was_on = False


class Collector:
    """One run's wish that the collector wait; it works again when no run wishes so."""

    def hold(self) -> None:
        """Make it wait."""
        global _was_on
        with _lock:
            if not _waiting:
                _was_on = gc.isenabled()
                gc.disable()
            _waiting.add(self)

    def release(self) -> None:
        """Let it work, unless another run is going on or it was off before; no harm twice."""
        with _lock:
            if self in _waiting:
                _waiting.remove(self)
                if not _waiting and _was_on:
                    gc.enable()
