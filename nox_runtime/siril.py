"""Bring nox into Siril: its script into Siril's menu, this package into Siril's Python.

Siril runs Python scripts in a virtual environment of its own, below its user data.  What is
installed there is this very version of nox, from the source tree or from the installed files.
"""

from __future__ import annotations

import argparse
import base64
import configparser
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from nox_runtime.errors import NoxError, OutputError, UsageError, reason

DISTRIBUTION = "astronox"
SCRIPT = "nox_star_removal.py"
#: How our script begins; a file of that name that does not is left alone.
_MARK = "nox star removal for Siril"
#: What pip writes for itself beside an installed package.
_MANAGED = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


@dataclass(frozen=True)
class Siril:
    """Where a Siril keeps what is the user's.

    Attributes
    ----------
    data : Path
        Its user data, with the Python environment in ``venv``.
    scripts : Path
        A folder whose scripts it shows in its menu.
    """

    data: Path
    scripts: Path

    @property
    def python(self) -> Path:
        """The environment's Python."""
        windows = self.data / "venv" / "Scripts" / "python.exe"
        return windows if windows.exists() else self.data / "venv" / "bin" / "python"


def script_file() -> Path:
    """The script, as it came with nox: in the wheel, or in a source tree."""
    inside = Path(str(resources.files("nox_runtime"))) / "data" / "siril" / SCRIPT
    tree = Path(__file__).resolve().parent.parent / "plugins" / "siril" / SCRIPT
    found = inside if inside.is_file() else tree
    if not found.is_file():
        raise NoxError(f"{found}: is missing; install nox again (pip install -U {DISTRIBUTION})")
    return found


def data_folders() -> list[Path]:
    """Where Siril may keep its user data on this system, the usual place first."""
    home = Path.home()
    if sys.platform == "win32":
        return [Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "siril"]
    if sys.platform == "darwin":
        support = home / "Library" / "Application Support"
        names = ("org.siril.Siril", "org.free-astro.Siril")
        return [support / name / "siril" for name in names]
    usual = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "siril"
    apps = ("org.siril.Siril", "org.free_astro.siril")
    return [usual, *(home / ".var" / "app" / app / "data" / "siril" for app in apps)]


def _settings(data: Path) -> Iterator[configparser.ConfigParser]:
    """Siril's settings that go with a folder of user data, the newest version's first."""
    folders = [data]  # Windows and macOS
    if data.parent.name == "data":  # in a Flatpak
        folders.append(data.parent.parent / "config" / "siril")
    elif sys.platform.startswith("linux"):
        configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        folders.append(Path(configuration) / "siril")
    for folder in folders:
        for path in sorted(folder.glob("config.*.ini"), reverse=True):
            parser = configparser.ConfigParser(interpolation=None, strict=False)
            try:
                parser.read(path, encoding="utf-8")
            except (configparser.Error, UnicodeDecodeError, OSError):
                continue
            yield parser


def scripts_folder(data: Path) -> Path:
    """A folder of the user's that Siril searches for scripts.

    The first below the home folder that Siril's preferences name, else the one that Siril
    searches by itself.
    """
    home = Path.home()
    for settings in _settings(data):
        named = settings.get("gui", "script_path", fallback="")
        for folder in filter(None, (part.strip() for part in named.split(";"))):
            if Path(folder).is_relative_to(home):
                return Path(folder)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", home / "AppData" / "Roaming")) / "siril" / "scripts"
    other = home / "siril" / "scripts"
    return other if other.is_dir() else home / ".siril" / "scripts"


def find(data: Path | None = None, scripts: Path | None = None) -> list[Siril]:
    """The Sirils of this user that have been started once.

    Raises
    ------
    UsageError
        There is none.
    """
    folders = [data] if data else data_folders()
    found = [
        Siril(folder, scripts or scripts_folder(folder))
        for folder in folders
        if (folder / "venv" / "pyvenv.cfg").is_file()
    ]
    if not found:
        places = " or ".join(str(folder) for folder in folders)
        raise UsageError(
            f"{places}: no Python environment of Siril's; start Siril 1.4 or later once, so that "
            "it makes one, or name its user data folder with --data"
        )
    return found


def _run(siril: Siril, *words: str, remedy: str = "") -> str:
    # -I: nothing of this folder or of this Python may be seen.
    command = [str(siril.python), "-I", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        usual = (
            f"in Siril's own console, run pyscript {SCRIPT} -install (works once {DISTRIBUTION} "
            "is on the package index)"
        )
        raise OutputError(
            f"{siril.python}: does not start ({error.strerror}); {remedy or usual}"
        ) from error
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        what = "a line of code" if words[0] == "-c" else " ".join(words[:4])
        usual = "check the network and the free space, and try again"
        raise OutputError(
            f"{siril.python}: {what} failed ({' '.join(said[-2:])[:300]}); {remedy or usual}"
        )
    return done.stdout


def _knows(siril: Siril, module: str, remedy: str = "") -> bool:
    # By what it prints: a Python that fails has said nothing of the module.
    code = f"import importlib.util; print(importlib.util.find_spec({module!r}) is not None)"
    return _run(siril, "-c", code, remedy=remedy).strip() == "True"


def package(folder: Path) -> str:
    """What pip shall install: the source tree, or a wheel of the installed files.

    Parameters
    ----------
    folder : Path
        Where the wheel may be written.

    Raises
    ------
    NoxError
        nox was installed in no way that pip knows.
    """
    root = Path(__file__).resolve().parent.parent
    project = root / "pyproject.toml"
    if project.is_file() and f'name = "{DISTRIBUTION}"' in project.read_text(encoding="utf-8"):
        return str(root)
    try:
        found = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise NoxError(
            f"{root}: is no installed {DISTRIBUTION}; install it with pip first"
        ) from error
    wheel = folder / f"{DISTRIBUTION}-{found.version}-py3-none-any.whl"
    records = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in found.files or ():
            name = file.as_posix()
            outside = name.startswith(("../", "/")) or "__pycache__" in name
            if outside or file.name in _MANAGED:
                continue
            content = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            archive.writestr(name, content)
            records.append(f"{name},sha256={digest.decode()},{len(content)}")
        record = f"{DISTRIBUTION}-{found.version}.dist-info/RECORD"
        archive.writestr(record, "\n".join([*records, f"{record},,", ""]))
    return str(wheel)


def _copy_script(folder: Path) -> Path:
    target = folder / SCRIPT
    _check_ours(target)
    part = target.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(script_file(), part)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"{target}: cannot be written ({error.strerror}); name another folder with --scripts"
        ) from error
    return target


def _check_ours(target: Path) -> None:
    """Refuse to touch a file of ours in name only."""
    if not target.exists():
        return
    try:
        ours = _MARK in target.read_text(encoding="utf-8", errors="replace")[:400]
    except OSError as error:
        raise OutputError(f"{target}: cannot be read ({reason(error)}); look what it is") from error
    if not ours:
        raise OutputError(f"{target}: is not nox's script; move it away and try again")


def install(siril: Siril, onnxruntime: str = "") -> Iterator[str]:
    """Install script and package into one Siril.

    Parameters
    ----------
    siril : Siril
    onnxruntime : str
        The build of ONNX Runtime to install if there is none yet: a distribution's name,
        'none', or by default the one for this system.

    Yields
    ------
    str
        Each thing that was done, a line.

    Raises
    ------
    NoxError
        One line that names the file, what is wrong and the remedy.
    """
    version = _run(siril, "-c", "import sys; print(*sys.version_info[:2])").split()
    if tuple(int(part) for part in version) < (3, 11):
        raise UsageError(
            f"{siril.python}: is Python {'.'.join(version)}; nox needs 3.11 or later: update "
            "Siril (or the system's Python, and delete Siril's venv folder)"
        )
    yield f"script {_copy_script(siril.scripts)}"
    with tempfile.TemporaryDirectory() as scratch:
        what = package(Path(scratch))
        if Path(what).is_dir():
            _run(siril, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", scratch, what)
            what = str(next(Path(scratch).glob("*.whl")))
        pip = ("-m", "pip", "install", "--disable-pip-version-check", "--quiet")
        _run(siril, *pip, "--no-deps", "--force-reinstall", what)
        _run(siril, *pip, what)  # what it needs, leaving what is there
    code = f"import importlib.metadata as m; print(m.version({DISTRIBUTION!r}))"
    yield f"package {DISTRIBUTION} {_run(siril, '-c', code).strip()} in {siril.data / 'venv'}"
    if _knows(siril, "onnxruntime"):
        yield "ONNX Runtime was there already and stays as it is"
    elif onnxruntime == "none":
        yield "no ONNX Runtime: the script will offer to install one"
    else:
        usual = "onnxruntime-directml" if sys.platform == "win32" else "onnxruntime"
        _run(siril, *pip, onnxruntime or usual)
        yield f"package {onnxruntime or usual}"
    yield "In Siril: Scripts, Python Scripts, nox_star_removal (Refresh, if Siril is running)"


def uninstall(siril: Siril) -> Iterator[str]:
    """Undo `install`; yields each thing that was done, a line.

    Raises
    ------
    OutputError
        The script is not nox's or cannot be removed, or Siril's Python does not start, so that
        nobody knows whether the package is there.
    """
    target = siril.scripts / SCRIPT
    _check_ours(target)
    if target.exists():
        try:
            target.unlink()
        except OSError as error:
            raise OutputError(
                f"{target}: cannot be removed ({reason(error)}); remove it by hand"
            ) from error
        yield f"removed script {target}"
    else:
        yield f"no script {target}"
    environment = siril.data / "venv"
    remedy = (
        f"the package {DISTRIBUTION} may still be there: delete the folder {environment}, which "
        "Siril makes anew when it starts"
    )
    if _knows(siril, "nox_runtime", remedy):
        _run(siril, "-m", "pip", "uninstall", "--yes", "--quiet", DISTRIBUTION)
        yield f"removed package {DISTRIBUTION} from {environment}"
        yield "the packages that it needs stay: other scripts may use them"
    else:
        yield f"no package {DISTRIBUTION} in {environment}"


def run_command(args: argparse.Namespace) -> int:
    """What `nox-runtime siril` does; returns its exit code."""
    sirils: Sequence[Siril] = find(args.data, args.scripts)
    for siril in sirils:
        done = install(siril, args.onnxruntime) if args.action == "install" else uninstall(siril)
        for line in done:
            print(line, flush=True)
    return 0
