"""One small file for each Keras backend: only the update of the weights differs."""

from __future__ import annotations

from collections.abc import Callable

import keras


def make_step(
    model: keras.Model, optimizer: keras.Optimizer, loss: Callable
) -> Callable[..., float]:
    """Compile a function ``step(picture, target) -> loss`` for the backend in use.

    `loss` takes ``(picture, target, *outputs of the model)``.

    Raises
    ------
    NotImplementedError
        For a backend that has no file here yet.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from nox_train.backends.tensorflow import make_step as make
    else:
        raise NotImplementedError(
            f"the Keras backend is {backend!r}; training has a step for 'tensorflow' "
            "only so far: set KERAS_BACKEND=tensorflow"
        )
    return make(model, optimizer, loss)
