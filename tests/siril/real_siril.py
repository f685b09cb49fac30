"""Real Sirils from Debian's packages, and the Python environment that each would build.

Nothing is installed into this system but one link, /usr/share/siril (the only path compiled
into Siril), which is there while a Siril runs.  Everything else is kept in a cache folder,
`$NOX_TEST_CACHE` or `nox-tests` in the user's cache, and used again.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "plugins" / "siril" / "nox_star_removal.py"
#: Debian's suites and the oldest Siril that each has.
SUITES = {"forky": "1.4.2", "sid": "1.4.5"}
LINK = Path("/usr/share/siril")
#: What Siril asks of its environment beside numpy; without pip it makes it anew.
_SIRIL_NEEDS = ("packaging", "requests", "pip")


class Unavailable(Exception):  # noqa: N818
    """Why there can be no real Siril here."""


def cache() -> Path:
    """The folder in which trees and environments are kept."""
    named = os.environ.get("NOX_TEST_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(named) if named else user / "nox-tests") / "siril"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One session at a time."""
    with open(cache() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mirror() -> str:
    """The address of Debian's archive that this machine's apt uses."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable("no apt here; real Siril is set up from Debian's packages") from error
    for address in done.stdout.split():
        if urlsplit(address).path.rstrip("/").endswith("/debian"):
            return address.rstrip("/")
    raise Unavailable("this machine's apt names no Debian archive")


def _quietly(command: list[str | Path], what: str, failure: type[Exception] = Unavailable) -> None:
    """Run a command; `failure` is raised with the end of what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        text = (done.stderr + done.stdout).strip()
        with contextlib.suppress(Unavailable):
            text = text.replace(mirror(), "MIRROR")
        raise failure(f"{what} failed: {text[-600:]}")


def bootstrap(suite: str, packages: tuple[str, ...], target: Path, variant: str) -> Path:
    """Unpack Debian packages and all that they need into a folder, once."""
    if target.is_dir():
        return target
    if os.geteuid() != 0:
        raise Unavailable("setting up a real Siril needs root")
    if not shutil.which("mmdebstrap"):
        raise Unavailable("mmdebstrap is missing; sh tests/system-packages.sh installs it")
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    _quietly(
        [
            "nice", "-n", "5", "mmdebstrap", f"--variant={variant}", "--mode=root",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Check-Valid-Until "false"',
            f"--include={','.join(packages)}", suite, part, f"deb {mirror()} {suite} main",
        ],
        f"unpacking Siril of Debian {suite}",
    )  # fmt: skip
    part.rename(target)
    return target


def tree(suite: str) -> Path:
    """Siril's package of a suite, unpacked with the libraries that it needs."""
    packages = ("siril", "libblas3", "liblapack3")
    return bootstrap(suite, packages, cache() / f"{suite}.tree", "extract")


def requirements() -> list[str]:
    """What nox and Siril's module need of Python, with ONNX Runtime."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], "onnxruntime>=1.20", *_SIRIL_NEEDS]


def base_environment() -> Path:
    """A folder with those packages, shared by the environments of both Sirils."""
    wanted = requirements()
    tag = hashlib.sha256(f"{sys.version_info[:2]} {wanted}".encode()).hexdigest()[:12]
    folder = cache() / f"base-{tag}"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", part, *wanted]
        _quietly(["nice", "-n", "5", *command], "installing what nox needs")
        part.rename(folder)
    return folder


def window_environment() -> Path:
    """A folder with PyQt6 for this Python, apart from the tests' own: those have another Qt."""
    folder = cache() / f"pyqt6-{sys.version_info[0]}.{sys.version_info[1]}"
    with locked("setup"):
        if not folder.is_dir():
            part = folder.with_name(folder.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", part, "PyQt6"]
            _quietly(["nice", "-n", "5", *command], "installing PyQt6")
            part.rename(folder)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from PyQt6 import QtWidgets"
    _quietly([sys.executable, "-c", code], "importing PyQt6 (sh tests/system-packages.sh)")
    return folder


def foreign_environment(version: str) -> Path:
    """As `base_environment` with PyQt6, for another Python than this one, such as Debian's."""
    wanted = [*requirements(), "PyQt6"]
    tag = hashlib.sha256(f"{version} {wanted}".encode()).hexdigest()[:12]
    folder = cache() / f"window-{tag}"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        abis = [f"cp{version.replace('.', '')}", "abi3", "none"]
        systems = [f"manylinux_2_{minor}_x86_64" for minor in (17, 27, 28)]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(part)]
        command += ["--python-version", version, "--implementation", "cp"]
        command += [word for abi in abis for word in ("--abi", abi)]
        command += [word for name in systems for word in ("--platform", name)]
        command += ["--only-binary=:all:", "--platform", "manylinux2014_x86_64", *wanted]
        _quietly(["nice", "-n", "5", *command], "installing what the window needs")
        part.rename(folder)
    return folder


def build_wheel(folder: Path) -> Path:
    """The working tree's wheel."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT]
    _quietly(command, "building the wheel", RuntimeError)  # our own fault: never left out
    (made,) = folder.glob("*.whl")
    return made


def install_nox(scratch: Path) -> Path:
    """The working tree's package as pip installs it, without what it needs."""
    target = scratch / "nox"
    wheel = build_wheel(scratch)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target]
    _quietly([*command, wheel], "installing nox", RuntimeError)
    return target


def fill_site(python_module: Path, site: Path) -> None:
    """Bring Siril's Python module into a folder for packages, as pip would."""
    shutil.copytree(python_module / "sirilpy", site / "sirilpy")
    project = tomllib.loads((python_module / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    compileall.compile_dir(site / "sirilpy", quiet=2)  # as pip does, so that it starts as fast
    info = site / f"sirilpy-{version}.dist-info"
    info.mkdir()
    text = f"Metadata-Version: 2.1\nName: sirilpy\nVersion: {version}\n"
    (info / "METADATA").write_text(text, encoding="utf-8")


def fill_environment(python_module: Path, folder: Path, paths: list[str]) -> None:
    """Bring Siril's module, and folders with packages, into an environment that is there."""
    shutil.copytree(python_module, folder / ".python_module")
    (site,) = (folder / "venv").glob("lib/python3*/site-packages")
    fill_site(python_module, site)
    (site / "tests.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")


def make_environment(python_module: Path, data: Path, paths: list[Path]) -> None:
    """Siril's user data as Siril itself would make it: module, and environment with the module."""
    folder = data / "siril"
    command = [sys.executable, "-m", "venv", "--without-pip", folder / "venv"]
    _quietly(command, "making Siril's Python environment")
    fill_environment(python_module, folder, [str(path) for path in paths])


@dataclass
class RealSiril:
    """A siril-cli that can run scripts.

    Attributes
    ----------
    version : tuple of int
    tree : Path
        The unpacked packages.
    data, bare : Path
        XDG data folders with nox in Siril's Python environment, and without.
    configuration : Path
    """

    version: tuple[int, ...]
    tree: Path
    data: Path
    bare: Path
    configuration: Path

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """A program of the tree, started by the tree's own loader."""
        libraries = self.tree / "usr" / "lib" / "x86_64-linux-gnu"
        paths = ":".join(str(p) for p in (libraries, libraries / "blas", libraries / "lapack"))
        loader = [libraries / "ld-linux-x86-64.so.2", "--library-path", paths]
        return [str(a) for a in (*loader, self.tree / "usr" / "bin" / program, *arguments)]

    def run(
        self,
        lines: list[str],
        folder: Path,
        *,
        bare: bool = False,
        timeout: float = 600,
        meanwhile: Callable[[int], None] | None = None,
    ) -> list[str]:
        """Run a Siril script in a folder.

        Parameters
        ----------
        lines : list of str
            Siril's commands.
        folder : Path
            Its working directory.
        bare : bool
            In the environment without nox.
        timeout : float
            Seconds; a Siril that hangs is ended, and the test fails.
        meanwhile : callable
            Is called with Siril's process id while it runs; it prints in large blocks only.

        Returns
        -------
        list of str
            Lines of Siril's log.
        """
        script = folder / "test.ssf"
        script.write_text("\n".join(["requires 1.4.0", *lines, ""]), encoding="utf-8")
        environment = os.environ | {
            "XDG_DATA_HOME": str(self.bare if bare else self.data),
            "XDG_CONFIG_HOME": str(self.configuration),
            "LANG": "C.UTF-8",
        }
        environment.pop("PYTHONPATH", None)
        command = self.command("siril-cli", "-o", "-d", folder, "-s", script)
        with locked("link"), linked(self.tree), no_sockets_left(), subprocess.Popen(
            command, env=environment, cwd=folder, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:  # fmt: skip
            expired = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
            expired.start()
            try:
                if meanwhile:
                    meanwhile(process.pid)
                printed = process.communicate()[0].splitlines()
            finally:
                expired.cancel()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, "\n".join(printed)
        assert any("Script execution finished" in line for line in printed), "\n".join(printed)
        assert not any("Recreating the venv" in line for line in printed), "\n".join(printed)
        return [line.removeprefix("log: ") for line in printed if line.startswith("log: ")]


def sockets() -> set[Path]:
    """Siril's sockets for Python scripts; it makes them in /tmp, whatever TMPDIR is."""
    names = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.sock")
    return {path for path in Path("/tmp").glob("*.sock") if names.fullmatch(path.name)}


@contextlib.contextmanager
def no_sockets_left() -> Iterator[None]:
    """Remove the sockets that Siril left meanwhile, if nobody listens at them any more."""
    before = sockets()
    try:
        yield
    finally:
        for path in sockets() - before:
            with socket.socket(socket.AF_UNIX) as caller:
                try:
                    caller.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink(missing_ok=True)
                except FileNotFoundError:
                    pass


@contextlib.contextmanager
def linked(unpacked: Path) -> Iterator[None]:
    """Siril's data where Siril looks for them; `real_siril` has seen that this can be."""
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(unpacked / "usr" / "share" / "siril")
    try:
        yield
    finally:
        LINK.unlink(missing_ok=True)


def real_siril(suite: str, scratch: Path, nox: Path) -> RealSiril:
    """Siril of a suite with nox in its environment.

    Parameters
    ----------
    suite : {'forky', 'sid'}
    scratch : Path
        An empty folder for its settings and environments.
    nox : Path
        See `install_nox`.

    Raises
    ------
    Unavailable
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise Unavailable("real Siril is tested on Linux on x86-64 only")
    if LINK.exists() and not LINK.is_symlink():
        raise Unavailable(f"{LINK} is there already: a Siril is installed on this system")
    if not os.access(LINK.parent, os.W_OK):
        raise Unavailable(f"{LINK} cannot be made by this user; root can")
    with locked("setup"):
        unpacked, base = tree(suite), base_environment()
    module = unpacked / "usr" / "share" / "siril" / "python_module"
    make_environment(module, scratch / "data", [base, nox])
    make_environment(module, scratch / "bare", [base])
    (scratch / "configuration").mkdir()
    siril = RealSiril((), unpacked, scratch / "data", scratch / "bare", scratch / "configuration")
    said = subprocess.run(siril.command("siril-cli", "--version"), capture_output=True, text=True)
    found = re.search(r"siril (\d+)\.(\d+)\.(\d+)", said.stdout)
    if not found:
        raise Unavailable(f"siril-cli of Debian {suite} does not start: {said.stderr[-300:]}")
    siril.version = tuple(int(part) for part in found.groups())
    return siril


def script_process(siril: int) -> int | None:
    """Process id of the Python that runs our script for this Siril, once it uses the network."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = any(word.endswith(SCRIPT.name.encode()) for word in words)
            if ours and b"python" in words[0] and os.getsid(int(entry.name)) == os.getsid(siril):
                return int(entry.name) if "onnxruntime" in (entry / "maps").read_text() else None
    return None


def sirilpy_folder() -> Path:
    """The folder to import the real sirilpy from, Debian sid's."""
    with locked("setup"):
        return tree("sid") / "usr" / "share" / "siril" / "python_module"


def waited(check: Callable[[], object], seconds: float) -> object:
    """What `check` answers, as soon as it is something."""
    end = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < end:
        time.sleep(0.05)
    return found
