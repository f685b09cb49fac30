"""The wheel: carries the model and works from an empty virtual environment."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_packages_model_and_sample(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for name in (
        "nox_runtime/cli.py",
        "nox_runtime/py.typed",
        "nox_runtime/models/nox-1.onnx",
        "nox_runtime/models/nox-1.md",
        "nox_runtime/data/nebula.fits.fz",
        "nox_runtime/data/siril/nox_star_removal.py",
        "nox_train/cli.py",
        "nox_train/py.typed",
        "nox_napari/__init__.py",
        "nox_napari/py.typed",
    ):
        assert name in names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"nox_runtime", "nox_train", "nox_napari"}


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    install = [scripts / "python", "-m", "pip", "install", "-q", f"{wheel}[cpu]"]
    subprocess.run(install, check=True, cwd=tmp_path, capture_output=True)
    done = subprocess.run(
        [scripts / "nox-runtime", "demo"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert len(paths) == 3
    for path in paths:
        assert path.parent == tmp_path / "demo"
        assert path.stat().st_size > 10_000
    help_ = subprocess.run([scripts / "nox-train", "--help"], capture_output=True, text=True)
    assert help_.returncode == 0, help_.stderr
    command = [scripts / "nox-train", "fit", "--preset", "smoke", "-o", tmp_path / "run"]
    fit = subprocess.run(command, capture_output=True, text=True)
    assert fit.returncode == 1
    assert "pip install 'astronox[train]'" in fit.stderr
    assert "Traceback" not in fit.stderr
