"""Work in a thread of its own, some items ahead, in the same order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from nox_runtime.errors import StoppedError

T = TypeVar("T")

#: Seconds after which a waiting thread looks whether it is still wanted; signals and
#: cancelling are no slower than this.
_LOOK = 0.2


def ahead(
    items: Iterator[T],
    depth: int = 1,
    stopping: Callable[[], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[T]:
    """The same items, made in another thread while the last one is being used.

    An exception comes out where its item would have.  Closing this generator stops the
    thread after the item it is at, and closes `items` there.

    Parameters
    ----------
    items : iterator
    depth : int
        How many finished items may wait.
    stopping : callable, optional
        Called when this generator is closed before its end, to cut short the item that
        the thread is at; what `items` then raises is dropped.
    cancelled : callable, optional
        Looked at before each item, and five times a second while one is waited for.

    Raises
    ------
    StoppedError
        `cancelled` said so.
    """
    waiting: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, item: T | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                waiting.put((kind, item), timeout=_LOOK)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # handed to whoever waits for the item
            put("error", error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="nox-ahead", daemon=True)
    thread.start()
    over = False
    try:
        while True:
            try:
                kind, item = waiting.get(timeout=_LOOK)
            except queue.Empty:
                kind = ""
            if cancelled is not None and cancelled() and kind not in ("end", "error"):
                raise StoppedError("stopped")
            if not kind:
                continue
            over = kind != "item"
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(item, BaseException)
                try:
                    raise item
                finally:  # it knows this frame, and would keep itself and all that it knows
                    del item
            yield item  # type: ignore[misc]
            del item
    finally:
        stop.set()
        if stopping is not None and not over:
            stopping()
        thread.join()
