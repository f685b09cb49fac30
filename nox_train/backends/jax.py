"""The update of the weights under JAX: a pure function over all of the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras

from nox_train.backends import Player


class Step:
    """See `nox_train.backends.Step`."""

    def __init__(self, players: Sequence[Player], measure: Callable) -> None:
        self._players = players
        #: For each player the values of its weights and of its optimizer's variables.
        self._state: list[tuple[list[Any], list[Any]]] | None = None
        trained = [model.trainable_variables for model, _ in players]

        def measured(own: list[Any], k: int, weights: list[list[Any]], *batch: Any) -> Any:
            """The loss of player `k`, whose weights are `own`, and those of all."""
            values = [own if i == k else given for i, given in enumerate(weights)]
            pairs = zip(trained, values, strict=True)
            mapping = [pair for vs, xs in pairs for pair in zip(vs, xs, strict=True)]
            with keras.StatelessScope(state_mapping=mapping):
                losses = measure(*batch)
            return losses[k], losses

        @jax.jit
        def step(state: list[tuple[list[Any], list[Any]]], picture: Any, target: Any) -> Any:
            weights = [values for values, _ in state]
            gradients, losses = [], ()
            for k, own in enumerate(weights):  # what the players share is compiled once
                gradient = jax.grad(measured, has_aux=True)
                found, losses = gradient(own, k, weights, picture, target)
                gradients.append(found)
            return losses, [
                optimizer.stateless_apply(kept, found, values)
                for (_, optimizer), found, (values, kept) in zip(
                    players, gradients, state, strict=True
                )
            ]

        self._step = step

    def _current(self) -> list[tuple[list[Any], list[Any]]]:
        """The state, with the learning rates that were set from outside."""
        if self._state is None:
            return [
                ([v.value for v in m.trainable_variables], [v.value for v in o.variables])
                for m, o in self._players
            ]
        fresh = []
        for (_, optimizer), (values, kept) in zip(self._players, self._state, strict=True):
            rate = optimizer._learning_rate
            with_rate = [
                rate.value if variable is rate else value
                for variable, value in zip(optimizer.variables, kept, strict=True)
            ]
            fresh.append((values, with_rate))
        return fresh

    def __call__(self, picture: Any, target: Any) -> tuple[Any, ...]:
        losses, state = self._step(self._current(), picture, target)
        self._state = [(list(values), list(kept)) for values, kept in state]
        return tuple(losses)  # not waited for

    def sync(self) -> None:
        """Assign the state to the variables of models and optimizers."""
        if self._state is None:
            return
        for (model, optimizer), (values, kept) in zip(self._players, self._state, strict=True):
            variables = [*model.trainable_variables, *optimizer.variables]
            for variable, value in zip(variables, [*values, *kept], strict=True):
                variable.assign(value)
        self._state = None
