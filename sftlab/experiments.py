"""A notebook as an experiment: run it with other parameters, keep what it produced in one folder, report it.

    from sftlab import experiments
    run = experiments.run("14_your_own_images", {"DATA": "folder:photos", "EPOCHS": 5})
    run.result.accuracy; run.report

A folder under `runs/` holds the executed notebook, its report as one HTML file that needs no network, and
what the notebook wrote into the folder that its parameter `OUT` names: `record.json` and `model.safetensors`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from sftlab import notebooks, records
from sftlab.parameters import Parameter, check_value, parse_value, unknown
from sftlab.publishing import NotebookError
from sftlab.reports import report
from sftlab.runs import FAILED, FINISHED, MODEL, RECORD, Facts, measured

CELL_SECONDS = 3600  # somebody's own photographs may take a while; a hang must still end
MAIN = "14_your_own_images"


@dataclass(frozen=True)
class Run:
    """One finished run: folder, executed notebook, HTML report, seconds, and the record if it left one."""

    folder: Path
    notebook: Path
    report: Path
    seconds: float
    result: records.Result | None = None

    @property
    def model(self) -> Path | None:
        """The model file that the notebook left in the folder, or None."""
        return self.folder / MODEL if (self.folder / MODEL).is_file() else None

    def __str__(self) -> str:
        lines = []
        if self.result is not None:
            accuracy = self.result.accuracy
            lines.append(
                f"{self.result.split} accuracy {accuracy} on {self.result.n} images; "
                f"always answering '{majority_class(self.result)}' would give {self.result.majority:.3f}"
            )
        lines.append(f"finished in {self.seconds:.0f} s; everything is in {shown(self.folder)}/")
        files = (self.report, self.notebook, self.folder / RECORD, self.folder / MODEL)
        kinds = zip(("report", "notebook", "record", "model"), files, strict=True)
        lines += [f"  {kind:<9} {path.name}" for kind, path in kinds if path.is_file()]
        return "\n".join(lines)


def run(
    notebook: str | Path = MAIN,
    parameters: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    seconds: int = CELL_SECONDS,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Execute a notebook with papermill and return the Run: a dated folder with notebook, report and record.

    notebook: a path, or the start of a lesson's name (`14`).
    parameters: values by name. Text is read as the type that the parameter has, and `folder:PATH` as seen
    from here, although the notebook runs in its own folder.
    out: where the dated folder is made; `runs` by default. seconds: limit for one cell.
    say: told in a line what starts and where; with it a terminal shows progress.
    Raises NotebookError: before anything starts for an unknown name, a wrong type or value; afterwards if a
    cell fails (the folder then keeps the notebook and the report with the error).
    """
    source = notebooks.find(notebook)
    book = notebooks.read(source)
    values = checked(notebooks.parameters(book), parameters or {})
    folder = _new_folder(runs_folder() if out is None else Path(out), source.stem)
    if say:
        say(f"running {source.name} in {shown(folder)}/ …")
    task = Task(source.stem, stripped(book), str(source.parent), str(folder), values, seconds)
    facts = execute(task, progress=say is not None and sys.stderr.isatty())
    page = folder / f"{source.stem}.html"
    if facts.error:
        raise NotebookError(f"{facts.error}\nAs far as it came, it is in {shown(page)}")
    return Run(folder, page.with_suffix(".ipynb"), page, facts.seconds, _result(folder))


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
    known = notebooks.parameters(book)
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / f"{task.name}.ipynb"
    nbformat.write(book, executed)  # what goes in is the notebook as read, so that a source runs as well
    out = {"OUT": str(folder)} if any(p.name == "OUT" for p in known) else {}
    began, clock = datetime.now(), time.perf_counter()
    error = _papermill(executed, task, task.values | out, kernel, progress=progress)
    report(executed, Path(task.cwd))
    if not error:
        try:
            measured(folder)
        except ValueError as damaged:
            error = f"the notebook ran, but what it kept cannot be read: {damaged}"
    values = {p.name: task.values.get(p.name, p.default) for p in known if p.name != "OUT"}
    facts = Facts(
        task.name, values, FAILED if error else FINISHED, round(time.perf_counter() - clock, 2),
        began.isoformat(timespec="seconds"), error, task.address,
    )  # fmt: skip
    facts.write(folder)
    return facts


def checked(known: list[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values in the types of their parameters; raise NotebookError for what does not fit."""
    by_name = {p.name: p for p in known}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in by_name:
            raise NotebookError(unknown(name, list(by_name)))
        if name == "OUT":
            raise NotebookError("OUT is the folder of this run and is set for you; choose where it is made with --out")
        try:
            if isinstance(value, str):
                value = parse_value(by_name[name], value)
            elif type(value) is int and by_name[name].type == "float":
                value = float(value)
            check_value(name, value, by_name[name].rule)
        except (TypeError, ValueError) as error:
            raise NotebookError(str(error)) from None
        if isinstance(value, str) and value.startswith("folder:"):
            value = f"folder:{Path(value.removeprefix('folder:')).expanduser().resolve()}"
        values[name] = value
    return values


def majority_class(result: records.Result) -> str:
    """Return the class that most of the evaluated images have."""
    rows = [sum(row) for row in result.confusion]
    return result.classes[rows.index(max(rows))]


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

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would log is said once, as a sentence
    bar = {
        "desc": task.name,
        "leave": False,
        "bar_format": "{desc}: cell {n_fmt} of {total_fmt}, {elapsed}",
    }
    try:
        papermill.execute_notebook(
            executed, executed, values, cwd=task.cwd,
            kernel_name="python3", language="python", kernel_manager_class=kernel,
            progress_bar=bar if progress else False,
            start_timeout=notebooks.START_SECONDS, execution_timeout=task.seconds,
        )  # fmt: skip
    except PapermillExecutionError as error:
        return notebooks.failure(task.name, error.exec_count, error.source, error.ename, error.evalue)
    except (CellTimeoutError, DeadKernelError) as error:
        return notebooks.interruption(task.name, error, task.seconds)
    return ""


def _result(folder: Path) -> records.Result | None:
    """Return the Result that the notebook left in its folder; None if there is none, or another record."""
    if not (folder / RECORD).is_file():
        return None
    try:
        record: Any = records.read(folder / RECORD)
    except ValueError as error:
        raise NotebookError(f"the notebook ran, but its record cannot be read: {error}") from error
    return record if isinstance(record, records.Result) else None


def runs_folder() -> Path:
    """Return `runs` in the clone one works in, or in the working directory if that is no clone."""
    root = notebooks.checkout()
    return (root if Path.cwd().is_relative_to(root) else Path.cwd()) / "runs"


def _new_folder(parent: Path, name: str) -> Path:
    """Make and return `parent/YYYY-MM-DD_HHMMSS_name`; two runs in one second get two folders."""
    stem = f"{datetime.now():%Y-%m-%d_%H%M%S}_{name}"
    for number in range(1, 1000):
        folder = parent.resolve() / (stem if number == 1 else f"{stem}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise NotebookError(f"too many runs in one second under {parent}")


def shown(path: Path) -> str:
    """Return a path the way a person would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
