"""What `nox-runtime` takes; nothing heavy is imported here."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nox_runtime import __version__

EXAMPLES = """examples:
  nox-runtime run m31.fits
      writes m31_starless.fits beside it
  nox-runtime run m31.fits -o out/ --stars --preview
      also writes the stars alone, and a before/after PNG, to out/
  nox-runtime run *.tif -o starless/ --stretch none
  nox-runtime run night/ -o starless/ --recursive --resume
      a whole night; give it again after a stop and it goes on
  nox-runtime run m51.fits --max-size 12 --protect galaxy.reg --strength 0.8
      galaxies larger than 12 pixels and what the region covers stay
"""
#: Results beside the starless picture, each with an option that may name its file.
_RESULTS = {
    "stars": "the stars alone, input - starless",
    "descreened": "the stars for screen blending",
    "mask": "where the picture was changed, 0 to 1",
    "catalog": "a catalogue of the removed stars, ECSV or FITS by its ending",
    "preview": "a before/after PNG",
}
DEVICES = ("auto", "cpu", "cuda", "tensorrt", "coreml", "dml", "openvino")


def _region(text: str) -> tuple[int, int, int, int]:
    """``X0:X1,Y0:Y1`` as first and last row, first and last column."""
    try:
        (x0, x1), (y0, y1) = (map(int, part.split(":")) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no region; write X0:X1,Y0:Y1 in pixels from 0"
        ) from None
    return y0, y1, x0, x1


def _number(kind: type, low: float, high: float, says: str) -> Callable[[str], Any]:
    """What reads a number from `low` to `high`, or says that it must be that."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} must be {says}")
        return value

    return read


_SHARE = _number(float, 0, 1, "a number from 0 to 1")
_COUNT = _number(int, 0, math.inf, "a whole number, 0 or more")
_SIZE = _number(float, sys.float_info.min, sys.float_info.max, "a number above 0")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``call`` to its name."""
    made = argparse.ArgumentParser(
        prog="nox-runtime",
        description="Remove the stars from astrophotographs (FITS, TIFF, PNG, XISF).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"nox-runtime {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="remove the stars from pictures",
        description="Remove the stars from pictures; the inputs are never changed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _files(run)
    _controls(run)
    model_options(run)
    _many(run)

    demo = commands.add_parser("demo", help="remove the stars from a sample picture")
    demo.add_argument(
        "--sample", choices=("nebula", "horsehead"), default="nebula",
        help="nebula comes with nox, horsehead is fetched (default: nebula)",
    )  # fmt: skip
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER")
    demo.add_argument("--overwrite", action="store_true", help="replace what is there")
    model_options(demo)

    info = commands.add_parser("info", help="what would run here, or what a picture is")
    info.add_argument("path", nargs="?", type=Path, metavar="FILE")
    info.add_argument("--model", metavar="NAME|FILE")
    info.add_argument("--device", choices=DEVICES, default="auto")
    info.add_argument("--hdu", metavar="N|NAME")
    info.add_argument(
        "--stack", action="store_true", help="the planes of a FITS cube, each by itself"
    )
    models = commands.add_parser("models", help="list the models, or fetch a further one")
    models.add_argument("action", nargs="?", choices=("list", "fetch"), default="list")
    models.add_argument("what", nargs="?", metavar="NAME|URL", help="the model to fetch")
    models.add_argument(
        "--sha256", metavar="HASH", help="of the file at a URL, which is checked against it"
    )
    siril = commands.add_parser("siril", help="put nox into Siril's Scripts menu, or take it out")
    siril.add_argument("action", choices=("install", "uninstall"))
    siril.add_argument("--data", type=Path, metavar="FOLDER", help="Siril's user data folder")
    siril.add_argument("--scripts", type=Path, metavar="FOLDER", help="Siril's script folder")
    siril.add_argument(
        "--onnxruntime", default="", metavar="PACKAGE",
        help="build of ONNX Runtime to install where there is none, or none (default: the usual)",
    )  # fmt: skip
    return made


def before_inputs(words: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """The results whose PATH is a word of its own and stands before an input.

    It may have been meant as an input, too.
    """
    found = []
    for at, word in enumerate(words[:-1]):
        if word == "--":
            break
        if not word.startswith("--") or "=" in word:
            continue
        names = [name for name in _RESULTS if f"--{name}".startswith(word)]
        if len(names) == 1 and any(Path(later) in paths for later in words[at + 2 :]):
            found += names
    return found


def _files(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "paths", nargs="+", metavar="PATH", type=Path, help="picture files, folders, patterns"
    )
    run.add_argument(
        "-o", "--output", metavar="OUT",
        help="file (its ending chooses the format) or folder; with several inputs a folder "
        "(default: NAME_starless beside the input)",
    )  # fmt: skip
    for option, what in _RESULTS.items():
        run.add_argument(
            f"--{option}", nargs="?", const=True, default=False, metavar="PATH",
            help=f"also write {what}; give PATH last, or as --{option}=PATH",
        )  # fmt: skip
    run.add_argument("--hdu", metavar="N|NAME", help="of a FITS file (default: first picture)")
    run.add_argument(
        "--stack", action="store_true",
        help="the planes of a FITS cube are pictures of their own, any number of them",
    )  # fmt: skip
    run.add_argument(
        "--compress", action="store_true",
        help="FITS results named by default are tile-compressed without loss (.fits.fz)",
    )  # fmt: skip


def _controls(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--stretch", choices=("auto", "none", "mtf", "asinh"), default="auto",
        help="auto: find out whether the picture is linear; none: it is stretched already; "
        "mtf: stretch it like Siril's -stretch; asinh (default: auto)",
    )  # fmt: skip
    run.add_argument("--linked", action="store_true", help="one stretch for all channels")
    run.add_argument(
        "--strength", type=_SHARE, default=1.0, metavar="0..1",
        help="0 leaves the stars, 1 removes them; between, they become smaller and fainter",
    )  # fmt: skip
    run.add_argument(
        "--protect", type=Path, metavar="MASK",
        help="picture (white is left alone) or DS9 region file",
    )  # fmt: skip
    run.add_argument(
        "--keep", type=Path, metavar="CATALOG",
        help="stars that stay: x, y in pixels from 0, or ra, dec; perhaps radius",
    )  # fmt: skip
    run.add_argument("--max-size", type=_SIZE, metavar="PX", help="wider objects stay (FWHM)")
    run.add_argument(
        "--min-roundness", type=_SHARE, metavar="0..1", help="objects less round than this stay"
    )
    run.add_argument(
        "--region", type=_region, metavar="X0:X1,Y0:Y1", help="only there; pixels from 0"
    )
    run.add_argument(
        "--passes", type=int, choices=(1, 2), default=1,
        help="2: also take what the first pass left, for dense fields; twice the time",
    )  # fmt: skip
    run.add_argument(
        "--upsample", action="store_true",
        help="show the model twice the scale, for stars under 1.5 pixels; four times the time",
    )  # fmt: skip
    run.add_argument(
        "--large-stars", action="store_true",
        help="last, show the model what is left at half the scale: large stars that stayed go, "
        "and many small galaxies; a quarter to one and a half times more time",
    )  # fmt: skip


def _many(run: argparse.ArgumentParser) -> None:
    run.add_argument("--recursive", action="store_true", help="also folders in folders")
    there = run.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    there.add_argument(
        "--skip-existing", action="store_true", help="leave out inputs whose output exists"
    )
    run.add_argument(
        "--resume", nargs="?", const=True, default=False, metavar="JOURNAL",
        help="keep a journal, and leave out what it says is done "
        "(default: nox-runtime.journal in the folder of -o, else in the current one)",
    )  # fmt: skip
    run.add_argument("--cluster", metavar="ADDRESS", help="spread over a dask scheduler's workers")
    run.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    run.add_argument("--json", action="store_true", help="print a report as JSON, a line a file")
    how = run.add_mutually_exclusive_group()
    how.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    how.add_argument("-v", "--verbose", action="store_true", help="more about each file")


def model_options(made: argparse.ArgumentParser) -> None:
    """Add the options that choose model, device and tiles."""
    made.add_argument("--model", metavar="NAME|FILE", help="built-in model or .onnx file")
    made.add_argument("--device", choices=DEVICES, default="auto")
    made.add_argument(
        "--tile", type=int, default=0, metavar="N",
        help="pixels a tile reads (default: by the device's memory)",
    )  # fmt: skip
    made.add_argument(
        "--overlap", type=_COUNT, metavar="N",
        help="pixels of surroundings within a tile (default: what the model needs)",
    )  # fmt: skip
    made.add_argument("--threads", type=_COUNT, default=0, metavar="N", help="of the CPU")
