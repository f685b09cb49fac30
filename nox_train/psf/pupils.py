"""Apertures: what of a plane wave a telescope lets through.

Every function returns amplitudes from 0 to 1 on a square grid whose origin is
sample ``samples // 2``.  `diameter` is in grid steps, other lengths are shares of
the diameter, angles in radians from +x towards +y.  Edges are ramps one grid step
wide, which keeps narrow vanes and gaps right below a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def _axes(samples: int, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    xs = (np.arange(samples) - samples // 2) / (diameter / 2)
    return xs[None, :], xs[:, None]


def pupil(
    samples: int,
    diameter: float,
    *,
    obstruction: float = 0.0,
    vanes: int = 0,
    vane_width: float = 0.01,
    vane_angle: float = 0.0,
    vane_bend: float = 0.0,
    vane_offset: float = 0.0,
    blades: int = 0,
    blade_angle: float = 0.0,
    blade_errors: Sequence[float] = (),
    clips: Sequence[tuple[float, float, float]] = (),
    vignetting: float = 0.0,
    vignetting_angle: float = 0.0,
) -> np.ndarray:
    """Round or polygonal aperture with a secondary mirror on vanes.

    Parameters
    ----------
    samples : int
        Side of the square grid.
    diameter : float
        Diameter of the aperture, in grid steps.
    obstruction : float
        Diameter of the central obstruction over that of the aperture, 0 to 0.6.
    vanes : int
        Number of half-vanes from the centre outwards, evenly spaced.  An even
        number makes as many spikes, an odd one twice as many.
    vane_width : float
        Over the diameter of the aperture.
    vane_angle : float
        Direction of the first vane.
    vane_bend : float
        Sagitta of curved vanes, which smear a spike to a fan.
    vane_offset : float
        Sideways distance of a vane's line from the centre (tangential spiders).
    blades : int
        Blades of a lens's iris; fewer than 3 is a round aperture.  An even number
        makes as many spikes, an odd one twice as many.
    blade_angle : float
        Direction of the middle of the first blade.
    blade_errors : sequence of float
        How far each blade is turned from where it should be: the two ends of a spike part.
    clips : sequence of (angle, width, depth)
        What reaches into the aperture from its edge: clips that hold a mirror, spacers of
        a lens; short uneven rays at right angles to them.  Widths and depths over the
        diameter.
    vignetting : float
        Shift of a second circle of the same size that cuts the aperture to a lens or
        cat's eye, over the diameter: what a barrel does in the corners.
    vignetting_angle : float
        Its direction.

    Returns
    -------
    ndarray, shape (samples, samples), float64, values 0 to 1
    """
    x, y = _axes(samples, diameter)
    edge = diameter / 2
    r = np.hypot(x, y)
    if blades >= 3:
        open_ = np.ones_like(r)
        for k in range(blades):
            a = blade_angle + 2 * np.pi * k / blades
            a += blade_errors[k] if k < len(blade_errors) else 0.0
            inside = np.cos(np.pi / blades) - (x * np.cos(a) + y * np.sin(a))
            open_ *= np.clip(inside * edge + 0.5, 0, 1)
    else:
        open_ = np.clip((1.0 - r) * edge + 0.5, 0, 1)
    if vignetting:
        a = 2 * vignetting
        far = np.hypot(x - a * np.cos(vignetting_angle), y - a * np.sin(vignetting_angle))
        open_ *= np.clip((1.0 - far) * edge + 0.5, 0, 1)
    if obstruction:
        open_ *= np.clip((r - obstruction) * edge + 0.5, 0, 1)
    for k in range(vanes):
        a = vane_angle + 2 * np.pi * k / vanes
        along = x * np.cos(a) + y * np.sin(a)
        across = -x * np.sin(a) + y * np.cos(a) - 2 * vane_offset
        if vane_bend:
            across = across - 8 * vane_bend * along * (1 - along)
        open_ *= 1.0 - np.where(along > 0, _bar(np.abs(across), vane_width, edge), 0.0)
    for angle, width, depth in clips:
        along = x * np.cos(angle) + y * np.sin(angle)
        across = np.abs(-x * np.sin(angle) + y * np.cos(angle))
        cover = np.clip((along - 1 + 2 * depth) * edge + 0.5, 0, 1)
        open_ *= 1.0 - cover * _bar(across, width, edge)
    return open_


def _bar(distance: np.ndarray, width: float, edge: float) -> np.ndarray:
    """Cover of a bar `width` (of the diameter) wide at a `distance` (radii) from its line."""
    return np.clip((width - distance) * edge + 0.5, 0, 1) * min(1.0, 2 * width * edge)


def hexagons(
    samples: int,
    diameter: float,
    *,
    gap: float = 0.0011,
    strut_width: float = 0.0125,
    angle: float = 0.0,
) -> np.ndarray:
    """Eighteen hexagonal segments in two rings and three struts, as the Webb telescope has.

    The segments have two edges along x, so that their six spikes lie at 30, 90 and
    150 degrees; of the struts one points up and two 30 degrees off straight down.
    The spikes of these two strengthen those at 30 and 150 degrees, while the first
    makes the pair along x, which ends sooner than the others.  Segments of
    1.32 m from edge to edge and gaps of 7 mm in 6.6 m are the telescope's (Perrin et al.
    2012, Proc. SPIE 8442, 84423D); struts of 0.08 m give the balance of the spikes that
    its pictures show.

    Parameters
    ----------
    samples : int
        Side of the square grid.
    diameter : float
        Of the circle round the segments, in grid steps.
    gap, strut_width : float
        Over that diameter.
    angle : float
        Turns the whole.

    Returns
    -------
    ndarray, shape (samples, samples), float64, values 0 to 1
    """
    x, y = _axes(samples, diameter)
    edge = diameter / 2
    step = 1.0 / np.hypot(2.5, 0.5 / np.sqrt(3))  # from segment to segment
    half = step / 2 - gap
    open_ = np.zeros((samples, samples))
    ways = angle + np.radians([30, 90, 150])
    for i in range(-2, 3):
        for j in range(-2, 3):
            if abs(i - j) > 2 or (i, j) == (0, 0):
                continue
            # Axes 120 degrees apart: |i|, |j| and |i - j| up to 2 is a hexagon.
            cx = step * (i * np.cos(ways[0]) + j * np.cos(ways[2]))
            cy = step * (i * np.sin(ways[0]) + j * np.sin(ways[2]))
            ix = np.nonzero(np.abs(x[0] - cx) < 0.7 * step)[0]
            iy = np.nonzero(np.abs(y[:, 0] - cy) < 0.7 * step)[0]
            px, py = x[:, ix] - cx, y[iy] - cy
            far = np.max([np.abs(px * np.cos(w) + py * np.sin(w)) for w in ways], axis=0)
            open_[np.ix_(iy, ix)] += np.clip((half - far) * edge + 0.5, 0, 1)
    for w in angle + np.radians([90, 240, 300]):
        along = x * np.cos(w) + y * np.sin(w)
        across = np.abs(-x * np.sin(w) + y * np.cos(w))
        open_ *= 1.0 - np.where(along > 0, _bar(across, strut_width, edge), 0.0)
    return np.minimum(open_, 1.0)


def bahtinov(
    samples: int,
    diameter: float,
    *,
    obstruction: float = 0.0,
    period: float = 0.04,
    tilt: float = np.radians(20),
    angle: float = 0.0,
) -> np.ndarray:
    """Bahtinov's focusing mask: a half of slits along x, two quarters tilted either way.

    Its three pairs of spikes lie at 90 degrees and 90 degrees plus and minus `tilt`;
    with defocus the middle pair leaves the crossing of the others (P. Bahtinov, 2005).

    Parameters
    ----------
    samples, diameter, obstruction
        As for `pupil`.
    period : float
        From slit to slit, over the diameter; half of it is open.
    tilt, angle : float
        Of the tilted slits against the others, and of the whole.

    Returns
    -------
    ndarray, shape (samples, samples), float64, values 0 to 1
    """
    x0, y0 = _axes(samples, diameter)
    x = x0 * np.cos(angle) + y0 * np.sin(angle)
    y = -x0 * np.sin(angle) + y0 * np.cos(angle)
    edge = diameter / 2
    span = 2 * period
    open_ = pupil(samples, diameter, obstruction=obstruction)

    def slits(turn: float) -> np.ndarray:
        across = y * np.cos(turn) - x * np.sin(turn)
        off = np.abs((across + span / 2) % span - span / 2)
        return np.asarray(np.clip((span / 4 - off) * edge + 0.5, 0, 1))

    tilted = np.where(y > 0, slits(tilt), slits(-tilt))
    return open_ * np.where(x < 0, slits(0.0), tilted)


#: Apertures by name, as `nox_train.psf.Optics` stores them.
APERTURES: dict[str, Callable[..., np.ndarray]] = {
    "round": pupil,
    "hexagons": hexagons,
    "bahtinov": bahtinov,
}
