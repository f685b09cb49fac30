"""The update of the weights under TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from nox_train.backends import Player


class Step:
    """See `nox_train.backends.Step`."""

    def __init__(self, players: Sequence[Player], measure: Callable) -> None:
        trained = [model.trainable_variables for model, _ in players]

        @tf.function
        def step(picture: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape(persistent=True) as tape:
                losses = measure(picture, target)
            gradients = [
                tape.gradient(loss, [v.value for v in variables])
                for loss, variables in zip(losses, trained, strict=True)
            ]
            for (_, optimizer), found, variables in zip(players, gradients, trained, strict=True):
                optimizer.apply(found, variables)
            return losses

        self._step = step

    def __call__(self, picture: np.ndarray, target: np.ndarray) -> tuple[float, ...]:
        return tuple(float(loss) for loss in self._step(picture, target))

    def sync(self) -> None:
        """Variables are always up to date under TensorFlow."""
