"""What a megapixel costs, by stage, tile size and picture size, beside other networks.

    python benchmarks/bench_speed.py [--sizes 1500x1000 6000x4000] [--tiles 512 1024 1536]

- `nox-runtime run` in a process of its own on a linear RGB FITS picture: wall clock, the
  stages of its report, the share outside the network, and the time to the first tile;
- `nox-runtime --help`;
- the original's architecture (random weights) at its defaults, patch 512 and stride 128,
  and in one pass without overlap, from the time of a few patches;
- starrem2k13, if --peer names its model: 512 px tiles, channel by channel;
- the machine's convolution peak: the best of some 3x3 convolutions alone.

Behind each line of nox stands how many times as long the others take.  On a machine with
neighbours both drift by tens of percent: --rounds N times the original before and after each
of N runs of nox instead, and prints the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from _environment import describe
from astropy.io import fits
from onnx import TensorProto, helper, load, numpy_helper, shape_inference
from original import build

PATCH, STRIDE = 512, 128
#: How many patches of the original's cover a pixel at its defaults.
PASSES = (PATCH / STRIDE) ** 2
STAGES = ("open", "statistics", "remove", "network", "finish", "total")

FIRST = """
import sys, time
began = time.monotonic()
from astropy.io import fits
from nox_runtime.removal import StarRemover
picture = fits.getdata(sys.argv[1])
steps = StarRemover().iter_remove(picture)
next(steps)
first = time.monotonic() - began
steps.close()  # ends the tile that the network is at
print(first, time.monotonic() - began)
"""


def picture(path: Path, height: int, width: int) -> None:
    """A linear RGB frame of noise and stars, float32."""
    rng = np.random.default_rng(0)
    sky = rng.normal(0.02, 0.001, (3, height, width)).astype(np.float32)
    y, x = rng.integers(2, [[height - 2], [width - 2]], (2, height * width // 2000))
    for dy, dx, share in ((0, 0, 1), (0, 1, 0.5), (1, 0, 0.5), (0, -1, 0.5), (-1, 0, 0.5)):
        sky[:, y + dy, x + dx] += np.float32(share * 0.3)
    fits.writeto(path, sky, overwrite=True)


def run_nox(path: Path, folder: Path, model: str | None, tile: int | None) -> dict[str, Any]:
    """The command itself, in its own process; its report and its wall-clock time."""
    command = [sys.executable, "-m", "nox_runtime.cli", "run", str(path), "-q", "--json",
               "-o", str(folder / "starless.fits"), "--overwrite"]  # fmt: skip
    command += ["--model", model] if model else []
    command += ["--tile", str(tile)] if tile else []
    began = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    report["wall"] = time.monotonic() - began
    return report


def timed(session: Any, feed: np.ndarray, repeats: int = 5) -> float:
    """Median seconds of a call."""
    name = session.get_inputs()[0].name
    session.run(None, {name: feed})
    times = []
    for _ in range(repeats):
        began = time.monotonic()
        session.run(None, {name: feed})
        times.append(time.monotonic() - began)
    return statistics.median(times)


def peak() -> tuple[float, str]:
    """The best GFLOP/s of some plain 3x3 convolutions, and which it was."""
    best, which = 0.0, ""
    for channels, side in ((32, 512), (64, 256), (128, 128), (256, 64)):
        weights = np.random.default_rng(0).random((channels, channels, 3, 3), np.float32)
        entry, out = (
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, channels, side, side])
            for n in ("x", "y")
        )
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)],
            "conv", [entry], [out], [numpy_helper.from_array(weights, "w")],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        seconds = timed(session, np.ones((1, channels, side, side), np.float32))
        speed = 2 * 9 * channels**2 * side**2 / seconds / 1e9
        if speed > best:
            best, which = speed, f"{channels} channels of {side} px"
    return best, which


def macs_per_pixel(path: Path, side: int = 512) -> float:
    """Multiplications of a network's convolutions a pixel of the picture."""
    model = load(path)
    for axis, size in zip(
        model.graph.input[0].type.tensor_type.shape.dim, (1, 3, side, side), strict=True
    ):
        axis.dim_value = size
    model = shape_inference.infer_shapes(model)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.value_info, *model.graph.output)
    }
    weights = {w.name: list(w.dims) for w in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1] in weights:
            total += int(np.prod(weights[node.input[1]][1:])) * int(np.prod(shapes[node.output[0]]))
    return total / side**2


def show(report: dict[str, Any], megapixels: float, others: dict[str, float]) -> None:
    """A line of seconds a megapixel by stage, and how long others take beside it."""
    seconds = report["seconds"]
    wall = report["wall"] / megapixels
    stages = ", ".join(f"{k} {seconds[k] / megapixels:.3f}" for k in STAGES)
    outside = 1 - seconds["network"] / seconds["total"]
    print(
        f"  tile {report['tile']} ({report['tiles']} tiles, overlap {report['overlap']}): "
        f"wall {wall:.3f} s a megapixel; {stages}; outside the network {outside:.1%}; "
        + ", ".join(f"{name} {cost / wall:.2f} x" for name, cost in others.items()),
        flush=True,
    )


def original_once(session: Any) -> float:
    """Seconds a megapixel of the original's architecture in one pass without overlap."""
    patch = np.random.default_rng(0).random((1, 3, PATCH, PATCH), np.float32)
    return timed(session, patch) / (PATCH**2 / 1e6)


def alternately(path: Path, model: str | None, tile: int, megapixels: float, rounds: int) -> None:
    """A line a round of nox between two timings of the original, and the medians of all."""
    found = []
    session = onnxruntime.InferenceSession(build().SerializeToString())
    before = original_once(session)
    for _ in range(rounds):
        wall = run_nox(path, path.parent, model, tile)["wall"] / megapixels
        after = original_once(session)
        once, before = (before + after) / 2, after
        found.append((wall, once, once / wall))
        told = f"nox {wall:.3f}, original in one pass {once:.2f} s a megapixel"
        print(f"  {told}: {once / wall:.2f} x", flush=True)
    wall, once, ratio = (statistics.median(column) for column in zip(*found, strict=True))
    print(
        f"  medians: nox {wall:.3f}, original {once:.2f} s a megapixel: "
        f"{ratio:.2f} x its one pass, {ratio * PASSES:.1f} x its defaults"
    )


def network_costs(peer: Path | None, model: str | None) -> dict[str, float]:
    """Seconds a megapixel of other networks, and of nox's own work at the machine's peak."""
    from nox_runtime.model import find_model

    once = original_once(onnxruntime.InferenceSession(build().SerializeToString()))
    made = {"original at its defaults": once * PASSES, "original in one pass": once}
    if peer:
        channel = np.random.default_rng(0).random((1, PATCH, PATCH), np.float32)
        seconds = 3 * timed(onnxruntime.InferenceSession(str(peer)), channel)
        made[f"{peer.stem} (its network alone)"] = seconds / (PATCH**2 / 1e6)
    best, which = peak()
    macs = macs_per_pixel(find_model(model))
    print(f"convolution peak: {best:.0f} GFLOP/s ({which}); nox: {macs / 1e3:.0f} kMAC a pixel")
    made["nox at the convolution peak, no overlap"] = 2 * macs / best / 1e3
    for name, cost in made.items():
        print(f"{name}: {cost:.2f} s a megapixel")
    return made


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["1500x1000", "6000x4000"], metavar="WxH")
    parser.add_argument("--tiles", nargs="+", type=int, default=[512, 1024, 1536])
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, metavar="N", help="nox and the original in turn")
    parser.add_argument("--peer", type=Path, help="starrem2k13's model, to be timed too")
    args = parser.parse_args()
    print(describe())
    others = network_costs(args.peer, args.model)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "in.fits"
        for size in args.sizes:
            width, height = map(int, size.split("x"))
            megapixels = width * height / 1e6
            picture(path, height, width)
            print(f"{width} x {height} RGB float32 FITS, {megapixels:.1f} megapixels")
            for tile in args.tiles:
                if args.rounds:
                    alternately(path, args.model, tile, megapixels, args.rounds)
                else:
                    show(run_nox(path, Path(scratch), args.model, tile), megapixels, others)
            command = [sys.executable, "-c", FIRST, str(path)]
            said = [
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                for _ in range(3)
            ]
            first, stopped = (statistics.median(map(float, k)) for k in zip(*said, strict=True))
            print(
                f"  first tile, all imports included: {first:.2f} s; stopped then: {stopped:.2f} s"
            )
    took = []
    for _ in range(5):
        began = time.monotonic()
        command = [sys.executable, "-m", "nox_runtime.cli", "--help"]
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.monotonic() - began)
    print(f"nox-runtime --help: {statistics.median(took):.2f} s")


if __name__ == "__main__":
    main()
