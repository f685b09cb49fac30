from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from nox_train import fit_command, training
from nox_train.checkpoint import Checkpoint
from nox_train.cli import _parser, main
from nox_train.networks import build_generator
from nox_train.plans import BankPlan, GeneratorPlan, LossPlan, TrainingPlan
from nox_train.presets import PRESETS
from nox_train.training import Trainer, learning_rate, run_phases

NETWORK = GeneratorPlan(widths=(8, 8, 8), bottom_blocks=1)
BANK = BankPlan(seed=2, fields=2, field_size=512, backgrounds=3, background_size=256)
PLAN = TrainingPlan(
    network=NETWORK, bank=BANK, held_out=replace(BANK, held_out=True), batch=2, size=64,
    steps=12, validate_every=1e9, checkpoint_every=1e-9,
)  # fmt: skip


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(PLAN, s, d) for s, d in ((0, 0), (199, 0), (5000, 0.5), (9999, 1))]
    assert rates == pytest.approx([5e-6, 1e-3, 5.05e-4, 1e-5])


def test_a_broken_off_training_goes_on_as_if_it_had_not_been(
    banks: Path, break_off: Callable[[Trainer, int], None]
) -> None:
    """Same batches, once each, and the same weights as a training in one go."""
    whole = Trainer(banks / "whole", PLAN)
    assert whole.run() == banks / "whole" / "best.npz"
    break_off(Trainer(banks / "parts", PLAN), 5)
    second = Trainer(banks / "parts", PLAN)
    assert second.progress["step"] == 5
    second.run()
    one, two = (Checkpoint.load(banks / n / "latest.npz") for n in ("whole", "parts"))
    assert one.progress["step"] == two.progress["step"] == 12
    for kind in ("raw", "weights", "optimizer"):
        for a, b in zip(getattr(one, kind), getattr(two, kind), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-3)


def test_growing_patches_resume_in_the_right_phase(banks: Path) -> None:
    plan = replace(PLAN, sizes=(32, 64, 96), batch=8, steps=6)
    seen: list[tuple[int, ...]] = []

    def watched(trainer: Trainer, last: int) -> Trainer:
        step = trainer.step_function

        class Watching:
            sync = staticmethod(step.sync)

            def __call__(self, picture: np.ndarray, target: np.ndarray) -> tuple[float, ...]:
                if len(seen) == last:
                    raise KeyboardInterrupt
                seen.append(picture.shape[:2])
                return step(picture, target)

        trainer.step_function = Watching()
        return trainer

    with pytest.raises(KeyboardInterrupt):
        watched(Trainer(banks / "grows", plan), 3).run()
    watched(Trainer(banks / "grows", plan), 99).run()
    assert seen == [(8, 32)] * 2 + [(2, 64)] * 2 + [(1, 96)] * 2
    with open(banks / "grows" / "log.csv", newline="") as stream:
        *_, row = csv.DictReader(stream)
    pixels = 2 * (8 * 32**2 + 2 * 64**2 + 96**2)
    assert float(row["megapixels"]) == pytest.approx(pixels / 1e6, abs=0.05)


def test_phases_follow_each_other(banks: Path) -> None:
    folder = banks / "phases"
    phases = [replace(PLAN, steps=2), replace(PLAN, steps=1, rate=1e-4)]
    best = run_phases(folder, phases, None)
    assert best == folder / "phase-2" / "best.npz"
    told = Checkpoint.load(best).told
    assert told.count("2 steps in") == told.count("; then 1 steps in") == 1
    made = [(folder / f"phase-{k}" / "latest.npz").stat().st_mtime_ns for k in (1, 2)]
    assert run_phases(folder, phases, None) == best  # finished: nothing is trained again
    assert [(folder / f"phase-{k}" / "latest.npz").stat().st_mtime_ns for k in (1, 2)] == made


def test_phases_see_scenes_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds = []

    class Seen:
        def __init__(self, folder: Path, plan: TrainingPlan, start: Path | None) -> None:
            seeds.append(plan.seed)

        def run(self) -> Path:
            return tmp_path

    monkeypatch.setattr(training, "Trainer", Seen)
    run_phases(tmp_path, [PLAN] * 3, None)
    assert len(set(seeds)) == 3
    assert seeds[0] == PLAN.seed


def test_a_mono_network_trains_on_single_channels(banks: Path) -> None:
    plan = replace(PLAN, network=replace(NETWORK, channels=1), steps=2)
    Trainer(banks / "mono", plan).run()
    assert Checkpoint.load(banks / "mono" / "best.npz").plan.channels == 1


def test_the_original_networks_train(banks: Path) -> None:
    """With small widths; the preset's only differ in those."""
    (plan,) = PRESETS["original"].phases
    judge = replace(plan.discriminator, widths=(4, 8, 8), feature_weights=(0.01, 1, 1))
    plan = replace(
        PLAN, network=replace(plan.network, widths=(8, 8, 8)), loss=plan.loss,
        discriminator=judge, steps=2,
    )  # fmt: skip
    Trainer(banks / "original", plan).run()
    kept = Checkpoint.load(banks / "original" / "latest.npz")
    assert kept.plan.architecture == "original"
    assert kept.progress["step"] == 2


def test_what_the_command_line_asks_for_is_in_the_plan() -> None:
    asked = "fit -o x --head compose --widths 8,16 --channels 1 --loss charbonnier"
    asked += " --multi-scale 0.5 --adversarial 0.01 --sizes 64,128 --backgrounds photos"
    asked += " --hidden 16,32,32,16 --revive --freeze stem,up0"
    plan = fit_command._changed(PRESETS["small"].phases[0], _parser().parse_args(asked.split()))
    hidden = (16, 32, 32, 16)
    assert plan.network == GeneratorPlan((8, 16), channels=1, head="compose", hidden=hidden)
    assert plan.revive
    assert plan.frozen == ("stem", "up0")
    assert plan.loss == LossPlan("charbonnier", multi_scale=0.5, adversarial=0.01)
    assert plan.sizes == (64, 128)
    assert plan.bank.pictures == plan.held_out.pictures == "photos"
    untouched = fit_command._changed(PLAN, _parser().parse_args(["fit", "-o", "x"]))
    assert untouched == PLAN


def test_another_network_in_the_same_folder_is_refused(banks: Path) -> None:
    Trainer(banks / "other", replace(PLAN, steps=1)).run()
    with pytest.raises(ValueError, match="holds a network of another shape"):
        Trainer(banks / "other", replace(PLAN, network=replace(NETWORK, head="compose")))


def test_training_learns(banks: Path) -> None:
    plan = replace(PLAN, steps=250, batch=4, rate=3e-3, validate_every=1e9)
    Trainer(banks / "learns", replace(plan, checkpoint_every=1e9)).run()
    with open(banks / "learns" / "log.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["removed"]) > 0.05
    assert (banks / "learns" / "validation.png").stat().st_size > 10_000


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends_train_alike(banks: Path, backend: str) -> None:
    """Three steps from the same weights, here and under the other backend."""
    pytest.importorskip(backend)
    start = banks / "start.npz"
    Checkpoint(NETWORK, {}, build_generator(NETWORK).get_weights(), [], []).save(start)
    plan = replace(PLAN, steps=3)
    Trainer(banks / f"here-{backend}", plan, start).run()
    code = (
        "from pathlib import Path\nfrom dataclasses import replace\n"
        "from nox_train.plans import *\nfrom nox_train.training import Trainer\n"
        f"Trainer(Path({str(banks / backend)!r}), {plan!r}, Path({str(start)!r})).run()"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, two = (Checkpoint.load(banks / n / "latest.npz") for n in (f"here-{backend}", backend))
    assert two.progress["step"] == 3
    first = Checkpoint.load(start).weights
    for kind in ("raw", "weights"):
        for a, b in zip(getattr(one, kind), getattr(two, kind), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)
    # Adam's first steps are as long as the learning rate: 5e-6 + 7.5e-6 + 3.9e-6.
    assert max(np.abs(a - b).max() for a, b in zip(one.raw, first, strict=True)) > 1.5e-5


def test_kill_9_and_resume(tmp_path: Path) -> None:
    """The command itself, killed twice: the log neither repeats nor skips."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "nox_train.cli", "fit", "--preset", "smoke",
               "--minutes", "0.35", "-o", str(folder)]  # fmt: skip
    for _ in range(2):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as child:
            latest, before = folder / "latest.npz", 0
            if latest.exists():
                before = latest.stat().st_mtime_ns
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                if latest.exists() and latest.stat().st_mtime_ns > before:
                    break
                time.sleep(0.05)
            os.killpg(child.pid, signal.SIGKILL)
        assert Checkpoint.load(latest).progress["step"] > 0
    killed_at = Checkpoint.load(latest).progress["step"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder / "best.npz")
    with open(folder / "log.csv", newline="") as stream:
        steps = [int(row["step"]) for row in csv.DictReader(stream)]
    assert steps == sorted(set(steps))
    assert steps[-1] > killed_at
    assert not list(folder.glob("*.part"))


def test_a_wrong_folder_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", "--preset", "smoke", "-o", str(tmp_path / "run"),
               "--backgrounds", str(tmp_path)]  # fmt: skip
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "no pictures in this folder" in err
    assert "Traceback" not in err
