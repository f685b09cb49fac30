"""The script's window in a real Siril on a display that nobody sees, clicked through.

`make test-siril-window` runs this: it unpacks a gigabyte and a half more than the other
tests.  With `SCREENSHOTS=docs` the pictures of the guide are made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from conftest import SHARED, starry
from PIL import Image
from siril import real_siril
from siril.conftest import unavailable
from siril.real_siril import SCRIPT, Unavailable, waited

PACKAGES = (
    "siril", "python3-venv", "xvfb", "xdotool", "x11-apps", "libegl1", "libgl1", "libxcb-cursor0",
    "libxkbcommon-x11-0", "libxcb-icccm4", "libxcb-keysyms1", "libxcb-image0",
    "libxcb-render-util0", "libxcb-shape0", "libxcb-xinerama0", "adwaita-icon-theme",
    "fonts-dejavu-core", "ca-certificates",
)  # fmt: skip
#: The window, where it opens: its upper left corner and its size.
WIDTH, HEIGHT = 1180, 740
ACCENT = (0x35, 0x84, 0xE4)
#: Places in the window.
GO = (WIDTH - 72, HEIGHT - 31)
BEFORE, AFTER, STARS, ONE_TO_ONE = (56, 25), (140, 25), (224, 25), (796, 25)
SELECTION, CHANGES, CLOSE = (930, 339), (930, 503), (WIDTH - 200, HEIGHT - 31)
CANVAS = (slice(60, 640), slice(20, 815))
#: Seconds to wait for what takes a few: machines that run tests are slow at times.
LONG = 300

#: A second script in the same Siril, through which the test asks and acts.
PROBE = """
import json, pathlib, time
import numpy as np
from sirilpy import SirilInterface
si = SirilInterface()
si.connect()
ask, answer = pathlib.Path("/nox/ask.py"), pathlib.Path("/nox/answer.json")
while True:
    if ask.exists():
        code = ask.read_text()
        ask.unlink()
        scope = {"si": si, "np": np, "found": None}
        try:
            exec(code, scope)
            said = {"found": scope["found"]}
        except Exception as error:
            said = {"error": repr(error)}
        answer.with_suffix(".part").write_text(json.dumps(said))
        answer.with_suffix(".part").rename(answer)
    time.sleep(0.1)
"""

# Without -noreset the display starts over when its last client leaves, and turns away who comes
# meanwhile: the test's xdotool came and went before Siril, which then found no display.
START = """
export HOME=/nox/home XDG_DATA_HOME=/nox/data XDG_CONFIG_HOME=/nox/conf XDG_RUNTIME_DIR=/nox/run
export DISPLAY=:77 LANG=C.UTF-8 NO_AT_BRIDGE=1
Xvfb :77 -screen 0 1680x1050x24 -nolisten tcp -noreset >/nox/xvfb.log 2>&1 &
until xdotool getdisplaygeometry >/dev/null 2>&1; do sleep 0.1; done
touch /nox/display
exec siril -o /nox/work/elephants-trunk.fit >/nox/siril.log 2>&1
"""

CONFIGURATION = """[core]
wd=/nox/work
check_updates=false
[gui]
first_start={version}
silent_quit=true
use_scripts_repository=false
startup_scripts=/nox/probe.py;/nox/nox_star_removal.py;
"""


class Desktop:
    """A Siril in a folder of Debian packages, on its own display."""

    def __init__(self, root: Path) -> None:
        self.root, self.nox = root, root / "nox"

    def x(self, *words: object) -> str:
        command = ["chroot", self.root, "env", "DISPLAY=:77", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def screen(self) -> np.ndarray:
        """The window's pixels, (H, W, 3), as xwd dumps them."""
        command = ["chroot", self.root, "env", "DISPLAY=:77", "xwd", "-silent", "-root"]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        head = struct.unpack(">25I", raw[:100])
        offset, width, height, deep, line = head[0], head[4], head[5], head[11] // 8, head[12]
        pixels = np.frombuffer(raw, np.uint8, line * height, offset + 12 * head[19])
        pixels = pixels.reshape(height, line)[:, : width * deep].reshape(height, width, deep)
        return pixels[:HEIGHT, :WIDTH, 2::-1]

    def click(self, place: tuple[int, int]) -> None:
        self.x("xdotool", "mousemove", *place, "click", 1)
        time.sleep(0.4)
        self.x("xdotool", "mousemove", 600, 690)
        time.sleep(0.4)

    def shown(self) -> bool:
        """Bring the window before Siril's own, in the corner: nothing manages windows here."""
        command = ["chroot", self.root, "env", "DISPLAY=:77", "xdotool", "search"]
        command += ["--onlyvisible", "--name", "nox star removal"]
        found = subprocess.run(
            [*command, "windowraise", "%1", "windowmove", "%1", "0", "0"], capture_output=True
        )
        time.sleep(0.3)
        return found.returncode == 0 and self.lit(BEFORE)

    def lit(self, place: tuple[int, int]) -> bool:
        """Whether a button has the colour of what is chosen, or can be done."""
        x, y = place
        area = self.screen()[y - 8 : y + 9, x - 36 : x + 37].reshape(-1, 3).astype(int)
        return bool((np.abs(area - ACCENT).max(axis=1) < 12).mean() > 0.3)

    def around(self, place: tuple[int, int]) -> np.ndarray:
        """The pixels of a button, or of the words beside a box."""
        x, y = place
        return self.screen()[y - 12 : y + 13, max(0, x - 80) : x + 81]

    def becomes(self, place: tuple[int, int], wanted: np.ndarray) -> object:
        """Whether a place comes to look like that."""
        return waited(lambda: np.array_equal(self.around(place), wanted), LONG)

    def changes(self, place: tuple[int, int], old: np.ndarray) -> object:
        """Whether a place comes to look otherwise."""
        return waited(lambda: not np.array_equal(self.around(place), old), LONG)

    def choose(self, place: tuple[int, int]) -> None:
        """Click on a box, and wait until it shows that."""
        old = self.around(place)
        self.click(place)
        assert self.changes(place, old)

    def run(self, said: str) -> None:
        """Click on "Remove stars", and wait until the log says so and it can be done again."""
        ready, before = self.around(GO), self.log().count(said)
        self.click(GO)
        assert waited(lambda: self.log().count(said) > before, LONG), self.log()[-2000:]
        assert self.becomes(GO, ready)

    def load(self, name: str) -> None:
        """Load a file of the working directory, and wait until the window shows it."""
        old = self.screen()[CANVAS]
        self.ask(f"si.cmd('load', '/nox/work/{name}')")
        assert waited(lambda: not np.array_equal(self.screen()[CANVAS], old), LONG)
        assert waited(lambda: self.lit(GO), LONG)

    def ask(self, code: str) -> Any:
        """Run Python beside Siril; returns what it names `found`."""
        answer = self.nox / "answer.json"
        answer.unlink(missing_ok=True)
        part = self.nox / "ask.part"
        part.write_text(code, encoding="utf-8")
        part.rename(self.nox / "ask.py")
        assert waited(answer.exists, LONG), self.log()[-2000:]
        said = json.loads(answer.read_text())
        assert "error" not in said, said
        return said["found"]

    def pixels(self) -> np.ndarray:
        self.ask("np.save('/nox/pixels.npy', si.get_image_pixeldata())")
        return np.load(self.nox / "pixels.npy")

    def log(self) -> str:
        return (self.nox / "siril.log").read_text(errors="replace")

    def keep(self, name: str) -> None:
        """Save the window's picture, if that is asked for."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            Image.fromarray(self.screen()).save(Path(folder) / name, optimize=True)


def photograph() -> np.ndarray:
    """A real nebula, (3, H, W); an invented one where the photographs are missing."""
    path = SHARED / "data" / "astro" / "jamesbrink__elephants-trunk.jpg"
    if not path.exists():
        return np.tile(starry(450, 650, 3), (1, 2, 2)).astype(np.float32)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))[172:1072, 310:1610]
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)[:, ::-1]).astype(np.float32) / 255


def desktop_tree() -> Path:
    """The folder of the Debian packages."""
    tag = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    return real_siril.cache() / f"window-{tag}.tree"


def prepare(scratch: Path) -> Path:
    """Siril's folder, its environment, the script, and pictures to work on."""
    with real_siril.locked("setup"):
        root = real_siril.bootstrap("sid", PACKAGES, desktop_tree(), "apt")
        asked = [
            "chroot",
            root,
            "python3",
            "-c",
            "import sys; print(*sys.version_info[:2], sep='.')",
        ]
        version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        base = real_siril.foreign_environment(version)
    nox = root / "nox"
    shutil.rmtree(nox, ignore_errors=True)
    for folder in ("data/siril", "conf/siril", "work", "home", "run", "base"):
        (nox / folder).mkdir(parents=True)
    (nox / "run").chmod(0o700)
    shutil.copytree(real_siril.install_nox(scratch), nox / "package")
    module = root / "usr" / "share" / "siril" / "python_module"
    command = ["chroot", root, "python3", "-m", "venv", "--without-pip", "/nox/data/siril/venv"]
    subprocess.run(command, check=True)
    real_siril.fill_environment(module, nox / "data" / "siril", ["/nox/base", "/nox/package"])
    asked = ["chroot", root, "siril", "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    version = said.split()[-1]
    settings = nox / "conf" / "siril" / f"config.{version.rpartition('.')[0]}.ini"
    settings.write_text(CONFIGURATION.format(version=version))
    (nox / "start.sh").write_text(START)
    (nox / "probe.py").write_text(PROBE)
    shutil.copy(SCRIPT, nox)
    header = fits.Header({"FILTER": "RGB"})
    fits.writeto(nox / "work" / "elephants-trunk.fit", photograph(), header)
    # Work enough that it can be cancelled on the fastest machine.
    fits.writeto(nox / "work" / "large.fit", np.tile(photograph(), (1, 3, 3)))
    for k in range(3):
        frame = starry(200, 260, 1, seed=k)[0].astype(np.float32)
        fits.writeto(nox / "work" / f"light_{k + 1:05d}.fit", frame)
    return base


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desktop]:
    try:
        base = prepare(tmp_path_factory.mktemp("window"))
    except Unavailable as error:
        unavailable(error)
    root = desktop_tree()
    mounts = (
        f"mount -t proc proc {root}/proc && mkdir -p {root}/dev/shm && "
        f"mount -t tmpfs tmpfs {root}/dev/shm && mount --bind {base} {root}/nox/base && "
        f"exec chroot {root} sh /nox/start.sh"
    )
    (root / "tmp" / ".X11-unix" / "X77").unlink(missing_ok=True)
    (root / "tmp" / ".X77-lock").unlink(missing_ok=True)
    for left in (root / "tmp").glob("*.sock"):  # Siril removes none
        left.unlink()
    # Its own mounts and processes: they end with it.
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", mounts]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            made = Desktop(root)
            assert waited((made.nox / "display").exists, LONG), "no display"
            ended = process.poll
            assert waited(lambda: ended() is not None or made.shown(), LONG), made.log()[-2000:]
            assert ended() is None, f"Siril ended: {made.log()[-2000:]}"
            yield made
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_window_shows_the_image_that_is_loaded(desktop: Desktop) -> None:
    assert waited(lambda: desktop.lit(GO), LONG)
    assert not desktop.lit(AFTER)
    assert "requires 1.4.0" in desktop.log()


def test_cancel_stops_and_leaves_the_image(desktop: Desktop) -> None:
    desktop.load("large.fit")
    work = desktop.nox / "work"
    before, ready = desktop.pixels(), desktop.around(GO)
    desktop.click(GO)
    assert waited(lambda: list(work.glob(".starless_*.part")), LONG), desktop.log()[-2000:]
    assert not np.array_equal(desktop.around(GO), ready)  # it says Cancel, and work goes on
    desktop.click(GO)
    assert waited(lambda: "nox: stopped; the image is as it was" in desktop.log(), LONG)
    assert desktop.becomes(GO, ready)
    assert not [path.name for path in work.iterdir() if "starless" in path.name]
    assert np.array_equal(desktop.pixels(), before)
    assert desktop.ask("found = si.get_image_filename()").endswith("large.fit")
    desktop.load("elephants-trunk.fit")


def test_remove_stars_shows_before_after_and_stars_and_can_be_undone(desktop: Desktop) -> None:
    before = desktop.pixels()
    desktop.run("nox: stars removed in")
    assert desktop.lit(AFTER)
    desktop.keep("siril-window.png")
    shown = {}
    for name, place in (("After", AFTER), ("Before", BEFORE), ("Stars", STARS)):
        desktop.click(place)
        assert waited(lambda place=place: desktop.lit(place), LONG)
        shown[name] = desktop.screen()[CANVAS].astype(int)
    assert shown["Before"].mean() > shown["After"].mean() > shown["Stars"].mean()
    desktop.keep("siril-window-stars.png")
    desktop.click(AFTER)
    desktop.click(ONE_TO_ONE)
    assert waited(
        lambda: np.abs(desktop.screen()[CANVAS].astype(int) - shown["After"]).mean() > 1, LONG
    )

    after = desktop.pixels()
    assert (after < before).mean() > 0.02
    work = desktop.nox / "work"
    assert np.array_equal(fits.getdata(work / "starless_elephants-trunk.fit"), after)
    stars = fits.getdata(work / "starmask_elephants-trunk.fit")
    assert np.abs(1 - (1 - after) * (1 - stars) - before).max() < 1e-6
    name = desktop.ask("found = si.get_image_filename()")
    assert name.endswith("starless_elephants-trunk.fit")
    header = desktop.ask("found = si.get_image_fits_header()")
    assert "RGB_Starless" in header
    assert "NOXMODEL" in header
    desktop.ask("si.cmd('save', '/nox/work/saved')")  # Siril writes HISTORY when it saves
    history = fits.getheader(work / "saved.fit")["HISTORY"]
    assert sum("stars removed (nox-1" in line for line in history) == 1
    desktop.ask("found = si.undo()")
    assert waited(lambda: np.array_equal(desktop.pixels(), before), LONG)  # one entry


def test_settings_are_remembered(desktop: Desktop) -> None:
    kept = desktop.nox / "conf" / "siril" / "nox_star_removal.json"
    assert json.loads(kept.read_text())["changes"] is False  # from the run before
    desktop.load("elephants-trunk.fit")
    desktop.choose(CHANGES)
    desktop.run("nox: stars removed in")
    stored = json.loads(kept.read_text())
    assert stored["changes"] is True
    assert (stored["starmask"], stored["stretch"]) == (True, "auto")
    assert (desktop.nox / "work" / "changes_elephants-trunk.fit").exists()
    desktop.choose(CHANGES)
    desktop.load("large.fit")  # so that the next `load` is seen


def test_only_the_selection(desktop: Desktop) -> None:
    desktop.load("elephants-trunk.fit")
    before = desktop.pixels()
    x, y, w, h = 200, 150, 400, 300
    nothing = desktop.around(SELECTION)
    desktop.ask(f"found = si.set_siril_selection({x}, {y}, {w}, {h})")
    assert desktop.changes(SELECTION, nothing)  # it can be chosen now
    desktop.choose(SELECTION)
    desktop.keep("siril-window-selection.png")
    desktop.run("nox: stars removed in")
    height = before.shape[1]
    rows, columns = slice(height - y - h, height - y), slice(x, x + w)
    changed = desktop.pixels() != before
    assert changed[:, rows, columns].mean() > 0.02
    changed[:, rows, columns] = False
    assert not changed.any()


def test_without_an_image_the_window_says_so_and_with_a_sequence_it_works_on_it(
    desktop: Desktop,
) -> None:
    desktop.ask("si.cmd('close')")
    assert waited(lambda: not desktop.lit(GO), LONG)
    desktop.keep("siril-window-empty.png")
    desktop.ask("si.create_new_seq('light_'); si.cmd('load_seq', 'light_')")
    assert waited(lambda: desktop.lit(GO), LONG)
    desktop.run("nox: 6 files written in")
    assert "nox: stars removed from 3 of 3 frames by nox-1" in desktop.log()
    work = desktop.nox / "work"
    assert (work / "starmask_light_.seq").exists()
    assert len(list(work.glob("starless_light_*.fit"))) == 3
    assert (work / "starless_light_.seq").exists()


def test_close_ends_the_script(desktop: Desktop) -> None:
    names = desktop.x("xdotool", "search", "--onlyvisible", "--name", "nox star removal").split()
    assert len(names) == 1
    desktop.click(CLOSE)
    searched = ["chroot", desktop.root, "env", "DISPLAY=:77", "xdotool", "search", "--onlyvisible"]

    def gone() -> bool:
        found = subprocess.run([*searched, "--name", "nox star removal"], capture_output=True)
        return found.stdout.strip() == b""

    assert waited(gone, LONG)
    assert "Traceback" not in desktop.log()
