from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from nox_train import channels
from nox_train.checkpoint import Checkpoint
from nox_train.cli import main
from nox_train.networks import build_generator
from nox_train.plans import GeneratorPlan, TrainingPlan
from nox_train.training import Trainer

NETWORK = GeneratorPlan(widths=(8, 8, 8), bottom_blocks=1)
KILLED = {"down1": [2, 3, 5], "bottom0": list(range(16))}


@pytest.fixture
def scenes() -> np.ndarray:
    return np.random.default_rng(3).random((3, 48, 40, 3), np.float32)


@pytest.fixture
def dying() -> Checkpoint:
    """A network some of whose channels are below 0 whatever they see."""
    keras.utils.set_random_seed(4)
    model = build_generator(NETWORK)
    kernel, bias = model.get_layer("residual").get_weights()
    model.get_layer("residual").set_weights([50 * kernel, bias])  # so that it does something
    for name, which in KILLED.items():
        kernel, bias = model.get_layer(f"{name}_expand").get_weights()
        bias[which] = -1e3
        model.get_layer(f"{name}_expand").set_weights([kernel, bias])
    progress = {"step": 0, "history": "9 steps in 1 minutes"}
    return Checkpoint(NETWORK, progress, model.get_weights(), [], [])


def _answer(checkpoint: Checkpoint, scenes: np.ndarray) -> np.ndarray:
    return np.asarray(checkpoint.build()(scenes))


def _assert_same(made: np.ndarray, wanted: np.ndarray) -> None:
    """To a millionth of the largest value: sums of fewer channels are rounded otherwise."""
    np.testing.assert_allclose(made, wanted, atol=1e-6 * np.abs(wanted).max())


def test_dead_channels_are_counted(dying: Checkpoint, scenes: np.ndarray) -> None:
    found = channels.activity(dying, scenes)
    assert list(found) == ["down0", "down1", "bottom0", "up1", "up0"]
    assert {name: channels.alive(s) for name, s in found.items()} == {
        "down0": 16, "down1": 13, "bottom0": 0, "up1": 16, "up0": 16,
    }  # fmt: skip
    np.testing.assert_array_equal(np.flatnonzero(found["down1"] == 0), KILLED["down1"])


def test_a_network_without_its_dead_channels_answers_the_same(
    dying: Checkpoint, scenes: np.ndarray
) -> None:
    made = channels.resized(dying, (16, 13, 1, 16, 16), channels.activity(dying, scenes))
    assert made.plan == replace(NETWORK, hidden=(16, 13, 1, 16, 16))
    _assert_same(_answer(made, scenes), _answer(dying, scenes))
    assert np.abs(_answer(made, scenes) - scenes).max() > 0.01
    assert made.told == dying.told


def test_new_channels_add_nothing_and_can_learn(dying: Checkpoint, scenes: np.ndarray) -> None:
    strengths = channels.activity(dying, scenes)
    made = channels.resized(dying, (16, 16, 16, 24, 16), strengths, seed=5)
    _assert_same(_answer(made, scenes), _answer(dying, scenes))
    model = made.build()
    hidden = keras.Model(model.input, model.get_layer("bottom0_expand").output)
    assert (np.asarray(hidden(scenes)).max(axis=(0, 1, 2)) > 0).sum() > 12
    again = channels.resized(dying, (16, 16, 16, 24, 16), strengths, seed=5)
    for one, two in zip(made.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_strongest_channels_stay(dying: Checkpoint, scenes: np.ndarray) -> None:
    strengths = channels.activity(dying, scenes)
    made = channels.resized(dying, (4, 16, 16, 16, 16), strengths)
    left = channels.activity(made, scenes)["down0"]
    np.testing.assert_allclose(np.sort(left), np.sort(strengths["down0"])[-4:], rtol=1e-4)


def test_what_works_is_kept_in_sixteens() -> None:
    strengths = {"down0": np.r_[np.ones(17), np.zeros(47)], "up0": np.zeros(64), "x": np.ones(8)}
    assert channels.without_dead(strengths) == (32, 16, 8)


def test_weak_channels_can_be_left_out_as_well() -> None:
    weak = np.r_[np.ones(20), np.full(30, 1e-3), np.zeros(14)]
    assert (channels.alive(weak), channels.alive(weak, 0.002)) == (50, 20)
    assert channels.without_dead({"down0": weak}) == (64,)
    assert channels.without_dead({"down0": weak}, 0.002) == (32,)


def test_a_channel_for_something_rare_is_strong(dying: Checkpoint) -> None:
    dark, spot = np.zeros((2, 1, 64, 64, 3), np.float32)
    spot[0, 30:34, 30:34] = 1
    pictures = np.concatenate([dark] * 5 + [spot])
    alone, among = (channels.activity(dying, p) for p in (spot, pictures))
    for name in alone:
        assert np.all(among[name] >= alone[name])


def test_the_command_shows_and_writes(
    dying: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "dying.npz", tmp_path / "made.npz"
    dying.save(file)
    asked = ["channels", str(file), "--fields", "2", "--hidden", "16,24,8,16,16", "-o", str(out)]
    assert main(asked) == 0
    head, *rows, _ = capsys.readouterr().out.splitlines()
    assert head.split() == ["block", "channels", "at", "work"]
    assert rows[2].split() == ["bottom0", "16", "0"]
    assert Checkpoint.load(out).plan.hidden == (16, 24, 8, 16, 16)


def test_numbers_that_do_not_fit_are_named(
    dying: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dying.npz"
    dying.save(file)
    assert main(["channels", str(file), "--hidden", "16,24"]) == 1
    told = capsys.readouterr().err
    assert "dying.npz: hidden is (16, 24); it must be 5 numbers above 0" in told
    assert "down0 down1 bottom0 up1 up0" in told
    assert main(["channels", str(file), "--below", "1"]) == 1
    assert "--below is 1; it must be 0 to below 1" in capsys.readouterr().err
    original = replace(NETWORK, architecture="original", unshuffle=1, bottom_blocks=0)
    with pytest.raises(ValueError, match=r"x\.npz: a network of the architecture 'original'"):
        channels.check(original, None, Path("x.npz"))


def test_a_training_begins_dead_channels_anew(
    dying: Checkpoint, banks: Path, tmp_path: Path, tiny: TrainingPlan
) -> None:
    start = tmp_path / "dying.npz"
    dying.save(start)
    network = replace(NETWORK, hidden=(16, 16, 8, 16, 16))
    plan = replace(tiny, network=network, steps=2, warm_up=0, revive=True)
    with pytest.raises(ValueError, match="holds a network of another shape"):
        Trainer(banks / "not-revived", replace(plan, revive=False), start)
    Trainer(banks / "revived", plan, start).run()
    trainer = Trainer(banks / "revived", replace(plan, steps=3))
    trainer.run()
    made = Checkpoint.load(banks / "revived" / "latest.npz")
    assert made.progress["step"] == 3
    found = channels.activity(made, trainer.held_out.inputs[:4])
    assert channels.alive(found["bottom0"]) > 4


def test_frozen_layers_stay_as_they_are(
    dying: Checkpoint, banks: Path, tmp_path: Path, tiny: TrainingPlan
) -> None:
    start = tmp_path / "dying.npz"
    dying.save(start)
    plan = replace(tiny, steps=4, warm_up=0, frozen=("stem", "down0", "residual"))
    Trainer(banks / "frozen", replace(plan, steps=2), start).run()
    Trainer(banks / "frozen", plan).run()
    made = Checkpoint.load(banks / "frozen" / "latest.npz")
    for weights in (made.weights, made.raw):
        model = Checkpoint(NETWORK, {}, weights, [], []).build()
        before = dying.build()
        for layer in (x for x in model.layers if x.get_weights()):
            same = layer.name.startswith(plan.frozen)
            for a, b in zip(
                layer.get_weights(), before.get_layer(layer.name).get_weights(), strict=True
            ):
                if same:
                    np.testing.assert_array_equal(a, b, layer.name)
                elif np.any(b):
                    assert not np.array_equal(a, b), layer.name
    with pytest.raises(ValueError, match="a training with other frozen layers"):
        Trainer(banks / "frozen", replace(plan, frozen=()))
    with pytest.raises(ValueError, match="no layer's name begins with 'middle'; they are stem"):
        Trainer(banks / "misnamed", replace(plan, frozen=("middle",)))
