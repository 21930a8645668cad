"""Do a sweep: what is finished is left alone, the rest runs in parallel, and the results are kept up to date."""

from __future__ import annotations

import ast
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from textwrap import indent
from typing import Any

from filelock import FileLock, Timeout

from sftlab.runs import grids
from sftlab.runs import results as runs
from sftlab.runs.execution import CELL_SECONDS, Task
from sftlab.runs.experiments import runs_folder, shown
from sftlab.runs.parameters import NotebookError
from sftlab.runs.results import FINISHED, Facts
from sftlab.runs.sweeping import results, workers
from sftlab.runs.sweeping.nursery import LOCKS, finished
from sftlab.runs.sweeping.plan import Grid
from sftlab.runs.sweeping.reading import read


class Watch:
    """Who is told how a sweep goes; this one keeps quiet."""

    def begins(self, lines: Sequence[str], total: int, done: int) -> None:
        """Hear what is to be done, and how many of the runs are done already."""

    def ended(self, what: str, row: dict[str, Any], seconds_left: float) -> None:
        """Hear that a run has ended, and for how long the others will take."""


@dataclass(frozen=True)
class Swept:
    """A sweep that came to its end: its folder, a row for each run, what was chosen, and how many runs failed."""

    folder: Path
    grid: Grid
    rows: list[dict[str, Any]] = field(repr=False)

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The rows of the runs that did not finish."""
        return [row for row in self.rows if row["status"] != FINISHED]

    def __str__(self) -> str:
        lines = [grids.verdict(grids.settings(self.rows, self.grid.varied))]
        for row in self.failed:
            lines.append(f"failed: {self.grid.told(row)}\n{indent(row['error'], '  ')}")
            lines.append(f"  its notebook, with the error at the cell: {shown(Path(row['folder']))}/")
        lines.append(f"everything is in {shown(self.folder)}/: {results.INDEX}, {runs.RESULTS}")
        if (self.folder / results.PICTURE).is_file():
            lines[-1] += f", {results.PICTURE}"
        return "\n".join(lines)


class Stopped(KeyboardInterrupt):
    """A sweep that was stopped by hand; the message says how to go on."""


def sweep(
    path: str | Path, *, out: str | Path | None = None, jobs: int | None = None, scheduler: str | None = None,
    again: bool = False, seconds: int = CELL_SECONDS, watch: Watch | None = None,
) -> Swept:  # fmt: skip
    """Do every run that a sweep's file asks for and that is not finished yet; return the Swept.

    out: where the sweep's folder, named as the file, is made; `runs` by default. jobs: runs at once (see
    `workers.shares`). scheduler: the address of a Dask scheduler that does the runs instead. again: also those that are
    finished. seconds: limit for one cell. A run that fails is listed and tried again at the next call.
    Raises NotebookError before anything starts if the file is wrong or another sweep works in the folder.
    """
    grid, watch = read(path), watch or Watch()
    folder = ((runs_folder() if out is None else Path(out)) / grid.name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    command = f"sftlab sweep {shlex.quote(str(path))}"
    try:
        with FileLock(folder / ".lock", timeout=0):
            return _sweep(grid, folder, command, jobs, scheduler, again, seconds, watch)
    except Timeout:
        raise NotebookError(f"another sweep is at work in {shown(folder)}/; wait for it, or stop it") from None


def survey(path: str | Path, *, out: str | Path | None = None) -> tuple[Grid, list[tuple[Task, str]]]:
    """Return a sweep's runs, each with its status, without doing anything."""
    grid = read(path)
    folder = ((runs_folder() if out is None else Path(out)) / grid.name).resolve()
    tasks = grid.tasks(folder, CELL_SECONDS)
    return grid, [(task, runs.row(Path(task.folder))["status"] if Path(task.folder).is_dir() else "") for task in tasks]


def _sweep(
    grid: Grid, folder: Path, command: str, jobs: int | None, scheduler: str | None, again: bool, seconds: int,
    watch: Watch,
) -> Swept:  # fmt: skip
    tasks = grid.tasks(folder, seconds)
    done = {} if again else {task.address: facts for task in tasks if (facts := finished(task))}
    todo = [task for task in tasks if task.address not in done]
    rows = {task.address: _row(task) for task in tasks}
    imports, (jobs, threads) = imported(grid.book), workers.shares(len(todo), jobs)
    where = f"on Dask at {scheduler}" if scheduler else f"{jobs} at a time, {_count(threads, 'thread')} each"
    lines = [f"{grid.source.stem}: {_count(len(tasks), 'run')}, {len(done)} of them finished earlier; {where}"]
    lines += _notes(tasks, rows, done)
    watch.begins([*lines, f"in {shown(folder)}/"], len(tasks), len(done))

    def write() -> None:
        results.write_table(folder, grid, list(rows.values()))
        results.write_index(folder, grid, list(rows.values()), command=command)

    write()
    clock, worked = time.perf_counter(), 0.0
    answers = (
        workers.on_dask(todo, imports, scheduler, again=again) if scheduler
        else workers.here(todo, imports, jobs, threads, again=again)
    )  # fmt: skip
    try:
        for number, (task, answer) in enumerate(answers, 1):
            if not (Path(task.folder) / runs.FACTS).is_file():  # whoever did it was killed before it could say so
                _lost(grid, task, answer)
            rows[task.address] = _row(task)
            write()
            worked += rows[task.address].get("seconds") or 0.0
            each = (time.perf_counter() - clock if scheduler else worked / jobs) / number  # Dask's jobs are not known
            watch.ended(grid.told(task.values), rows[task.address], each * (len(todo) - number))
    except KeyboardInterrupt:
        ended = sum(row["status"] == FINISHED for row in rows.values())
        raise Stopped(f"stopped with {ended} of {_count(len(tasks), 'run')} finished; go on with: {command}") from None
    finally:
        results.write_picture(folder, grid, list(rows.values()))
        write()
    shutil.rmtree(folder / LOCKS, ignore_errors=True)
    return Swept(folder, grid, list(rows.values()))


def imported(book: str) -> list[str]:
    """Return the packages that a notebook's code imports, as far as it can be read."""
    import nbformat

    names: set[str] = set()
    for cell in nbformat.reads(book, as_version=4).cells:
        try:
            tree = ast.parse(cell.source if cell.cell_type == "code" else "")
        except SyntaxError:  # a magic, or an error that its own run will show
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return sorted(names)


def _row(task: Task) -> dict[str, Any]:
    """Return a run's row; for one that has not left any, what is known beforehand."""
    found = runs.row(Path(task.folder))
    waiting = found["status"] == runs.UNFINISHED and not Path(task.folder).is_dir()
    return task.values | found | ({"status": "waiting", "error": ""} if waiting else {})


def _lost(grid: Grid, task: Task, answer: workers.Answer) -> None:
    values = {p.name: task.values.get(p.name, p.default) for p in grid.known.values() if p.name != "OUT"}
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    began = datetime.now().isoformat(timespec="seconds")
    Facts(task.name, values, runs.FAILED, 0.0, began, answer["error"], task.address).write(Path(task.folder))


def _notes(tasks: Sequence[Task], rows: dict[str, dict[str, Any]], done: dict[str, Facts]) -> list[str]:
    """Return what somebody who calls a sweep again should know about the runs that are there."""
    damaged = [rows[task.address] for task in tasks if rows[task.address]["status"] == runs.DAMAGED]
    lines = [f"damaged, so it runs again: {row['error']}" for row in damaged]
    code = runs.versions()["code"]
    if other := sum(facts.versions.get("code") != code for facts in done.values()):
        lines.append(f"{other} of the finished were made by other code of sftlab than today's; --again runs them anew")
    return lines


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"
