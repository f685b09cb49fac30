"""One small file for each Keras backend: only the update of the weights differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

import keras

BACKENDS = ("tensorflow", "torch", "jax")

#: A model that is trained, and its optimizer, built for the model's trainable variables.
Player = tuple[keras.Model, keras.Optimizer]


class Step(Protocol):
    """One update of the weights of all players, each towards its own loss."""

    def __call__(self, picture: Any, target: Any) -> tuple[Any, ...]:
        """Train on a batch, (N, H, W, C) each; return the loss of each player.

        The losses are numbers, or scalars of the backend that are still being computed.
        """
        ...

    def sync(self) -> None:
        """Bring models and optimizers up to date, before they are looked at or saved."""
        ...


def make_step(players: Sequence[Player], measure: Callable) -> Step:
    """Compile the update for the Keras backend in use.

    Parameters
    ----------
    players : sequence of (keras.Model, keras.Optimizer)
        The generator, and in the adversarial stage the discriminator.
    measure : callable
        Takes ``(picture, target)``, runs the models and returns the loss of each player,
        in `keras.ops`; see `nox_train.losses`.

    Raises
    ------
    NotImplementedError
        For a backend that has no file here.
    """
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise NotImplementedError(
            f"the Keras backend is {backend!r}; set KERAS_BACKEND to one of {', '.join(BACKENDS)}"
        )
    made: Step = import_module(f"nox_train.backends.{backend}").Step(players, measure)
    return made
