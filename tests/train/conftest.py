"""Fixtures of the trainings: a tiny plan, and banks that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nox_train.plans import BankPlan, GeneratorPlan, TrainingPlan

_BANK = BankPlan(seed=2, fields=2, field_size=512, backgrounds=3, background_size=256)


@pytest.fixture(scope="session")
def tiny() -> TrainingPlan:
    """Twelve steps of a network of 0.02 M parameters."""
    return TrainingPlan(
        network=GeneratorPlan(widths=(8, 8, 8), bottom_blocks=1),
        bank=_BANK, held_out=replace(_BANK, held_out=True), batch=2, size=64,
        steps=12, validate_every=1e9, checkpoint_every=1e-9,
    )  # fmt: skip


@pytest.fixture(scope="session")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which trainings share their banks."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def break_off() -> Callable[[Any, int], None]:
    """Runs a trainer and interrupts it after so many steps."""

    def run(trainer: Any, steps: int) -> None:
        step, seen = trainer.step_function, []

        class Stopping:
            sync = staticmethod(step.sync)

            def __call__(self, picture: np.ndarray, target: np.ndarray) -> tuple[float, ...]:
                if len(seen) == steps:
                    raise KeyboardInterrupt
                seen.append(picture)
                return step(picture, target)

        trainer.step_function = Stopping()
        with pytest.raises(KeyboardInterrupt):
            trainer.run()

    return run
