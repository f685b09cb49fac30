"""Measure a generator on scenes that training never sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from nox_train.dataset import Scenes

if TYPE_CHECKING:
    import keras


#: A second stage, and a user's own pictures, may cost no more than this many decibels on
#: the stars of the standard scenes.
MOST_LOST = 0.3
#: Rank of weights that cost more.
_REFUSED = -1e3


def psnr(error: np.ndarray) -> float:
    """Peak signal-to-noise ratio of an error in the display range, in decibels."""
    return float(-10 * np.log10(max(float(np.mean(np.square(error))), 1e-12)))


def grain_ratio(made: np.ndarray, targets: np.ndarray, inside: np.ndarray) -> float:
    """Grain of the outputs over that of the targets in the footprints, median of scenes.

    Grain is the median absolute value of what a Gaussian of 2 px leaves of the mean
    channel.  Below 1 what was filled in is too smooth.  NaN where no scene has 500
    pixels of footprint.

    Parameters
    ----------
    made, targets : ndarray, shape (n, H, W, C)
    inside : ndarray of bool, shape (n, H, W)
    """
    ratios = []
    for one, two, here in zip(made, targets, inside, strict=True):
        if here.sum() >= 500:
            a, b = (np.median(np.abs(_high_pass(x.mean(axis=-1))[here])) for x in (one, two))
            ratios.append(float(a / b) if b > 0 else 1.0)
    return float(np.median(ratios)) if ratios else float("nan")


def _high_pass(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture - ndimage.gaussian_filter(picture, 2.0))


def rank(
    scores: dict[str, float], own: dict[str, float] | None, start: dict[str, Any], *, judged: bool
) -> float:
    """How good weights are, to keep the best; higher is better.

    The PSNR on stars, as a rule.  With a user's own pictures it is that on their stars,
    and in the adversarial stage (`judged`) the nearness of the grain to that of the
    targets, as long as the PSNR on the stars of the standard scenes is at most
    `MOST_LOST` below that at the start.

    Parameters
    ----------
    scores, own : dict
        Of `ValidationSet.measure`, on standard scenes and on the user's.
    start : dict
        The first scores of this training.
    """
    if own is None and not judged:
        return scores["psnr_stars"]
    if scores["psnr_stars"] < start["psnr_stars"] - MOST_LOST:
        return _REFUSED
    if own is not None:
        return own["psnr_stars"]
    return -abs(float(np.log(max(scores["grain"], 1e-6)))) if np.isfinite(scores["grain"]) else 0.0


def as_channels(picture: np.ndarray, channels: int, index: int) -> np.ndarray:
    """A batch (N, H, W, 3) for a network of so many channels.

    A mono network sees one channel, in turn by `index`: what a mono camera sees through
    a filter.
    """
    if channels == picture.shape[-1]:
        return picture
    channel = index % picture.shape[-1]
    return np.ascontiguousarray(picture[..., channel : channel + 1])


class ValidationSet:
    """A fixed set of scenes that no training sees.

    Parameters
    ----------
    scenes : Scenes
        For instance a held-out bank.
    count, size : int
        How many scenes, and their side in pixels.
    channels : int
        Of the network, 3 or 1.
    """

    def __init__(self, scenes: Scenes, count: int = 48, size: int = 256, channels: int = 3) -> None:
        self.inputs, self.targets = (
            as_channels(p, channels, 1)
            for p in scenes.batch(seed=20261122, index=0, count=count, size=size)
        )
        light = np.abs(self.inputs - self.targets).max(axis=-1)
        self.footprint = light > 0.02

    def measure(self, model: keras.Model) -> tuple[dict[str, float], Image.Image]:
        """Scores, and a picture of input, output, target and difference.

        Returns
        -------
        scores : dict
            ``psnr``; ``psnr_stars`` and ``psnr_sky``, inside and outside the
            footprint of stars, in decibels; ``removed``, the share of star light
            taken away (summed absolute error against doing nothing); ``grain``, of
            `grain_ratio`.
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
        light = max(float(np.abs(self.inputs - self.targets)[inside].sum()), 1e-12)
        scores = {
            "psnr": psnr(error),
            "psnr_stars": psnr(error[inside] if inside.any() else error),
            "psnr_sky": psnr(error[~inside] if not inside.all() else error),
            "removed": float(1 - np.abs(error[inside]).sum() / light),
            "grain": grain_ratio(made, self.targets, inside),
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
        sheet = np.concatenate(rows or [np.concatenate([self.inputs[0], made[0]], axis=1)], axis=0)
        sheet = np.broadcast_to(sheet, (*sheet.shape[:2], 3))
        return scores, Image.fromarray((sheet * 255 + 0.5).astype(np.uint8))
