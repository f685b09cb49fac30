"""The update of the weights under TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


class Step:
    """See `nox_train.backends.Step`."""

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer, loss: Callable) -> None:
        variables = model.trainable_variables

        @tf.function
        def step(picture: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                value = loss(picture, target, *model(picture, training=True))
            gradients = tape.gradient(value, [v.value for v in variables])
            optimizer.apply(gradients, variables)
            return value

        self._step = step

    def __call__(self, picture: np.ndarray, target: np.ndarray) -> float:
        return float(self._step(picture, target))

    def sync(self) -> None:
        """Variables are always up to date under TensorFlow."""
