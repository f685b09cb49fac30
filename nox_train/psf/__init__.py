"""Point spread functions of telescopes, cameras and the air, on pixel grids.

Every function returns an array whose sum is 1 and whose centre is at pixel
``size // 2`` of both axes.  Lengths are in pixels, angles in radians from +x
towards +y, wavefront errors in waves (root mean square) of the middle wavelength.
"""

from __future__ import annotations

from nox_train.psf.colour import dispersion, refractivity
from nox_train.psf.diffraction import bands, diffraction
from nox_train.psf.draws import random_optics
from nox_train.psf.grids import convolve
from nox_train.psf.motion import double, motion_kernel, periodic, together, trail, wind
from nox_train.psf.optics import (
    RGB_WAVELENGTHS_UM,
    Optics,
    colour_psf,
    grid_weights,
    psf_grid,
)
from nox_train.psf.pupils import APERTURES, bahtinov, hexagons, pupil
from nox_train.psf.scatter import Halo, aureole, microlens, reflection
from nox_train.psf.seeing import kolmogorov, kolmogorov_otf, moffat
from nox_train.psf.widths import measured_fwhm
from nox_train.psf.zernike import ZERNIKE, noll_to_nm, wavefront, zernike

__all__ = [
    "APERTURES",
    "RGB_WAVELENGTHS_UM",
    "ZERNIKE",
    "Halo",
    "Optics",
    "aureole",
    "bahtinov",
    "bands",
    "colour_psf",
    "convolve",
    "diffraction",
    "dispersion",
    "double",
    "grid_weights",
    "hexagons",
    "kolmogorov",
    "kolmogorov_otf",
    "measured_fwhm",
    "microlens",
    "moffat",
    "motion_kernel",
    "noll_to_nm",
    "periodic",
    "psf_grid",
    "pupil",
    "random_optics",
    "reflection",
    "refractivity",
    "together",
    "trail",
    "wavefront",
    "wind",
    "zernike",
]
