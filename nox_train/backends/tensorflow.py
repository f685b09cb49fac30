"""The update of the weights under TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf


def make_step(
    model: keras.Model, optimizer: keras.Optimizer, loss: Callable
) -> Callable[..., float]:
    """See `nox_train.backends.make_step`."""
    variables = model.trainable_variables

    @tf.function
    def step(picture: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(picture, target, *model(picture, training=True))
        gradients = tape.gradient(value, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        return value

    return lambda picture, target: float(step(picture, target))
