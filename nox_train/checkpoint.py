"""One file that holds a training as it stands, whole or not at all.

A checkpoint is an ``.npz`` without pickles: the network's plan and the progress
as JSON, the weights, the optimizer's state and the moving average.  It is
written to a temporary name and moved, so that ``kill -9`` leaves the old one.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nox_train.graph import pointwise
from nox_train.networks import build_generator
from nox_train.plans import GeneratorPlan

#: Key of the network's plan in the metadata of an exported model.
PLAN_KEY = "nox_train.plan"
_TRAINING_KEY = "nox.training"
_KINDS = ("weights", "raw", "optimizer", "judge", "judge_optimizer")


@dataclass
class Checkpoint:
    """What a checkpoint file says.

    ``weights`` are those to use (the moving average), ``raw`` those being trained;
    ``judge`` and ``judge_optimizer`` are the discriminator's, where there is one;
    ``progress`` holds step, seconds, seed and whatever else the loop needs.
    """

    plan: GeneratorPlan
    progress: dict[str, Any]
    weights: list[np.ndarray]
    raw: list[np.ndarray]
    optimizer: list[np.ndarray]
    judge: list[np.ndarray] = field(default_factory=list)
    judge_optimizer: list[np.ndarray] = field(default_factory=list)

    @property
    def told(self) -> str:
        """One line on the trainings behind the weights, the earliest first."""
        p = self.progress
        own = (
            f"{p.get('step', 0)} steps in {p.get('seconds', 0) / 60:.0f} minutes on "
            f"{p.get('data', 'synthetic stars')}, {p.get('summary', 'nox-train')}"
        )
        before = str(p.get("history", ""))
        if not before:
            return own
        return f"{before}; then {own}" if p.get("step") else before

    def save(self, path: Path) -> None:
        """Write atomically; all but ``weights`` may be empty in a released file."""
        path = Path(path)
        arrays = {
            f"{kind}_{i:03d}": value
            for kind in _KINDS
            for i, value in enumerate(getattr(self, kind))
        }
        facts = json.dumps({"plan": self.plan.as_dict(), "progress": self.progress})
        temporary = path.with_name(path.name + ".part")
        with open(temporary, "wb") as stream:
            np.savez(stream, facts=np.array(facts), **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        ValueError
            The file is no checkpoint of nox-train.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                facts = json.loads(str(file["facts"]))
                kinds = {kind: _numbered(file, kind) for kind in _KINDS}
            plan = GeneratorPlan.from_dict(facts["plan"])
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(
                f"{path}: not a checkpoint of nox-train ({error}); "
                "give the best.npz or latest.npz of a training's folder"
            ) from error
        return cls(plan, facts["progress"], **kinds)

    @classmethod
    def from_onnx(cls, path: Path) -> Checkpoint:
        """Read the weights back out of a model that nox-export wrote.

        Raises
        ------
        ValueError
            The model does not say what network it is.
        """
        import onnx
        from google.protobuf import message

        try:
            exported = onnx.load(str(path))
        except message.DecodeError as error:
            raise ValueError(
                f"{path}: not an ONNX model ({error}); give one that nox-export wrote"
            ) from error
        facts = {p.key: p.value for p in exported.metadata_props}
        if PLAN_KEY not in facts:
            raise ValueError(
                f"{path}: does not say what network it is; give a model that nox-export wrote"
            )
        plan = GeneratorPlan.from_dict(json.loads(facts[PLAN_KEY]))
        if plan.architecture != "residual":
            raise ValueError(
                f"{path}: weights of the architecture {plan.architecture!r} are not read back; "
                "give the best.npz that it was exported from"
            )
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in exported.graph.initializer}
        convolutions = [n for n in exported.graph.node if n.op_type in ("Conv", "ConvTranspose")]
        model = build_generator(plan)
        for layer in (x for x in model.layers if x.get_weights()):
            named = re.compile(rf"/{layer.name}(_\d+)?/")
            node = next(n for n in convolutions if named.search(n.name))
            kernel, *rest = (stored[name].astype(np.float32) for name in node.input[1:])
            # A bias of zeros is left out of the graph.
            grown = node.op_type == "ConvTranspose"
            bias = rest[0] if rest else np.zeros(kernel.shape[int(grown)], np.float32)
            if grown:
                kernel, bias = pointwise(kernel, bias)
            layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
        progress = {"step": 0, "history": json.loads(facts.get(_TRAINING_KEY, '""'))}
        return cls(plan, progress, model.get_weights(), [], [])

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """`load`, or `from_onnx` for an exported model."""
        return cls.from_onnx(path) if Path(path).suffix == ".onnx" else cls.load(path)

    def build(self) -> keras.Model:
        """The generator with the averaged weights, ready for use."""
        model = build_generator(self.plan)
        model.set_weights([w.astype(np.float32) for w in self.weights])
        return model


def mean(parts: Sequence[tuple[Checkpoint, float]]) -> Checkpoint:
    """The mean of networks that were trained from the same weights (Izmailov et al. 2018).

    Often better than any of them, and with two trainings of different aims a dial between
    these.  Too far apart, they cost each other everything: measure it.

    Parameters
    ----------
    parts : sequence of (Checkpoint, float)
        With their shares, above 0; they are divided by their sum.

    Raises
    ------
    ValueError
        Networks of different shapes, or a share that is not above 0 and finite.
    """
    plan = parts[0][0].plan
    if any(c.plan != plan for c, _ in parts):
        raise ValueError("the networks have different shapes; only equal ones have a mean")
    if not all(0 < share < np.inf for _, share in parts):
        raise ValueError("a share is not above 0 or has no end; give every part a share above 0")
    whole = sum(share for _, share in parts)
    weights = [
        np.asarray(sum(a * (share / whole) for a, (_, share) in zip(same, parts, strict=True)))
        for same in zip(*(c.weights for c, _ in parts), strict=True)
    ]
    told = " with ".join(f"{share / whole:.0%} of [{c.told}]" for c, share in parts)
    progress = {"step": 0, "history": told}
    return Checkpoint(plan, progress, [w.astype(np.float32) for w in weights], [], [])


def _numbered(file: Any, kind: str) -> list[np.ndarray]:
    """The arrays ``<kind>_<number>`` of an ``.npz``, in order."""
    parts = ((k.rpartition("_"), k) for k in file.files)
    found = sorted((int(number), k) for (name, _, number), k in parts if name == kind)
    return [file[k] for _, k in found]
