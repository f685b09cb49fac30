"""The command `nox-runtime`.

Only this module and `run_command` print; heavy imports wait until a command needs them.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from nox_runtime import __version__, arguments
from nox_runtime.errors import NoxError, UsageError


def _remover(args: argparse.Namespace) -> Any:
    from nox_runtime.removal import StarRemover
    from nox_runtime.run_command import remover_options

    return StarRemover(**remover_options(args))


def _run(args: argparse.Namespace) -> int:
    from nox_runtime.run_command import run

    return run(args, _remover)


def _demo(args: argparse.Namespace) -> int:
    from nox_runtime.outputs import Outputs, check
    from nox_runtime.run_command import Job, one
    from nox_runtime.samples import sample

    outputs = Outputs(
        args.output / f"{args.sample}_starless.fits",
        args.output / f"{args.sample}_stars.fits",
        args.output / f"{args.sample}_preview.png",
    )
    args.output.mkdir(parents=True, exist_ok=True)
    check(args.output, outputs, args.overwrite)  # before anything is fetched
    path = sample(args.sample)
    args.stretch = "auto"
    one(Job(path, outputs), _remover(args), args)
    for out in outputs.wanted():
        print(out.resolve())
    return 0


def _about(args: argparse.Namespace) -> int:
    """What a picture is: its size, values and stretch, of each plane of a stack."""
    from nox_runtime import stretch
    from nox_runtime.images import open_image
    from nox_runtime.statistics import gathered

    with open_image(args.path, hdu=args.hdu, stack=args.stack) as source:
        count, height, width = source.shape
        print(f"{args.path}: {' x '.join(map(str, source.shape))} {source.dtype}")
        for first in range(count) if source.stacked else [0]:
            last = first + 1 if source.stacked else count

            def rows(y0: int, y1: int, first: int = first, last: int = last) -> Any:
                return source.read_planes(first, last, y0, y1, 0, width)

            stats = gathered(rows, (last - first, height, width), source.dtype)
            used = stretch.choose("auto", stats)
            medians = ", ".join(f"{m:.6g}" for m in stats.median)
            plane = f"plane {first}: " if source.stacked else ""
            print(f"{plane}values {stats.low:.6g} to {stats.high:.6g}, median {medians}")
            print(f"{plane}stretch {used.kind} ({used.reason})")
        for note in source.notes:
            print(f"note: {note}")
    return 0


def _info(args: argparse.Namespace) -> int:
    if args.path is not None:
        return _about(args)
    from nox_runtime import devices
    from nox_runtime.model import load_model

    model = load_model(args.model, device=args.device)
    import onnxruntime  # there, or load_model had said so

    free = devices.free_memory(model.device)
    print(f"nox {__version__}, ONNX Runtime {onnxruntime.__version__}")
    print(f"model {model.facts.name} {model.facts.version} ({model.path})")
    print(f"device {model.device}, tiles of {devices.tile_for(model.device, free)} px"
          + (f" ({free / 1e9:.1f} GB of memory free)" if free else ""))  # fmt: skip
    for line in devices.why(onnxruntime.get_available_providers()):
        print(f"  {line}")
    for note in model.notes:
        print(f"note: {note}")
    return 0


def _models(args: argparse.Namespace) -> int:
    from nox_runtime.fetching import REGISTRY, fetch
    from nox_runtime.model import DEFAULT_MODEL, available_models

    if (args.what is not None) != (args.action == "fetch"):
        raise UsageError("write nox-runtime models fetch NAME, or nox-runtime models list")
    if args.action == "fetch":
        path, new = fetch(args.what, args.sha256)
        print(f"{path.stem}: {'fetched' if new else 'there already'}, {path}")
        return 0
    entries = available_models()
    for entry in entries:
        facts, default = entry.facts, ", default" if entry.name == DEFAULT_MODEL else ""
        print(
            f"{entry.name}: version {facts.version}, {facts.channels} channels, "
            f"{entry.bytes / 1e6:.1f} MB, {facts.licence}, "
            f"{'fetched' if entry.fetched else 'built in'}{default}\n  {facts.training}"
        )
    for name in sorted(set(REGISTRY) - {entry.name for entry in entries}):
        print(f"{name}: to be had by nox-runtime models fetch {name}")
    return 0


def _siril(args: argparse.Namespace) -> int:
    from nox_runtime.siril import run_command

    return run_command(args)


def _complain(error: NoxError) -> None:
    print(f"nox-runtime: error: {error}", file=sys.stderr)


def _stop(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run `nox-runtime`; return its exit code (0 all done, 1 some failed, 2 usage)."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = arguments.parser().parse_args(words)
    args.doubtful = arguments.before_inputs(words, getattr(args, "paths", ()))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe may not have all letters of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    # tifffile logs what it raises as well; one line is enough.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # so that they leave nothing half-written
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
                signal.signal(getattr(signal, name), _stop)
    try:
        calls = {
            "run": _run, "demo": _demo, "info": _info, "models": _models, "siril": _siril,
        }  # fmt: skip
        return int(calls[args.command](args))
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
