from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from nox_train.discriminators import build_discriminator
from nox_train.networks import OneBias, build_generator
from nox_train.plans import DiscriminatorPlan, GeneratorPlan
from nox_train.presets import PRESETS

NETWORK = GeneratorPlan(widths=(8, 8, 8), bottom_blocks=1)
ORIGINAL = GeneratorPlan(widths=(4, 6, 8), bottom_blocks=0, unshuffle=1, architecture="original")


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


def test_blocks_have_the_hidden_channels_of_their_plan() -> None:
    plan = replace(NETWORK, hidden=(8, 12, 24, 4, 16))
    assert plan.blocks == ("down0", "down1", "bottom0", "up1", "up0")
    model = build_generator(plan)
    for name, count in zip(plan.blocks, plan.hidden, strict=True):
        assert model.get_layer(f"{name}_expand").filters == count == plan.inner[name]
    assert set(NETWORK.inner.values()) == {16}


def test_heads_are_named() -> None:
    with pytest.raises(ValueError, match="head is 'add'; it must be one of"):
        GeneratorPlan(head="add")


def test_plans_come_back_from_json() -> None:
    hidden = replace(NETWORK, hidden=(8, 12, 16, 4, 8))
    for plan in (NETWORK, ORIGINAL, replace(NETWORK, channels=1), hidden):
        assert GeneratorPlan.from_dict(plan.as_dict()) == plan
    judge = DiscriminatorPlan(feature_weights=(0.5, 1.0))
    assert DiscriminatorPlan.from_dict(judge.as_dict()) == judge
    # Checkpoints of earlier versions name neither the architecture nor hidden channels.
    old = {k: v for k, v in NETWORK.as_dict().items() if k not in ("architecture", "hidden")}
    assert GeneratorPlan.from_dict(old) == NETWORK


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "unet"}, "architecture is 'unet'; it must be one of"),
        ({"channels": 2}, "channels is 2; it must be 1 or 3"),
        ({"hidden": (8, 8)}, r"hidden is \(8, 8\); it must be 5 numbers above 0, of the blocks"),
    ],
)
def test_bad_networks_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(NETWORK, **change)


def test_the_original_networks_are_of_the_published_size() -> None:
    (plan,) = PRESETS["original"].phases
    assert plan.network.multiple == 256
    assert build_generator(plan.network).count_params() == 54_420_483
    assert build_discriminator(plan.discriminator, 3).count_params() == 1_773_857


def test_the_original_generator_darkens_alone() -> None:
    model = build_generator(ORIGINAL, with_raw=True)
    picture = np.random.default_rng(0).random((1, 16, 24, 3), np.float32)
    made, raw = (np.asarray(x) for x in model(picture))
    assert made.shape == picture.shape
    np.testing.assert_array_equal(made, np.minimum(picture, raw))
    assert (raw > picture).any()
    assert (made < picture).any()


@pytest.mark.parametrize("architecture", ["patch", "original"])
def test_a_discriminator_gives_verdicts_and_features(architecture: str) -> None:
    plan = DiscriminatorPlan(widths=(4, 6, 8, 8), architecture=architecture)
    model = build_discriminator(plan, 3)
    rng = np.random.default_rng(1)
    picture, candidate = (rng.random((2, 32, 48, 3), np.float32) for _ in range(2))
    verdict, *features = model([picture, candidate])
    assert [f.shape[-1] for f in features] == [4, 6, 8, 8]
    assert verdict.shape[0] == 2
    assert verdict.shape[-1] == 1
    assert verdict.shape[1:3] == features[-1].shape[1:3]
    other = np.asarray(model([1 - picture, candidate])[0])
    sees_the_input = not np.array_equal(other, verdict)
    assert sees_the_input == (architecture == "patch")


def test_the_discriminator_sees_grain() -> None:
    """Noise of a hundredth of the range changes its features as a third of it elsewhere does."""
    model = build_discriminator(DiscriminatorPlan(widths=(16, 16, 16)), 3)
    flat = np.full((1, 64, 64, 3), 0.2, np.float32)
    grain = flat + np.random.default_rng(2).normal(0, 0.01, flat.shape).astype(np.float32)
    first = [np.asarray(model([flat, x])[1]) for x in (flat, flat + 0.01, grain)]
    brighter, grainy = (float(np.abs(x - first[0])[:, 4:-4, 4:-4].mean()) for x in first[1:])
    assert grainy > 3 * brighter


def test_the_pixels_that_one_grows_into_share_a_bias() -> None:
    model = build_generator(NETWORK)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(6)
    steps = [rng.standard_normal(v.shape).astype(np.float32) for v in model.trainable_variables]
    optimizer.apply([keras.ops.convert_to_tensor(s) for s in steps], model.trainable_variables)
    for level in (0, 1):
        _, bias = model.get_layer(f"grow{level}").get_weights()
        four = bias.reshape(4, 8)
        np.testing.assert_array_equal(four, np.tile(four[0], (4, 1)))
        assert np.ptp(four[0]) > 0.01
        shuffled = np.asarray(keras.ops.depth_to_space(bias.reshape(1, 1, 1, 32), 2))
        assert np.ptp(shuffled, axis=(1, 2)).max() == 0


def test_the_shared_bias_is_the_mean() -> None:
    made = np.asarray(OneBias(2)(np.arange(8, dtype=np.float32)))
    np.testing.assert_array_equal(made, [3, 4] * 4)
