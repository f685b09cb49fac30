"""Seconds and memory of `nox-runtime run`, beside the original network.

    python benchmarks/bench_speed.py [--width 6000] [--height 4000]

The original's architecture (random weights, ONNX Runtime) is timed on a few
512 px patches and scaled to the patches that its defaults, patch 512 and stride
128, need for the same picture; and to one pass without overlap.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from _environment import describe
from astropy.io import fits
from original import build

PATCH, STRIDE = 512, 128


def picture(path: Path, height: int, width: int) -> None:
    """A linear RGB frame of noise and stars, float32."""
    rng = np.random.default_rng(0)
    sky = rng.normal(0.02, 0.001, (3, height, width)).astype(np.float32)
    y, x = rng.integers(2, [[height - 2], [width - 2]], (2, height * width // 2000))
    for dy, dx, share in ((0, 0, 1), (0, 1, 0.5), (1, 0, 0.5), (0, -1, 0.5), (-1, 0, 0.5)):
        sky[:, y + dy, x + dx] += np.float32(share * 0.3)
    fits.writeto(path, sky, overwrite=True)


def run_nox(path: Path, folder: Path, model: str | None) -> dict:
    """The command itself, in its own process; its report and its peak memory in MB."""
    command = [sys.executable, "-m", "nox_runtime.cli", "run", str(path), "-q", "--json",
               "-o", str(folder / "starless.fits"), "--overwrite"]  # fmt: skip
    command += ["--model", model] if model else []
    began = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    report["wall"] = time.monotonic() - began
    report["memory"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return report


def time_original(repeats: int = 5) -> float:
    """Median seconds of one patch of the original generator."""
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(build().SerializeToString(), options)
    patch = np.random.default_rng(0).random((1, 3, PATCH, PATCH), np.float32)
    session.run(None, {"picture": patch})
    times = []
    for _ in range(repeats):
        began = time.monotonic()
        session.run(None, {"picture": patch})
        times.append(time.monotonic() - began)
    return statistics.median(times)


def main() -> None:
    """Print both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=6000)
    parser.add_argument("--height", type=int, default=4000)
    parser.add_argument("--model")
    args = parser.parse_args()
    megapixels = args.width * args.height / 1e6
    print(describe())
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "in.fits"
        picture(path, args.height, args.width)
        report = run_nox(path, Path(scratch), args.model)
    patch = time_original()
    patches = -(-args.height // STRIDE) * -(-args.width // STRIDE)
    default, single = patches * patch, megapixels * 1e6 / PATCH**2 * patch
    nox = report["wall"]
    print(f"{args.width} x {args.height} RGB float32 FITS, {megapixels:.1f} megapixels")
    print(f"nox-runtime run, all in: {nox:8.1f} s, {nox / megapixels:6.2f} s a megapixel, "
          f"{report['memory']:.0f} MB, {report['tiles']} tiles of {report['tile']} px, "
          f"overlap {report['overlap']} px; {report['seconds']}")  # fmt: skip
    print(f"original at its defaults: {default:7.1f} s, {default / megapixels:6.2f} s a megapixel "
          f"({patches} patches of {patch:.3f} s): {default / nox:.1f} x")  # fmt: skip
    print(f"original, one pass:       {single:7.1f} s, {single / megapixels:6.2f} s a megapixel: "
          f"{single / nox:.1f} x")  # fmt: skip


if __name__ == "__main__":
    main()
