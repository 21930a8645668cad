"""What a run leaves in its folder, read back as one row: parameters, status, metrics with their intervals, seconds.

    table = sft.load_runs("runs/rate_by_layers")
    table.groupby(["RATE", "STRATEGY"]).valid_accuracy.mean()

A run is finished when its `run.json` is there: it is written last, whole or not at all. A folder without it is a run
that was cut off. Folders written by plain papermill are read from what papermill keeps in the notebook.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlab.core import records
from sftlab.runs import notebooks
from sftlab.runs.parameters import NotebookError, read_parameters

if TYPE_CHECKING:
    import pandas

FACTS, RECORD, HISTORY, MODEL = "run.json", "record.json", "history.json", "model.safetensors"
RESULTS = "results.csv"  # in the folder of a sweep
FINISHED, FAILED, UNFINISHED, DAMAGED = "finished", "failed", "unfinished", "damaged"


@cache
def versions() -> dict[str, str]:
    """Return the versions that a run's numbers depend on; `code` is a hash of sftlab's own files."""
    found = {name: importlib.metadata.version(name) for name in ("sftlab", "torch", "numpy")}
    package = Path(__file__).parent.parent
    code = [(str(path.relative_to(package)), path.read_bytes()) for path in sorted(package.rglob("*.py"))]
    mark = hashlib.sha256(repr(code).encode()).hexdigest()[:12]
    return found | {"python": platform.python_version(), "code": mark}


@dataclass(frozen=True)
class Facts:
    """What is known of a run without opening its notebook: `run.json`.

    parameters: every parameter of the notebook but OUT, given or default. address: what a sweep finds it again by.
    status: "finished" or "failed"; error: the sentence that says why. seconds: kernel, cells and report.
    began: local time. threads: what OMP_NUM_THREADS said, 0 if nothing.
    """

    notebook: str
    parameters: dict[str, Any]
    status: str
    seconds: float
    began: str
    error: str = ""
    address: str = ""
    threads: int = field(default_factory=lambda: int(os.environ.get("OMP_NUM_THREADS") or 0))
    versions: dict[str, str] = field(default_factory=versions)

    def write(self, folder: Path) -> None:
        """Write the facts into a run's folder; from now on it counts as finished, or as failed."""
        records.write(asdict(self), folder / FACTS)

    @classmethod
    def read(cls, folder: Path) -> Facts:
        """Read the facts of a folder. Raises FileNotFoundError, or ValueError if the file is damaged."""
        found: Any = records.read(folder / FACTS)
        try:
            return cls(**found)
        except TypeError as error:
            raise ValueError(f"{folder / FACTS} does not describe a run: {error}") from None


def load_runs(folder: str | Path) -> pandas.DataFrame:
    """Return a DataFrame with a row for each run in `folder` and the folders below it.

    Columns: the parameters under their own names, `status` ("finished", "failed", "unfinished", "damaged"), `error`,
    `seconds`, `notebook`, `folder`; where the notebook left records also each test metric with `_low` and `_high` (the
    ends of its interval), `majority`, `images`, and `valid_accuracy`, `valid_loss` of the epoch that was kept.
    In the folder of a sweep: the runs of its last call, in their order. Raises NotebookError if there is no such
    folder, or no run in it.
    """
    import pandas

    found = list(rows(Path(folder)))
    if not found:
        raise NotebookError(f"there is no run in {folder}")
    return pandas.DataFrame(found)


def rows(top: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each run at or below `top`, in the order of the folders' names."""
    if not top.is_dir():
        raise NotebookError(f"there is no folder {top}")
    if (top / RESULTS).is_file():
        yield from (row(top / name) for name in of_sweep(top))
        return
    for here, below, files in os.walk(top):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if FACTS in files:
            yield row(Path(here))
        else:
            found = (by_papermill(Path(here) / name) for name in sorted(files) if name.endswith(".ipynb"))
            yield from (about for about in found if about)


def of_sweep(top: Path) -> list[str]:
    """Return the folders of the runs that a sweep's last call was about; it leaves those of earlier versions alone."""
    with (top / RESULTS).open(encoding="utf-8", newline="") as file:
        try:
            return [line["folder"] for line in csv.DictReader(file)]
        except KeyError:
            raise NotebookError(f"{top / RESULTS} has no column `folder`: it is no sweep's") from None


def row(folder: Path) -> dict[str, Any]:
    """Return what the folder of one run says, flat. What is damaged raises nothing: it says so under `error`."""
    if not (folder / FACTS).is_file():
        return {"status": UNFINISHED, "error": "it was cut off", "folder": str(folder)}
    try:
        facts = Facts.read(folder)
        about = {**facts.parameters, "status": facts.status, "error": facts.error, "seconds": facts.seconds}
        metrics = measured(folder)
        json.loads((folder / f"{facts.notebook}.ipynb").read_bytes())
    except (ValueError, OSError) as error:
        return {"status": DAMAGED, "error": str(error), "folder": str(folder)}
    return {**about, "notebook": facts.notebook, **metrics, "folder": str(folder)}


def measured(folder: Path) -> dict[str, Any]:
    """Return the metrics that the records in a folder hold. Raises ValueError if one is damaged."""
    found: dict[str, Any] = {}
    if (folder / RECORD).is_file():
        record: Any = records.read(folder / RECORD)
        tasks = record if isinstance(record, dict) else {"": record}
        for task, result in tasks.items():
            if isinstance(result, records.Result):
                found |= _metrics(result, f"{task}_" if task else "")
    if (folder / HISTORY).is_file():
        history: Any = records.read(folder / HISTORY)
        if isinstance(history, records.History) and history.epochs:
            kept = history.kept
            found |= {"valid_accuracy": kept.valid_accuracy, "valid_loss": kept.valid_loss}
    return found


def _metrics(result: records.Result, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, interval in result.metrics.items():
        found |= {f"{prefix}{name}": interval.value}
        found |= {f"{prefix}{name}_low": interval.low, f"{prefix}{name}_high": interval.high}
    return found | {f"{prefix}majority": result.majority, f"{prefix}images": result.n}


def by_papermill(path: Path) -> dict[str, Any]:
    """Return the row of a notebook that papermill executed and nobody else described; {} if it did not."""
    try:
        book = notebooks.read(path)
        parameters = {name: p.default for name, p in read_parameters(book).items()}
    except NotebookError as error:
        return {"status": DAMAGED, "error": str(error), "notebook": path.stem, "folder": str(path.parent)}
    kept: Mapping[str, Any] = book.metadata.get("papermill", {})
    if not kept:
        return {}
    parameters |= kept.get("parameters", {})
    about: dict[str, Any] = {"status": UNFINISHED, "error": "it was cut off"}
    metrics: dict[str, Any] = {}
    if kept.get("exception"):
        about = {"status": FAILED, "error": "a cell failed"}
    elif kept.get("end_time"):
        about = {"status": FINISHED, "error": ""}
        try:
            metrics = measured(Path(parameters.get("OUT") or path.parent))
        except ValueError as error:
            about = {"status": DAMAGED, "error": str(error)}
    about |= {"seconds": kept.get("duration"), "notebook": path.stem}
    parameters.pop("OUT", None)
    return {**parameters, **about, **metrics, "folder": str(path.parent)}
