"""`nox-bench` from the command line: results, reports and errors."""

from __future__ import annotations

import json
import mmap
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nox_train.benchmark import cli, page, report, suite
from nox_train.benchmark.meter import Meter, environment, resident
from nox_train.benchmark.removers import write16

from .conftest import COLOUR, LINEAR


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small scenes in place of the grid."""
    pytest.importorskip("galsim", reason="scenes need galsim (extra bench)")
    monkeypatch.setattr("nox_train.benchmark.grid.grid", lambda quick: [COLOUR, LINEAR])


@pytest.fixture
def result(small: None, cache: Path, tmp_path: Path) -> Path:
    path = tmp_path / "identity.json"
    words = ["run", "--remover", "identity", "--cache", str(cache), "-o", str(path), "-q"]
    assert cli.main(words) == 0
    return path


def test_a_run_writes_a_result(result: Path) -> None:
    found = suite.read(result)
    assert found["remover"] == {"name": "identity", "kind": "built-in"}
    assert found["synthetic"]["set"]["scenes"] == 2
    assert found["synthetic"]["summary"]["completeness"]["above 10 sigma"]["share"] == 0
    assert found["synthetic"]["cost"]["seconds"] > 0
    assert {c["kind"] for c in found["crops"]} >= {"brightest star", "worst place"}
    printed = report.text([found])
    assert "identity" in printed
    assert re.search(r"above 10 sigma\s+0\.00 %", printed)


def test_the_same_run_gives_the_same_figures(
    result: Path, small: None, cache: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.json"
    words = ["run", "--remover", "identity", "--cache", str(cache), "-o", str(again), "-q"]
    assert cli.main(words) == 0
    one, two = suite.read(result), suite.read(again)
    for part in ("summary", "by", "set"):
        assert one["synthetic"][part] == two["synthetic"][part]
    assert one["crops"] == two["crops"]


def test_a_report_is_one_page_that_needs_nothing_else(result: Path, tmp_path: Path) -> None:
    other = json.loads(result.read_text())
    other["remover"]["name"] = "<other>"
    (tmp_path / "other.json").write_text(json.dumps(other))
    out = tmp_path / "report.html"
    words = ["report", str(result), str(tmp_path / "other.json"), "-o", str(out)]
    assert cli.main([*words, "--json", str(tmp_path / "tables.json")]) == 0
    tables = json.loads((tmp_path / "tables.json").read_text())
    assert [r["remover"]["name"] for r in tables["results"]] == ["identity", "<other>"]
    assert tables["results"][0]["synthetic"]["summary"] == other["synthetic"]["summary"]
    assert "crops" not in tables["results"][0]
    text = out.read_text()
    opened: list[str] = []
    addresses: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "img"):
                opened.append(tag)
            addresses.extend(v or "" for k, v in attrs if k in ("src", "href"))

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed(text)
    assert opened == []
    assert addresses
    assert all(a.startswith("data:image/jpeg;base64,") for a in addresses)
    assert "&lt;other&gt;" in text
    assert "<other>" not in text
    assert "cannot be compared" not in text


def test_results_of_different_scenes_are_said_not_to_compare(result: Path) -> None:
    one, two = (suite.read(result) for _ in range(2))
    two["synthetic"]["set"]["fingerprint"] = "0" * 16
    assert "cannot be compared" in page.render([one, two])
    two["synthetic"]["set"] = one["synthetic"]["set"] | {"measures": 1}
    assert "define figures differently" in page.render([one, two])
    assert "define figures differently" not in page.render([one, one])
    assert report.names([one, two]) == ["identity #1", "identity #2"]


def test_photographs_are_measured_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(1)
    picture = rng.normal(0.2, 0.01, (3, 96, 96))
    yy, xx = np.mgrid[:96, :96]
    picture += 0.6 * np.exp(-((yy - 41) ** 2 + (xx - 43) ** 2) / 3.0)
    write16(folder / "one.tif", picture)
    out = tmp_path / "real.json"
    words = ["run", "--remover", "opening", "--real-only", "--real", str(folder), "-q"]
    assert cli.main([*words, "-o", str(out)]) == 0
    found = suite.read(out)
    assert found["real"]["pictures"][0]["name"] == "one.tif"
    assert found["real"]["pictures"][0]["sources"] == 1
    assert found["real"]["pictures"][0]["left"] == 0
    assert "synthetic" not in found
    assert "sources left, median" in capsys.readouterr().out
    assert "<h2>" in page.render([found])
    (folder / "bad.tif").write_bytes(b"nothing")
    assert cli.main([*words, "-o", str(out), "--overwrite"]) == 1
    assert "bad.tif" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "--remover", "nothing", "-q"], 2, "no such remover"),
        (["run", "--real", "nowhere", "-q"], 1, "nowhere: no such file"),
        (["run", "--real-only", "-q"], 1, "no photographs"),
        (["run", "--backgrounds", "nowhere", "-q"], 1, "no such folder"),
        (["report", "nowhere.json", "-o", "r.html"], 1, "nowhere.json: cannot be read"),
    ],
)
def test_errors_are_one_line(
    words: list[str], code: int, said: str, small: None, tmp_path: Path,
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if words[0] == "run":
        words = [*words, "--cache", str(cache)]
    assert cli.main(words) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("nox-bench: error: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_result_is_not_overwritten_unasked(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result.read_bytes()
    assert cli.main(["run", "--remover", "identity", "-o", str(result), "-q"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert result.read_bytes() == before
    result.write_text("{}")
    with pytest.raises(ValueError, match="not a result"):
        suite.read(result)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom nox_train.benchmark.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'galsim', 'keras', 'tensorflow'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_photographs_need_no_galsim(tmp_path: Path) -> None:
    write16(tmp_path / "a.tif", np.random.default_rng(1).normal(0.2, 0.01, (1, 96, 96)))
    code = (
        "import sys; sys.modules['galsim'] = None\n"
        "from nox_train.benchmark.cli import main\n"
        "words = ['run', '-q', '--remover', 'identity', '--real', sys.argv[1]]\n"
        "print(main([*words, '--real-only']), main(words))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 1"
    assert "galsim is not installed; install" in done.stderr


def test_the_benchmark_needs_no_keras() -> None:
    code = (
        "import sys, nox_train.benchmark.suite, nox_train.benchmark.peers\n"
        "import nox_train.benchmark.page, nox_train.benchmark.real\n"
        "print(sorted({'keras', 'tensorflow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_meter_sees_time_and_memory() -> None:
    if resident() is None:
        pytest.skip("this system does not tell a process' memory")
    meter = Meter()
    before = resident()
    with meter, mmap.mmap(-1, 64 << 20) as block:
        block.write(bytes([1]) * (64 << 20))
        time.sleep(0.05)
    assert meter.seconds[0] >= 0.05
    assert meter.peak is not None
    assert before is not None
    assert meter.peak - before > 50
    assert environment()["cores"] >= 1
