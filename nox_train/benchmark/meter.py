"""Seconds and memory of a remover, and the machine that it ran on."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATM = Path("/proc/self/statm")
_MIB = 2.0**20


def resident() -> float | None:
    """Memory of this process in MiB; None where the system does not tell."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB
    return None


def _highest(who: int) -> float:
    scale = 1.0 if sys.platform == "darwin" else 1024.0
    return float(resource.getrusage(who).ru_maxrss) * scale / _MIB


def highest_of_children() -> float | None:
    """Most memory that any ended child process held, in MiB; None if not told."""
    return None if resource is None else _highest(resource.RUSAGE_CHILDREN)


class Meter:
    """Measures what happens inside its ``with`` blocks: wall time and peak memory.

    Attributes
    ----------
    seconds : list of float
        One a block.
    peak : float or None
        Most memory of this process seen in any block, in MiB; None if not told.
    """

    def __init__(self, interval: float = 0.005) -> None:
        self.seconds: list[float] = []
        self.peak: float | None = None
        self._interval = interval

    def _look(self) -> None:
        now = resident()
        if now is not None:
            self.peak = max(self.peak or 0.0, now)

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._look()

    def __enter__(self) -> Meter:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds.append(time.perf_counter() - self._began)
        self._look()
        self._stop.set()
        self._thread.join()


def environment() -> dict:
    """Processor, cores, load, system and the versions that matter."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = lines[0].split(":", 1)[1].strip() if lines else cpu
    packages = {}
    for name in ("astronox", "numpy", "onnxruntime", "scikit-image", "photutils", "galsim"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = ""
    return {
        "processor": cpu, "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(), "packages": packages,
    }  # fmt: skip
