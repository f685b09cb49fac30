"""The command `nox-runtime run`: many files, one after another or over a cluster."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nox_runtime import __version__
from nox_runtime.errors import NoxError, OutputError, UsageError, reason
from nox_runtime.images import open_image, readable, split_ending
from nox_runtime.inputs import Input, Journal, expand
from nox_runtime.outputs import Outputs, check, check_together, plan_outputs
from nox_runtime.whole import reported

_NAMED = ("stars", "descreened", "mask", "catalog", "preview")
#: Options that a result depends on; those of the journal.
_OPTIONS = (
    "stretch", "linked", "strength", "protect", "keep", "max_size", "min_roundness", "region",
    "hdu", "stack", "overwrite",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One file and its results."""

    path: Path
    outputs: Outputs


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `batch.iter_file`."""
    made = {name: getattr(args, name) for name in _OPTIONS if hasattr(args, name)}
    return made | {"hashes": bool(getattr(args, "json", False))}


def remover_options(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `StarRemover`."""
    return {
        "model": args.model, "device": args.device, "tile": args.tile or None,
        "overlap": args.overlap, "threads": args.threads,
        "passes": getattr(args, "passes", 1), "upsample": getattr(args, "upsample", False),
        "large_stars": getattr(args, "large_stars", False),
    }  # fmt: skip


def _as_folder(output: str | None, several: bool) -> bool:
    """Whether -o names a folder: it is one, ends like one, or there are several inputs."""
    if output is None:
        return False
    path = Path(output)
    return several or path.is_dir() or output.endswith(("/", os.sep)) or not path.suffix


def plan(args: argparse.Namespace) -> list[Job]:
    """Files and results, checked against one another; folders for results are made.

    Raises
    ------
    UsageError
    """
    inputs = expand(args.paths, recursive=args.recursive)
    several = len(inputs) > 1 or any(p.is_dir() for p in args.paths)
    output = Path(args.output) if args.output else None
    if several and any(isinstance(getattr(args, name), str) for name in _NAMED):
        raise UsageError(f"--{', --'.join(_NAMED)} take no PATH with several inputs; use -o FOLDER")
    folder = _as_folder(args.output, several)
    jobs = [Job(item.path, _outputs(item, output, args, folder)) for item in inputs]
    check_together([job.path for job in jobs], [job.outputs for job in jobs])
    _refuse_swallowed(args)
    if folder and output is not None and not args.dry_run:
        for made in {output, *(job.outputs.starless.parent for job in jobs)}:
            try:
                made.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"{made}: cannot be a folder ({error.strerror}); choose another -o"
                ) from error
    return jobs


def _refuse_swallowed(args: argparse.Namespace) -> None:
    """Of ``--overwrite --stars a.fits b.fits`` the first is rather an input than a result."""
    for name in getattr(args, "doubtful", ()):
        value = getattr(args, name)
        if not (args.overwrite and isinstance(value, str) and os.path.lexists(value)):
            continue
        named = split_ending(Path(value))[0].endswith(tuple(f"_{known}" for known in _NAMED))
        if readable(Path(value)) and not named:
            raise UsageError(
                f"{value}: would be replaced by the result of --{name}; if it is an input, give it "
                f"before the options, else write --{name}={value}"
            )


def _outputs(item: Input, output: Path | None, args: argparse.Namespace, folder: bool) -> Outputs:
    named = {}
    for name in _NAMED:
        value = getattr(args, name)
        named[name] = Path(value) if isinstance(value, str) else value
    where = output / item.within if folder and output is not None else output
    return plan_outputs(item.path, where, folder=folder, compress=args.compress, **named)


def _state(path: Path | None) -> list[Any] | None:
    """What shows that a file which a result depends on has changed."""
    if path is None:
        return None
    about = path.stat() if path.exists() else None
    return [str(path.resolve()), about and about.st_size, about and about.st_mtime_ns]


def _journal(args: argparse.Namespace) -> Journal | None:
    if not args.resume:
        return None
    from nox_runtime.model import find_model

    settings = {
        "nox": __version__, "compress": args.compress, "passes": args.passes,
        "model": hashlib.sha256(find_model(args.model).read_bytes()).hexdigest(),
        "upsample": args.upsample, "large_stars": args.large_stars,
        "tile": args.tile, "overlap": args.overlap,
        **{n: getattr(args, n) for n in (*_OPTIONS, *_NAMED) if n != "overwrite"},
        "protect": _state(args.protect), "keep": _state(args.keep),
    }  # fmt: skip
    output = Path(args.output) if args.output else Path()
    path = (output if output.is_dir() else Path()) / "nox-runtime.journal"
    if isinstance(args.resume, str):
        path = Path(args.resume)
    return Journal(path, settings, make=not args.dry_run)


@dataclass
class _Tally:
    """What became of the files; each is told as it comes, and the sum at the end."""

    args: argparse.Namespace
    jobs: int
    skipped: int = 0
    done: int = 0
    failed: int = 0

    def finished(self, report: dict[str, Any]) -> None:
        self.done += 1
        self._print(report)

    def went_wrong(self, job: Job, error: Exception) -> None:
        self.failed += 1
        kind = type(error).__name__
        if not isinstance(error, NoxError):
            error = NoxError(f"{job.path}: {kind}: {reason(error)}")
        complain(error)
        self._print({"input": str(job.path), "error": str(error), "kind": kind})

    def sum_up(self) -> None:
        rest = self.jobs - self.skipped - self.done - self.failed
        counts = {"done": self.done, "failed": self.failed, "skipped": self.skipped}
        self._print({"summary": counts | {"not_done": rest}})
        if (self.jobs > 1 or self.skipped) and not self.args.quiet:
            tail = f", {rest} not begun or dropped" if rest else ""
            said = ", ".join(f"{n} {what}" for what, n in counts.items())
            print(said + tail, file=sys.stderr)

    def _print(self, line: dict[str, Any]) -> None:
        if self.args.json:
            print(json.dumps(line), flush=True)


def _why_skip(job: Job, args: argparse.Namespace, journal: Journal | None) -> str:
    """Why a file is left out, if it is."""
    if journal is not None and journal.done(job.path, job.outputs.wanted()):
        return "done already, says the journal"
    if args.skip_existing and all(p.exists() for p in job.outputs.wanted()):
        return "its results exist"
    return ""


def _refuse_half_done(job: Job, args: argparse.Namespace) -> None:
    """With --skip-existing --overwrite cannot be given; `check` would advise it."""
    there = [path for path in job.outputs.wanted() if path.exists()]
    if args.skip_existing and there:
        raise OutputError(
            f"{there[0]}: exists already, but not all results of {job.path}; remove it, or give "
            "--overwrite instead of --skip-existing"
        )


def run(args: argparse.Namespace, make_remover: Callable[[argparse.Namespace], Any]) -> int:
    """Do all files; 0 if none failed, else 1."""
    jobs = plan(args)
    journal, tally = _journal(args), _Tally(args, len(jobs))
    if args.dry_run:
        return _dry_run(jobs, journal, tally)
    todo = [job for job in jobs if not _why_skip(job, args, journal)]
    tally.skipped = len(jobs) - len(todo)
    try:
        if args.cluster and todo:
            _on_cluster(todo, journal, tally)
        elif todo:
            remover = make_remover(args)
            for job in todo:
                try:
                    _one_of_many(job, remover, journal, tally)
                except BrokenPipeError:  # nobody reads the reports any more
                    raise
                except Exception as error:  # one odd file must not stop the others
                    tally.went_wrong(job, error)
    finally:
        tally.sum_up()
    return 1 if tally.failed else 0


def _one_of_many(job: Job, remover: Any, journal: Journal | None, tally: _Tally) -> None:
    _refuse_half_done(job, tally.args)
    token = "" if journal is None else journal.token(job.path)
    with reported(job.outputs.wanted(), token):
        report = one(job, remover, tally.args, token)
        if journal is not None:
            journal.add(job.path)
    tally.finished(report)


def _on_cluster(todo: list[Job], journal: Journal | None, tally: _Tally) -> None:
    from nox_runtime.cluster import run_files

    args = tally.args
    work = [(job.path, job.outputs) for job in todo]
    tokens = None if journal is None else [journal.token(job.path) for job in todo]
    for index, result in run_files(
        args.cluster, work, remover_options(args), options(args), tokens
    ):
        if isinstance(result, NoxError):
            tally.went_wrong(todo[index], result)
            continue
        if journal is not None:
            journal.add(todo[index].path)
        if not args.quiet:
            tell(result, verbose=args.verbose)
        tally.finished(result)


def _dry_run(jobs: list[Job], journal: Journal | None, tally: _Tally) -> int:
    args = tally.args
    for job in jobs:
        about: dict[str, Any] = {"input": str(job.path)}
        if why := _why_skip(job, args, journal):
            lines = [f"{job.path}: would be left out, {why}"]
            about["skip"] = why
        else:
            try:
                _refuse_half_done(job, args)
                if job.outputs.starless.parent.exists():
                    read = (args.protect, args.keep, args.model)
                    check(job.path, job.outputs, args.overwrite, read)
                with open_image(job.path, hdu=args.hdu, stack=args.stack) as source:
                    about |= {"shape": source.shape, "dtype": source.dtype.name}
            except NoxError as error:
                tally.went_wrong(job, error)
                continue
            made = {k: str(v) for k, v in asdict(job.outputs).items() if v is not None}
            about["outputs"] = made
            lines = [f"{job.path}: {' x '.join(map(str, about['shape']))} {about['dtype']}"]
            lines += [f"  would write {path}" for path in made.values()]
        print(json.dumps(about) if args.json else "\n".join(lines), flush=True)
    return 1 if tally.failed else 0


def one(job: Job, remover: Any, args: argparse.Namespace, token: str = "") -> dict[str, Any]:
    """Process one file under a progress bar and say what was done.

    The token marks the results; see `nox_runtime.whole.reported`.
    """
    from tqdm import tqdm

    from nox_runtime.batch import iter_file

    quiet = getattr(args, "quiet", False)
    report: dict[str, Any] = {}
    with tqdm(desc=job.path.name, unit="tile", disable=quiet, file=sys.stderr) as bar:
        for item in iter_file(job.path, job.outputs, remover, **options(args), token=token):
            if isinstance(item, dict):
                report = item
                continue
            bar.total = item.total
            bar.update(item.done - bar.n)
    if not quiet:
        tell(report, verbose=getattr(args, "verbose", False))
    return report


def tell(report: dict[str, Any], *, verbose: bool) -> None:
    """Say on standard error what was done to a file."""
    stretch, seconds = report["stretch"], report["seconds"]
    lines = [
        f"  stretch {stretch['kind']} ({stretch['reason']}), model {report['model']['name']} "
        f"{report['model']['version']} on {report['device']}, {seconds['total']:.1f} s, "
        f"{report['changed_share']:.1%} of the pixels changed"
    ]
    lines += [f"  note: {note}" for note in report["notes"]]
    if verbose:
        for key in ("black", "white", "midtones", "factor"):
            if stretch[key]:
                lines.append(f"  {key} {', '.join(f'{v:.6g}' for v in stretch[key])}")
        lines.append(
            f"  {report['tiles']} tiles of {report['tile']} px, overlap {report['overlap']} px"
        )
        stages = ", ".join(f"{k} {v:.1f}" for k, v in seconds.items() if k != "total")
        lines.append(f"  seconds: {stages}")
    lines += [f"  wrote {path}" for path in report["outputs"].values()]
    print("\n".join(lines), file=sys.stderr)


def complain(error: NoxError) -> None:
    """One line on standard error."""
    print(f"nox-runtime: error: {error}", file=sys.stderr)
