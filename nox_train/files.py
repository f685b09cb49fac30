"""Small files: whole or not at all, and none replaced unasked."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all; its folder is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def read_json(path: Path) -> dict:
    """What a file holds; nothing where there is none, or one cut short."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def refuse_existing(path: Path | None, overwrite: bool) -> None:
    """Refuse an output that is there already.

    Raises
    ------
    FileExistsError
    """
    if path is not None and path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; give another name or --overwrite")
