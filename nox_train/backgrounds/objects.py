"""Draw what must stay into a background: galaxies, knots, comets, trails.

The network learns from them what is no star, since they are in a scene's input and
in its target alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nox_train.backgrounds import galaxies, knots, passing
from nox_train.backgrounds.canvas import Canvas, log_uniform
from nox_train.backgrounds.palette import Palette, random_palette

#: A background of 512 px holds none, a few objects, or many small galaxies ...
MODES = ("none", "few", "many")
#: ... this often.  Every one has something that must stay; a scene is a quarter of it.
MODE_SHARES = (0.0, 0.85, 0.15)
_Draw = Callable[[Canvas, np.random.Generator], dict]
#: Each kind, and how many of it a background with "a few" holds on average.
KINDS: dict[str, tuple[_Draw, float]] = {
    "spiral": (galaxies.spiral, 1.1),
    "elliptical": (galaxies.elliptical, 1.6),
    "edge-on": (galaxies.edge_on, 0.7),
    "galaxy cluster": (galaxies.cluster, 0.06),
    "planetary nebula": (knots.planetary, 1.2),
    "clump": (knots.clump, 1.6),
    "HII complex": (knots.hii_complex, 0.30),
    "Herbig-Haro": (knots.herbig_haro, 0.12),
    "bright core": (knots.bright_core, 0.05),
    "globules": (knots.globules, 0.15),
    "filaments": (knots.filaments, 0.12),
    "comet": (passing.comet, 0.07),
    "trail": (passing.trail, 0.10),
}
#: Small galaxies in a background of 512 px: with "a few", on average; with "many", from
#: and to.  The Hubble Deep Field shows some 600 to its picture of 512 px a side.
SMALL_FEW = 12.0
SMALL_MANY = (80.0, 900.0)
#: Chance of labels and lines drawn on the finished picture.
MARKS = 0.04
#: Narrowest and widest seeing of the objects, FWHM in pixels.
SEEING = (1.0, 10.0)


def add_objects(
    picture: np.ndarray,
    rng: np.random.Generator,
    *,
    mode: str | None = None,
    kinds: Sequence[str] | None = None,
    seeing: float | None = None,
    palette: Palette | None = None,
    at: tuple[float, float] | None = None,
    abundance: float = 1.0,
) -> tuple[np.ndarray, list[dict]]:
    """Draw objects that are no stars into a stretched, star-free picture.

    The picture is unstretched by an MTF with midtones drawn from 0.01 to 0.3, the
    objects' light is added, blurred by one seeing, dust dims it, and it is stretched
    again.  Nothing round and as narrow as a star is drawn, except as the core of
    something larger.

    Parameters
    ----------
    picture : ndarray, shape (3, size, size), values 0 to 1
    rng : numpy.random.Generator
    mode : {'none', 'few', 'many'}, optional
        By default drawn with the shares `MODE_SHARES`.
    kinds : sequence of str, optional
        Exactly these, one each, from `KINDS`, 'small galaxies' and 'marks', instead
        of what `mode` would draw.
    seeing : float, optional
        FWHM in pixels, by default drawn log-uniformly from `SEEING`; with 'many'
        small galaxies at most 3.
    palette : Palette, optional
        By default drawn.
    at : tuple of float, optional
        Where (x, y) the objects are to stand, pixels; by default anywhere.
    abundance : float
        How many times as many as usual, on average, of those that are drawn by chance: of
        `KINDS`, of the few small galaxies, and of backgrounds with many.

    Returns
    -------
    picture : ndarray, shape (3, size, size), float32, values 0 to 1
        The one given is not changed.
    parameters : list of dict
        One for each object: ``kind``, ``seeing``, and what the kind has.
    """
    if mode is not None and mode not in MODES:
        raise ValueError(f"mode is {mode!r}; it must be one of {MODES}")
    if mode is None:
        many = min(1.0, MODE_SHARES[2] * abundance)
        mode = str(rng.choice(MODES, p=(MODE_SHARES[0], 1 - MODE_SHARES[0] - many, many)))
    if kinds is None:
        kinds = _draw_kinds(mode, rng, abundance)
    known = {*KINDS, "small galaxies", "marks"}
    if unknown := [k for k in kinds if k not in known]:
        raise ValueError(f"kinds holds {unknown[0]!r}; each must be one of {sorted(known)}")
    picture = np.asarray(picture, np.float32)
    if not kinds:
        return picture, []
    if seeing is None:
        widest = 3.0 if mode == "many" else SEEING[1]
        seeing = log_uniform(rng, SEEING[0], widest)
    size = picture.shape[1]
    canvas = Canvas(
        size,
        palette or random_palette(rng),
        midtones=log_uniform(rng, 0.01, 0.3),
        level=float(np.clip(np.median(picture[:, ::4, ::4]), 0.01, 0.9)),
        seeing=seeing,
        at=at,
    )
    facts = []
    for kind in kinds:
        if kind in KINDS:
            facts.append(KINDS[kind][0](canvas, rng))
    if count := _small_count(mode, kinds, size, rng, abundance):
        facts.append(galaxies.small(canvas, rng, count))
    picture = canvas.put_on(picture)
    if "marks" in kinds:
        picture, marks = passing.draw_marks(picture, rng)
        facts.append(marks)
    facts = [{**f, "seeing": seeing} for f in facts]
    return np.clip(picture, 0, 1).astype(np.float32), facts


def _draw_kinds(mode: str, rng: np.random.Generator, abundance: float) -> list[str]:
    if mode == "none":
        return ["marks"] if rng.random() < MARKS else []
    often = abundance * (1.0 if mode == "few" else 0.3)
    drawn = [k for k, (_, rate) in KINDS.items() for _ in range(rng.poisson(often * rate))]
    drawn.append("small galaxies")
    return [*drawn, "marks"] if rng.random() < MARKS else drawn


def _small_count(
    mode: str, kinds: Sequence[str], size: int, rng: np.random.Generator, abundance: float
) -> int:
    """How many small galaxies, by the frame's area."""
    if "small galaxies" not in kinds:
        return 0
    area = (size / 512) ** 2
    if mode == "many":
        return max(1, round(area * log_uniform(rng, *SMALL_MANY)))
    return int(rng.poisson(abundance * SMALL_FEW * area))
