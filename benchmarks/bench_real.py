"""Stars left on real pictures: what DAOStarFinder finds before and after.

    python benchmarks/bench_real.py FOLDER_OR_FILE ... [--model FILE] [--out FOLDER]

`nox-bench run --real` measures more; this one goes through files, as users do.
Without arguments: ../shared/data/astro beside the checkout.  A source counts if
its peak stands 10 standard deviations of the input's background above it, at least
those of rounding to its steps; both searches use the threshold measured on the
input and a width of 3 px.  DAOStarFinder passes over saturated stars: of the ten
brightest of each picture those are counted, too, that keep a fifth of their core's light;
nuclei of galaxies, which must stay, may be among them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from _environment import describe

from nox_runtime import StarRemover, batch
from nox_runtime.errors import NoxError
from nox_runtime.images import open_image
from nox_train.benchmark.classical import flattened
from nox_train.benchmark.real import SIGMAS, background_noise, halos, sources, stars_left

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "astro"


def opened(path: Path | str) -> np.ndarray:
    """A picture, (C, H, W), in its own units."""
    with open_image(path) as source:
        _, h, w = source.shape
        return source.read(0, h, 0, w)


def luminance(picture: np.ndarray) -> np.ndarray:
    """A picture's mean channel, float64, gaps filled with the median."""
    grey = picture.astype(float).mean(axis=0)
    return np.where(np.isfinite(grey), grey, np.nanmedian(grey[np.isfinite(grey)]))


def measure(path: Path, remover: StarRemover, out: Path) -> tuple[int, int, int, int]:
    """Sources before and after, in standard deviations of the input; bright stars, those left."""
    report = batch.run_file(path, out, remover=remover, overwrite=True)
    picture = opened(path)
    seen, shown = luminance(picture), luminance(opened(report["outputs"]["starless"]))
    before, after = flattened(seen), flattened(shown)
    noise = background_noise(before, picture)
    bright = halos(seen, shown, noise)
    threshold = SIGMAS * noise
    return sources(before, threshold), sources(after, threshold), len(bright), stars_left(bright)


def main() -> int:
    """Print a line a picture and the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[DEFAULT])
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, help="keep the starless pictures here")
    args = parser.parse_args()
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
                before, after, bright, left = measure(path, remover, out)
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
