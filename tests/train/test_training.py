from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from nox_train import losses
from nox_train.checkpoint import Checkpoint
from nox_train.cli import main
from nox_train.networks import build_generator
from nox_train.plans import BankPlan, GeneratorPlan, TrainingPlan
from nox_train.training import Trainer, learning_rate

NETWORK = GeneratorPlan(widths=(8, 8, 8), bottom_blocks=1)
BANK = BankPlan(seed=2, fields=2, field_size=512, backgrounds=3, background_size=256)
PLAN = TrainingPlan(
    network=NETWORK, bank=BANK, held_out=replace(BANK, held_out=True), batch=2, size=64,
    steps=12, validate_every=1e9, checkpoint_every=1e-9,
)  # fmt: skip


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which trainings share their banks."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("head", ["subtract", "compose"])
def test_a_generator_leaves_pixels_alone_exactly(head: str) -> None:
    plan = replace(NETWORK, head=head)
    model = build_generator(plan)
    picture = np.random.default_rng(0).random((1, 32, 40, 3), np.float32)
    for layer in ("residual", "mask"):
        if layer in [x.name for x in model.layers]:
            kernel, bias = model.get_layer(layer).get_weights()
            model.get_layer(layer).set_weights([0 * kernel, bias * 0 - 1])
    np.testing.assert_array_equal(np.asarray(model(picture)), picture)


def test_the_network_is_the_size_that_the_design_allows() -> None:
    model = build_generator(GeneratorPlan())
    assert model.count_params() * 4 < 30e6
    assert GeneratorPlan().multiple == 32


def test_heads_are_named() -> None:
    with pytest.raises(ValueError, match="head is 'add'; it must be one of"):
        GeneratorPlan(head="add")


def test_the_loss_has_a_gradient_even_where_nothing_is_removed() -> None:
    """A clipped head that removes nothing must not stay so for ever."""
    import tensorflow as tf

    picture = np.full((1, 8, 8, 3), 0.2, np.float32)
    target = picture.copy()
    picture[:, 3:5, 3:5] = 0.8
    residual = tf.Variable(np.full_like(picture, -0.05))
    with tf.GradientTape() as tape:
        value = losses.regression(
            picture, target, picture - tf.nn.relu(residual), picture - residual
        )
    gradient = tape.gradient(value, residual).numpy()
    assert (gradient[0, 3:5, 3:5] < 0).all()
    assert value > 0


def test_the_loss_is_0_for_the_target() -> None:
    picture = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    assert float(losses.regression(picture, picture / 2, picture / 2, picture / 2)) == 0


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(PLAN, s, d) for s, d in ((0, 0), (199, 0), (5000, 0.5), (9999, 1))]
    assert rates == pytest.approx([5e-6, 1e-3, 5.05e-4, 1e-5])


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    model = build_generator(NETWORK)
    kept = Checkpoint(NETWORK, {"step": 3}, model.get_weights(), [], [])
    kept.save(tmp_path / "a.npz")
    again = Checkpoint.load(tmp_path / "a.npz")
    assert again.plan == NETWORK
    assert again.progress == {"step": 3}
    for a, b in zip(again.build().get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "b.npz").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"b\.npz: not a checkpoint of nox-train"):
        Checkpoint.load(tmp_path / "b.npz")


def test_a_broken_off_training_goes_on_as_if_it_had_not_been(banks: Path) -> None:
    """Same batches, once each, and the same weights as a training in one go."""
    whole = Trainer(banks / "whole", PLAN)
    assert whole.run() == banks / "whole" / "best.npz"
    first = Trainer(banks / "parts", PLAN)
    step, seen = first.step_function, []

    class Stopping:
        sync = staticmethod(step.sync)

        def __call__(self, picture: np.ndarray, target: np.ndarray) -> float:
            if len(seen) == 5:
                raise KeyboardInterrupt
            seen.append(picture)
            return step(picture, target)

    first.step_function = Stopping()
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = Trainer(banks / "parts", PLAN)
    assert second.progress["step"] == 5
    second.run()
    one, two = (Checkpoint.load(banks / n / "latest.npz") for n in ("whole", "parts"))
    assert one.progress["step"] == two.progress["step"] == 12
    for kind in ("raw", "weights", "optimizer"):
        for a, b in zip(getattr(one, kind), getattr(two, kind), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-3)


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
