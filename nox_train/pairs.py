"""Write a data set: pairs of pictures with stars and without, for any trainer.

Pair `i` depends on the seed and `i` alone, whatever the number of workers.  The JSON
file of a pair is written last and marks it as done, so that a run that was killed
goes on where it stopped.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nox_train import dataset
from nox_train.dataset import Bank
from nox_train.files import write_text
from nox_train.scenes import Scene

FORMATS = ("fits", "tiff", "png")


@dataclass(frozen=True)
class PairsPlan:
    """What to write.

    Attributes
    ----------
    count, size : int
        Pairs, and their side in pixels.
    seed : int
    format : {'fits', 'tiff', 'png'}
        float32 FITS or TIFF, or 16-bit PNG.
    """

    count: int
    size: int = 512
    seed: int = 1
    format: str = "fits"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}; it must be one of {', '.join(FORMATS)}")
        if self.count < 1:
            raise ValueError(f"count is {self.count}; it must be at least 1 pair")
        if self.size < 32 or self.size % 2:
            raise ValueError(f"size is {self.size}; it must be even and at least 32 pixels")


def names(folder: Path, index: int, format: str) -> tuple[Path, Path, Path]:
    """Paths of a pair's input, target and parameters."""
    stem = f"{index:06d}"
    return (
        folder / f"{stem}_input.{format}",
        folder / f"{stem}_target.{format}",
        folder / f"{stem}.json",
    )


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write (C, H, W), display range 0 to 1, by the path's ending."""
    if path.suffix == ".fits":
        from astropy.io import fits

        fits.PrimaryHDU(picture).writeto(path, overwrite=True)
    elif path.suffix == ".tiff":
        import tifffile

        # No software tag: it would hold the version, and change the bytes with it.
        tifffile.imwrite(
            path, np.moveaxis(picture, 0, -1), photometric="rgb", software=False, metadata=None
        )
    else:
        import imagecodecs

        whole = (np.clip(np.moveaxis(picture, 0, -1), 0, 1) * 65535 + 0.5).astype(np.uint16)
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(whole)))


def _write(folder: Path, index: int, plan: PairsPlan, scene: Scene, bank: Bank) -> None:
    *pictures, told = names(folder, index, plan.format)
    for path, picture in zip(pictures, (scene.input, scene.target), strict=True):
        # The ending stays last: it chooses the format.
        part = path.with_name(f"part-{path.name}")
        write_picture(part, picture)
        os.replace(part, path)
    facts = {
        "seed": plan.seed, "index": index, "size": plan.size, "recipe": scene.parameters,
        "field": bank.field_facts[scene.parameters["field"]],
        "background": bank.background_facts[scene.parameters["background"]],
    }  # fmt: skip
    part = told.with_name(f"part-{told.name}")
    part.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    os.replace(part, told)


def make_pair(bank: Bank, plan: PairsPlan, index: int) -> Scene:
    """The scene of pair `index`."""
    return bank.scene(np.random.default_rng([plan.seed, 3, index]), plan.size)


_job: tuple[Bank, Path, PairsPlan] | None = None


def _open(bank: str, folder: str, plan: PairsPlan) -> None:
    global _job
    dataset.be_nice()
    _job = Bank(Path(bank)), Path(folder), plan


def _make(index: int) -> int:
    assert _job is not None
    bank, folder, plan = _job
    _write(folder, index, plan, make_pair(bank, plan, index), bank)
    return index


def check_folder(folder: Path, plan: PairsPlan, bank_plan: dict) -> dict:
    """Whether a folder is free for this data set, or holds a part of it already.

    Returns
    -------
    dict
        What `iter_pairs` writes to ``dataset.json``.

    Raises
    ------
    FileExistsError
        The folder's pairs were made by another plan or bank.
    """
    stamp = folder / "dataset.json"
    facts = {"seed": plan.seed, "size": plan.size, "format": plan.format, "bank": bank_plan}
    if stamp.exists() and json.loads(stamp.read_text()) != facts:
        raise FileExistsError(
            f"{folder}: holds pairs of another seed, size, format or bank (see dataset.json); "
            "choose another folder"
        )
    return facts


def iter_pairs(folder: Path, bank: Path, plan: PairsPlan, workers: int = 1) -> Iterator[int]:
    """Write the pairs that are not there yet; yields the number that is done so far.

    Parameters
    ----------
    folder : Path
        Made where missing.  One that holds another data set is refused.
    bank : Path
        See `nox_train.dataset.build_bank`.
    plan : PairsPlan
        A larger `count` than before adds pairs to a finished data set.
    workers : int
        Processes; the pictures are the same bytes for any number.

    Raises
    ------
    FileExistsError
        The folder's pairs were made by another plan or bank.
    """
    facts = check_folder(folder, plan, json.loads((bank / "bank.json").read_text())["plan"])
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "dataset.json", json.dumps(facts, indent=1) + "\n")
    todo = [i for i in range(plan.count) if not names(folder, i, plan.format)[2].exists()]
    done = plan.count - len(todo)
    yield done
    if not todo:
        return
    context = multiprocessing.get_context("spawn")
    arguments = (str(bank), str(folder), plan)
    with context.Pool(workers, initializer=_open, initargs=arguments) as pool:
        for _ in pool.imap_unordered(_make, todo):
            done += 1
            yield done
