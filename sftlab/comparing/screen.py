"""A comparison as tables in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sftlab.comparing.page import change
from sftlab.comparing.pairs import Comparison


def show(found: Comparison, console: Console) -> None:
    """Print settings that differ, metrics, and how often only one of the two is right."""
    one, two = found.sides
    console.print(f"first   {one.name}\nsecond  {two.name}\n", markup=False, highlight=False)
    if found.settings:
        table = Table("setting", "first", "second", box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for name, a, b in found.settings:
            table.add_row(name, "" if a is None else str(a), "" if b is None else str(b))
        console.print(table)
    else:
        console.print("no setting differs")
    console.print()
    table = Table("metric", "first", "second", "second minus first", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for metric in found.metrics:
        table.add_row(
            metric.name.replace("_", " "), f"{metric.first:.3f}", f"{metric.second:.3f}", change(metric.difference)
        )
    console.print(table)
    both, first, second, neither = found.counts
    console.print(
        f"\nboth right {both}, only the first {first}, only the second {second}, neither {neither}\n{found.verdict}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
