"""Discriminators: is this the picture without stars, or what the generator made of it?

Their features are also the measure of the perceptual distance, after the perceptual
adversarial networks of Wang et al. 2018: nothing pre-trained, nothing to download.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from nox_train import original
from nox_train.plans import DiscriminatorPlan

#: Factor of the differences between the pixels of a cell: grain is a hundredth of the
#: display range.
_DETAIL = 8.0


def _cells(x: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Means of 2x2 pixels, and how far the four are from them, enhanced."""
    four = ops.split(ops.space_to_depth(x, 2), 4, axis=-1)
    mean = 0.25 * (four[0] + four[1] + four[2] + four[3])
    return [mean, *(_DETAIL * (part - mean) for part in four)]


def _patch_outputs(
    picture: keras.KerasTensor, candidate: keras.KerasTensor, plan: DiscriminatorPlan
) -> list[keras.KerasTensor]:
    """A PatchGAN (Isola et al. 2017) that sees the picture with stars too.

    It knows where stars were, and looks there for grain that is too smooth, pits and
    halos.  Normalised over the channels at each pixel: no statistics of the batch, no
    state, the same under every backend.
    """
    x = layers.Concatenate(name="seen")([*_cells(picture), *_cells(candidate)])
    features = []
    for level, width in enumerate(plan.widths):
        # Full resolution of the cells first, then halved twice.
        strides = 2 if level in (1, 2) else 1
        x = layers.Conv2D(
            width, 4 if strides == 2 else 3, strides=strides, padding="same", name=f"conv{level}"
        )(x)
        if level:
            x = layers.LayerNormalization(epsilon=1e-3, name=f"conv{level}_norm")(x)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"conv{level}_relu")(x)
        features.append(x)
    verdict = layers.Conv2D(1, 3, padding="same", dtype="float32", name="verdict")(x)
    return [verdict, *features]


def build_discriminator(plan: DiscriminatorPlan, channels: int) -> keras.Model:
    """Build a discriminator.

    Returns
    -------
    keras.Model
        From ``[picture, candidate]``, each (batch, H, W, channels) in the display
        range, H and W multiples of 16, to the verdicts (logits, one a place; above 0
        for targets) followed by the feature maps.  The original looks at the candidate
        alone.
    """
    picture = keras.Input((None, None, channels), name="picture")
    candidate = keras.Input((None, None, channels), name="candidate")
    if plan.architecture == "original":
        outputs = original.discriminator_outputs(candidate, plan)
    else:
        outputs = _patch_outputs(picture, candidate, plan)
    return keras.Model([picture, candidate], outputs, name="discriminator")
