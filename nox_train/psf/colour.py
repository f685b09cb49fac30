"""Shifts of colours against each other: the air as a prism, lenses off their axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def refractivity(wavelength_um: float) -> float:
    """``n - 1`` of dry air at 15 degrees C and 760 mm Hg.

    Edlen's formula as in Filippenko 1982, PASP 94, 715, equation 1; `wavelength_um`
    in micrometres of vacuum.
    """
    s2 = wavelength_um**-2
    return 1e-6 * (64.328 + 29498.1 / (146 - s2) + 255.4 / (41 - s2))


def dispersion(
    total: float, angle: float, wavelengths_um: Sequence[float]
) -> tuple[tuple[float, float], ...]:
    """Shift of each channel by atmospheric dispersion, the second one staying in place.

    The air bends blue more than red, all towards the zenith:
    ``R = 206265 arcsec (n - 1) tan z`` (Filippenko 1982, PASP 94, 715).

    Parameters
    ----------
    total : float
        From the first to the last channel, in pixels.
    angle : float
        Direction of the zenith, in which the shortest wavelength is displaced.
    wavelengths_um : sequence of float
        Of each channel, in micrometres.
    """
    n = np.array([refractivity(w) for w in wavelengths_um])
    spread = n.max() - n.min()
    along = total * (n - n[1]) / spread if spread else np.zeros(len(n))
    return tuple((float(a * np.cos(angle)), float(a * np.sin(angle))) for a in along)
