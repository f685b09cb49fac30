"""What star removal costs in a real Siril, beside `nox-runtime run` on the same file.

    python benchmarks/bench_siril.py [--size 3000x2000] [--repeat 3] [--suite sid]

Both write the starless picture and the descreened stars of a linear RGB float32 FITS file,
with the same Python, the same installed packages and the same stretch.  For Siril: wall
clock of siril-cli that loads the file and runs the script, and of the script alone, from
Siril's log.  Beside them what Siril needs by itself: to load the file, and to run a script
that only connects.  Siril is set up from Debian's packages as for the tests.
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

from siril.real_siril import SCRIPT, RealSiril, install_nox, real_siril

#: What any script for Siril begins with.
CONNECT = "import numpy, sirilpy\nsirilpy.SirilInterface().connect()\n"
NAMES = (
    "nox-runtime run", "siril-cli, load", "siril-cli, load and connect", "siril-cli, all of it",
    "siril-cli, load and script",
)  # fmt: skip


def versions(python: Path) -> str:
    """Those of Siril's environment, which both use."""
    asked = "import numpy, onnxruntime; print(numpy.__version__, onnxruntime.__version__)"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    return "numpy {}, onnxruntime {}".format(*done.stdout.split())


def by_command(python: Path, path: Path, folder: Path) -> float:
    """Wall-clock seconds of nox-runtime."""
    command = [python, "-m", "nox_runtime.cli", "run", path, "-q", "--overwrite",
               "-o", folder / "starless.fit", f"--descreened={folder / 'stars.fit'}",
               "--stretch", "mtf"]  # fmt: skip
    began = time.monotonic()
    subprocess.run(command, check=True, cwd=folder)
    return time.monotonic() - began


def by_siril(siril: RealSiril, folder: Path, *lines: str) -> tuple[float, list[str]]:
    """Wall-clock seconds of siril-cli, and its log."""
    began = time.monotonic()
    log = siril.run(["load picture.fit", *lines], folder, timeout=3600)
    return time.monotonic() - began, log


def logged_time(log: list[str]) -> float:
    """Seconds that Siril gives for its commands."""
    line = next(line for line in log if line.startswith("Total execution time"))
    number = float(re.findall(r"[\d.]+", line)[0])
    return number / 1000 if "ms" in line else number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="3000x2000")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--suite", default="sid", choices=("forky", "sid"))
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "siril").mkdir()
        siril = real_siril(args.suite, folder / "siril", install_nox(folder))
        python = siril.data / "siril" / "venv" / "bin" / "python3"
        print(f"{describe()}; Siril's {versions(python)}")
        work = folder / "work"
        work.mkdir()
        path = work / "picture.fit"
        picture(path, height, width)
        (folder / "connect.py").write_text(CONNECT)
        for turn in range(args.repeat + 1):  # in turn, so that both meet the same load
            made = [
                by_command(python, path, work),
                by_siril(siril, work)[0],
                by_siril(siril, work, f"pyscript {folder / 'connect.py'}")[0],
            ]
            whole, log = by_siril(siril, work, f"pyscript {SCRIPT} -stretch")
            said = next(line for line in log if line.startswith("nox: stars removed"))
            if turn:  # the first time files and packages are not in memory yet
                for name, seconds in zip(NAMES, [*made, whole, logged_time(log)], strict=True):
                    times[name].append(seconds)
        shutil.rmtree(work)
    base = statistics.median(times[NAMES[0]])
    print(f"siril-cli {'.'.join(map(str, siril.version))}, {args.size} RGB float32; {said}")
    for name, each in times.items():
        middle = statistics.median(each)
        share = f", {middle / base - 1:+.1%}" if middle > base else ""
        print(f"{name:28} {middle:7.2f} s  (from {min(each):.2f} to {max(each):.2f}){share}")


if __name__ == "__main__":
    main()
