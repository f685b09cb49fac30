"""Make docs/scenes-backgrounds.png: the families of backgrounds and the objects in them.

python docs/make_background_pictures.py [-o PICTURE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nox_train import backgrounds
from nox_train.backgrounds import objects

#: Side of a tile and tiles a row.
SIDE, ACROSS = 256, 6
#: Kinds that a frame of sky alone does not show, and those that fill it.
ON_NEBULA = ("globules",)
ANYWHERE = ("globules", "filaments", "trail", "marks", "small galaxies")


def _families() -> list[tuple[str, np.ndarray]]:
    """Two of each family (one of 'bipolar'), objects left out."""
    made = []
    for family in backgrounds.FAMILIES:
        count = 1 if family in ("bipolar", "sky", "cirrus") else 2
        drawn = [
            backgrounds.procedural(SIDE, np.random.default_rng(k), family, objects=False)
            for k in range(9)
        ]
        # The most colourful of a few.
        drawn.sort(key=lambda p: -float(p.std(axis=0).mean() + p.std()))
        made += [(family, picture) for picture in drawn[:count]]
    return made


def _kinds() -> list[tuple[str, np.ndarray]]:
    """One of each kind on an empty sky, one of the brightest of a few."""
    sky = np.full((3, SIDE, SIDE), 0.1, np.float32)
    nebula = backgrounds.procedural(SIDE, np.random.default_rng(3), "emission", objects=False)
    made = []
    for kind in (*objects.KINDS, "marks"):
        ground = nebula if kind in ON_NEBULA else sky
        at = None if kind in ANYWHERE else (SIDE / 2, SIDE / 2)
        drawn = [
            backgrounds.add_objects(ground, np.random.default_rng(k), kinds=[kind], at=at)[0]
            for k in range(24)
        ]
        drawn.sort(key=lambda picture, ground=ground: float(np.abs(picture - ground).mean()))
        # Not the very brightest: it would fill the tile.
        made.append((kind, drawn[-3]))
    for seed in (1, 5, 8, 11):
        rng = np.random.default_rng(seed)
        picture, _ = backgrounds.add_objects(sky, rng, mode="many", kinds=["small galaxies"])
        made.append(("many small galaxies", picture))
    return made


def backgrounds_sheet() -> Image.Image:
    """Draw a contact sheet of families and objects with labels.

    Returns
    -------
    PIL.Image.Image
        RGB, `ACROSS` tiles of `SIDE` pixels wide.
    """
    tiles = _families() + _kinds()
    down = -(-len(tiles) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * (SIDE + 2) - 2, down * (SIDE + 2) - 2))
    pen = ImageDraw.Draw(sheet)
    for i, (label, picture) in enumerate(tiles):
        x, y = (i % ACROSS) * (SIDE + 2), (i // ACROSS) * (SIDE + 2)
        pixels = np.moveaxis((picture * 255).round().astype(np.uint8), 0, -1)
        sheet.paste(Image.fromarray(pixels), (x, y))
        pen.text((x + 6, y + 4), label, fill=(255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0))
    return sheet


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/scenes-backgrounds.png"))
    args = parser.parse_args()
    backgrounds_sheet().save(args.output, optimize=True)


if __name__ == "__main__":
    main()
