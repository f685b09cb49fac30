"""Every way in which a run or a file can fail: one notification, an unchanged viewer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from nox_runtime.errors import DeviceError

pytest.importorskip("qtpy")

LOST = DeviceError("a.onnx: the cuda device failed (lost); try a smaller --tile, or --device cpu")
SAID = "a.onnx: the cuda device failed (lost); try smaller tiles, or the device cpu"


def state(viewer: Any) -> list[Any]:
    """All that a run could change of the layers."""
    return [
        (layer, layer.name, layer.visible, layer.opacity, str(layer.metadata), str(layer.data))
        for layer in viewer.layers
    ]


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LOST, SAID),
        (MemoryError(), "not enough memory for this picture"),
        (ValueError("nobody foresaw this"), "nobody foresaw this"),
    ],
)
def test_a_failure_is_one_notification_and_nothing_else(
    opened: Any, make_sky: Any, gated: Any, qtbot: Any, settled: Any, notified: Any,
    error: Exception, said: str, preview: bool,
) -> None:  # fmt: skip
    viewer, panel = opened(model=gated(error=error))
    layer = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    before = layer.data.copy()
    with qtbot.captureExceptions() as raised:
        (panel.preview_button if preview else panel.run_button).click()
        settled()
    assert panel._job is None
    assert len(notified()) == 1
    assert said in notified()[0]
    assert not raised
    assert list(viewer.layers) == [layer]
    np.testing.assert_array_equal(layer.data, before)
    assert panel.run_button.text() == "Remove stars"
    assert panel.run_button.isEnabled()
    assert not panel.session.engine.lock.locked()


@pytest.mark.parametrize("again", [False, True])
def test_a_device_lost_at_the_third_tile_takes_no_result_with_it(
    opened: Any, make_sky: Any, gated: Any, settled: Any, ended: Any, notified: Any, again: bool
) -> None:
    model = gated(at=3)
    viewer, panel = opened(model=model)
    viewer.add_image(make_sky("u2", (300, 700)), rgb=True, name="m31")
    for box in panel.form.outputs.values():
        box.setChecked(True)
    if again:
        model.gate.release(1000)
        panel.run_button.click()
        ended(panel)
        assert len(viewer.layers) == 5
    before, model.error, model.calls = state(viewer), LOST, 0
    panel.form.strength.setValue(50)
    panel.run_button.click()
    settled()
    assert model.calls >= 3
    assert panel._job is None
    assert notified() == [SAID]
    assert panel.status.text() == SAID
    assert state(viewer) == before


def test_a_model_that_is_gone_is_one_notification(
    opened: Any, make_sky: Any, tmp_path: Path, settled: Any, notified: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A file of the user's own, deleted after it was chosen; by the runtime's own loader."""
    from nox_napari import job
    from nox_napari.models import _opened
    from nox_runtime.model import find_model, load_model

    viewer, panel = opened()
    monkeypatch.setattr(job, "load_model", load_model)
    mine = Path(shutil.copy(find_model(None), tmp_path / "mine.onnx"))
    panel.models.add(_opened(mine))
    mine.unlink()
    viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    before = state(viewer)
    for button in (panel.run_button, panel.preview_button):
        notification_manager.records.clear()
        button.click()
        settled()
        assert panel._job is None
        assert len(notified()) == 1
        assert notified()[0].startswith(f"{mine}: no such model; give an .onnx file")
        assert state(viewer) == before


def test_a_labels_layer_is_no_picture(opened: Any, notified: Any) -> None:
    viewer, panel = opened()
    viewer.add_labels(np.zeros((20, 20), int), name="keep")
    panel.run_button.click()
    panel.preview_button.click()
    assert notified() == ["keep: is a labels layer; choose an image layer"] * 2
    viewer.layers.selection.clear()
    panel.run_button.click()
    assert "no picture is open" in notified()[-1]
    assert len(viewer.layers) == 1


def test_a_raw_mosaic_is_told_at_once_and_not_run(
    opened: Any, make_sky: Any, notified: Any, npe2pm: Any, tmp_path: Path
) -> None:
    from astropy.io import fits
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("astronox"))
    hdu = fits.PrimaryHDU(make_sky("u2", channels=1))
    hdu.header["BAYERPAT"] = "RGGB"
    hdu.writeto(tmp_path / "raw.fits")
    viewer, panel = opened()
    viewer.open(str(tmp_path / "raw.fits"), plugin="astronox")
    said = "raw: raw colour mosaic (BAYERPAT 'RGGB'); debayer it first, its stars are not whole yet"
    assert panel.status.text() == said
    panel.run_button.click()
    panel.preview_button.click()
    assert notified() == [said, said]
    assert len(viewer.layers) == 1


@pytest.mark.parametrize("source_there", [True, False])
def test_disk_full_on_save_is_one_notification_and_an_unchanged_viewer(
    opened: Any, make_sky: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, npe2pm: Any,
    full_folder: Path, notified: Any, ended: Any, source_there: bool,
) -> None:  # fmt: skip
    """By File > Save Selected Layers; napari shows what a plugin raises."""
    from astropy.io import fits
    from napari._qt import qt_viewer
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("astronox"))
    path = tmp_path / "m31.fits"
    fits.PrimaryHDU(make_sky("f4", channels=1)).writeto(path)
    viewer, panel = opened()
    viewer.open(str(path), plugin="astronox")
    panel.run_button.click()
    ended(panel)
    if not source_there:
        path.unlink()
    viewer.layers.selection.active = viewer.layers["m31 starless"]
    before = state(viewer)
    action = viewer.window.file_menu.findAction("napari.window.file.save_layers_dialog.selected")

    def save(name: Path) -> None:
        monkeypatch.setattr(
            qt_viewer.QFileDialog, "getSaveFileName", lambda *_, **__: (str(name), "")
        )
        with notification_manager:  # as `napari.run` has it
            action.trigger()

    save(tmp_path / "good.fits")
    assert notified() == []
    assert (tmp_path / "good.fits").stat().st_size > 100_000
    save(full_folder / "a.fits")
    assert len(notified()) == 1
    assert notified()[0].startswith(f"{full_folder / 'a.fits'}: cannot be written (No space left")
    assert "free some space" in notified()[0]
    assert " -o" not in notified()[0]
    assert list(full_folder.iterdir()) == []
    assert state(viewer) == before


def test_opening_a_damaged_file_leaves_the_viewer_as_it_was(
    opened: Any, tmp_path: Path, npe2pm: Any
) -> None:
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("astronox"))
    viewer, _ = opened()
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"no picture")
    with pytest.raises(Exception, match=r"bad.fits: not a readable FITS file"):
        viewer.open(str(bad), plugin="astronox")
    assert list(viewer.layers) == []
