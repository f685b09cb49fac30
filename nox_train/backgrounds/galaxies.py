"""Galaxies, from grand spirals to the smudges of deep fields."""

from __future__ import annotations

import numpy as np

from nox_train.backgrounds.canvas import Canvas, log_uniform, polar
from nox_train.backgrounds.profiles import (
    arm_contrast,
    arm_phase,
    flocculence,
    sersic_flux,
    sersic_integrated,
    sersic_stamp,
)

Facts = dict


def _sersic(
    canvas: Canvas, x: float, y: float, radius: float, n: float, axis_ratio: float, angle: float,
    amplitude: float, rgb: np.ndarray, reach: float = 6.0,
) -> None:  # fmt: skip
    """Add a pixel-integrated Sersic profile; `amplitude` at the half-light radius."""
    side = int(2 * max(6.0, min(reach * radius, 1.2 * canvas.size))) + 1
    x0, y0 = int(np.floor(x)) - side // 2, int(np.floor(y)) - side // 2
    stamp = sersic_integrated(side, x - x0, y - y0, radius, n, axis_ratio, angle)
    # To zero at the border, without a step.
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) / (0.15 * side)
    taper = np.minimum(edge, 1).astype(np.float32)
    stamp *= taper[:, None] * taper[None, :]
    ya, yb, xa, xb = (
        max(0, y0),
        min(canvas.size, y0 + side),
        max(0, x0),
        min(canvas.size, x0 + side),
    )
    if yb > ya and xb > xa:
        cut = stamp[ya - y0 : yb - y0, xa - x0 : xb - x0]
        canvas.add((slice(ya, yb), slice(xa, xb)), amplitude * cut, rgb)


def spiral(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Spiral: exponential disc, bulge with a sharp core, arms, dust lanes, HII knots.

    The bulge's half-light radius is 0.1 to 0.35 disc scale lengths, n is 1.5 to 4
    (Graham & Worley 2008, MNRAS 388, 1708): a core a few pixels wide, like a star's
    but for the disc that it sits on.
    """
    x, y = canvas.place(rng, 0.05)
    scale = log_uniform(rng, max(2.0, canvas.seeing), 0.13 * canvas.size + 6)
    q = float(np.sqrt(rng.uniform(0.1, 1.0)))  # random orientation: cos i is uniform
    angle = float(rng.uniform(0, np.pi))
    arms = int(rng.choice([2, 2, 3, 4]))
    pitch = float(np.radians(rng.uniform(11, 33)) * rng.choice([-1, 1]))
    grand = bool(rng.random() < 0.6)
    peak = canvas.amplitude(log_uniform(rng, 0.12, 0.75))
    where = canvas.window(x, y, 5.5 * scale)
    facts = {
        "kind": "spiral", "x": x, "y": y, "scale_length": scale, "axis_ratio": q,
        "angle": angle, "arms": arms, "pitch": pitch, "grand_design": grand,
    }  # fmt: skip
    if where is None:
        return facts
    u, v = polar(where, x, y, angle, q)
    disc = np.exp(-np.sqrt(u * u + v * v + 0.1) / scale)
    phase = arm_phase(u, v, pitch, arms, 0.7 * scale, rng.uniform(0, 2 * np.pi))
    rough = flocculence(u, v, pitch, scale, rng)
    arm = arm_contrast(phase + (0.4 if grand else 1.6) * rough, rng.uniform(0.8, 3.0))
    inside = 1 - np.exp(-((u * u + v * v) / (0.8 * scale) ** 2))
    share = rng.uniform(0.3, 0.75)
    arm = arm * np.exp(rng.uniform(0.15, 0.45) * rough) * inside
    lane = arm_contrast(phase + 0.9, 6.0) * inside * np.clip(1 + 0.7 * rough, 0, 3)
    dust = np.exp(-rng.uniform(0.0, 1.2) * lane)
    old, young = canvas.palette.continuum(4600), canvas.palette.continuum(rng.uniform(7500, 12000))
    canvas.add(where, peak * (1 - share) * disc * dust, old)
    canvas.add(where, peak * share * 1.6 * disc * arm * dust, young)
    _arm_knots(canvas, rng, where, peak * disc * arm, scale)
    bulge = scale * rng.uniform(0.1, 0.35)
    n = float(rng.uniform(1.5, 4.0))
    bulge_q = min(1.0, q + rng.uniform(0.2, 0.6))
    # A bulge's flux over its disc's, mostly a tenth to one half.
    # In a small disc it stays low: what remained to be seen would be a star.
    ratio = log_uniform(rng, 0.03, 0.12 if scale < max(10, 3 * canvas.seeing) else 0.4)
    level = ratio * 2 * np.pi * scale**2 * q * peak / sersic_flux(bulge, n, bulge_q)
    _sersic(canvas, x, y, bulge, n, bulge_q, angle, level, canvas.palette.continuum(4300), 10.0)
    facts |= {"bulge_radius": bulge, "bulge_n": n, "bulge_ratio": ratio}
    if rng.random() < 0.4:
        turn = angle + rng.uniform(0, np.pi)
        length = scale * rng.uniform(0.5, 1.0)
        _sersic(canvas, x, y, length, 0.6, 0.25, turn, 0.5 * peak, old, 3.0)
        facts["bar"] = length
    return facts


def _arm_knots(
    canvas: Canvas, rng: np.random.Generator, where: tuple[slice, slice], light: np.ndarray,
    scale: float,
) -> None:  # fmt: skip
    """HII regions along the arms: pink clumps, luminosities as ``L^-2``.

    (Kennicutt, Edgar & Hodge 1989, ApJ 337, 761.)  Each is two to five uneven blobs.
    """
    count = int(rng.poisson(min(150.0, 0.35 * scale**1.3)))
    if count == 0 or light.size == 0 or scale < max(8.0, 4 * canvas.seeing):
        return
    chance = np.cumsum(light.ravel(), dtype=np.float64)
    picks = np.searchsorted(chance, rng.uniform(0, chance[-1], count))
    rows, columns = np.unravel_index(np.minimum(picks, light.size - 1), light.shape)
    pink = canvas.palette.line("ha") + 0.3 * canvas.palette.continuum(15000)
    blue = canvas.palette.continuum(12000)
    for row, column in zip(rows, columns, strict=True):
        strength = min(5.0, 0.5 / max(rng.random(), 0.02)) * float(light[row, column]) + 1e-6
        size = max(0.7, 0.5 * canvas.seeing, 0.03 * scale * rng.uniform(0.5, 1.5))
        rgb = pink if rng.random() < 0.7 else blue
        _clump(canvas, rng, where[1].start + column, where[0].start + row, size, strength, rgb)


def _clump(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, size: float, strength: float,
    rgb: np.ndarray,
) -> None:  # fmt: skip
    """Two to five elongated blobs side by side: small, but neither round nor alone."""
    for _ in range(rng.integers(2, 6)):
        dx, dy = rng.normal(0, 1.6 * size, 2)
        wide = size * rng.uniform(0.6, 1.4)
        where = canvas.window(x + dx, y + dy, 4 * wide + 1)
        if where is None:
            continue
        u, v = polar(where, x + dx, y + dy, rng.uniform(0, np.pi), rng.uniform(0.4, 0.8))
        blob = np.exp(-(u * u + v * v) / (2 * wide * wide))
        canvas.add(where, strength * rng.uniform(0.3, 1.0) * blob, rgb)


def elliptical(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Elliptical or lenticular: n of 2 to 4.5, old and yellow, some with fainter shells."""
    x, y = canvas.place(rng, 0.05)
    radius = log_uniform(rng, max(2.5, 1.6 * canvas.seeing), 0.12 * canvas.size + 6)
    # Small steep ones would be a star with a halo.
    tiny = radius < max(10.0, 3 * canvas.seeing)
    n = float(rng.uniform(1.8, 2.6 if tiny else 4.5))
    q = float(rng.uniform(0.45, 0.8 if tiny else 0.97))
    angle = float(rng.uniform(0, np.pi))
    level = canvas.amplitude(log_uniform(rng, 0.01, 0.12))
    rgb = canvas.palette.continuum(rng.uniform(3800, 4800))
    _sersic(canvas, x, y, radius, n, q, angle, level, rgb, 7.0)
    return {
        "kind": "elliptical", "x": x, "y": y, "radius": radius, "n": n, "axis_ratio": q,
        "angle": angle,
    }  # fmt: skip


def edge_on(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Disc from the side: ``(1 + t) exp(-t)`` along, sech^2 across, dust in its plane.

    Heights of a seventh of the length (van der Kruit & Searle 1981, A&A 95, 105).
    """
    x, y = canvas.place(rng, 0.05)
    scale = log_uniform(rng, max(2.0, 0.8 * canvas.seeing), 0.12 * canvas.size + 5)
    height = max(0.8, scale * rng.uniform(0.08, 0.2))
    angle = float(rng.uniform(0, np.pi))
    peak = canvas.amplitude(log_uniform(rng, 0.08, 0.7))
    where = canvas.window(x, y, 5.5 * scale)
    facts = {"kind": "edge-on", "x": x, "y": y, "scale_length": scale, "height": height,
             "angle": angle}  # fmt: skip
    if where is None:
        return facts
    u, v = polar(where, x, y, angle)
    warp = rng.normal(0, 0.05) * u * np.abs(u) / (5 * scale)
    v = v - warp
    t = np.clip(np.abs(u) / scale, 1e-3, None)
    disc = np.exp(-t) * (1 + t) / np.cosh(np.clip(v / height, -20, 20)) ** 2
    rough = flocculence(u, v * 4, 0.3, scale, rng)
    depth = rng.uniform(0.0, 3.0) * np.exp(-t * 0.8) * np.clip(1 + 0.5 * rough, 0, 3)
    lane = np.exp(-depth * np.exp(-(((v - 0.25 * height) / (0.35 * height)) ** 2)))
    canvas.add(where, peak * disc * lane * np.exp(0.15 * rough), canvas.palette.continuum(5600))
    bulge = height * rng.uniform(0.8, 1.8)
    r = sersic_stamp(u, v / rng.uniform(0.6, 0.95), bulge, rng.uniform(1.2, 3.0), inner=0.4)
    r = r * np.exp(-(u * u + v * v) / (4 * scale) ** 2)
    canvas.add(where, peak * rng.uniform(0.1, 0.5) * r * lane, canvas.palette.continuum(4300))
    return facts


def small(canvas: Canvas, rng: np.random.Generator, count: int, brightest: float = 0.7) -> Facts:
    """The small galaxies of deep fields: 3 to 10 pixels, elongated, fuzzy or lumpy.

    Surface brightness follows a power law, ``N(> S) ~ S^-0.9`` (the counts' slope of
    0.4 magnitudes at the faint end, Driver et al. 1995, ApJ 449, L23, is of that
    order); brighter ones are larger.  None is round and as narrow as a star: see
    `resolved`.
    """
    faintest = log_uniform(rng, 0.012, 0.06)
    for _ in range(count):
        x, y = rng.uniform(0, canvas.size, 2)
        contrast = min(brightest, faintest * max(rng.random(), 1e-4) ** (-1 / 0.9))
        early = rng.random() < 0.25
        n = float(rng.uniform(1.6, 2.6) if early else rng.uniform(0.5, 1.4))
        typical = 1.3 * (contrast / 0.02) ** 0.22
        radius, q = resolved(rng, typical * np.exp(rng.normal(0, 0.35)), canvas.seeing, early)
        angle = rng.uniform(0, np.pi)
        rgb = canvas.palette.continuum(log_uniform(rng, 3000, 13000))
        level = canvas.amplitude(contrast) * (0.25 if early else 0.6)
        _sersic(canvas, x, y, radius, n, q, angle, level, rgb, 4.0 if n < 1.5 else 5.0)
        if not early and rng.random() < 0.35:  # lumps, mergers, tails
            for _ in range(rng.integers(1, 3)):
                dx, dy = rng.normal(0, 1.2 * radius, 2)
                lump = radius * rng.uniform(0.3, 0.7)
                hot = canvas.palette.continuum(log_uniform(rng, 5000, 15000))
                share = level * rng.uniform(0.3, 1.0)
                _sersic(canvas, x + dx, y + dy, lump, 0.7, rng.uniform(0.3, 0.7),
                        rng.uniform(0, np.pi), share, hot, 4.0)  # fmt: skip
    return {"kind": "small galaxies", "count": count, "faintest": faintest}


def resolved(
    rng: np.random.Generator, radius: float, seeing: float, early: bool
) -> tuple[float, float]:
    """Half-light radius and axis ratio of a small galaxy that cannot pass for a star.

    After seeing, either its minor over its major axis is at most 0.72, or the minor
    axis is at least three times that of a star, since a scene's stars may be wider
    than its galaxies' seeing.  A Gaussian's half-light radius is 1.177 sigma; early
    types concentrate more, which counts as a radius half as large.

    Returns
    -------
    radius : float
        Pixels.
    axis_ratio : float
    """
    star = seeing / 2.3548
    q = float(rng.uniform(0.15, 0.95))
    for _ in range(40):
        sigma = radius * (0.5 if early else 1.0) / 1.177
        major, minor = np.hypot(sigma, star), np.hypot(q * sigma, star)
        if minor / major <= 0.72 or minor >= 3.0 * star:
            break
        q, radius = max(0.15, q * 0.9), radius * 1.07
    return float(radius), q


def cluster(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Cluster of galaxies: a giant elliptical with its halo, and yellow members around."""
    x, y = canvas.place(rng, -0.1)
    core = canvas.size * rng.uniform(0.05, 0.25)
    count = int(rng.integers(15, 80))
    level = canvas.amplitude(log_uniform(rng, 0.015, 0.08))
    old = canvas.palette.continuum(rng.uniform(3600, 4400))
    _sersic(canvas, x, y, core * 0.5, 4.0, rng.uniform(0.5, 0.9), rng.uniform(0, np.pi), level, old)
    for _ in range(count):
        r = core * np.sqrt(max(rng.random(), 1e-3) ** -0.7 - 1)  # King-like
        turn = rng.uniform(0, 2 * np.pi)
        radius, q = resolved(rng, log_uniform(rng, 1.2, 5.0), canvas.seeing, True)
        share = canvas.amplitude(log_uniform(rng, 0.01, 0.15))
        _sersic(canvas, x + r * np.cos(turn), y + r * np.sin(turn), radius, rng.uniform(1.4, 2.6),
                q, rng.uniform(0, np.pi), share, old)  # fmt: skip
    return {"kind": "galaxy cluster", "x": x, "y": y, "core": core, "count": count}
