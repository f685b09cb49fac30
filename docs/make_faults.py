"""Make the model card's picture: faults at 1:1, input and output side by side.

python docs/make_faults.py FOLDER [--model MODEL] [-o PICTURE]

FOLDER holds the photographs named below. Each is processed whole, then cropped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from make_before_after import crops
from PIL import Image
from tqdm import tqdm

from nox_runtime import StarRemover

SIDE = 240
#: Photograph, and the upper left corner of the crop: the worst found by eye on each.
CROPS = (
    ("jamesbrink__california-nebula.jpg", 690, 320),
    ("jamesbrink__crescent-nebula.jpg", 540, 700),
    ("jamesbrink__double-cluster.jpg", 760, 480),
    ("jamesbrink__elephants-trunk.jpg", 950, 460),
    ("jamesbrink__horsehead-nebula.jpg", 495, 620),
    ("jamesbrink__lagoon-nebula-wide.jpg", 90, 0),
    ("jamesbrink__whirlpool-galaxy.jpg", 440, 730),
    ("jwst__potm2306a.jpg", 110, 890),
    ("jwst__weic2212a.jpg", 590, 580),
    ("skimage__hubble_deep_field.jpg", 390, 380),
    ("astropydata__ngc6976.jpeg", 1800, 980),
)
_COLUMNS = 2


def main() -> None:
    """Process, crop, and lay out in two columns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/nox-1-faults.jpg"))
    args = parser.parse_args()
    remover = StarRemover(args.model)
    cells = [
        np.concatenate(crops(args.folder / name, (x, y), (SIDE, SIDE), remover), axis=1)
        for name, x, y in tqdm(CROPS)
    ]
    gap = 8
    rows = -(-len(cells) // _COLUMNS)
    sheet = np.ones((rows * (SIDE + gap) - gap, _COLUMNS * (2 * SIDE + gap) - gap, 3), np.float32)
    for k, cell in enumerate(cells):
        y, x = k // _COLUMNS * (SIDE + gap), k % _COLUMNS * (2 * SIDE + gap)
        sheet[y : y + SIDE, x : x + 2 * SIDE] = cell
    Image.fromarray((np.clip(sheet, 0, 1) * 255 + 0.5).astype(np.uint8)).save(
        args.output, quality=88
    )


if __name__ == "__main__":
    main()
