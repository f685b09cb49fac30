"""A stop ends a run of the model in its middle, and that of no other picture."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import starry

from nox_runtime.errors import StoppedError
from nox_runtime.interruption import Interruption
from nox_runtime.model import Model, load_model
from nox_runtime.removal import StarRemover


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(device="cpu", threads=1)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Whether a run of a model has begun, and how many were given up."""
    seen, honest = SimpleNamespace(begun=threading.Event(), given_up=0), Model.__call__

    def noted(self: Model, pictures: np.ndarray, interruption: Interruption) -> np.ndarray:
        seen.begun.set()
        try:
            return honest(self, pictures, interruption)
        except StoppedError:
            seen.given_up += 1
            raise

    monkeypatch.setattr(Model, "__call__", noted)
    return seen


def test_an_end_reaches_what_runs_and_what_comes_later_but_not_what_is_over() -> None:
    interruption = Interruption()
    over, running, later = (SimpleNamespace(terminate=False) for _ in range(3))
    with interruption.over(over):
        pass
    with interruption.over(running):
        interruption.end()
    with pytest.raises(StoppedError), interruption.over(later):
        raise AssertionError("never begun")
    assert (over.terminate, running.terminate, later.terminate) == (False, True, False)


def test_a_run_ends_in_its_middle_and_the_model_can_be_used_again(model: Model) -> None:
    """ONNX Runtime itself, on a picture that takes it seconds."""
    interruption = Interruption()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            model(np.zeros((1, 3, 2048, 2048), np.float32), interruption)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive() and not interruption._running:
        thread.join(0.001)
    assert interruption._running
    interruption.end()
    thread.join()
    assert [type(error) for error in raised] == [StoppedError]
    small = np.full((1, 3, 64, 64), 0.1, np.float32)
    assert model(small).shape == small.shape


def test_closing_a_removal_ends_its_run_and_no_other(model: Model, runs: SimpleNamespace) -> None:
    remover = StarRemover(model, tile=1024)
    large = np.zeros((3, 2000, 3000), np.float32)
    picture = starry(1000, 1020).astype("f4")
    alone = remover.remove(picture, stretch="none").starless
    other: list[np.ndarray] = []
    meanwhile = threading.Thread(
        target=lambda: other.append(remover.remove(picture, stretch="none").starless)
    )
    steps = remover.iter_remove(large, stretch="none")
    next(steps)
    meanwhile.start()
    steps.close()  # the model is at the next tile, or about to begin it
    meanwhile.join()
    assert runs.given_up == 1
    np.testing.assert_array_equal(other[0], alone)


def test_cancelling_from_another_thread_gives_the_tile_in_work_up(
    model: Model, runs: SimpleNamespace
) -> None:
    remover = StarRemover(model, tile=2048)
    large = np.zeros((3, 2048, 2048), np.float32)
    asked = threading.Event()
    canceller = threading.Thread(target=lambda: runs.begun.wait(60) and asked.set())
    canceller.start()
    with pytest.raises(StoppedError, match="stopped"):
        list(remover.iter_remove(large, stretch="none", cancelled=asked.is_set))
    canceller.join()
    assert runs.given_up == 1
