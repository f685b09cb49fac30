"""The examples of docs/api.md do what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_examples_of_the_api_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask.array")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "api.md").read_text().replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, "api.md", "api.md", 0)
    assert len(test.examples) > 25
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_every_option_is_documented() -> None:
    from nox_runtime.arguments import parser

    runs = next(a for a in parser()._actions if a.choices and "run" in a.choices).choices["run"]
    documented = (ROOT / "docs" / "runtime.md").read_text()
    for action in runs._actions:
        for name in action.option_strings:
            if name.startswith("--") and name not in ("--help", "--output", "--quiet", "--verbose"):
                assert name in documented, name
