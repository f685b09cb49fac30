"""Colours of stars: black bodies through broad and narrow passbands."""

from __future__ import annotations

import numpy as np

_HC_OVER_K_UM = 14387.77  # second radiation constant, micrometre kelvin (CODATA 2018)
#: Centre and full width at half maximum of a colour camera's red, green and blue
#: passbands, in micrometres: Gaussians close to those of Sony's sensors behind an
#: infrared filter.
PASSBANDS_UM = ((0.600, 0.090), (0.530, 0.100), (0.465, 0.090))
#: Emission lines of narrowband filters, in micrometres.
LINES_UM = {"S": 0.6724, "H": 0.6563, "O": 0.5007}


def _photons(wavelength_um: np.ndarray, kelvin: np.ndarray) -> np.ndarray:
    """Photons a second and wavelength of a black body, up to a factor (Planck)."""
    return wavelength_um**-4 / np.expm1(_HC_OVER_K_UM / (wavelength_um * kelvin))


def _through(
    passbands: tuple[tuple[float, float], ...], kelvin: np.ndarray, reddening: float
) -> np.ndarray:
    """Photons through Gaussian passbands; shape (bands, n)."""
    offsets = np.linspace(-1.2, 1.2, 13)  # in full widths
    weight = np.exp(-4 * np.log(2) * offsets**2)
    out = []
    for centre, width in passbands:
        wavelength = (centre + offsets * width)[:, None]
        # Interstellar extinction goes as 1 / wavelength here (Cardelli et al. 1989,
        # ApJ 345, 245), in magnitudes at 0.55 micrometres.
        dust = 10 ** (-0.4 * reddening * 0.55 / wavelength)
        out.append((weight[:, None] * dust * _photons(wavelength, kelvin[None])).sum(axis=0))
    return np.stack(out)


def blackbody_rgb(
    temperature: np.ndarray, *, white: float = 6000.0, reddening: float = 0.0
) -> np.ndarray:
    """Colour of black bodies through a colour camera's passbands and white balance.

    Parameters
    ----------
    temperature : ndarray, shape (n,)
        Kelvin, 1,500 to 50,000.
    white : float
        Temperature of the black body that the camera shows as grey, in kelvin.
    reddening : float
        Interstellar extinction at 0.55 micrometres, in magnitudes.

    Returns
    -------
    ndarray, shape (3, n), float64
        Relative photon counts of red, green and blue; their mean is 1.
    """
    t = np.atleast_1d(np.asarray(temperature, float))
    colour = _through(PASSBANDS_UM, t, reddening)
    colour = colour / _through(PASSBANDS_UM, np.array([white]), 0.0)
    return np.asarray(colour / colour.mean(axis=0))


def narrowband_rgb(
    temperature: np.ndarray, palette: str, gains: tuple[float, float, float]
) -> np.ndarray:
    """Colour of stars in a narrowband picture.

    The filters see the continuum at their lines; each channel is then stretched by
    itself until the nebula looks right, which tints the stars, mostly magenta.

    Parameters
    ----------
    temperature : ndarray, shape (n,)
        Kelvin.
    palette : str
        The lines in red, green and blue, as ``"SHO"`` or ``"HOO"``.
    gains : tuple of float
        Of each channel.

    Returns
    -------
    ndarray, shape (3, n), float64, mean 1
    """
    unknown = set(palette) - set(LINES_UM)
    if unknown or len(palette) != 3:
        raise ValueError(f"palette is {palette!r}; it must be three letters of S, H and O")
    t = np.atleast_1d(np.asarray(temperature, float))
    bands = tuple((LINES_UM[line], 0.006) for line in palette)
    colour = _through(bands, t, 0.0) / _through(bands, np.array([6000.0]), 0.0)
    colour = colour * np.array(gains)[:, None]
    return np.asarray(colour / colour.mean(axis=0))
