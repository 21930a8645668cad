"""What `sftlab predict` writes: a line a photograph in the terminal, a table as CSV, everything as JSON."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sftlab.deploy.predict import NEITHER, Prediction, Predictor, limited, photos_in, predictions, predictor

SHOWN = 3  # probabilities in a line of the terminal; the files hold all of them
FEW = 2 * 32  # photographs that are answered before a bar would be worth looking at
LONGEST = 44  # letters of a file name in a line of the terminal


def answer_all(
    model: Path, photos: Sequence[Path], *, to_csv: Path | None = None, to_json: Path | None = None,
    below: float | None = None, beyond: float | None = None,
) -> bool:  # fmt: skip
    """Answer for photographs and folders, a printed line each, and into files; tell whether anything could be read.

    Ctrl-C ends it early and keeps what was answered by then. Raises what `predictor` and `limited` raise, and
    ValueError if there is no file at all.
    """
    chosen = limited(predictor(model), below, beyond)
    files = photos_in(photos)
    if not files:
        raise ValueError(f"no file in {', '.join(map(str, photos))}; give photographs, or folders that hold some")
    lines, found = Lines(files, chosen.classes), list[Prediction]()
    with Csv(to_csv, chosen.classes) as table, _progress(len(files)) as step:
        _say(lines.head())
        try:
            for one in predictions(chosen, files):
                found.append(one)
                table.write(one)
                _say(lines.of(one))
                step()
        except KeyboardInterrupt:
            pass
    if to_json is not None:
        write_json(found, chosen, model.name, to_json)
    _say(f"\n{summary(found, len(files))}\n{limits(chosen)}")
    for path in (to_csv, to_json):
        if path is not None:
            _say(f"written: {path}")
    return any(not one.error for one in found)


def _say(line: str) -> None:
    """Print a line; where nobody reads on, as behind `| head`, go on in silence, because files may be waited for."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Give a function to call after each photograph; a bar with the time left where somebody watches."""
    if not sys.stderr.isatty() or total < FEW:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    # Lines that go to the same terminal are printed above the bar; lines that go into a file must stay out of it.
    here = Console(stderr=True) if not sys.stdout.isatty() else Console()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=here, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


class Csv(AbstractContextManager["Csv"]):
    """A table that grows by a row a photograph; what was answered before an interruption is kept."""

    def __init__(self, path: Path | None, classes: Sequence[str]) -> None:
        self.path, self.classes = path, classes

    def __enter__(self) -> Csv:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._partial = self.path.with_name(self.path.name + ".partial")
            self._file = self._partial.open("w", encoding="utf-8", newline="")
            self._table = csv.writer(self._file, lineterminator="\n")
            of_classes = [f"p({name})" for name in self.classes]
            self._table.writerow(["file", "answer", "probability", *of_classes, "distance", "refused", "error"])
        return self

    def write(self, one: Prediction) -> None:
        """Add a row."""
        if self.path is not None:
            p = [_digits(one.probabilities.get(name)) for name in self.classes]
            best, far = _digits(one.confidence if one.probabilities else None), _digits(one.distance)
            self._table.writerow([one.file, one.answer, best, *p, far, one.refused, one.error])

    def __exit__(self, *_: object) -> None:
        if self.path is not None:
            self._file.close()
            self._partial.replace(self.path)


def write_json(found: Sequence[Prediction], model: Predictor, name: str, path: Path) -> None:
    """Write model, limits and all answers as one JSON document."""
    limits = None if model.reject is None else model.reject.facts()
    rows = [
        {
            "file": one.file, "answer": one.answer or None, "likeliest": one.label or None,
            "probability": one.confidence if one.probabilities else None, "probabilities": one.probabilities,
            "distance": one.distance, "refused": one.refused or None, "error": one.error or None,
        }
        for one in found
    ]  # fmt: skip
    facts = {"name": name, "classes": model.classes, "size": model.size, "neither": limits}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"model": facts, "photos": rows}, ensure_ascii=False, indent=1), encoding="utf-8")
    partial.replace(path)


class Lines:
    """The lines of the terminal, in columns as wide as the names need."""

    def __init__(self, files: Sequence[Path], classes: Sequence[str]) -> None:
        self.names = min(LONGEST, max((len(str(file)) for file in files), default=4))
        self.answers = max(len(NEITHER), *(len(name) for name in classes))

    def head(self) -> str:
        """Return the names of the columns."""
        return f"{'file':<{self.names}}  {'answer':<{self.answers}}  probabilities"

    def of(self, one: Prediction) -> str:
        """Return the line of one photograph."""
        name = one.file if len(one.file) <= self.names else f"…{one.file[1 - self.names :]}"
        if one.error:
            return f"{name:<{self.names}}  {'–':<{self.answers}}  cannot be read: {one.error}"
        likeliest = sorted(one.probabilities.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{label} {_percent(p)}" for label, p in likeliest[:SHOWN])
        told += f", {len(likeliest) - SHOWN} more" if len(likeliest) > SHOWN else ""
        why = f"; {one.refused}" if one.refused else ""
        return f"{name:<{self.names}}  {one.answer:<{self.answers}}  {told}{why}"


def summary(found: Sequence[Prediction], asked: int) -> str:
    """Say how many photographs got which answer, and how many none."""
    counts = Counter(one.answer for one in found if not one.error)
    bad = sum(bool(one.error) for one in found)
    told = ", ".join(f"{n:,} {answer}" for answer, n in counts.most_common())
    good, files = len(found) - bad, f"{bad:,} file{'s' * (bad > 1)} could not be read"
    said = f"{good:,} photograph{'s' * (good > 1)}: {told}" if good else files
    said += f"; {files}" if good and bad else ""
    return said + (f"; stopped after {len(found):,} of {asked:,}" if len(found) < asked else "")


def limits(model: Predictor) -> str:
    """Say when the answer is "neither"."""
    reject: Any = model.reject
    if reject is None or (not reject.probability and math.isinf(reject.distance)):
        return "never answers “neither”: the model has no limits (--refuse-below P sets one)"
    below = f"probability below {reject.probability:.3f}" if reject.probability else ""
    beyond = f"distance above {reject.distance:.3f}" if math.isfinite(reject.distance) else ""
    return f"“neither” at a {' or a '.join(filter(None, (below, beyond)))}"


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _percent(p: float) -> str:
    """Return a probability in percent that never rounds to certainty."""
    return "> 99.9 %" if p > 0.9995 else "< 0.1 %" if p < 0.0005 else f"{100 * p:.1f} %"
