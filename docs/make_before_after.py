"""Make the README's picture: a 1:1 crop before and after, side by side.

python docs/make_before_after.py PHOTOGRAPH --at X Y [--size 640 480] [--large-stars] [-o PICTURE]

With --large-stars a third one shows what that option does (docs/large-stars.jpg).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from nox_runtime import StarRemover
from nox_runtime.images import open_image


def crops(
    photograph: Path, at: tuple[int, int], size: tuple[int, int], *removers: StarRemover
) -> list[np.ndarray]:
    """Before, and after each, (height, width, 3), 0 to 1: the whole is processed, then cropped."""
    with open_image(photograph) as source:
        _, h, w = source.shape
        picture = source.read(0, h, 0, w)
        if source.bottom_up:
            picture = picture[:, ::-1]
    results = [remover.remove(picture) for remover in removers]
    (x, y), (width, height) = at, size
    window = (slice(None), slice(y, y + height), slice(x, x + width))
    used = results[0].stretch.for_eyes()
    shown = [used.forward(p[window]) for p in (picture, *(r.starless for r in results))]
    return [np.repeat(np.moveaxis(p, 0, -1), 3 // len(p), axis=-1) for p in shown]


def main() -> None:
    """Crop, and lay side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--at", nargs=2, type=int, default=(0, 0), metavar=("X", "Y"))
    parser.add_argument("--size", nargs=2, type=int, default=(640, 640))
    parser.add_argument("--model")
    parser.add_argument("--large-stars", action="store_true", help="also with that option")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/before-after.jpg"))
    args = parser.parse_args()
    asked = (False, True) if args.large_stars else (False,)
    removers = [StarRemover(args.model, large_stars=large) for large in asked]
    before, *after = crops(args.photograph, args.at, args.size, *removers)
    gap = np.ones((len(before), 6, 3), np.float32)
    sheet = np.concatenate([before, *(part for one in after for part in (gap, one))], axis=1)
    Image.fromarray((sheet * 255 + 0.5).astype(np.uint8)).save(args.output, quality=90)


if __name__ == "__main__":
    main()
