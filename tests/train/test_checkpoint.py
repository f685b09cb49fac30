from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from nox_runtime.model import find_model
from nox_train.checkpoint import Checkpoint, mean
from nox_train.cli import main
from nox_train.networks import build_generator
from nox_train.plans import GeneratorPlan
from nox_train.presets import PRESETS

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
    assert start.plan == PRESETS["shipped"].phases[-1].network
    assert "steps in" in start.told


def _filled(value: float, told: str, plan: GeneratorPlan = NETWORK) -> Checkpoint:
    weights = [np.full_like(w, value) for w in build_generator(plan).get_weights()]
    return Checkpoint(plan, {"step": 0, "history": told}, weights, [], [])


def test_the_mean_of_weights_goes_by_their_shares(tmp_path: Path) -> None:
    _filled(1, "first").save(tmp_path / "a.npz")
    _filled(5, "second").save(tmp_path / "b.npz")
    parts = [f"{tmp_path / 'a.npz'}=0.6", f"{tmp_path / 'b.npz'}=0.2"]
    assert main(["average", *parts, "-o", str(tmp_path / "mean.npz")]) == 0
    made = Checkpoint.load(tmp_path / "mean.npz")
    assert all(w.dtype == np.float32 and np.allclose(w, 2) for w in made.weights)
    assert made.told == "75% of [first] with 25% of [second]"
    assert main(["average", *(p.rpartition("=")[0] for p in parts),
                 "-o", str(tmp_path / "half.npz")]) == 0  # fmt: skip
    assert np.allclose(Checkpoint.load(tmp_path / "half.npz").weights[0], 3)
    before = (tmp_path / "a.npz").read_bytes()
    onto = ["average", *parts, "-o", str(tmp_path / "a.npz")]
    assert main(onto) == 1
    assert (tmp_path / "a.npz").read_bytes() == before
    assert main([*onto, "--overwrite"]) == 0
    assert np.allclose(Checkpoint.load(tmp_path / "a.npz").weights[0], 2)


def test_what_has_no_mean_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = _filled(1, "", GeneratorPlan(widths=(8, 8), bottom_blocks=1))
    with pytest.raises(ValueError, match="different shapes"):
        mean([(_filled(1, ""), 1), (other, 1)])
    for share in (-0.1, 0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="share above 0"):
            mean([(_filled(1, ""), 1), (_filled(1, ""), share)])
    _filled(1, "").save(tmp_path / "one.npz")
    other.save(tmp_path / "other.npz")
    files = [str(tmp_path / name) for name in ("one.npz", "other.npz")]
    assert main(["average", *files, "-o", str(tmp_path / "out.npz")]) == 1
    assert "other.npz: holds a network of another shape" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["average", "a.npz=much", "-o", str(tmp_path / "out.npz")])
    assert "'much' is no number" in capsys.readouterr().err
    assert main(["average", str(tmp_path / "a.npz"), "-o", str(tmp_path / "out.npz")]) == 1
    assert "a.npz" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()
