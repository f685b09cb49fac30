"""The manifest: valid, complete, and every command there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path

import pytest

npe2 = pytest.importorskip("npe2")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def manifest():  # type: ignore[no-untyped-def]
    return npe2.PluginManifest.from_distribution("astronox")


def test_npe2_finds_it_valid() -> None:
    command = [sys.executable, "-m", "npe2", "validate", "astronox"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_can_be_imported_and_none_is_left_over(manifest) -> None:  # type: ignore[no-untyped-def]
    parts = manifest.contributions
    for command in parts.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name))
    used = {r.command for r in parts.readers} | {w.command for w in parts.writers}
    used |= {w.command for w in parts.widgets} | {s.command for s in parts.sample_data}
    used |= {item.command for items in parts.menus.values() for item in items}
    assert used == {command.id for command in parts.commands}
    assert [m.command for m in parts.menus["napari/layers/filter"]] == ["astronox.remove_stars"]


def test_the_hub_finds_it_and_no_binding_is_forced_on_anyone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "Framework :: napari" in project["classifiers"]
    assert project["entry-points"]["napari.manifest"] == {"astronox": "nox_napari:napari.yaml"}
    wanted = " ".join(project["dependencies"] + project["optional-dependencies"]["napari"]).lower()
    assert "napari" in wanted
    for binding in ("pyqt", "pyside", "[all]"):
        assert binding not in wanted
    found = [e for e in metadata.entry_points(group="napari.manifest") if e.name == "astronox"]
    assert found


def test_the_parts_without_a_window_load_no_qt() -> None:
    code = (
        "import sys, nox_napari.session, nox_napari.fits_reader, nox_napari.fits_writer\n"
        "print(sorted({'PySide6', 'PyQt6', 'PyQt5', 'nox_train'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
