"""The training loop: one for every network and every Keras backend."""

from __future__ import annotations

import csv
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from nox_train import dataset, losses
from nox_train.backends import make_step
from nox_train.checkpoint import Checkpoint
from nox_train.networks import build_generator
from nox_train.plans import BankPlan, TrainingPlan
from nox_train.validation import ValidationSet

COLUMNS = (
    "step", "seconds", "megapixels", "rate", "loss", "psnr", "psnr_stars", "psnr_sky", "removed",
)  # fmt: skip


def learning_rate(plan: TrainingPlan, step: int, done: float) -> float:
    """Linear warm-up over 200 steps, then half a cosine down to a hundredth.

    ``done`` is the share of the training that is over, 0 to 1.
    """
    warm = min(1.0, (step + 1) / 200)
    return plan.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


class Trainer:
    """One training in one folder: ``latest.npz``, ``best.npz``, ``log.csv``, pictures.

    Given a folder with a ``latest.npz``, it goes on where that was written: the
    same weights, optimizer, moving average, schedule and stream of scenes.
    """

    def __init__(self, folder: Path, plan: TrainingPlan, start_from: Path | None = None) -> None:
        self.folder, self.plan = Path(folder), plan
        self.folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(plan.seed)
        if plan.precision == "bfloat16":
            keras.mixed_precision.set_global_policy("mixed_bfloat16")
        self.model = build_generator(plan.network, with_raw=True)
        self.shown = build_generator(plan.network)  # carries the averaged weights
        self.optimizer = keras.optimizers.AdamW(
            plan.rate, weight_decay=1e-4, global_clipnorm=1.0, use_ema=True,
            ema_momentum=plan.average, ema_overwrite_frequency=None,
        )  # fmt: skip
        self.optimizer.build(self.model.trainable_variables)
        self.step_function = make_step(self.model, self.optimizer, losses.regression)
        self.progress: dict[str, Any] = {"step": 0, "seconds": 0.0, "seed": plan.seed, "best": -1.0}
        latest = self.folder / "latest.npz"
        if latest.exists():
            self._resume(Checkpoint.load(latest))
        elif start_from is not None:
            read = Checkpoint.from_onnx if start_from.suffix == ".onnx" else Checkpoint.load
            start = read(start_from)
            if start.plan != plan.network:
                raise ValueError(
                    f"{start_from}: holds a network of another shape ({start.plan}); "
                    "choose the preset that it was trained with"
                )
            self.model.set_weights(start.build().get_weights())
        self._trim_log()

    def _resume(self, checkpoint: Checkpoint) -> None:
        if checkpoint.plan != self.plan.network:
            raise ValueError(
                f"{self.folder / 'latest.npz'}: holds a network of another shape "
                f"({checkpoint.plan}); give another folder or the same network"
            )
        self.model.set_weights(checkpoint.raw)
        for variable, value in zip(self.optimizer.variables, checkpoint.optimizer, strict=True):
            variable.assign(value)
        self.progress = checkpoint.progress

    def _trim_log(self) -> None:
        """Drop the rows that came after the checkpoint: they will be run again."""
        path = self.folder / "log.csv"
        rows: list[list[str]] = []
        if path.exists():
            with open(path, newline="") as stream:
                rows = [r for r in list(csv.reader(stream))[1:] if r]
        kept = [r for r in rows if int(r[0]) <= self.progress["step"]]
        with open(path, "w", newline="") as stream:
            csv.writer(stream).writerows([COLUMNS, *kept])

    def averaged(self) -> list[np.ndarray]:
        """The moving average of the weights (the weights themselves at the start)."""
        if not self.progress["step"]:
            return list(self.model.get_weights())
        self.step_function.sync()
        averages = self.optimizer._model_variables_moving_average
        return [np.asarray(keras.ops.convert_to_numpy(v.value)) for v in averages]

    def checkpoint(self, *, whole: bool = True) -> Checkpoint:
        """The training as it stands; not `whole`: only what is needed to use the model."""
        kept = Checkpoint(self.plan.network, self.progress, self.averaged(), [], [])
        if whole:  # averaged() has brought model and optimizer up to date
            values = (keras.ops.convert_to_numpy(v.value) for v in self.optimizer.variables)
            kept.raw, kept.optimizer = self.model.get_weights(), [np.asarray(v) for v in values]
        return kept

    def done(self) -> float:
        """Share of the training that is over, 0 to 1."""
        if self.plan.steps:
            return self.progress["step"] / self.plan.steps
        return self.progress["seconds"] / (60 * self.plan.minutes)

    def _validate(self, held_out: ValidationSet, loss: float) -> None:
        self.shown.set_weights(self.averaged())
        scores, picture = held_out.measure(self.shown)
        p = self.progress
        pixels = p["step"] * self.plan.batch * self.plan.size**2 / 1e6
        rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        row = [p["step"], f"{p['seconds']:.0f}", f"{pixels:.1f}", f"{rate:.2e}", f"{loss:.5f}"]
        row += [f"{scores[name]:.4f}" for name in COLUMNS[5:]]
        with open(self.folder / "log.csv", "a", newline="") as stream:
            csv.writer(stream).writerow(row)
        picture.save(self.folder / "validation.png")
        tqdm.write(
            f"step {p['step']}: loss {loss:.5f}, PSNR {scores['psnr']:.2f} dB, on stars "
            f"{scores['psnr_stars']:.2f} dB, elsewhere {scores['psnr_sky']:.2f} dB, "
            f"{scores['removed']:.1%} of star light removed",
            file=sys.stderr,
        )
        if scores["psnr_stars"] > p["best"]:
            p["best"] = float(scores["psnr_stars"])
            self.checkpoint(whole=False).save(self.folder / "best.npz")
        self.checkpoint().save(self.folder / "latest.npz")

    def run(self) -> Path:
        """Train to the end; return the path of the best checkpoint."""
        plan, p = self.plan, self.progress
        if self.done() >= 1.0 and (self.folder / "best.npz").exists():
            return self.folder / "best.npz"
        bank, other = (
            dataset.build_bank(self.folder.parent / _bank_name(b), b, max(2, plan.workers))
            for b in (plan.bank, plan.held_out)
        )
        held_out = ValidationSet(dataset.Bank(other))
        if p.get("held_out") != other.name:  # scores on other scenes do not compare
            p["held_out"], p["best"] = other.name, -1.0
        batches = dataset.stream(
            bank, seed=plan.seed, start=p["step"], count=plan.batch, size=plan.size,
            workers=plan.workers, ahead=6 * plan.workers,
        )  # fmt: skip
        layout = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        bar = tqdm(total=100.0, initial=100 * min(1, self.done()), smoothing=0, bar_format=layout)
        loss, saved, checked = 0.0, p["seconds"], p["seconds"]
        while self.done() < 1.0:
            began = time.monotonic()
            picture, target = next(batches)
            self.optimizer.learning_rate = learning_rate(plan, p["step"], self.done())
            value = self.step_function(picture, target)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{self.folder}: the loss became {value} at step {p['step']}; "
                    "train with a smaller --rate from latest.npz"
                )
            loss = value if not p["step"] else 0.98 * loss + 0.02 * value
            p["step"] += 1
            p["seconds"] += time.monotonic() - began
            bar.set_postfix(step=p["step"], loss=f"{loss:.5f}", refresh=False)
            bar.update(100 * min(1.0, self.done()) - bar.n)
            if p["seconds"] - checked > 60 * plan.validate_every:
                self._validate(held_out, loss)
                checked = saved = p["seconds"]
            elif p["seconds"] - saved > 60 * plan.checkpoint_every:
                self.checkpoint().save(self.folder / "latest.npz")
                saved = p["seconds"]
        batches.close()  # type: ignore[attr-defined]
        bar.close()
        self._validate(held_out, loss)
        return self.folder / "best.npz"


def _bank_name(plan: BankPlan) -> str:
    import hashlib

    digest = hashlib.sha256(repr(sorted(asdict(plan).items())).encode()).hexdigest()
    return f"bank-{'held-out-' if plan.held_out else ''}{digest[:8]}"
