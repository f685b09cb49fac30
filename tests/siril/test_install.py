"""`nox-runtime siril install` and `uninstall`, into Sirils that are made up, and a real one."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from conftest import starry
from siril import real_siril
from siril.conftest import unavailable
from siril.real_siril import SCRIPT, RealSiril, Unavailable

from nox_runtime import siril as siril_install
from nox_runtime.cli import main
from nox_runtime.errors import NoxError, OutputError, UsageError

linux = pytest.mark.skipif(sys.platform != "linux", reason="the folders are those of Linux")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of nobody's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def made_up(data: Path) -> Path:
    """A user data folder with an environment that can do nothing but be there."""
    (data / "venv" / "bin").mkdir(parents=True)
    (data / "venv" / "pyvenv.cfg").touch()
    return data


@linux
def test_siril_and_its_flatpak_are_found(home: Path) -> None:
    with pytest.raises(UsageError, match=r"start Siril 1\.4 or later once"):
        siril_install.find()
    usual = made_up(home / ".local" / "share" / "siril")
    flatpak = made_up(home / ".var" / "app" / "org.siril.Siril" / "data" / "siril")
    assert [found.data for found in siril_install.find()] == [usual, flatpak]
    assert siril_install.find(flatpak)[0].data == flatpak


@linux
def test_scripts_go_where_siril_looks(home: Path) -> None:
    data = made_up(home / ".local" / "share" / "siril")
    assert siril_install.scripts_folder(data) == home / ".siril" / "scripts"
    (home / "siril" / "scripts").mkdir(parents=True)
    assert siril_install.scripts_folder(data) == home / "siril" / "scripts"
    settings = home / ".config" / "siril"
    settings.mkdir(parents=True)
    named = f"[gui]\nscript_path=/usr/share/siril/scripts;{home}/mine;{home}/other;\n"
    (settings / "config.1.4.ini").write_text(named)
    assert siril_install.scripts_folder(data) == home / "mine"
    (settings / "config.1.5.ini").write_text("[gui]\nscript_path=\n=broken")
    assert siril_install.scripts_folder(data) == home / "mine"
    assert siril_install.find(data, home / "named")[0].scripts == home / "named"


def test_a_script_of_someone_elses_is_left_alone(home: Path) -> None:
    data = made_up(home / "data")
    (home / "scripts").mkdir()
    theirs = home / "scripts" / "nox_star_removal.py"
    theirs.write_text("print('mine')")
    found = siril_install.Siril(data, home / "scripts")
    with pytest.raises(OutputError, match="is not nox's script"):
        list(siril_install.uninstall(found))
    assert theirs.read_text() == "print('mine')"


@linux
def test_an_environment_that_does_not_start_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = made_up(home / "data")
    assert main(["siril", "install", "--data", str(data)]) == 1
    said = capsys.readouterr().err
    assert "does not start" in said
    assert "-install" in said
    assert said.count("\n") == 1
    assert not (home / ".siril").exists()


@linux
@pytest.mark.parametrize("broken", ["missing", "fails"])
def test_uninstall_says_that_nobody_knows_of_the_package_if_python_does_not_start(
    home: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    data = made_up(home / "data")
    if broken == "fails":
        python = data / "venv" / "bin" / "python"
        python.write_text("#!/bin/sh\necho No module named encodings >&2\nexit 1\n")
        python.chmod(0o755)
    (home / "scripts").mkdir()
    script = home / "scripts" / SCRIPT.name
    script.write_bytes(SCRIPT.read_bytes())
    options = ["--data", str(data), "--scripts", str(script.parent)]
    assert main(["siril", "uninstall", *options]) == 1
    said = capsys.readouterr()
    assert said.out == f"removed script {script}\n"
    assert not script.exists()
    why = "No module named encodings" if broken == "fails" else "does not start"
    assert why in said.err
    assert f"astronox may still be there: delete the folder {data / 'venv'}" in said.err
    assert said.err.count("\n") == 1


@linux
def test_an_old_python_is_refused(home: Path) -> None:
    data = made_up(home / "data")
    python = data / "venv" / "bin" / "python"
    python.write_text("#!/bin/sh\necho 3 9\n")
    python.chmod(0o755)
    with pytest.raises(UsageError, match=r"is Python 3\.9; nox needs 3\.11"):
        list(siril_install.install(siril_install.Siril(data, home / "scripts")))
    assert not (home / "scripts").exists()


def test_the_installed_files_make_a_wheel_again(
    installed_nox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for those who have nox by pip, without a source tree."""
    monkeypatch.setattr(siril_install, "__file__", str(installed_nox / "nox_runtime" / "siril.py"))
    (found,) = importlib.metadata.distributions(name="astronox", path=[str(installed_nox)])
    monkeypatch.setattr(siril_install.metadata, "distribution", lambda _: found)
    wheel = Path(siril_install.package(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "nox_runtime/models/nox-1.onnx" in names
    assert "nox_runtime/data/siril/nox_star_removal.py" in names
    assert not any(name.startswith("..") or name.endswith(".pyc") for name in names)
    target = tmp_path / "again"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel]
    subprocess.run(command, check=True, capture_output=True)
    assert (target / "nox_runtime" / "cli.py").read_bytes() == (
        installed_nox / "nox_runtime" / "cli.py"
    ).read_bytes()


def test_what_pip_does_not_know_cannot_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(siril_install, "__file__", str(tmp_path / "nox_runtime" / "siril.py"))
    monkeypatch.setattr(siril_install.metadata, "distribution", unknown)
    with pytest.raises(NoxError, match="install it with pip first"):
        siril_install.package(tmp_path)


def test_install_makes_the_script_run_in_a_real_siril_and_uninstall_undoes_it(
    newest_siril: RealSiril, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        base = real_siril.base_environment()
    except Unavailable as error:
        unavailable(error)
    data, scripts = tmp_path / "xdg", tmp_path / "scripts"
    module = newest_siril.tree / "usr" / "share" / "siril" / "python_module"
    real_siril.make_environment(module, data, [base])
    other = replace(newest_siril, data=data)
    options = ["--data", str(data / "siril"), "--scripts", str(scripts)]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    values = starry(120, 160, 1)[0].astype(np.float32)
    fits.writeto(pictures / "m42.fit", values)
    commands = ["load m42.fit", f"pyscript {scripts / SCRIPT.name} -nomask", "save out"]

    assert main(["siril", "install", *options]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"script {scripts / SCRIPT.name}"
    assert said[1].startswith("package astronox ")
    assert said[2] == "ONNX Runtime was there already and stays as it is"
    assert (scripts / SCRIPT.name).read_bytes() == SCRIPT.read_bytes()
    log = other.run(commands, pictures)
    assert any("nox: stars removed in" in line for line in log)
    assert (fits.getdata(pictures / "out.fit") != values).any()

    assert main(["siril", "uninstall", *options]) == 0
    assert "removed package astronox" in capsys.readouterr().out
    assert not (scripts / SCRIPT.name).exists()
    log = other.run([commands[0], f"pyscript {SCRIPT}"], pictures)
    assert any("astronox not found" in line for line in log)
    assert main(["siril", "uninstall", *options]) == 0
    assert "no package astronox" in capsys.readouterr().out
