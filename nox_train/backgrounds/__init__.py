"""Star-free pictures to put stars on: invented nebulae, and any folder of pictures.

Into every one `add_objects` draws what is no star and must stay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nox_runtime.stretch import mtf
from nox_train.backgrounds import nebulae
from nox_train.backgrounds.fractal import fractal
from nox_train.backgrounds.nebulae import FAMILIES
from nox_train.backgrounds.objects import add_objects
from nox_train.backgrounds.palette import random_palette
from nox_train.backgrounds.points import find_points
from nox_train.backgrounds.profiles import sersic
from nox_train.backgrounds.sky import add_gradients
from nox_train.backgrounds.sources import (
    FITS_ENDINGS,
    HOLD_OUT_ONE_IN,
    PICTURE_ENDINGS,
    Picture,
    crop,
    describe,
    is_held_out,
    list_pictures,
    open_source,
    read_picture,
    star_free_crop,
)

__all__ = [
    "FAMILIES",
    "FITS_ENDINGS",
    "HOLD_OUT_ONE_IN",
    "PICTURE_ENDINGS",
    "Picture",
    "add_gradients",
    "add_objects",
    "crop",
    "describe",
    "find_points",
    "fractal",
    "is_held_out",
    "list_pictures",
    "make",
    "open_source",
    "procedural",
    "read_picture",
    "sersic",
    "star_free_crop",
]


def procedural(
    size: int, rng: np.random.Generator, family: str | None = None, *, objects: bool = True
) -> np.ndarray:
    """Invent a nebula or an empty sky, as it would look stretched for display.

    Parameters
    ----------
    size : int
        Side in pixels.
    rng : numpy.random.Generator
    family : str, optional
        A key of `FAMILIES`; by default one is drawn.
    objects : bool
        Whether `add_objects` is to draw into it.

    Returns
    -------
    ndarray, shape (3, size, size), float32, values 0 to 1
    """
    picture, _ = _invented(size, rng, family)
    return add_objects(picture, rng)[0] if objects else picture


def _invented(size: int, rng: np.random.Generator, family: str | None) -> tuple[np.ndarray, dict]:
    if family is None:
        family = str(rng.choice(list(nebulae.SHARES), p=list(nebulae.SHARES.values())))
    elif family not in FAMILIES:
        raise ValueError(f"family is {family!r}; it must be one of {list(FAMILIES)}")
    palette = random_palette(rng)
    light = FAMILIES[family](size, rng, palette)
    facts: dict = {"family": family, "palette": palette.name}
    light = light / max(float(np.percentile(light[:, ::2, ::2], 99.7)), 1e-6)
    if family == "sky" or rng.random() < 0.4:
        light, gradients = add_gradients(light, rng)
        facts |= gradients
    peak = max(float(np.percentile(light[:, ::2, ::2], 99.7)), 1e-6)
    # A stretch from nearly none to strong, then black point and brightness.
    m = float(np.exp(rng.uniform(np.log(0.05), np.log(0.5))))
    flat = family in ("sky", "cirrus", "dark cloud")
    shown = light / peak * rng.uniform(0.05, 0.6) if flat else mtf(np.clip(light / peak, 0, 1), m)
    picture = shown * rng.uniform(0.3, 0.9) + rng.uniform(0.02, 0.2)
    facts |= {"midtones": m}
    return np.clip(picture, 0, 1).astype(np.float32), facts


def make(
    size: int,
    rng: np.random.Generator,
    path: Path | None = None,
    *,
    mode: str | None = None,
    seeing: float | None = None,
    abundance: float = 1.0,
) -> tuple[np.ndarray, dict]:
    """Make one background, with its objects.

    Parameters
    ----------
    size : int
        Side in pixels.
    rng : numpy.random.Generator
    path : Path, optional
        A picture to cut it from.  Without one, or where the picture shows stars
        wherever it is cut, the background is invented.
    mode, seeing, abundance : optional
        Of `add_objects`.

    Returns
    -------
    picture : ndarray, shape (3, size, size), float32, values 0 to 1
    parameters : dict
        All that was drawn; ``picture``: the file's name or '', ``objects``: of
        `add_objects`, ``seeing``: the objects' FWHM in pixels, None without any.
    """
    facts: dict = {"picture": ""}
    picture = None
    if path is not None:
        picture, facts = star_free_crop(read_picture(path), size, rng)
        facts["picture"] = path.name
    if picture is None:
        picture, invented = _invented(size, rng, None)
        facts |= invented
    picture, facts["objects"] = add_objects(
        picture, rng, mode=mode, seeing=seeing, abundance=abundance
    )
    facts["seeing"] = facts["objects"][0]["seeing"] if facts["objects"] else None
    return picture, facts
