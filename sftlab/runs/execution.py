"""A run that is to be done, and doing it: execute, report, and say what became of it in `run.json`."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from sftlab.runs import notebooks
from sftlab.runs.parameters import read_parameters
from sftlab.runs.report import report
from sftlab.runs.results import FAILED, FINISHED, Facts, measured

CELL_SECONDS = 3600  # somebody's own photographs may take a while; a hang must still end


@dataclass(frozen=True)
class Task:
    """A run that is still to be done, as plain values that travel to another process or machine.

    name: of the notebook; book: the notebook itself as JSON, so that all runs of a sweep run the same one. cwd: where
    it works; folder: where it leaves what it makes. values: parameters that are set. seconds: limit for one cell.
    """

    name: str
    book: str
    cwd: str
    folder: str
    values: dict[str, Any] = field(default_factory=dict)
    seconds: int = CELL_SECONDS
    address: str = ""


def execute(task: Task, *, kernel: type[notebooks.Kernel] = notebooks.Kernel, progress: bool = False) -> Facts:
    """Do a task: execute, report, and write `run.json` last of all. A notebook that fails is a fact, not an exception.

    kernel: the kernel manager to run it with. progress: show a bar on stderr.
    """
    book, folder = nbformat.reads(task.book, as_version=4), Path(task.folder)
    known = read_parameters(book)
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / f"{task.name}.ipynb"
    nbformat.write(book, executed)  # what goes in is the notebook as read, so that a source runs as well
    out = {"OUT": str(folder)} if "OUT" in known else {}
    began, clock = datetime.now(), time.perf_counter()
    error = _papermill(executed, task, task.values | out, kernel, progress=progress)
    report(executed, Path(task.cwd))
    if not error:
        try:
            measured(folder)
        except ValueError as damaged:
            error = f"the notebook ran, but what it kept cannot be read: {damaged}"
    values = {p.name: task.values.get(p.name, p.default) for p in known.values() if p.name != "OUT"}
    facts = Facts(
        task.name, values, FAILED if error else FINISHED, round(time.perf_counter() - clock, 2),
        began.isoformat(timespec="seconds"), error, task.address,
    )  # fmt: skip
    facts.write(folder)
    return facts


def stripped(book: NotebookNode) -> str:
    """Return a notebook as JSON without the outputs of an earlier run."""
    book = nbformat.from_dict(book)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(book)


def _papermill(
    executed: Path, task: Task, values: dict[str, Any], kernel: type[notebooks.Kernel], *, progress: bool
) -> str:
    """Run the notebook `executed` in place; return a sentence about what went wrong, or ''."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from sftlab.runs import engine

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would log is said once, as a sentence
    bar = {"desc": task.name, "leave": False, "bar_format": "{desc}: cell {n_fmt} of {total_fmt}, {elapsed}"}
    try:
        papermill.execute_notebook(
            executed, executed, values, cwd=task.cwd,
            kernel_name="python3", language="python", engine_name=engine.NAME, kernel_manager_class=kernel,
            progress_bar=bar if progress else False,
            start_timeout=notebooks.START_SECONDS, execution_timeout=task.seconds,
        )  # fmt: skip
    except PapermillExecutionError as error:
        return notebooks.failure(task.name, error.exec_count, error.source, error.ename, error.evalue)
    except (CellTimeoutError, DeadKernelError) as error:
        return notebooks.interruption(task.name, error, task.seconds)
    return ""
