"""From file to file: open, remove, write, report."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nox_runtime
from nox_runtime import controls as controlling
from nox_runtime import stretch as stretches
from nox_runtime import veto_files
from nox_runtime.catalog import Cataloguer
from nox_runtime.catalog import write as write_catalog
from nox_runtime.controls import Controls
from nox_runtime.engine import Elsewhere, Step
from nox_runtime.errors import OutputError, UsageError
from nox_runtime.flow import NativeReader, descreen
from nox_runtime.images import CachedRows, Sink, Source, create_image, open_image
from nox_runtime.images.derived import MaskSource, sky_cards
from nox_runtime.images.fits import FitsSource
from nox_runtime.outputs import Outputs, check, check_together, plan_outputs
from nox_runtime.preview import Preview
from nox_runtime.removal import Rows, StarRemover
from nox_runtime.report import Hashing, describe
from nox_runtime.statistics import Statistics, gathered
from nox_runtime.stretch import Stretch
from nox_runtime.whole import SmallFile, mark

__all__ = ["Options", "Outputs", "check_together", "iter_file", "plan_outputs", "run_file"]


@dataclass(frozen=True)
class Options:
    """How a file is to be done; see `run_file`."""

    stretch: str = "auto"
    linked: bool = False
    strength: float = 1.0
    protect: Path | np.ndarray | None = None
    keep: Any = None
    max_size: float | None = None
    min_roundness: float | None = None
    region: Sequence[int] | None = None
    hdu: int | str | None = None
    stack: bool = False
    overwrite: bool = False
    hashes: bool = False
    #: Marks the results, for a run that may be lost before it can tell of them.
    token: str = ""

    def controls(self, source: Source, stack: ExitStack) -> Controls:
        """The controls, read from their files where they are in files."""
        protect: Any = self.protect
        if isinstance(protect, (str, Path)):
            protect = veto_files.protect_rows(Path(protect), source, stack)
        keep = self.keep
        if isinstance(keep, (str, Path)):
            keep = veto_files.keep_table(Path(keep), source)
        try:
            return controlling.checked(
                source.shape[1:], strength=self.strength, protect=protect, keep=keep,
                max_size=self.max_size, min_roundness=self.min_roundness, region=self.region,
            )  # fmt: skip
        except UsageError as error:
            raise UsageError(f"{source.path}: {error}") from error


class _Results:
    """The files being written for one picture."""

    def __init__(self, outputs: Outputs, options: Options, source: Source) -> None:
        self.outputs, self.options, self.source = outputs, options, source
        self.sinks: dict[str, Sink] = {}
        self.small: list[SmallFile] = []
        self.mask: MaskSource | None = None
        self.preview: Preview | None = None
        self.cataloguer: Cataloguer | None = None
        self.changed = 0

    def begin(self, remover: StarRemover, used: Stretch, stats: Statistics) -> None:
        """Create the files under temporary names."""
        out, source, overwrite = self.outputs, self.source, self.options.overwrite
        todo = (
            ("starless", out.starless, "stars removed"),
            ("stars", out.stars, "the stars that were removed"),
            ("descreened", out.descreened, "the stars, for screen blending"),
        )
        for name, path, what in todo:
            if path is not None:
                cards, history = _provenance(remover, used, what)
                self.sinks[name] = create_image(
                    path, source, cards, history, difference=name != "starless",
                    overwrite=overwrite,
                )  # fmt: skip
        if out.mask is not None:
            self.mask = MaskSource(source, out.mask)
            cards, history = _provenance(remover, used, "the star mask")
            self.sinks["mask"] = create_image(
                out.mask, self.mask, sky_cards(source, out.mask) | cards, history,
                overwrite=overwrite,
            )  # fmt: skip
        if out.preview is not None:
            self.preview = Preview(source.shape, flip=source.bottom_up)
        if out.catalog is not None:
            header = source.header if isinstance(source, FitsSource) else {}
            self.cataloguer = Cataloguer(source.shape, stats, header.get("SATURATE"))

    def write(self, rows: Rows, used: Stretch, stats: Statistics, plane: int) -> None:
        """Write rows, the stars as the difference from what is in the starless file."""
        starless, stars = self.sinks["starless"].rounded(rows.starless), rows.stars
        touched = rows.residual != 0
        if starless is not rows.starless:
            starless = np.where(touched, starless, rows.picture)
            stars = np.where(touched, rows.picture - starless, 0)
        self.sinks["starless"].write(rows.start, starless, plane)
        if "stars" in self.sinks:
            self.sinks["stars"].write(rows.start, stars, plane)
        if "descreened" in self.sinks:
            white = stats.white if stats.white > 0 else 1.0
            screened = descreen(rows.picture, starless, white)
            self.sinks["descreened"].write(rows.start, screened, plane)
        if self.mask is not None:
            mask = self.mask.encoded(np.abs(rows.residual).max(axis=0, keepdims=True))
            self.sinks["mask"].write(rows.start, mask, plane)
        if self.cataloguer is not None:
            self.cataloguer.add(rows.start, rows.residual, stars, rows.picture)
        if self.preview is not None:
            eyes = used.for_eyes()
            before, after = eyes.forward(rows.picture), eyes.forward(starless)
            self.preview.add(rows.start, before, after)
        self.changed += int(np.count_nonzero(touched.any(axis=0)))

    def finish(self) -> None:
        """Make all files whole, and only then give them their names."""
        out, overwrite = self.outputs, self.options.overwrite
        for sink in self.sinks.values():
            sink.complete()
        if self.preview is not None and out.preview:
            self.small.append(
                SmallFile(out.preview, self.preview.write, "--preview", overwrite=overwrite)
            )
        if self.cataloguer is not None and out.catalog:
            table, ending = self.cataloguer.table(self.source.wcs()), out.catalog.suffix

            def write(path: Path) -> None:
                write_catalog(table, path, ending)

            self.small.append(SmallFile(out.catalog, write, "--catalog", overwrite=overwrite))
        made: tuple[Sink | SmallFile, ...] = (*self.sinks.values(), *self.small)
        if self.options.token:
            for file in made:
                mark(file.temporary, file.path, self.options.token)
        for file in made:
            file.finish()

    def abandon(self) -> None:
        """Leave nothing half-written."""
        for sink in self.sinks.values():
            sink.abandon()
        for file in self.small:
            file.abandon()


def _provenance(
    remover: StarRemover, used: Stretch, what: str
) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    facts = remover.model.facts
    cards = {
        "NOXVER": (nox_runtime.__version__, "version of nox"),
        "NOXMODEL": (f"{facts.name} {facts.version}", "model that removed the stars"),
        "NOXSHA": (facts.weights_sha256[:16], "SHA-256 of its weights, first 16"),
    }
    day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    history = [
        f"nox {nox_runtime.__version__} {day}: {what}",
        f"nox: model {facts.name} {facts.version}, stretch {used.kind}, on {remover.model.device}",
    ]
    return cards, history


@dataclass(frozen=True)
class _Part:
    """A picture of a file, or one plane of its stack, to be done by itself."""

    plane: int
    shape: tuple[int, int, int]
    read: NativeReader
    forget: Any


def _parts(source: Source) -> Iterator[_Part]:
    count, height, width = source.shape
    if source.stacked:
        for k in range(count):

            def read(y0: int, y1: int, x0: int, x1: int, k: int = k) -> np.ndarray:
                return source.read_planes(k, k + 1, y0, y1, x0, x1)

            yield _Part(k, (1, height, width), read, lambda row: None)
    elif source.costly:
        cached = CachedRows(source)
        yield _Part(0, source.shape, cached.read, cached.forget)
    else:
        yield _Part(0, source.shape, source.read, lambda row: None)


def iter_file(
    path: Path,
    outputs: Outputs,
    remover: StarRemover,
    *,
    elsewhere: Callable[[Path, int, Stretch, Statistics], Elsewhere] | None = None,
    **options: Any,
) -> Iterator[Step | dict[str, Any]]:
    """Remove the stars from one file; the last item is the report.

    Stopping early leaves no trace.

    Parameters
    ----------
    path : Path
    outputs : Outputs
        See `plan_outputs`.
    remover : StarRemover
    elsewhere : callable, optional
        Gives what does the tiles of a file's plane, stretched so, instead of this
        process; see `nox_runtime.cluster`.
    **options
        As for `run_file`.
    """
    asked = Options(**options)
    path, began = Path(path), time.monotonic()
    busy, notes = remover.model.busy, []  # type: float, list[str]
    with ExitStack() as stack:
        try:
            read = (asked.protect, asked.keep, remover.model.path)
            check(path, outputs, asked.overwrite, read)
            source = stack.enter_context(open_image(path, hdu=asked.hdu, stack=asked.stack))
            if source.stacked and (outputs.preview or outputs.catalog):
                raise UsageError(
                    f"{path}: a stack has no preview and no catalogue; leave them out with --stack"
                )
            controls = asked.controls(source, stack)
            hashing = stack.enter_context(Hashing(path)) if asked.hashes else None
            behind = remover.layout.margin + 2 * remover.layout.multiple
            results = _Results(outputs, asked, source)
            stack.callback(results.abandon)
            opened, gathering, stretched = time.monotonic(), 0.0, []
            for part in _parts(source):
                start = time.monotonic()
                stats = gathered(
                    lambda y0, y1, part=part: part.read(y0, y1, 0, part.shape[2]),  # type: ignore[misc]
                    part.shape, source.dtype, part.forget,
                )  # fmt: skip
                used = stretches.choose(asked.stretch, stats, linked=asked.linked)
                stretched.append(used)
                gathering += time.monotonic() - start
                if not results.sinks:
                    results.begin(remover, used, stats)
                away = elsewhere and elsewhere(path, part.plane, used, stats)
                steps = remover.iter_rows(part.read, part.shape, used, stats, controls, notes, away)
                stack.callback(steps.close)  # type: ignore[attr-defined]
                parts = source.shape[0] if source.stacked else 1
                for step, rows in steps:
                    if rows is not None:
                        results.write(rows, used, stats, part.plane)
                        part.forget(rows.start + rows.starless.shape[1] - behind)
                    yield Step(step.done + part.plane * step.total, step.total * parts)
            ran = time.monotonic()
            results.finish()
            written = {k: v for k, v in asdict(outputs).items() if v is not None}
            report = describe(
                path, source, written, remover, vars(asked), stretched, notes,
                nox_runtime.__version__,
            )  # fmt: skip
            if hashing is not None:
                report["sha256"] = hashing.all({"input": path, **written})
            pixels = int(np.prod(source.shape[1:])) * (source.shape[0] if source.stacked else 1)
            report["changed_share"] = results.changed / pixels
            report["seconds"] = {
                "open": round(opened - began, 3),
                "statistics": round(gathering, 3),
                "remove": round(ran - opened - gathering, 3),
                "network": round(remover.model.busy - busy, 3),
                "finish": round(time.monotonic() - ran, 3),
                "total": round(time.monotonic() - began, 3),
            }
            yield report
        except OSError as error:
            raise OutputError(
                f"{outputs.starless}: cannot be written ({error.strerror or error}); "
                "free some space or choose another folder with -o"
            ) from error


def run_file(
    path: str | Path,
    output: str | Path | None = None,
    *,
    stars: str | Path | bool = False,
    preview: str | Path | bool = False,
    descreened: str | Path | bool = False,
    mask: str | Path | bool = False,
    catalog: str | Path | bool = False,
    remover: StarRemover | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Remove the stars from a picture file.

    Parameters
    ----------
    path : str or Path
        FITS, TIFF, PNG, JPEG or XISF.
    output : str or Path, optional
        File or folder; by default ``<name>_starless<ending>`` beside the input.
    stars, descreened, mask, preview, catalog : str, Path or bool
        Also write the stars alone, the stars for screen blending, the star mask, a
        before/after picture, and a catalogue of the stars (ECSV or FITS by its
        ending); True for the default names.
    remover : StarRemover, optional
        To use one loaded model for many files.
    stretch : {'auto', 'none', 'mtf', 'asinh'}
    linked : bool
        One stretch for all channels.
    strength, max_size, min_roundness, region
        As for `StarRemover.remove`.
    protect : Path or ndarray, optional
        A mask picture or region file, see `nox_runtime.veto_files.protect_rows`; or
        as for `StarRemover.remove`.
    keep : Path, table or sequence, optional
        A catalogue, see `nox_runtime.veto_files.keep_table`; or as for
        `StarRemover.remove`.
    hdu : int or str, optional
        Number, from 0, or name of the FITS HDU; by default the first with a picture.
    stack : bool
        Whether the planes of a FITS cube are pictures of their own, any number.
    overwrite : bool
    hashes : bool
        Whether the report tells the SHA-256 of input and outputs.

    Returns
    -------
    dict
        The report that ``nox-runtime run --json`` prints.

    Raises
    ------
    NoxError
        One line that names the file, what is wrong and the remedy.
    """

    def named(asked: str | Path | bool) -> Path | bool:
        return asked if isinstance(asked, bool) else Path(asked)

    outputs = plan_outputs(
        Path(path), Path(output) if output else None, stars=named(stars),
        preview=named(preview), descreened=named(descreened), mask=named(mask),
        catalog=named(catalog),
    )  # fmt: skip
    *_, last = iter_file(Path(path), outputs, remover or StarRemover(), **options)
    assert isinstance(last, dict)
    return last
