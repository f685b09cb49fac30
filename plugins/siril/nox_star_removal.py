"""
nox star removal for Siril

Removes the stars from the image that is loaded in Siril (or from a sequence of FITS files)
with an open neural network, and writes the stars to a file from which Siril's Star
Recomposition puts them back exactly.  Linear or stretched, mono or RGB, 8, 16 or 32 bit.

From the Scripts menu it opens a window.  From a script or Siril's command line:

    pyscript nox_star_removal.py -stretch
    pyscript nox_star_removal.py -help
"""
# SPDX-License-Identifier: MIT
# (c) 2026 The nox developers
# Contact: no public address yet; it will stand here before the script is offered to others
#
# Version: 0.1.0
# Needs Siril 1.4.0 or later (sirilpy 1.0.8), Python 3.11 or later; tested in 1.4.2 and 1.4.5
#
# Changelog
# 0.1.0  first release

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import importlib.util
import io
import json
import math
import os
import queue
import re
import signal
import sys
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import sirilpy
from sirilpy import LogColor, SirilConnectionError, SirilError, SirilInterface

VERSION = "0.1.0"
TITLE = "nox star removal"
#: The distribution that brings nox_runtime; "nox" in the index is a test runner.
DISTRIBUTION = "astronox"
STRETCHES = {
    "auto": "Automatic",
    "none": "None: it is stretched already",
    "mtf": "Siril's autostretch (linear image)",
    "asinh": "Inverse hyperbolic sine (linear image)",
}
#: Notes that a sequence tells at most.
NOTES = 8
#: Endings of pictures that Siril turns upside down when it loads them.
RASTERS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".ppm", ".heif", ".avif", ".jxl")
#: Cards that describe how pixels are stored, which the writer makes anew, and sums over pixels
#: and cards, which are no longer true.
STRUCTURE = (
    "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "BZERO", "BSCALE",
    "CHECKSUM", "DATASUM",
)  # fmt: skip


class Problem(Exception):
    """What the user is told, in one line; the picture is as it was."""


class Cancelled(Exception):
    """The user asked to stop; the picture is as it was, unless the text says otherwise."""


# ---------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------


@dataclass
class Settings:
    """What to do; the names are those of the command's flags."""

    stretch: str = "auto"
    model: str = ""
    device: str = "auto"
    strength: float = 1.0
    maxsize: float = 0.0
    largestars: bool = False
    selection: bool = False
    starless: bool = True
    starmask: bool = True
    changes: bool = False
    wide: bool = False
    sequence: str = ""
    tile: int = 0
    threads: int = 0
    install: bool = field(default=False, metadata={"remember": False})


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise Problem(f"{message}; pyscript nox_star_removal.py -help lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Arguments(
        usage="pyscript nox_star_removal.py [options]", allow_abbrev=False, add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=24, width=110),
    )  # fmt: skip

    def flag(*names: str, help: str, **rest: Any) -> None:
        dest = rest.pop("dest", names[0])
        parser.add_argument(*[f"-{name}" for name in names], dest=dest, help=help, **rest)

    flag(
        "stretch", nargs="?", const="mtf", default="auto", choices=tuple(STRETCHES),
        help="the image is linear: stretch it as Siril does, and undo that exactly; "
        "-stretch=asinh or -stretch=none choose another way (default: find out)",
    )  # fmt: skip
    flag("nostarmask", "nomask", dest="starmask", action="store_false", help="no starmask_ file")
    flag("nostarless", dest="starless", action="store_false", help="no starless_ file")
    flag("changes", action="store_true", help="also write changes_<name>: where stars were, 0 to 1")
    flag("32bit", dest="wide", action="store_true", help="32-bit results from 8 and 16 bit too")
    flag("strength", type=float, default=1.0, help="share of the stars' light to take, 0 to 1")
    flag("maxsize", type=float, default=0.0, help="leave objects wider than this, in pixels")
    flag(
        "largestars", action="store_true",
        help="look again at half the scale, for large stars that stay; small galaxies go too: "
        "best with -selection",
    )  # fmt: skip
    flag("selection", action="store_true", help="only inside the selection")
    flag("sequence", default="", help="name of a sequence of FITS files, instead of the image")
    flag("model", default="", help="a model's name, or an .onnx file that nox-export wrote")
    flag("device", default="auto", help="where to run: cpu, cuda ... (default: the best there)")
    flag("tile", type=int, default=0, help="pixels a side that are worked on at once")
    flag("threads", type=int, default=0, help="of the CPU")
    flag(
        "install", action="store_true",
        help=f"install what is missing into Siril's Python (works once {DISTRIBUTION} is on the "
        "package index)",
    )  # fmt: skip
    flag("upscale", action="store_true", help="taken for StarNet's sake; not needed")
    flag("stride", type=int, help="taken for StarNet's sake; not needed")
    flag("help", "h", dest="help", action="store_true", help="these lines")
    return parser


def read_arguments(argv: list[str]) -> tuple[Settings, list[str]]:
    """Settings from the command line, and notes on what is not used of it."""
    parser = _parser()
    # Siril's own flags have one dash; two are understood as well.
    given = vars(parser.parse_args([re.sub("^--(?=[a-z0-9])", "-", word) for word in argv]))
    if given.pop("help"):
        raise SystemExit(parser.format_help())
    notes = [
        f"-{name} is StarNet's; nox needs no such thing"
        for name in ("upscale", "stride")
        if given.pop(name)
    ]
    settings = Settings(**given)
    if not 0 <= settings.strength <= 1:
        raise Problem(f"-strength is {settings.strength:g}; it must be 0 to 1")
    if not (settings.maxsize >= 0 and math.isfinite(settings.maxsize)):
        raise Problem(f"-maxsize is {settings.maxsize:g}; it must be a number of pixels")
    return settings, notes


def _memory(si: SirilInterface) -> Path:
    return Path(si.get_siril_configdir()) / "nox_star_removal.json"


def recall(si: SirilInterface) -> Settings:
    """The settings that the window was last used with; the default ones if none are readable."""
    settings = Settings()
    with contextlib.suppress(OSError, ValueError, SirilError):
        stored = json.loads(_memory(si).read_text(encoding="utf-8"))
        for f in fields(Settings):
            value = stored.get(f.name)
            if f.metadata.get("remember", True) and type(value) is type(getattr(settings, f.name)):
                setattr(settings, f.name, value)
    return replace(settings, sequence="", selection=False)


def remember(si: SirilInterface, settings: Settings) -> None:
    """Keep the settings for the next time."""
    kept = {
        f.name: getattr(settings, f.name)
        for f in fields(Settings)
        if f.metadata.get("remember", True)
    }
    with contextlib.suppress(OSError, SirilError):
        _memory(si).write_text(json.dumps(kept, indent=1), encoding="utf-8")


# ---------------------------------------------------------------------------
# Siril's Python environment
# ---------------------------------------------------------------------------


def missing_packages() -> list[str]:
    """What must be installed before stars can be removed."""
    if sys.version_info < (3, 11):
        raise Problem(
            f"Siril runs Python {sys.version_info[0]}.{sys.version_info[1]}; nox needs 3.11 or "
            "later: update Siril, or the system's Python"
        )
    wanted = {"nox_runtime": DISTRIBUTION, "onnxruntime": "onnxruntime"}
    return [name for module, name in wanted.items() if importlib.util.find_spec(module) is None]


def install(packages: list[str]) -> None:
    """Put packages into Siril's environment, saying nothing: a full pipe stops Siril for ever."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            for package in packages:
                if package == "onnxruntime":  # knows which of its builds fits the machine
                    sirilpy.ONNXHelper().install_onnxruntime()
                else:
                    sirilpy.ensure_installed(package)
    except (Exception, SystemExit) as error:
        raise Problem(
            f"{', '.join(packages)} cannot be installed ({_one_line(error)}); check the network, "
            f"or, until {DISTRIBUTION} is on the package index, install it from a terminal: "
            "nox-runtime siril install"
        ) from error
    importlib.invalidate_caches()
    left = missing_packages()
    if left:
        raise Problem(f"{', '.join(left)} cannot be installed; see docs/siril.md of nox")


def need_runtime(si: SirilInterface, may_install: bool) -> None:
    """Make sure that nox_runtime and ONNX Runtime are there."""
    missing = missing_packages()
    if missing and may_install:
        si.log(f"nox: installing {' and '.join(missing)}; this takes a minute")
        install(missing)
    elif missing:
        raise Problem(
            f"{' and '.join(missing)} not found in Siril's Python environment; run "
            "'nox-runtime siril install' in a terminal, or this script once with -install "
            f"(works once {DISTRIBUTION} is on the package index)"
        )


def import_runtime() -> None:
    """Import nox_runtime and ONNX Runtime, which takes a moment."""
    try:
        import onnxruntime  # noqa: F401

        import nox_runtime  # noqa: F401
    except (ImportError, OSError) as error:
        raise Problem(
            f"Siril's Python environment is damaged ({_one_line(error)}); run 'nox-runtime "
            "siril install' in a terminal"
        ) from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


# ---------------------------------------------------------------------------
# A picture, from Siril
# ---------------------------------------------------------------------------


def bare_name(path: str) -> str:
    """A file's name without folder and endings, those of packed files included."""
    name = Path(path).name
    for packed in (".fz", ".gz", ".bz2"):
        name = name[: -len(packed)] if name.lower().endswith(packed) else name
    return Path(name).stem or "image"


@dataclass
class Picture:
    """A picture as it is in Siril: values in its own type, row 0 at the bottom.

    `path` is the file it came from, `header` what Siril would write, `history` its HISTORY.
    """

    values: np.ndarray
    path: str
    header: str
    history: list[str]

    @property
    def height(self) -> int:
        return int(self.values.shape[-2])

    @property
    def width(self) -> int:
        return int(self.values.shape[-1])

    @property
    def top_down(self) -> bool:
        """Whether the file has it the other way up; the network is shown what is in the file."""
        return self.path.lower().endswith(RASTERS)

    @property
    def mosaic(self) -> bool:
        """Whether it is a raw colour mosaic."""
        return self.values.ndim == 2 and bool(re.search(r"(?m)^BAYERPAT=", self.header))

    @property
    def name(self) -> str:
        """The file's name without folder and endings."""
        return bare_name(self.path)

    def upright(self, values: np.ndarray) -> np.ndarray:
        """Between Siril's order of rows and the file's; it is its own inverse."""
        return np.ascontiguousarray(values[..., ::-1, :]) if self.top_down else values

    def region(self, selection: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Rows and columns (y0, y1, x0, x1) of a selection, as the file has them."""
        x, y, w, h = selection
        y0 = y if self.top_down else self.height - y - h
        return y0, y0 + h, x, x + w

    @classmethod
    def of(cls, data: np.ndarray | None, path: str, header: str | None, history: Any) -> Picture:
        if data is None:
            raise Problem(f"{path}: Siril gave no pixels; load the image again")
        header = (header or "").rstrip("\0")
        bits = re.search(r"(?m)^BITPIX\s*=\s*(-?\d+)", header)
        if data.dtype == np.uint16 and bits and int(bits.group(1)) == 8:
            data = data.astype(np.uint8)  # Siril hands 8-bit pictures over as 16-bit ones
        return cls(data, path, header, list(history or []))


def loaded_picture(si: SirilInterface) -> Picture:
    """The image that is loaded; reading it while none is would break the connection."""
    if not si.is_image_loaded():
        raise Problem(
            "no image is loaded; load one first, or give -sequence=NAME for a sequence of files"
        )
    history: Any = None
    with contextlib.suppress(SirilError):  # there may be none
        history = si.get_image_history()
    return Picture.of(
        si.get_image_pixeldata(),
        si.get_image_filename() or "image",
        si.get_image_fits_header(return_as="str"),
        history,
    )


# ---------------------------------------------------------------------------
# Star removal
# ---------------------------------------------------------------------------


def loading(settings: Settings) -> Future[Any]:
    """Load the model, and what headers need, while Siril sends the picture."""
    pool = ThreadPoolExecutor(1)
    model = pool.submit(make_remover, settings)
    pool.submit(importlib.import_module, "astropy.io.fits")
    pool.shutdown(wait=False)
    return model


def make_remover(settings: Settings, tile: int = 0) -> Any:
    """Load the model."""
    import_runtime()
    from nox_runtime import StarRemover

    rest = {"tile": settings.tile or tile} if settings.tile or tile else {}
    return StarRemover(
        settings.model or None,
        device=settings.device,
        threads=settings.threads,
        large_stars=settings.largestars,
        **rest,
    )


@dataclass
class Result:
    """What became of a picture.

    `starless` has the picture's type and Siril's order of rows; `changed` is the share of the
    pixels that are not as they were.  `model` and `stretch` are facts of nox_runtime.
    """

    starless: np.ndarray
    model: Any
    stretch: Any
    device: str = ""
    changed: float = 0.0
    notes: tuple[str, ...] = ()


def descreened(starless: np.ndarray, stars: np.ndarray) -> np.ndarray:
    """Stars to put back by 1 - (1 - starless)(1 - stars), as Star Recomposition does; float32.

    Nothing is clipped, so that values over 1 and pixels that became brighter come back too.
    """
    white = float(np.iinfo(starless.dtype).max) if starless.dtype.kind == "u" else 1.0
    share = np.zeros(starless.size, np.float32)
    where = np.flatnonzero(stars)  # a tenth of the pixels or less
    under = white - starless.ravel()[where].astype(np.float64)
    sound = np.isfinite(under) & (under != 0)
    share[where[sound]] = stars.ravel()[where][sound] / under[sound]
    return share.reshape(starless.shape)


class Progress:
    """Tells Siril, and who else listens, how far the work is and how long it will take."""

    def __init__(self, si: SirilInterface, listener: Callable[[str, float], None] | None = None):
        self.si, self.listener = si, listener
        self.first: tuple[float, float] | None = None

    def __call__(self, share: float, what: str = "Removing stars") -> None:
        now = time.monotonic()
        text = f"{what}: {share:.0%}"
        if self.first is None:
            self.first = (now, share)
        elif share > self.first[1]:
            speed = (now - self.first[0]) / (share - self.first[1])
            text += f", {lasting((1 - share) * speed)} left"
        self.si.update_progress(text, min(max(share, 0.0), 1.0))
        if self.listener:
            self.listener(text, share)


def lasting(seconds: float) -> str:
    """A length of time for people."""
    seconds = max(1, round(seconds))
    return f"{seconds} s" if seconds < 90 else f"{round(seconds / 60)} min"


def run_picture(
    remover: Any, picture: Picture, settings: Settings, selection: Any, outputs: Outputs,
    progress: Callable[[float], None], stop: threading.Event,
) -> Result:  # fmt: skip
    """Remove the stars from one picture, and write what is finished while the rest is computed.

    Stops in the middle of a tile when `stop` is set.
    """
    from nox_runtime.controls import checked
    from nox_runtime.errors import StoppedError
    from nox_runtime.overlap import ahead
    from nox_runtime.stretch import choose, statistics

    progress(0.0)
    values = picture.upright(picture.values)
    if settings.wide and values.dtype.kind == "u":
        values = (values / np.float64(np.iinfo(values.dtype).max)).astype(np.float32)
    planes = values[None] if values.ndim == 2 else values
    controls = checked(
        planes.shape[1:], strength=settings.strength, max_size=settings.maxsize or None,
        region=picture.region(selection) if selection else None,
    )  # fmt: skip
    stats = statistics(planes)
    used, notes = choose(settings.stretch, stats), []  # type: Any, list[str]
    starless = np.empty_like(planes)
    result = Result(starless, remover.model.facts, used)
    outputs.begin(picture, values, result, settings)

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return planes[:, y0:y1, x0:x1]

    steps = remover.iter_rows(
        read, planes.shape, used, stats, controls, notes, cancelled=stop.is_set
    )
    changed, done = 0, 0
    try:
        with contextlib.closing(ahead(steps, cancelled=stop.is_set)) as parts:
            for step, rows in parts:
                if rows is not None:
                    starless[:, rows.start : rows.start + rows.starless.shape[1]] = rows.starless
                    changed += int(np.count_nonzero(rows.residual.any(axis=0)))
                    outputs.put(rows)
                if step.done > done:
                    done = step.done
                    progress(done / step.total)
    except StoppedError:
        raise Cancelled from None
    result.starless = picture.upright(starless.reshape(values.shape))
    result.device, result.changed = remover.model.device, changed / planes[0].size
    result.notes = (*remover.model.notes, *notes)
    return result


# ---------------------------------------------------------------------------
# Results
# ---------------------------------------------------------------------------


def provenance(result: Any) -> dict[str, tuple[str, str]]:
    """The cards that say what was done."""
    import nox_runtime

    return {
        "NOXVER": (nox_runtime.__version__, "version of nox"),
        "NOXMODEL": (f"{result.model.name} {result.model.version}", "model that removed the stars"),
        "NOXSHA": (result.model.weights_sha256[:16], "SHA-256 of its weights, first 16"),
    }


def history_line(result: Any) -> str:
    """The line of HISTORY and of Siril's undo; Siril takes 70 bytes."""
    import nox_runtime

    facts = result.model
    return (
        f"nox {nox_runtime.__version__}: stars removed ({facts.name} {facts.version}, "
        f"stretch {result.stretch.kind})"
    )[:70]


def _plain(text: str, room: int = 80) -> str:
    """Text as FITS cards may have it: printable ASCII, letters without their accents."""
    text = "".join(c for c in text if unicodedata.category(c) != "Cc")
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    if len(bare) > max(room, len(text)):  # what grew would no longer fit the card
        bare = text
    return bare.encode("ascii", "replace").decode()


def _cards(header: str) -> Iterator[str]:
    """The cards of a header of one line each; a long string with all that continues it."""
    card = ""
    for line in map(_plain, header.split("\n")):
        if line.startswith("CONTINUE") and "'" in card:
            card = card.ljust(-(-len(card) // 80) * 80) + line
            continue
        yield card
        card = line
    yield card


def _header(picture: Picture, tail: str, result: Any, what: str) -> Any:
    """What Siril would write, with FILTER and provenance."""
    from astropy.io import fits

    header = fits.Header()
    for line in _cards(picture.header):
        keyword = line[:8].strip()
        if keyword in STRUCTURE or keyword in ("END", "") or "fits_standard" in line:
            continue
        card = fits.Card.fromstring(line)
        # An epoch that the library beneath Siril writes for "unknown".
        with contextlib.suppress(Exception):
            if keyword == "EQUINOX" and float(card.value) > 1e100:
                continue
        header.append(card, end=True)
    if header.get("FILTER"):
        header["FILTER"] = _tailed(str(header["FILTER"]), tail)
    for key, (value, comment) in provenance(result).items():
        header[key] = (_plain(value), comment)
    for line in [*picture.history, history_line(result), f"nox: {what}"]:
        header.add_history(_plain(line))
    return header


class Output:
    """A FITS file under a name that is not yet its own; its pixels come in rows.

    `like` has the type and the shape of its pixels, and nothing else of it is used.
    """

    def __init__(self, path: Path, like: np.ndarray, header: Any, flipped: bool) -> None:
        from astropy.io import fits

        if path.is_dir():
            raise Problem(f"{path}: is a folder; move it away, or rename the image")
        self.path, self.flipped = path, flipped
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        self.shape, self.stored = (1, *like.shape)[-3:], like.dtype.newbyteorder(">")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cards of others that are not quite standard
            hdu = fits.PrimaryHDU(np.broadcast_to(np.zeros((), like.dtype), like.shape), header)
            hdu.verify("silentfix+ignore")
            text = hdu.header.tostring().encode("ascii", "replace")
        self.start = len(text)
        with self.said():
            self.file = open(self.temporary, "wb")  # noqa: SIM115 - `close` does
        try:
            with self.said():
                self.file.write(text)
                _reserve(self.file, self.start + -(-like.nbytes // 2880) * 2880)
        except BaseException:
            self.abandon()
            raise

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Say which file it is that cannot be written."""
        try:
            yield
        except OSError as error:
            raise Problem(
                f"{self.path}: cannot be written ({error.strerror or _one_line(error)}); free "
                "some space, or choose another working directory"
            ) from error

    def put(self, start: int, rows: np.ndarray) -> None:
        """Write rows (C, n, W), the first at row `start` as the picture's own file has them."""
        _, height, width = self.shape
        if self.flipped:
            start, rows = height - start - rows.shape[1], rows[:, ::-1]
        if rows.dtype == np.uint16:  # FITS has signed integers, and a BZERO
            rows = rows ^ np.uint16(0x8000)
        with self.said():
            for c, plane in enumerate(rows):
                self.file.seek(self.start + (c * height + start) * width * self.stored.itemsize)
                self.file.write(np.ascontiguousarray(plane, self.stored).data)

    def close(self) -> None:
        with self.said():
            self.file.close()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self.temporary.unlink()


def _reserve(file: Any, length: int) -> None:
    """Make room, so that a full disk is found before the work."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, length)
        except OSError as error:
            if error.errno == errno.ENOSPC:  # else a file system that knows no such thing
                raise
    file.truncate(length)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True


def _sweep(folder: Path) -> None:
    """Remove what runs left that were killed, as Siril's Stop button does."""
    for path in folder.glob(".*.part"):
        left = re.fullmatch(r"\.(starless|starmask|changes)_.*\.(\d+)\.part", path.name)
        with contextlib.suppress(OSError):
            if not left or time.time() - path.stat().st_mtime < 3600:
                continue  # it may be written by another machine
            # Windows removes no file that is open, and has no harmless signal.
            if os.name == "nt" or not _alive(int(left.group(2))):
                path.unlink()


class Outputs:
    """Files that appear together, whole, or not at all."""

    def __init__(self, folder: str, ending: str) -> None:
        self.folder, self.ending = Path(folder), ending
        self.made: dict[str, Output] = {}
        _sweep(self.folder)

    def path(self, kind: str, name: str) -> Path:
        return self.folder / f"{kind}_{name}{self.ending}"

    def begin(self, picture: Picture, values: np.ndarray, result: Result, use: Settings) -> None:
        """Make the files that were asked for; `values` is what the network is shown."""
        light = np.broadcast_to(np.float32(0), values.shape)
        flat = light.reshape(-1, *light.shape[-2:])[0]
        for kind, wanted, like, tail, what in (
            ("starless", use.starless, values, "_Starless", "the stars are in the starmask_ file"),
            ("starmask", use.starmask, light, "_StarMask",
             "stars alone; starless and these recombine by screen blending"),
            ("changes", use.changes, flat, "_Changes", "where the picture was changed, 0 to 1"),
        ):  # fmt: skip
            if wanted:
                header = _header(picture, tail, result, what)
                path = self.path(kind, picture.name)
                self.made[kind] = Output(path, like, header, picture.top_down)

    def put(self, rows: Any) -> None:
        """Write what is finished."""
        if "starless" in self.made:
            self.made["starless"].put(rows.start, rows.starless)
        if "starmask" in self.made:
            self.made["starmask"].put(rows.start, descreened(rows.starless, rows.stars))
        if "changes" in self.made:
            light = np.abs(rows.residual).max(axis=0, keepdims=True)
            self.made["changes"].put(rows.start, light)

    def finish(self) -> list[Path]:
        """Give the files their names; those of an earlier run are replaced, as Siril does."""
        for output in self.made.values():
            output.close()
        done: list[Path] = []
        for kind, output in list(self.made.items()):
            try:
                os.replace(output.temporary, output.path)
            except OSError as error:
                kept = "".join(f"; {other.name} was written" for other in done)
                raise Problem(
                    f"{output.path}: cannot be replaced ({error.strerror}); the image in Siril is "
                    f"as it was{kept}"
                ) from error
            done.append(output.path)
            del self.made[kind]
        return done

    def abandon(self) -> None:
        for output in self.made.values():
            output.abandon()
        self.made = {}


@dataclass
class Before:
    """What a run of the window began with: Siril's undo brings back the pixels alone."""

    path: str
    filter: str
    digest: bytes
    made: str

    @classmethod
    def of(cls, picture: Picture, made: str) -> Before:
        return cls(picture.path, _filter(picture.header), _digest(picture.values), made)

    def restored(self, picture: Picture) -> Picture:
        """The picture under the name and FILTER it had, if it is the one before that run again."""
        if picture.path != self.made or _digest(picture.values) != self.digest:
            return picture
        text = self.filter.replace("\\", r"\\")
        header = re.sub(r"(?m)^(FILTER\s*=\s*)'(?:[^']|'')*'", rf"\1'{text}'", picture.header)
        return replace(picture, path=self.path, header=header)


def _digest(values: np.ndarray) -> bytes:
    made = hashlib.blake2b(f"{values.dtype.str}{values.shape}".encode())
    made.update(np.ascontiguousarray(values))
    return made.digest()


def _filter(header: str) -> str:
    found = re.search(r"(?m)^FILTER\s*=\s*'((?:[^']|'')*)'", header)
    return found.group(1).strip() if found else ""


def _tailed(name: str, tail: str) -> str:
    return name if name.endswith(tail) else f"{name}{tail}"


def _siril_values(values: np.ndarray) -> np.ndarray:
    wanted = np.uint16 if values.dtype.kind == "u" else np.float32
    return np.ascontiguousarray(values, dtype=wanted)


def write_keys(si: SirilInterface, picture: Picture, result: Any) -> None:
    """The image in Siril says what was done too; HISTORY comes with its undo, in the window."""
    keys = {key: value for key, (value, _) in provenance(result).items()}
    old = _filter(picture.header)
    if old:
        keys["FILTER"] = _tailed(old, "_Starless")
    for key, value in keys.items():
        quoted = value.replace('"', "'")
        si.cmd("update_key", key, f'"{quoted}"')


def same_picture(si: SirilInterface, picture: Picture, name: str) -> bool:
    """Whether Siril still has the image that was read: its lock stops no opening and no undo."""
    if not si.is_image_loaded() or (si.get_image_filename() or "image") != name:
        return False
    now = si.get_image_pixeldata()
    if now is None or now.shape != picture.values.shape:
        return False
    floats = now.dtype.kind == "f"
    return all(  # row by row, since the comparison makes copies
        np.array_equal(now[..., y, :], picture.values[..., y, :], equal_nan=floats)
        for y in range(picture.height)
    )


def replace_pixels(
    si: SirilInterface, picture: Picture, name: str, result: Any, written: str
) -> None:
    """The starless image takes the place of the loaded one, which undo brings back."""
    try:
        same = same_picture(si, picture, name)
    except SirilError as error:
        raise Problem(f"{written}; Siril does not answer ({_one_line(error)})") from error
    if not same:
        raise Problem(f"{written}; the image in Siril changed meanwhile and was left as it is")
    try:
        si.undo_save_state(history_line(result))
    except SirilError as error:
        if not si.is_cli():  # up to Siril 1.4.2 there is none headless
            raise Problem(
                f"{written}; Siril cannot keep an undo state ({_one_line(error)}), so its image "
                "was left as it was"
            ) from error
    try:
        si.set_image_pixeldata(_siril_values(result.starless))
    except SirilError as error:
        raise Problem(f"{written}; Siril did not take the pixels ({_one_line(error)})") from error


def process_image(
    si: SirilInterface, settings: Settings, progress: Progress, stop: threading.Event,
    remover: Any = None, before: Before | None = None,
) -> tuple[Picture, Result, list[Path]]:  # fmt: skip
    """Remove the stars from the loaded image; the starless one takes its place.

    Until everything is computed and written, nothing that can be seen changes. `before` is
    what the run before this one began with.
    """
    if not si.is_image_loaded():
        loaded_picture(si)  # says so
    selection = si.get_siril_selection() if settings.selection else None
    if settings.selection and not (selection and selection[2] and selection[3]):
        raise Problem("nothing is selected; draw a selection in the image first")
    ending = si.get_siril_config("core", "extension") or ".fit"
    outputs = Outputs(si.get_siril_wd(), ending)
    model = loading(settings) if remover is None else None
    try:
        with si.image_lock():
            picture = loaded_picture(si)
            name = picture.path
            picture = before.restored(picture) if before else picture
            remover = model.result() if model else remover
            if picture.mosaic:
                si.log(
                    "nox: this is a raw colour mosaic; debayer it first, its stars are not "
                    "whole yet", LogColor.SALMON,
                )  # fmt: skip
            result = run_picture(remover, picture, settings, selection, outputs, progress, stop)
            if stop.is_set():
                raise Cancelled
            paths = outputs.finish()
            written = "the files were written" if paths else "nothing was written"
            replace_pixels(si, picture, name, result, written)
    finally:
        outputs.abandon()
    try:
        write_keys(si, picture, result)
        if settings.starless:
            si.set_image_filename(str(outputs.path("starless", picture.name)))
    except SirilError as error:  # the stars are gone all the same
        si.log(
            f"nox: Siril did not take all of the header or the file name ({_one_line(error)}); "
            "the image is starless", LogColor.SALMON,
        )  # fmt: skip
    return picture, result, paths


def sequence_files(si: SirilInterface, root: str) -> list[Path]:
    """The FITS files of a sequence in the working directory, in order."""
    folder = Path(si.get_siril_wd())
    ending = si.get_siril_config("core", "extension") or ".fit"
    stem = root[: -len(".seq")] if root.lower().endswith(".seq") else root
    pattern = re.compile(
        rf"{re.escape(stem)}(_?)(\d+){re.escape(ending)}(\.fz)?", 0 if stem else re.I
    )
    found = sorted(
        (int(match.group(2)), path)
        for path in folder.iterdir()
        if (match := pattern.fullmatch(path.name))
    )
    if not found:
        raise Problem(
            f"{root}: no files {stem}00001{ending} and so on in {folder}; give the name of a "
            "sequence of FITS files (convert SER and single-file sequences first)"
        )
    return [path for _, path in found]


@dataclass
class Frames:
    """What became of the frames of a sequence: files, and each fact about them once.

    `ran` and `notes` say for how many frames a thing holds.
    """

    total: int
    frames: int = 0
    files: list[Path] = field(default_factory=list)
    ran: dict[str, int] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    mosaic: bool = False

    def add(self, result: Result, files: list[Path]) -> None:
        """Take in a frame; its pixels are not kept."""
        facts, used = result.model, result.stretch
        # Reasons hold figures that differ from frame to frame: what was chosen is enough.
        ran = f"by {facts.name} {facts.version} on {result.device}, stretch {used.kind}"
        self.frames += 1
        self.files += files
        self.ran[ran] = self.ran.get(ran, 0) + 1
        for note in result.notes:
            self.notes[note] = self.notes.get(note, 0) + 1
        if result.device not in self.devices:
            self.devices.append(result.device)

    def lines(self) -> list[tuple[str, Any]]:
        """A few lines for the log, with their colours."""

        def frames(count: int) -> str:
            return f"{count} of {self.total} frames"

        said = [
            (f"stars removed from {frames(n)} {ran}", LogColor.GREEN) for ran, n in self.ran.items()
        ]
        notes = [(f"{frames(n)}: {note}", LogColor.SALMON) for note, n in self.notes.items()]
        if len(notes) > NOTES:
            notes[NOTES:] = [(f"and {len(notes) - NOTES} more such notes", LogColor.SALMON)]
        return [*said, *notes]


def process_sequence(
    si: SirilInterface, settings: Settings, progress: Progress, stop: threading.Event,
    remover: Any = None, files: list[Path] | None = None,
) -> Frames:  # fmt: skip
    """Remove the stars from every file of a sequence; frames done before a stop stay.

    What ran and what is to be noted goes to the log, also when a frame fails.
    """
    if not (settings.starless or settings.starmask or settings.changes):
        raise Problem(
            "nothing to write; ask for the starless images, the stars or the changes of the "
            "sequence"
        )
    files = files or sequence_files(si, settings.sequence)
    selection = si.get_siril_selection() if settings.selection else None
    if settings.selection and not (selection and selection[2] and selection[3]):
        raise Problem("nothing is selected; draw a selection in the image first")
    ending = si.get_siril_config("core", "extension") or ".fit"
    outputs = Outputs(si.get_siril_wd(), ending)
    remover = remover or make_remover(settings)
    done = Frames(len(files))
    try:
        for path in files:
            _process_frame(si, settings, progress, stop, remover, path, selection, outputs, done)
    finally:
        with contextlib.suppress(SirilError):  # the first error is the one to tell
            for line, colour in done.lines():
                si.log(f"nox: {line}", colour)
    _make_sequences(si, files[0], settings, done.files, outputs)
    return done


def _process_frame(
    si: SirilInterface, settings: Settings, progress: Progress, stop: threading.Event,
    remover: Any, path: Path, selection: Any, outputs: Outputs, done: Frames,
) -> None:  # fmt: skip
    """One frame; whatever goes wrong names it, and says how many files there are."""
    from nox_runtime.errors import NoxError

    k, count = done.frames, done.total

    def share(part: float) -> None:
        progress((k + part) / count, f"Removing stars, frame {k + 1} of {count}")

    try:
        fit = si.load_image_from_file(str(path))
        if fit is None:
            raise Problem("Siril cannot read it")
        picture = Picture.of(fit.data, str(path), fit.header, getattr(fit, "history", None))
        if picture.mosaic and not done.mosaic:
            done.mosaic = True
            si.log(
                f"nox: {path.name} is a raw colour mosaic, as the others of its sequence may be; "
                "debayer them first, their stars are not whole yet", LogColor.SALMON,
            )  # fmt: skip
        result = run_picture(remover, picture, settings, selection, outputs, share, stop)
        done.add(result, outputs.finish())
    except Cancelled as cancelled:
        raise Cancelled(f"{k} of {count} frames are done") from cancelled
    except (Problem, SirilError, OSError, MemoryError, NoxError) as error:
        what = "out of memory" if isinstance(error, MemoryError) else _one_line(error)
        raise Problem(
            f"frame {k + 1} of {count}, {path.name}: {what}; {len(done.files)} files were "
            "written before it"
        ) from error
    finally:
        outputs.abandon()


def _make_sequences(
    si: SirilInterface, first: Path, settings: Settings, made: list[Path], outputs: Outputs
) -> None:
    """Sequences of the results; Siril takes in all files of such a name that it finds."""
    root = re.sub(r"\d+$", "", bare_name(str(first)))
    for kind in ("starless", "starmask", "changes"):
        if not getattr(settings, kind):
            continue
        name = f"{kind}_{root}"
        pattern = re.compile(rf"{re.escape(name)}\d{{5}}{re.escape(outputs.ending)}")
        older = {p for p in outputs.folder.iterdir() if pattern.fullmatch(p.name)} - set(made)
        if older:
            si.log(
                f"nox: the sequence {name} takes in {len(older)} files of an earlier run "
                f"({min(older).name}); remove them if they do not belong to it", LogColor.SALMON,
            )  # fmt: skip
        done: Any = False
        with contextlib.suppress(SirilError):
            done = si.create_new_seq(name)
        if done is False:
            si.log(f"nox: Siril made no sequence of {name}; the files are there", LogColor.SALMON)


# ---------------------------------------------------------------------------
# Command mode
# ---------------------------------------------------------------------------


def report(result: Any, seconds: float) -> str:
    """What was done, for the log."""
    facts = result.model
    return (
        f"nox: stars removed in {lasting(seconds)} by {facts.name} {facts.version} on "
        f"{result.device}; stretch {result.stretch.kind} ({result.stretch.reason}), "
        f"{result.changed:.1%} of the pixels changed"
    )


def tell(si: SirilInterface, result: Any, paths: list[Path], seconds: float) -> None:
    """Report to the log."""
    si.log(report(result, seconds), LogColor.GREEN)
    for note in getattr(result, "notes", ()):
        si.log(f"nox: {note}", LogColor.SALMON)
    for path in paths:
        si.log(f"nox: wrote {path.name}")
    si.reset_progress()


def run_command(si: SirilInterface, argv: list[str], stop: threading.Event) -> None:
    """Everything that happens without a window."""
    try:
        settings, notes = read_arguments(argv)
    except SystemExit as shown:
        for line in filter(str.strip, str(shown).splitlines()):  # Siril refuses empty ones
            si.log(line)
        return
    for note in notes:
        si.log(f"nox: {note}", LogColor.SALMON)
    if not settings.sequence and not si.is_image_loaded():
        loaded_picture(si)  # says so, before anything takes time
    need_runtime(si, settings.install)
    progress, began = Progress(si), time.monotonic()
    if settings.sequence:
        done = process_sequence(si, settings, progress, stop)
        si.log(
            f"nox: {len(done.files)} files written in {lasting(time.monotonic() - began)}",
            LogColor.GREEN,
        )
        si.reset_progress()
        return
    _, result, paths = process_image(si, settings, progress, stop)
    tell(si, result, paths, time.monotonic() - began)


def guarded(si: SirilInterface, work: Callable[[], None]) -> str | None:
    """Do the work; whatever goes wrong becomes one line of the log, which is returned."""
    try:
        work()
        return None
    except (Cancelled, KeyboardInterrupt) as stopped:
        line = f"nox: stopped; {str(stopped) or 'the image is as it was'}"
    except Problem as problem:
        line = f"nox: error: {problem}"
    except MemoryError:
        line = "nox: error: out of memory; close other images, or give a smaller -tile"
    except SirilError as error:
        line = f"nox: error: Siril says: {_one_line(error)}; the image is as it was"
    except Exception as error:
        ours = type(error).__module__.startswith("nox_runtime")
        kind = "" if ours else f"unexpected {type(error).__name__}: "
        line = f"nox: error: {kind}{_one_line(error)}"
    with contextlib.suppress(SirilError):
        si.log(line, LogColor.RED)
        si.reset_progress()
    return line


# ---------------------------------------------------------------------------
# Window mode
# ---------------------------------------------------------------------------

#: Colours of Siril's two themes: window, field, text, faint text, lines, accent.
THEMES = (
    ("#303030", "#1d1d1d", "#eeeeee", "#a0a0a0", "#4a4a4a", "#3584e4"),
    ("#f6f5f4", "#ffffff", "#1e1e1e", "#6a6a6a", "#cdc7c2", "#1c71d8"),
)
VIEWS = ("Before", "After", "Stars")
#: Pixels that a preview has at most.
PREVIEW = 8_000_000
#: A smaller tile than the command's, so that the progress bar moves every other second.
WINDOW_TILE = 1536
#: Settings that the window has a box for.
_BOXES = ("largestars", "starless", "starmask", "changes", "wide")


def import_qt() -> SimpleNamespace:
    """PyQt6, which only the window needs; to be imported after onnxruntime."""
    try:
        from PyQt6 import QtCore, QtGui, QtWidgets
    except (ImportError, OSError) as error:
        raise Problem(
            f"the window cannot be opened ({_one_line(error)}); without it: "
            "pyscript nox_star_removal.py -stretch"
        ) from error
    on_x11 = sys.platform.startswith("linux") and "WAYLAND_DISPLAY" not in os.environ
    if on_x11 and os.environ.get("QT_QPA_PLATFORM", "xcb") == "xcb":
        import ctypes

        try:  # Qt would end the whole process
            ctypes.CDLL("libxcb-cursor.so.0")
        except OSError as error:
            raise Problem(
                "the window needs the system library libxcb-cursor; install it (Debian and "
                "Ubuntu: apt install libxcb-cursor0), or use the command: pyscript "
                "nox_star_removal.py -stretch"
            ) from error
    return SimpleNamespace(core=QtCore, gui=QtGui, widgets=QtWidgets)


def previews(before: np.ndarray, after: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What the window shows: 8-bit pictures (H, W, 3), top row first, all stretched alike."""
    from nox_runtime.statistics import statistics
    from nox_runtime.stretch import choose

    step = max(1, math.ceil(math.sqrt(before.shape[-2] * before.shape[-1] / PREVIEW)))

    def planes(values: np.ndarray) -> np.ndarray:
        small = values[..., ::step, ::step]
        if small.ndim == 2:
            small = small[None]
        if small.dtype.kind == "u":
            small = small / np.float32(np.iinfo(small.dtype).max)
        return np.nan_to_num(small, nan=0.0, posinf=1.0, neginf=0.0)

    first = planes(before)
    used = choose("none" if before.dtype == np.uint8 else "auto", statistics(first)).for_eyes()
    shown = {"Before": used.forward(first)}
    if after is not None:
        shown["After"] = used.forward(planes(after))
        shown["Stars"] = np.clip(shown["Before"] - shown["After"], 0, 1)

    def eight_bit(picture: np.ndarray) -> np.ndarray:
        picture = np.repeat(picture, 3, axis=0) if len(picture) == 1 else picture
        picture = np.rint(picture * 255).astype(np.uint8)
        return np.ascontiguousarray(np.moveaxis(picture, 0, -1)[::-1])

    return {view: eight_bit(picture) for view, picture in shown.items()}


def describe(picture: Picture) -> str:
    """A picture in one line."""
    bits = picture.values.dtype.itemsize * 8
    colours = "RGB" if picture.values.ndim == 3 else "CFA" if picture.mosaic else "mono"
    return (
        f"{Path(picture.path).name}  ·  {picture.width} × {picture.height}  ·  "
        f"{colours}, {bits} bit"
    )


class Window:
    """The one window.  Work runs in a thread, and answers through a queue that a timer reads."""

    def __init__(
        self, si: SirilInterface, qt: SimpleNamespace, settings: Settings, stop: threading.Event
    ) -> None:
        self.si, self.qt, self.settings = si, qt, settings
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.stop = threading.Event()
        self.quit, self.unanswered = stop, 0
        self.job, self.wanted, self.closing, self.looked = "", False, False, 0.0
        self.state: Any = None
        self.images: dict[str, Any] = {}
        self.view = "Before"
        self.removers: dict[tuple[Any, ...], Any] = {}
        self.before: Before | None = None
        self._build()
        self._show_settings()
        self._timer = qt.core.QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(60)

    # -- what it looks like -------------------------------------------------

    def _build(self) -> None:
        w = self.qt.widgets
        self.window = w.QWidget()
        self.window.setObjectName("nox")
        self.window.setWindowTitle(TITLE)
        self.window.resize(1180, 740)
        self.window.setMinimumSize(940, 620)
        self.window.closeEvent = self._close
        rows = w.QVBoxLayout(self.window)
        rows.setContentsMargins(14, 12, 14, 12)
        rows.setSpacing(10)
        columns = w.QHBoxLayout()
        columns.setSpacing(14)
        columns.addLayout(self._build_picture(), 1)
        self.panel = self._build_panel()
        columns.addWidget(self.panel)
        rows.addLayout(columns, 1)
        rows.addLayout(self._build_foot())

    def _build_picture(self) -> Any:
        w, column = self.qt.widgets, self.qt.widgets.QVBoxLayout()
        bar = w.QHBoxLayout()
        bar.setSpacing(0)
        self.views = {}
        self.group = group = w.QButtonGroup(self.window)
        for view, place in zip(VIEWS, ("first", "middle", "last"), strict=True):
            button = w.QPushButton(view)
            button.setCheckable(True)
            button.setEnabled(False)
            button.setProperty("place", place)
            button.setMinimumWidth(84)
            button.setFocusPolicy(self.qt.core.Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _checked, view=view: self.show_view(view))
            group.addButton(button)
            bar.addWidget(button)
            self.views[view] = button
        bar.addStretch(1)
        for name, zoom in (("Fit", 0.0), ("1:1", 1.0)):
            button = w.QPushButton(name)
            button.setMinimumWidth(52)
            button.setFocusPolicy(self.qt.core.Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _checked, zoom=zoom: self._zoom(zoom))
            bar.addWidget(button)
            if name == "Fit":
                bar.addSpacing(6)
        column.addLayout(bar)
        self.scene = w.QGraphicsScene()
        self.canvas = w.QGraphicsView(self.scene)
        self.canvas.setDragMode(w.QGraphicsView.DragMode.ScrollHandDrag)
        self.canvas.setTransformationAnchor(w.QGraphicsView.ViewportAnchor.AnchorUnderMouse)
        self.canvas.setRenderHint(self.qt.gui.QPainter.RenderHint.SmoothPixmapTransform)
        for bar in (
            self.canvas.setHorizontalScrollBarPolicy,
            self.canvas.setVerticalScrollBarPolicy,
        ):
            bar(self.qt.core.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)  # it is dragged
        self.canvas.wheelEvent = self._wheel
        self.canvas.resizeEvent = lambda _event: self._fit_again()
        self.shown = self.scene.addPixmap(self.qt.gui.QPixmap())
        self.fitted = True
        column.addWidget(self.canvas, 1)
        self.about = w.QLabel("")
        self.about.setProperty("faint", True)
        column.addWidget(self.about)
        return column

    def _build_panel(self) -> Any:
        w = self.qt.widgets
        panel = w.QWidget()
        panel.setFixedWidth(330)
        column = w.QVBoxLayout(panel)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self._group("Star removal", self._removal_rows()))
        column.addWidget(self._group("Work on", self._place_rows()))
        column.addWidget(self._group("Files in the working directory", self._output_rows()))
        column.addStretch(1)
        return panel

    def _group(self, title: str, rows: list[tuple[str, Any]]) -> Any:
        w = self.qt.widgets
        box = w.QGroupBox(title)
        form = w.QGridLayout(box)
        form.setContentsMargins(12, 10, 12, 12)
        form.setVerticalSpacing(8)
        form.setColumnStretch(1, 1)
        for row, (label, widget) in enumerate(rows):
            if label:
                widget.setMinimumHeight(28)
                form.addWidget(w.QLabel(label), row, 0)
                form.addWidget(widget, row, 1)
            else:
                form.addWidget(widget, row, 0, 1, 2)
        return box

    def _combo(self, items: dict[str, str], tip: str) -> Any:
        combo = self.qt.widgets.QComboBox()
        for key, text in items.items():
            combo.addItem(text, key)
        combo.setToolTip(tip)
        combo.setMinimumContentsLength(12)
        combo.setSizeAdjustPolicy(
            self.qt.widgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        return combo

    def _removal_rows(self) -> list[tuple[str, Any]]:
        w, core = self.qt.widgets, self.qt.core
        self.model = self._combo(known_models(), "The network that finds and removes the stars")
        self.model.addItem("Choose a file…", "?")
        self.model.activated.connect(self._choose_model)
        self.device = self._combo(known_devices(), "What runs it; automatic takes the fastest")
        self.stretch = self._combo(
            STRETCHES, "Networks see stretched images. The stretch is undone exactly afterwards."
        )
        self.strength = w.QSlider(core.Qt.Orientation.Horizontal)
        self.strength.setRange(0, 100)
        self.strength.setToolTip("Share of the stars' light that is taken away")
        self.percent = w.QLabel("100 %")
        self.percent.setMinimumWidth(44)
        self.percent.setAlignment(
            core.Qt.AlignmentFlag.AlignRight | core.Qt.AlignmentFlag.AlignVCenter
        )
        self.strength.valueChanged.connect(lambda value: self.percent.setText(f"{value} %"))
        both = w.QWidget()
        line = w.QHBoxLayout(both)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.strength, 1)
        line.addWidget(self.percent)
        self.maxsize = w.QSpinBox()
        self.maxsize.setRange(0, 999)
        self.maxsize.setSpecialValueText("no limit")
        self.maxsize.setSuffix(" px")
        self.maxsize.setToolTip("Wider objects, such as small galaxies, stay in the image")
        self.largestars = w.QCheckBox("Look for large stars too")
        self.largestars.setToolTip(
            "A second look at half the scale; many small galaxies go with them.\n"
            "Best of a selection round such a star."
        )
        return [
            ("Model", self.model), ("Device", self.device), ("Stretch", self.stretch),
            ("Strength", both), ("Widest star", self.maxsize), ("", self.largestars),
        ]  # fmt: skip

    def _place_rows(self) -> list[tuple[str, Any]]:
        w = self.qt.widgets
        self.whole = w.QRadioButton("The whole image")
        self.selection = w.QRadioButton("The selection only")
        self.sequence = w.QRadioButton("All frames of the sequence")
        self.whole.setChecked(True)
        for button in (self.selection, self.sequence):
            button.setEnabled(False)
        self.selection.setToolTip("Draw a selection in Siril's image first")
        self.sequence.setToolTip("Load a sequence of FITS files in Siril first")
        return [("", self.whole), ("", self.selection), ("", self.sequence)]

    def _output_rows(self) -> list[tuple[str, Any]]:
        w = self.qt.widgets
        self.starless = w.QCheckBox("starless_…  the image without stars")
        self.starmask = w.QCheckBox("starmask_…  the stars, to recombine")
        self.changes = w.QCheckBox("changes_…  mask of what was changed")
        self.wide = w.QCheckBox("32-bit results, whatever the image has")
        self.starmask.setToolTip("Descreened, as Siril's Star Recomposition wants them")
        return [("", box) for box in (self.starless, self.starmask, self.changes, self.wide)]

    def _build_foot(self) -> Any:
        w, line = self.qt.widgets, self.qt.widgets.QHBoxLayout()
        line.setSpacing(10)
        texts = w.QVBoxLayout()
        texts.setSpacing(4)
        self.status = w.QLabel("")
        self.status.setWordWrap(True)
        self.bar = w.QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        texts.addWidget(self.status)
        texts.addWidget(self.bar)
        line.addLayout(texts, 1)
        self.leave = w.QPushButton("Close")
        self.leave.clicked.connect(self.window.close)
        self.go = w.QPushButton("Remove stars")
        self.go.setObjectName("go")
        self.go.setDefault(True)
        self.go.clicked.connect(self.run_or_cancel)
        for button in (self.leave, self.go):
            button.setMinimumSize(116, 34)
            line.addWidget(button)
        return line

    # -- settings -----------------------------------------------------------

    def _show_settings(self) -> None:
        s = self.settings
        if s.model and self.model.findData(s.model) < 0:
            self.model.insertItem(0, Path(s.model).name, s.model)
        for combo, key in (
            (self.model, s.model),
            (self.device, s.device),
            (self.stretch, s.stretch),
        ):
            combo.setCurrentIndex(max(0, combo.findData(key)))
        self._chosen = self.model.currentData()
        self.strength.setValue(round(s.strength * 100))
        self.maxsize.setValue(round(s.maxsize))
        for name in _BOXES:
            getattr(self, name).setChecked(getattr(s, name))

    def _read_settings(self) -> Settings:
        return replace(
            self.settings,
            model=self.model.currentData() or "",
            device=self.device.currentData(),
            stretch=self.stretch.currentData(),
            strength=self.strength.value() / 100,
            maxsize=float(self.maxsize.value()),
            selection=self.selection.isChecked(),
            **{name: getattr(self, name).isChecked() for name in _BOXES},
        )

    def _choose_model(self, index: int) -> None:
        if self.model.itemData(index) == "?":
            path, _ = self.qt.widgets.QFileDialog.getOpenFileName(
                self.window, "A model for nox", "", "ONNX models (*.onnx)"
            )
            if path and self.model.findData(path) < 0:
                self.model.insertItem(0, Path(path).name, path)
            self.model.setCurrentIndex(max(0, self.model.findData(path or self._chosen)))
        self._chosen = self.model.currentData()

    # -- the picture --------------------------------------------------------

    def show_view(self, view: str) -> None:
        """Before, after, or the stars alone."""
        if view not in self.images:
            return
        self.view = view
        self.views[view].setChecked(True)
        pixmap = self.images[view]
        resized = pixmap.size() != self.shown.pixmap().size()
        self.shown.setPixmap(pixmap)
        if resized:
            self.scene.setSceneRect(self.qt.core.QRectF(pixmap.rect()))
            self._zoom(0.0)

    def _show_images(self, arrays: dict[str, np.ndarray], view: str) -> None:
        gui = self.qt.gui
        self.images = {}
        for name, array in arrays.items():
            h, w = array.shape[:2]
            image = gui.QImage(array.data, w, h, 3 * w, gui.QImage.Format.Format_RGB888)
            self.images[name] = gui.QPixmap.fromImage(image)
        self.group.setExclusive(bool(arrays))
        for name, button in self.views.items():
            button.setEnabled(name in self.images)
            button.setChecked(False)
        if not arrays:
            self.shown.setPixmap(gui.QPixmap())
        self.show_view(view)

    def _zoom(self, zoom: float) -> None:
        self.fitted = zoom == 0
        self.canvas.resetTransform()
        if zoom:
            self.canvas.scale(zoom, zoom)
        else:
            self._fit_again()

    def _fit_again(self) -> None:
        if self.fitted and not self.shown.pixmap().isNull():
            self.canvas.fitInView(self.shown, self.qt.core.Qt.AspectRatioMode.KeepAspectRatio)

    def _wheel(self, event: Any) -> None:
        factor = 1.25 if event.angleDelta().y() > 0 else 0.8
        scale = self.canvas.transform().m11() * factor
        if 0.02 < scale < 16:
            self.fitted = False
            self.canvas.scale(factor, factor)
        event.accept()

    # -- work ---------------------------------------------------------------

    def _start(self, job: str, work: Callable[[], Any]) -> None:
        """Run `work` in a thread; its result comes back through the queue, for `_<job>`."""
        self.job = job

        def run() -> None:
            box: list[Any] = []
            error = guarded(self.si, lambda: box.append(work()))
            self.answers.put(("failed", error) if error else (job, box[0]))

        threading.Thread(target=run, daemon=True).start()
        self._enable()

    def _tick(self) -> None:
        while not self.answers.empty():
            kind, value = self.answers.get()
            if kind == "progress":
                self._progress(*value)
                continue
            self.job = ""
            getattr(self, f"_{kind}")(value)
            self._enable()
            if self.closing:
                self.window.close()
                return
        if self.quit.is_set() and not self.closing:  # a signal
            self.window.close()
            return
        if not self.job and self.wanted:
            self.run()
        elif not self.job and time.monotonic() - self.looked > 1.0:
            self._start("seen", self._look_again)

    def _look(self) -> tuple[Any, bool, bool]:
        """What is loaded in Siril, whether part of it is selected, whether it is a sequence."""
        si = self.si
        sequence = bool(si.is_sequence_loaded())
        if not si.is_image_loaded():
            return ("sequence" if sequence else "nothing", None, None), False, sequence
        selection = si.get_siril_selection()
        chosen = bool(selection and selection[2] and selection[3])
        return ("image", si.get_image_filename(), si.get_image_shape()), chosen, sequence

    def _look_again(self) -> tuple[Any, bool, bool] | str | None:
        """As `_look`; None if Siril is gone, a line if it cannot tell."""
        try:
            return self._look()
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None:  # sirilpy wraps it sometimes
                if isinstance(cause, SirilConnectionError):
                    return None
                cause = cause.__cause__
            return f"Siril does not say what is loaded: {_one_line(error)}"

    def _seen(self, found: tuple[Any, bool, bool] | str | None) -> None:
        self.looked = time.monotonic()
        self.unanswered = self.unanswered + 1 if found is None else 0
        if found is None:
            if self.unanswered >= 3:
                self.window.close()
            return
        if isinstance(found, str):
            self.status.setText(found)
            return
        state, selected, sequence = found
        for button, possible in (
            (self.whole, state[0] == "image"),
            (self.selection, selected),
            (self.sequence, sequence),
        ):
            button.setEnabled(possible)
        chosen = [b for b in (self.whole, self.selection, self.sequence) if b.isChecked()]
        if not (chosen and chosen[0].isEnabled()):
            (self.sequence if state[0] == "sequence" else self.whole).setChecked(True)
        if state == self.state:
            return
        self.state = state
        if state[0] == "image":
            self.status.setText("Reading the image…")
            self._start("loaded", self._load)
            return
        self._show_images({}, "Before")
        self.about.setText("")
        self.bar.setValue(0)
        self.status.setText(
            "A sequence is loaded: its frames are worked on one by one."
            if state[0] == "sequence"
            else "No image is loaded in Siril. Load one; this window will notice."
        )

    def _load(self) -> tuple[str, bool, dict[str, np.ndarray]]:
        picture = loaded_picture(self.si)
        return describe(picture), picture.mosaic, previews(picture.values)

    def _loaded(self, found: tuple[str, bool, dict[str, np.ndarray]]) -> None:
        text, mosaic, arrays = found
        self.about.setText(text)
        self._show_images(arrays, "Before")
        self.bar.setValue(0)
        self.status.setText(
            "A raw colour mosaic: debayer it first, its stars are not whole yet."
            if mosaic
            else "Ready."
        )

    def run_or_cancel(self) -> None:
        """The button's two meanings."""
        if self.job != "finished":
            self.wanted = True  # the timer begins, once nothing else talks to Siril
            return
        self.stop.set()
        self.status.setText("Cancelling…")
        self._enable()

    def run(self) -> None:
        """Remove the stars, in a thread."""
        self.wanted = False
        settings = self.settings = self._read_settings()
        remember(self.si, settings)
        self.stop.clear()
        every_frame = self.sequence.isChecked()
        progress = Progress(self.si, lambda *told: self.answers.put(("progress", told)))
        self.status.setText("Loading the model…")
        self._start("finished", lambda: self._work(settings, every_frame, progress))

    def _work(self, settings: Settings, every_frame: bool, progress: Progress) -> Any:
        began = time.monotonic()
        key = (settings.model, settings.device, settings.threads, settings.largestars)
        if key not in self.removers:
            self.removers = {key: make_remover(settings, WINDOW_TILE)}
        remover = self.removers[key]
        if every_frame:
            files = loaded_sequence(self.si)
            done = process_sequence(self.si, settings, progress, self.stop, remover, files)
            text = f"{len(done.files)} files written in {lasting(time.monotonic() - began)}"
            self.si.log(f"nox: {text}", LogColor.GREEN)
            text += f" on {' and '.join(name.upper() for name in done.devices)}."
            if done.mosaic:
                text += " Raw colour mosaics: their stars are not whole; debayer them first."
            text += "".join(f" {note}." for note in list(done.notes)[:2])
            self.si.reset_progress()
            return text, None, self.state
        picture, result, paths = process_image(
            self.si, settings, progress, self.stop, remover, self.before
        )
        self.before = Before.of(picture, self.si.get_image_filename() or "image")
        seconds = time.monotonic() - began
        tell(self.si, result, paths, seconds)
        notes = "".join(f" {note}." for note in getattr(result, "notes", ()))
        text = (
            f"Stars removed in {lasting(seconds)} on {result.device.upper()}. "
            f"Siril's undo brings them back.{notes}"
        )
        return text, previews(picture.values, result.starless), self._look()[0]

    def _progress(self, text: str, share: float) -> None:
        if not self.stop.is_set():
            self.status.setText(text)
        self.bar.setValue(round(share * 1000))

    def _finished(self, answer: tuple[str, Any, Any]) -> None:
        text, arrays, self.state = answer
        self.bar.setValue(1000)
        self.status.setText(text)
        if arrays:
            self._show_images(arrays, "After")

    def _failed(self, line: str) -> None:
        self.bar.setValue(0)
        self.looked = time.monotonic()
        text = line.removeprefix("nox: ")
        self.status.setText(f"{text[:1].upper()}{text[1:]}.")

    def _enable(self) -> None:
        running = self.job == "finished"
        something = bool(self.state) and self.state[0] != "nothing"
        self.go.setText("Cancel" if running else "Remove stars")
        self.go.setEnabled(
            not self.stop.is_set() if running else something and self.job != "loaded"
        )
        self.panel.setEnabled(not running)

    def _close(self, event: Any) -> None:
        if self.job == "finished":  # end the work first: the connection is needed for that
            self.closing = True
            self.stop.set()
            self.status.setText("Cancelling…")
            event.ignore()
            return
        remember(self.si, self._read_settings())
        self._timer.stop()
        event.accept()


def known_models() -> dict[str, str]:
    """The built-in models; the empty key is the default one."""
    from nox_runtime.model import DEFAULT_MODEL, models_folder

    names = sorted(path.stem for path in models_folder().glob("*.onnx"))
    return {("" if name == DEFAULT_MODEL else name): name for name in names}


def known_devices() -> dict[str, str]:
    """The devices that this build of ONNX Runtime has."""
    from nox_runtime.model import available_devices

    labels = {"cpu": "CPU", "cuda": "NVIDIA (CUDA)", "tensorrt": "NVIDIA (TensorRT)",
              "coreml": "Apple (CoreML)", "dml": "DirectML", "openvino": "OpenVINO"}  # fmt: skip
    return {"auto": "Automatic"} | {name: labels.get(name, name) for name in available_devices()}


def loaded_sequence(si: SirilInterface) -> list[Path]:
    """The files of the loaded sequence's frames, those that are left out excepted."""
    sequence = si.get_seq()
    if sequence is None or sequence.type != sirilpy.SequenceType.SEQ_REGULAR:
        raise Problem("only sequences of FITS files can be worked on; convert this one first")
    folder, files = Path(si.get_siril_wd()), []
    for index, frame in enumerate(sequence.imgparam):
        name = si.get_seq_frame_filename(index) if frame is None or frame.incl else None
        if name:
            files.append(folder / name)
    if not files:
        raise Problem("no frame of the sequence is included; include some in Siril's frame list")
    return files


def dress(qt: SimpleNamespace, app: Any, theme: int) -> None:
    """Give the application the colours of Siril's theme, 0 dark or 1 light."""
    back, field_, text, faint, line, accent = THEMES[1 if theme == 1 else 0]
    app.setStyle("Fusion")  # it takes its colours from the palette on every system
    roles, groups = qt.gui.QPalette.ColorRole, qt.gui.QPalette.ColorGroup
    palette = qt.gui.QPalette(qt.gui.QColor(back))
    for names, colour in (
        ("Window", back), ("Button", back), ("Base ToolTipBase", field_), ("AlternateBase", back),
        ("WindowText Text ButtonText ToolTipText", text), ("PlaceholderText", faint),
        ("Highlight Link", accent), ("HighlightedText BrightText", "#ffffff"),
        ("Mid Midlight", line),
    ):  # fmt: skip
        for name in names.split():
            palette.setColor(getattr(roles, name), qt.gui.QColor(colour))
    for name in ("WindowText", "Text", "ButtonText"):
        palette.setColor(groups.Disabled, getattr(roles, name), qt.gui.QColor(faint))
    app.setPalette(palette)
    app.setStyleSheet(f"""
        QWidget {{ font-size: 13px; }}
        QLabel[faint="true"] {{ color: {faint}; }}
        QGroupBox {{ border: 1px solid {line}; border-radius: 6px; margin-top: 20px; }}
        QGroupBox::title {{ subcontrol-origin: margin; left: 2px; color: {faint}; }}
        QGraphicsView {{ background: #1d1d1d; border: 1px solid {line}; border-radius: 4px; }}
        QPushButton {{ background: {field_}; border: 1px solid {line}; border-radius: 4px;
            padding: 5px 12px; }}
        QPushButton:hover, QPushButton:focus {{ border-color: {accent}; }}
        QPushButton:checked, QPushButton#go:enabled {{ background: {accent}; color: #ffffff;
            border-color: {accent}; }}
        QPushButton:disabled {{ color: {faint}; }}
        QPushButton[place="first"] {{ border-top-right-radius: 0; border-bottom-right-radius: 0; }}
        QPushButton[place="middle"] {{ border-radius: 0; border-left: 0; border-right: 0; }}
        QPushButton[place="last"] {{ border-top-left-radius: 0; border-bottom-left-radius: 0; }}
        QProgressBar {{ background: {field_}; border: 0; border-radius: 3px; }}
        QProgressBar::chunk {{ background: {accent}; border-radius: 3px; }}
    """)


def run_window(si: SirilInterface, stop: threading.Event) -> None:
    """Open the window and stay until it is closed."""
    missing = missing_packages()
    if importlib.util.find_spec("PyQt6") is None:
        missing.append("PyQt6")
    if missing:
        question = (
            f"{', '.join(missing)} must be installed into Siril's Python environment first. "
            "This takes a minute and needs the network."
        )
        if DISTRIBUTION in missing:
            question += (
                f" It works once {DISTRIBUTION} is on the package index; until then run "
                "'nox-runtime siril install' in a terminal."
            )
        agreed = si.confirm_messagebox(TITLE, question, "Install")
        if not agreed:
            raise Cancelled
        si.update_progress(f"Installing {', '.join(missing)}", -1.0)
        install(missing)
        si.reset_progress()
    need_runtime(si, False)
    import_runtime()
    qt = import_qt()
    app = qt.widgets.QApplication.instance() or qt.widgets.QApplication([TITLE])
    dress(qt, app, si.get_siril_config("gui", "theme"))
    window = Window(si, qt, recall(si), stop)
    window.window.show()
    app.exec()


def main() -> int:
    """Command mode if Siril was given arguments or has no display, else the window."""
    stop = threading.Event()
    for name in ("SIGTERM", "SIGINT"):  # Siril's Stop button kills outright; see `_sweep`
        signal.signal(getattr(signal, name), lambda *_: stop.set())
    si = SirilInterface()
    try:
        si.connect()
    except SirilError as error:
        print(f"nox: error: no connection to Siril ({_one_line(error)})", file=sys.stderr)
        return 1
    in_window = not si.is_cli()

    def work() -> None:
        if not sirilpy.check_module_version(">=1.0.8"):
            raise Problem("this Siril is too old; nox needs 1.4.0 or later")
        si.cmd("requires", "1.4.0")
        if in_window:
            run_window(si, stop)
        else:
            run_command(si, sys.argv[1:], stop)

    error = guarded(si, work)
    if error and in_window:
        with contextlib.suppress(SirilError):
            si.error_messagebox(error.removeprefix("nox: "))
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
