"""Measure a generator on scenes that training never sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from nox_train.dataset import Bank

if TYPE_CHECKING:
    import keras


def psnr(error: np.ndarray) -> float:
    """Peak signal-to-noise ratio of an error in the display range, in decibels."""
    return float(-10 * np.log10(max(float(np.mean(np.square(error))), 1e-12)))


class ValidationSet:
    """A fixed set of scenes from a held-out bank.

    Parameters
    ----------
    bank : Bank
    count, size : int
        How many scenes, and their side in pixels.
    """

    def __init__(self, bank: Bank, count: int = 48, size: int = 256) -> None:
        self.inputs, self.targets = bank.batch(seed=20261122, index=0, count=count, size=size)
        light = np.abs(self.inputs - self.targets).max(axis=-1)
        self.footprint = light > 0.02

    def measure(self, model: keras.Model) -> tuple[dict[str, float], Image.Image]:
        """Scores, and a picture of input, output, target and difference.

        Returns
        -------
        scores : dict
            ``psnr``; ``psnr_stars`` and ``psnr_sky``, inside and outside the
            footprint of stars, in decibels; ``removed``, the share of star light
            taken away (summed absolute error against doing nothing).
        picture : PIL.Image.Image
            One row a scene; the difference from the target is shown four-fold.
        """
        made = np.concatenate(
            [
                np.asarray(model.predict_on_batch(self.inputs[i : i + 8]), np.float32)
                for i in range(0, len(self.inputs), 8)
            ]
        ).clip(0, 1)
        error = made - self.targets
        inside = self.footprint
        light = np.abs(self.inputs - self.targets)[inside].sum()
        scores = {
            "psnr": psnr(error),
            "psnr_stars": psnr(error[inside]),
            "psnr_sky": psnr(error[~inside]),
            "removed": float(1 - np.abs(error[inside]).sum() / light),
        }
        # The scenes fullest of stars say most, short of those that are all star.
        share = inside.mean(axis=(1, 2))
        order = [i for i in np.argsort(-share) if share[i] < 0.6][:8]
        rows = [
            np.concatenate(
                [
                    self.inputs[i], made[i], self.targets[i],
                    np.clip(0.5 + 4 * error[i], 0, 1),
                ],
                axis=1,
            )
            for i in order
        ]  # fmt: skip
        sheet = np.concatenate(rows, axis=0)
        return scores, Image.fromarray((sheet * 255 + 0.5).astype(np.uint8))
