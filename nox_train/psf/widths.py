"""How wide a star comes out, with all that widens it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from nox_train.psf.optics import Optics, colour_psf

#: Side of the point spread function that is looked at, and how finely it is divided.
_SIZE, _FINER = 96, 5


def measured_fwhm(optics: Optics) -> float:
    """Width of a star's image, in pixels: that of a disc as large as what is above half its peak.

    `Optics.fwhm` is the air's alone; pixel, diffraction, aberrations and motion come on top:
    half as much again below 3 px (median of what `random_optics` draws).

    Parameters
    ----------
    optics : Optics
        Its reflections and replicas, far from the core, are left out.
    """
    core = replace(optics, halos=(), microlens_share=0.0)
    star = colour_psf(core, _SIZE).mean(axis=0)
    fine = ndimage.zoom(star, _FINER, order=3)
    return float(2 * np.sqrt((fine >= fine.max() / 2).sum() / np.pi) / _FINER)
