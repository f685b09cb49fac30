"""Which files to do: folders and patterns spelt out, and a journal of those done."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nox_runtime.errors import OutputError, UsageError
from nox_runtime.images import readable, split_ending

#: Results of an earlier run, which a folder's listing leaves out.
_RESULTS = ("_starless", "_stars", "_descreened", "_mask", "_preview")


@dataclass(frozen=True)
class Input:
    """A file to do, and where it lay within the folder that was named."""

    path: Path
    within: Path = Path()


def _result(path: Path) -> bool:
    return split_ending(path)[0].endswith(_RESULTS)


def expand(paths: Iterable[Path], *, recursive: bool = False) -> list[Input]:
    """Spell out folders and patterns; each file once, in the order named.

    Parameters
    ----------
    paths : iterable of Path
        Files; folders, for the pictures in them that are not results of nox; patterns
        with ``*``, ``?`` and ``[]`` where the shell has not spelt them out.
    recursive : bool
        Whether folders in folders are looked into.

    Raises
    ------
    UsageError
        A folder or pattern without a picture.
    """
    made: list[Input] = []
    for path in paths:
        if path.is_dir():
            found = [
                Input(p, p.parent.relative_to(path))
                for p in sorted(path.rglob("*") if recursive else path.iterdir())
                if p.is_file() and not p.name.startswith(".") and readable(p) and not _result(p)
            ]
            if not found:
                deeper = "" if recursive else ", or --recursive for the folders in it"
                raise UsageError(f"{path}: a folder without pictures; name another{deeper}")
            made += found
        elif not path.exists() and glob.has_magic(str(path)):
            names = sorted(glob.glob(str(path), recursive=recursive))
            if not names:
                raise UsageError(f"{path}: matches no file; check the pattern")
            made += expand([Path(n) for n in names if recursive or not Path(n).is_dir()])
        else:
            made.append(Input(path))
    once: dict[Path, Input] = {}
    for item in made:
        once.setdefault(item.path.resolve(), item)
    return list(once.values())


class Journal:
    """Which files were done, with which settings: a line of JSON each.

    Parameters
    ----------
    path : Path
        The file; it is made, or added to.
    settings : dict
        What the results depend on; files done with others are done again.
    make : bool
        Whether the file is made if need be.

    Raises
    ------
    OutputError, UsageError
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, make: bool = True) -> None:
        self.path = Path(path)
        text = json.dumps(settings, sort_keys=True, default=str)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._done: dict[str, dict[str, Any]] = {}
        if readable(self.path):
            raise UsageError(f"{self.path}: is named like a picture; name another journal")
        try:
            if self.path.exists():
                for line in self.path.read_text("utf-8").splitlines():
                    self._read(line)
            elif make:
                self.path.touch()
        except UnicodeDecodeError as error:
            raise UsageError(f"{self.path}: is no journal of nox-runtime; name another") from error
        except OSError as error:
            raise OutputError(
                f"{self.path}: the journal cannot be written ({error.strerror}); name another"
            ) from error

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._done[entry["input"]] = entry
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            torn = '{"input"'
            if line.startswith(torn) or torn.startswith(
                line
            ):  # the last line of a run that was killed
                return
            raise UsageError(f"{self.path}: is no journal of nox-runtime; name another") from error

    def _state(self, path: Path) -> dict[str, Any]:
        about = path.stat()
        return {
            "input": str(path.resolve()), "bytes": about.st_size, "modified": about.st_mtime_ns,
            "key": self.key,
        }  # fmt: skip

    def done(self, path: Path, outputs: list[Path]) -> bool:
        """Whether a file was done so, has not changed since, and its results are there."""
        entry = self._done.get(str(path.resolve()))
        if entry is None or not path.exists() or not all(p.exists() for p in outputs):
            return False
        return {k: entry.get(k) for k in ("input", "bytes", "modified", "key")} == self._state(path)

    def token(self, path: Path) -> str:
        """What marks the results of a file as those of this journal, until it is added."""
        text = f"{self.path.resolve()}\n{path.resolve()}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def add(self, path: Path) -> None:
        """Note that a file is done."""
        entry = self._state(path)
        self._done[entry["input"]] = entry
        with open(self.path, "a+b") as stream:
            end, torn = stream.seek(0, os.SEEK_END), False
            if end:
                stream.seek(end - 1)
                torn = stream.read(1) != b"\n"
            stream.write(("\n" if torn else "").encode() + json.dumps(entry).encode() + b"\n")
