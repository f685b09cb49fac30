"""The update of the weights under PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import torch

from nox_train.backends import Player


class Step:
    """See `nox_train.backends.Step`."""

    def __init__(self, players: Sequence[Player], measure: Callable) -> None:
        self._players, self._measure = players, measure

    def __call__(self, picture: np.ndarray, target: np.ndarray) -> tuple[float, ...]:
        losses = self._measure(
            keras.ops.convert_to_tensor(picture), keras.ops.convert_to_tensor(target)
        )
        gradients = []
        for k, ((model, _), loss) in enumerate(zip(self._players, losses, strict=True)):
            values = [v.value for v in model.trainable_variables]
            # The last one may free the graph that the players share.
            keep = k + 1 < len(losses)
            gradients.append(torch.autograd.grad(loss, values, retain_graph=keep))
        with torch.no_grad():
            for (model, optimizer), found in zip(self._players, gradients, strict=True):
                optimizer.apply(found, model.trainable_variables)
        return tuple(float(loss.detach()) for loss in losses)

    def sync(self) -> None:
        """Variables are always up to date under PyTorch."""
