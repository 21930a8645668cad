"""One run of a notebook: executed with other parameters, reported, and kept in one folder; by `sftlab run` and sweeps.

    from sftlab.runs.run import run
    done = run("10_your_own_images", {"DATA": "folder:photos", "EPOCHS": 5})
    done.result.accuracy; print(done)

The folder holds the executed notebook, its report as one HTML file that needs no network, `run.json`, and what the
notebook wrote into the folder that its parameter `OUT` names: `record.json` and `model.safetensors`.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
from nbformat import NotebookNode

from sftlab.core import records
from sftlab.core.records import Result
from sftlab.data import as_path
from sftlab.runs import notebooks
from sftlab.runs.parameters import NotebookError, checked, read_parameters
from sftlab.runs.report import report
from sftlab.runs.results import FACTS, FAILED, FINISHED, MODEL, RECORD, Facts, measured, row

CELL_SECONDS = 3600  # somebody's own photographs may take a while; a hang must still end


@dataclass(frozen=True)
class Run:
    """One finished run: its folder, seconds, and the Result if it left one."""

    folder: Path
    notebook: str
    seconds: float
    result: Result | None = None

    def __str__(self) -> str:
        lines = str(self.result).splitlines()[:2] if self.result else []
        lines.append(f"finished in {self.seconds:.0f} s; everything is in {shown(self.folder)}/")
        left = {
            "report": f"{self.notebook}.html",
            "notebook": f"{self.notebook}.ipynb",
            "record": RECORD,
            "model": MODEL,
        }
        lines += [f"  {kind:<9} {name}" for kind, name in left.items() if (self.folder / name).is_file()]
        return "\n".join(lines)


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
    say: told in a line what starts and where, and each section; in a terminal one line shows how far it is.
    Raises NotebookError: before anything starts for an unknown name, a wrong type or value; afterwards if a
    cell fails (the folder then keeps the notebook and the report with the error).
    """
    source = notebooks.find(notebook)
    book = notebooks.read(source)
    values = checked(read_parameters(book), parameters or {})
    folder = new_folder(as_path(out or notebooks.workplace() / "runs"), source.stem)
    if say:
        say(f"running {source.name} in {shown(folder)}/ …")
    try:
        facts = execute(book, source, folder, values, seconds=seconds, say=say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped; as far as it came, it is in {shown(folder / source.stem)}.ipynb; the same command starts anew"
        ) from None
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
    say: Callable[[str], None] | None = None,
) -> Facts:
    """Run `book` in the folder of its `source`, report it, and write `run.json` last of all; return the Facts.

    folder: where notebook, report and records go; it is made. values: of parameters, checked. A notebook that fails
    is a fact, not an exception. say: as for `run`.
    """
    known = read_parameters(book)
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / f"{source.stem}.ipynb"
    nbformat.write(notebooks.emptied(book), executed)
    given = {**values, **({"OUT": str(folder)} if "OUT" in known else {})}
    parameters = {name: values.get(name, p.default) for name, p in known.items() if name != "OUT"}
    same = {**parameters, "notebook": source.stem, "status": FINISHED}
    earlier = [row(path.parent) for path in sorted(folder.parent.glob(f"*/{FACTS}"))] if say else []
    took = [one["seconds"] for one in earlier if same.items() <= one.items()]
    began, clock, error = datetime.now(), time.perf_counter(), ""
    try:
        with watched(source.stem, say, took[-1] if took else None) as words:
            _papermill(executed, source, given, seconds, **words)
        measured(folder)
    except NotebookError as failure:
        error = str(failure)
    except ValueError as damaged:
        error = f"the notebook ran, but what it kept cannot be read: {damaged}"
    report(executed, source.parent)
    facts = Facts(
        notebook=source.stem,
        parameters=parameters,
        status=FAILED if error else FINISHED,
        seconds=round(time.perf_counter() - clock, 2),
        began=began.isoformat(timespec="seconds"),
        error=error,
    )
    facts.write(folder)
    return facts


@contextmanager
def watched(name: str, say: Callable[[str], None] | None, took: float | None) -> Iterator[dict[str, Any]]:
    """Yield papermill's words for a run that a person watches: its section, the clock, the last line that was printed.

    Elsewhere than in a terminal each section is a line, which `say` gets. took: seconds of the last run with the same
    parameters: nothing else is honestly known of the time left, but what the cells themselves print.
    """
    from tqdm import tqdm

    if say is None:
        yield {}
        return
    last = f" of {tqdm.format_interval(took)} last time" if took else ""
    form = f"{{desc}}, {{elapsed}}{last}{{postfix}}"
    ended = threading.Event()

    def begin(cell: NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "markdown" and (heading := notebooks.heading(cell.source)):
            bar.set_description_str(heading)
            if bar.disable:
                say(heading)

    def write(text: str) -> None:
        for line in filter(str.strip, re.split(r"[\r\n]+", text)):
            bar.set_postfix_str(line.strip())

    def tick() -> None:
        while not ended.wait(1):
            bar.refresh()

    with tqdm(desc=name, bar_format=form, dynamic_ncols=True, leave=False, disable=None) as bar:
        threading.Thread(target=tick, daemon=True).start()
        try:
            yield {"on_cell_start": begin, "stdout_file": SimpleNamespace(write=write, flush=bar.refresh)}
        finally:
            ended.set()


def _papermill(
    executed: Path, source: Path, values: dict[str, Any], seconds: int, *, again: bool = True, **words: Any
) -> None:
    """Run the notebook `executed` in place. Raises NotebookError, a sentence about what went wrong.

    A kernel that ends before its first cell is started once more: another one has taken its port, most likely.
    words: papermill's, for whoever looks on.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would log is said once, as a sentence
    try:
        papermill.execute_notebook(
            executed,
            executed,
            values,
            kernel_name="python3",
            language="python",
            kernel_manager_class=notebooks.Kernel,
            resources={"metadata": {"path": str(source.parent)}},  # papermill's own `cwd` moves every thread
            progress_bar=False,
            start_timeout=notebooks.START_SECONDS,
            execution_timeout=seconds,
            **words,
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
        _papermill(executed, source, values, seconds, again=False, **words)


def shown(path: Path) -> str:
    """Return a path the way a person would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def new_folder(parent: Path, name: str) -> Path:
    """Return the absolute path `parent/YYYY-MM-DD_HHMMSS_name`, made; a second run in one second gets the next one."""
    folder = parent.resolve() / f"{datetime.now():%Y-%m-%d_%H%M%S}_{name}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        time.sleep(0.1)
        return new_folder(parent, name)
    return folder
