"""One small file for each Keras backend: only the update of the weights differs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

import keras
import numpy as np

BACKENDS = ("tensorflow", "torch", "jax")


class Step(Protocol):
    """One update of the weights."""

    def __call__(self, picture: np.ndarray, target: np.ndarray) -> float:
        """Train on a batch, (N, H, W, C) float32 each; return the loss."""
        ...

    def sync(self) -> None:
        """Bring model and optimizer up to date, before they are looked at or saved."""
        ...


def make_step(model: keras.Model, optimizer: keras.Optimizer, loss: Callable) -> Step:
    """Compile the update for the Keras backend in use.

    Parameters
    ----------
    model : keras.Model
    optimizer : keras.Optimizer
        Built for the model's trainable variables.
    loss : callable
        Takes ``(picture, target, *outputs of the model)``, in `keras.ops`.

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
    made: Step = import_module(f"nox_train.backends.{backend}").Step(model, optimizer, loss)
    return made
