"""The update of the weights under JAX: a pure function over all of the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np


class Step:
    """See `nox_train.backends.Step`."""

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer, loss: Callable) -> None:
        self._model, self._optimizer = model, optimizer
        self._state: tuple[list[Any], list[Any]] | None = None
        trained = model.trainable_variables

        def measured(values: list[Any], picture: Any, target: Any) -> Any:
            mapping = list(zip(trained, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return loss(picture, target, *model(picture, training=True))

        @jax.jit
        def step(values: list[Any], state: list[Any], picture: Any, target: Any) -> Any:
            value, gradients = jax.value_and_grad(measured)(values, picture, target)
            values, state = optimizer.stateless_apply(state, gradients, values)
            return value, values, state

        self._step = step

    def __call__(self, picture: np.ndarray, target: np.ndarray) -> float:
        optimizer = self._optimizer
        if self._state is None:
            self._state = (
                [v.value for v in self._model.trainable_variables],
                [v.value for v in optimizer.variables],
            )
        values, state = self._state
        # The learning rate is set from outside, between steps.
        rate = next(i for i, v in enumerate(optimizer.variables) if v is optimizer._learning_rate)
        state = [*state[:rate], optimizer._learning_rate.value, *state[rate + 1 :]]
        value, values, state = self._step(values, state, picture, target)
        self._state = (list(values), list(state))
        return float(value)

    def sync(self) -> None:
        """Assign the state to the variables of model and optimizer."""
        if self._state is None:
            return
        values, state = self._state
        variables = [*self._model.trainable_variables, *self._optimizer.variables]
        for variable, value in zip(variables, [*values, *state], strict=True):
            variable.assign(value)
        self._state = None
