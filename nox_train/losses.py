"""What a generator is trained to make small."""

from __future__ import annotations

from keras import KerasTensor, ops


def _differences(x: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    return x[:, 1:, :, :] - x[:, :-1, :, :], x[:, :, 1:, :] - x[:, :, :-1, :]


#: Light of stars, in the display range, above which a pixel belongs to a star.
_STAR = 0.004


def regression(
    picture: KerasTensor, target: KerasTensor, made: KerasTensor, raw: KerasTensor
) -> KerasTensor:
    """Absolute error plus that of the gradients, weighted towards stars.

    The weight ``1 + 6 sqrt(light)`` lifts faint stars out of a loss that empty sky
    would rule.  The light is that of the stars or that which was taken, whichever is
    more: were it the stars' alone, a galaxy taken away would cost a seventh of a star
    left, and what could be either would always go.  Where there are stars the error
    is that of the picture before the head's clipping: a network that has once settled
    on removing nothing gets no gradient through the clipping and stays there for ever.

    Parameters
    ----------
    picture, target : tensor, shape (batch, H, W, C)
        With stars and without.
    made, raw : tensor, shape (batch, H, W, C)
        The outputs of ``build_generator(plan, with_raw=True)``.

    Returns
    -------
    tensor, scalar
    """
    light = ops.max(ops.abs(picture - target), axis=-1, keepdims=True)
    taken = ops.max(ops.abs(picture - ops.stop_gradient(made)), axis=-1, keepdims=True)
    weight = 1.0 + 6.0 * ops.sqrt(ops.maximum(light, taken))
    error = ops.where(light > _STAR, raw, made) - target
    loss = ops.mean(weight * ops.abs(error))
    dy, dx = _differences(error)
    edges = ops.mean(weight[:, 1:] * ops.abs(dy)) + ops.mean(weight[:, :, 1:] * ops.abs(dx))
    return loss + 0.5 * edges
