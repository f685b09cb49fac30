"""Make the README's picture: a 1:1 crop before and after, side by side.

python docs/make_before_after.py PHOTOGRAPH --at X Y [--size 640 480] [-o PICTURE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from nox_runtime import StarRemover
from nox_runtime.images import open_image


def main() -> None:
    """Process the whole photograph, then crop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--at", nargs=2, type=int, default=(0, 0), metavar=("X", "Y"))
    parser.add_argument("--size", nargs=2, type=int, default=(640, 640))
    parser.add_argument("--model")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/before-after.jpg"))
    args = parser.parse_args()
    with open_image(args.photograph) as source:
        _, h, w = source.shape
        picture = source.read(0, h, 0, w)
        if source.bottom_up:
            picture = picture[:, ::-1]
    result = StarRemover(args.model).remove(picture)
    (x, y), (width, height) = args.at, args.size
    window = (slice(None), slice(y, y + height), slice(x, x + width))
    both = [result.stretch.forward(p[window]) for p in (picture, result.starless)]
    gap = np.ones((len(picture), both[0].shape[1], 6), np.float32)
    sheet = np.concatenate([both[0], gap, both[1]], axis=2)
    sheet = np.repeat(sheet, 3 // len(sheet), axis=0)
    image = Image.fromarray((np.moveaxis(sheet, 0, -1) * 255 + 0.5).astype(np.uint8))
    image.save(args.output, quality=90)


if __name__ == "__main__":
    main()
