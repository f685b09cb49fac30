"""The hashes of the report."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from nox_runtime.report import Hashing


def test_hashes_are_those_of_the_files(tmp_path: Path) -> None:
    named = {name: tmp_path / name for name in ("input", "starless", "stars")}
    for name, path in named.items():
        path.write_bytes(name.encode() * 500_000)
    with Hashing(named["input"]) as hashing:
        made = hashing.all(named)
    assert made == {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in named.items()}


def test_leaving_early_waits_for_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with open(path, "wb") as out:
        out.truncate(40 << 30)  # minutes of hashing, and no room on the disk
    before = threading.active_count()
    with Hashing(path):
        pass
    assert threading.active_count() == before
