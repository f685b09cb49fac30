"""Stars left on real pictures: what DAOStarFinder finds before and after.

    python benchmarks/bench_real.py FOLDER_OR_FILE ... [--model FILE] [--out FOLDER]

`nox-bench run --real` measures more; this one goes through files, as users do.
Without arguments: ../shared/data/astro beside the checkout.  A source counts if
its peak stands 10 standard deviations of the input's background above it, at least
those of rounding to its steps; both searches use the threshold measured on the
input and a width of 3 px.  DAOStarFinder passes over saturated stars: of the ten
brightest of each picture those are counted, too, that keep a fifth of their core's light;
nuclei of galaxies, which must stay, may be among them.  With --left FOLDER all that stays is
drawn, a sheet a picture: the count knows nothing of what it counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from _environment import describe
from PIL import Image, ImageDraw

from nox_runtime import StarRemover, batch
from nox_runtime.errors import NoxError
from nox_runtime.images import open_image
from nox_train.benchmark.classical import detect, flattened
from nox_train.benchmark.crops import as_image, window
from nox_train.benchmark.real import (
    FWHM,
    SIGMAS,
    background_noise,
    halos,
    is_linear,
    sources,
    stars_left,
)
from nox_train.benchmark.removers import read_unit
from nox_train.benchmark.scene import automatic

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "astro"
#: Of the sheets: pixels a side of a crop, its enlargement, and crops a row.
CROP, ENLARGED, ACROSS = 48, 3, 12


def opened(path: Path | str) -> np.ndarray:
    """A picture, (C, H, W), in its own units."""
    with open_image(path) as source:
        _, h, w = source.shape
        return source.read(0, h, 0, w)


def luminance(picture: np.ndarray) -> np.ndarray:
    """A picture's mean channel, float64, gaps filled with the median."""
    grey = picture.astype(float).mean(axis=0)
    return np.where(np.isfinite(grey), grey, np.nanmedian(grey[np.isfinite(grey)]))


def sheet(path: Path, taken: np.ndarray, found: np.ndarray) -> Image.Image:
    """Each place with its number, input above output, as a linear picture's automatic stretch
    or a stretched picture shows it.

    `taken` is the light that was taken away, in shares of what the picture spans; `found` has
    a row of x and y for each place.
    """
    seen, eight_bit = read_unit(path)
    shown = (seen - np.nan_to_num(taken) * (seen.max() - seen.min())).astype(np.float32)
    if not eight_bit and is_linear(seen):
        curve = automatic(seen)
        seen, shown = curve.forward(seen), curve.forward(shown)
    side = CROP * ENLARGED
    rows = -(-len(found) // ACROSS)
    made = Image.new("RGB", (side * min(ACROSS, len(found)), 2 * side * rows))
    draw = ImageDraw.Draw(made)
    for i, (x, y) in enumerate(found):
        place = window(x, y, seen.shape, CROP)
        crop = as_image(np.concatenate([p[:3, *place] for p in (seen, shown)], axis=1))
        corner = side * (i % ACROSS), 2 * side * (i // ACROSS)
        size = crop.width * ENLARGED, crop.height * ENLARGED
        made.paste(crop.resize(size, Image.Resampling.NEAREST), corner)
        draw.text((corner[0] + 3, corner[1] + 2), f"{i + 1}: {x:.0f},{y:.0f}", "yellow")
    return made


def measure(
    path: Path, remover: StarRemover, out: Path, left: Path | None = None
) -> tuple[int, int, int, int]:
    """Sources before and after, in standard deviations of the input; bright stars, those left.

    With `left` a sheet of the sources after goes into that folder.
    """
    report = batch.run_file(path, out, remover=remover, overwrite=True)
    picture = opened(path)
    starless = opened(report["outputs"]["starless"])
    seen, shown = luminance(picture), luminance(starless)
    before, after = flattened(seen), flattened(shown)
    noise = background_noise(before, picture)
    bright = halos(seen, shown, noise)
    threshold = SIGMAS * noise
    found = detect(after, threshold, FWHM)
    count = 0 if found is None else len(found)
    if left and found is not None:
        # Of floats, each file would be brought to its own range.
        taken = (picture.astype(float) - starless) / (np.nanmax(picture) - np.nanmin(picture))
        made = sheet(path, taken, np.stack([found["x"], found["y"]], axis=1))
        made.save(left / f"{path.name.split('.')[0]}.png")
    return sources(before, threshold), count, len(bright), stars_left(bright)


def main() -> int:
    """Print a line a picture and the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[DEFAULT])
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, help="keep the starless pictures here")
    parser.add_argument("--left", type=Path, help="draw what stays, a sheet a picture, here")
    args = parser.parse_args()
    if args.left:
        args.left.mkdir(parents=True, exist_ok=True)
    files = [f for p in args.paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
    remover = StarRemover(args.model)
    facts = remover.model.facts
    print(describe())
    print(f"model {facts.name} {facts.version}, {facts.training}")
    print(f"{'picture':44} {'before':>7} {'after':>6} {'removed':>8} {'bright':>7} {'left':>5}")
    shares = []
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        for path in files:
            try:
                before, after, bright, left = measure(path, remover, out, args.left)
            except NoxError as error:
                print(f"{path.name:44} {error}", file=sys.stderr)
                continue
            share = 1 - after / before if before else float("nan")
            shares.append(share)
            told = f"{path.name[:44]:44} {before:7} {after:6} {share:8.1%} {bright:7} {left:5}"
            print(told, flush=True)
    print(f"{'median':44} {'':7} {'':6} {np.nanmedian(shares):8.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
