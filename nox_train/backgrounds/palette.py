"""Colours of light, as cameras and the usual palettes show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nox_train.colours import blackbody_rgb

#: White balance: a star of the Sun's temperature (in kelvin) is white.
WHITE = 5772.0
#: Extinction in red, green and blue over that in green: the mean law of R_V = 3.1
#: (Cardelli, Clayton & Mathis 1989, ApJ 345, 245).
EXTINCTION = (0.85, 1.0, 1.21)

#: Emission lines in red, green and blue.  Broadband: H alpha with its share of H beta
#: is pink, [O III] (500.7 nm) between green and blue; HOO and SHO are the mappings of
#: narrowband frames, SHO with its green cut back, as nearly everybody does.
LINES: dict[str, dict[str, tuple[float, float, float]]] = {
    "broadband": {"ha": (1.0, 0.20, 0.30), "oiii": (0.08, 0.85, 0.80), "sii": (1.0, 0.10, 0.08)},
    "HaRGB": {"ha": (1.0, 0.10, 0.16), "oiii": (0.10, 0.75, 0.80), "sii": (1.0, 0.05, 0.05)},
    "HOO": {"ha": (1.0, 0.10, 0.12), "oiii": (0.02, 0.90, 0.95), "sii": (0.9, 0.06, 0.06)},
    "SHO": {"ha": (0.75, 0.62, 0.10), "oiii": (0.06, 0.55, 1.0), "sii": (1.0, 0.38, 0.10)},
    "mono": {"ha": (1.0, 1.0, 1.0), "oiii": (0.6, 0.6, 0.6), "sii": (0.7, 0.7, 0.7)},
}
#: How often each is drawn.
SHARES = {"broadband": 0.45, "HaRGB": 0.15, "HOO": 0.15, "SHO": 0.15, "mono": 0.10}


@dataclass(frozen=True)
class Palette:
    """What the lines and the continuum look like in one picture.

    Attributes
    ----------
    name : str
        A key of `LINES`.
    tint : tuple of float
        The picture's own balance: factors of red, green and blue.
    """

    name: str
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def line(self, line: str) -> np.ndarray:
        """RGB of 'ha', 'oiii' or 'sii'; shape (3,), brightest about 1."""
        return np.array(LINES[self.name][line]) * self.tint

    def continuum(self, temperature: float) -> np.ndarray:
        """RGB of a blackbody (kelvin), mean 1; all but grey in narrowband."""
        rgb = blackbody_rgb(np.array([temperature]), white=WHITE)[:, 0]
        if self.name in ("HOO", "SHO"):
            rgb = 1 + 0.25 * (rgb - 1)
        elif self.name == "mono":
            rgb = np.ones(3)
        return np.asarray(rgb * self.tint)

    def extinction(self) -> np.ndarray:
        """Optical depth in red, green and blue for one in green."""
        return np.ones(3) if self.name == "mono" else np.array(EXTINCTION)


def random_palette(rng: np.random.Generator) -> Palette:
    """Draw a palette and a small tint."""
    name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    if name == "mono":
        return Palette(name)
    red, green, blue = np.exp(rng.normal(0.0, 0.08, 3))
    return Palette(name, (float(red), float(green), float(blue)))
