"""What the napari tests share: FITS files, pictures, and a window where there is one."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed (pip install --group test-napari)")


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


def why_no_window() -> str | None:
    """Why no window can be opened here, or None."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return "no display; install xvfb and run sh tests/napari/run.sh python"
    try:
        import pytestqt  # noqa: F401
        from qtpy import QtWidgets  # noqa: F401
    except Exception as error:  # a binding that is there may still lack system libraries
        return f"no Qt: {error}"
    return None


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
    """A stand-in model that waits at each tile until it is let through, or fails."""

    def __new__(cls, *, error: Exception | None = None):  # type: ignore[no-untyped-def]
        from conftest import StandIn

        class Model(StandIn):
            def __init__(self) -> None:
                super().__init__()
                self.gate = threading.Semaphore(0)
                self.error = error
                self.calls = 0

            def __call__(self, pictures: np.ndarray) -> np.ndarray:
                self.calls += 1
                if self.error is not None:
                    raise self.error
                assert self.gate.acquire(timeout=20)
                return super().__call__(pictures)

        return Model()


@pytest.fixture
def gated() -> type[Gated]:
    return Gated


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
