"""The table ``log.csv`` of a training: a row for each validation."""

from __future__ import annotations

import csv
from pathlib import Path

#: Those of the losses and scores may be empty: not every training has a
#: discriminator (`judge`) or pictures of the user's (`own_stars`).
COLUMNS = (
    "step", "seconds", "megapixels", "rate", "loss", "psnr", "psnr_stars", "psnr_sky", "removed",
    "grain", "judge", "own_stars",
)  # fmt: skip
_FORMATS = {
    "step": "d", "seconds": ".0f", "megapixels": ".1f", "rate": ".2e", "loss": ".5f",
    "judge": ".5f",
}  # fmt: skip


def trim(path: Path, step: int) -> None:
    """Drop the rows that came after `step`: they will be run again."""
    rows: list[list[str]] = []
    if path.exists():
        with open(path, newline="") as stream:
            rows = [r for r in list(csv.reader(stream))[1:] if r]
    # Logs of earlier versions have fewer columns.
    kept = [r + [""] * (len(COLUMNS) - len(r)) for r in rows if int(r[0]) <= step]
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *kept])


def add(path: Path, values: dict[str, float | None]) -> None:
    """Add a row; what is None or not given stays empty."""
    row = []
    for name in COLUMNS:
        value = values.get(name)
        row.append("" if value is None else format(value, _FORMATS.get(name, ".4f")))
    with open(path, "a", newline="") as stream:
        csv.writer(stream).writerow(row)
