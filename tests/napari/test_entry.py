"""The way in that a user takes: napari finds the plugin by its manifest, and opens it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

npe2 = pytest.importorskip("npe2")

HERE = Path(__file__).parent
#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000


def test_napari_opens_the_panel_the_sample_and_files_by_the_manifest(
    opened: Any, npe2pm: Any, make_sky: Any, tmp_path: Path, ended: Any, notified: Any, qtbot: Any
) -> None:
    from napari._app_model import get_app_model

    from nox_napari.display import is_turned_over
    from nox_napari.panel import StarRemovalPanel

    npe2pm.register(npe2.PluginManifest.from_distribution("astronox"))
    viewer, _ = opened()
    dock, panel = viewer.window.add_plugin_dock_widget("astronox", "Remove stars")
    assert isinstance(panel, StarRemovalPanel)
    assert dock.widget() is panel
    assert viewer.window.add_plugin_dock_widget("astronox")[1] is panel
    qtbot.waitUntil(lambda: panel.form.model.count() == 2, timeout=WAIT)

    (sample,) = viewer.open_sample("astronox", "nebula")
    assert sample.name == "nebula"
    assert panel.picture() is sample

    picture = make_sky("u2", channels=1)
    fits.PrimaryHDU(picture).writeto(tmp_path / "m31.fits")
    (layer,) = viewer.open(str(tmp_path / "m31.fits"), plugin="astronox")
    np.testing.assert_array_equal(layer.data, picture)
    assert layer.metadata["header"]["NAXIS1"] == 170
    assert panel.picture() is layer
    panel.run_button.click()
    ended(panel)
    assert "m31 starless" in viewer.layers

    before = is_turned_over(viewer)
    get_app_model().commands.execute_command("astronox.turn_over").result()
    assert is_turned_over(viewer) != before
    assert panel.form.turned_over.isChecked() != before
    np.testing.assert_array_equal(layer.data, picture)
    assert notified() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is a display")
@pytest.mark.parametrize("required", [False, True])
def test_where_a_window_is_required_its_tests_do_not_just_skip(required: bool) -> None:
    known = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "NOX_REQUIRE_WINDOW")}
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
        "-o", "addopts=--import-mode=importlib", "-W", "ignore::DeprecationWarning",
        str(HERE / "test_seen.py"),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=HERE.parents[1],
        env=known | ({"NOX_REQUIRE_WINDOW": "1"} if required else {}),
    )  # fmt: skip
    assert done.returncode == (pytest.ExitCode.USAGE_ERROR if required else 0), done.stdout
    assert ("NOX_REQUIRE_WINDOW is set, and there is no window" in done.stderr) == required
    assert ("skipped" in done.stdout) != required
