"""What a run leaves in its folder, read back as a row of a table: `sft.load_runs`, used by run, sweep and compare.

    table = sft.load_runs("runs/rate_by_layers")
    table.groupby(["RATE", "STRATEGY"]).valid_accuracy.mean()

A run has ended when its `run.json` is there: it is written last, whole or not at all. A folder without it is a run that
was cut off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlab.core import records
from sftlab.core.records import History, Interval, Result
from sftlab.data import as_path
from sftlab.deploy.save import versions
from sftlab.runs.parameters import NotebookError

if TYPE_CHECKING:
    import pandas

FACTS, RECORD, HISTORY, MODEL = "run.json", "record.json", "history.json", "model.safetensors"
RESULTS = "results.csv"  # in the folder of a sweep
FINISHED, FAILED, UNFINISHED, TO_DO, DAMAGED = "finished", "failed", "unfinished", "to do", "damaged"


@dataclass(frozen=True)
class Facts:
    """What is known of a run without opening its notebook: `run.json`.

    parameters: every parameter of the notebook but OUT, given or default. status: "finished" or "failed"; error: the
    sentence that says why. seconds: kernel, cells and report. began: local time.
    """

    notebook: str
    parameters: dict[str, Any]
    status: str
    seconds: float
    began: str
    error: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    def write(self, folder: Path) -> None:
        """Write the facts into a run's folder; from now on it counts as finished, or as failed."""
        records.write(asdict(self), folder / FACTS)

    @classmethod
    def read(cls, folder: Path) -> Facts:
        """Read the facts of a folder. Raises FileNotFoundError, or ValueError if the file is damaged."""
        try:
            return cls(**records.read(folder / FACTS, dict))
        except TypeError as error:
            raise ValueError(f"{folder / FACTS} does not describe a run: {error}") from None


def load_runs(folder: str | Path) -> pandas.DataFrame:
    """Return a DataFrame with a row for each run that ended in `folder` and the folders below it.

    Columns: the parameters under their own names, `status` ("finished", "failed", "unfinished", "to do", "damaged"),
    `error`, `seconds`, `notebook`, `folder`; where the notebook left records also each test metric with `_low` and
    `_high` (the ends of its interval), `majority`, `images`, `split` (a hash of the test images), and `train_images`,
    `valid_accuracy`, `valid_loss` of the epoch that was kept.
    In the folder of a sweep: all runs of its last call, in their order. Raises NotebookError if there is no such
    folder, or no run in it.
    """
    import pandas as pd

    top = as_path(folder)
    if (top / RESULTS).is_file():
        folders = [top / name for name in pd.read_csv(top / RESULTS).folder]
    else:
        folders = sorted(path.parent for path in top.rglob(FACTS))
    if not folders:
        raise NotebookError(f"there is no run in {folder}" if top.is_dir() else f"there is no folder {folder}")
    return pd.DataFrame([row(path) for path in folders])


def row(folder: Path) -> dict[str, Any]:
    """Return what the folder of one run says, flat. What is damaged raises nothing: it says so under `error`."""
    where = {"folder": str(folder)}
    if not (folder / FACTS).is_file():
        cut = folder.is_dir()
        return {"status": UNFINISHED if cut else TO_DO, "error": "it was cut off" if cut else "", **where}
    try:
        facts, metrics = Facts.read(folder), measured(folder)
        json.loads((folder / f"{facts.notebook}.ipynb").read_bytes())
    except (ValueError, OSError) as error:
        return {"status": DAMAGED, "error": str(error), **where}
    about = {name: getattr(facts, name) for name in ("status", "error", "seconds", "notebook")}
    return {**facts.parameters, **about, **metrics, **where}


def measured(folder: Path) -> dict[str, Any]:
    """Return the metrics that the records in a folder hold. Raises ValueError if one is damaged.

    `record.json` is a Result, or a dict of them by task ("" for the only one), of Intervals and numbers by metric.
    """
    metrics: dict[str, Any] = {}
    record: Any = records.read(folder / RECORD) if (folder / RECORD).is_file() else {}
    for name, content in (record if isinstance(record, dict) else {"": record}).items():
        numbers = {name: content}
        if isinstance(content, Result):
            numbers = {**content.metrics, "majority": content.majority, "images": content.n}
            numbers = {f"{name}_{metric}" if name else metric: value for metric, value in numbers.items()}
            metrics["split"] = content.settings.get("images", "")
        for metric, value in numbers.items():
            if isinstance(value, Interval):
                metrics |= {metric: value.value, f"{metric}_low": value.low, f"{metric}_high": value.high}
            elif isinstance(value, (int, float)):
                metrics[metric] = value
    if (folder / HISTORY).is_file():
        history = records.read(folder / HISTORY, History)
        if history.epochs:
            metrics["train_images"] = sum(step.images for step in history.steps if step.epoch == 1)
            metrics |= {"valid_accuracy": history.kept.valid_accuracy, "valid_loss": history.kept.valid_loss}
    return metrics


def write_page(path: Path, template: str, **facts: Any) -> None:
    """Write a page of HTML from a template beside this file; what is inserted is escaped."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(Path(__file__).parent)
    pages = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters["text"] = text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(pages.get_template(template).render(facts), encoding="utf-8")


def named(values: Mapping[str, Any]) -> str:
    """Return parameters and their values as one line."""
    return ", ".join(f"{name} {text(value)}" for name, value in values.items())


def text(value: Any) -> str:
    """Return a value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
