"""Over many machines, with dask.distributed: the files, or the tiles of one mosaic.

A worker is a process of ``dask worker`` that sees the files under the same names.  It
loads the model once and keeps it.  What a lost worker was at is done again by another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.batch import iter_file
from nox_runtime.engine import Elsewhere, Tile, tile_residual
from nox_runtime.errors import DeviceError, NoxError, UsageError, reason
from nox_runtime.images import Source, open_image
from nox_runtime.outputs import Outputs, check
from nox_runtime.removal import StarRemover
from nox_runtime.statistics import Statistics
from nox_runtime.stretch import Stretch

_INSTALL = "pip install 'astronox[dask]'"
#: Tiles or files a worker has before it, so that it never waits for the network.
_AHEAD = 2

_lock = threading.Lock()
_removers: dict[str, StarRemover] = {}
#: The last picture that this worker read tiles of.
_open: dict[tuple[Any, ...], Source] = {}


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
    try:
        # The client has seen that nothing is in the way: what is there now was made by
        # a worker that was lost before it could say so.
        *_, report = iter_file(path, outputs, _remover(remover), **{**options, "overwrite": True})
    except NoxError as error:
        return error
    assert isinstance(report, dict)
    return report


def run_files(
    address: str,
    work: list[tuple[Path, Outputs]],
    remover: dict[str, Any],
    options: dict[str, Any],
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
    client = connect(address)
    try:
        if len(work) == 1:
            yield 0, _mosaic(client, *work[0], remover, options)
            return
        waiting: dict[Any, int] = {}
        from distributed import as_completed

        for index, (path, outputs) in enumerate(work):
            try:
                check(path, outputs, options.get("overwrite", False))
            except NoxError as error:
                yield index, error
                continue
            future = client.submit(
                _do_file, path.resolve(), _resolved(outputs), remover, options,
                pure=False, retries=2,
            )  # fmt: skip
            waiting[future] = index
        for future in as_completed(list(waiting), loop=client.loop):
            index = waiting[future]
            yield index, _outcome(future, work[index])
    finally:
        client.close()


def _outcome(future: Any, job: tuple[Path, Outputs]) -> dict[str, Any] | NoxError:
    path, outputs = job
    for out in outputs.wanted():  # left by a worker that was killed
        for stale in out.parent.glob(f".{out.name}.*.part"):
            stale.unlink(missing_ok=True)
    error = future.exception()
    if error is None:
        result: dict[str, Any] | NoxError = future.result()
        if isinstance(result, dict):
            result["input"] = str(path)
        return result
    return DeviceError(f"{path}: the cluster failed ({reason(error)}); see its workers' logs")


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


def _do_tile(picture: _Picture, tile: Tile, remover: dict[str, Any]) -> np.ndarray:
    """What a worker does for one tile: its residual."""
    own = _remover(remover)
    median = np.array(picture.median)[:, None, None]
    source = _source(picture)
    first, last = (picture.plane, picture.plane + 1) if picture.stack else (0, source.shape[0])

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        window = source.read_planes(first, last, y0, y1, x0, x1)
        if window.dtype.kind == "f":
            window = np.where(np.isfinite(window), window, median)
        return picture.stretch.forward(window)

    return tile_residual(read, tile, *source.shape[1:], own.runs, own.layout)


def _source(picture: _Picture) -> Source:
    """The picture, opened once; a changed file is opened anew."""
    key = (picture.path, picture.hdu, picture.stack, picture.path.stat().st_mtime_ns)
    with _lock:
        if key not in _open:
            _open.clear()  # closed with its last reader
            _open[key] = open_image(picture.path, hdu=picture.hdu, stack=picture.stack)
        return _open[key]


def spread(client: Any, remover: dict[str, Any], options: dict[str, Any]) -> Any:
    """What `iter_file` takes as `elsewhere`: a cluster that does its tiles."""

    def begin(path: Path, plane: int, stretch: Stretch, stats: Statistics) -> Elsewhere:
        picture = _Picture(
            path.resolve(), options.get("hdu"), options.get("stack", False), plane, stretch,
            stats.median,
        )  # fmt: skip

        def residuals(tiles: list[Tile]) -> Iterator[np.ndarray]:
            todo, asked = iter(tiles), deque[Any]()
            try:
                while True:
                    room = _AHEAD * max(1, len(client.scheduler_info()["workers"]))
                    while len(asked) < room and (tile := next(todo, None)) is not None:
                        asked.append(
                            client.submit(_do_tile, picture, tile, remover, pure=False, retries=2)
                        )
                    if not asked:
                        return
                    yield _result(asked.popleft(), path)
            finally:
                client.cancel(list(asked))

        return residuals

    return begin


def _result(future: Any, path: Path) -> np.ndarray:
    try:
        return np.asarray(future.result())
    except NoxError:
        raise
    except Exception as error:  # whatever a worker met, and that too many of them died
        raise DeviceError(
            f"{path}: the cluster failed ({reason(error)}); see its workers' logs"
        ) from error


def _mosaic(
    client: Any, path: Path, outputs: Outputs, remover: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any] | NoxError:
    """One file, its tiles done by the workers, blended and written here."""
    try:
        # Only its facts and layout are used here; the tiles must be those of the workers.
        here = StarRemover(**{**remover, "device": "cpu"})
        options = dict(options)
        *_, report = iter_file(
            path, outputs, here,
            elsewhere=spread(client, {**remover, "tile": here.layout.tile}, options), **options,
        )  # fmt: skip
    except NoxError as error:
        return error
    assert isinstance(report, dict)
    count = len(client.scheduler_info()["workers"])
    report["device"] = f"cluster of {count} workers"
    return report
