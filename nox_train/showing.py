"""What happens to a finished scene before the network sees it: other sizes, lifted skies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nox_runtime import stretch
from nox_train import processing
from nox_train.scenes import Scene


def shrunk(scene: Scene) -> Scene:
    """A scene at half its size, each pixel the mean of four, as for the web."""

    def half(picture: np.ndarray) -> np.ndarray:
        c, h, w = picture.shape
        return picture.reshape(c, h // 2, 2, w // 2, 2).mean(axis=(2, 4))

    return Scene(half(scene.input), half(scene.target), {**scene.parameters, "resized": 0.5})


def enlarged(scene: Scene, factor: int = 2, grain: np.ndarray | float = 0.0) -> Scene:
    """A scene at `factor` times its size by cubic splines, as drizzle and enlargements do.

    `grain`, of a shape that fits (3, size, size), is added to input and target: smooth
    ground must not be what tells wide stars.
    """

    def made(picture: np.ndarray) -> np.ndarray:
        wide = processing.enlarged(picture, factor)
        return np.clip(wide + grain, 0, 1).astype(np.float32)

    facts = {**scene.parameters, "resized": float(factor)}
    return Scene(made(scene.input), made(scene.target), facts)


def lifted(scene: Scene) -> Scene:
    """A scene whose sky is as dark as the runtime does not show it, as the runtime shows it.

    Input and target by the curve that the input asks for; scenes that are bright enough come
    back as they are.
    """
    # In eight bits, the runtime takes it for stretched, and zeros for a black sky.
    few = np.rint(255 * scene.input[:, ::3, ::3]).astype(np.uint8)
    curve = stretch.choose("auto", stretch.statistics(few))
    if curve.kind != "lift":
        return scene
    curve = replace(curve, white=(1.0,) * len(few))
    facts = {**scene.parameters, "lifted": curve.midtones[0]}
    return Scene(curve.forward(scene.input), curve.forward(scene.target), facts)
