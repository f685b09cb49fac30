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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nox_train.networks import build_generator
from nox_train.plans import GeneratorPlan

#: Key of the network's plan in the metadata of an exported model.
PLAN_KEY = "nox_train.plan"


@dataclass
class Checkpoint:
    """What a checkpoint file says.

    ``weights`` are those to use (the moving average), ``raw`` those being trained;
    ``progress`` holds step, seconds, seed and whatever else the loop needs.
    """

    plan: GeneratorPlan
    progress: dict[str, Any]
    weights: list[np.ndarray]
    raw: list[np.ndarray]
    optimizer: list[np.ndarray]

    def save(self, path: Path) -> None:
        """Write atomically; ``raw`` and ``optimizer`` may be empty in a released file."""
        path = Path(path)
        arrays = {
            f"{kind}_{i:03d}": value
            for kind in ("weights", "raw", "optimizer")
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
                kinds = {
                    kind: [file[k] for k in sorted(file.files) if k.startswith(kind + "_")]
                    for kind in ("weights", "raw", "optimizer")
                }
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

        exported = onnx.load(str(path))
        facts = {p.key: p.value for p in exported.metadata_props}
        if PLAN_KEY not in facts:
            raise ValueError(
                f"{path}: does not say what network it is; give a model that nox-export wrote"
            )
        plan = GeneratorPlan.from_dict(json.loads(facts[PLAN_KEY]))
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in exported.graph.initializer}
        convolutions = [n for n in exported.graph.node if n.op_type == "Conv"]
        model = build_generator(plan)
        for layer in (x for x in model.layers if x.get_weights()):
            named = re.compile(rf"/{layer.name}(_\d+)?/")
            node = next(n for n in convolutions if named.search(n.name))
            kernel, *rest = (stored[name] for name in node.input[1:])
            # A bias of zeros is left out of the graph.
            bias = rest[0] if rest else np.zeros(kernel.shape[0], np.float32)
            layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
        return cls(plan, {"step": 0}, model.get_weights(), [], [])

    def build(self) -> keras.Model:
        """The generator with the averaged weights, ready for use."""
        model = build_generator(self.plan)
        model.set_weights([w.astype(np.float32) for w in self.weights])
        return model
