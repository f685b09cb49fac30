"""Results as tables: the rows that both the terminal and the page show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: A path into a result: keys and list indices.
Path_ = Sequence[str | int]
#: A table of text: its title, and rows of a name and a cell for each result.
Section = tuple[str, list[tuple[str, list[str]]]]


@dataclass(frozen=True)
class Row:
    """One figure: what it is called, where it is, how it is written."""

    name: str
    path: Path_
    form: str = "{:.2f}"
    factor: float = 1.0

    def text(self, result: dict) -> str:
        """The figure of one result; a dash where it has none."""
        value = look(result, self.path)
        return "-" if value is None else self.form.format(self.factor * value)


def look(result: dict, path: Path_) -> float | None:
    """Follow a path into a result; None where it ends early."""
    here: object = result
    for key in path:
        try:
            here = here[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return None
    return here if isinstance(here, (int, float)) else None


_S = ("synthetic", "summary")
_R = ("real", "summary")


def _share(name: str, *path: str | int) -> Row:
    return Row(name, path, "{:.2f} %", 100.0)


#: The tables, in order: title, then rows.
TABLES: tuple[tuple[str, tuple[Row, ...]], ...] = (
    (
        "Stars removed",
        (
            _share("above 10 sigma", *_S, "completeness", "above 10 sigma", "share"),
            _share("5 to 10 sigma", *_S, "completeness", "5-10 sigma", "share"),
            _share("saturated", *_S, "completeness", "saturated", "share"),
            _share(
                "above 10 sigma of the grain, hidden in texture or not", *_S, "completeness",
                "above 10 sigma of the grain", "share",
            ),
            _share(
                "5 to 10 sigma of the grain, likewise", *_S, "completeness",
                "5-10 sigma of the grain", "share",
            ),
        ),
    ),
    (
        "Likeness to the truth (mean over scenes)",
        (
            Row("PSNR, dB", (*_S, "psnr", "overall", "mean")),
            Row("PSNR inside the footprint, dB", (*_S, "psnr", "inside", "mean")),
            Row("PSNR outside, dB", (*_S, "psnr", "outside", "mean")),
            Row("lowest PSNR outside, dB", (*_S, "psnr", "outside", "min")),
            Row("SSIM", (*_S, "ssim", "overall", "mean"), "{:.4f}"),
            Row("SSIM inside the footprint", (*_S, "ssim", "inside", "mean"), "{:.4f}"),
            Row("SSIM outside", (*_S, "ssim", "outside", "mean"), "{:.4f}"),
        ),
    ),
    (
        "What must stay",
        (
            _share("flux kept by galaxies and knots, median", *_S, "kept flux", "all", "median"),
            _share("their 10th percentile", *_S, "kept flux", "all", "p10"),
            _share("galaxies, median", *_S, "kept flux", "galaxy", "median"),
            _share("knots, median", *_S, "kept flux", "knot", "median"),
            _share("planetary nebulae, median", *_S, "kept flux", "planetary", "median"),
            _share("deleted (less than half kept)", *_S, "kept flux", "all", "deleted"),
            _share("pixels untouched outside the footprint", *_S, "untouched", "mean"),
        ),
    ),
    (
        "What is left behind",
        (
            Row("background bias outside, sigma (median size)",
                (*_S, "bias", "outside size", "median"), "{:.4f}"),
            Row("the worst scene's", (*_S, "bias", "outside size", "max"), "{:.4f}"),
            Row("bias under the stars, sigma (median)",
                (*_S, "bias", "inside", "median"), "{:+.3f}"),
            _share("dark pits per star removed", *_S, "pits", "per star removed"),
            Row("grain ratio (median)", (*_S, "grain ratio", "median"), "{:.3f}"),
            Row("colour cast under bright stars (median)", (*_S, "tint", "median"), "{:.4f}"),
            _share("bright stars with a visible cast", *_S, "tint", "visible"),
        ),
    ),
    (
        "Glow left round saturated stars (median size, sigma)",
        tuple(
            Row(f"{a:g} to {b:g} FWHM", (*_S, "halo", i, "median size"))
            for i, (a, b) in enumerate(((1, 2), (2, 3), (3, 5), (5, 8), (8, 12)))
        ),
    ),
    (
        "Real photographs",
        (
            _share("sources left, median", *_R, "left share", "median"),
            _share("sources left, worst picture", *_R, "left share", "max"),
            _share("dark pits per source removed, median",
                   *_R, "pits per source removed", "median"),
            Row("grain ratio (median)", (*_R, "grain ratio", "median"), "{:.3f}"),
            _share("pixels changed visibly (median)", *_R, "changed", "median"),
            Row("seam: largest change of the display", (*_R, "seam", "max"), "{:.2g}"),
            _share("the ten brightest stars of each, left", *_R, "brightest left"),
            Row("core of bright stars, sigma (median)", (*_R, "halo", 0, "signed", "median")),
            Row("glow, 1 to 2 radii, sigma (median size)", (*_R, "halo", 1, "median")),
            Row("glow, 2 to 4 radii", (*_R, "halo", 2, "median")),
            Row("glow, 4 to 6 radii", (*_R, "halo", 3, "median")),
            Row("glow, 6 to 10 radii", (*_R, "halo", 4, "median")),
            Row("glow, 10 to 16 radii", (*_R, "halo", 5, "median")),
        ),
    ),
    (
        "Cost",
        (
            Row("seconds a megapixel, synthetic (median)",
                ("synthetic", "cost", "seconds per megapixel"), "{:.2f}"),
            Row("seconds a megapixel, photographs (median)",
                (*_R, "seconds per megapixel", "median"), "{:.2f}"),
            Row("memory for 512 px scenes, MiB", ("synthetic", "cost", "memory MiB"), "{:.0f}"),
        ),
    ),
)  # fmt: skip


def names(results: list[dict]) -> list[str]:
    """Names of the removers, told apart where two are the same."""
    out: list[str] = []
    for result in results:
        name = result["remover"]["name"]
        same = sum(r["remover"]["name"] == name for r in results)
        number = 1 + sum(n.split(" #")[0] == name for n in out)
        out.append(f"{name} #{number}" if same > 1 else name)
    return out


def present(results: list[dict]) -> list[Section]:
    """Tables of text: title, then rows of a name and a figure for each result."""
    tables = []
    for title, rows in TABLES:
        filled = [(row.name, [row.text(r) for r in results]) for row in rows]
        filled = [(name, cells) for name, cells in filled if any(c != "-" for c in cells)]
        if filled:
            tables.append((title, filled))
    return tables


def _keys(results: list[dict], path: Path_) -> list[str]:
    """Keys that any result has at a path, in order."""
    keys: list[str] = []
    for result in results:
        found: object = result
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        keys += [k for k in found if k not in keys] if isinstance(found, dict) else []
    return keys


def groups(results: list[dict]) -> list[Section]:
    """More tables: completeness by brightness and width, and main figures by kind."""
    percent = ("{:.2f} %", 100.0)
    done = (*_S, "completeness")
    asked: list[tuple[str, Path_, Path_, tuple[str, float]]] = [
        ("Stars removed, by peak over noise", (*done, "by snr"), ("share",), percent)
    ]
    for level in ("above 10 sigma", "5-10 sigma"):
        title = f"Stars of {level} removed, by width"
        asked.append((title, (*done, "by fwhm"), (level, "share"), percent))
    for key in ("stretch", "colour", "vanes"):
        path: Path_ = ("synthetic", "by", key)
        asked.append(
            (f"Stars above 10 sigma removed, by {key}", path, ("above 10 sigma",), percent)
        )
        inside = (f"PSNR inside the footprint, by {key}", path, ("psnr inside",), ("{:.2f}", 1.0))
        asked.append(inside)
    tables = []
    for title, path, tail, (form, factor) in asked:
        rows = [
            (key, [Row(key, (*path, key, *tail), form, factor).text(r) for r in results])
            for key in _keys(results, path)
        ]
        if rows:
            tables.append((title, rows))
    return tables


def text(results: list[dict]) -> str:
    """The tables for a terminal."""
    heads = names(results)
    tables = present(results)
    wide = max((len(name) for _, rows in tables for name, _ in rows), default=0)
    columns = [max(len(h), 9) for h in heads]
    lines = [" " * wide + "".join(f"  {h:>{c}}" for h, c in zip(heads, columns, strict=True))]
    for title, rows in tables:
        lines.append(title)
        for name, cells in rows:
            filled = "".join(f"  {v:>{c}}" for v, c in zip(cells, columns, strict=True))
            lines.append(f"{name:{wide}}{filled}")
    return "\n".join(lines)
