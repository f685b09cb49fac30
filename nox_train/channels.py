"""Hidden channels of a network's blocks: which work, and networks with more or fewer.

A ReLU whose input has sunk below 0 for every picture gets no gradient any more: the channel
is dead, costs as much as any other and never comes back (Lu et al. 2019, "Dying ReLU and
Initialization").  Dead ones can be left out, or begun anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from nox_train.checkpoint import Checkpoint
from nox_train.networks import build_generator
from nox_train.plans import GeneratorPlan

#: A channel that adds less than this share of what its block's strongest adds is dead.
DEAD = 1e-6
#: ONNX Runtime's convolutions work on so many channels at once.
_TOGETHER = 16


def check(plan: GeneratorPlan, hidden: Sequence[int] | None, path: Path) -> None:
    """Refuse a network without such blocks, and numbers that do not fit it.

    Raises
    ------
    ValueError
        Names the file.
    """
    if plan.architecture != "residual":
        raise ValueError(
            f"{path}: a network of the architecture {plan.architecture!r} has no hidden channels; "
            "give one of nox's own"
        )
    try:
        replace(plan, hidden=tuple(hidden or ()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def activity(checkpoint: Checkpoint, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """What each hidden channel of each block adds to the block's output.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of nox's own architecture; the averaged weights count.
    pictures : ndarray, shape (N, H, W, C), float32
        Scenes with stars, in the display range.

    Returns
    -------
    dict of str to ndarray, shape (channels,)
        By the names of `GeneratorPlan.blocks`: the channel's largest value after its ReLU,
        over all pixels, times the length of its column in the convolution that follows.  The
        largest, since a channel may be there for what is rare, giant stars for instance.
    """
    plan, model = checkpoint.plan, checkpoint.build()
    hidden = [model.get_layer(f"{name}_expand").output for name in plan.blocks]
    probe = keras.Model(model.input, hidden)
    largest = [np.zeros(plan.inner[name]) for name in plan.blocks]
    for picture in pictures:
        for most, made in zip(largest, probe(picture[None], training=False), strict=True):
            values = keras.ops.convert_to_numpy(made).max(axis=(0, 1, 2))
            np.maximum(most, values, out=most)
    lengths = (
        np.linalg.norm(model.get_layer(f"{name}_project").get_weights()[0][0, 0], axis=1)
        for name in plan.blocks
    )
    return {
        name: most * length
        for name, most, length in zip(plan.blocks, largest, lengths, strict=True)
    }


def alive(strengths: np.ndarray, below: float = DEAD) -> int:
    """How many of a block's channels add more than a share of what the strongest adds."""
    return int((strengths > below * strengths.max(initial=0.0)).sum())


def without_dead(strengths: dict[str, np.ndarray], below: float = DEAD) -> tuple[int, ...]:
    """Channels of each block that leave out the dead ones, rounded up to sixteens.

    With `below` also those that add at most this share of what their block's strongest adds.
    """
    return tuple(
        min(len(s), max(1, -(-alive(s, below) // _TOGETHER)) * _TOGETHER)
        for s in strengths.values()
    )


def resized(
    checkpoint: Checkpoint,
    hidden: Sequence[int],
    strengths: dict[str, np.ndarray],
    seed: int = 1,
) -> Checkpoint:
    """The network with other numbers of hidden channels: the strongest, and new ones.

    New channels take the place of dead ones as well. They begin as in a new network but add
    nothing yet (after Zhang et al. 2019, "Fixup Initialization"), so that the answer stays as
    it is where only dead channels went.

    Parameters
    ----------
    checkpoint : Checkpoint
    hidden : sequence of int
        For each block, in the order of `GeneratorPlan.blocks`.
    strengths : dict of str to ndarray
        What `activity` measured.
    seed : int
        Of the new channels.

    Returns
    -------
    Checkpoint
        Without optimizer; the trainings before are kept in its history.
    """
    plan = replace(checkpoint.plan, hidden=tuple(hidden))
    old, new = checkpoint.build(), build_generator(plan)
    rng = np.random.default_rng(seed)
    for layer in new.layers:
        if layer.get_weights() and not layer.name.endswith(("_expand", "_project")):
            layer.set_weights(old.get_layer(layer.name).get_weights())
    for name in plan.blocks:
        count = plan.inner[name]
        order = np.argsort(-strengths[name])[: min(count, alive(strengths[name]))]
        order.sort()  # where nothing changes, nothing moves
        expand, bias = old.get_layer(f"{name}_expand").get_weights()
        project, rest = old.get_layer(f"{name}_project").get_weights()
        fresh = count - len(order)
        fan_in = float(np.prod(expand.shape[:3]))
        drawn = rng.normal(0, np.sqrt(2 / fan_in), (*expand.shape[:3], fresh))
        new.get_layer(f"{name}_expand").set_weights([
            np.concatenate([expand[..., order], drawn.astype(np.float32)], axis=-1),
            np.concatenate([bias[order], np.zeros(fresh, np.float32)]),
        ])  # fmt: skip
        nothing = np.zeros((1, 1, fresh, project.shape[3]), np.float32)
        new.get_layer(f"{name}_project").set_weights(
            [np.concatenate([project[:, :, order], nothing], axis=2), rest]
        )
    progress = {"step": 0, "history": checkpoint.told}
    return Checkpoint(plan, progress, new.get_weights(), [], [])
