"""Draws of optics for training: what amateurs have, and now and then a space telescope."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nox_train.psf.colour import dispersion
from nox_train.psf.optics import LINES_UM, RGB_WAVELENGTHS_UM, Optics
from nox_train.psf.scatter import Halo
from nox_train.psf.zernike import ZERNIKE

#: Sets of filters of the Webb and the Hubble telescope, in micrometres, red first.
WEBB_UM = ((4.44, 2.77, 1.50), (4.44, 3.35, 2.00), (2.00, 1.50, 0.90), (4.70, 4.44, 3.35))
HUBBLE_UM = ((0.814, 0.606, 0.435), (1.60, 1.25, 1.05), (0.658, 0.606, 0.502))


#: Share of the telescopes with wide stars, and how wide they are, FWHM in pixels.
WIDE, _WIDTHS = 0.15, (4.0, 10.0)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


def _filters(rng: np.random.Generator, mono: bool) -> dict[str, Any]:
    """Passbands: a colour camera's, luminance or one narrow one.

    Three narrow ones come with the stars' colours, by `Optics.through`.
    """
    if mono:
        line = rng.random() < 0.4
        wavelength = LINES_UM[str(rng.choice(list(LINES_UM)))] if line else 0.55
        return {"wavelengths_um": (wavelength,) * 3, "bandwidth": (0.01 if line else 0.5,) * 3}
    return {
        "wavelengths_um": RGB_WAVELENGTHS_UM,
        "bandwidth": _three(rng.uniform(0.14, 0.24, 3)),
    }


def _aberrations(rng: np.random.Generator, scale: float) -> dict[str, float]:
    names = [name for name in ZERNIKE if not name.startswith("tilt")]
    strength = float(rng.exponential(scale))
    return {str(n): float(rng.normal(0, strength)) for n in rng.choice(names, 3, replace=False)}


def _scatter(rng: np.random.Generator, mono: bool) -> dict[str, Any]:
    """Aureole, reflections in four pictures of ten, microlens replicas in one of twenty."""
    halos = []
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.58, 0.28, 0.09, 0.05]))):
        colour = np.full(3, 0.6) if mono else rng.uniform(0.2, 1, 3)
        thin = rng.random() < 0.2
        halos.append(
            Halo(
                share=_three(10 ** rng.uniform(-3.5, -1.5) * colour),
                radius=float(rng.uniform(12, 90)),
                hole=float(rng.uniform(0.8, 0.95) if thin else rng.choice([0, 0.2, 0.35, 0.5])),
                offset=tuple((rng.normal(0, 6, 2) * (rng.random() < 0.5)).tolist()),
                softness=float(rng.uniform(1, 6)),
            )
        )
    out: dict[str, Any] = {
        "aureole_share": float(10 ** rng.uniform(-2.5, -0.8)),
        "aureole_exponent": float(rng.uniform(2.0, 3.0)),
        "halos": tuple(halos),
    }
    if rng.random() < 0.05:
        out |= {
            "microlens_share": float(10 ** rng.uniform(-3.3, -2.0)),
            "microlens_period": float(rng.uniform(18, 80)),
            "microlens_blur": float(rng.uniform(1.0, 4.0)),
            "microlens_blaze": float(rng.uniform(1.6, 4.0)),
        }
    return out


def _motions(rng: np.random.Generator, fwhm: float) -> dict[str, Any]:
    """Trouble with the mount in one picture of six."""
    out: dict[str, Any] = {}
    angle = float(rng.uniform(0, np.pi))
    kind = rng.random()
    if kind < 0.07:
        length = float(min(rng.exponential(0.8 * fwhm + 0.4), 8.0))
        out = {"trail": length, "trail_angle": angle}
        if rng.random() < 0.3:
            out["trail_bend"] = float(rng.normal(0, 0.2 * length))
    elif kind < 0.10:
        out = {
            "periodic_error": float(min(rng.exponential(0.4 * fwhm + 0.2), 4.0)),
            "periodic_cycles": float(rng.uniform(0.6, 4.0)),
            "trail_angle": angle,
        }
    elif kind < 0.13:
        out = {"wind": float(rng.uniform(0.2, 0.6) * fwhm), "wind_angle": angle}
    elif kind < 0.15:
        out = {
            "jump": float(rng.uniform(1.0, 4.0) * fwhm),
            "jump_angle": float(rng.uniform(0, 2 * np.pi)),
            "jump_share": float(rng.uniform(0.03, 0.35)),
        }
    elif kind < 0.17:
        out = {"field_rotation": float(rng.uniform(0.3, 2.0) * fwhm)}
    return out


def _colours(rng: np.random.Generator, wavelengths_um: tuple, refractor: bool) -> dict[str, Any]:
    """Width, shift and focus of the channels; violet halos of refractors."""
    ratio = 1 + rng.normal(0, 0.06, 3)
    if rng.random() < 0.2:  # an achromat's violet or red blur
        ratio[rng.choice([0, 2])] *= rng.uniform(1.1, 1.8)
    shift = rng.normal(0, 1, (3, 2)) * min(float(rng.exponential(0.2)), 1.0)
    shift[1] = 0.0
    if rng.random() < 0.3:
        along = dispersion(min(rng.exponential(0.6), 2.5), rng.uniform(0, 2 * np.pi),
                           wavelengths_um)  # fmt: skip
        shift = shift + np.array(along)
    out: dict[str, Any] = {
        "width_ratio": _three(ratio.clip(0.7, 2.0)),
        "shift": tuple((float(x), float(y)) for x, y in shift),
    }
    if refractor and rng.random() < 0.35:
        violet, red = rng.uniform(0.03, 0.35), rng.uniform(0.0, 0.12) * (rng.random() < 0.5)
        out["fringe_share"] = (float(red), 0.0, float(violet))
        out["fringe_width"] = float(rng.uniform(2.5, 9.0))
    if refractor and rng.random() < 0.35:
        defocus = rng.uniform(0.05, 0.4) * rng.choice([-1, 1])
        out["chromatic_defocus"] = (float(rng.uniform(0, 0.7) * defocus), 0.0, float(defocus))
    return out


def _corner(rng: np.random.Generator, mono: bool) -> dict[str, Any]:
    """A place off the middle of a fast system's frame."""
    return {
        "field_coma": float(rng.normal(0, 0.3)),
        "field_astigmatism": float(rng.normal(0, 0.2)),
        "field_curvature": float(rng.normal(0, 0.15)),
        "field_tilt": tuple(rng.normal(0, 0.1, 2).tolist()),
        "field_vignetting": float(rng.uniform(0, 0.25)) * (rng.random() < 0.3),
        "field_colour": 0.0 if mono else float(rng.normal(0, 0.8)),
    }


def _clips(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """Three to six clips or spacers, not quite evenly spaced nor alike."""
    count, first = int(rng.choice([3, 3, 4, 6])), float(rng.uniform(0, 2 * np.pi))
    width, depth = rng.uniform(0.008, 0.05), rng.uniform(0.01, 0.06)
    return tuple(
        (
            float(first + 2 * np.pi * k / count + rng.normal(0, 0.06)),
            float(width * rng.uniform(0.6, 1.4)),
            float(depth * rng.uniform(0.4, 1.4)),
        )
        for k in range(count)
    )


def _space_telescope(rng: np.random.Generator, mono: bool) -> Optics:
    webb = rng.random() < 0.75
    sets = WEBB_UM if webb else HUBBLE_UM
    wavelengths = sets[int(rng.integers(len(sets)))]
    if mono:
        wavelengths = (wavelengths[1],) * 3
    o = Optics(
        fwhm=float(rng.uniform(0.5, 1.0)),
        beta=5.0,
        wavelengths_um=wavelengths,
        bandwidth=(float(rng.choice([0.02, 0.1, 0.25])),) * 3,
        lambda_over_d=float(rng.uniform(0.8, 2.0)),
        aberrations=_aberrations(rng, 0.02),
        aureole_share=float(10 ** rng.uniform(-3, -2)),
        aureole_exponent=float(rng.uniform(2.5, 3.0)),
    )
    angle = float(rng.uniform(0, 2 * np.pi))
    if webb:
        return replace(o, aperture="hexagons", aperture_angle=angle)
    return replace(o, obstruction=0.33, vanes=4, vane_width=0.011, vane_angle=angle)


def random_optics(rng: np.random.Generator, *, mono: bool = False) -> Optics:
    """Draw a telescope, a night and a camera such as amateurs have.

    Two fifths of the widths are below 1.8 px: wide fields, and pictures made smaller
    for the web. One in seven is drawn from 4 to 10 px: long focal lengths, drizzle. More
    than half of the telescopes show diffraction, and of those with a secondary most have
    four vanes. A fifth of the fields lie off the axis of a fast system, a sixth suffered
    from the mount; a third of the refractors has violet halos. Clips or spacers at the edge
    of one aperture in eight throw short uneven rays, as do irises whose blades lie
    unevenly. Three in a hundred are the Webb telescope's, one Hubble's; 1.5 in a hundred
    are out of focus. With `mono` all channels are alike.
    """
    if rng.random() < 0.04:
        return _space_telescope(rng, mono)
    fwhm = float(np.exp(rng.normal(np.log(2.8), 0.45)).clip(1.1, 9.0))
    kind = rng.random()
    if kind < 0.35:
        fwhm = float(rng.uniform(0.5, 1.8))
    elif kind < 0.35 + WIDE:
        fwhm = float(np.exp(rng.uniform(*np.log(_WIDTHS))))
    secondary = rng.random() < 0.45
    iris = not secondary and rng.random() < 0.1  # a camera lens stopped down
    clipped = not iris and rng.random() < 0.12
    corner, donut = rng.random() < 0.2, rng.random() < 0.015
    diffracts = secondary or iris or clipped or corner or donut or rng.random() < 0.15
    lambda_over_d = float(rng.uniform(0.62, max(0.8, min(2.2, fwhm))))
    filters = _filters(rng, mono)
    facts: dict[str, Any] = {
        **filters,
        **_scatter(rng, mono),
        **_motions(rng, fwhm),
        "position": tuple(rng.uniform(-1, 1, 2).tolist()),
        "aberrations": _aberrations(rng, 0.04),
    }
    if not mono:
        facts |= _colours(rng, filters["wavelengths_um"], refractor=not secondary and not iris)
    if corner:
        facts |= _corner(rng, mono)
    if donut:
        facts["aberrations"]["defocus"] = float(rng.uniform(0.5, 1.8) * rng.choice([-1, 1]))
    if secondary:
        facts |= {
            "obstruction": float(rng.uniform(0.2, 0.45)),
            "vanes": int(rng.choice([0, 2, 3, 4, 6, 8], p=[0.15, 0.02, 0.14, 0.58, 0.08, 0.03])),
            "vane_width": float(rng.uniform(0.003, 0.02)),
            "vane_angle": float(rng.uniform(0, np.pi)),
            "vane_bend": float(rng.normal(0, 0.05)) if rng.random() < 0.03 else 0.0,
            "vane_offset": float(rng.uniform(0.02, 0.08)) if rng.random() < 0.06 else 0.0,
        }
    if iris:
        blades, uneven = int(rng.choice([5, 6, 7, 8, 9])), rng.random() < 0.5
        facts |= {
            "blades": blades,
            "blade_angle": float(rng.uniform(0, np.pi)),
            "blade_errors": tuple((uneven * rng.normal(0, 0.06, blades)).tolist()),
        }
    if clipped:
        facts["clips"] = _clips(rng)
    return Optics(
        fwhm=fwhm,
        beta=float(rng.uniform(2.2, 5.0)),
        ellipticity=float(rng.beta(1.2, 8)) * 0.7,
        angle=float(rng.uniform(0, np.pi)),
        seeing="kolmogorov" if fwhm > 1.5 and rng.random() < 0.2 else "moffat",
        outer_scale=float(rng.choice([0.0, rng.uniform(80, 400)])),
        lambda_over_d=lambda_over_d if diffracts else 0.0,
        **facts,
    )
