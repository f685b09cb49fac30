"""The original nox's networks, as published: StarNet v1's topology.

For comparison under equal conditions: they build, train and export like nox's own.
They work on values of -1 to 1; the pictures at their ends are 0 to 1 as everywhere.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from nox_train.plans import DiscriminatorPlan, GeneratorPlan

#: Channels of the generator's way down, each at half the size.
GENERATOR_WIDTHS = (64, 128, 256, 512, 512, 512, 512, 512)
#: Channels of the discriminator, every second convolution with a stride of 2.
DISCRIMINATOR_WIDTHS = (32, 64, 64, 128, 128, 256, 256, 256, 8)
_SLOPE = 0.2


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Over the channels at each pixel, so that tiles do not depend on their surroundings."""
    return layers.LayerNormalization(epsilon=1e-3, name=f"{name}_norm")(x)


def generator_outputs(
    picture: keras.KerasTensor, plan: GeneratorPlan
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Starless picture, and the same before the last clipping.

    4x4 convolutions with a stride of 2 down to one 256th, transposed ones up again,
    skips concatenated, ``output = input - relu(last)``.

    Parameters
    ----------
    picture : tensor, shape (batch, H, W, C), 0 to 1
    plan : GeneratorPlan
        Of the architecture 'original'; 54,420,483 parameters for `GENERATOR_WIDTHS`
        and three channels.
    """
    x = 2.0 * picture - 1.0
    skips = []
    for level, width in enumerate(plan.widths):
        x = layers.Conv2D(width, 4, strides=2, padding="same", name=f"down{level}")(x)
        if level:
            x = _normalised(x, f"down{level}")
        x = layers.LeakyReLU(negative_slope=_SLOPE, name=f"down{level}_relu")(x)
        skips.append(x)
    for level in reversed(range(len(plan.widths) - 1)):
        x = layers.Conv2DTranspose(
            plan.widths[level], 4, strides=2, padding="same", name=f"up{level}"
        )(x)
        x = layers.ReLU(name=f"up{level}_relu")(_normalised(x, f"up{level}"))
        x = layers.Concatenate(name=f"join{level}")([x, skips[level]])
    residual = layers.Conv2DTranspose(
        plan.channels, 4, strides=2, padding="same", dtype="float32", name="residual"
    )(x)
    # Differences of values of -1 to 1 are twice those of 0 to 1.
    return picture - 0.5 * ops.relu(residual), picture - 0.5 * residual


def discriminator_outputs(
    candidate: keras.KerasTensor, plan: DiscriminatorPlan
) -> list[keras.KerasTensor]:
    """Verdicts (logits, one a place) and the feature map of each convolution.

    3x3 convolutions; 1.77 M parameters for `DISCRIMINATOR_WIDTHS`.
    """
    x = 2.0 * candidate - 1.0
    features = []
    for level, width in enumerate(plan.widths):
        x = layers.Conv2D(width, 3, strides=1 + level % 2, padding="same", name=f"conv{level}")(x)
        if level:
            x = _normalised(x, f"conv{level}")
        x = layers.LeakyReLU(negative_slope=_SLOPE, name=f"conv{level}_relu")(x)
        features.append(x)
    return [layers.Dense(1, dtype="float32", name="verdict")(x), *features]
