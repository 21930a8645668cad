"""What a run leaves behind: Step, Epoch, History, Interval and Result, as dataclasses that save as JSON and load back.

A training stream yields `Step` and `Epoch`; `fit` collects them in a `History`; `evaluate` makes a `Result`.
Reports, figures, sweeps and paired tests read these records and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sftlab.data import as_path
from sftlab.data.dataset import padded
from sftlab.data.storage import kept_record, replacing

R = TypeVar("R")


@dataclass(frozen=True)
class Step:
    """One optimizer update: its number (from 1), its epoch (from 1), mean loss, images and rates used."""

    step: int
    epoch: int
    loss: float
    images: int
    rates: dict[str, float]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images. Losses are of all labelled images together; accuracy is correct / n.

    valid_counts: (correct, labelled) of each group of validation images, or of all where no groups are known.
    Number 0 is the network before the first step; its train_loss is nan.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    seconds: float
    valid_counts: list[list[int]] = field(default_factory=list)


@dataclass
class History:
    """The curves of one or more runs: `a + b` is `a` continued by `b`, epochs and steps counted on.

    `runs` holds the settings of each run, the epochs it `ran`, its `noun` and the `majority` rate of its validation
    images; `stopped` says why each one ended ("finished", "early stop" or "diverged"); `best` is the number of the
    epoch whose weights the last run kept (0: those it came with), None if it kept those of its last step.
    """

    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    best: int | None = None

    def add(self, record: Step | Epoch) -> None:
        """Take in the next record of the run that is going on; `best` follows the lowest finite validation loss."""
        if isinstance(record, Step):
            self.steps.append(record)
            return
        self.epochs.append(record)
        lower = self.best is None or record.valid_loss < self.kept.valid_loss
        if lower and math.isfinite(record.valid_loss) and self.runs[-1].get("keep_best", True):
            self.best = record.epoch

    @property
    def kept(self) -> Epoch:
        """The epoch whose weights the last run kept: the best one, or the last if none was kept."""
        return next((e for e in self.epochs if e.epoch == self.best), self.epochs[-1])

    @property
    def majority(self) -> float | None:
        """What always giving the most frequent answer scores on the validation images; None if no run says so."""
        return next((run["majority"] for run in self.runs if "majority" in run), None)

    @property
    def noun(self) -> str:
        """What its runs learned from: "images" or "texts"."""
        return next((run["noun"] for run in self.runs if "noun" in run), "images")

    def __add__(self, other: History) -> History:
        if not self.epochs:
            return dataclasses.replace(other)
        step, epoch = self.steps[-1].step if self.steps else 0, self.epochs[-1].epoch

        def later(record: Any) -> Any:
            return dataclasses.replace(record, step=record.step + step, epoch=record.epoch + epoch)

        return History(
            self.steps + [later(s) for s in other.steps],
            self.epochs + [later(e) for e in other.epochs if e.epoch],
            self.runs + other.runs,
            self.stopped + other.stopped,
            self.best if other.best == 0 else other.best and other.best + epoch,
        )

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(no epoch finished)"
        last = self.epochs[-1]
        best = f", weights of epoch {self.best} kept" if self.best is not None else ""
        ended = self.stopped[-1] if self.stopped else "open"
        return (
            f"History({last.epoch} epochs, {len(self.steps)} steps, {ended}{best}; "
            f"valid loss {last.valid_loss:.3f}, valid accuracy {last.valid_accuracy:.3f})"
        )


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval; `method` names how it was found.

    groups: how many it was found over, 0 if none are known. why: the reason that there is no interval; `low` and `high`
    are then all that is possible.

    >>> f"{Interval(0.85, 0.8, 0.9):.2f}", f"{Interval(-12.8, -15.4, -10.1, groups=11):.1f}"
    ('0.85 (0.80–0.90)', '−12.8 (−15.4 to −10.1) (11 groups)')
    """

    value: float
    low: float
    high: float
    method: str = "Wilson"
    groups: int = 0
    why: str = ""

    def __format__(self, spec: str) -> str:
        spec, dash = spec or ".3f", " to " if self.low < 0 or "+" in spec else "–"
        ends = f"no interval: {self.why}" if self.why else f"{self.low:{spec}}{dash}{self.high:{spec}}"
        over = f" ({self.groups} groups)" if self.groups and not self.why else ""
        return f"{self.value:{spec}} ({ends}){over}".replace("-", "−")

    def __str__(self) -> str:
        return f"{self}"

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass
class Result:
    """One evaluation: each image's hash, target and probabilities, and the metrics made of them.

    `targets` has n class numbers (−100: no label), `probabilities` n × classes. `metrics` maps a name to an
    Interval; `per_class` maps a class to its precision, recall and, if it has any image, F1. `confusion[i][j]` counts
    images of class i that were called j. `evaluations` says how often this process evaluated a model on these very
    images. `groups` has n numbers, equal for images that belong together; `files` n names, from the folder of the data
    on; either is empty if that is not known.
    """

    split: str
    classes: list[str]
    hashes: list[str]
    targets: list[int]
    probabilities: list[list[float]]
    metrics: dict[str, Interval]
    per_class: dict[str, dict[str, Interval]]
    confusion: list[list[int]]
    evaluations: int
    settings: dict[str, Any] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Number of images that have a label."""
        return sum(t >= 0 for t in self.targets)

    @property
    def accuracy(self) -> Interval:
        """Correct / n with its interval."""
        return self.metrics["accuracy"]

    @property
    def majority(self) -> float:
        """What always giving the most frequent answer would score on these images."""
        return max(map(sum, self.confusion)) / self.n

    @property
    def majority_class(self) -> str:
        """The class that most of these images have."""
        images = [sum(row) for row in self.confusion]
        return self.classes[images.index(max(images))]

    @property
    def predictions(self) -> list[int]:
        """The class with the highest probability, image by image."""
        return [p.index(max(p)) for p in self.probabilities]

    def __str__(self) -> str:
        lines = [
            f"{self.split}: {self.n} {self.settings.get('noun', 'images')}, evaluated {self.evaluations} "
            f"time{'s' * (self.evaluations != 1)} in this process",
            f"{'accuracy':<18} {self.accuracy:.3f}   always '{self.majority_class}' would give {self.majority:.3f}",
        ]
        lines += [f"{name.replace('_', ' '):<18} {m:.3f}" for name, m in self.metrics.items() if name != "accuracy"]
        width = max([18, *map(len, self.per_class)])
        for name, row in self.per_class.items():
            lines.append(padded(name, width) + " " + "   ".join(f"{k} {v.value:.3f}" for k, v in row.items()))
        return "\n".join([*lines, *filter(None, [self.settings.get("note")])])

    __repr__ = __str__


KINDS: dict[str, type] = {kind.__name__: kind for kind in (Step, Epoch, History, Interval, Result)}


def to_dict(record: Any) -> Any:
    """Turn a record into JSON-ready data; each dataclass carries its name under "record"."""
    if hasattr(record, "tolist"):  # a number of numpy or torch, or an array of them
        record = record.tolist()
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        fields = {f.name: to_dict(getattr(record, f.name)) for f in dataclasses.fields(record)}
        return {"record": type(record).__name__, **fields}
    if isinstance(record, dict):
        return {str(k): to_dict(v) for k, v in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_dict(v) for v in record]
    if isinstance(record, float) and not math.isfinite(record):
        return {"record": "float", "value": str(record)}  # JSON has no NaN and no infinity
    return record


def from_dict(data: Any) -> Any:
    """Rebuild what `to_dict` wrote. Unknown fields are an error: a record is never half read."""
    if isinstance(data, list):
        return [from_dict(v) for v in data]
    if not isinstance(data, dict):
        return data
    fields, kind = {k: from_dict(v) for k, v in data.items()}, data.get("record")
    if not isinstance(kind, str):  # a class may be called "record"
        return fields
    del fields["record"]
    if kind == "float":
        return float(fields["value"])
    if kind not in KINDS:
        raise ValueError(f"a record of kind {kind!r} is unknown here; known are {', '.join(KINDS)}")
    try:
        return KINDS[kind](**fields)
    except TypeError as error:
        raise ValueError(f"this {kind} was written by another version of sftlab: {error}") from None


def write(record: Any, path: str | Path) -> Path:
    """Write a record (or a dict or list of records) as JSON, whole or not at all; return the path."""
    path = as_path(path)
    with replacing(path) as partial:
        partial.write_text(json.dumps(to_dict(record), ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return path


def read(path: str | Path, kind: type[R] = object) -> R:  # type: ignore[assignment]
    """Read what `write` wrote. Raises ValueError if the file holds no record, or one of another kind."""
    try:
        record = from_dict(json.loads(as_path(path).read_text(encoding="utf-8")))
    except ValueError as error:  # no UTF-8, no JSON, or of another version
        raise ValueError(f"{path} is not a record: {error}") from None
    if not isinstance(record, kind):
        raise ValueError(f"{path} holds a {type(record).__name__}, not a {kind.__name__}")
    return record


def stored(name: str) -> Any:
    """Return a record that the project keeps, such as "start", which `python benchmarks/start.py` has made.

    It is found from any folder, in a clone and in an installed package. Raises ValueError for another name.
    """
    return read(kept_record(name))
