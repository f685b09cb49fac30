"""Over a scheduler and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from conftest import StandIn, starry

pytest.importorskip("distributed")

from nox_runtime import batch, cluster, whole
from nox_runtime.cli import main
from nox_runtime.errors import DeviceError, NoxError
from nox_runtime.images import base
from nox_runtime.outputs import plan_outputs
from nox_runtime.removal import StarRemover

#: Two threads more than a tile needs would change sums: the same everywhere.
OPTIONS = {"model": None, "device": "cpu", "tile": 320, "overlap": None, "threads": 1}


class Cluster:
    """A scheduler and three workers, and the numbers of their processes."""

    def __init__(self, folder: Path) -> None:
        dask = shutil.which("dask", path=str(Path(sys.executable).parent)) or "dask"
        self.log = open(folder / "log", "w")  # noqa: SIM115
        file = folder / "scheduler.json"
        common = {"stdout": self.log, "stderr": self.log, "cwd": folder}
        self.scheduler = subprocess.Popen(
            [dask, "scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1",
             "--scheduler-file", str(file)], **common,
        )  # fmt: skip
        for _ in range(600):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]
        self.workers = [
            subprocess.Popen(
                [dask, "worker", self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny",
                 "--local-directory", str(folder)], **common,
            )
            for _ in range(3)
        ]  # fmt: skip
        from distributed import Client

        with Client(self.address, set_as_default=False) as asking:
            asking.wait_for_workers(3, timeout=120)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:  # a machine with much else to do
                process.kill()
                process.wait()
        self.log.close()


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_mosaic_over_three_workers_one_of_them_killed(
    three: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit what one machine makes, though a worker dies in mid-run."""
    path = tmp_path / "mosaic.fits"
    fits.writeto(path, (starry(560, 700, seed=2)[0] * 50000).astype("u2"))
    alone = batch.run_file(path, tmp_path / "alone.fits", remover=StarRemover(**OPTIONS))  # type: ignore[arg-type]
    assert alone["tiles"] > 12
    seen = []
    result = cluster._result

    def killing(future: object, source: Path) -> np.ndarray:
        made = result(future, source)
        seen.append(time.monotonic())
        if len(seen) == 3:
            os.kill(three.workers[0].pid, signal.SIGKILL)
        return made

    monkeypatch.setattr(cluster, "_result", killing)
    outputs = plan_outputs(path, tmp_path / "spread.fits", stars=True)
    (done,) = cluster.run_files(three.address, [(path, outputs)], OPTIONS, {})
    report = done[1]
    assert isinstance(report, dict), report
    assert len(seen) == alone["tiles"]
    assert three.workers[0].wait(30) == -signal.SIGKILL
    assert report["device"].startswith("cluster of 2 workers")
    expected, got = fits.getdata(tmp_path / "alone.fits"), fits.getdata(tmp_path / "spread.fits")
    np.testing.assert_array_equal(expected, got)
    stars = fits.getdata(tmp_path / "spread_stars.fits")
    np.testing.assert_array_equal(got.astype(int) + stars, fits.getdata(path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_over_three_workers_one_of_them_killed(
    three: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    names = [f"{k}.fits" for k in range(6)]
    for k, name in enumerate(names):
        fits.writeto(tmp_path / name, (starry(200, 220, seed=k)[0] * 50000).astype("u2"))
    (tmp_path / "bad.fits").write_text("nothing " * 999)
    fits.writeto(tmp_path / "there.fits", np.zeros((90, 90), "u2"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "there_starless.fits").write_text("mine")
    outcome, killed = cluster._outcome, []

    def killing(future: object, job: object) -> object:
        if not killed:
            killed.append(three.workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)
        return outcome(future, job)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster, "_outcome", killing)
    code = main([
        "run", *(str(tmp_path / n) for n in (*names, "bad.fits", "there.fits")), "-o", str(out),
        "--cluster", three.address, "--json", "--threads", "1", "--tile", "320",
    ])  # fmt: skip
    assert code == 1
    assert three.workers[0].wait(30) == -signal.SIGKILL
    said = capsys.readouterr()
    *reports, last = map(json.loads, said.out.splitlines())
    assert last["summary"] == {"done": 6, "failed": 2, "skipped": 0, "not_done": 0}
    failures = {Path(r["input"]).name: r["kind"] for r in reports if "error" in r}
    assert failures == {"bad.fits": "ImageError", "there.fits": "OutputError"}
    reports = [r for r in reports if "error" not in r]
    assert sorted(Path(r["input"]).name for r in reports) == names
    assert "6 done, 2 failed" in said.err
    assert "bad.fits: not a readable FITS file" in said.err
    assert "exists already; give --overwrite" in said.err
    assert (out / "there_starless.fits").read_text() == "mine"
    remover = StarRemover(**OPTIONS)  # type: ignore[arg-type]
    for name in names:
        batch.run_file(tmp_path / name, tmp_path / f"one_{name}", remover=remover)
        np.testing.assert_array_equal(
            fits.getdata(out / name.replace(".", "_starless.")),
            fits.getdata(tmp_path / f"one_{name}"),
        )
    assert not list(out.glob(".*"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("where", ["tile", "name"])
def test_a_stop_waits_for_the_workers_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """One worker, in this process, is at a tile or at naming its result when we stop."""
    from distributed import Client

    busy, told = threading.Event(), threading.Event()

    def held() -> None:
        busy.set()
        assert told.wait(60)

    class Slow(StandIn):
        def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
            made = super().__call__(pictures)
            if where == "tile" and len(self.seen) == 12:  # of 9 a file, the second's third
                held()
            return made

    def naming(part: Path, path: Path, overwrite: bool) -> None:
        if where == "name" and path.name == "2_starless.fits":
            held()
        whole.give_name(part, path, overwrite)

    monkeypatch.setattr(base, "give_name", naming)
    worker = StarRemover(Slow(), tile=128)
    monkeypatch.setattr(cluster, "_remover", lambda options: worker)
    paths = [tmp_path / f"{k}.fits" for k in (1, 2, 3)]
    for path in paths:
        fits.writeto(path, (starry()[0] * 50000).astype("u2"))
    assert worker.tiles(150, 170) == 9
    with Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None,
        set_as_default=False,
    ) as client:  # fmt: skip
        monkeypatch.setattr(cluster, "connect", lambda address: client)
        monkeypatch.setattr(client, "close", lambda: None)
        ask = client.run

        def telling(*args: object, **options: object) -> object:
            answer = ask(*args, **options)
            told.set()
            return answer

        monkeypatch.setattr(client, "run", telling)
        work = [(path, plan_outputs(path, None)) for path in paths]
        running = cluster.run_files("here", work, {}, {})
        assert next(running)[0] == 0
        assert busy.wait(60)
        running.close()  # type: ignore[attr-defined]
        assert not cluster._at_work
        left = {p.name for p in tmp_path.iterdir()} - {p.name for p in paths}
        # What had been computed whole is named whole; what had not is dropped.
        second = {"2_starless.fits"} if where == "name" else set()
        assert left == {"1_starless.fits"} | second
        monkeypatch.undo()


def test_no_scheduler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    def nobody(*args: object, **options: object) -> None:
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", nobody)
    with pytest.raises(DeviceError, match=r"tcp://nowhere:1: no dask scheduler answers"):
        next(cluster.run_files("tcp://nowhere:1", [], OPTIONS, {}))


def test_names_of_files_are_whole_for_workers_in_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mask.fits").touch()
    given = {"protect": Path("mask.fits"), "keep": "none.csv", "strength": 1.0, "hdu": None}
    full = cluster._in_full(given, ("protect", "keep"))
    assert full == {**given, "protect": tmp_path / "mask.fits"}


def test_without_dask_the_line_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NoxError, match=r"pip install 'astronox\[dask\]'"):
        cluster.connect("tcp://nowhere:1")


def test_a_model_travels_to_other_processes(remover: StarRemover) -> None:
    again = pickle.loads(pickle.dumps(remover))
    picture = starry(70, 80, 3).astype("f4")
    np.testing.assert_array_equal(again.remove(picture).starless, remover.remove(picture).starless)


class Here:
    """A client whose workers are this process."""

    loop = None

    def scheduler_info(self) -> dict[str, object]:
        return {"workers": {"a": 1, "b": 2}}

    def submit(self, what: Callable[..., object], *args: object, **options: object) -> Future:
        made: Future = Future()
        made.set_result(what(*args))
        return made

    def cancel(self, futures: list[object]) -> None:
        assert not futures


@pytest.fixture
def closing() -> Iterator[None]:
    """Close what a worker would keep open for its next tiles."""
    yield
    for source in cluster._open.values():
        source.close()
    cluster._open.clear()


@pytest.mark.usefixtures("closing")
@pytest.mark.parametrize("region", [None, (200, 330, 40, 300)])
def test_devices_and_fallbacks_of_workers_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: tuple[int, ...] | None
) -> None:
    path = tmp_path / "a.fits"
    fits.writeto(path, (starry(460, 420, seed=2)[0] * 50000).astype("u2"))
    worker = StarRemover(StandIn(), tile=160)
    worker.model.device = "cuda"
    worker.model.note("half precision (stand-in-fp16.onnx)")
    monkeypatch.setattr(cluster, "_remover", lambda options: worker)
    client, local = StandIn(), StandIn()
    options = {"model": client, "tile": 160}
    report = cluster._mosaic(
        Here(), path, plan_outputs(path, tmp_path / "b.fits"), options, {"region": region}
    )
    assert isinstance(report, dict), report
    assert report["device"] == "cluster of 2 workers (cuda)"
    assert report["notes"].count("half precision (stand-in-fp16.onnx)") == 1
    # Not a tile was run by the client, with a region neither.
    assert not client.seen
    assert len(worker.model.seen) == report["tiles"]  # type: ignore[attr-defined]
    assert any("on a cluster" in line for line in fits.getheader(tmp_path / "b.fits")["HISTORY"])
    batch.run_file(path, tmp_path / "c.fits", remover=StarRemover(local, tile=160), region=region)
    np.testing.assert_array_equal(
        fits.getdata(tmp_path / "b.fits"), fits.getdata(tmp_path / "c.fits")
    )


def test_a_worker_replaces_nothing_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "a.fits", tmp_path / "b.fits"
    fits.writeto(path, (starry()[0] * 50000).astype("u2"))
    monkeypatch.setattr(cluster, "_remover", lambda options: StarRemover(StandIn(), tile=128))
    outputs = plan_outputs(path, out, stars=True, preview=True)
    out.write_text("another program's")
    refused = cluster._do_file(path, outputs, {}, {"token": "run"})
    assert isinstance(refused, NoxError)
    assert "exists already" in str(refused)
    assert out.read_text() == "another program's"
    assert isinstance(cluster._do_file(path, outputs, {}, {"overwrite": True}), dict)


def test_a_worker_takes_up_what_a_lost_one_could_not_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "a.fits", tmp_path / "b.fits"
    fits.writeto(path, (starry()[0] * 50000).astype("u2"))
    monkeypatch.setattr(cluster, "_remover", lambda options: StarRemover(StandIn(), tile=128))
    outputs = plan_outputs(path, out, stars=True, preview=True)
    for _ in range(2):  # the second finds the results of the first, and their marks
        assert isinstance(cluster._do_file(path, outputs, {}, {"token": "run"}), dict)
    another = cluster._do_file(path, outputs, {}, {"token": "another run"})
    assert isinstance(another, NoxError)
    # Nor when a worker is lost after its last word, before the result has come over.
    done: Future = Future()
    done.set_result(None)
    again = {"token": "run"}
    monkeypatch.setattr(done, "result", lambda: cluster._do_file(path, outputs, {}, again))
    assert isinstance(cluster._outcome(done, (path, outputs)), dict)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.fits", "b.fits", "b_preview.png", "b_stars.fits"
    ]  # fmt: skip
