"""How long a background takes: families, objects, a photograph's crop.

python benchmarks/bench_backgrounds.py [--size 512] [--count 40] [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import _environment
import numpy as np

from nox_train import backgrounds
from nox_train.backgrounds import objects


def _milliseconds(make: Callable[[int], object], count: int) -> str:
    """Mean, median and worst processor time of `count` calls."""
    took = []
    for i in range(count):
        start = time.process_time()
        make(i)
        took.append(1e3 * (time.process_time() - start))
    return f"{np.mean(took):8.1f} {np.median(took):8.1f} {max(took):8.1f}"


def main() -> None:
    """Print milliseconds of processor time for each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    size, count = args.size, args.count
    print(_environment.describe())
    print(f"{size} px, {count} each, ms of processor time:      mean   median    worst")
    sky = np.full((3, size, size), 0.1, np.float32)
    rng = np.random.default_rng

    def family(name: str) -> Callable[[int], object]:
        return lambda i: backgrounds.procedural(size, rng(i), name, objects=False)

    def kind(name: str) -> Callable[[int], object]:
        return lambda i: backgrounds.add_objects(sky, rng(i), kinds=[name])

    def mode(name: str | None) -> Callable[[int], object]:
        return lambda i: backgrounds.add_objects(sky, rng(i), mode=name)

    rows = {f"family {name}": family(name) for name in backgrounds.FAMILIES}
    rows |= {f"kind {name}": kind(name) for name in (*objects.KINDS, "marks")}
    rows |= {f"objects, {name}": mode(name) for name in objects.MODES}
    rows |= {
        "objects, as drawn": mode(None),
        "whole, invented": lambda i: backgrounds.make(size, rng(i)),
    }
    if args.pictures:
        found = backgrounds.list_pictures(args.pictures)
        rows["whole, photograph"] = lambda i: backgrounds.make(size, rng(i), found[i % len(found)])
    for label, make in rows.items():
        make(0)
        print(f"{label:42s} {_milliseconds(make, count)}", flush=True)


if __name__ == "__main__":
    main()
