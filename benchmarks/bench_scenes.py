"""Scenes a second, beside the way the original nox made its stars.

    python benchmarks/bench_scenes.py [--backgrounds FOLDER] [--fields N]

The original's way, written anew from its description: for each 512 px picture 300
Moffat stars, 20 large ones and 2,500 faint Gaussians, each an Astropy model evaluated
over the full frame and added.  Colour is done in two ways: one evaluation a star, tinted
(the least it can have cost), and one a channel with its own width (its colour fringes).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _environment import describe
from astropy.modeling.models import Gaussian2D, Moffat2D

from nox_train import dataset
from nox_train.colours import blackbody_rgb
from nox_train.plans import BankPlan

SIZE = 256
FRAME = 512
#: Scenes of 256 px in a training of two hours on two cores.
TRAINING = 50_000


def the_originals_way(rng: np.random.Generator, *, fringes: bool) -> np.ndarray:
    """One star picture of 512 px, model after model over the full frame."""
    yy, xx = np.mgrid[:FRAME, :FRAME].astype(float)
    picture = np.zeros((3, FRAME, FRAME))
    for kind, count in (("middle", 300), ("large", 20), ("faint", 2500)):
        for _ in range(count):
            x, y = rng.uniform(0, FRAME, 2)
            tint = 10 ** -rng.triangular(0, 1.5, 3) * blackbody_rgb(rng.uniform(3e3, 12e3, 1))[:, 0]
            width = rng.uniform(4, 15) if kind == "large" else rng.uniform(0.8, 4)
            beta = rng.uniform(2, 10)
            widths = width * rng.uniform(0.95, 1.05, 3) if fringes else [width]
            made = [_star(kind, x, y, w, beta)(xx, yy) for w in widths]
            for plane, amplitude, light in zip(picture, tint, made if fringes else 3 * made,
                                               strict=True):  # fmt: skip
                plane += amplitude * light
    return picture


def _star(kind: str, x: float, y: float, width: float, beta: float) -> Gaussian2D | Moffat2D:
    if kind == "faint":
        return Gaussian2D(1.0, x, y, width / 2.355, width / 2.355)
    return Moffat2D(1.0, x, y, width / (2 * np.sqrt(2 ** (1 / beta) - 1)), beta)


def stream_rate(folder: Path, seconds: float) -> float:
    """Scenes a second out of `dataset.Stream` with one worker; all on this core."""
    batches = dataset.Stream(folder, seed=1, start=0, count=8, size=SIZE, workers=1)
    next(batches)  # the worker has started, the grain is made
    for _ in range(6):  # what was made ahead
        next(batches)
    began, made = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(batches)
        made += 8
    rate = made / (time.perf_counter() - began)
    batches.close()  # type: ignore[attr-defined]
    return rate


def star_layer_rate(folder: Path, seconds: float) -> float:
    """Star layers a second from the bank: what `the_originals_way` makes, and no more."""
    bank, rng = dataset.Bank(folder), np.random.default_rng(1)
    began, made = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        bank.stars(rng, int(rng.integers(len(bank.fields))), SIZE)
        made += 1
    return made / (time.perf_counter() - began)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backgrounds", default="", metavar="FOLDER")
    parser.add_argument("--fields", type=int, default=24, help="of the bank; thrice as many skies")
    parser.add_argument("--seconds", type=float, default=30, help="of streaming")
    args = parser.parse_args()
    print(describe())
    plan = BankPlan(fields=args.fields, backgrounds=3 * args.fields, pictures=args.backgrounds)
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        dataset.build_bank(Path(scratch), plan, workers=2)
        built = time.perf_counter() - began
        whole = BankPlan()
        print(
            f"bank of {plan.fields} fields of {plan.field_size} px and {plan.backgrounds} "
            f"backgrounds of {plan.background_size} px: {built:.0f} s on two cores "
            f"(the standard bank, {whole.fields} and {whole.backgrounds}: about "
            f"{built * whole.fields / plan.fields:.0f} s)"
        )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            print("from here on one core")
        rate = stream_rate(Path(scratch), args.seconds)
        layers = star_layer_rate(Path(scratch), args.seconds / 3)
    ours = 1e6 / (rate * SIZE * SIZE)
    print(f"stream: {rate:.1f} scenes of {SIZE} px a second, {ours:.2f} s a megapixel")
    alone = 1e6 / (layers * SIZE * SIZE)
    print(f"of it the star layer alone: {1e3 / layers:.2f} ms, {alone:.3f} s a megapixel")
    began = time.perf_counter()
    for i in range(6):
        dataset._make_field((plan, i))
    field = (time.perf_counter() - began) / 6
    shared = alone + field * whole.fields / (TRAINING * SIZE**2 / 1e6)
    print(
        f"a field of the bank: {field:.2f} s on one core; shared out over one training of "
        f"{TRAINING} scenes the star layer is {shared:.2f} s a megapixel"
    )
    for fringes in (False, True):
        began = time.perf_counter()
        the_originals_way(np.random.default_rng(1), fringes=fringes)
        once = time.perf_counter() - began
        theirs = once * 1e6 / FRAME**2
        print(
            f"the original's way, {'a channel at a time' if fringes else 'tinted'}: {once:.1f} s "
            f"for the stars of {FRAME} px, {theirs:.0f} s a megapixel: {theirs / alone:.0f} times "
            f"our star layer, {theirs / shared:.0f} with the bank's fields shared out, "
            f"{theirs / ours:.0f} times our whole scene"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
