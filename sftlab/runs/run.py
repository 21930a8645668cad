"""One run of a notebook: executed with other parameters, reported, and kept in one folder; by `sftlab run` and sweeps.

    from sftlab.runs.run import run
    done = run("10_your_own_images", {"DATA": "folder:photos", "EPOCHS": 5})
    done.result.accuracy; print(done)

The folder holds the executed notebook, its report as one HTML file that needs no network, `run.json`, and what the
notebook wrote into the folder that its parameter `OUT` names: `record.json` and `model.safetensors`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from sftlab.core import records
from sftlab.core.records import Result
from sftlab.data import as_path
from sftlab.runs import notebooks
from sftlab.runs.parameters import NotebookError, checked, read_parameters
from sftlab.runs.report import report
from sftlab.runs.results import FAILED, FINISHED, MODEL, RECORD, Facts, measured

CELL_SECONDS = 3600  # somebody's own photographs may take a while; a hang must still end


@dataclass(frozen=True)
class Run:
    """One finished run: its folder, seconds, and the Result if it left one."""

    folder: Path
    notebook: str
    seconds: float
    result: Result | None = None

    def __str__(self) -> str:
        names = {
            "report": f"{self.notebook}.html",
            "notebook": f"{self.notebook}.ipynb",
            "record": RECORD,
            "model": MODEL,
        }
        return "\n".join(
            [
                *(str(self.result).splitlines()[:2] if self.result else []),
                f"finished in {self.seconds:.0f} s; everything is in {shown(self.folder)}/",
                *(f"  {kind:<9} {name}" for kind, name in names.items() if (self.folder / name).is_file()),
            ]
        )


def run(
    notebook: str | Path,
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
    folder = new_folder(notebooks.workplace() / "runs" if out is None else as_path(out), source.stem)
    if say:
        say(f"running {source.name} in {shown(folder)}/ …")
    facts = execute(book, source, folder, values, seconds=seconds, progress=say is not None and sys.stderr.isatty())
    if facts.error:
        raise NotebookError(f"{facts.error}\nAs far as it came, it is in {shown(folder / source.stem)}.html")
    record: Any = records.read(folder / RECORD) if (folder / RECORD).is_file() else None
    return Run(folder, source.stem, facts.seconds, record if isinstance(record, Result) else None)


def execute(
    book: NotebookNode,
    source: Path,
    folder: Path,
    values: Mapping[str, Any],
    *,
    seconds: int = CELL_SECONDS,
    progress: bool = False,
) -> Facts:
    """Run `book` in the folder of its `source`, report it, and write `run.json` last of all; return the Facts.

    folder: where notebook, report and records go; it is made. values: of parameters, checked. A notebook that fails
    is a fact, not an exception. progress: show a bar on stderr.
    """
    known = read_parameters(book)
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / f"{source.stem}.ipynb"
    nbformat.write(notebooks.emptied(book), executed)
    given = {**values, **({"OUT": str(folder)} if "OUT" in known else {})}
    began, clock, error = datetime.now(), time.perf_counter(), ""
    try:
        _papermill(executed, source, given, seconds, progress=progress)
        measured(folder)
    except NotebookError as failure:
        error = str(failure)
    except ValueError as damaged:
        error = f"the notebook ran, but what it kept cannot be read: {damaged}"
    report(executed, source.parent)
    facts = Facts(
        notebook=source.stem,
        parameters={name: values.get(name, p.default) for name, p in known.items() if name != "OUT"},
        status=FAILED if error else FINISHED,
        seconds=round(time.perf_counter() - clock, 2),
        began=began.isoformat(timespec="seconds"),
        error=error,
    )
    facts.write(folder)
    return facts


def _papermill(
    executed: Path, source: Path, values: dict[str, Any], seconds: int, *, progress: bool, again: bool = True
) -> None:
    """Run the notebook `executed` in place. Raises NotebookError, a sentence about what went wrong.

    A kernel that ends before its first cell is started once more: another one has taken its port, most likely.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would log is said once, as a sentence
    bar = {"desc": source.stem, "leave": False, "bar_format": "{desc}: cell {n_fmt} of {total_fmt}, {elapsed}"}
    try:
        papermill.execute_notebook(
            executed,
            executed,
            values,
            kernel_name="python3",
            language="python",
            kernel_manager_class=notebooks.Kernel,
            resources={"metadata": {"path": str(source.parent)}},  # papermill's own `cwd` moves every thread
            progress_bar=bar if progress else False,
            start_timeout=notebooks.START_SECONDS,
            execution_timeout=seconds,
        )
    except PapermillExecutionError as error:
        raise NotebookError(
            notebooks.failure(source.stem, error.exec_count, error.source, error.ename, error.evalue)
        ) from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(notebooks.interruption(source.stem, error, seconds)) from None
    except RuntimeError as error:
        if not again:
            raise NotebookError(f"{source.stem}: no kernel started: {error}") from None
        _papermill(executed, source, values, seconds, progress=progress, again=False)


def shown(path: Path) -> str:
    """Return a path the way a person would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def new_folder(parent: Path, name: str) -> Path:
    """Return the absolute path `parent/YYYY-MM-DD_HHMMSS_name`, made; two runs in one second get two folders."""
    stem = f"{datetime.now():%Y-%m-%d_%H%M%S}_{name}"
    for ending in ("", *(f"_{number}" for number in range(2, 1000))):
        folder = parent.resolve() / f"{stem}{ending}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise NotebookError(f"too many runs in one second under {parent}")
