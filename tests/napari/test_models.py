"""The chooser of models: what is missing or damaged, and files of the user's own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import StandIn

from nox_runtime.errors import ModelError

pytest.importorskip("qtpy")

#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000


@pytest.fixture
def another(opened: Any, qtbot: Any) -> Any:
    """Makes a panel beside the one that is docked."""
    from nox_napari import panel

    viewer, _ = opened()
    made = []

    def make() -> Any:
        made.append(panel.StarRemovalPanel(viewer))
        qtbot.addWidget(made[-1])
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def chooses(monkeypatch: pytest.MonkeyPatch, qtbot: Any, settled: Any) -> Any:
    """Chooses "Other file ..." and, in the dialog, this file; '' dismisses it."""
    from nox_napari import models

    def load(path: Path, **_: Any) -> StandIn:
        assert threading.current_thread() is not threading.main_thread()
        if "bad" in path.name:
            raise ModelError("bad.onnx: not a model")
        return StandIn()

    monkeypatch.setattr(models, "load_model", load)

    def choose(panel: Any, path: Path | str) -> None:
        monkeypatch.setattr(models.QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))
        box = panel.form.model
        assert box.itemText(box.count() - 1) == "Other file ..."
        box.setCurrentIndex(box.count() - 1)
        box.activated.emit(box.count() - 1)
        settled()

    return choose


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"x" * 2_000_000)
    return path


def usable(panel: Any) -> bool:
    buttons = panel.run_button.isEnabled(), panel.preview_button.isEnabled()
    assert buttons[0] == buttons[1] == panel.trouble.isHidden()
    return bool(buttons[0])


def test_another_file_is_offered_and_chosen(
    opened: Any, chooses: Any, mine: Path, tmp_path: Path, notified: Any
) -> None:
    _, panel = opened()
    chooses(panel, mine)
    assert panel.form.settings().model == str(mine)
    assert panel.form.model.currentText() == "mine  ·  2 MB  ·  MIT"
    # One that is no model, or none at all: the chosen one stays.
    chooses(panel, tmp_path / "bad.onnx")
    assert notified() == ["bad.onnx: not a model"]
    assert panel.form.settings().model == str(mine)
    chooses(panel, "")
    assert panel.form.settings().model == str(mine)
    chooses(panel, mine)
    assert panel.form.model.count() == 3
    panel.form.defaults.click()
    assert panel.form.settings().model == "stand-in.onnx"
    assert usable(panel)
    assert len(notified()) == 1


@pytest.mark.parametrize("damaged", [False, True])
def test_without_a_built_in_model_another_file_does(
    another: Any, chooses: Any, mine: Path, tmp_path: Path, damaged: bool, settled: Any,
    monkeypatch: pytest.MonkeyPatch, make_sky: Any, ended: Any,
) -> None:  # fmt: skip
    from nox_napari import models

    def found() -> list[Any]:
        if damaged:
            raise ModelError("nox-1.onnx: not a readable ONNX model")
        return []

    monkeypatch.setattr(models, "available_models", found)
    panel = another()
    settled()
    said = "not a readable ONNX model" if damaged else "No model came with this installation"
    assert said in panel.trouble.text()
    assert not usable(panel)
    assert panel.form.model.currentText() == "None"
    assert panel.form.device.findData("cpu") > 0
    chooses(panel, "")
    chooses(panel, tmp_path / "bad.onnx")
    assert panel.form.model.currentText() == "None"
    assert not usable(panel)
    chooses(panel, mine)
    assert usable(panel)
    assert panel.form.model.findText("None") < 0
    assert panel.form.settings().model == str(mine)
    panel.viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    panel.run_button.click()
    ended(panel)
    assert "m31 starless" in panel.viewer.layers
    assert usable(panel)


def test_what_nobody_foresaw_is_told_too(
    another: Any, settled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import models

    def broken() -> None:
        raise PermissionError("models: no entry")

    monkeypatch.setattr(models, "available_models", broken)
    panel = another()
    settled()
    assert panel.trouble.text() == "PermissionError: models: no entry"
    assert not usable(panel)


def test_without_onnxruntime_the_panel_shows_the_install_line(
    another: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import messages

    real = messages.find_spec
    monkeypatch.setattr(
        messages, "find_spec", lambda name: None if name == "onnxruntime" else real(name)
    )
    panel = another()
    # Double quotes: cmd of Windows takes single ones for part of the name.
    assert panel.trouble.text().splitlines()[-1] == 'pip install "astronox[cpu]"'
    assert not usable(panel)
    assert panel.form.model.count() == 1
