"""Over many machines, with dask.distributed: the files, or the tiles of one mosaic.

A worker is a process of ``dask worker`` that sees the files under the same names.  It
loads the model once and keeps it.  What a lost worker was at is done again by another.
"""

from __future__ import annotations

import glob
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.batch import iter_file
from nox_runtime.engine import Elsewhere, Tile, tile_residual
from nox_runtime.errors import DeviceError, NoxError, UsageError, reason
from nox_runtime.flow import floor_of, for_display, region_window
from nox_runtime.images import Source, open_image
from nox_runtime.model import built_in
from nox_runtime.outputs import Outputs, check
from nox_runtime.removal import StarRemover
from nox_runtime.statistics import Statistics
from nox_runtime.stretch import Stretch
from nox_runtime.whole import reported, take_back

_INSTALL = "pip install 'astronox[dask]'"
#: Tiles or files a worker has before it, so that it never waits for the network.
_AHEAD = 2

#: Seconds that a stop waits for workers: they are at a tile, or at naming their results.
_PATIENCE = 120.0

_lock = threading.Lock()
_removers: dict[str, StarRemover] = {}
#: The last picture that this worker read tiles of.
_open: dict[tuple[Any, ...], Source] = {}
#: Tokens of the files that this worker is at, and of those that their client has dropped.
_at_work: set[str] = set()
_unwanted: set[str] = set()


def connect(address: str) -> Any:
    """A client of the scheduler at `address`, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    UsageError
        dask is not installed.
    DeviceError
        There is no scheduler, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(f"--cluster needs dask; install it with {_INSTALL}") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise DeviceError(
            f"{address}: no dask scheduler answers ({reason(error)}); start one with "
            "'dask scheduler', or check the address"
        ) from error
    if not client.scheduler_info()["workers"]:
        client.close()
        raise DeviceError(
            f"{address}: the scheduler has no workers; start some with 'dask worker {address}'"
        )
    return client


def _remover(options: dict[str, Any]) -> StarRemover:
    """This worker's own, loaded once."""
    key = repr(sorted(options.items()))
    with _lock:
        if key not in _removers:
            _removers[key] = StarRemover(**options)
        return _removers[key]


def _do_file(
    path: Path, outputs: Outputs, remover: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any] | NoxError:
    """What a worker does for one file; errors that users meet come back as values."""
    token, report = options.get("token", ""), None
    _at_work.add(token)
    try:
        if token:  # of a worker that was lost before it could tell of them
            for out in outputs.wanted():
                take_back(out, token)
        with closing(iter_file(path, outputs, _remover(remover), **options)) as steps:  # type: ignore[type-var]
            while token not in _unwanted and not isinstance(report, dict):
                report = next(steps)
    except NoxError as error:
        return error
    finally:
        _at_work.discard(token)
        _unwanted.discard(token)
    return report if isinstance(report, dict) else NoxError(f"{path}: stopped by its client")


def _give_up(tokens: list[str]) -> bool:
    """Tell this worker which files are not wanted any more; whether it is still at one."""
    _unwanted.update(tokens)
    return not _at_work.isdisjoint(tokens)


def run_files(
    address: str,
    work: list[tuple[Path, Outputs]],
    remover: dict[str, Any],
    options: dict[str, Any],
    tokens: list[str] | None = None,
) -> Iterator[tuple[int, dict[str, Any] | NoxError]]:
    """Remove the stars from files on a cluster; one file's tiles are spread over it.

    Parameters
    ----------
    address : str
        Of the scheduler.
    work : list of (Path, Outputs)
        Under names that all workers know.
    remover, options : dict
        The keywords of `StarRemover` and of `nox_runtime.batch.iter_file`.
    tokens : list of str, optional
        That mark each file's results, so that another run can tell its own.

    Yields
    ------
    index : int
        Of the work that is done; in the order in which it is.
    result : dict or NoxError
        The report, or what went wrong.

    Raises
    ------
    UsageError, DeviceError
    """
    if built_in(str(remover.get("model"))) is None:
        remover = _in_full(remover, ("model",))
    options = _in_full(options, ("protect", "keep"))
    client = connect(address)
    waiting: dict[Any, int] = {}
    if tokens is None:
        tokens = [uuid.uuid4().hex for _ in work]
    try:
        if len(work) == 1:
            with reported(work[0][1].wanted(), tokens[0]):
                marked = {**options, "token": tokens[0]}
                done = _mosaic(client, *work[0], remover, marked)
            yield 0, done
            return
        from distributed import as_completed

        for index, (path, outputs) in enumerate(work):
            try:
                for out in outputs.wanted():
                    take_back(out, tokens[index])
                check(path, outputs, options.get("overwrite", False))
            except NoxError as error:
                yield index, error
                continue
            future = client.submit(
                _do_file, path.resolve(), _resolved(outputs), remover,
                {**options, "token": tokens[index]}, pure=False, retries=2,
            )  # fmt: skip
            waiting[future] = index
        for future in as_completed(list(waiting), loop=client.loop):
            index = waiting[future]
            result = _outcome(future, work[index])
            del waiting[future]
            yield index, result
    finally:
        try:
            if waiting:
                _stop(client, list(waiting), [tokens[k] for k in waiting.values()])
        finally:
            for index in waiting.values():
                _clean(work[index][1])
            client.close()


def _stop(client: Any, futures: list[Any], tokens: list[str]) -> None:
    """Drop files, and wait until no worker is at one: it would name its results later."""
    client.cancel(futures)
    until = time.monotonic() + _PATIENCE
    with suppress(OSError, TimeoutError):  # the scheduler may be what has gone
        while time.monotonic() < until:
            if not any(client.run(_give_up, tokens, on_error="ignore").values()):
                return
            time.sleep(0.1)


def _clean(outputs: Outputs) -> None:
    """Remove the marks of a file's results, and what a worker left that was killed."""
    for out in outputs.wanted():
        for stale in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
            stale.unlink(missing_ok=True)


def _outcome(future: Any, job: tuple[Path, Outputs]) -> dict[str, Any] | NoxError:
    path, outputs = job
    try:
        error = future.exception()
        # A worker may be lost even now; another then does the file again, by the marks.
        result: dict[str, Any] | NoxError | None = None if error else future.result()
    finally:
        _clean(outputs)
    if result is None:
        return DeviceError(f"{path}: the cluster failed ({reason(error)}); see its workers' logs")
    if isinstance(result, dict):
        result["input"] = str(path)
    return result


def _in_full(keywords: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The same with whole names of files: a worker may have started in another folder."""
    full = dict(keywords)
    for name in names:
        value = full.get(name)
        if isinstance(value, (str, Path)) and Path(value).is_file():
            full[name] = type(value)(Path(value).resolve())
    return full


def _resolved(outputs: Outputs) -> Outputs:
    full = {
        name: None if value is None else value.resolve() for name, value in vars(outputs).items()
    }
    return Outputs(**full)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Picture:
    """What a worker needs to know of a plane to do its tiles."""

    path: Path
    hdu: int | str | None
    stack: bool
    plane: int
    stretch: Stretch
    median: tuple[float, ...]
    floor: float
    region: tuple[int, ...] | None


@dataclass(frozen=True)
class _Done:
    """A tile's residual, and what ran it."""

    residual: np.ndarray
    device: str
    notes: tuple[str, ...]


def _do_tile(picture: _Picture, tile: Tile, remover: dict[str, Any]) -> _Done:
    """What a worker does for one tile."""
    own = _remover(remover)
    source = _source(picture)
    first, last = (picture.plane, picture.plane + 1) if picture.stack else (0, source.shape[0])
    # Tiles are counted from where those of the region begin.
    top, bottom, left, right = region_window(*source.shape[1:], own.layout, picture.region)

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        window = source.read_planes(first, last, top + y0, top + y1, left + x0, left + x1)
        return for_display(window, picture.stretch, picture.median)

    layout = replace(own.layout, floor=picture.floor)
    residual = tile_residual(read, tile, bottom - top, right - left, own.runs, layout)
    return _Done(residual, own.model.device, tuple(own.model.notes))


def _source(picture: _Picture) -> Source:
    """The picture, opened once; a changed file is opened anew."""
    key = (picture.path, picture.hdu, picture.stack, picture.path.stat().st_mtime_ns)
    with _lock:
        if key not in _open:
            _open.clear()  # closed with its last reader
            _open[key] = open_image(picture.path, hdu=picture.hdu, stack=picture.stack)
        return _open[key]


@dataclass
class _Spread:
    """A cluster that does tiles, and what is known of its workers afterwards."""

    client: Any
    remover: dict[str, Any]
    options: dict[str, Any]
    devices: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def begin(self, path: Path, plane: int, stretch: Stretch, stats: Statistics) -> Elsewhere:
        """What `iter_file` takes as `elsewhere`."""
        region = self.options.get("region")
        picture = _Picture(
            path.resolve(), self.options.get("hdu"), self.options.get("stack", False), plane,
            stretch, stats.median, floor_of(stretch, stats),
            None if region is None else tuple(int(v) for v in region),
        )  # fmt: skip

        def residuals(tiles: list[Tile]) -> Iterator[np.ndarray]:
            todo, asked = iter(tiles), deque[Any]()
            try:
                while True:
                    room = _AHEAD * max(1, len(self.client.scheduler_info()["workers"]))
                    while len(asked) < room and (tile := next(todo, None)) is not None:
                        asked.append(
                            self.client.submit(
                                _do_tile, picture, tile, self.remover, pure=False, retries=2
                            )
                        )
                    if not asked:
                        return
                    done = _result(asked.popleft(), path)
                    self.devices.add(done.device)
                    self.notes += [note for note in done.notes if note not in self.notes]
                    yield done.residual
            finally:
                self.client.cancel(list(asked))

        return residuals


def _result(future: Any, path: Path) -> _Done:
    try:
        done = future.result()
    except NoxError:
        raise
    except Exception as error:  # whatever a worker met, and that too many of them died
        raise DeviceError(
            f"{path}: the cluster failed ({reason(error)}); see its workers' logs"
        ) from error
    assert isinstance(done, _Done)
    return done


def _mosaic(
    client: Any, path: Path, outputs: Outputs, remover: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any] | NoxError:
    """One file, its tiles done by the workers, blended and written here."""
    try:
        # Only its facts and layout are used here; the tiles must be those of the workers.
        here = StarRemover(**{**remover, "device": "cpu"})
        here.model.device = "a cluster"  # for the history in the results
        spread = _Spread(client, {**remover, "tile": here.layout.tile}, options)
        *_, report = iter_file(path, outputs, here, elsewhere=spread.begin, **options)
    except NoxError as error:
        return error
    assert isinstance(report, dict)
    count = len(client.scheduler_info()["workers"])
    report["device"] = f"cluster of {count} workers ({', '.join(sorted(spread.devices))})"
    report["notes"] += [note for note in spread.notes if note not in report["notes"]]
    return report
