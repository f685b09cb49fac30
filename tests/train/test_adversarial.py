"""The second stage: a discriminator beside the generator."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from nox_train.backends import make_step
from nox_train.checkpoint import Checkpoint
from nox_train.discriminators import build_discriminator
from nox_train.losses import Adversarial
from nox_train.networks import build_generator
from nox_train.plans import DiscriminatorPlan, LossPlan, TrainingPlan
from nox_train.training import Trainer

JUDGE = DiscriminatorPlan(widths=(8, 8, 8))
LOSS = LossPlan(adversarial=0.01, perceptual=0.1)


@pytest.fixture(scope="module")
def plan(tiny: TrainingPlan) -> TrainingPlan:
    return replace(tiny, loss=LOSS, discriminator=JUDGE, steps=6)


@pytest.fixture(scope="module")
def start(banks: Path, plan: TrainingPlan) -> Path:
    """Weights as those of a first stage."""
    path = banks / "first-stage.npz"
    weights = build_generator(plan.network).get_weights()
    Checkpoint(plan.network, {"step": 9, "seconds": 60}, weights, [], []).save(path)
    return path


def test_each_player_learns_its_own_part(plan: TrainingPlan) -> None:
    """Steps on one batch: both networks change, and the discriminator tells them apart."""
    keras.utils.set_random_seed(1)
    generator = build_generator(plan.network, with_raw=True)
    judge = build_discriminator(JUDGE, 3)
    rng = np.random.default_rng(4)
    target = np.full((2, 32, 32, 3), 0.2, np.float32)
    target += rng.normal(0, 0.03, target.shape).astype(np.float32)
    picture = target.copy()
    picture[:, 8:24, 8:24] += 0.4  # large enough to be seen by every verdict
    players = [(m, keras.optimizers.Adam(r)) for m, r in ((generator, 0.0), (judge, 3e-3))]
    for model, optimizer in players:
        optimizer.build(model.trainable_variables)
    step = make_step(players, Adversarial(generator, judge, LOSS))
    before = [m.get_weights() for m, _ in players]
    losses = [step(picture, target) for _ in range(25)]
    step.sync()
    after = [m.get_weights() for m, _ in players]
    # With a rate of 0 the generator stays: the discriminator's loss does not move it.
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert losses[-1][1] < 0.6 * losses[0][1]


def test_a_second_stage_resumes_as_if_it_had_not_been_broken_off(
    banks: Path, plan: TrainingPlan, start: Path, break_off: Callable[[Trainer, int], None]
) -> None:
    Trainer(banks / "gan-whole", plan, start).run()
    break_off(Trainer(banks / "gan-parts", plan, start), 3)
    Trainer(banks / "gan-parts", plan, start).run()
    one, two = (Checkpoint.load(banks / n / "latest.npz") for n in ("gan-whole", "gan-parts"))
    assert one.progress["step"] == two.progress["step"] == 6
    assert len(one.judge) == len(build_discriminator(JUDGE, 3).get_weights())
    for kind in ("raw", "weights", "optimizer", "judge", "judge_optimizer"):
        for a, b in zip(getattr(one, kind), getattr(two, kind), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-3)
    with open(banks / "gan-whole" / "log.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["0", "6"]  # the first tells what may not be lost
    assert rows[0]["judge"] == ""
    assert float(rows[1]["judge"]) > 0
    assert one.told.startswith("9 steps in 1 minutes on synthetic stars, nox-train; then 6 steps")


def test_what_costs_too_much_is_not_kept(banks: Path, plan: TrainingPlan, start: Path) -> None:
    """A loss that only wants other pictures: best.npz stays what it began with."""
    wild = replace(plan, loss=LossPlan(star_weight=0, gradient=0, adversarial=1e6), rate=0.1,
                   warm_up=0, average=0.0)  # fmt: skip
    best = Trainer(banks / "gan-wild", wild, start).run()
    for a, b in zip(Checkpoint.load(best).weights, Checkpoint.load(start).weights, strict=True):
        np.testing.assert_array_equal(a, b)
    latest = Checkpoint.load(banks / "gan-wild" / "latest.npz")
    assert not np.array_equal(latest.weights[0], Checkpoint.load(best).weights[0])


def test_a_folder_of_another_stage_is_refused(banks: Path, plan: TrainingPlan) -> None:
    regression = replace(plan, loss=LossPlan(), steps=1)
    Trainer(banks / "stage-1", regression).run()
    with pytest.raises(ValueError, match="holds a training without a discriminator"):
        Trainer(banks / "stage-1", plan)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends_play_alike(
    banks: Path, plan: TrainingPlan, start: Path, backend: str
) -> None:
    """Three steps of both networks from the same weights, here and there."""
    pytest.importorskip(backend)
    here, there = banks / f"gan-{backend}-here", banks / f"gan-{backend}"
    Trainer(here, replace(plan, steps=0, minutes=1e-9), start).run()
    begun = Checkpoint.load(here / "latest.npz")  # with the discriminator's first weights
    assert begun.progress["step"] == 1
    there.mkdir()
    begun.save(there / "latest.npz")
    three = replace(plan, steps=4)
    Trainer(here, three).run()
    code = (
        "from pathlib import Path\nfrom nox_train.plans import *\n"
        "from nox_train.training import Trainer\n"
        f"Trainer(Path({str(there)!r}), {three!r}).run()"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, two = (Checkpoint.load(folder / "latest.npz") for folder in (here, there))
    for kind in ("raw", "weights", "judge"):
        for a, b in zip(getattr(one, kind), getattr(two, kind), strict=True):
            np.testing.assert_allclose(a, b, atol=5e-6)
