"""The training loop: one for every network, every stage and every Keras backend."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from nox_train import channels, dataset, losses, own, replay, training_log
from nox_train.backends import make_step
from nox_train.checkpoint import Checkpoint
from nox_train.discriminators import build_discriminator
from nox_train.networks import build_generator
from nox_train.plans import BankPlan, TrainingPlan
from nox_train.training_log import COLUMNS
from nox_train.validation import ValidationSet, rank

__all__ = ["COLUMNS", "Trainer", "learning_rate", "run_phases"]


def learning_rate(plan: TrainingPlan, step: int, done: float) -> float:
    """Linear warm-up, then half a cosine down to a hundredth.

    ``done`` is the share of the training that is over, 0 to 1.
    """
    warm = min(1.0, (step + 1) / plan.warm_up) if plan.warm_up else 1.0
    return plan.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(v.value)) for v in variables]


class Trainer:
    """One training in one folder: ``latest.npz``, ``best.npz``, ``log.csv``, pictures.

    Given a folder with a ``latest.npz``, it goes on where that was written: the
    same weights, optimizers, moving average, schedule and stream of scenes.

    Parameters
    ----------
    folder : Path
        Made where missing; the banks of scenes are kept beside it.
    plan : TrainingPlan
    start_from : Path, optional
        A checkpoint or an exported model whose weights are the first ones; not looked at
        where the folder's own training goes on.

    Raises
    ------
    ValueError
        The folder or `start_from` holds a training of another kind.
    """

    def __init__(self, folder: Path, plan: TrainingPlan, start_from: Path | None = None) -> None:
        self.folder, self.plan = Path(folder), plan
        self.folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(plan.seed)
        half = plan.precision == "bfloat16"
        keras.mixed_precision.set_global_policy("mixed_bfloat16" if half else "float32")
        self.model = build_generator(plan.network, with_raw=True)
        _freeze(self.model, plan.frozen)
        self.shown = build_generator(plan.network)  # carries the averaged weights
        self.optimizer = keras.optimizers.AdamW(
            plan.rate, weight_decay=1e-4, global_clipnorm=1.0, use_ema=True,
            ema_momentum=plan.average, ema_overwrite_frequency=None,
        )  # fmt: skip
        self.judge: keras.Model | None = None
        self.judge_optimizer: keras.Optimizer | None = None
        measure: losses.Regression | losses.Adversarial
        if plan.loss.judged:
            self.judge = build_discriminator(plan.discriminator, plan.network.channels)
            self.judge_optimizer = keras.optimizers.AdamW(
                plan.rate, beta_1=0.5, weight_decay=1e-4, global_clipnorm=1.0
            )
            measure = losses.Adversarial(
                self.model, self.judge, plan.loss, plan.discriminator.feature_weights
            )
        else:
            measure = losses.Regression(self.model, plan.loss)
        players = [(self.model, self.optimizer)]
        if self.judge is not None:
            players.append((self.judge, self.judge_optimizer))
        for model, optimizer in players:
            optimizer.build(model.trainable_variables)
        self.step_function = make_step(players, replay.unpacking(measure))
        self._found: tuple[Any, ...] = ()
        self._reviving: Checkpoint | None = None
        self.progress: dict[str, Any] = {"step": 0, "seconds": 0.0, "seed": plan.seed, "best": None}
        latest = self.folder / "latest.npz"
        if latest.exists():
            self._resume(Checkpoint.load(latest))
        elif start_from is not None:
            self._start_from(Path(start_from))
        training_log.trim(self.folder / "log.csv", self.progress["step"])

    def _start_from(self, path: Path) -> None:
        start = Checkpoint.read(path)
        network = self.plan.network
        if self.plan.revive:
            network = replace(network, hidden=start.plan.hidden)
            self._reviving = start
        if start.plan != network:
            raise ValueError(
                f"{path}: holds a network of another shape ({start.plan}); "
                "choose the preset that it was trained with"
            )
        if not self.plan.revive:
            self.model.set_weights(start.build().get_weights())
        self.progress["history"] = start.told

    def _revive(self) -> None:
        """Begin with the first weights, dead channels anew; scenes tell which those are."""
        start, plan = self._reviving, self.plan
        if start is not None:
            strengths = channels.activity(start, self.held_out.inputs)
            hidden = tuple(plan.network.inner.values())
            made = channels.resized(start, hidden, strengths, plan.seed)
            self.model.set_weights(made.weights)
            self._reviving = None

    def _resume(self, checkpoint: Checkpoint) -> None:
        latest = self.folder / "latest.npz"
        if checkpoint.plan != self.plan.network:
            raise ValueError(
                f"{latest}: holds a network of another shape "
                f"({checkpoint.plan}); give another folder or the same network"
            )
        if tuple(checkpoint.progress.get("frozen", ())) != self.plan.frozen:
            raise ValueError(
                f"{latest}: holds a training with other frozen layers; give another folder, and "
                "this one's best.npz as --start-from"
            )
        if checkpoint.progress.get("discriminator") != self._judge_facts():
            raise ValueError(
                f"{latest}: holds a training {'with' if checkpoint.judge else 'without'} a "
                "discriminator, or with another one; give another folder, and this one's "
                "best.npz as --start-from"
            )
        self.model.set_weights(checkpoint.raw)
        _assign(self.optimizer, checkpoint.optimizer)
        if self.judge is not None:
            self.judge.set_weights(checkpoint.judge)
            _assign(self.judge_optimizer, checkpoint.judge_optimizer)
        self.progress = checkpoint.progress

    def _judge_facts(self) -> dict | None:
        """The discriminator's shape as a checkpoint gives it back, or None without one."""
        if self.judge is None:
            return None
        shape: dict = json.loads(json.dumps(replace(self.plan.discriminator, rate=0.0).as_dict()))
        return shape

    def averaged(self) -> list[np.ndarray]:
        """The moving average of the weights (the weights themselves at the start)."""
        if not self.progress["step"]:
            return list(self.model.get_weights())
        self.step_function.sync()
        averages = _values(self.optimizer._model_variables_moving_average)
        pairs = zip(self.model.trainable_variables, averages, strict=True)
        found = {id(variable): average for variable, average in pairs}

        def average(variable: Any) -> np.ndarray:
            value = found.get(id(variable), variable.value)  # frozen ones have none
            if variable.constraint:  # the average goes by the weights before it
                value = variable.constraint(value)
            return np.asarray(keras.ops.convert_to_numpy(value))

        return [average(variable) for variable in self.model.weights]

    def checkpoint(self, *, whole: bool = True) -> Checkpoint:
        """The training as it stands; not `whole`: only what is needed to use the model."""
        progress = {
            **self.progress, "discriminator": self._judge_facts(), "frozen": self.plan.frozen,
        }  # fmt: skip
        kept = Checkpoint(self.plan.network, progress, self.averaged(), [], [])
        if whole:  # averaged() has brought models and optimizers up to date
            kept.raw, kept.optimizer = self.model.get_weights(), _values(self.optimizer.variables)
            if self.judge is not None and self.judge_optimizer is not None:
                kept.judge = self.judge.get_weights()
                kept.judge_optimizer = _values(self.judge_optimizer.variables)
        return kept

    def done(self) -> float:
        """Share of the training that is over, 0 to 1."""
        if self.plan.steps:
            return self.progress["step"] / self.plan.steps
        return self.progress["seconds"] / (60 * self.plan.minutes)

    def _prepare(self) -> Path:
        """Make scenes to train on and to validate with; return the bank's folder."""
        plan, p = self.plan, self.progress
        bank, other = (
            dataset.build_bank(self.folder.parent / _bank_name(b), b, max(2, plan.workers))
            for b in (plan.bank, plan.held_out)
        )
        count = plan.network.channels
        self.held_out = ValidationSet(dataset.Bank(other), channels=count)
        self._revive()
        self.own_held_out: ValidationSet | None = None
        self.opener: Any = dataset.Bank
        if plan.own:
            side = max(plan.sizes or (plan.size,))
            folder = self.folder / "own"
            kept = own.prepare(folder, plan.own, side)
            p["data"] = f"synthetic stars and {kept['told']}"
            theirs = own.open_own(folder, plan.own, other, held_out=True)
            self.own_held_out = ValidationSet(theirs, 24, side, count)
            self.opener = own.opener(folder, plan.own)
            self._score_again(kept["stamp"])
        if p.get("held_out") != other.name:  # scores on other scenes do not compare
            p["held_out"], p["best"] = other.name, None
            p.pop("start", None)
        return bank

    def _score_again(self, stamp: str) -> None:
        """Where the user's pictures are others than before, what the best scores on these."""
        p, best = self.progress, self.folder / "best.npz"
        if p.get("own", stamp) != stamp and p["best"] is not None and best.exists():
            assert self.own_held_out is not None
            self.shown.set_weights(Checkpoint.load(best).weights)
            p["best"] = float(self.own_held_out.measure(self.shown)[0]["psnr_stars"])
        p["own"] = stamp

    def _stream(self, bank: Path, count: int, size: int) -> replay.Replay:
        """Batches from the present step on."""
        plan, start = self.plan, self.progress["step"]
        fresh = dataset.Stream(
            bank, seed=plan.seed, start=start, count=count, size=size, workers=plan.workers,
            ahead=6 * plan.workers, opener=self.opener, packed=plan.reuse > 1,
        )  # fmt: skip
        return replay.Replay(fresh, plan.reuse, plan.network.channels, seed=plan.seed, start=start)

    def _batches(self, bank: Path) -> Iterator[tuple[Any, Any]]:
        """Batches from the present step on, in patches of the present stage's size."""
        stage, batches = (0, 0), None
        try:
            while True:
                if batches is None or self.plan.stage(self.done()) != stage:
                    if batches is not None:
                        batches.close()
                    stage = self.plan.stage(self.done())
                    batches = self._stream(bank, *stage)
                yield next(batches)
        finally:
            if batches is not None:
                batches.close()

    def _validate(self, loss: float | None = None, judge: float | None = None) -> None:
        p = self.progress
        self.shown.set_weights(self.averaged())
        scores, picture = self.held_out.measure(self.shown)
        theirs = None
        if self.own_held_out is not None:
            theirs, picture = self.own_held_out.measure(self.shown)
        p.setdefault("start", scores)
        rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        training_log.add(self.folder / "log.csv", {
            "step": p["step"], "seconds": p["seconds"], "megapixels": self._pixels() / 1e6,
            "rate": rate, "loss": loss, **scores, "judge": judge,
            "own_stars": theirs["psnr_stars"] if theirs else None,
        })  # fmt: skip
        picture.save(self.folder / "validation.png")
        tqdm.write(_said(p["step"], loss, scores, theirs), file=sys.stderr)
        # From no weights at all there is nothing to lose.
        judged = self.judge is not None and bool(p.get("history"))
        found = rank(scores, theirs, p["start"], judged=judged)
        if p["best"] is None or found > p["best"]:
            p["best"] = float(found)
            self.checkpoint(whole=False).save(self.folder / "best.npz")
        self.checkpoint().save(self.folder / "latest.npz")

    def _pixels(self) -> float:
        """Pixels seen so far; checkpoints of earlier versions do not tell."""
        p = self.progress
        return float(p.get("pixels", p["step"] * self.plan.batch * self.plan.size**2))

    def _train_on(self, picture: Any, target: Any) -> tuple[float, ...]:
        plan, p = self.plan, self.progress
        rate = learning_rate(plan, p["step"], self.done())
        self.optimizer.learning_rate = rate
        if self.judge_optimizer is not None:
            self.judge_optimizer.learning_rate = rate * plan.discriminator.rate
        # One step late, so that a GPU does not wait for the next one to be sent.
        late, self._found = self._found, self.step_function(picture, target)
        found = tuple(float(value) for value in late or self._found)
        if not all(math.isfinite(value) for value in found):
            raise FloatingPointError(
                f"{self.folder}: the loss became {found[0]} at step {p['step']}; "
                "train with a smaller --rate from latest.npz"
            )
        p["pixels"] = self._pixels() + math.prod(picture.shape[:3])
        p["step"] += 1
        return found

    def run(self) -> Path:
        """Train to the end; return the path of the best checkpoint."""
        plan, p = self.plan, self.progress
        if self.done() >= 1.0 and (self.folder / "best.npz").exists():
            return self.folder / "best.npz"
        bank = self._prepare()
        if not p["step"] and p.get("history") and (plan.own or self.judge is not None):
            self._validate()  # what may not be lost
        batches = self._batches(bank)
        layout = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        bar = tqdm(total=100.0, initial=100 * min(1, self.done()), smoothing=0, bar_format=layout)
        means: tuple[float, ...] = ()
        saved = checked = p["seconds"]
        while self.done() < 1.0:
            began = time.monotonic()
            found = self._train_on(*next(batches))
            means = means or found
            means = tuple(0.98 * a + 0.02 * b for a, b in zip(means, found, strict=True))
            p["seconds"] += time.monotonic() - began
            bar.set_postfix(step=p["step"], loss=f"{means[0]:.5f}", refresh=False)
            bar.update(100 * min(1.0, self.done()) - bar.n)
            if p["seconds"] - checked > 60 * plan.validate_every:
                self._validate(*means)
                checked = saved = p["seconds"]
            elif p["seconds"] - saved > 60 * plan.checkpoint_every:
                self.checkpoint().save(self.folder / "latest.npz")
                saved = p["seconds"]
        batches.close()  # type: ignore[attr-defined]
        bar.close()
        self._validate(*means)
        return self.folder / "best.npz"


def run_phases(folder: Path, phases: Sequence[TrainingPlan], start_from: Path | None) -> Path:
    """One training after the other, each from the best weights of the one before.

    A single phase is trained in `folder` itself, several in ``phase-1``, ``phase-2``, ...
    in it.  What is finished is not trained again.

    Returns
    -------
    Path
        The best checkpoint of the last phase.
    """
    if len(phases) == 1:
        return Trainer(folder, phases[0], start_from).run()
    for k, plan in enumerate(phases, 1):
        tqdm.write(f"phase {k} of {len(phases)}", file=sys.stderr)
        # Each has scenes of its own: equal seeds draw equal batches.
        plan = replace(plan, seed=plan.seed + k - 1)
        start_from = Trainer(Path(folder) / f"phase-{k}", plan, start_from).run()
        keras.backend.clear_session()
    assert start_from is not None
    return start_from


def _freeze(model: keras.Model, names: tuple[str, ...]) -> None:
    """Leave the layers whose names begin so out of the training."""
    layers = [x for x in model.layers if x.get_weights()]
    for name in names:
        chosen = [x for x in layers if x.name.startswith(name)]
        if not chosen:
            known = " ".join(x.name for x in layers)
            raise ValueError(f"no layer's name begins with {name!r}; they are {known}")
        for layer in chosen:
            layer.trainable = False


def _assign(optimizer: Any, values: list[np.ndarray]) -> None:
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)


def _said(step: int, loss: float | None, scores: dict, theirs: dict | None) -> str:
    """A validation in a line."""
    text = f"step {step}: " + (f"loss {loss:.5f}, " if loss is not None else "")
    text += (
        f"PSNR {scores['psnr']:.2f} dB, on stars {scores['psnr_stars']:.2f} dB, elsewhere "
        f"{scores['psnr_sky']:.2f} dB, {scores['removed']:.1%} of star light removed, grain "
        f"{scores['grain']:.2f}"
    )
    if theirs:
        text += f"; on your own stars {theirs['psnr_stars']:.2f} dB"
    return text


def _bank_name(plan: BankPlan) -> str:
    digest = hashlib.sha256(repr(sorted(asdict(plan).items())).encode()).hexdigest()
    return f"bank-{'held-out-' if plan.held_out else ''}{digest[:8]}"
