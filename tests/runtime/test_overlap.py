"""Work done ahead comes in order, stops when told, and fails where it should."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from nox_runtime.errors import StoppedError
from nox_runtime.overlap import ahead


def test_order_and_completeness() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter(()))) == []


def test_the_next_item_is_made_while_the_last_is_used() -> None:
    made = []

    def items() -> Iterator[int]:
        for k in range(5):
            made.append((k, threading.current_thread().name))
            yield k

    running = ahead(items())
    assert next(running) == 0
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    # One waits, one more is being handed over; no further.
    time.sleep(0.05)
    assert [k for k, _ in made] == [0, 1, 2]
    assert {name for _, name in made} == {"nox-ahead"}
    running.close()  # type: ignore[attr-defined]


def test_closing_stops_the_thread_and_closes_the_source() -> None:
    closed = []

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    running = ahead(items())
    assert next(running) == 0
    running.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert not [t for t in threading.enumerate() if t.name == "nox-ahead"]


def test_closing_early_cuts_the_item_short_and_drops_what_it_raises() -> None:
    cut = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert cut.wait(60)
        raise ValueError("cut short")

    running = ahead(items(), stopping=cut.set)
    assert next(running) == 0
    running.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name == "nox-ahead"]

    cut.clear()
    assert list(ahead(iter(range(3)), stopping=cut.set)) == [0, 1, 2]
    assert not cut.is_set()  # an end is no stop


@pytest.mark.parametrize("slow", [False, True])
def test_cancelling_ends_it_while_items_wait_and_while_they_are_waited_for(slow: bool) -> None:
    asked, cut = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        if slow:
            assert cut.wait(60)
        yield from range(1, 1000)

    running = ahead(items(), stopping=cut.set, cancelled=asked.is_set)
    assert next(running) == 0
    asked.set()
    with pytest.raises(StoppedError):
        next(running)
    assert cut.is_set()


def test_an_exception_does_not_keep_what_its_frames_hold() -> None:
    class Large:
        pass

    def items() -> Iterator[int]:
        large = Large()
        held.append(weakref.ref(large))
        yield 1
        raise ValueError("here")

    held: list[weakref.ref] = []
    gc.disable()
    try:
        with pytest.raises(ValueError, match="here"):
            list(ahead(items()))
        assert held[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_comes_out_in_its_place(kind: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise kind("here")

    running = ahead(items())
    assert [next(running), next(running)] == [1, 2]
    with pytest.raises(kind, match="here"):
        next(running)
