"""What a sweep leaves beside its runs: `results.csv`, a picture, and `index.html`, which links every notebook."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sftlab.core.records import Interval
from sftlab.runs import grids
from sftlab.runs import results as runs
from sftlab.runs.sweeping.plan import SEED, Grid

PICTURE, INDEX = "picture.svg", "index.html"
Row = dict[str, Any]

STYLE = """
body { font: 15px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto }
body { padding: 0 1rem } h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2rem }
p { max-width: 46rem } .quiet { color: #696969 } img { max-width: 100%; height: auto } .wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th { border-bottom: 1px solid #bbb }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; white-space: nowrap } td { border-bottom: 1px solid #eee }
tr.chosen td { background: #fdf1e7 } .failed { color: #a33c00 } pre { white-space: pre-wrap; margin: .2rem 0 1rem }
"""


def write_table(folder: Path, grid: Grid, rows: Iterable[Row]) -> Path:
    """Write `results.csv`, a row a run: what varies, the seed, what is fixed, status, metrics with bounds, seconds."""
    rows = [row | {"folder": _inside(folder, row)} for row in rows]
    first = [*grid.varied, SEED, *grid.fixed, "status"]
    last = ["seconds", "folder", "error"]
    seen = list(dict.fromkeys(name for row in rows for name in row))
    parameters = [name for name in seen if name.isupper() and name not in first]
    metrics = [name for name in seen if not name.isupper() and name not in (*first, *last, "notebook")]
    columns = [name for name in (*first, *metrics, *parameters, *last) if name in seen]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return _write(folder / runs.RESULTS, text.getvalue())


def write_picture(folder: Path, grid: Grid, rows: Sequence[Row]) -> Path | None:
    """Draw `picture.svg`; None, and no picture, as long as no run has left validation numbers."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from sftlab import plot
    from sftlab.plot import style

    if grids.best(grids.settings(rows, grid.varied)) is None:
        (folder / PICTURE).unlink(missing_ok=True)
        return None
    with mpl.rc_context(style.RULES):
        size = _size(grid, rows)
        figure = Figure(figsize=size, layout="constrained")
        plot.grid(rows, grid.varied, ax=figure.add_subplot())
        _, data = style.picture(figure)
    return _write(folder / PICTURE, data.decode())


def write_index(folder: Path, grid: Grid, rows: Sequence[Row], *, command: str) -> Path:
    """Write `index.html`: the verdict, the picture, every setting, every run with its notebook and report."""
    found = grids.settings(rows, grid.varied)
    chosen, said = grids.best(found), grids.verdict(found)
    counts = {s: sum(row["status"] == s for row in rows) for s in dict.fromkeys(row["status"] for row in rows)}
    fixed = ", ".join(f"{name} {grids.shown(value)}" for name, value in grid.fixed.items())
    open_ = len(rows) - counts.get(runs.FINISHED, 0)
    parts = [
        f"<h1>{escape(grid.name)}</h1>",
        f'<p class="quiet">{escape(grid.source.stem)}{escape(f", {fixed}" if fixed else "")}<br>'
        f"{len(rows)} runs: {', '.join(f'{n} {s}' for s, n in counts.items())}</p>",
        f"<p>{escape(said)}</p>",
        f'<p><img src="{PICTURE}" alt="{escape(said, quote=True)}"></p>' if (folder / PICTURE).is_file() else "",
        "<h2>Settings</h2>", _settings(found, chosen),
        "<h2>Runs</h2>", _runs(folder, grid, rows),
        f'<p class="quiet">All numbers, with their intervals: <a href="{runs.RESULTS}">{runs.RESULTS}</a>, or '
        f"<code>sft.load_runs({str(folder)!r})</code>.</p>",
    ]  # fmt: skip
    if open_:
        parts.append(f"<p>The same command goes on where this stands: <code>{escape(command)}</code></p>")
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(grid.name)}</title>"
    page += f'<meta name=viewport content="width=device-width"><style>{STYLE}</style>\n'
    return _write(folder / INDEX, page + "\n".join(filter(None, parts)) + "</html>\n")


def _settings(found: Sequence[grids.Setting], chosen: grids.Setting | None) -> str:
    """Return the settings as a table; the test accuracy is shown of the chosen one only."""
    names = list(found[0].values) if found else []
    lines = [_line([*names, "runs", "valid accuracy", "test accuracy of the chosen one"], "th")]
    for s in sorted(found, key=lambda s: -(s.valid.value if s.valid else -1)):
        count = str(len(s.rows)) if len(s.rows) == s.asked else f"{len(s.rows)} of {s.asked}"
        test = _number(s.tested) if s is chosen else ""
        cells = [*map(grids.shown, s.values.values()), count, _number(s.valid), test]
        lines.append(_line([escape(cell) for cell in cells], mark="chosen" if s is chosen else ""))
    return f"<div class=wide><table>{''.join(lines)}</table></div>"


def _runs(folder: Path, grid: Grid, rows: Sequence[Row]) -> str:
    names = [name for name in (*grid.varied, SEED) if any(name in row for row in rows)]
    lines = [_line([*names, "status", "valid", "test", "seconds", "notebook", "report"], "th")]
    for row in rows:
        cells = [grids.shown(row[name]) if name in row else "" for name in names]
        valid = f"{row['valid_accuracy']:.3f}" if "valid_accuracy" in row else ""
        test = [row[f"accuracy{end}"] for end in ("", "_low", "_high")] if "accuracy" in row else []
        seconds = f"{row['seconds']:.1f}" if row.get("seconds") else ""
        links = [_link(folder, row, grid, ending) for ending in (".ipynb", ".html")]
        cells = [*map(escape, cells), row["status"], valid, _number(Interval(*test)) if test else "", seconds, *links]
        bad = row["status"] in (runs.FAILED, runs.DAMAGED)
        lines.append(_line(cells, mark="failed" * bad))
        if bad:
            lines.append(f"<tr class=failed><td colspan={len(cells)}><pre>{escape(row['error'])}</pre>")
    return f"<div class=wide><table>{''.join(lines)}</table></div>"


def _link(folder: Path, row: Row, grid: Grid, ending: str) -> str:
    path = f"{_inside(folder, row)}/{grid.source.stem}{ending}"
    words = "notebook" if ending == ".ipynb" else "report"
    return f'<a href="{quote(path)}">{words}</a>' if (folder / path).is_file() else ""


def _line(cells: Sequence[str], kind: str = "td", mark: str = "") -> str:
    return f'<tr class="{mark}">' + "".join(f"<{kind}>{cell}" for cell in cells) + "\n"


def _number(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval:.3f}" if interval.low < interval.high else f"{interval.value:.3f}"


def _size(grid: Grid, rows: Sequence[Row]) -> tuple[float, float]:
    """Return inches for the picture: as wide as the longer of two lists of values, as high as there are rows."""
    if len(grid.varied) == 2:
        short, long = sorted(len({str(row.get(name)) for row in rows}) for name in grid.varied)
        return max(5.4, 1.9 + 1.15 * long), 2.0 + 0.62 * short
    if len(grid.varied) == 1:
        return 7.0, 3.6
    return 7.5, 1.5 + 0.3 * min(30, len(grids.settings(rows, grid.varied)))


def _inside(folder: Path, row: Row) -> str:
    return Path(row["folder"]).relative_to(folder).as_posix()


def _write(path: Path, text: str) -> Path:
    """Write a file whole or not at all: it may be open in a browser while the sweep goes on."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)
    return path
