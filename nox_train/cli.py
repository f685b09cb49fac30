"""The commands `nox-train` and `nox-export`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nox_train import fit_command
from nox_train.files import refuse_existing
from nox_train.plans import BankPlan

if TYPE_CHECKING:
    from nox_train.dataset import Bank

T = TypeVar("T")


def _quiet_tensorflow() -> None:
    """Keep TensorFlow's start-up chatter off the terminal; must precede its import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nox-train",
        description="Train a star-removal network on synthetic star fields.",
        epilog="Example: nox-train fit --preset small -o runs/first",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fit_command.add_parsers(commands)
    _dataset_parser(commands)
    average = commands.add_parser(
        "average",
        help="the mean of the weights of trainings with common first weights",
        description="The mean of weights: a dial between trainings that began alike. Measure "
        "it with nox-bench; of trainings too far apart it is worse than either.",
        epilog="Example: nox-train average runs/a/best.npz=0.3 runs/b/best.npz=0.7 -o mean.npz",
    )
    average.add_argument(
        "parts", nargs="+", type=_part, metavar="CHECKPOINT|MODEL.onnx[=SHARE]",
        help="what to average; the share is 1 where not given",
    )  # fmt: skip
    average.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT")
    average.add_argument("--overwrite", action="store_true", help="replace an output")
    average.set_defaults(run=_average)

    _channels_parser(commands)
    sample = commands.add_parser("sample", help="write the sample picture that nox ships")
    sample.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.fits.fz")
    sample.add_argument("--seed", type=int, default=20261122)
    sample.set_defaults(run=_sample)
    return parser


def _channels_parser(commands: argparse._SubParsersAction) -> None:
    channels = commands.add_parser(
        "channels",
        help="which hidden channels of a network work; write it with more or fewer",
        description="Count the hidden channels of each block that do anything on scenes with "
        "stars. With -o write the network without the dead ones, or with the numbers that "
        "--hidden gives: the strongest stay, new ones add nothing until they are trained.",
        epilog="Example: nox-train channels nox-1.onnx -o smaller.npz",
    )
    channels.add_argument("network", type=Path, metavar="CHECKPOINT|MODEL.onnx")
    channels.add_argument("-o", "--output", type=Path, metavar="CHECKPOINT")
    channels.add_argument(
        "--hidden", type=fit_command.numbers, metavar="N,N,...",
        help="channels of each block, in the order of the table (default: those that work, in "
        "sixteens)",
    )  # fmt: skip
    channels.add_argument(
        "--below", type=float, default=1e-6, metavar="SHARE",
        help="channels that nowhere add more than this share of what their block's strongest adds "
        "are not at work (default: 1e-6, the dead ones; 0.002 changes pictures by little)",
    )  # fmt: skip
    _bank_arguments(channels, fields=12)
    channels.add_argument("--overwrite", action="store_true", help="replace an output")
    channels.set_defaults(run=_channels)


def _dataset_parser(commands: argparse._SubParsersAction) -> None:
    pairs = commands.add_parser(
        "dataset",
        help="write pairs of pictures with stars and without",
        description="Write pairs of pictures with stars and without, each with a JSON file of "
        "all that was drawn. The same seed makes the same bytes on any number of workers; the "
        "same command goes on where a run was stopped.",
        epilog="Example: nox-train dataset -n 1000 --backgrounds photos/ -o pairs/",
    )
    pairs.add_argument("-n", "--count", type=int, required=True, help="pairs")
    pairs.add_argument("--size", type=int, default=512, help="pixels a side (default: 512)")
    pairs.add_argument(
        "--format", choices=("fits", "tiff", "png"), default="fits",
        help="float32 FITS or TIFF, or 16-bit PNG (default: fits)",
    )  # fmt: skip
    pairs.set_defaults(run=_dataset)
    preview = commands.add_parser(
        "preview",
        help="pictures of scenes, point spread functions, fluxes and stretches",
        description="Write contact sheets of what training sees.",
    )
    preview.set_defaults(run=_preview)
    for parser in (pairs, preview):
        parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
        _bank_arguments(parser, fields=40)


def _bank_arguments(parser: argparse.ArgumentParser, fields: int) -> None:
    parser.add_argument(
        "--backgrounds", metavar="FOLDER",
        help="star-free pictures, SIDD-Small, RENOIR or any (default: all invented)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--fields", type=int, default=fields, metavar="N",
        help=f"star fields to draw from (default: {fields})",
    )  # fmt: skip


def _bank_plan(args: argparse.Namespace, size: int) -> BankPlan:
    if args.fields < 1:
        raise ValueError(f"--fields is {args.fields}; it must be at least 1")
    return BankPlan(
        seed=args.seed, fields=args.fields, backgrounds=3 * args.fields,
        pictures=args.backgrounds or "", field_size=1024 if size <= 512 else 2 * size,
        background_size=2 * max(256, size),
    )  # fmt: skip


def _dataset(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from nox_train.dataset import build_bank
    from nox_train.pairs import PairsPlan, check_folder, iter_pairs

    plan = PairsPlan(args.count, args.size, args.seed, args.format)
    bank_plan = _bank_plan(args, args.size)
    check_folder(args.output, plan, asdict(bank_plan))  # before the bank of another is overwritten
    bank = build_bank(args.output / "bank", bank_plan, args.workers)
    with tqdm(desc="pairs", total=plan.count, file=sys.stderr) as bar:
        for done in iter_pairs(args.output, bank, plan, args.workers):
            bar.update(done - bar.n)
    print(args.output)
    return 0


def _with_bank(args: argparse.Namespace, use: Callable[[Bank], T]) -> T:
    """Make a bank for a moment."""
    import tempfile

    from nox_train.dataset import Bank, build_bank

    with tempfile.TemporaryDirectory() as scratch:
        # It gets no name here: Windows cannot delete a file that is still mapped.
        return use(Bank(build_bank(Path(scratch) / "bank", _bank_plan(args, 256), args.workers)))


def _preview(args: argparse.Namespace) -> int:
    from nox_train.preview import write_preview

    for path in _with_bank(args, lambda bank: write_preview(args.output, bank, seed=args.seed)):
        print(path)
    return 0


def _channels(args: argparse.Namespace) -> int:
    from nox_train import channels
    from nox_train.checkpoint import Checkpoint
    from nox_train.validation import ValidationSet

    if not 0 <= args.below < 1:
        raise ValueError(f"--below is {args.below:g}; it must be 0 to below 1")
    checkpoint = Checkpoint.read(args.network)
    channels.check(checkpoint.plan, args.hidden, args.network)
    refuse_existing(args.output, args.overwrite)
    scenes = _with_bank(args, partial(ValidationSet, channels=checkpoint.plan.channels))
    strengths = channels.activity(checkpoint, scenes.inputs)
    print(f"{'block':10} {'channels':>8} {'at work':>8}")
    for name, found in strengths.items():
        print(f"{name:10} {len(found):8d} {channels.alive(found, args.below):8d}")
    if args.output:
        hidden = args.hidden or channels.without_dead(strengths, args.below)
        channels.resized(checkpoint, hidden, strengths, args.seed).save(args.output)
        print(args.output)
    return 0


def _sample(args: argparse.Namespace) -> int:
    from nox_train.sample import write_sample

    write_sample(args.output, args.seed)
    print(args.output)
    return 0


def _part(text: str) -> tuple[Path, float]:
    path, _, share = text.rpartition("=")
    try:
        return Path(path or text), float(share) if path else 1.0
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {share!r} is no number; write for instance best.npz=0.7"
        ) from None


def _average(args: argparse.Namespace) -> int:
    from nox_train.checkpoint import Checkpoint, mean

    parts = [(Checkpoint.read(path), share) for path, share in args.parts]
    for (path, _), (part, _) in zip(args.parts, parts, strict=True):
        if part.plan != parts[0][0].plan:
            raise ValueError(
                f"{path}: holds a network of another shape than {args.parts[0][0]}; "
                "only equal ones have a mean"
            )
    refuse_existing(args.output, args.overwrite)
    mean(parts).save(args.output)
    print(args.output)
    return 0


def _missing(error: ImportError) -> int:
    print(
        f"nox-train: error: {error.name} is not installed; "
        "install what training needs with pip install 'astronox[train]'",
        file=sys.stderr,
    )
    return 1


def main(argv: list[str] | None = None) -> int:
    """Run `nox-train`; return its exit code."""
    _quiet_tensorflow()
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except ImportError as error:
        return _missing(error)
    except (ValueError, OSError, FloatingPointError, NotImplementedError) as error:
        print(f"nox-train: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("nox-train: stopped; the same command goes on from there", file=sys.stderr)
        return 130


def _export(args: argparse.Namespace) -> dict[str, Any]:
    import tempfile

    from nox_train.export import export, export_half

    if not args.checkpoint.exists():
        raise FileNotFoundError(f"{args.checkpoint}: no such checkpoint; check the name")
    refuse_existing(args.output, args.overwrite)
    name = args.name or args.output.stem.removesuffix("-fp16")
    about = {"version": args.model_version, "licence": args.licence, "history": args.history}
    if not args.fp16:
        return export(args.checkpoint, args.output, name=name, **about)
    if args.checkpoint.suffix == ".onnx":
        return export_half(args.checkpoint, args.output)
    with tempfile.TemporaryDirectory() as scratch:
        single = Path(scratch) / "single.onnx"
        export(args.checkpoint, single, name=name, **about)
        return export_half(single, args.output)


def export_main(argv: list[str] | None = None) -> int:
    """Run `nox-export`; return its exit code."""
    _quiet_tensorflow()
    parser = argparse.ArgumentParser(
        prog="nox-export", description="Turn a trained checkpoint into a model for nox-runtime."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    onnx = commands.add_parser("onnx", help="write an ONNX file, checked against Keras")
    onnx.add_argument(
        "checkpoint", type=Path,
        help="best.npz or latest.npz of a training; with --fp16 also an exported model",
    )  # fmt: skip
    onnx.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.onnx")
    onnx.add_argument(
        "--fp16", action="store_true",
        help="half precision for GPUs; name it like the single one: NAME-fp16.onnx",
    )  # fmt: skip
    onnx.add_argument("--overwrite", action="store_true", help="replace an output")
    onnx.add_argument("--name", help="name of the model (default: that of the output)")
    onnx.add_argument("--model-version", default="0.1.0", metavar="VERSION")
    onnx.add_argument("--licence", default="MIT", help="SPDX expression (default: MIT)")
    onnx.add_argument(
        "--history", default="", metavar="TEXT",
        help="trainings whose weights this one started from, for the model's facts",
    )  # fmt: skip
    args = parser.parse_args(argv)
    try:
        facts = _export(args)
    except ImportError as error:
        return _missing(error)
    except (ValueError, OSError) as error:
        print(f"nox-export: error: {error}", file=sys.stderr)
        return 1
    for key, value in facts.items():
        print(f"{key}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
