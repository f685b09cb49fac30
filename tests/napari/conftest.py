"""What the napari tests share: FITS files, pictures, and a window where there is one."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

#: Where this is set, window tests that cannot run are an error: a green run then means that
#: the window was tested.
REQUIRED = bool(os.environ.get("NOX_REQUIRE_WINDOW"))
if REQUIRED:
    import napari  # noqa: F401
else:
    pytest.importorskip(
        "napari", reason="napari is not installed (pip install --group test-napari)"
    )


#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000


def pytest_configure(config: pytest.Config) -> None:
    # Other people's futures: what napari, vispy and Qt warn about among themselves.
    for line in (
        "ignore::DeprecationWarning:napari.*",
        "ignore::FutureWarning:napari.*",
        "ignore::DeprecationWarning:vispy.*",
        "ignore::DeprecationWarning:superqt.*",
        "ignore::DeprecationWarning:npe2.*",
        "ignore::DeprecationWarning:pydantic.*",
        "ignore::DeprecationWarning:magicgui.*",
        "ignore::ResourceWarning",
        "ignore:.*Public access to Window.qt_viewer:FutureWarning",
    ):
        config.addinivalue_line("filterwarnings", line)


def why_no_window(config: pytest.Config) -> str | None:
    """Why no window can be opened here, or None."""
    if not config.pluginmanager.hasplugin("pytest-qt"):
        return "needs the plugins of Qt and napari: sh tests/napari/run.sh python"
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return "no display; install xvfb, then sh tests/napari/run.sh python"
    try:
        from qtpy import QtWidgets  # noqa: F401
    except Exception as error:  # a binding that is there may still lack system libraries
        return f"no Qt: {error}"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Before any fixture: without a display Qt would end the whole process.
    reason = why_no_window(config)
    windowed = [i for i in items if {"qtbot", "opened"} & set(getattr(i, "fixturenames", ()))]
    if reason is None or not windowed:
        return
    if REQUIRED:
        raise pytest.UsageError(f"NOX_REQUIRE_WINDOW is set, and there is no window: {reason}")
    for item in windowed:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def fits_file(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A function that writes HDUs to a file and gives its path."""
    from astropy.io import fits

    def write(*hdus: fits.hdu.base._BaseHDU | np.ndarray, name: str = "m31.fits") -> Path:
        made = [fits.PrimaryHDU(h) if isinstance(h, np.ndarray) else h for h in hdus]
        path = tmp_path / name
        fits.HDUList(made).writeto(path)
        return path

    return write


class Gated:
    """A stand-in model that waits at each tile until it is let through, or fails at one."""

    def __new__(cls, *, error: Exception | None = None, at: int = 1):  # type: ignore[no-untyped-def]
        from conftest import StandIn

        class Model(StandIn):
            def __init__(self) -> None:
                super().__init__()
                self.gate = threading.Semaphore(0)
                self.error = error
                self.calls = 0

            def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
                self.calls += 1
                if self.error is None:
                    assert self.gate.acquire(timeout=WAIT / 1000)
                elif self.calls >= at:
                    raise self.error
                return super().__call__(pictures)

        return Model()


@pytest.fixture
def gated():  # type: ignore[no-untyped-def]
    """Makes gated models; all are let go at the end."""
    made = []

    def make(**kwargs):  # type: ignore[no-untyped-def]
        made.append(Gated(**kwargs))
        return made[-1]

    yield make
    for model in made:
        model.gate.release(10_000)


def sky(dtype: str = "u2", shape: tuple[int, ...] = (150, 170), channels: int = 3) -> np.ndarray:
    """A starry picture as layers have it: (H, W), or (H, W, 3)."""
    from conftest import starry

    picture = starry(*shape, channels)
    picture = np.moveaxis(picture, 0, -1) if channels == 3 else picture[0]
    if np.dtype(dtype).kind in "ui":
        return (picture * np.iinfo(dtype).max * 0.9).astype(dtype)
    return picture.astype(dtype)


@pytest.fixture
def make_sky():  # type: ignore[no-untyped-def]
    return sky


@pytest.fixture
def ended(qtbot):  # type: ignore[no-untyped-def]
    """Waits for the end of a panel's run."""
    return lambda panel: qtbot.waitUntil(lambda: panel._job is None, timeout=WAIT)


@pytest.fixture
def settled(qtbot):  # type: ignore[no-untyped-def]
    """Waits until no thread works any more, and until all that they sent has arrived."""
    from qtpy.QtCore import QThreadPool
    from qtpy.QtWidgets import QApplication

    def wait() -> None:
        assert QThreadPool.globalInstance().waitForDone(WAIT)
        for _ in range(20):  # what has arrived may ask for a turn of its own
            QApplication.processEvents()

    return wait


@pytest.fixture
def notified():  # type: ignore[no-untyped-def]
    """Gives the notifications so far, of one severity."""
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()

    def seen(severity: str = "error") -> list[str]:
        records = notification_manager.records
        return [str(n.message) for n in records if str(n.severity) == severity]

    yield seen
    # Their tracebacks hold the window, which napari's fixture wants to see go.
    notification_manager.records.clear()
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)


@pytest.fixture
def full_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A folder on a full disk: what is written there goes to /dev/full."""
    import builtins
    import io

    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    folder = tmp_path / "disk"
    folder.mkdir()
    real = builtins.open

    def full(file, *args, **kwargs):  # type: ignore[no-untyped-def]
        mode = str(args[0] if args else kwargs.get("mode", "r"))
        writes = set(mode) & set("wa+x") and str(file).startswith(str(folder))
        return real("/dev/full" if writes else file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", full)
    monkeypatch.setattr(io, "open", full)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """Opens a viewer with the panel docked; the model is the stand-in, or `model=`."""
    from conftest import FACTS, StandIn
    from napari.utils.notifications import notification_manager
    from qtpy.QtCore import QThreadPool

    from nox_napari import job, models, panel
    from nox_runtime.model import ModelEntry

    qtbot = request.getfixturevalue("qtbot")
    make = request.getfixturevalue("make_napari_viewer")
    entry = ModelEntry("stand-in", Path("stand-in.onnx"), FACTS, 18_200_000)
    monkeypatch.setattr(models, "available_models", lambda: [entry])
    monkeypatch.setattr(models, "available_devices", lambda: ["cpu"])
    # On one core there would be one: the run that waits for a cancelled one never began.
    QThreadPool.globalInstance().setMaxThreadCount(4)
    notification_manager.records.clear()

    def open_(*, show: bool = False, model: object = None):  # type: ignore[no-untyped-def]
        used = StandIn() if model is None else model
        monkeypatch.setattr(job, "load_model", lambda *_, **__: used)
        viewer = make()
        if show:  # napari's own waits for five seconds at most
            viewer.window.show()
            handle = viewer.window._qt_window.windowHandle()
            qtbot.waitUntil(handle.isExposed, timeout=WAIT)
        made = panel.StarRemovalPanel(viewer)
        viewer.window.add_dock_widget(made, name="Remove stars", area="right")
        qtbot.waitUntil(lambda: made.form.model.count() == 2, timeout=WAIT)
        made.form.tile.setValue(256)
        return viewer, made

    return open_
