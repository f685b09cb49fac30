from __future__ import annotations

from dataclasses import replace

import pytest

from nox_train import cli
from nox_train.plans import BankPlan, TrainingPlan
from nox_train.presets import FINETUNE, PRESETS, with_budget


def test_patches_grow_in_equal_shares_and_a_step_sees_as_many_pixels() -> None:
    plan = TrainingPlan(sizes=(128, 256, 384), batch=16)
    stages = [plan.stage(d) for d in (0, 0.33, 0.34, 0.66, 0.67, 1.0)]
    assert stages == [(16, 128)] * 2 + [(4, 256)] * 2 + [(2, 384)] * 2
    assert TrainingPlan(batch=3, size=64).stage(0.5) == (3, 64)
    assert TrainingPlan(sizes=(64, 512), batch=2).stage(1.0) == (1, 512)


@pytest.mark.parametrize("sizes", [(128, 200), (128, 1024)])
def test_patches_that_do_not_fit_are_named(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"side of a patch is {sizes[1]}; it must be a multiple"):
        TrainingPlan(sizes=sizes)
    with pytest.raises(ValueError, match=r"multiple of 32 \(the network's\) up to 64"):
        TrainingPlan(bank=BankPlan(background_size=64))


def test_phases_share_a_budget_as_their_lengths() -> None:
    phases = PRESETS["shipped"].phases
    assert with_budget(phases) == phases
    steps = with_budget(phases, steps=1000)
    total = sum(p.steps for p in phases)
    assert [p.steps for p in steps] == [round(1000 * p.steps / total) for p in phases]
    minutes = with_budget(phases, minutes=100)
    assert sum(p.minutes for p in minutes) == pytest.approx(100)
    assert all(not p.steps for p in minutes)
    # By the pixels that a phase sees.
    pixels = [p.steps * p.batch * p.size**2 for p in phases]
    assert minutes[1].minutes / minutes[0].minutes == pytest.approx(pixels[1] / pixels[0])
    (one,) = with_budget(PRESETS["small"].phases, minutes=3)
    assert one == replace(PRESETS["small"].phases[0], minutes=3)
    assert FINETUNE.minutes <= 5


@pytest.mark.parametrize("minutes", [0.0, -3.0, float("inf"), float("nan")])
def test_a_training_has_a_length(minutes: float) -> None:
    with pytest.raises(ValueError, match=r"--minutes is .*; it must be above 0"):
        with_budget(PRESETS["small"].phases, minutes=minutes)
    with pytest.raises(ValueError, match="--steps is 0"):
        with_budget(PRESETS["small"].phases, steps=0)


def test_bad_arguments_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["fit", "-o", "x", "--sizes", "128,a"], "'128,a' is no list of whole numbers"),
        (["fit", "-o", "x", "--sizes", "128", "--size", "64"], "not allowed with argument"),
        (["finetune", "-o", "x"], "one of the arguments --pairs --frames is required"),
        (["finetune", "-o", "x", "--pairs", "p", "--standard", "1"], "1 is not a share of 0"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.main(arguments)
        assert said in capsys.readouterr().err
