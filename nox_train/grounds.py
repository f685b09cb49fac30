"""Draws the background of a scene so that it fits the stars that will lie on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nox_train import processing

#: The objects' own seeing in units of the width of the scene's stars: the same air, or drawn
#: as if it were worse.  Sharper ones would teach that what is narrower than a star stays.
SEEING_OF_WIDTH = (0.9, 2.0)
#: From this width on, FWHM in pixels, backgrounds are enlarged under most of the scenes ...
SMOOTH_FROM, SMOOTH = 2.5, 0.8
#: ... so that they are as sharp as under stars of this width, and at most so many times.
_AS_UNDER, _MOST = (1.5, 2.5), 4.0
#: Scenes that will be made half as large need objects of at least this seeing, in pixels.
_SHRUNK_SEEING = 1.8
#: Where fewer backgrounds fit than this, or a fiftieth of them, those that fit least badly do.
_FEWEST = 3


class Grounds:
    """The backgrounds of a bank, to be drawn from.

    Parameters
    ----------
    pictures : ndarray, shape (n, 3, side, side)
        Values 0 to 1; may be mapped.
    seeing : sequence of float or None
        FWHM of each one's objects in pixels, None without any.
    """

    def __init__(self, pictures: np.ndarray, seeing: Sequence[float | None]) -> None:
        self.pictures = pictures
        self.seeing = np.array([np.nan if s is None else s for s in seeing])

    def draw(
        self, rng: np.random.Generator, width: float, size: int, *, shrinking: bool = False
    ) -> tuple[np.ndarray, dict]:
        """Draw a background for stars of this width.

        What tells a knot from a star is that it is wider than the stars about it, and
        under wide stars nothing else is sharp either: drizzle, long focal lengths and bad
        air blur pebbles as they blur stars.

        Parameters
        ----------
        rng : numpy.random.Generator
        width : float
            The stars' FWHM as measured, in pixels.
        size : int
            Of the scene, in pixels.
        shrinking : bool
            Whether the scene will be made half as large.

        Returns
        -------
        picture : ndarray, shape (3, h, w)
            h and w at least `size`.
        facts : dict
            ``background``: its number; ``grown``: how many times it was enlarged.
        """
        grown = 1.0
        if width > SMOOTH_FROM and rng.random() < SMOOTH:
            grown = float(np.clip(width / rng.uniform(*_AS_UNDER), 1.0, _MOST))
        low, high = (share * width / grown for share in SEEING_OF_WIDTH)
        if shrinking:
            low = max(low, _SHRUNK_SEEING / grown)
        far = np.abs(np.log(self.seeing / np.clip(self.seeing, low, max(high, low, 2.0))))
        far[np.isnan(far)] = 0.0  # without objects
        few = max(_FEWEST, len(far) // 50)
        fitting = np.flatnonzero(far == 0)
        j = int(
            rng.choice(fitting if len(fitting) >= few else np.argsort(far, kind="stable")[:few])
        )
        picture = self.pictures[j]
        if grown > 1:
            picture = _enlarged_part(picture, size, grown, rng)
        return picture, {"background": j, "grown": grown}


def _enlarged_part(
    picture: np.ndarray, size: int, factor: float, rng: np.random.Generator
) -> np.ndarray:
    """A part of a picture, at least `size` a side when it is made `factor` times as large."""
    side = min(picture.shape[-1], int(np.ceil(size / factor)) + 2)
    y, x = rng.integers(0, picture.shape[-1] - side + 1, 2)
    part = picture[:, y : y + side, x : x + side].astype(np.float32)
    return np.clip(processing.enlarged(part, max(factor, size / side)), 0, 1)
