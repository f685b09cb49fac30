"""A bank of star fields and backgrounds on disk, and an endless stream of batches.

Building a field costs about half a second, cropping one a millisecond: a few
hundred fields times a few hundred backgrounds feed a training for days.  Batch
`i` of a stream depends on the seed and `i` alone, so that a resumed training
goes on exactly where it stopped.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nox_train import backgrounds, psf, stars
from nox_train.backgrounds.canvas import log_uniform
from nox_train.files import read_json, write_text
from nox_train.grounds import Grounds
from nox_train.plans import BankPlan
from nox_train.recipes import random_recipe
from nox_train.scenes import Scene, compose
from nox_train.showing import enlarged, lifted, shrunk
from nox_train.stars import Field

#: Factor of the light stored as float16: keeps wings 1e-10 of the peak.
_LIGHT_SCALE = 1024.0
#: Share of the star fields without colour.
MONO = 0.3
#: Share of the scenes that are made at twice the size and shrunk, as pictures for
#: the web are: tiny, sharp stars.
SHRUNK = 0.25
#: Share of the scenes that are made at half or a quarter of the size and enlarged: drizzle,
#: and the glow of giant stars.
ENLARGED = 0.1
#: Share of the scenes that lie round one of their field's brightest stars: at random one
#: scene in fifty would show such a star's wide, burnt-out core.  With 0.2 faint stars suffered.
BRIGHT = 0.15
_BRIGHTEST = 4
#: Share of these scenes whose star is so much brighter than its field that it is a giant among
#: stars that stay small, and how much brighter at most.
GIANT, _GIANT_FACTOR = 0.4, 100.0
#: Share of the others of these whose star has a companion: burnt-out cores that touch are no
#: longer round.  How far off it stands, in pixels, and its share of the light.
PAIRED, _APART, _COMPANION = 0.3, (2.0, 30.0), (0.1, 1.0)
#: Share of these scenes, ten times that of the others, with dust that the star lights.
LIT = 0.3
#: Share of the finished scenes with a dark sky that are shown as the runtime shows dark pictures;
#: the rest are dark parts of pictures that are brighter elsewhere.
LIFTED = 0.75


def _make_field(job: tuple[BankPlan, int]) -> tuple[np.ndarray, float, dict]:
    plan, i = job
    rng = np.random.default_rng([plan.seed, int(plan.held_out), 1, i])
    mono = bool(rng.random() < MONO)
    optics = psf.random_optics(rng, mono=mono)
    population = stars.random_population(rng, optics.fwhm, mono=mono)
    if population.palette:
        optics = optics.through(population.palette)
    # Where the optics change over the frame, half of the fields are the whole frame; not
    # those of sharp stars, which would cost a minute each.
    varies = optics.field_coma or optics.field_astigmatism or optics.field_curvature
    nodes = 3 if varies and rng.random() < 0.5 and optics.fwhm >= stars.SHARP else 1
    field = stars.star_field(plan.field_size, optics, population, rng, nodes=nodes)
    facts = {**field.parameters, "width": psf.measured_fwhm(optics)}
    return (field.light * _LIGHT_SCALE).astype(np.float16), field.faintest, facts


def _make_background(job: tuple[BankPlan, int, str]) -> tuple[np.ndarray, dict]:
    plan, i, path = job
    rng = np.random.default_rng([plan.seed, int(plan.held_out), 2, i])
    made, facts = backgrounds.make(
        plan.background_size, rng, Path(path) if path else None, abundance=plan.objects
    )
    return made.astype(np.float16), facts


def _picture_paths(plan: BankPlan) -> list[str]:
    """The picture of each background, '' where one is to be invented."""
    if not plan.pictures:
        return [""] * plan.backgrounds
    listed = backgrounds.list_pictures(Path(plan.pictures))
    if not listed:
        raise FileNotFoundError(
            f"{plan.pictures}: no pictures in this folder; "
            f"it must hold files ending in {' '.join(backgrounds.PICTURE_ENDINGS)}"
        )
    found = [p for p in listed if backgrounds.is_held_out(p) == plan.held_out]
    if len(found) in (0, len(listed)):  # few sources, whose hashes are all alike
        sources = {p: backgrounds.describe(p).source for p in listed}
        last = list(sources.values())[-1] if len(set(sources.values())) > 1 else None
        found = [p for p in listed if (sources[p] == last) == plan.held_out]
    if not found:  # a single source is for training; validation's backgrounds are invented
        return [""] * plan.backgrounds
    invented = round(plan.backgrounds * plan.invented)
    shown = [str(found[i % len(found)]) for i in range(plan.backgrounds - invented)]
    return shown + [""] * invented


def build_bank(folder: Path, plan: BankPlan, workers: int = 2) -> Path:
    """Make the bank of `plan` in `folder`; return at once where it is there already.

    The plan is written last, so that a bank broken off is made anew.
    """
    folder = Path(folder)
    stamp = folder / "bank.json"
    if read_json(stamp).get("plan") == asdict(plan):
        return folder
    paths = _picture_paths(plan)  # before minutes of work: a folder may be mistyped
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    size, side = plan.field_size, plan.background_size
    fields = np.lib.format.open_memmap(
        folder / "fields.npy", "w+", np.float16, (plan.fields, 3, size, size)
    )
    pictures = np.lib.format.open_memmap(
        folder / "backgrounds.npy", "w+", np.float16, (plan.backgrounds, 3, side, side)
    )
    facts = []
    with multiprocessing.get_context("spawn").Pool(workers, initializer=be_nice) as pool:
        jobs = [(plan, i) for i in range(plan.fields)]
        made = tqdm(pool.imap(_make_field, jobs), "star fields", plan.fields)
        for i, (light, faintest, parameters) in enumerate(made):
            fields[i] = light
            facts.append({"faintest": faintest, **parameters})
        todo = [(plan, i, path) for i, path in enumerate(paths)]
        shown = tqdm(pool.imap(_make_background, todo), "backgrounds", plan.backgrounds)
        about = []
        for i, (picture, told) in enumerate(shown):
            pictures[i] = picture
            about.append(told)
    fields.flush()
    pictures.flush()
    made_of = {"plan": asdict(plan), "fields": facts, "backgrounds": about}
    write_text(stamp, json.dumps(made_of) + "\n")
    return folder


class Scenes(ABC):
    """Something that scenes are drawn from."""

    @abstractmethod
    def scene(self, rng: np.random.Generator, size: int) -> Scene:
        """Draw a scene, `size` pixels a side."""

    def batch(self, seed: int, index: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `index` of the stream `seed`.

        Returns
        -------
        inputs, targets : ndarray, shape (count, size, size, 3), float32
        """
        rng = np.random.default_rng([seed, index])
        made = [self.scene(rng, size) for _ in range(count)]
        return (
            np.stack([np.moveaxis(s.input, 0, -1) for s in made]),
            np.stack([np.moveaxis(s.target, 0, -1) for s in made]),
        )


class Bank(Scenes):
    """A finished bank, opened for reading (memory-mapped, cheap in every process)."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        facts = json.loads((self.folder / "bank.json").read_text())
        self.field_facts, self.background_facts = facts["fields"], facts["backgrounds"]
        self.fields = np.load(self.folder / "fields.npy", mmap_mode="r")
        self.backgrounds = np.load(self.folder / "backgrounds.npy", mmap_mode="r")
        self.grounds = Grounds(self.backgrounds, [b["seeing"] for b in self.background_facts])

    def scene(self, rng: np.random.Generator, size: int) -> Scene:
        """Draw a field and a background, and compose them."""
        i = int(rng.integers(len(self.fields)))
        room = min(self.backgrounds.shape[-1], self.fields.shape[-1])
        resize, side, factor = rng.random(), size, 1
        if resize < SHRUNK and 2 * size <= room:
            side = 2 * size
        elif resize > 1 - ENLARGED:
            factor = 4 if size % 4 == 0 and rng.random() < 0.5 else 2
            side = size // factor
        facts = self.field_facts[i]
        # Banks of older versions know the air's width alone.
        width = facts.get("width") or facts["optics"]["fwhm"]
        ground, about = self.grounds.draw(rng, width, side, shrinking=side > size)
        bright = rng.random() < BRIGHT
        giant = log_uniform(rng, 3.0, _GIANT_FACTOR) if bright and rng.random() < GIANT else 1.0
        stars = self.bright_stars(rng, i, side, giant) if bright else self.stars(rng, i, 2 * side)
        recipe = random_recipe(rng, mono=stars.mono)
        if giant > 1:
            recipe = replace(recipe, most=0.7)
        elif bright and rng.random() < 0.6:
            recipe = replace(recipe, boost=log_uniform(rng, 3.0, 300.0))
        lit = rng.random() < (LIT if bright else 0.1 * LIT)
        if factor > 1:  # single hot pixels would become round, soft and star-like
            recipe = replace(recipe, hot=0, cosmics=0)
        made = compose(ground, stars, rng, size=side, recipe=recipe, lit=lit)
        made.parameters.update(field=i, bright=bright, giant=giant, **about)
        if side > size:
            made = shrunk(made)
        elif factor > 1:
            made = enlarged(made, factor, _grain(rng, made, size))
        return lifted(made) if not recipe.linear and rng.random() < LIFTED else made

    def stars(self, rng: np.random.Generator, i: int, size: int) -> Field:
        """A random part of field `i`, `size` pixels a side or the whole where smaller."""
        return self._field(i, _window(self.fields[i], size, rng))

    def bright_stars(
        self, rng: np.random.Generator, i: int, size: int, giant: float = 1.0
    ) -> Field:
        """A part of field `i` with one of its brightest stars somewhere in it.

        That star alone is made `giant` times as bright, the others are left; or else it may
        get a companion.  Its light is what is there on both sides of it alike; the field's
        faint stars are not.
        """
        light, block = self.fields[i], 16
        side = light.shape[1]
        coarse = light[1, : side // block * block, : side // block * block]
        coarse = coarse.reshape(side // block, block, side // block, block).max(axis=(1, 3))
        place = int(rng.choice(np.argsort(coarse, axis=None)[-_BRIGHTEST:]))
        star = (np.array(np.unravel_index(place, coarse.shape)) + 0.5) * block
        first = (star - rng.uniform(0.1, 0.9, 2) * size).astype(int)
        rows, columns = ((f + np.arange(min(size, side))) % side for f in first)
        field = self._field(i, light[:, rows[:, None], columns])
        if giant > 1:
            added = np.float32(giant - 1) * self._alone(i, star, rows, columns)
            return replace(field, light=field.light + added)
        if rng.random() < PAIRED:
            far, angle = log_uniform(rng, *_APART), rng.uniform(0, 2 * np.pi)
            dy, dx = round(far * np.sin(angle)), round(far * np.cos(angle))
            share = np.float32(log_uniform(rng, *_COMPANION))
            added = share * self._alone(i, star, (rows - dy) % side, (columns - dx) % side)
            return replace(field, light=field.light + added)
        return field

    def _alone(self, i: int, star: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The light of the star near a place of field `i` without its neighbours', there."""
        light = self.fields[i]
        side = light.shape[1]
        y, x = _summit(light[1], *star.astype(int))
        across, along = (2 * y - rows) % side, (2 * x - columns) % side
        here, mirrored = (
            self._field(i, light[:, r[:, None], c]).light
            for r, c in ((rows, columns), (across, along))
        )
        alone = np.minimum(here, mirrored)
        # In crowded fields something faint lies on both sides almost everywhere.
        return np.maximum(alone - 2 * np.median(alone, axis=(1, 2), keepdims=True), 0)

    def _field(self, i: int, part: np.ndarray) -> Field:
        light = part.astype(np.float32)
        light *= np.float32(1 / _LIGHT_SCALE)
        facts = self.field_facts[i]
        return Field(light, facts["faintest"], facts)


def _summit(light: np.ndarray, y: int, x: int, reach: int = 8) -> tuple[int, int]:
    """Climb to the nearest star's peak, in a map that is periodic at its edges."""
    around = np.arange(-reach, reach + 1)
    while True:
        rows, columns = (y + around) % len(light), (x + around) % len(light)
        near = light[rows[:, None], columns]
        if near.max() <= light[y, x]:
            return y, x
        dy, dx = np.unravel_index(int(np.argmax(near)), near.shape)
        y, x = int(rows[dy]), int(columns[dx])


def _grain(rng: np.random.Generator, scene: Scene, size: int) -> np.ndarray | float:
    """Grain for an enlarged scene, which has lost its own; often none."""
    if rng.random() < 0.3:
        return 0.0
    shape = (1 if scene.parameters["mono"] else 3, size, size)
    return np.float32(log_uniform(rng, 0.001, 0.02)) * rng.standard_normal(shape, np.float32)


def _window(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A part of a mapped picture, so that not all of it is read for a small scene."""
    side = picture.shape[1]
    size = min(size, side)
    y, x = rng.integers(0, side - size + 1, 2)
    return picture[:, y : y + size, x : x + size]


_bank: Scenes | None = None


def be_nice() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "nice"):
        os.nice(5)


def _open_bank(folder: str, opener: Callable[[Path], Scenes]) -> None:
    global _bank
    be_nice()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training
    _bank = opener(Path(folder))


def _make_batch(job: tuple[int, int, int, int], packed: bool) -> tuple[np.ndarray, np.ndarray]:
    assert _bank is not None
    inputs, targets = _bank.batch(*job)
    return (pack(inputs), pack(targets)) if packed else (inputs, targets)


def pack(picture: np.ndarray) -> np.ndarray:
    """Values 0 to 1 as int16 of -32768 to 32767, in half the room; `unpack` undoes it.

    Whole numbers with a sign, because PyTorch can do little with those without.
    """
    return (np.round(picture * 65535) - 32768).astype(np.int16)


class Stream(Iterator[tuple[np.ndarray, np.ndarray]]):
    """Batches from `start` onwards, in order, made by processes ahead of need.

    Parameters
    ----------
    folder : Path
        Of a bank.
    seed, start, count, size : int
        As for `Scenes.batch`.
    workers, ahead : int
        Processes, and batches made ahead.
    opener : callable
        Turns the folder into what scenes are drawn from, in each process.
    packed : bool
        Whether to hand the batches over as `pack` makes them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        start: int,
        count: int,
        size: int,
        workers: int = 1,
        ahead: int = 6,
        opener: Callable[[Path], Scenes] = Bank,
        packed: bool = False,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = context.Pool(workers, _open_bank, (str(folder), opener))
        self._job = partial(_make_batch, packed=packed)
        self._jobs = ((seed, index, count, size) for index in itertools.count(start))
        self._waiting: deque = deque()
        self._fill(ahead)

    def _fill(self, count: int) -> None:
        for job in itertools.islice(self._jobs, count):
            self._waiting.append(self._pool.apply_async(self._job, (job,)))

    def ready(self) -> bool:
        """Whether the next batch is there already."""
        return bool(self._waiting[0].ready())

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        made: tuple[np.ndarray, np.ndarray] = self._waiting.popleft().get()
        self._fill(1)
        return made

    def close(self) -> None:
        """End the processes."""
        # They are killed; were one just handing over a batch, the pool would wait for the
        # rest of it for ever.
        until = time.monotonic() + 60
        for job in self._waiting:
            job.wait(max(0.0, until - time.monotonic()))
        self._pool.terminate()
        self._pool.join()
