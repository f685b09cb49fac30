"""Scenes a second, beside the way the original nox made its stars.

    python benchmarks/bench_scenes.py [--backgrounds FOLDER] [--fields N]

The original's way, written anew from its description: for each 512 px picture 300
Moffat stars, 20 large ones and 2,500 faint Gaussians, each an Astropy model evaluated
over the full frame, tinted, and added.
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


def the_originals_way(rng: np.random.Generator) -> np.ndarray:
    """One star picture of 512 px, model after model over the full frame."""
    yy, xx = np.mgrid[:FRAME, :FRAME].astype(float)
    picture = np.zeros((3, FRAME, FRAME))
    kinds = [("middle", 300), ("large", 20), ("faint", 2500)]
    for kind, count in kinds:
        for _ in range(count):
            x, y = rng.uniform(0, FRAME, 2)
            amplitude = 10 ** -rng.triangular(0, 1.5, 3)
            if kind == "faint":
                s = rng.uniform(0.8, 2.0) / 2.355
                model = Gaussian2D(amplitude, x, y, s, s, theta=rng.uniform(0, np.pi))
            else:
                width = rng.uniform(4, 15) if kind == "large" else rng.uniform(0.8, 4)
                alpha = rng.uniform(2, 10)
                gamma = width / (2 * np.sqrt(2 ** (1 / alpha) - 1))
                model = Moffat2D(amplitude, x, y, gamma, alpha)
            tint = blackbody_rgb(rng.uniform(3000, 12000, 1))[:, 0]
            picture += tint[:, None, None] * model(xx, yy)
    return picture


def stream_rate(folder: Path, seconds: float) -> float:
    """Scenes a second out of `dataset.stream` with one worker; all on this core."""
    batches = dataset.stream(folder, seed=1, start=0, count=8, size=SIZE, workers=1)
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
    ours = 1e6 / (rate * SIZE * SIZE)
    print(f"stream: {rate:.1f} scenes of {SIZE} px a second, {ours:.2f} s a megapixel")
    began = time.perf_counter()
    the_originals_way(np.random.default_rng(1))
    once = time.perf_counter() - began
    theirs = once * 1e6 / FRAME**2
    print(
        f"the original's way: {once:.1f} s for the stars of {FRAME} px, {theirs:.0f} s a megapixel"
    )
    print(f"ratio {theirs / ours:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
