"""Time of point spread functions: each kind of optics, and random ones as training draws them.

python benchmarks/bench_psf.py [--size 512] [--draws 60]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from _environment import describe

from nox_train import psf
from nox_train.psf import Optics

KINDS = {
    "Moffat only": Optics(),
    "Kolmogorov and trail": Optics(seeing="kolmogorov", trail=4.0),
    "Newtonian": Optics(lambda_over_d=1.0, obstruction=0.3, vanes=4),
    "Newtonian, corner": Optics(
        lambda_over_d=1.0, obstruction=0.3, vanes=4, field_coma=0.3, position=(0.8, 0.6)
    ),
    "Newtonian, sharp": Optics(fwhm=0.7, lambda_over_d=0.62, obstruction=0.3, vanes=4),
    "Webb": Optics(
        fwhm=0.7, lambda_over_d=1.2, aperture="hexagons", wavelengths_um=(4.44, 2.77, 1.5)
    ),
}


def _seconds(optics: Optics, size: int) -> float:
    start = time.perf_counter()
    psf.colour_psf(optics, size)
    return time.perf_counter() - start


def main() -> None:
    """Print seconds a colour function on one thread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--draws", type=int, default=60)
    args = parser.parse_args()
    print(describe())
    print(f"colour_psf at {args.size} px, seconds on one thread (scipy's FFT uses one)")
    for name, optics in KINDS.items():
        _seconds(optics, args.size)
        print(f"{name:24s} {np.median([_seconds(optics, args.size) for _ in range(3)]):.3f}")
    rng = np.random.default_rng(1)
    times = [_seconds(psf.random_optics(rng), args.size) for _ in range(args.draws)]
    middle, high = np.percentile(times, [50, 95])
    print(f"{args.draws} random ones: mean {np.mean(times):.3f}, median {middle:.3f}, "
          f"95 % below {high:.3f}, longest {max(times):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
