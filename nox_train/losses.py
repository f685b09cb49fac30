"""What a generator, and the discriminator against it, are trained to make small.

Written in `keras.ops` alone, for every Keras backend.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, ops

from nox_train.plans import LossPlan

#: Light of stars, in the display range, above which a pixel belongs to a star.
_STAR = 0.004
#: A star's pixel is faint up to so many times the scene's grain.
_FAINT = 12.0
#: Errors well below this count as squares in the Charbonnier loss, whatever the grain.
_ROUND = 1e-3
_SCALES = (2, 4)
#: Mean step between neighbours in the target at which a scene weighs about one, and what is
#: added to it, so that scenes without grain do not weigh infinitely.
_USUAL_STEP, _LEAST_STEP = 0.02, 0.005
#: Grain is compared where stars change the display by more than this, over windows of so
#: many pixels, as what a mean over 5x5 pixels leaves; and what is added to it.
_FOOTPRINT, _WINDOW, _FINE, _LEAST_GRAIN = 0.02, 16, 5, 1e-3


def _filtered(x: KerasTensor, kernel: np.ndarray | list[list[float]]) -> KerasTensor:
    """Every channel through one kernel, where it fits whole.

    On CPUs TensorFlow takes several times as long for slices or an average pool, and most
    of that for their gradients.
    """
    weights = np.asarray(kernel, np.float32)[:, :, None, None]
    return ops.depthwise_conv(x, np.repeat(weights, x.shape[-1], axis=2))


def _differences(x: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    return _filtered(x, [[-1.0], [1.0]]), _filtered(x, [[-1.0, 1.0]])


def _size(error: KerasTensor, kind: str, knee: KerasTensor | float) -> KerasTensor:
    if kind == "charbonnier":
        return ops.sqrt(ops.square(error) + knee**2) - knee
    return ops.abs(error)


def _knee(step: KerasTensor, plan: LossPlan, side: int = 1) -> KerasTensor | float:
    """Error up to which it counts as a square, of means over squares of `side` pixels."""
    return ops.maximum(_ROUND, plan.rounding / side * step) if plan.rounding else _ROUND


def tilted(size: KerasTensor, error: KerasTensor, tilt: KerasTensor) -> KerasTensor:
    """Errors upwards made `tilt` heavier, those downwards as much lighter.

    With ``tilt = 1 - 2 q`` an absolute error becomes twice the pinball loss of the quantile
    q (Koenker & Bassett 1978).
    """
    return size * (1.0 + tilt * ops.sign(error))


def answer(
    picture: KerasTensor, target: KerasTensor, made: KerasTensor, raw: KerasTensor
) -> KerasTensor:
    """The output that is judged: before the head's clipping where there are stars.

    A network that has once settled on removing nothing gets no gradient through the
    clipping and stays there for ever.
    """
    light = ops.max(ops.abs(picture - target), axis=-1, keepdims=True)
    return ops.where(light > _STAR, raw, made)


def star_weights(light: KerasTensor, plan: LossPlan) -> KerasTensor:
    """Weight of a pixel with so much light of stars, in the display range.

    ``1 + star_weight sqrt(light)``, or with a knee k
    ``1 + star_weight sqrt(light (1 + k) / (light + k))``: the same at full light, and
    nearly as much for all that is well above the knee.
    """
    if plan.star_knee:
        light = light * (1.0 + plan.star_knee) / (light + plan.star_knee)
    return 1.0 + plan.star_weight * ops.sqrt(light)


def steps(target: KerasTensor) -> KerasTensor:
    """Mean step between neighbouring pixels of each scene, (batch, 1, 1, 1).

    1.13 times white grain's standard deviation.
    """
    dy, dx = _differences(target)
    both = ops.mean(ops.abs(dy), axis=(1, 2, 3)) + ops.mean(ops.abs(dx), axis=(1, 2, 3))
    return ops.reshape(0.5 * both, (-1, 1, 1, 1))


def scene_weights(step: KerasTensor, plan: LossPlan) -> KerasTensor:
    """Weights of scenes, (batch, 1, 1, 1): what is left of a star shows in fine grain.

    ``(0.02 / (step + 0.005)) ** grain_power`` with the scenes' `steps`.
    """
    return (_USUAL_STEP / (step + _LEAST_STEP)) ** plan.grain_power


def regression(
    picture: KerasTensor,
    target: KerasTensor,
    made: KerasTensor,
    raw: KerasTensor,
    plan: LossPlan | None = None,
) -> KerasTensor:
    """Error of the pixels plus that of the gradients, weighted towards stars.

    The weight (`star_weights`) lifts faint stars out of a loss that empty sky would
    rule.  It goes by the light of the stars or that which was taken, whichever is more:
    were it the stars' alone, a galaxy taken away would cost a seventh of a star left,
    and what could be either would always go.

    Parameters
    ----------
    picture, target : tensor, shape (batch, H, W, C)
        With stars and without.
    made, raw : tensor, shape (batch, H, W, C)
        The outputs of ``build_generator(plan, with_raw=True)``.
    plan : LossPlan, optional
        By default ``LossPlan()``.

    Returns
    -------
    tensor, scalar
    """
    plan = plan or LossPlan()
    light = ops.max(ops.abs(picture - target), axis=-1, keepdims=True)
    taken = ops.max(ops.abs(picture - ops.stop_gradient(made)), axis=-1, keepdims=True)
    weight, step = star_weights(ops.maximum(light, taken), plan), steps(target)
    if plan.grain_power:
        weight = weight * scene_weights(step, plan)
    shown = answer(picture, target, made, raw)
    error = shown - target
    tilt, knee = _tilt(light, step, plan), _knee(step, plan)
    loss = ops.mean(weight * tilted(_size(error, plan.kind, knee), error, tilt))
    if plan.gradient:
        dy, dx = (_size(d, plan.kind, knee) for d in _differences(error))
        edges = ops.mean(weight[:, 1:] * dy) + ops.mean(weight[:, :, 1:] * dx)
        loss = loss + plan.gradient * edges
    if plan.multi_scale:
        loss = loss + plan.multi_scale * _coarse(error, weight, tilt, step, plan)
    if plan.grain:
        loss = loss + plan.grain * grain_distance(shown, target, light)
    return loss


def _tilt(light: KerasTensor, step: KerasTensor, plan: LossPlan) -> KerasTensor:
    """The tilt of each pixel's error, by its light and the scene's `steps`; see `tilted`.

    0 in wings fainter than the grain, which in dense fields are the whole ground.  The ground
    under bright stars is so uncertain that it would come out as a pit by the quantile
    that faint ones need; they have their own.
    """
    grain = ops.maximum(_STAR, step)
    bright = light >= _FAINT * grain
    faint = ops.logical_and(light > grain, ops.logical_not(bright))
    return (1.0 - 2.0 * plan.star_quantile) * ops.cast(faint, light.dtype) + (
        1.0 - 2.0 * plan.bright_quantile
    ) * ops.cast(bright, light.dtype)


def _coarse(
    error: KerasTensor, weight: KerasTensor, tilt: KerasTensor, step: KerasTensor, plan: LossPlan
) -> KerasTensor:
    """Errors of the pictures averaged over squares: what noise hides in single pixels."""
    total = 0.0
    for side in _SCALES:
        few, about, lean = (
            ops.average_pool(x, side, side, padding="valid") for x in (error, weight, tilt)
        )
        size = _size(few, plan.kind, _knee(step, plan, side))
        total = total + ops.mean(about * tilted(size, few, lean))
    return total


def grain_distance(shown: KerasTensor, target: KerasTensor, light: KerasTensor) -> KerasTensor:
    """How far the grain under stars is from the target's, however its bits lie.

    The mean size of the grain, of each channel and of their mean, in windows of 16 px is
    compared as ``|log((a + 0.001) / (b + 0.001))|``; a window counts by its pixels of
    footprint.  The median of all possible grain, which the other terms ask for, is smooth.

    Parameters
    ----------
    shown, target : tensor, shape (batch, H, W, C)
    light : tensor, shape (batch, H, W, 1)
        Of the stars, in the display range.

    Returns
    -------
    tensor, scalar
    """
    cut = _FINE // 2
    inside = ops.cast(light > _FOOTPRINT, shown.dtype)[:, cut:-cut, cut:-cut]
    share = ops.average_pool(inside, _WINDOW, _WINDOW, padding="valid")

    def grain(picture: KerasTensor) -> KerasTensor:
        channels = ops.concatenate([picture, ops.mean(picture, -1, keepdims=True)], axis=-1)
        broad = _filtered(channels, np.full((_FINE, _FINE), 1 / _FINE**2))
        fine = inside * ops.abs(channels[:, cut:-cut, cut:-cut] - broad)
        return ops.average_pool(fine, _WINDOW, _WINDOW, padding="valid") / (share + 1e-3)

    ratio = (grain(shown) + _LEAST_GRAIN) / (grain(target) + _LEAST_GRAIN)
    return ops.mean(share * ops.abs(ops.log(ratio))) / (ops.mean(share) + 1e-3)


def adversarial(
    verdict_made: KerasTensor, verdict_target: KerasTensor, kind: str
) -> tuple[KerasTensor, KerasTensor]:
    """The generator's and the discriminator's side of the adversarial loss.

    Parameters
    ----------
    verdict_made, verdict_target : tensor, shape (batch, h, w, 1)
        Logits for the generator's output and for the target.
    kind : {'hinge', 'relativistic', 'classic'}
        Lim & Ye 2017; Jolicoeur-Martineau 2018, each target against the output of its
        own scene; Goodfellow et al. 2014 in the form that does not saturate.
    """
    if kind == "hinge":
        judge = ops.mean(ops.relu(1.0 - verdict_target)) + ops.mean(ops.relu(1.0 + verdict_made))
        return -ops.mean(verdict_made), judge
    if kind == "relativistic":
        ahead = verdict_target - verdict_made
        return ops.mean(ops.softplus(ahead)), ops.mean(ops.softplus(-ahead))
    judge = ops.mean(ops.softplus(-verdict_target)) + ops.mean(ops.softplus(verdict_made))
    return ops.mean(ops.softplus(-verdict_made)), judge


def perceptual(
    features_made: Sequence[KerasTensor],
    features_target: Sequence[KerasTensor],
    weights: Sequence[float] = (),
) -> KerasTensor:
    """Weighted sum of the mean absolute distances of feature maps."""
    total = 0.0
    for k, (a, b) in enumerate(zip(features_made, features_target, strict=True)):
        weight = weights[k] if k < len(weights) else 1.0 * (not weights)
        if weight:
            distance = ops.abs(ops.cast(a, "float32") - ops.cast(b, "float32"))
            total = total + weight * ops.mean(distance)
    return total


class Regression:
    """Stage 1: the generator alone."""

    def __init__(self, generator: keras.Model, plan: LossPlan) -> None:
        self.generator, self.plan = generator, plan

    def __call__(self, picture: KerasTensor, target: KerasTensor) -> tuple[KerasTensor, ...]:
        """The loss of each player, here one."""
        made, raw = self.generator(picture, training=True)
        return (regression(picture, target, made, raw, self.plan),)


class Adversarial:
    """Stage 2: regression, the discriminator's verdict and its features' distance."""

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        plan: LossPlan,
        feature_weights: Sequence[float] = (),
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.plan, self.feature_weights = plan, feature_weights

    def __call__(self, picture: KerasTensor, target: KerasTensor) -> tuple[KerasTensor, ...]:
        """The generator's loss and the discriminator's."""
        made, raw = self.generator(picture, training=True)
        shown = answer(picture, target, made, raw)
        verdict_made, *features_made = self.discriminator([picture, shown], training=True)
        verdict_target, *features_target = self.discriminator([picture, target], training=True)
        for_generator, for_judge = adversarial(verdict_made, verdict_target, self.plan.adversary)
        loss = regression(picture, target, made, raw, self.plan)
        loss = loss + self.plan.adversarial * for_generator
        if self.plan.perceptual:
            distance = perceptual(features_made, features_target, self.feature_weights)
            loss = loss + self.plan.perceptual * distance
        return loss, for_judge
