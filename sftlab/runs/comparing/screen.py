"""A comparison as tables in a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from sftlab.runs.comparing import pairs
from sftlab.runs.comparing.page import beside, change, write_page
from sftlab.runs.comparing.pairs import Comparison


def compare(first: str | Path, second: str | Path, page: Path | None = None) -> Path:
    """Compare two runs, print what was found, and return the page that was written; by default beside the runs."""
    found = pairs.compare(first, second)
    show(found, Console(markup=False, highlight=False))
    return write_page(found, page or beside(found))


def show(found: Comparison, console: Console) -> None:
    """Print settings that differ, metrics, and how often only one of the two is right."""
    one, two = found.sides
    for which, side in (("first", one), ("second", two)):
        where = f"  ({side.folder.name})" if side.name != side.folder.name else ""
        console.print(f"{which:<6}  {side.name}{where}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    if found.settings:
        table = Table("setting", "first", "second", box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for name, a, b in found.settings:
            table.add_row(name, "" if a is None else str(a), "" if b is None else str(b))
        console.print(table)
    else:
        console.print("no setting differs")
    console.print()
    table = Table("metric", "first", "second", "second minus first", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for metric in found.metrics:
        name = metric.name.removesuffix("_accuracy").replace("_", " ")
        table.add_row(name, f"{metric.first:.3f}", f"{metric.second:.3f}", change(metric.difference))
    console.print(table)
    both, first, second, neither = found.counts
    console.print(
        f"\nboth right {both}, only the first {first}, only the second {second}, neither {neither}\n{found.verdict}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
