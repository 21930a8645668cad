"""A notebook as an experiment: run it with other parameters, keep what it produced in one folder, report it.

    from sftlab import experiments
    run = experiments.run("14_your_own_images", {"DATA": "folder:photos", "EPOCHS": 5})
    run.result.accuracy; run.report

A folder under `runs/` holds the executed notebook, its report as one HTML file that needs no network, and
what the notebook wrote into the folder that its parameter `OUT` names: `record.json` and `model.safetensors`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sftlab.core import records
from sftlab.runs import notebooks
from sftlab.runs.defaults import MAIN
from sftlab.runs.execution import CELL_SECONDS, Task, execute, stripped
from sftlab.runs.parameters import NotebookError, checked, read_parameters
from sftlab.runs.results import MODEL, RECORD


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
                f"always answering '{self.result.majority_class}' would give {self.result.majority:.3f}"
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
    values = checked(read_parameters(book), parameters or {})
    folder = _new_folder(runs_folder() if out is None else Path(out), source.stem)
    if say:
        say(f"running {source.name} in {shown(folder)}/ …")
    task = Task(source.stem, stripped(book), str(source.parent), str(folder), values, seconds)
    facts = execute(task, progress=say is not None and sys.stderr.isatty())
    page = folder / f"{source.stem}.html"
    if facts.error:
        raise NotebookError(f"{facts.error}\nAs far as it came, it is in {shown(page)}")
    return Run(folder, page.with_suffix(".ipynb"), page, facts.seconds, _result(folder))


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
