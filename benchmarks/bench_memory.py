"""Peak resident memory of `nox-runtime run` by size of the picture.

    python benchmarks/bench_memory.py [--sides 2000 8000 30000] [--rows 8000] [--stand-in]

Makes FITS pictures (mono, 32-bit floats) of which the disk holds only what is not zero,
runs the command in a process of its own and prints the most memory that it held.  With
--stand-in a small computation takes the network's place, so that a large picture needs
minutes and not hours; the network's own memory is then not counted: print a small
picture without --stand-in to see it.  With --rows only so many rows of each picture are
made: what is held is a row of tiles, which has the width of the whole.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _environment import describe
from astropy.io import fits

#: What the child runs: the command, with a stand-in for the network if asked for.
CHILD = """
import sys
if sys.argv.pop(1) == "stand-in":
    import numpy as np
    from nox_runtime import run_command, cli
    from nox_runtime.model import Model, load_model
    class Cut(Model):
        def __call__(self, pictures, interruption=None):
            return np.minimum(pictures, np.float32(0.5))
    def remover(args):
        from nox_runtime.removal import StarRemover
        facts = load_model(device="cpu").facts
        options = run_command.remover_options(args)
        options["model"] = Cut("cut", facts, None, "cpu")
        return StarRemover(**options)
    cli._remover = remover
from nox_runtime.cli import main
sys.exit(main(sys.argv[1:]))
"""


def sparse(path: Path, side: int, rows: int) -> None:
    """A picture of noise in some rows, stars in others, nothing in most."""
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 2
    header["NAXIS1"], header["NAXIS2"] = side, rows
    text = header.tostring().encode("ascii")
    rng = np.random.default_rng(0)
    with open(path, "wb") as out:
        out.write(text)
        for y in range(0, rows, max(1, rows // 200)):
            row = rng.normal(0.1, 0.01, side).astype(">f4")
            row[rng.integers(0, side, max(1, side // 100))] = 0.9
            out.seek(len(text) + y * side * 4)
            out.write(row.tobytes())
        size = len(text) + side * rows * 4
        out.truncate(-(-size // 2880) * 2880)


def peak(path: Path, output: Path, stand_in: bool, extra: list[str]) -> tuple[float, float]:
    """Seconds, and peak resident MB of the command on a picture."""
    kind = "stand-in" if stand_in else "model"
    command = [sys.executable, "-c", CHILD, kind, "run", str(path), "-q", "-o", str(output), *extra]
    began = time.monotonic()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"the command failed on {path}: {status}")
    scale = 1 if sys.platform == "darwin" else 1024
    return time.monotonic() - began, usage.ru_maxrss * scale / 1e6


def main() -> None:
    """Print a line a picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[2000, 8000])
    parser.add_argument("--rows", type=int, help="of each picture (default: as many as columns)")
    parser.add_argument("--stand-in", action="store_true")
    parser.add_argument("--stars", action="store_true", help="also write the stars")
    parser.add_argument("--tile", type=int, help="pixels")
    parser.add_argument("--folder", type=Path, help="for the pictures (default: temporary)")
    args = parser.parse_args()
    extra = ["--stars"] if args.stars else []
    extra += ["--tile", str(args.tile)] if args.tile else []
    print(describe())
    for side in args.sides:
        with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
            path = Path(scratch) / "in.fits"
            rows = args.rows or side
            sparse(path, side, rows)
            seconds, most = peak(path, Path(scratch) / "out.fits", args.stand_in, extra)
            print(
                f"{side} x {rows} mono float32, {path.stat().st_size / 1e6:.0f} MB: "
                f"{most:.0f} MB resident at most, {seconds:.1f} s"
                + (" (stand-in for the network)" if args.stand_in else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
