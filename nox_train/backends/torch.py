"""The update of the weights under PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import torch


class Step:
    """See `nox_train.backends.Step`."""

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer, loss: Callable) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss

    def __call__(self, picture: np.ndarray, target: np.ndarray) -> float:
        variables = self._model.trainable_variables
        shown = keras.ops.convert_to_tensor(picture)
        wanted = keras.ops.convert_to_tensor(target)
        value = self._loss(shown, wanted, *self._model(shown, training=True))
        gradients = torch.autograd.grad(value, [v.value for v in variables])
        with torch.no_grad():
            self._optimizer.apply(gradients, variables)
        return float(value.detach())

    def sync(self) -> None:
        """Variables are always up to date under PyTorch."""
