"""A user's own pictures as scenes: pairs with stars and without, or star-free frames.

They are shown as nox-runtime shows them: by its automatic stretch of the input, the
target by the same parameters.  The lowest part of every picture is held out, to tell
whether the training helps on what it has not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.errors import NoxError
from nox_runtime.images import Source, open_image, readable, split_ending
from nox_runtime.statistics import statistics
from nox_runtime.stretch import Stretch, choose
from nox_train.backgrounds import points
from nox_train.dataset import Bank, Scenes
from nox_train.files import read_json, write_text
from nox_train.plans import OwnPlan
from nox_train.scenes import Scene

#: Share of each picture's rows that is held out, at least one patch.
HELD_OUT = 1 / 6
#: Medians of input and target further apart than this, in the display range, mean that
#: they were not saved on the same scale.
_SAME_SKY = 0.02
#: Crops of star-free frames, in all: enough that a training of minutes repeats none.
_CROPS = {False: 96, True: 24}
_LEVELS = 65535
#: A patch should hold stars: mean light taken away, in the display range.
_STARRY = 5e-4
_TRIES = 4


def _opened(path: Path) -> tuple[np.ndarray, Stretch, Source]:
    """A picture's values, the stretch that the runtime would choose, and its source."""
    with open_image(path) as source:
        channels, height, width = source.shape
        if channels not in (1, 3):
            raise ValueError(f"{path}: has {channels} channels; give one of 1 or 3")
        values = source.read(0, height, 0, width)
        if not np.isfinite(values).any(axis=(1, 2)).all():
            raise ValueError(f"{path}: a channel of it holds no value but NaN; leave it out")
        return values, choose("auto", statistics(values, source.dtype)), source


def _shown(values: np.ndarray, stretch: Stretch) -> np.ndarray:
    """On the display scale, whole numbers of `_LEVELS`; pixels without value as the sky."""
    shown = stretch.forward(values)
    sky = np.nanmedian(shown[:, ::4, ::4], axis=(1, 2), keepdims=True)
    shown = np.where(np.isfinite(shown), shown, np.nan_to_num(sky))
    whole = np.round(shown * _LEVELS).astype(np.uint16)
    return whole if len(whole) == 3 else np.repeat(whole, 3, axis=0)


def _stretch(values: np.ndarray, found: Stretch, kind: str) -> Stretch:
    if kind == "auto":
        return found
    return choose(kind, statistics(values))


def read_pair(input_: Path, target: Path, stretch: str = "auto") -> tuple[np.ndarray, np.ndarray]:
    """Read a pair as the runtime would show it.

    Parameters
    ----------
    input_, target : Path
        With stars and without, in any format that nox_runtime reads.
    stretch : str
        Of the input, as `nox_runtime.stretch.choose`; the target gets its parameters.

    Returns
    -------
    input, target : ndarray, shape (3, H, W), uint16
        The display range in 65535 parts; one channel is repeated.

    Raises
    ------
    ValueError
        The two do not fit.
    """
    values, found, source = _opened(input_)
    wanted, _, other = _opened(target)
    if values.shape != wanted.shape:
        raise ValueError(
            f"{target}: is {_size(wanted)}, but {input_} is {_size(values)}; "
            "a pair must show the same pixels"
        )
    if source.bottom_up != other.bottom_up:  # a FITS file beside a PNG
        wanted = wanted[:, ::-1]
    used = _stretch(values, found, stretch)
    one, two = _shown(values, used), _shown(wanted, used)
    apart = abs(float(np.median(one[:, ::4, ::4])) - float(np.median(two[:, ::4, ::4]))) / _LEVELS
    if apart > _SAME_SKY:
        raise ValueError(
            f"{target}: its median differs from that of {input_} by {apart:.3f} of the display "
            "range; save both on the same scale, without a stretch of their own"
        )
    light = one.astype(np.int32) - two
    low, high = np.percentile(light, (0.1, 99.9))
    if low < -high or not light.any():
        what = "is brighter than" if light.any() else "is the same as"
        raise ValueError(
            f"{target}: {what} {input_}; the pictures with stars belong into the folder input, "
            "those without into target"
        )
    return one, two


def _size(values: np.ndarray) -> str:
    c, h, w = values.shape
    return f"{w} x {h} pixels in {c} channel{'s' * (c > 1)}"


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; see docs/finetune.md")
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    named: dict[str, Path] = {}
    for path in filter(readable, files):
        other = named.setdefault(split_ending(path)[0], path)
        if other is not path:
            raise ValueError(f"{path}: has the name of {other.name}; leave one of them")
    return named


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Files of equal names in the folders ``input`` and ``target``; endings may differ.

    Raises
    ------
    FileNotFoundError
        There is none, or one without its counterpart.
    """
    inputs, targets = (_pictures(folder / name) for name in ("input", "target"))
    for here, there, other in ((inputs, targets, "target"), (targets, inputs, "input")):
        for name in sorted(here.keys() - there.keys()):
            raise FileNotFoundError(
                f"{here[name]}: no picture of this name in {folder / other}; "
                "give both, or take it out"
            )
    if not inputs:
        raise FileNotFoundError(
            f"{folder / 'input'}: no pictures that nox reads; see docs/finetune.md"
        )
    return [(inputs[name], targets[name]) for name in sorted(inputs)]


def _split(height: int, width: int, side: int, path: Path) -> int:
    """First row of the part that is held out."""
    strip = max(side, round(HELD_OUT * height))
    if height - strip < side or width < side:
        raise ValueError(
            f"{path}: {width} x {height} pixels are too few for patches of {side}; "
            f"give a smaller --size (at most {min(height // 2, width)})"
        )
    return height - strip


def _stamp(plan: OwnPlan, side: int, files: list[Path]) -> dict:
    known = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return {"plan": asdict(plan), "side": side, "files": [list(k) for k in known]}


def _is_made(folder: Path, stamp: dict) -> bool:
    path = folder / "own.json"
    if read_json(path).get("stamp") == stamp:
        return True
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return False


def prepare(folder: Path, plan: OwnPlan, side: int) -> dict:
    """Read the user's pictures once and keep them in `folder`, shown.

    Parameters
    ----------
    folder : Path
        Made where missing; what is there already of the same pictures is used.
    plan : OwnPlan
    side : int
        Of the largest patch, in pixels.

    Returns
    -------
    dict
        ``pictures``: how many; ``told``: what they are, in words.

    Raises
    ------
    ValueError, OSError
        With the file that cannot be used.
    """
    try:
        pairs = find_pairs(Path(plan.pairs)) if plan.pairs else []
        frames = list(_pictures(Path(plan.frames)).values()) if plan.frames else []
        if plan.frames and not frames:
            raise FileNotFoundError(f"{plan.frames}: no pictures that nox reads in this folder")
        stamp = _stamp(plan, side, [p for pair in pairs for p in pair] + frames)
        if not _is_made(folder, stamp):
            made = _keep_pairs(folder, pairs, plan, side) if pairs else []
            if frames:
                _keep_frames(folder, frames, plan, side)
            facts = {"stamp": stamp, "splits": made}
            write_text(folder / "own.json", json.dumps(facts) + "\n")
    except NoxError as error:  # a file that cannot be read
        raise ValueError(str(error)) from error
    count, kind = (len(pairs), "pair") if pairs else (len(frames), "star-free frame")
    told = f"{count} own {kind}{'s' * (count > 1)}"
    known = [[Path(name).name, size] for name, size, _ in stamp["files"]]
    digest = hashlib.sha256(json.dumps([known, plan.stretch, side]).encode()).hexdigest()[:12]
    return {"pictures": count, "told": told, "stamp": digest}


def _keep_pairs(
    folder: Path, pairs: list[tuple[Path, Path]], plan: OwnPlan, side: int
) -> list[int]:
    splits = []
    for i, (input_, target) in enumerate(pairs):
        shown = np.stack(read_pair(input_, target, plan.stretch))
        splits.append(_split(shown.shape[2], shown.shape[3], side, input_))
        np.save(folder / f"pair-{i:04d}.npy", shown)
    return splits


def _keep_frames(folder: Path, frames: list[Path], plan: OwnPlan, side: int) -> None:
    rng = np.random.default_rng(len(frames))
    kept: dict[bool, list[np.ndarray]] = {False: [], True: []}
    # One size for all crops: what the smallest frame has, up to the banks' own.
    room = min(min(_frame_room(path, side)) for path in frames)
    for path in frames:
        values, found, _ = _opened(path)
        shown = _shown(values, _stretch(values, found, plan.stretch))
        row = _split(shown.shape[1], shown.shape[2], side, path)
        for held_out, part in ((False, shown[:, :row]), (True, shown[:, row:])):
            want = max(2, -(-_CROPS[held_out] // len(frames)))
            crops = list(_crops(part, side if held_out else room, want, rng))
            if not crops and not held_out:
                raise ValueError(
                    f"{path}: shows stars wherever it is cut; give frames without any, "
                    "or pairs (docs/finetune.md)"
                )
            kept[held_out] += crops
    kept[True] = kept[True] or [crop[:, :side, :side] for crop in kept[False][:1]]
    for held_out, name in ((False, "frames.npy"), (True, "frames-held-out.npy")):
        np.save(folder / name, np.stack(kept[held_out]).astype(np.float16))


def _frame_room(path: Path, side: int) -> tuple[int, int, int]:
    with open_image(path) as source:
        _, height, width = source.shape
    return 512, _split(height, width, side, path), width


def _crops(
    part: np.ndarray, side: int, want: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Crops at the picture's own scale, few points of light mended, many refused."""
    made = 0
    for tried in range(3 * want):
        if made == want or (not made and tried == _TRIES):
            return
        y, x = (int(rng.integers(n - side + 1)) for n in part.shape[1:])
        crop = part[:, y : y + side, x : x + side].astype(np.float32) / _LEVELS
        found = points.find_points(crop)
        if points.too_many(found, crop.shape):
            continue
        made += 1
        yield points.mend(crop, found, rng) if len(found) else crop


class PairBank(Scenes):
    """Patches of a user's pairs, turned and flipped, mostly where there are stars."""

    def __init__(self, folder: Path, *, held_out: bool = False) -> None:
        splits = json.loads((folder / "own.json").read_text())["splits"]
        paths = sorted(folder.glob("pair-*.npy"))[: len(splits)]
        whole = [np.load(path, mmap_mode="r") for path in paths]
        self._pairs = [
            pair[:, :, row:] if held_out else pair[:, :, :row]
            for pair, row in zip(whole, splits, strict=True)
        ]
        areas = np.array([pair.shape[2] * pair.shape[3] for pair in self._pairs], float)
        self._odds = areas / areas.sum()

    def scene(self, rng: np.random.Generator, size: int) -> Scene:
        """A patch of a pair, the larger pictures more often."""
        i = int(rng.choice(len(self._pairs), p=self._odds))
        pair = self._pairs[i]
        for _ in range(_TRIES):
            y, x = (int(rng.integers(n - size + 1)) for n in pair.shape[2:])
            both = pair[:, :, y : y + size, x : x + size].astype(np.float32) / _LEVELS
            if float(np.abs(both[0] - both[1]).mean()) > _STARRY:
                break
        both = np.rot90(both, int(rng.integers(4)), axes=(2, 3))
        both = both[..., ::-1] if rng.random() < 0.5 else both
        return Scene(both[0], both[1], {"pair": i, "y": y, "x": x})


class FrameBank(Bank):
    """A bank whose backgrounds are crops of a user's star-free frames."""

    def __init__(self, bank: Path, folder: Path, *, held_out: bool = False) -> None:
        super().__init__(bank)
        name = "frames-held-out.npy" if held_out else "frames.npy"
        self.backgrounds = np.load(folder / name, mmap_mode="r")
        self.background_facts = [{"seeing": None}] * len(self.backgrounds)


class Mixture(Scenes):
    """Standard scenes with a share of the user's among them."""

    def __init__(self, standard: Scenes, own: Scenes, share: float) -> None:
        self._standard, self._own, self._share = standard, own, share

    def scene(self, rng: np.random.Generator, size: int) -> Scene:
        """One of either."""
        chosen = self._own if rng.random() < self._share else self._standard
        return chosen.scene(rng, size)


def open_own(folder: Path, plan: OwnPlan, bank: Path, *, held_out: bool = False) -> Scenes:
    """The user's scenes alone."""
    if plan.pairs:
        return PairBank(folder, held_out=held_out)
    return FrameBank(bank, folder, held_out=held_out)


def _mixed(bank: Path, folder: Path, plan: OwnPlan) -> Scenes:
    return Mixture(Bank(bank), open_own(folder, plan, bank), plan.share)


def opener(folder: Path, plan: OwnPlan) -> Callable[[Path], Any]:
    """For `nox_train.dataset.Stream`: opens the mixture in each of its processes."""
    return partial(_mixed, folder=folder, plan=plan)
