"""What star removal costs in a real Siril, beside `nox-runtime run` on the same file.

    python benchmarks/bench_siril.py [--size 3000x2000] [--repeat 3] [--suite sid]

Both write the starless picture and the descreened stars of a linear RGB float32 FITS file.
For Siril: wall clock of siril-cli that loads the file and runs the script, and of the script
alone, from Siril's log.  Siril is set up from Debian's packages as for the tests.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _environment import describe
from bench_speed import picture

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from siril.real_siril import SCRIPT, install_nox, real_siril


def by_command(path: Path, folder: Path) -> float:
    """Wall-clock seconds of nox-runtime."""
    command = [sys.executable, "-m", "nox_runtime.cli", "run", str(path), "-q", "--overwrite",
               "-o", str(folder / "starless.fit"), f"--descreened={folder / 'stars.fit'}",
               "--stretch", "mtf"]  # fmt: skip
    began = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="3000x2000")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--suite", default="sid", choices=("forky", "sid"))
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    print(describe())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "siril").mkdir()
        siril = real_siril(args.suite, folder / "siril", install_nox(folder))
        work = folder / "work"
        work.mkdir()
        path = work / "picture.fit"
        picture(path, height, width)
        alone, whole, script = [], [], []
        for _ in range(args.repeat):  # in turn, so that both meet the same load
            alone.append(by_command(path, work))
            began = time.monotonic()
            log = siril.run(["load picture.fit", f"pyscript {SCRIPT} -stretch"], work, timeout=3600)
            whole.append(time.monotonic() - began)
            said = next(line for line in log if line.startswith("nox: stars removed"))
            ran = next(line for line in log if line.startswith("Total execution time"))
            script.append(float(re.findall(r"[\d.]+", ran)[0]) if "ms" not in ran else 0.0)
        shutil.rmtree(work)
    base = statistics.median(alone)
    print(f"siril-cli {'.'.join(map(str, siril.version))}, {args.size} RGB float32; {said}")
    for name, times in (
        ("nox-runtime run", alone),
        ("siril-cli, all of it", whole),
        ("siril-cli, load and script", script),
    ):
        middle = statistics.median(times)
        print(
            f"{name:28} {middle:7.2f} s  (from {min(times):.2f} to {max(times):.2f}), "
            f"{middle / base - 1:+.1%}"
        )


if __name__ == "__main__":
    main()
