"""Compact nebulae that must stay: shells, knots, jets, cores, globules, filaments."""

from __future__ import annotations

import numpy as np

from nox_train.backgrounds.canvas import Canvas, log_uniform, polar
from nox_train.backgrounds.fractal import gaussian_field

Facts = dict


def _lumps(shape: tuple[int, ...], slope: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian field of a window's shape."""
    field = gaussian_field(max(16, *shape), slope, rng)
    return field[: shape[0], : shape[1]]


def shell(r: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """Thickness along the line of sight of a hollow sphere, 1 at most.

    ``sqrt(R2^2 - r^2) - sqrt(R1^2 - r^2)``: brightest at the inner radius.
    """
    thick = np.sqrt(np.clip(outer**2 - r * r, 0, None)) - np.sqrt(
        np.clip(inner**2 - r * r, 0, None)
    )
    return thick / np.sqrt(max(outer**2 - inner**2, 1e-6))


def planetary(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Planetary nebula: limb-brightened shells, [O III] inside, H alpha outside, a halo.

    Radii from 1.3 times the seeing, at least 2.5 pixels (a disc is then wider than a
    star), to an eighth of the side; a third are as even as a coin, as small ones look.
    """
    x, y = canvas.place(rng)
    radius = log_uniform(rng, max(2.5, 1.3 * canvas.seeing), canvas.size / 8)
    rough = 0.0 if rng.random() < 0.35 else 1.0
    q, angle = float(rng.uniform(0.6, 1.0)), float(rng.uniform(0, np.pi))
    facts = {"kind": "planetary nebula", "x": x, "y": y, "radius": radius, "axis_ratio": q}
    where = canvas.window(x, y, 3.2 * radius)
    if where is None:
        return facts
    u, v = polar(where, x, y, angle, q)
    r = np.hypot(u, v) * (1 + 0.04 * rough * _lumps(u.shape, 3.0, rng))
    theta = np.arctan2(v, u)
    lobes = rough * rng.uniform(0, 0.25)
    r = r / (1 + lobes * np.cos(2 * theta))
    amplitude = canvas.amplitude(log_uniform(rng, 0.08, 0.7))
    uneven = np.exp(0.25 * rough * _lumps(u.shape, 3.0, rng))
    uneven = uneven * (1 + 0.4 * rough * np.cos(theta - angle))
    hollow = radius * rng.uniform(0.2, 0.85)
    oiii = shell(r, hollow, radius * 0.95) * uneven
    ha = shell(r, radius * rng.uniform(0.7, 0.9), radius)
    ha = ha * np.exp(0.4 * rough * _lumps(u.shape, 2.6, rng))
    halo = np.exp(-r / (0.6 * radius)) * (r > 0.6 * radius) * 0.1
    canvas.add(where, amplitude * oiii, canvas.palette.line("oiii") * rng.uniform(0.5, 1.2))
    canvas.add(where, amplitude * (ha + halo), canvas.palette.line("ha") * rng.uniform(0.2, 1.0))
    return facts


def hii_complex(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """A group of HII regions: bright rough clumps, some rings, in common haze."""
    x, y = canvas.place(rng)
    spread = canvas.size * rng.uniform(0.02, 0.15)
    count = int(rng.integers(3, 25))
    amplitude = canvas.amplitude(log_uniform(rng, 0.12, 0.7))
    line = canvas.palette.line("ha") + rng.uniform(0, 0.6) * canvas.palette.line("oiii")
    where = canvas.window(x, y, 4 * spread)
    if where is not None:
        u, v = polar(where, x, y, rng.uniform(0, np.pi), rng.uniform(0.4, 1.0))
        haze = np.exp(-(u * u + v * v) / (2 * spread**2)) * np.exp(0.5 * _lumps(u.shape, 3.0, rng))
        canvas.add(where, 0.2 * amplitude * haze, line)
    for _ in range(count):
        cx, cy = x + rng.normal(0, spread), y + rng.normal(0, spread)
        size = log_uniform(rng, max(2.0, canvas.seeing), max(3.0, spread / 3))
        where = canvas.window(cx, cy, 4 * size)
        if where is None:
            continue
        u, v = polar(where, cx, cy, rng.uniform(0, np.pi), rng.uniform(0.4, 0.8))
        r = np.hypot(u, v)
        form = (
            shell(r, 0.7 * size, 1.4 * size) if rng.random() < 0.3 else np.exp(-((r / size) ** 2))
        )
        form = form * np.exp(0.7 * _lumps(u.shape, 2.4, rng))
        canvas.add(where, amplitude * min(1.5, 0.15 / max(rng.random(), 0.05)) * form, line)
    return {"kind": "HII complex", "x": x, "y": y, "spread": spread, "count": count}


def clump(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """A soft knot of a nebula, or the blurred heart of a galaxy: a few Gaussians in a heap.

    Half-light radii from the seeing's FWHM on, so that even a single one is at least
    twice as wide as a star; half of them rough.
    """
    x, y = canvas.place(rng)
    radius = canvas.seeing * log_uniform(rng, 1.0, 5.0)
    amplitude = canvas.amplitude(log_uniform(rng, 0.05, 0.7))
    mixed = rng.dirichlet([0.6, 0.6, 0.6])
    lines = (canvas.palette.line("ha"), canvas.palette.line("oiii"), np.ones(3))
    colour = sum(share * line for share, line in zip(mixed, lines, strict=True))
    count = int(rng.integers(1, 6))
    facts = {"kind": "clump", "x": x, "y": y, "radius": radius, "count": count}
    for i in range(count):
        away = rng.normal(0, 1.2 * radius, 2) if i else np.zeros(2)
        sigma = radius * rng.uniform(0.8, 1.6) / 1.1774  # of the half-light radius
        where = canvas.window(x + away[0], y + away[1], 4.5 * sigma)
        if where is None:
            continue
        q = float(rng.uniform(0.5, 1.0))
        u, v = polar(where, x + away[0], y + away[1], rng.uniform(0, np.pi), q)
        form = np.exp(-(u * u + v * v) / (2 * sigma**2))
        if rng.random() < 0.5:
            form = form * np.exp(0.3 * _lumps(u.shape, 3.0, rng))
        canvas.add(where, amplitude * (1.0 if not i else rng.uniform(0.2, 0.9)) * form, colour)
    return facts


def herbig_haro(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Herbig-Haro object: a knotty jet and a chain of bow shocks, H alpha and [S II].

    A bow is the parabola ``u = u0 - v^2 / (2 a)`` with a sharp front and a soft wake.
    """
    x, y = canvas.place(rng)
    angle = float(rng.uniform(0, 2 * np.pi))
    length = canvas.size * rng.uniform(0.05, 0.3)
    amplitude = canvas.amplitude(log_uniform(rng, 0.15, 0.7))
    line = canvas.palette.line("ha") * 0.7 + canvas.palette.line("sii") * 0.5
    facts = {"kind": "Herbig-Haro", "x": x, "y": y, "angle": angle, "length": length}
    where = canvas.window(x, y, 1.4 * length)
    if where is None:
        return facts
    rough = None
    for side in (0.0, np.pi) if rng.random() < 0.5 else (0.0,):
        u, v = polar(where, x, y, angle + side)
        if rough is None:
            rough = np.exp(0.5 * _lumps(u.shape, 2.4, rng))
        jet = np.exp(-((v / (0.8 + 0.02 * np.abs(u))) ** 2)) * (u > 0) * np.exp(-u / (0.4 * length))
        beads = 0.4 + 0.6 * np.cos(u / rng.uniform(1.5, 5.0) + rng.uniform(0, 6)) ** 2
        canvas.add(where, 0.7 * amplitude * jet * beads, line)
        for reach in np.sort(rng.uniform(0.35, 1.0, rng.integers(1, 4))):
            a = length * rng.uniform(0.04, 0.15)
            front = reach * length - u - v * v / (2 * a)
            wake = np.exp(-np.clip(front, 0, None) / (0.35 * a)) * (
                0.5 + 0.5 * np.tanh(front / 1.2)
            )
            bow = wake * np.exp(-((v / (1.6 * a)) ** 2)) * rough
            canvas.add(where, amplitude * rng.uniform(0.4, 1.0) * bow, line)
    u, v = polar(where, x, y, angle)
    cone = np.clip(u, 0, None) / (0.15 * length)
    fan = cone * np.exp(-cone) * np.exp(-((v / (0.4 * np.abs(u) + 2)) ** 2))
    canvas.add(where, 0.5 * amplitude * fan, canvas.palette.continuum(6500))
    return facts


def bright_core(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """The burnt-out heart of a bright nebula, as M42's: smooth, rough-edged, often white."""
    x, y = canvas.place(rng)
    core = max(canvas.seeing, canvas.size * rng.uniform(0.012, 0.06))
    amplitude = canvas.amplitude(rng.uniform(0.4, 0.97)) * log_uniform(rng, 0.5, 4.0)
    where = canvas.window(x, y, 10 * core)
    facts = {"kind": "bright core", "x": x, "y": y, "radius": core}
    if where is None:
        return facts
    u, v = polar(where, x, y, rng.uniform(0, np.pi), rng.uniform(0.5, 1.0))
    lumps = _lumps(u.shape, 3.0, rng)
    r = np.hypot(u, v) * np.exp(0.25 * lumps)
    glow = 1 / (1 + (r / core) ** 2) ** 1.5 * np.clip(1.2 - r / (9 * core), 0, 1)
    glow = glow * np.exp(0.35 * _lumps(u.shape, 2.8, rng))
    white = 0.5 * canvas.palette.line("ha") + 0.5 * canvas.palette.line("oiii") + 0.2
    canvas.add(where, amplitude * glow, white)
    return facts


def globules(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Bok globules: small opaque clouds with ragged edges, one side lit by its star."""
    count = int(rng.integers(1, 8))
    wind = rng.uniform(0, 2 * np.pi)
    for _ in range(count):
        x, y = canvas.place(rng)
        radius = log_uniform(rng, max(3.0, canvas.seeing), canvas.size / 14)
        where = canvas.window(x, y, 6 * radius)
        if where is None:
            continue
        u, v = polar(where, x, y, wind + rng.normal(0, 0.2), rng.uniform(0.4, 0.9))
        u = np.where(u < 0, u * rng.uniform(0.45, 1.0), u)  # a tail blown away from the star
        r = np.hypot(u, v) * np.exp(0.22 * _lumps(u.shape, 3.0, rng)) / radius
        canvas.shade(where, rng.uniform(0.5, 3.5) * np.exp(-(r**2.2)))
        rim = np.exp(-(((r - 1.15) / 0.2) ** 2)) * np.clip(u / radius, 0, 1)
        shine = canvas.amplitude(0.25) * rng.uniform(0, 0.6)
        canvas.add(where, shine * rim, canvas.palette.line("ha"))
    return {"kind": "globules", "count": count}


def filaments(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Filaments of a supernova remnant: wrinkled arcs of one shell, a pixel or two wide."""
    x, y = canvas.place(rng, 0.6)
    radius = canvas.size * log_uniform(rng, 0.15, 1.5)
    whole = (slice(0, canvas.size), slice(0, canvas.size))
    u, v = polar(whole, x, y, 0.0, rng.uniform(0.7, 1.0))
    r = np.hypot(u, v)
    theta = (np.arctan2(v, u) + np.pi) * (2048 / (2 * np.pi))
    count = int(rng.integers(3, 10))
    amplitude = canvas.amplitude(log_uniform(rng, 0.1, 0.6))
    shape = _ring_noise(rng, 2.8)  # the shell's own; its sheets follow it
    for _ in range(count):
        wrinkles = 0.05 * shape + 0.02 * _ring_noise(rng, 2.4)
        bright = np.clip(_ring_noise(rng, 1.6) + rng.uniform(-0.8, 0.5), 0, None)
        where = radius * (1 + rng.normal(0, 0.04) + wrinkles)
        off = (r - np.interp(theta, np.arange(2048), where)) / rng.uniform(0.6, 2.0)
        near = (off > -40) & (off < 8)
        # Sharp outside, with a veil of cooling gas inside.
        thread = np.exp(-np.abs(off[near])) + 0.25 * np.exp(np.minimum(off[near], 0) / 12) * (
            off[near] < 0
        )
        sheet = np.zeros(r.shape, np.float32)
        sheet[near] = thread * np.interp(theta[near], np.arange(2048), bright)
        line = "oiii" if rng.random() < 0.4 else "ha"
        canvas.add(whole, amplitude * rng.uniform(0.3, 1.0) * sheet, canvas.palette.line(line))
    return {"kind": "filaments", "x": x, "y": y, "radius": radius, "count": count}


def _ring_noise(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Gaussian noise along a circle of 2,048 steps, spectrum ``k^-slope``, variance 1."""
    k = np.fft.rfftfreq(2048, 1 / 2048)
    k[0] = 1
    spectrum = np.fft.rfft(rng.standard_normal(2048)) * k ** (-slope / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum)
    return noise / noise.std()
