"""From file to file: open, remove, write, report."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nox_runtime
from nox_runtime import stretch as stretches
from nox_runtime.engine import Step
from nox_runtime.errors import OutputError, UsageError
from nox_runtime.images import Sink, Source, create_image, open_image, output_ending, split_ending
from nox_runtime.preview import Preview
from nox_runtime.removal import Rows, StarRemover
from nox_runtime.stretch import Stretch


@dataclass(frozen=True)
class Outputs:
    """Where the results of one file go; None for those not wanted."""

    starless: Path
    stars: Path | None = None
    preview: Path | None = None

    def wanted(self) -> list[Path]:
        """All of them, in the order in which they are finished."""
        return [p for p in (self.starless, self.stars, self.preview) if p is not None]


def plan_outputs(
    path: Path,
    output: Path | None,
    *,
    stars: Path | bool = False,
    preview: Path | bool = False,
    folder: bool = False,
) -> Outputs:
    """Name the results of a file.

    Parameters
    ----------
    path : Path
        The input.
    output : Path, optional
        A file, or a folder (one that exists, or with `folder`); by default
        ``<name>_starless<ending>`` beside the input.
    stars, preview : Path or bool
        True for the default names, ``_stars`` and ``_preview.png``.
    folder : bool
        Whether `output` is a folder even if it does not exist yet.
    """
    name, ending = split_ending(path)
    ending = output_ending(ending)
    if output is not None and (folder or output.is_dir()):
        starless = output / f"{name}_starless{ending}"
    elif output is not None:
        starless = output
    else:
        starless = path.with_name(f"{name}_starless{ending}")
    stem, out_ending = split_ending(starless)
    if stem.endswith("_starless"):
        stem = stem[: -len("_starless")]

    def beside(asked: Path | bool, tail: str) -> Path | None:
        if asked is True:
            return starless.with_name(stem + tail)
        return asked or None

    return Outputs(starless, beside(stars, f"_stars{out_ending}"), beside(preview, "_preview.png"))


def check_together(inputs: list[Path], planned: list[Outputs]) -> None:
    """Refuse results of several files that would replace one another or an input.

    Raises
    ------
    UsageError
    """
    taken: dict[Path, Path] = {}
    sources = {p.resolve(): p for p in inputs}
    for path, outputs in zip(inputs, planned, strict=True):
        if outputs.preview and outputs.preview.suffix.lower() != ".png":
            raise UsageError(
                f"{outputs.preview}: a preview is a PNG; give it a name ending in .png"
            )
        for out in outputs.wanted():
            real = out.resolve()
            if sources.get(real, path) != path:
                raise UsageError(f"{out}: is an input too; name another folder with -o")
            if real in taken:
                raise UsageError(
                    f"{out}: would be the result of both {taken[real]} and {path}; "
                    "give them names or folders of their own"
                )
            taken[real] = path


def _check(path: Path, outputs: Outputs, overwrite: bool) -> None:
    """Refuse what would lose something, before any work is done."""
    wanted = outputs.wanted()
    check_together([path], [outputs])
    for out in wanted:
        if out.exists() and path.exists() and out.samefile(path):
            raise OutputError(f"{out}: is the input itself; name another output with -o")
        if os.path.lexists(out) and not overwrite:
            raise OutputError(f"{out}: exists already; give --overwrite to replace it")
        if not out.parent.is_dir():
            raise OutputError(f"{out}: its folder does not exist; make it or choose another -o")


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


def iter_file(
    path: Path,
    outputs: Outputs,
    remover: StarRemover,
    *,
    stretch: str = "auto",
    overwrite: bool = False,
) -> Iterator[Step | dict[str, Any]]:
    """Remove the stars from one file; the last item is the report.

    Stopping early leaves no trace.  See `run_file` for the arguments.
    """
    path, began = Path(path), time.monotonic()
    sinks: list[Sink] = []
    try:
        _check(path, outputs, overwrite)
        with open_image(path) as source:
            stats = stretches.statistics(source.sample(), source.dtype)
            used = stretches.choose(stretch, stats)
            sinks = _sinks(source, outputs, remover, used, overwrite)
            preview = Preview(source.shape, flip=source.bottom_up) if outputs.preview else None
            changed, opened = 0, time.monotonic()
            for step, rows in remover.iter_rows(source.read, source.shape, used, stats):
                if rows is not None:
                    _write(sinks, rows)
                    changed += int(np.count_nonzero(rows.residual.any(axis=0)))
                    if preview:
                        preview.add(rows.start, used.forward(rows.picture), rows.residual)
                yield step
            ran = time.monotonic()
            for sink in sinks:
                sink.finish()
            if preview and outputs.preview:
                preview.save(outputs.preview)
            report = _report(path, source, outputs, remover, used)
        report["changed_share"] = changed / (source.shape[1] * source.shape[2])
        report["seconds"] = {
            "open": round(opened - began, 3),
            "remove": round(ran - opened, 3),
            "finish": round(time.monotonic() - ran, 3),
            "total": round(time.monotonic() - began, 3),
        }
        yield report
    except OSError as error:
        raise OutputError(
            f"{outputs.starless}: cannot be written ({error.strerror or error}); "
            "free some space or choose another folder with -o"
        ) from error
    finally:
        for sink in sinks:
            sink.abandon()


def _sinks(
    source: Source, outputs: Outputs, remover: StarRemover, used: Stretch, overwrite: bool
) -> list[Sink]:
    sinks: list[Sink] = []
    todo = [(outputs.starless, "stars removed"), (outputs.stars, "the stars that were removed")]
    try:
        for out, what in todo:
            if out is not None:
                cards, history = _provenance(remover, used, what)
                sink = create_image(
                    out, source, cards, history, difference=bool(sinks), overwrite=overwrite
                )
                sinks.append(sink)
    except BaseException:
        for sink in sinks:
            sink.abandon()
        raise
    return sinks


def _write(sinks: list[Sink], rows: Rows) -> None:
    """Write starless rows, and the stars as the difference from what is in the file."""
    starless, stars = sinks[0].rounded(rows.starless), rows.stars
    if starless is not rows.starless:
        touched = rows.residual != 0
        starless = np.where(touched, starless, rows.picture)
        stars = np.where(touched, rows.picture - starless, 0)
    for sink, part in zip(sinks, (starless, stars), strict=False):
        sink.write(rows.start, part)


def _report(
    path: Path, source: Source, outputs: Outputs, remover: StarRemover, used: Stretch
) -> dict[str, Any]:
    facts, height, width = remover.model.facts, source.shape[1], source.shape[2]
    return {
        "input": str(path),
        "outputs": {k: str(v) for k, v in asdict(outputs).items() if v is not None},
        "shape": list(source.shape),
        "dtype": source.dtype.name,
        "nox": nox_runtime.__version__,
        "model": {"name": facts.name, "version": facts.version, "sha256": facts.weights_sha256},
        "device": remover.model.device,
        "stretch": used.as_dict(),
        "tiles": remover.tiles(height, width),
        "tile": remover.layout.tile,
        "overlap": remover.layout.margin,
        "notes": [*remover.model.notes, *source.notes],
    }


def run_file(
    path: str | Path,
    output: str | Path | None = None,
    *,
    stars: str | Path | bool = False,
    preview: str | Path | bool = False,
    stretch: str = "auto",
    overwrite: bool = False,
    remover: StarRemover | None = None,
) -> dict[str, Any]:
    """Remove the stars from a picture file.

    Parameters
    ----------
    path : str or Path
        FITS, TIFF, PNG or JPEG.
    output : str or Path, optional
        File or folder; by default ``<name>_starless<ending>`` beside the input.
    stars, preview : str, Path or bool
        Also write the stars alone, and a before/after picture; True for the
        default names.
    stretch : {'auto', 'none', 'mtf'}
    overwrite : bool
    remover : StarRemover, optional
        To use one loaded model for many files.

    Returns
    -------
    dict
        The report that ``nox-runtime run --json`` prints.

    Raises
    ------
    NoxError
        One line that names the file, what is wrong and the remedy.
    """
    outputs = plan_outputs(
        Path(path),
        Path(output) if output else None,
        stars=stars if isinstance(stars, bool) else Path(stars),
        preview=preview if isinstance(preview, bool) else Path(preview),
    )
    *_, last = iter_file(
        Path(path), outputs, remover or StarRemover(), stretch=stretch, overwrite=overwrite
    )
    assert isinstance(last, dict)
    return last
