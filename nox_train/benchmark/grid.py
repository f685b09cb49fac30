"""Which synthetic scenes the benchmark has: a balanced grid drawn from one seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

#: Everything random in the benchmark is drawn from generators seeded with this number
#: first; training seeds its own with small numbers, so that no draw is shared.
SEED = 20261204
#: Counts up whenever a change alters the pictures; results of different versions
#: must not be compared.  Invented backgrounds follow those of training: a change there alters
#: the scenes that are made without a folder (named in CHANGELOG.md), and no others.
VERSION = 1
#: Counts up whenever a figure is measured in another way.
MEASURES = 2
SIZE = 512

#: Full width at half maximum asked of the renderer, in pixels.
FWHMS = (1.2, 1.6, 2.0, 2.6, 3.4, 4.5, 6.0, 8.0)
#: ``linear`` pictures are handed over unstretched; the others as they are displayed.
STRETCHES = ("linear", "mtf", "strong", "asinh")
#: Stars above 5 sigma a megapixel, before the limit of `Spec.density`.
DENSITIES = (300.0, 1500.0, 6000.0, 18000.0)
#: Standard deviation of the sky's grain on the display scale.
GRAINS = (0.005, 0.012, 0.024, 0.045)
#: Vanes of the telescope's spider: 0 none, 3 make six spikes, 4 make four.
VANES = (0, 4, 0, 3)


@dataclass(frozen=True)
class Spec:
    """What is asked of one scene.

    Attributes
    ----------
    index : int
        Its number; with `SEED` it seeds everything random in the scene.
    fwhm : float
        Of the stars, in pixels.
    stretch : str
        One of `STRETCHES`.
    density : float
        Stars above 5 sigma a megapixel.
    grain : float
        Standard deviation of the sky on the display scale.
    vanes : int
        Of the spider; 0 for no spikes.
    mono : bool
    bright : int
        Saturated stars added to those that the population has.
    correlation : float
        Width of the Gaussian that the noise went through, in pixels: 0 for the white
        noise of a raw mono frame, more for debayered or registered pictures.
    size : int
        Side, in pixels.
    """

    index: int
    fwhm: float
    stretch: str
    density: float
    grain: float
    vanes: int
    mono: bool
    bright: int
    correlation: float
    size: int = SIZE

    @property
    def name(self) -> str:
        """Short and telling, for tables: ``07-fwhm1.6-asinh-mono``."""
        kind = "mono" if self.mono else "rgb"
        return f"{self.index:02}-fwhm{self.fwhm:g}-{self.stretch}-{kind}"

    @property
    def linear(self) -> bool:
        """Whether the picture is handed over unstretched."""
        return self.stretch == "linear"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def _dealt(values: tuple, count: int, rng: np.random.Generator) -> list:
    """Each value equally often, in random order."""
    deck = [values[i % len(values)] for i in range(count)]
    return [deck[i] for i in rng.permutation(count)]


def grid(*, quick: bool = False, size: int = SIZE) -> list[Spec]:
    """The benchmark's scenes: every width with every stretch, twice.

    Density, grain, spikes, colour and the rest are dealt out evenly, so that no figure
    by width or by stretch rests on one kind of sky.

    Parameters
    ----------
    quick : bool
        Eight scenes only, one of each width, two of each stretch.
    size : int
        Side of a scene, in pixels.

    Returns
    -------
    list of Spec
        64, or 8 of the same.
    """
    rng = np.random.default_rng([SEED, VERSION])
    count = 2 * len(FWHMS) * len(STRETCHES)
    densities = _dealt(DENSITIES, count, rng)
    grains = _dealt(GRAINS, count, rng)
    vanes = _dealt(VANES, count, rng)
    monos = _dealt((False, False, True, False), count, rng)
    brights = _dealt((0, 1, 2, 0), count, rng)
    correlations = _dealt((0.0, 0.5, 0.0, 0.8), count, rng)
    specs = []
    for index in range(count):
        fwhm = FWHMS[index // len(STRETCHES) % len(FWHMS)]
        specs.append(
            Spec(
                index,
                fwhm,
                STRETCHES[index % len(STRETCHES)],
                # Beyond this stars cover one another and nothing could be told apart.
                min(densities[index], 2.5e4 / fwhm**2),
                grains[index],
                vanes[index],
                monos[index],
                brights[index],
                correlations[index],
                size,
            )
        )
    if quick:
        return [specs[4 * i + i % 4] for i in range(len(FWHMS))]
    return specs
