"""Generators: from a picture with stars to the picture without.

Written in `keras.layers` and `keras.ops` alone, so that they train under any
Keras backend.  Data are channels last here; the exported model is NCHW.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from nox_train import original
from nox_train.plans import GeneratorPlan


def _block(x: keras.KerasTensor, name: str, inner: dict[str, int]) -> keras.KerasTensor:
    """Fused inverted bottleneck: of the blocks tried the fastest to run and to learn."""
    y = layers.Conv2D(inner[name], 3, padding="same", activation="relu", name=f"{name}_expand")(x)
    y = layers.Conv2D(x.shape[-1], 1, name=f"{name}_project")(y)
    return layers.Add(name=f"{name}_add")([x, y])


class OneBias(keras.constraints.Constraint):
    """One bias for the four pixels that each grows into, not four.

    The convolution and the shuffle after it can then be exported as one transposed
    convolution, which takes a third of their time.

    Parameters
    ----------
    width : int
        Channels after the shuffle.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def __call__(self, bias: keras.KerasTensor) -> keras.KerasTensor:
        """Their mean, four times; the shuffle's channels go pixel by pixel."""
        return ops.tile(ops.mean(ops.reshape(bias, (4, self.width)), axis=0), 4)

    def get_config(self) -> dict:
        """For Keras."""
        return {"width": self.width}


def build_generator(plan: GeneratorPlan, *, with_raw: bool = False) -> keras.Model:
    """Build the generator of a plan.

    With ``with_raw`` the model has a second output for the loss: the starless
    picture before the head's last clipping, whose gradient never dies.

    Input and output are (batch, H, W, channels), float32, display range 0 to 1; H
    and W are multiples of `GeneratorPlan.multiple`.
    """
    picture = keras.Input((None, None, plan.channels), name="picture")
    outputs = original.generator_outputs if plan.architecture == "original" else _residual_unet
    made, raw = outputs(picture, plan)
    return keras.Model(picture, [made, raw] if with_raw else made, name="nox")


def _residual_unet(
    picture: keras.KerasTensor, plan: GeneratorPlan
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Residual U-Net of plain 3x3 convolutions on pixel-unshuffled input.

    After U-Net (Ronneberger et al. 2015) with the fused inverted bottleneck of
    EfficientNetV2 (Tan & Le 2021), pixel (un)shuffle after Shi et al. 2016.
    """
    x = ops.space_to_depth(picture, plan.unshuffle)
    x = layers.Conv2D(plan.widths[0], 3, padding="same", name="stem")(x)
    skips, inner = [], plan.inner
    for level in range(len(plan.widths) - 1):
        x = _block(x, f"down{level}", inner)
        skips.append(x)
        x = layers.Conv2D(plan.widths[level + 1], 2, strides=2, name=f"shrink{level}")(x)
    for k in range(plan.bottom_blocks):
        x = _block(x, f"bottom{k}", inner)
    for level in reversed(range(len(plan.widths) - 1)):
        width = plan.widths[level]
        x = layers.Conv2D(4 * width, 1, bias_constraint=OneBias(width), name=f"grow{level}")(x)
        x = ops.depth_to_space(x, 2)
        x = layers.Add(name=f"join{level}")([x, skips[level]])
        x = _block(x, f"up{level}", inner)
    return _head(picture, x, plan)


def _head(
    picture: keras.KerasTensor, x: keras.KerasTensor, plan: GeneratorPlan
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    cell = plan.unshuffle**2

    def last(channels: int, name: str, **options: object) -> keras.KerasTensor:
        # Full precision here, whatever the rest is trained in: the head's output is
        # added to the picture.
        y = layers.Conv2D(channels * cell, 3, padding="same", dtype="float32", name=name, **options)
        return ops.depth_to_space(y(x), plan.unshuffle)

    small = keras.initializers.VarianceScaling(0.01)  # begin near "remove nothing"
    if plan.head == "subtract":
        residual = last(plan.channels, "residual", kernel_initializer=small)
        return picture - ops.relu(residual), picture - residual
    fill = last(plan.channels, "fill", kernel_initializer=small)
    mask = last(1, "mask")
    # Clipping reaches 0 exactly, so that pixels left alone are copied bit by bit.
    clipped = 1.0 - ops.relu(1.0 - ops.relu(mask))
    return picture + clipped * fill, picture + mask * fill
