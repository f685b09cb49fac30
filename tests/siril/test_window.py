"""The script's window over a stand-in Siril, without a display: what it says and shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import starry
from siril import real_siril
from siril.conftest import unavailable
from siril.real_siril import SCRIPT, Unavailable
from siril.stand_in_siril import StandInSiril

Ask = Callable[[str], dict[str, Any]]


@pytest.fixture
def siril(tmp_path: Path) -> Iterator[StandInSiril]:
    made = StandInSiril(tmp_path, np.ascontiguousarray(starry(channels=3), np.float32))
    yield made
    made.close()


@pytest.fixture
def window(siril: StandInSiril, sirilpy_site: Path) -> Iterator[Callable[[], Ask]]:
    """Opens the window over the stand-in; what it returns does a thing and tells what is shown."""
    try:
        qt = real_siril.window_environment()
    except Unavailable as error:
        unavailable(error)
    paths = [qt, sirilpy_site, real_siril.ROOT / "tests", real_siril.ROOT]
    environment = os.environ | {
        "MY_SOCKET": siril.socket,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "QT_QPA_PLATFORM": "offscreen",
    }
    opened: list[subprocess.Popen[str]] = []

    def start() -> Ask:
        process = subprocess.Popen(
            [sys.executable, "-m", "siril.drive_window", SCRIPT],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=siril.folder,
        )  # fmt: skip
        opened.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        told, answers = process.stdin, process.stdout

        def ask(what: str) -> dict[str, Any]:
            print(what, file=told, flush=True)
            answer = answers.readline()
            assert answer, process.communicate()[1][-2000:]
            shown: dict[str, Any] = json.loads(answer)
            return shown

        return ask

    yield start
    for process in opened:
        _, said = process.communicate(timeout=300)  # the end of its orders ends it
        assert process.returncode == 0, said[-2000:]


def test_without_an_image_it_says_so_and_notices_one(
    siril: StandInSiril, window: Callable[[], Ask]
) -> None:
    picture, siril.values = siril.values, None
    ask = window()
    shown = ask("look")
    assert shown["status"] == "No image is loaded in Siril. Load one; this window will notice."
    assert (shown["about"], shown["button"], shown["views"]) == ("", "", [])
    assert shown["possible"] == []
    siril.values, siril.selection = picture, (10, 10, 50, 40)
    shown = ask("look")
    assert (shown["status"], shown["button"]) == ("Ready.", "Remove stars")
    assert shown["views"] == ["Before"]
    assert shown["possible"] == ["image", "selection"]


def test_each_kind_of_image_is_described(siril: StandInSiril, window: Callable[[], Ask]) -> None:
    sky, ask = starry(channels=3), window()
    kinds = {
        "RGB, 32 bit": sky.astype(np.float32),
        "mono, 32 bit": sky[0].astype(np.float32),
        "RGB, 16 bit": np.rint(sky * 65535).astype(np.uint16),
        "mono, 8 bit": np.rint(sky[0] * 255).astype(np.uint16),
    }
    for k, (kind, values) in enumerate(kinds.items()):
        siril.values, siril.bitpix = values, 8 if "8 bit" in kind else -32
        siril.filename = f"m{k}.fit"
        shown = ask("look")
        assert shown["about"] == f"m{k}.fit  ·  170 \u00d7 150  ·  {kind}"
        assert (shown["status"], shown["views"]) == ("Ready.", ["Before"])


def test_a_raw_mosaic_is_told_before_the_run(
    siril: StandInSiril, window: Callable[[], Ask]
) -> None:
    siril.values = np.ascontiguousarray(starry()[0], np.float32)
    siril.cards["BAYERPAT"] = "RGGB"
    shown = window()("look")
    assert shown["about"].endswith("CFA, 32 bit")
    assert shown["status"] == "A raw colour mosaic: debayer it first, its stars are not whole yet."
    assert shown["button"] == "Remove stars"


@pytest.mark.parametrize(
    ("theme", "back", "text"), [(0, "#303030", "#eeeeee"), (1, "#f6f5f4", "#1e1e1e")]
)
def test_the_colours_are_those_of_sirils_theme(
    siril: StandInSiril, window: Callable[[], Ask], theme: int, back: str, text: str
) -> None:
    siril.theme = theme
    shown = window()("look")
    assert (shown["back"], shown["text"]) == (back, text)


def test_a_run_tells_the_time_left_and_what_ran(
    siril: StandInSiril, window: Callable[[], Ask]
) -> None:
    before, ask = siril.values, window()
    ask("look")
    shown = ask("run")
    assert shown["told"][0] == "Removing stars: 0%"
    assert shown["told"][-1].startswith("Removing stars: 100%")
    assert any(line.endswith(" s left") for line in shown["told"][1:-1])
    said = r"Stars removed in \d+ s on CPU\. Siril's undo brings them back\."
    assert re.fullmatch(said, shown["status"])
    assert shown["views"] == ["Before", "After", "Stars"]
    assert (shown["view"], shown["button"]) == ("After", "Remove stars")
    assert np.any(siril.values != before)
    assert [entry.split()[0] for entry in siril.done][:2] == ["undo", "set"]


def test_a_sequence_tells_what_ran_and_warns_of_mosaics(
    siril: StandInSiril, window: Callable[[], Ask]
) -> None:
    siril.values, siril.sequence = None, True
    ask = window()
    shown = ask("look")
    assert shown["status"] == "A sequence is loaded: its frames are worked on one by one."
    assert shown["possible"] == ["sequence"]
    shown = ask("run")
    assert any("frame 2 of 2" in line for line in shown["told"])
    said = r"4 files written in \d+ s on CPU\. Raw colour mosaics: their stars are not whole; .*"
    assert re.fullmatch(said, shown["status"])
    assert sum("raw colour mosaic" in line for line in siril.messages) == 1
    assert len(list(siril.folder.glob("st*_l_*.fit"))) == 4
