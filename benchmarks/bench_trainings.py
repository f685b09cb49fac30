"""Short trainings of equal time that differ in one thing: networks, losses, patches, stages.

python benchmarks/bench_trainings.py --backgrounds FOLDER -o runs/short [--minutes 3.5]

Networks begin from random weights; losses, which tell themselves apart late, from the
weights of `--start-from` (names that end in -2). All see the same bank of scenes, then
nox-bench measures them, the networks by its eight quick scenes. What is finished is not
trained again. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from _environment import describe

_BASE = ["--preset", "standard", "--batch", "8", "--size", "128"]
_SECOND = ["--preset", "standard", "--batch", "4", "--size", "256", "--rate", "2e-4"]
_FAST = ["--precision", "bfloat16"]
#: The loss that is shipped since 0.4.0.
_FAINT = (
    "--loss", "charbonnier", "--multi-scale", "0.5", "--star-knee", "0.05",
    "--grain-power", "0.7",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One training: its options, which overrule the base's, and whether it goes on."""

    told: str
    options: tuple[str, ...] = ()
    second: bool = False


VARIANTS = {
    "base": Variant("subtract, unshuffle 2, widths 32 to 192, 128 px"),
    "compose": Variant("head compose", ("--head", "compose")),
    "unshuffle4": Variant(
        "unshuffle 4, widths 64 to 192", ("--unshuffle", "4", "--widths", "64,128,192,192")
    ),
    "narrow": Variant("widths 24 to 144", ("--widths", "24,48,96,144,144")),
    "wide": Variant("widths 48 to 256", ("--widths", "48,96,192,256,256")),
    "mono": Variant("one channel, colours one by one", ("--channels", "1")),
    "growing": Variant("patches of 128, 256, 384 px", ("--sizes", "128,256,384")),
    "float32": Variant("float32 instead of bfloat16", ("--precision", "float32")),
    "knee": Variant("stars weighed nearly alike above 0.05", ("--star-knee", "0.05")),
    "longer": Variant("L1 + gradients, as until now", second=True),
    "knee-2": Variant(
        "stars weighed nearly alike above 0.05", ("--star-knee", "0.05"), second=True
    ),
    "grain-2": Variant(
        "and scenes of fine grain count more",
        ("--star-knee", "0.05", "--grain-power", "0.5"),
        second=True,
    ),
    "finer-2": Variant(
        "and by twice the power",
        ("--star-knee", "0.05", "--grain-power", "1"),
        second=True,
    ),
    "plain-2": Variant("L1 without gradients", ("--gradient", "0"), second=True),
    "charbonnier-2": Variant(
        "Charbonnier + gradients + two scales",
        ("--loss", "charbonnier", "--multi-scale", "0.5"),
        second=True,
    ),
    "faint-2": Variant("as shipped since 0.4.0", _FAINT, second=True),
    "quantile-2": Variant(
        "and the 0.4 quantile under stars", (*_FAINT, "--star-quantile", "0.4"), second=True
    ),
    "rough-2": Variant("and grain, 0.02", (*_FAINT, "--grain", "0.02"), second=True),
    "both-2": Variant(
        "grain 0.1 and the 0.3 quantile",
        (*_FAINT, "--grain", "0.1", "--star-quantile", "0.3"),
        second=True,
    ),
    "adversarial-2": Variant(
        "adversarial 0.005, perceptual 0.1",
        ("--adversarial", "0.005", "--perceptual", "0.1"),
        second=True,
    ),
}


def _run(command: list[str]) -> None:
    print(" ".join(command), file=sys.stderr, flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _trained(name: str, args: argparse.Namespace) -> Path:
    """Train a variant unless that is done, measure it, and give its folder."""
    variant, folder = VARIANTS[name], args.output / name
    if (folder / "bench.json").exists():
        return folder
    options = list(_SECOND if variant.second else _BASE)
    if "--sizes" in variant.options:
        options = options[: options.index("--size")]
    if variant.second:
        options += ["--start-from", str(args.start_from)]
    tools = Path(sys.executable).parent
    _run([
        str(tools / "nox-train"), "fit", *options, *_FAST, *variant.options,
        "--backgrounds", str(args.backgrounds), "--minutes", str(args.minutes),
        "-o", str(folder),
    ])  # fmt: skip
    # The last weights: what `best.npz` holds was chosen by one of the columns.
    model = folder / "latest.onnx"
    _run([str(tools / "nox-export"), "onnx", str(folder / "latest.npz"), "--overwrite",
          "-o", str(model)])  # fmt: skip
    _run([
        str(tools / "nox-bench"), "run", "-q", "--backgrounds", str(args.backgrounds),
        "--remover", str(model), "-o", str(folder / "bench.json"),
        *([] if variant.second else ["--quick"]),
    ])  # fmt: skip
    return folder


def _row(name: str, folder: Path) -> str:
    with (folder / "log.csv").open() as stream:
        last = list(csv.DictReader(stream))[-1]
    bench = json.loads((folder / "bench.json").read_text())["synthetic"]
    summary = bench["summary"]
    figures = [
        last["step"],
        f"{float(last['psnr_stars']):.2f}",
        f"{float(last['psnr_sky']):.2f}",
        f"{100 * float(last['removed']):.1f} %",
        f"{float(last['grain']):.2f}",
        f"{100 * summary['completeness']['above 10 sigma']['share']:.1f} %",
        f"{100 * summary['completeness']['5-10 sigma']['share']:.1f} %",
        f"{summary['psnr']['inside']['mean']:.2f}",
        f"{summary['psnr']['outside']['mean']:.2f}",
        f"{100 * summary['kept flux']['all']['median']:.1f} %",
        f"{summary['grain ratio']['median']:.3f}",
        f"{bench['cost']['seconds per megapixel']:.2f}",
    ]
    return f"| {VARIANTS[name].told} | " + " | ".join(figures) + " |"


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument("--start-from", type=Path, default=Path("models/nox-1.onnx"))
    parser.add_argument("--minutes", type=float, default=3.5)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    heads = (
        "variant", "steps", "on stars", "elsewhere", "star light removed", "grain", "> 10 sigma",
        "5 to 10", "inside", "outside", "flux kept", "grain ratio", "s/MP",
    )  # fmt: skip
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in args.only:
        rows.append(_row(name, _trained(name, args)))
        print(rows[-1], flush=True)
    print(f"\n{describe()}\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
