"""Fixtures of the trainings: a tiny plan, and banks that all of them share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
