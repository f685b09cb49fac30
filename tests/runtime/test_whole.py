"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nox_runtime import whole
from nox_runtime.errors import OutputError
from nox_runtime.whole import SmallFile, mark, reported, take_back


def written(path: Path) -> None:
    path.write_text("whole")


def test_a_small_file_waits_for_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    made = SmallFile(path, written, "--preview", overwrite=False)
    assert not path.exists()
    assert made.temporary.read_text() == "whole"
    made.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_name_that_was_taken_meanwhile_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    made = SmallFile(path, written, "--preview", overwrite=False)
    path.write_text("another's")
    with pytest.raises(OutputError, match=r"a\.png: was made by another program meanwhile"):
        made.finish()
    assert path.read_text() == "another's"
    assert list(tmp_path.iterdir()) == [path]
    SmallFile(path, written, "--preview", overwrite=True).finish()
    assert path.read_text() == "whole"


def test_without_links_files_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(old: Path, new: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(whole.os, "link", refused)
    path = tmp_path / "a.png"
    made = SmallFile(path, written, "--preview", overwrite=False)
    mark(made.temporary, path, "run")
    made.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    late = SmallFile(tmp_path / "b.png", written, "--preview", overwrite=False)
    late.path.write_text("another's")
    with pytest.raises(OutputError, match="made by another program meanwhile"):
        late.finish()
    assert late.path.read_text() == "another's"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_results_stay_all_together_or_not_at_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a.fits", tmp_path / "b.fits"]

    def make(path: Path) -> None:
        made = SmallFile(path, written, "-o", overwrite=False)
        mark(made.temporary, path, "run")
        made.finish()

    def fail(token: str) -> None:
        with reported(paths, token):
            if token:
                make(paths[0])
            raise RuntimeError("ended")

    with pytest.raises(RuntimeError, match="ended"):
        fail("run")
    assert not list(tmp_path.iterdir())
    make(paths[0])  # and then the process ends
    with reported(paths, "run"):
        assert not list(tmp_path.iterdir())
        for path in paths:
            make(path)
    assert sorted(tmp_path.iterdir()) == paths  # no mark is left
    with pytest.raises(RuntimeError, match="ended"):
        fail("")
    assert sorted(tmp_path.iterdir()) == paths


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"No space left.*another --catalog"):
        SmallFile(tmp_path / "a.ecsv", full, "--catalog", overwrite=False)
    with pytest.raises(OutputError, match=r"cannot be written.*another --catalog"):
        SmallFile(tmp_path / "none" / "a.ecsv", written, "--catalog", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_only_what_bears_the_mark_is_taken_back(tmp_path: Path) -> None:
    own, others = tmp_path / "own.fits", tmp_path / "others.fits"
    for path in (own, others):
        made = SmallFile(path, written, "-o", overwrite=False)
        mark(made.temporary, path, "run")
        made.finish()
    others.unlink()
    others.write_text("another's")
    for path in (own, others):
        take_back(path, "another run")
        assert path.exists()
        take_back(path, "run")
    assert [p.name for p in tmp_path.iterdir()] == ["others.fits"]
    assert others.read_text() == "another's"
