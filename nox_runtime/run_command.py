"""The command `nox-runtime run`: many files, one after another or over a cluster."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nox_runtime.errors import NoxError, UsageError, reason
from nox_runtime.inputs import Input, Journal, expand
from nox_runtime.outputs import Outputs, check_together, plan_outputs

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
    if folder and output is not None and not args.dry_run:
        for made in {output, *(job.outputs.starless.parent for job in jobs)}:
            try:
                made.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"{made}: cannot be a folder ({error.strerror}); choose another -o"
                ) from error
    return jobs


def _outputs(item: Input, output: Path | None, args: argparse.Namespace, folder: bool) -> Outputs:
    named = {}
    for name in _NAMED:
        value = getattr(args, name)
        named[name] = Path(value) if isinstance(value, str) else value
    where = output / item.within if folder and output is not None else output
    return plan_outputs(item.path, where, folder=folder, compress=args.compress, **named)


def _journal(args: argparse.Namespace) -> Journal | None:
    if not args.resume:
        return None
    settings = {
        "model": args.model, "compress": args.compress, "passes": args.passes,
        "upsample": args.upsample, "tile": args.tile, "overlap": args.overlap,
        **{n: getattr(args, n) for n in (*_OPTIONS, *_NAMED) if n != "overwrite"},
    }  # fmt: skip
    if isinstance(args.resume, str):
        return Journal(Path(args.resume), settings)
    output = Path(args.output) if args.output else Path()
    return Journal((output if output.is_dir() else Path()) / "nox-runtime.journal", settings)


def run(args: argparse.Namespace, make_remover: Callable[[argparse.Namespace], Any]) -> int:
    """Do all files; 0 if none failed, else 1."""
    jobs = plan(args)
    if args.dry_run:
        return _dry_run(jobs, args)
    journal = _journal(args)
    todo, skipped = [], 0
    for job in jobs:
        known = journal is not None and journal.done(job.path, job.outputs.wanted())
        there = args.skip_existing and all(p.exists() for p in job.outputs.wanted())
        if known or there:
            skipped += 1
        else:
            todo.append(job)
    done, failed = 0, 0

    def finished(job: Job, report: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if journal is not None:
            journal.add(job.path)
        if args.json:
            print(json.dumps(report), flush=True)

    try:
        if args.cluster and todo:
            failed = _on_cluster(todo, args, finished)
        elif todo:
            remover = make_remover(args)
            for job in todo:
                try:
                    finished(job, one(job, remover, args))
                except NoxError as error:
                    complain(error)
                    failed += 1
                except BrokenPipeError:  # nobody reads the reports any more
                    raise
                except Exception as error:  # one odd file must not stop the others
                    complain(NoxError(f"{job.path}: {type(error).__name__}: {reason(error)}"))
                    failed += 1
    finally:
        if (len(jobs) > 1 or skipped) and not args.quiet:
            rest = len(todo) - done - failed
            tail = f", {rest} not begun or dropped" if rest else ""
            print(f"{done} done, {failed} failed, {skipped} skipped{tail}", file=sys.stderr)
    return 1 if failed else 0


def _on_cluster(
    todo: list[Job], args: argparse.Namespace, finished: Callable[[Job, dict[str, Any]], None]
) -> int:
    from nox_runtime.cluster import run_files

    failed = 0
    work = [(job.path, job.outputs) for job in todo]
    for index, result in run_files(args.cluster, work, remover_options(args), options(args)):
        if isinstance(result, NoxError):
            complain(result)
            failed += 1
            continue
        if not args.quiet:
            tell(result, verbose=args.verbose)
        finished(todo[index], result)
    return failed


def _dry_run(jobs: list[Job], args: argparse.Namespace) -> int:
    from nox_runtime.images import open_image
    from nox_runtime.outputs import check

    failed = 0
    for job in jobs:
        try:
            missing = not job.outputs.starless.parent.exists()
            if not missing:
                read = (args.protect, args.keep, args.model)
                check(job.path, job.outputs, args.overwrite or args.skip_existing, read)
            with open_image(job.path, hdu=args.hdu, stack=args.stack) as source:
                shape, dtype = source.shape, source.dtype.name
        except NoxError as error:
            complain(error)
            failed += 1
            continue
        written = {k: str(v) for k, v in asdict(job.outputs).items() if v is not None}
        if args.json:
            plan = {"input": str(job.path), "outputs": written, "shape": shape, "dtype": dtype}
            print(json.dumps(plan), flush=True)
        else:
            print(f"{job.path}: {' x '.join(map(str, shape))} {dtype}")
            for path in written.values():
                print(f"  would write {path}")
    return 1 if failed else 0


def one(job: Job, remover: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Process one file under a progress bar and say what was done."""
    from tqdm import tqdm

    from nox_runtime.batch import iter_file

    quiet = getattr(args, "quiet", False)
    report: dict[str, Any] = {}
    with tqdm(desc=job.path.name, unit="tile", disable=quiet, file=sys.stderr) as bar:
        for item in iter_file(job.path, job.outputs, remover, **options(args)):
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
