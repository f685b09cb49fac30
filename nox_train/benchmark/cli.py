"""The command `nox-bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nox_train.files import refuse_existing

EXAMPLES = """examples:
  nox-bench run -o nox-1.json
      measures the model that comes with nox on the 64 synthetic scenes
  nox-bench run --remover classical --real photographs/ -o classical.json
      also on your own pictures
  nox-bench run --remover 'starnet2 {input} {output}' -o starnet2.json
      measures any program that reads a file and writes one
  nox-bench report nox-1.json classical.json starnet2.json -o report.html
"""
_PICTURES = (
    ".fits",
    ".fit",
    ".fts",
    ".fz",
    ".gz",
    ".bz2",
    ".tif",
    ".tiff",
    ".png",
    ".jpg",
    ".jpeg",
)


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="nox-bench",
        description="Measure how well a program removes the stars from astrophotographs.",
        epilog=EXAMPLES,
        formatter_class=plain,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="measure a remover", description="Measure a remover and write the figures.",
        epilog=EXAMPLES, formatter_class=plain,
    )  # fmt: skip
    run.add_argument(
        "--remover", metavar="NAME|MODEL.onnx|COMMAND|MODULE:FUNCTION",
        help="identity, opening, classical, a model of nox by name, an .onnx file, a command "
        "with {input} and {output}, or a Python function (default: the model of nox)",
    )  # fmt: skip
    run.add_argument("-o", "--output", type=Path, metavar="OUT.json", help="the result (JSON)")
    run.add_argument(
        "--backgrounds", type=Path, metavar="FOLDER",
        help="star-free pictures, the held-out tenth of which is used (default: invented ones)",
    )  # fmt: skip
    run.add_argument(
        "--real", type=Path, metavar="FOLDER", action="append", default=[],
        help="photographs for the real part: a folder or a file; may be given more than once",
    )  # fmt: skip
    run.add_argument("--real-only", action="store_true", help="leave the synthetic part out")
    run.add_argument("--quick", action="store_true", help="eight scenes instead of 64")
    run.add_argument("--overwrite", action="store_true", help="replace the result if it exists")
    run.add_argument(
        "--adapter", type=Path, metavar="FILE.json",
        help="how an .onnx file that is not nox's takes pictures",
    )  # fmt: skip
    run.add_argument(
        "--linear", action="store_true",
        help="the command or function takes linear pictures as they are; by default they are "
        "stretched for it and brought back",
    )  # fmt: skip
    run.add_argument(
        "--format", choices=("tif", "fits", "png"), default="tif",
        help="of the files that a command is given, 16 bits a channel (default: tif)",
    )  # fmt: skip
    run.add_argument("--device", default="auto", help="for models of nox (default: auto)")
    run.add_argument("--threads", type=int, default=0, help="of the CPU; 0 for all (default)")
    run.add_argument("--cache", type=Path, metavar="FOLDER", help="where scenes are kept")
    run.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    run.set_defaults(call=_run)
    report = commands.add_parser(
        "report", help="one HTML page from results",
        description="Write one self-contained HTML page with tables and crops.",
    )  # fmt: skip
    report.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")
    report.add_argument("-o", "--output", type=Path, required=True, metavar="REPORT.html")
    report.add_argument(
        "--json", type=Path, metavar="SUMMARY.json", help="also the summaries of all results"
    )
    report.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    report.set_defaults(call=_report)
    return parser


def _photographs(given: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder; check the name")
        below = sorted(p for p in path.rglob("*") if p.name.lower().endswith(_PICTURES))
        found += below if path.is_dir() else [path]
        if path.is_dir() and not below:
            raise FileNotFoundError(f"{path}: holds no picture; give another folder")
    return found


def _run(args: argparse.Namespace) -> int:
    refuse_existing(args.output, args.overwrite)
    if args.real_only and not args.real:
        raise ValueError("--real-only: no photographs; give some with --real FOLDER")
    photographs = _photographs(args.real)
    from nox_train.benchmark import peers, report, suite
    from nox_train.benchmark.grid import grid

    scenes = None
    if not args.real_only:
        from nox_train.benchmark.scenes import SceneSet

        scenes = SceneSet(grid(quick=args.quick), args.backgrounds, args.cache)
    result = suite.run(
        lambda: peers.find(
            args.remover, adapter=args.adapter, takes_linear=args.linear, ending=args.format,
            device=args.device, threads=args.threads,
        ),
        scenes, photographs, quiet=args.quiet,
    )  # fmt: skip
    if args.output is not None:
        suite.write(result, args.output)
    print(report.text([result]))
    for failed in result.get("real", {}).get("failed", []):
        print(f"nox-bench: {failed['reason']}", file=sys.stderr)
    return 1 if result.get("real", {}).get("failed") else 0


def _report(args: argparse.Namespace) -> int:
    for path in (args.output, args.json):
        refuse_existing(path, args.overwrite)
    from nox_train.benchmark import page, suite

    results = [suite.read(p) for p in args.results]
    page.write(results, args.output)
    print(args.output)
    if args.json is not None:
        suite.write(suite.condensed(results), args.json)
        print(args.json)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run `nox-bench`; return its exit code."""
    args = _parser().parse_args(argv)
    try:
        return int(args.call(args))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nox_"):
            raise
        print(
            f"nox-bench: error: {error.name} is not installed; "
            "install what the benchmark needs with pip install 'astronox[bench]'"
            + (" (on Windows: in WSL) or leave it out with --real-only" * (error.name == "galsim")),
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("nox-bench: stopped; nothing was written", file=sys.stderr)
        return 130
    except Exception as error:
        from nox_runtime.errors import NoxError, UsageError

        if not isinstance(error, (NoxError, ValueError, OSError)):
            raise
        print(f"nox-bench: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


if __name__ == "__main__":
    sys.exit(main())
