"""How a sweep tells how it goes: a bar with the time left in a terminal, one line a run in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sftlab.runs.execution import Task
from sftlab.runs.results import FINISHED
from sftlab.runs.sweeping.conductor import Watch
from sftlab.runs.sweeping.plan import Grid


class Lines(Watch):
    """Prints a line a run."""

    def __init__(self, out: Any = None) -> None:
        self.out, self.total, self.done = out or sys.stdout, 0, 0

    def begins(self, lines: Sequence[str], total: int, done: int) -> None:
        """Print what is to be done."""
        self.total, self.done = total, done
        self.say("\n".join(lines))

    def ended(self, what: str, row: dict[str, Any], seconds_left: float) -> None:
        """Print how a run ended."""
        self.done += 1
        width = len(str(self.total))
        left = f"   about {_time(seconds_left)} left" if seconds_left > 0 else ""
        self.say(f"{self.done:>{width}} of {self.total}   {what}   {_outcome(row)}{left}")

    def say(self, text: str) -> None:
        """Print at once: a pipe would keep it back."""
        print(text, file=self.out, flush=True)


class Bar(Lines):
    """Prints the same lines above a bar that stays at the foot of the terminal."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
        self.bar = progress.add_task("", total=None, left="")

    def begins(self, lines: Sequence[str], total: int, done: int) -> None:
        """Show the bar as well."""
        super().begins(lines, total, done)
        self.progress.update(self.bar, total=total, completed=done)

    def ended(self, what: str, row: dict[str, Any], seconds_left: float) -> None:
        """Move the bar as well."""
        super().ended(what, row, 0)
        left = f"about {_time(seconds_left)} left" if seconds_left > 0 else ""
        self.progress.update(self.bar, completed=self.done, left=left)

    def say(self, text: str) -> None:
        """Print above the bar."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def watching() -> Iterator[Watch]:
    """Return who watches a sweep for the person at this end of stdout."""
    console = Console()
    if not console.is_terminal:
        yield Lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress)


def listed(grid: Grid, tasks: Sequence[tuple[Task, str]]) -> str:
    """Return a sweep's runs as text, each with its status."""
    lines = [f"{status or 'to do':<10}  {grid.told(task.values)}" for task, status in tasks]
    open_ = sum(status != FINISHED for _, status in tasks)
    return "\n".join([f"{grid.source.stem}: {len(tasks)} runs, {open_} of them to do", *lines])


def _outcome(row: dict[str, Any]) -> str:
    """Say how a run ended; the test accuracy is kept for the end, when a setting has been chosen without it."""
    if row["status"] != FINISHED:
        return f"{row['status'].upper()}: {row['error'].splitlines()[-1]}"
    valid = f"valid {row['valid_accuracy']:.3f}   " if "valid_accuracy" in row else ""
    return f"{valid}{row['seconds']:.0f} s"


def _time(seconds: float) -> str:
    """Return a time as one says it: '40 s', '5 min', '2 h 10 min'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
