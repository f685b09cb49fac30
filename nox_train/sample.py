"""The sample picture that comes with nox: an invented nebula, with stars and a WCS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from nox_runtime.stretch import mtf
from nox_train import backgrounds, psf, sensor, stars

SEED = 20261122
SIDE = 480


def sample_picture(seed: int = SEED, side: int = SIDE) -> np.ndarray:
    """A stack of linear frames of an emission nebula through a small Newtonian.

    Returns
    -------
    ndarray, shape (3, side, side), uint16
    """
    rng = np.random.default_rng(seed)
    nebula = np.zeros((3, side, side), np.float32)
    cloud = backgrounds.fractal(side, 3.3, rng) ** 1.6
    dust = backgrounds.fractal(side, 3.0, rng)
    for c, (red, veil) in enumerate(((0.62, 0.35), (0.22, 0.6), (0.28, 0.9))):
        nebula[c] = 0.14 + red * cloud * np.exp(-2.2 * veil * dust)
    linear = mtf(np.clip(nebula, 0, 0.95), 1 - 0.02)
    optics = psf.Optics(
        fwhm=2.6, beta=3.2, lambda_over_d=1.1, obstruction=0.33, vanes=4, vane_width=0.008,
        vane_angle=0.35, aureole_share=0.03, width_ratio=(1.03, 1.0, 1.05),
    )  # fmt: skip
    population = stars.Population(density=2600, slope=0.75, dynamic_range=2e4, saturation=1.0)
    field = stars.star_field(1024, optics, population, rng)
    light = linear + 4.0 * field.light[:, :side, :side]
    light = light + sensor.noise(light, 3e-4, 4e-5, rng, correlation=0.5)
    return np.clip(light * 60000 + 300, 0, 65535).astype(np.uint16)


def write_sample(path: Path, seed: int = SEED) -> None:
    """Write the sample as a RICE-compressed FITS file with a header like a camera's."""
    pixels = sample_picture(seed)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [83.822, -5.391]
    wcs.wcs.crpix = [pixels.shape[2] / 2 + 0.5, pixels.shape[1] / 2 + 0.5]
    wcs.wcs.cd = np.array([[-4.7e-4, 2e-5], [2e-5, 4.7e-4]])
    header = wcs.to_header()
    header["OBJECT"] = ("nox sample", "invented: no such nebula exists")
    header["EXPTIME"] = (300.0, "seconds a frame")
    header["STACKCNT"] = (24, "frames")
    header["FILTER"] = "RGB"
    header["ROWORDER"] = "BOTTOM-UP"
    header.add_history(f"nox-train sample, seed {seed}")
    hdu = fits.CompImageHDU(
        pixels, header, compression_type="RICE_1", tile_shape=(1, 32, pixels.shape[2])
    )
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
