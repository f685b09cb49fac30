"""The command `nox-runtime`.

Only this module prints; heavy imports wait until a command needs them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nox_runtime import __version__
from nox_runtime.errors import NoxError, UsageError

EXAMPLES = """examples:
  nox-runtime run m31.fits
      writes m31_starless.fits beside it
  nox-runtime run m31.fits -o out/ --stars --preview
      also writes the stars alone, and a before/after PNG, to out/
  nox-runtime run *.tif -o starless/ --stretch none
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nox-runtime",
        description="Remove the stars from astrophotographs (FITS, TIFF, PNG).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nox-runtime {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="remove the stars from pictures",
        description="Remove the stars from pictures; the inputs are never changed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="picture files")
    run.add_argument(
        "-o", "--output", metavar="OUT",
        help="file (its ending chooses the format) or folder; with several inputs a folder "
        "(default: NAME_starless beside the input)",
    )  # fmt: skip
    for option, what in (("stars", "the stars alone"), ("preview", "a before/after PNG")):
        run.add_argument(
            f"--{option}", nargs="?", const=True, default=False, metavar="PATH",
            help=f"also write {what}; give PATH last, or as --{option}=PATH",
        )  # fmt: skip
    run.add_argument(
        "--stretch", choices=("auto", "none", "mtf"), default="auto",
        help="auto: find out whether the picture is linear; none: it is stretched already; "
        "mtf: stretch it like Siril's -stretch (default: auto)",
    )  # fmt: skip
    _model_options(run)
    run.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    run.add_argument("--json", action="store_true", help="print a report as JSON, a line a file")
    run.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    run.add_argument("-v", "--verbose", action="store_true", help="more about each file")
    run.set_defaults(call=_run)

    demo = commands.add_parser("demo", help="remove the stars from a sample picture")
    demo.add_argument(
        "--sample", choices=("nebula", "horsehead"), default="nebula",
        help="nebula comes with nox, horsehead is fetched (default: nebula)",
    )  # fmt: skip
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER")
    _model_options(demo)
    demo.set_defaults(call=_demo)

    info = commands.add_parser("info", help="what would run here, or what a picture is")
    info.add_argument("path", nargs="?", type=Path, metavar="FILE")
    info.add_argument("--model", metavar="NAME|FILE")
    info.set_defaults(call=_info)
    models = commands.add_parser("models", help="list the built-in models")
    models.add_argument("action", nargs="?", choices=("list",), default="list")
    models.set_defaults(call=_models)
    return parser


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|FILE", help="built-in model or .onnx file")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "coreml", "dml"), default="auto"
    )
    parser.add_argument("--tile", type=int, default=0, metavar="N", help="pixels a tile reads")
    parser.add_argument(
        "--overlap", type=int, metavar="N",
        help="pixels of surroundings within a tile (default: what the model needs)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="of the CPU")


def _remover(args: argparse.Namespace) -> Any:
    from nox_runtime.engine import DEFAULT_TILE
    from nox_runtime.removal import StarRemover

    return StarRemover(
        args.model, device=args.device, tile=args.tile or DEFAULT_TILE,
        overlap=args.overlap, threads=args.threads,
    )  # fmt: skip


def _named(value: str | bool) -> Path | bool:
    return Path(value) if isinstance(value, str) else value


def _as_folder(output: str | None, several: bool) -> bool:
    """Whether -o names a folder: it is one, ends like one, or there are several inputs."""
    if output is None:
        return False
    path = Path(output)
    return several or path.is_dir() or output.endswith(("/", os.sep)) or not path.suffix


def _run(args: argparse.Namespace) -> int:
    from nox_runtime.batch import check_together, plan_outputs

    several = len(args.paths) > 1
    output = Path(args.output) if args.output else None
    if several and (isinstance(args.stars, str) or isinstance(args.preview, str)):
        raise UsageError("--stars and --preview take no PATH with several inputs; use -o FOLDER")
    folder = _as_folder(args.output, several)
    planned = [
        plan_outputs(
            path, output, stars=_named(args.stars), preview=_named(args.preview), folder=folder
        )
        for path in args.paths
    ]
    check_together(args.paths, planned)
    if folder and output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{output}: cannot be a folder ({error.strerror}); choose another -o"
            ) from error
    remover, failed = _remover(args), 0
    for path, outputs in zip(args.paths, planned, strict=True):
        try:
            report = _one(path, outputs, remover, args)
        except NoxError as error:
            _complain(error)
            failed += 1
            continue
        if args.json:
            print(json.dumps(report), flush=True)
    if several and not args.quiet:
        print(f"{len(args.paths) - failed} done, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


def _one(path: Path, outputs: Any, remover: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Process one file under a progress bar and say what was done."""
    from tqdm import tqdm

    from nox_runtime.batch import iter_file

    quiet = getattr(args, "quiet", False)
    report: dict[str, Any] = {}
    with tqdm(desc=path.name, unit="tile", disable=quiet, file=sys.stderr) as bar:
        for item in iter_file(
            path, outputs, remover, stretch=getattr(args, "stretch", "auto"),
            overwrite=getattr(args, "overwrite", False),
        ):  # fmt: skip
            if isinstance(item, dict):
                report = item
                continue
            bar.total = item.total
            bar.update(item.done - bar.n)
    if not quiet:
        _tell(report, verbose=getattr(args, "verbose", False))
    return report


def _tell(report: dict[str, Any], *, verbose: bool) -> None:
    stretch, seconds = report["stretch"], report["seconds"]
    lines = [
        f"  stretch {stretch['kind']} ({stretch['reason']}), model {report['model']['name']} "
        f"{report['model']['version']} on {report['device']}, {seconds['total']:.1f} s, "
        f"{report['changed_share']:.1%} of the pixels changed"
    ]
    lines += [f"  note: {note}" for note in report["notes"]]
    if verbose:
        for key in ("black", "white", "midtones"):
            lines.append(f"  {key} {', '.join(f'{v:.6g}' for v in stretch[key])}")
        lines.append(
            f"  {report['tiles']} tiles of {report['tile']} px, overlap {report['overlap']} px"
        )
    lines += [f"  wrote {path}" for path in report["outputs"].values()]
    print("\n".join(lines), file=sys.stderr)


def _demo(args: argparse.Namespace) -> int:
    from nox_runtime.batch import Outputs
    from nox_runtime.samples import sample

    path = sample(args.sample)
    args.output.mkdir(parents=True, exist_ok=True)
    outputs = Outputs(
        args.output / f"{args.sample}_starless.fits",
        args.output / f"{args.sample}_stars.fits",
        args.output / f"{args.sample}_preview.png",
    )
    args.overwrite, args.stretch = True, "auto"
    _one(path, outputs, _remover(args), args)
    for out in outputs.wanted():
        print(out.resolve())
    return 0


def _info(args: argparse.Namespace) -> int:
    if args.path is not None:
        from nox_runtime import stretch
        from nox_runtime.images import open_image
        from nox_runtime.statistics import gathered

        with open_image(args.path) as source:
            width = source.shape[2]
            stats = gathered(
                lambda y0, y1: source.read(y0, y1, 0, width), source.shape, source.dtype
            )
            used = stretch.choose("auto", stats)
            print(f"{args.path}: {' x '.join(map(str, source.shape))} {source.dtype}")
            print(f"values {stats.low:.6g} to {stats.high:.6g}, median "
                  + ", ".join(f"{m:.6g}" for m in stats.median))  # fmt: skip
            print(f"stretch {used.kind} ({used.reason})")
            for note in source.notes:
                print(f"note: {note}")
        return 0
    from nox_runtime.model import load_model

    model = load_model(args.model)
    import onnxruntime  # there, or load_model had said so

    print(f"nox {__version__}, ONNX Runtime {onnxruntime.__version__}")
    print(f"model {model.facts.name} {model.facts.version} ({model.path})")
    print(f"device {model.device} (of {', '.join(onnxruntime.get_available_providers())})")
    for note in model.notes:
        print(f"note: {note}")
    return 0


def _models(args: argparse.Namespace) -> int:
    from nox_runtime.model import DEFAULT_MODEL, load_model, models_folder

    for path in sorted(models_folder().glob("*.onnx")):
        facts = load_model(path, device="cpu").facts
        default = ", default" if path.stem == DEFAULT_MODEL else ""
        print(
            f"{path.stem}: version {facts.version}, {facts.channels} channels, "
            f"{path.stat().st_size / 1e6:.1f} MB, {facts.licence}{default}\n  {facts.training}"
        )
    return 0


def _complain(error: NoxError) -> None:
    print(f"nox-runtime: error: {error}", file=sys.stderr)


def _stop(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run `nox-runtime`; return its exit code (0 all done, 1 some failed, 2 usage)."""
    args = _parser().parse_args(argv)
    # tifffile logs what it raises as well; one line is enough.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # so that they leave nothing half-written
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
                signal.signal(getattr(signal, name), _stop)
    try:
        return int(args.call(args))
    except UsageError as error:
        _complain(error)
        return 2
    except NoxError as error:
        _complain(error)
        return 1
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = error.filename or "output"
        _complain(NoxError(f"{where}: {error.strerror}; check the name and its permissions"))
        return 1
    except KeyboardInterrupt:
        print("nox-runtime: stopped; nothing half-written was left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
