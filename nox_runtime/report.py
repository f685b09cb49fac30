"""What a run says of a file when it is done: the report of `--json`."""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from nox_runtime.images import Source
from nox_runtime.removal import StarRemover
from nox_runtime.stretch import Stretch

_BLOCK = 1 << 20


class Hashing:
    """SHA-256 of files, in threads: of the input from the start, while the run begins.

    Parameters
    ----------
    path : Path
        The input.
    """

    def __init__(self, path: Path) -> None:
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(4)
        self._known = {path: self._pool.submit(self._sha256, path)}

    def _sha256(self, path: Path) -> str:
        made = hashlib.sha256()
        with open(path, "rb") as stream:
            while not self._stop.is_set() and (block := stream.read(_BLOCK)):
                made.update(block)
        return made.hexdigest()

    def all(self, named: Mapping[str, Path]) -> dict[str, str]:
        """The hashes of files that are finished, by the same names."""
        for path in named.values():
            if path not in self._known:
                self._known[path] = self._pool.submit(self._sha256, path)
        return {name: self._known[path].result() for name, path in named.items()}

    def __enter__(self) -> Hashing:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._pool.shutdown()


def _versions(nox: str) -> dict[str, str]:
    made = {"nox": nox, "python": platform.python_version()}
    for package in ("numpy", "astropy", "onnxruntime", "onnxruntime-gpu"):
        try:
            made[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return made


def describe(
    path: Path, source: Source, written: Mapping[str, Path], remover: StarRemover,
    asked: Mapping[str, Any], stretched: list[Stretch], notes: list[str], version: str,
) -> dict[str, Any]:  # fmt: skip
    """What was done to a file, for JSON.

    Parameters
    ----------
    path : Path
        The input.
    source : Source
    written : dict of str to Path
        The results.
    remover : StarRemover
    asked : dict
        The options of `nox_runtime.batch.run_file`.
    stretched : list of Stretch
        Of each plane.
    notes : list of str
    version : str
        Of nox.
    """
    facts, height, width = remover.model.facts, source.shape[1], source.shape[2]
    region = None if asked["region"] is None else [int(v) for v in asked["region"]]
    report = {
        "input": str(path),
        "outputs": {k: str(v) for k, v in written.items()},
        "shape": list(source.shape),
        "dtype": source.dtype.name,
        "nox": version,
        "versions": _versions(version),
        "model": {"name": facts.name, "version": facts.version, "sha256": facts.weights_sha256},
        "device": remover.model.device,
        "stretch": stretched[0].as_dict(),
        "controls": {
            "strength": asked["strength"], "max_size": asked["max_size"],
            "min_roundness": asked["min_roundness"], "region": region,
            "protect": _named(asked["protect"]), "keep": _named(asked["keep"]),
            "passes": remover.layout.passes, "upsample": remover.layout.scale == 2,
            "large stars": remover.layout.halved,
        },
        "tiles": remover.tiles(height, width, tuple(region) if region else None),
        "tile": remover.layout.tile,
        "overlap": remover.layout.margin,
        "notes": [*remover.model.notes, *source.notes, *notes],
    }  # fmt: skip
    if len(stretched) > 1:
        report["stretches"] = [used.as_dict() for used in stretched]
    return report


def _named(control: Any) -> str | bool:
    """A control for the report: its file, or whether there was one."""
    return str(control) if isinstance(control, (str, Path)) else control is not None
