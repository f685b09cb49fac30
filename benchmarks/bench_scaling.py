"""How a mosaic, and many files, speed up over the workers of a dask cluster.

    python benchmarks/bench_scaling.py [--workers 1 2] [--side 4096] [--files 8] [--threads 1]

Starts a scheduler and workers as processes of this machine, each with --threads threads
for the network, so that workers times threads should not exceed its cores.  Prints
seconds, speed-up over one worker, and what the client did besides waiting.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _environment import describe
from astropy.io import fits

from nox_runtime.cluster import connect, run_files
from nox_runtime.outputs import plan_outputs


@contextmanager
def cluster(workers: int, folder: Path) -> Iterator[str]:
    """The address of a scheduler with so many workers of one task each."""
    dask = shutil.which("dask", path=str(Path(sys.executable).parent)) or "dask"
    file = folder / f"scheduler-{workers}.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = [dask, "scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard"]
    processes = [subprocess.Popen([*start, "--scheduler-file", str(file)], **quiet)]
    while not (file.exists() and file.stat().st_size):
        time.sleep(0.1)
    import json

    address = str(json.loads(file.read_text())["address"])
    work = [dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    processes += [
        subprocess.Popen([*work, "--local-directory", str(folder)], **quiet) for _ in range(workers)
    ]
    try:
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def picture(path: Path, side: int, seed: int) -> None:
    """A linear mono frame of noise and stars, 16 bit."""
    rng = np.random.default_rng(seed)
    sky = rng.normal(900, 25, (side, side))
    y, x = rng.integers(1, side - 1, (2, side * side // 3000))
    sky[y, x] += rng.pareto(1.5, len(y)) * 800
    fits.writeto(path, sky.clip(0, 65535).astype("u2"), overwrite=True)


def measure(
    address: str, paths: list[Path], out: Path, remover: dict[str, object]
) -> tuple[float, float]:
    """Seconds, and of them the processor's of this client."""
    work = [(path, plan_outputs(path, out, folder=True)) for path in paths]
    began, busy = time.monotonic(), time.process_time()
    for _, result in run_files(address, work, remover, {"overwrite": True}):
        if not isinstance(result, dict):
            raise SystemExit(str(result))
    return time.monotonic() - began, time.process_time() - busy


def main() -> None:
    """Print a line for each number of workers and each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--side", type=int, default=4096, help="of the mosaic, pixels")
    parser.add_argument("--files", type=int, default=8, help="of a quarter of its side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tile", type=int, default=1024)
    args = parser.parse_args()
    print(describe(), f"({os.cpu_count()} cores)")
    remover = {"device": "cpu", "threads": args.threads, "tile": args.tile}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "out").mkdir()
        picture(folder / "mosaic.fits", args.side, 0)
        files = [folder / f"{k}.fits" for k in range(args.files)]
        for k, path in enumerate(files):
            picture(path, args.side // 4, k)
        first: dict[str, float] = {}
        for count in args.workers:
            with cluster(count, folder) as address:
                # The workers load the model before the clock starts.
                client = connect(address)
                from nox_runtime.cluster import _remover

                client.run(lambda: _remover(remover) and None)
                client.close()
                for name, paths in (("mosaic", [folder / "mosaic.fits"]), ("files", files)):
                    seconds, busy = measure(address, paths, folder / "out", remover)
                    gain = first.setdefault(name, seconds) / seconds
                    print(
                        f"{name:7} {count} workers of {args.threads} threads: {seconds:7.1f} s, "
                        f"{gain:.2f} x the first, client busy {busy:.1f} s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
