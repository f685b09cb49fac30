"""The commands `nox-train fit` and `nox-train finetune`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from nox_train.plans import ADVERSARIES, HEADS, LOSSES, OwnPlan, TrainingPlan
from nox_train.presets import FINETUNE, PRESETS, with_budget

_NETWORK = ("head", "widths", "hidden", "unshuffle", "channels")
_LOSS = (
    "rounding", "star_weight", "star_knee", "star_quantile", "bright_quantile", "grain_power",
    "grain", "gradient", "multi_scale", "adversarial", "perceptual", "adversary",
)  # fmt: skip
_LOOP = (
    "rate", "batch", "size", "sizes", "seed", "workers", "reuse", "revive", "frozen", "precision",
)  # fmt: skip


def _given(args: argparse.Namespace, names: tuple[str, ...]) -> dict:
    found = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _changed(plan: TrainingPlan, args: argparse.Namespace) -> TrainingPlan:
    """A plan with what the command line asks for."""
    loss = _given(args, _LOSS) | ({"kind": args.loss} if args.loss else {})
    pictures = args.backgrounds or ""
    objects = _given(args, ("objects",))
    changes = _given(args, _LOOP)
    if "size" in changes:
        changes["sizes"] = ()
    return replace(
        plan,
        network=replace(plan.network, **_given(args, _NETWORK)),
        loss=replace(plan.loss, **loss),
        bank=replace(plan.bank, pictures=pictures, **objects),
        held_out=replace(plan.held_out, pictures=pictures),
        **changes,
    )


def _fit(args: argparse.Namespace) -> int:
    from nox_train.training import run_phases

    phases = [_changed(plan, args) for plan in PRESETS[args.preset].phases]
    planned = with_budget(phases, minutes=args.minutes, steps=args.steps)
    print(run_phases(args.output, planned, args.start_from))
    return 0


def _finetune(args: argparse.Namespace) -> int:
    from nox_runtime.model import find_model
    from nox_train.checkpoint import Checkpoint
    from nox_train.training import Trainer

    start = args.start_from or find_model(None)
    own = OwnPlan(
        str(args.pairs or ""), str(args.frames or ""), 1 - args.standard, args.stretch
    )  # fmt: skip
    network = Checkpoint.read(start).plan
    plan = _changed(replace(FINETUNE, network=network, own=own), args)
    (plan,) = with_budget([plan], minutes=args.minutes, steps=args.steps)
    print(Trainer(args.output, plan, start).run())
    return 0


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers above 0 with commas between them, as options of the command line."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of whole numbers; write for instance 128,256,384"
        )
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Add both commands to `nox-train`."""
    described = "\n".join(f"  {name}: {preset.description}" for name, preset in PRESETS.items())
    fit = commands.add_parser(
        "fit",
        help="train a network, or go on with one",
        description="Train a network. Given the folder of an earlier training, go on with it.",
        epilog=f"presets:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fit.add_argument("-o", "--output", type=Path, required=True, help="folder of the training")
    fit.add_argument("--preset", choices=PRESETS, default="small")
    fit.add_argument(
        "--start-from",
        type=Path,
        metavar="CHECKPOINT|MODEL.onnx",
        help="first weights, for instance those of the model that nox ships",
    )
    _loop_arguments(fit)
    fit.add_argument(
        "--objects", type=float, metavar="X",
        help="so many times as many galaxies, knots and the like in the scenes (default: 1)",
    )  # fmt: skip
    network = fit.add_argument_group("network", "otherwise than the preset")
    network.add_argument("--head", choices=HEADS)
    network.add_argument("--widths", type=numbers, metavar="N,N,...", help="channels by level")
    network.add_argument(
        "--hidden", type=numbers, metavar="N,N,...",
        help="channels within each block, in the order of `nox-train channels`",
    )  # fmt: skip
    network.add_argument("--unshuffle", type=int, choices=(2, 4), help="side of the first cells")
    network.add_argument("--channels", type=int, choices=(1, 3), help="1: a model for mono alone")
    network.add_argument(
        "--revive", action="store_const", const=True,
        help="begin hidden channels anew that are dead in the first weights, which may have "
        "other numbers of them",
    )  # fmt: skip
    network.add_argument(
        "--freeze", dest="frozen", type=_names, metavar="LAYER,LAYER,...",
        help="layers that are not trained, by their names' beginnings, for instance down0,up0",
    )  # fmt: skip
    _loss_arguments(fit)
    fit.set_defaults(run=_fit)
    _finetune_parser(commands)


def _loop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backgrounds", metavar="FOLDER", help="star-free pictures for the scenes (default: none)"
    )
    parser.add_argument("--minutes", type=float, help="length of the training")
    parser.add_argument("--steps", type=int, help="length of the training, instead of --minutes")
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--batch", type=int, help="patches a step")
    side = parser.add_mutually_exclusive_group()
    side.add_argument("--size", type=int, help="side of a patch, in pixels")
    side.add_argument(
        "--sizes", type=numbers, metavar="PX,PX,...",
        help="sides that grow over the training, in equal shares of it; --batch is that of "
        "the first and shrinks with them",
    )  # fmt: skip
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, help="processes that make scenes")
    parser.add_argument(
        "--reuse", type=int, metavar="N",
        help="on a GPU: see a batch up to N times (1 to 8), turned and mirrored, while no new "
        "one is ready (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="bfloat16 for GPUs and CPUs with AVX512-BF16",
    )


def _loss_arguments(parser: argparse.ArgumentParser) -> None:
    loss = parser.add_argument_group("loss", "otherwise than the preset; W is a weight, 0 for none")
    loss.add_argument("--loss", choices=LOSSES, help="of a pixel's error")
    loss.add_argument(
        "--rounding", type=float, metavar="R",
        help="charbonnier: errors well below R times the scene's grain count as squares",
    )  # fmt: skip
    loss.add_argument("--star-weight", type=float, metavar="W", help="of stars over empty sky")
    loss.add_argument(
        "--star-knee", type=float, metavar="LIGHT",
        help="light (0 to 1) above which all stars weigh nearly alike; 0 for none",
    )  # fmt: skip
    loss.add_argument(
        "--grain-power", type=float, metavar="P",
        help="how much more scenes of fine grain count; 0 for all alike",
    )  # fmt: skip
    loss.add_argument(
        "--star-quantile", type=float, metavar="Q",
        help="of the grounds possible under a faint star: below 0.5 rather too dark",
    )  # fmt: skip
    loss.add_argument(
        "--bright-quantile", type=float, metavar="Q",
        help="of those under a bright star: above 0.5 rather too light",
    )  # fmt: skip
    loss.add_argument(
        "--grain", type=float, metavar="W", help="of how smooth or rough what is filled in is"
    )
    loss.add_argument("--gradient", type=float, metavar="W", help="of the gradients' error")
    loss.add_argument(
        "--multi-scale", type=float, metavar="W",
        help="of the error averaged over 2 and 4 pixels: the glow of large stars",
    )  # fmt: skip
    loss.add_argument(
        "--adversarial", type=float, metavar="W",
        help="second stage: of a discriminator's verdict; give --start-from too",
    )  # fmt: skip
    loss.add_argument(
        "--perceptual", type=float, metavar="W", help="of the distance of its features"
    )
    loss.add_argument("--adversary", choices=ADVERSARIES, help="the adversarial loss")


def _finetune_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "finetune",
        help="adapt a model to your own pictures, in minutes",
        description="Adapt a model to your own telescope: to pairs of pictures with stars and "
        "without, or to star-free frames, on which stars are put. Standard scenes are mixed in, "
        "so that nothing is forgotten. The recipe is in docs/finetune.md.",
        epilog="Example: nox-train finetune --pairs mine/ -o runs/mine",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the training")
    own = parser.add_mutually_exclusive_group(required=True)
    own.add_argument(
        "--pairs", type=Path, metavar="FOLDER",
        help="holds the folders input and target, with files of equal names",
    )  # fmt: skip
    own.add_argument("--frames", type=Path, metavar="FOLDER", help="star-free pictures")
    parser.add_argument(
        "--standard", type=_share, default=0.5, metavar="SHARE",
        help="share of standard scenes, 0 to below 1 (default: 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--stretch", choices=("auto", "none", "mtf", "asinh"), default="auto",
        help="how your pictures are shown, as with nox-runtime (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--start-from", type=Path, metavar="MODEL.onnx|CHECKPOINT",
        help="the model to adapt (default: the one that nox ships)",
    )  # fmt: skip
    _loop_arguments(parser)
    _loss_arguments(parser)
    parser.set_defaults(run=_finetune)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share of 0 to below 1")
    return value
