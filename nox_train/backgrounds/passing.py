"""What passes before the stars: comets, satellites; and what people write on pictures."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from nox_train.backgrounds.canvas import Canvas, log_uniform, polar
from nox_train.backgrounds.fractal import gaussian_field

Facts = dict
_SIGNS = "ABCDEFGHKLMNPRSTUVWXYZ0123456789"


def coma(r: np.ndarray, core: float, reach: float) -> np.ndarray:
    """Column density of matter flowing out evenly: ``1 / r``.

    (Haser 1957, Bull. Soc. Roy. Sci. Liege 43, 740.)  Rounded off within `core`, and
    ``exp(-r / reach)`` as molecules are broken up; 1 at most; pixels.
    """
    return core / np.sqrt(r * r + core * core) * np.exp(-r / reach)


def comet(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Comet: a green coma as ``1 / r``, a curved dust tail, a straight streaky ion tail."""
    x, y = canvas.place(rng, 0.1)
    size = canvas.size * log_uniform(rng, 0.03, 0.3)
    angle = float(rng.uniform(0, 2 * np.pi))
    amplitude = canvas.amplitude(log_uniform(rng, 0.2, 0.9))
    whole = (slice(0, canvas.size), slice(0, canvas.size))
    u, v = polar(whole, x, y, angle)
    core = max(1.2, 0.6 * canvas.seeing)
    green = np.array([0.35, 1.0, 0.65]) if canvas.palette.name != "mono" else np.ones(3)
    head = coma(np.hypot(u, v), core, size)
    canvas.add(whole, amplitude * head, green)
    dust_share, ion_share = rng.uniform(0.0, 0.25), rng.uniform(0.0, 0.15)
    along = np.clip(u, 0, None)
    length = size * rng.uniform(2.0, 8.0)
    begin = 1 - np.exp(-along / (3 * core))
    bend = rng.normal(0, 0.4) / length
    wide = 1.5 * core + along * rng.uniform(0.1, 0.35)
    across = (v - bend * along**2) / wide
    tail = np.exp(-along / length) * np.exp(-0.5 * across**2) * begin * (8 * core / wide) ** 0.5
    canvas.add(whole, amplitude * dust_share * tail, canvas.palette.continuum(5000))
    turn = rng.normal(0, 0.25)
    along, side = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    wide = core + np.clip(along, 0, None) * rng.uniform(0.02, 0.08)
    noise = gaussian_field(256, 2.8, rng, (1.0, 8.0))
    rows = np.clip(side / wide * 25 + 128, 0, 255)
    columns = np.clip(along * 255 / canvas.size, 0, 255)
    streaks = np.exp(0.6 * ndimage.map_coordinates(noise, [rows, columns], order=1))
    ion = (
        np.exp(-0.5 * (side / wide) ** 2) * (along > 0) * np.exp(-along / (1.5 * length)) * streaks
    )
    ion = ion * (1 - np.exp(-np.clip(along, 0, None) / (2 * core)))
    canvas.add(whole, amplitude * ion_share * ion, canvas.palette.continuum(14000))
    return {"kind": "comet", "x": x, "y": y, "coma": size, "angle": angle, "core": core,
            "dust": dust_share, "ion": ion_share}  # fmt: skip


def trail(canvas: Canvas, rng: np.random.Generator) -> Facts:
    """Trail of a satellite or a meteor: straight, even or flaring, right through or ending."""
    x, y = canvas.place(rng, -0.1)
    angle = float(rng.uniform(0, np.pi))
    width = log_uniform(rng, 0.5, 2.5)
    amplitude = canvas.amplitude(log_uniform(rng, 0.04, 0.7))
    whole = (slice(0, canvas.size), slice(0, canvas.size))
    u, v = polar(whole, x, y, angle)
    shine = np.exp(-0.5 * (v / width) ** 2)
    kind = str(rng.choice(["even", "flaring", "meteor"], p=[0.6, 0.25, 0.15]))
    if kind == "flaring":
        shine = shine * (0.4 + np.exp(-((u / (canvas.size * rng.uniform(0.05, 0.3))) ** 2)))
    elif kind == "meteor":
        half = canvas.size * rng.uniform(0.15, 0.5)
        shine = shine * np.clip(1 - (u / half) ** 2, 0, None) ** 2 * (1 + 0.5 * np.tanh(u / half))
    canvas.add(whole, amplitude * shine, canvas.palette.continuum(log_uniform(rng, 4500, 8000)))
    return {"kind": "trail", "form": kind, "x": x, "y": y, "angle": angle, "width": width}


def draw_marks(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Facts]:
    """Write on a finished picture: labels, circles, boxes, a grid, a border.

    They are drawn after the stretch and without seeing, as annotation tools do.  No
    dots: a full stop would look like a star.
    """
    from PIL import Image, ImageDraw, ImageFont

    size = picture.shape[1]
    sheet = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(sheet)
    marks = []
    for _ in range(rng.integers(1, 6)):
        x, y = rng.uniform(0, 0.9, 2) * size
        form = str(rng.choice(["text", "circle", "box", "line"], p=[0.5, 0.2, 0.15, 0.15]))
        far = float(rng.uniform(8, 0.25 * size))
        wide = int(rng.integers(1, 4))
        if form == "text":
            font = ImageFont.load_default(float(rng.uniform(9, 32)))
            words = "".join(rng.choice(list(_SIGNS), rng.integers(2, 9)))
            pen.text((x, y), words, fill=255, font=font)
        elif form == "circle":
            pen.ellipse((x - far, y - far, x + far, y + far), outline=255, width=wide)
        elif form == "box":
            pen.rectangle((x, y, x + far, y + 0.7 * far), outline=255, width=wide)
        else:
            pen.line((x, 0, x, size) if rng.random() < 0.5 else (0, y, size, y), 255, wide)
        marks.append(form)
    ink = np.asarray(sheet, np.float32)[None] / 255 * np.float32(rng.uniform(0.3, 1.0))
    rgb = (rng.uniform(0, 1, 3) if rng.random() < 0.6 else np.ones(3)).astype(np.float32)
    rgb = rgb[:, None, None] / max(float(rgb.max()), 0.1)
    return picture * (1 - ink) + rgb * ink, {"kind": "marks", "forms": marks}
