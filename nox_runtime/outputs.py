"""Names of results, and the refusal of those that would lose something."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nox_runtime.catalog import check_ending
from nox_runtime.errors import OutputError, UsageError
from nox_runtime.images import output_ending, split_ending


@dataclass(frozen=True)
class Outputs:
    """Where the results of one file go; None for those not wanted."""

    starless: Path
    stars: Path | None = None
    preview: Path | None = None
    descreened: Path | None = None
    mask: Path | None = None
    catalog: Path | None = None

    def wanted(self) -> list[Path]:
        """All of them."""
        every = (
            self.starless, self.stars, self.descreened, self.mask, self.catalog, self.preview
        )  # fmt: skip
        return [p for p in every if p is not None]


def plan_outputs(
    path: Path,
    output: Path | None,
    *,
    stars: Path | bool = False,
    preview: Path | bool = False,
    descreened: Path | bool = False,
    mask: Path | bool = False,
    catalog: Path | bool = False,
    folder: bool = False,
    compress: bool = False,
) -> Outputs:
    """Name the results of a file.

    Parameters
    ----------
    path : Path
        The input.
    output : Path, optional
        A file, or a folder (one that exists, or with `folder`); by default
        ``<name>_starless<ending>`` beside the input.
    stars, descreened, mask, preview, catalog : Path or bool
        True for the default names, ``_stars``, ``_descreened``, ``_mask``,
        ``_preview.png`` and ``_stars.ecsv``.
    folder : bool
        Whether `output` is a folder even if it does not exist yet.
    compress : bool
        Whether FITS results that are named by default are tile-compressed.
    """
    name, ending = split_ending(path)
    ending = output_ending(ending)
    if compress and ending.lower().removesuffix(".gz") in (".fits", ".fit", ".fts"):
        ending = (ending[:-3] if ending.lower().endswith(".gz") else ending) + ".fz"
    if output is not None and (folder or output.is_dir()):
        starless = output / f"{name}_starless{ending}"
    elif output is not None:
        starless = output
    else:
        starless = path.with_name(f"{name}_starless{ending}")
    stem, out_ending = split_ending(starless)
    if stem.endswith("_starless"):
        stem = stem[: -len("_starless")]

    def beside(asked: Path | bool, tail: str) -> Path | None:
        if asked is True:
            return starless.with_name(stem + tail)
        return asked or None

    return Outputs(
        starless,
        beside(stars, f"_stars{out_ending}"),
        beside(preview, "_preview.png"),
        beside(descreened, f"_descreened{out_ending}"),
        beside(mask, f"_mask{out_ending}"),
        beside(catalog, "_stars.ecsv"),
    )


def check_together(inputs: list[Path], planned: list[Outputs]) -> None:
    """Refuse results of several files that would replace one another or an input.

    Raises
    ------
    UsageError
    """
    taken: dict[Path, Path] = {}
    sources = {p.resolve(): p for p in inputs}
    for path, outputs in zip(inputs, planned, strict=True):
        if outputs.preview and outputs.preview.suffix.lower() != ".png":
            raise UsageError(
                f"{outputs.preview}: a preview is a PNG; give it a name ending in .png"
            )
        if outputs.catalog:
            check_ending(outputs.catalog)
        for out in outputs.wanted():
            real = out.resolve()
            if sources.get(real, path) != path:
                raise UsageError(f"{out}: is an input too; name another folder with -o")
            if real in taken:
                raise UsageError(
                    f"{out}: would be the result of both {taken[real]} and {path}; "
                    "give them names or folders of their own"
                )
            taken[real] = path


def check(path: Path, outputs: Outputs, overwrite: bool, read: Iterable[Any] = ()) -> None:
    """Refuse what would lose something, before any work is done.

    Parameters
    ----------
    path : Path
        The input.
    outputs : Outputs
    overwrite : bool
    read : iterable
        What else is read, such as a mask, a catalogue and the model; only paths count.

    Raises
    ------
    UsageError, OutputError
    """
    check_together([path], [outputs])
    others = [Path(other) for other in read if isinstance(other, (str, Path))]
    for out in outputs.wanted():
        if out.exists() and path.exists() and out.samefile(path):
            raise OutputError(f"{out}: is the input itself; name another output with -o")
        for other in others:
            if out.exists() and other.exists() and out.samefile(other):
                raise OutputError(f"{out}: is read for this result; name another output")
        if os.path.lexists(out) and not overwrite:
            hint = "give --overwrite to replace it"
            named = out in (outputs.stars, outputs.descreened, outputs.mask)
            if named and not split_ending(out)[0].endswith(("_stars", "_descreened", "_mask")):
                hint = "name another, or if it is an input, give it before the options"
            raise OutputError(f"{out}: exists already; {hint}")
        if not out.parent.is_dir():
            raise OutputError(f"{out}: its folder does not exist; make it or choose another -o")
