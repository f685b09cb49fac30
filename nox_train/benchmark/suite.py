"""Runs a remover over the benchmark and puts the result together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from nox_train.benchmark import crops, measures
from nox_train.benchmark.grid import MEASURES, SEED, VERSION
from nox_train.benchmark.meter import Meter, environment, highest_of_children, resident
from nox_train.benchmark.removers import Remover
from nox_train.files import write_text

if TYPE_CHECKING:  # scenes need galsim, photographs do not
    from nox_train.benchmark.scenes import SceneSet

FORMAT = "nox-bench 1"


def _cost(meter: Meter, megapixels: list[float], before: float | None, remover: Remover) -> dict:
    """Seconds and memory; the first picture's time is left out where there are others."""
    rates = [s / m for s, m in zip(meter.seconds, megapixels, strict=True)]
    steady = rates[1:] or rates
    memory = None if meter.peak is None or before is None else meter.peak - before
    if remover.facts.get("kind") == "command":
        memory = highest_of_children()
    return {
        "seconds": float(sum(meter.seconds)),
        "seconds per megapixel": float(np.median(steady)) if steady else None,
        "memory MiB": memory,
    }


def synthetic(
    remover: Remover, scenes: SceneSet, *, before: float | None = None, quiet: bool = True
) -> tuple[dict, list[dict]]:
    """Measure a remover on the synthetic scenes.

    Parameters
    ----------
    remover : Remover
    scenes : SceneSet
    before : float, optional
        This process' memory before the remover was loaded, in MiB.
    quiet : bool
        No progress bar.

    Returns
    -------
    result : dict
        ``set``, ``cost``, ``summary``, ``by`` and ``scenes``.
    crops : list of dict
    """
    meter, sizes = Meter(), []
    figures, pictures = [], []
    digest = hashlib.sha256()
    # A remover that was told nothing must find out which pictures are linear.
    knows = remover.facts.get("kind") != "nox"
    for scene in tqdm(scenes, desc=remover.name, unit="scene", total=len(scenes), disable=quiet):
        given = scene.picture
        with meter:
            made = remover.remove(given.copy(), scene.linear if knows else None)
        sizes.append(given[0].size / 1e6)
        figures.append(measures.measure(scene, made) | {"seconds": meter.seconds[-1]})
        pictures.append(crops.of_scene(scene, np.asarray(made)))
        digest.update(scene.input.tobytes() + scene.truth.tobytes())
    result = {
        "set": {
            "version": VERSION, "measures": MEASURES, "seed": SEED, "scenes": len(scenes),
            "backgrounds": f"{len(scenes.pictures)} held-out pictures"
            if scenes.pictures else "invented",
            "fingerprint": digest.hexdigest()[:16],
        },
        "cost": _cost(meter, sizes, before, remover),
        "summary": measures.summary(figures),
        "by": {key: measures.by(figures, key) for key in ("stretch", "colour", "vanes")},
        "scenes": figures,
    }  # fmt: skip
    return result, crops.chosen(pictures, [f["psnr"]["inside"] for f in figures])


def run(
    load: Callable[[], Remover],
    scenes: SceneSet | None,
    photographs: list[Path] | None = None,
    *,
    quiet: bool = True,
) -> dict:
    """Measure a remover on both parts.

    Parameters
    ----------
    load : callable
        Makes the remover, so that its memory can be told from ours.
    scenes : SceneSet or None
        None leaves the synthetic part out.
    photographs : list of Path, optional
        For the real part.
    quiet : bool
        No progress bars.

    Returns
    -------
    dict
        The whole result, for `write` and for `nox_train.benchmark.report`.
    """
    from nox_train.benchmark import real

    if scenes is not None:  # made before the clock and the memory are looked at
        for i in tqdm(range(len(scenes)), desc="scenes", unit="scene", disable=quiet):
            scenes.prepare(i)
    before = resident()
    remover = load()
    result: dict = {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "remover": {"name": remover.name} | remover.facts,
        "environment": environment(),
    }
    shown: list[dict] = []
    if scenes is not None:
        result["synthetic"], shown = synthetic(remover, scenes, before=before, quiet=quiet)
    if photographs:
        result["real"], more = real.photographs(remover, photographs, quiet=quiet)
        shown += more
    return result | {"crops": shown}


def condensed(results: list[dict]) -> dict:
    """Several results without scenes, pictures and crops: what the tables are made of."""
    heads = ("date", "remover", "environment")
    parts = {"synthetic": ("set", "cost", "summary", "by"), "real": ("summary", "failed")}
    return {
        "format": "nox-bench report 1",
        "results": [
            {head: result[head] for head in heads}
            | {
                part: {key: result[part][key] for key in keys}
                for part, keys in parts.items()
                if part in result
            }
            for result in results
        ],
    }


def write(result: dict, path: Path) -> None:
    """Write a result as JSON; the file appears whole or not at all."""
    write_text(path, json.dumps(result, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> dict:
    """Read a result that `write` wrote.

    Raises
    ------
    ValueError
        The file is none.
    """
    try:
        result = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a result of nox-bench ({error})") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise ValueError(f"{path}: not a result of this nox-bench; make it anew with nox-bench run")
    return result
