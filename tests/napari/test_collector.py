"""Python's collector of garbage waits while stars are removed, and then works again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from nox_napari.collector import Collector


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_waits_until_the_last_run_ends() -> None:
    one, two = Collector(), Collector()
    one.hold()
    two.hold()
    assert not gc.isenabled()
    one.release()
    one.release()
    assert not gc.isenabled()
    two.release()
    assert gc.isenabled()


def test_it_stays_off_where_it_was_off() -> None:
    gc.disable()
    run = Collector()
    run.hold()
    run.release()
    assert not gc.isenabled()


def test_nothing_held_is_nothing_released() -> None:
    gc.disable()
    Collector().release()
    assert not gc.isenabled()


def test_it_works_again_after_a_run_and_after_a_failure(
    opened: Any, make_sky: Any, gated: Any, ended: Any
) -> None:
    for model in (None, gated(error=MemoryError("none left"))):
        viewer, panel = opened(model=model) if model else opened()
        viewer.add_image(make_sky("u2"), rgb=True, name="m31")
        panel.run_button.click()
        assert not gc.isenabled()
        ended(panel)
        assert gc.isenabled()
