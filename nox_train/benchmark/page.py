"""Results as one self-contained HTML page: tables, curves and crops."""

from __future__ import annotations

from html import escape
from pathlib import Path

from nox_train.benchmark.report import Section, groups, look, names, present
from nox_train.files import write_text

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px;
  padding: 0 1rem; color: #1d2330; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .22rem .7rem; border-bottom: 1px solid #dde1e8; }
thead th, td { text-align: right; font-variant-numeric: tabular-nums; }
tbody th { text-align: left; font-weight: 400; }
.row { display: flex; flex-wrap: wrap; gap: 6px; margin: .2rem 0 1rem; }
figure { margin: 0; } figcaption { font-size: .8rem; color: #566; }
figure img { display: block; width: 256px; image-rendering: pixelated; background: #000; }
.scroll { overflow-x: auto; } .note { color: #566; font-size: .9rem; }
summary { cursor: pointer; font-weight: 600; }
@media (prefers-color-scheme: dark) { body { background: #14171d; color: #e3e7ee; }
  th, td { border-color: #333a46; } figcaption, .note { color: #9aa4b2; } }
"""
_COLOURS = ("#2f6fde", "#d9662b", "#2c9a5b", "#9a4fc4", "#b8912a", "#c23b5a", "#4aa3b5", "#777")


def _table(title: str, rows: list[tuple[str, list[str]]], heads: list[str]) -> str:
    top = "".join(f"<th scope=col>{escape(h)}</th>" for h in heads)
    body = ""
    for name, cells in rows:
        filled = "".join(f"<td>{escape(c)}</td>" for c in cells)
        body += f"<tr><th scope=row>{escape(name)}</th>{filled}</tr>"
    return (
        f"<div class=scroll><table><caption>{escape(title)}</caption>"
        f"<thead><tr><th></th>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _tables(sections: list[Section], heads: list[str]) -> str:
    return "".join(_table(title, rows, heads) for title, rows in sections)


def _curves(results: list[dict], heads: list[str]) -> str:
    """Completeness against width and brightness, as SVG."""
    out = []
    base = ("synthetic", "summary", "completeness")
    for title, key, tail in (
        ("Stars removed by peak over noise", "by snr", ("share",)),
        ("Stars above 10 sigma removed, by width", "by fwhm", ("above 10 sigma", "share")),
    ):
        bins: list[str] = []
        for result in results:
            found = result.get("synthetic", {}).get("summary", {}).get("completeness", {})
            bins += [b for b in found.get(key, {}) if b not in bins]
        if len(bins) < 2:
            continue
        wide, high, left, low = 520, 230, 44, 34
        step = (wide - left - 20) / (len(bins) - 1)
        parts = []
        for i in range(5):
            y = 10 + i * (high - low - 10) / 4
            parts.append(
                f'<line x1="{left}" x2="{wide - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>'
                f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{100 - 25 * i} %</text>'
            )
        for i, name in enumerate(bins):
            parts.append(
                f'<text x="{left + i * step:.1f}" y="{high - 12}" text-anchor="middle">'
                f"{escape(name)}</text>"
            )
        for k, result in enumerate(results):
            colour = _COLOURS[k % len(_COLOURS)]
            values = [look(result, (*base, key, b, *tail)) for b in bins]
            points = " ".join(
                f"{left + i * step:.1f},{10 + (1 - v) * (high - low - 10):.1f}"
                for i, v in enumerate(values)
                if v is not None
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2">'
                f"<title>{escape(heads[k])}</title></polyline>"
            )
        out.append(
            f"<figure><figcaption>{escape(title)}</figcaption>"
            f'<svg viewBox="0 0 {wide} {high}" width="{wide}" font-size="11" fill="currentColor">'
            f"{''.join(parts)}</svg></figure>"
        )
    keys = "".join(
        f'<span style="color:{_COLOURS[k % len(_COLOURS)]}">&#9632;</span> {escape(h)} &nbsp; '
        for k, h in enumerate(heads)
    )
    return f"<p>{keys}</p><div class=row>{''.join(out)}</div>" if out else ""


def _image(address: str, caption: str) -> str:
    name = escape(caption)
    return (
        f'<figure><img loading=lazy src="{escape(address)}" alt="{name}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _crops(results: list[dict], heads: list[str]) -> str:
    """Crops of the same place side by side; the worst places each by itself."""
    same: dict[tuple, list[tuple[str, dict]]] = {}
    worst: list[tuple[str, dict]] = []
    for head, result in zip(heads, results, strict=True):
        for crop in result.get("crops", []):
            if crop["kind"] == "worst place":
                worst.append((head, crop))
            else:
                place = (crop["scene"], crop["kind"], crop["x"], crop["y"])
                same.setdefault(place, []).append((head, crop))
    rows = []
    for (scene, kind, _, _), members in same.items():
        rows.append(_row(f"{scene}: {kind}", members))
    bad = [_row(f"{head}, {crop['scene']}: worst place", [(head, crop)]) for head, crop in worst]
    shown = f"<h2>Crops at full size, doubled</h2>{''.join(rows)}" if rows else ""
    if bad:
        shown += f"<details open><summary>Where each did worst</summary>{''.join(bad)}</details>"
    return shown


def _row(title: str, members: list[tuple[str, dict]]) -> str:
    first = members[0][1]
    images = [_image(first[k], k) for k in ("input", "truth") if k in first]
    images += [_image(crop["output"], head) for head, crop in members]
    return f"<p class=note>{escape(title)}</p><div class=row>{''.join(images)}</div>"


def _sets(results: list[dict]) -> str:
    """A warning where the results are of different scenes."""
    sets = [r["synthetic"]["set"] for r in results if "synthetic" in r]
    found = {s["fingerprint"] for s in sets}
    if len(found) < 2:
        kinds = {s.get("measures") for s in sets}
        return "" if len(kinds) < 2 else (
            "<p><strong>These results were measured by versions that define figures differently; "
            "measure them anew with one version.</strong></p>"
        )  # fmt: skip
    return (
        "<p><strong>These results were measured on different sets of scenes "
        f"({escape(', '.join(sorted(found)))}): their synthetic figures cannot be compared. "
        "Measure them anew with one version, the same backgrounds, and all or none with "
        "--quick.</strong></p>"
    )


def _about(results: list[dict], heads: list[str]) -> str:
    rows = []
    for head, result in zip(heads, results, strict=True):
        where = result["environment"]
        packages = ", ".join(f"{k} {v}" for k, v in where["packages"].items() if v)
        synthetic = result.get("synthetic", {}).get("set", {})
        scenes = (
            f"{synthetic['scenes']} scenes, backgrounds {synthetic['backgrounds']}, "
            f"set {synthetic['fingerprint']}"
            if synthetic
            else "no synthetic part"
        )
        remover = ", ".join(f"{k} {v}" for k, v in result["remover"].items() if k != "name" and v)
        text = (
            f"{remover}. {result['date']}; {scenes}. {where['processor']}, {where['cores']} cores, "
            f"load {where['load']} at the start; {where['system']}, Python {where['python']}, "
            f"{packages}"
        )
        failed = result.get("real", {}).get("failed", [])
        if failed:
            text += f". Photographs that failed: {'; '.join(f['reason'] for f in failed)}"
        rows.append(f"<dt><strong>{escape(head)}</strong></dt><dd>{escape(text)}</dd>")
    return f"<h2>What was measured, and where</h2><dl class=note>{''.join(rows)}</dl>"


def _photographs(results: list[dict], heads: list[str]) -> str:
    """Every photograph: sources before, and left by each remover."""
    lists = [{p["name"]: p for p in r.get("real", {}).get("pictures", [])} for r in results]
    every = list(dict.fromkeys(n for pictures in lists for n in pictures))
    rows = []
    for name in every:
        before = next(p[name]["sources"] for p in lists if name in p)
        cells = [
            f"{p[name]['left']} left, {p[name]['pits']} pits" if name in p else "-" for p in lists
        ]
        rows.append((name, [str(before), *cells]))
    if not rows:
        return ""
    return _table("Photographs: sources above 10 sigma", rows, ["before", *heads])


def render(results: list[dict]) -> str:
    """The page, as text.

    Parameters
    ----------
    results : list of dict
        From `nox_train.benchmark.suite.run` or `read`.

    Returns
    -------
    str
        HTML that needs no other file.
    """
    heads = names(results)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>nox-bench</title><style>{_STYLE}</style>"
        "<h1>Star removal, measured by nox-bench</h1>"
        "<p class=note>Each figure is defined in docs/benchmark.md. PSNR of pictures that agree "
        "to 16 bits is given as 100 dB.</p>"
        f"{_sets(results)}{_tables(present(results), heads)}{_curves(results, heads)}"
        "<details><summary>By brightness, width, stretch, colour and spikes</summary>"
        f"{_tables(groups(results), heads)}</details>"
        f"{_photographs(results, heads)}{_crops(results, heads)}{_about(results, heads)}</html>\n"
    )


def write(results: list[dict], path: Path) -> None:
    """Write the page; it appears whole or not at all."""
    write_text(path, render(results))
