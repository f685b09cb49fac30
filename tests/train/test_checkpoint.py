from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from nox_runtime.model import find_model
from nox_train.checkpoint import Checkpoint
from nox_train.networks import build_generator
from nox_train.plans import GeneratorPlan

NETWORK = GeneratorPlan(widths=(8, 8, 8), bottom_blocks=1)


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


def test_a_discriminator_comes_back_apart_from_its_optimizer(tmp_path: Path) -> None:
    numbers = [np.full(2, i, np.float32) for i in range(1001)]
    kept = Checkpoint(NETWORK, {}, [], [], numbers[:3], numbers[3:5], numbers)
    kept.save(tmp_path / "a.npz")
    again = Checkpoint.load(tmp_path / "a.npz")
    for kind in ("optimizer", "judge", "judge_optimizer"):
        np.testing.assert_array_equal(getattr(again, kind), getattr(kept, kind))


def test_checkpoints_of_earlier_versions_are_read(tmp_path: Path) -> None:
    facts = (
        '{"plan": {"widths": [8, 8, 8], "bottom_blocks": 1, "unshuffle": 2, "channels": 3, '
        '"head": "subtract"}, "progress": {"step": 5, "seconds": 60.0, "seed": 1, "best": -1.0}}'
    )
    weights = build_generator(NETWORK).get_weights()
    arrays = {f"weights_{i:03d}": w for i, w in enumerate(weights)}
    np.savez(tmp_path / "old.npz", facts=np.array(facts), **arrays)
    old = Checkpoint.load(tmp_path / "old.npz")
    assert old.plan == NETWORK
    assert old.judge == []
    np.testing.assert_array_equal(old.build().get_weights()[0], weights[0])


def test_trainings_tell_their_history() -> None:
    first = Checkpoint(NETWORK, {"step": 5, "seconds": 120}, [], [], [])
    assert first.told == "5 steps in 2 minutes on synthetic stars, nox-train"
    second = Checkpoint(NETWORK, {"step": 0, "history": first.told}, [], [], [])
    assert second.told == first.told
    second.progress |= {"step": 7, "seconds": 60, "data": "synthetic stars and 2 own pairs"}
    assert second.told == (
        f"{first.told}; then 7 steps in 1 minutes on synthetic stars and 2 own pairs, nox-train"
    )


def test_what_is_no_model_is_one_clear_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"\xff\xff\xff no")
    with pytest.raises(ValueError, match=r"wrong\.onnx: not an ONNX model"):
        Checkpoint.read(wrong)


def test_the_shipped_model_is_read_back_with_its_history() -> None:
    start = Checkpoint.read(find_model(None))
    assert start.plan == GeneratorPlan()
    assert "steps in" in start.told
