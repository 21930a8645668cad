"""A run that a learner started: its settings, its record, and how it appears in the chart and in the table."""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sftlab.core.records import History, Interval
from sftlab.core.statistics import wilson
from sftlab.plot import base, rates, style

COLUMNS = ("learns", "optimizer", "rate", "epochs", "valid accuracy (95 % interval)", "valid loss", "seconds", "ended")

_wilson = functools.cache(wilson)  # of the thousand intervals a dragged slider asks for, most are known


@dataclass
class Run:
    """One run of a panel. settings: rate, learns, optimizer, epochs, as the controls say them."""

    number: int
    settings: dict[str, Any]
    images: int  # of the validation split that have a label
    history: History = field(default_factory=History)
    outcome: str = "running"
    seconds: float = 0.0

    @property
    def hue(self) -> str:
        """The colour of its strategy."""
        return style.hue(self.settings["learns"])

    @property
    def name(self) -> str:
        """Its number and settings in words."""
        s = self.settings
        return f"run {self.number} ({s['learns']}, {s['optimizer']}, rate {rate_text(s['rate'])})"

    @property
    def accuracy(self) -> Interval | None:
        """Validation accuracy of the weights it kept; None before the first epoch has ended."""
        if not self.history.epochs:
            return None
        return _wilson(round(self.history.kept.valid_accuracy * self.images), self.images)

    @property
    def headline(self) -> str:
        """What it reached, as a sentence without a full stop; a rate that is too high is named."""
        begin = self.name[0].upper() + self.name[1:]
        if trouble := rates.trouble(self.history):
            return f"{begin} {trouble}: this rate is too high"
        if self.accuracy is None:
            return f"{begin} has begun"
        return f"{begin}: valid accuracy {base.percent(self.accuracy.value)}"

    @property
    def ended(self) -> str:
        """How it ended, in a word; a rate that is too high is named."""
        return "✗ diverges" if rates.trouble(self.history) else self.outcome

    def row(self) -> list[str]:
        """Return its line of the table, one text for each of COLUMNS."""
        s, score, last = self.settings, self.accuracy, self.history.epochs[-1:]
        done = f"{last[0].epoch if last else 0} of {s['epochs']}" if self.outcome != "finished" else f"{s['epochs']}"
        loss = f"{self.history.kept.valid_loss:.3f}" if last else "–"
        rate = rate_text(s["rate"])
        percent = f"{100 * score.value:.1f} ({100 * score.low:.0f}–{100 * score.high:.0f}) %" if score else "–"
        return [s["learns"], s["optimizer"], rate, done, percent, loss, f"{self.seconds:.1f}", self.ended]

    def curve(self) -> dict[str, Any]:
        """Return what the page needs to draw it."""
        epochs, score, kept = self.history.epochs, self.accuracy, None
        if score:
            best = self.history.kept
            kept = [best.epoch, best.valid_loss, best.valid_accuracy, score.low, score.high]
        return {
            "number": self.number, "name": self.name, "hue": self.hue, "row": self.row(),
            "end": rates.trouble(self.history), "kept": kept, "train": _points(rates.train_curve(self.history)),
            "valid": _points((e.epoch, e.valid_loss) for e in epochs),
            "accuracy": _points((e.epoch, e.valid_accuracy) for e in epochs),
        }  # fmt: skip


def rate_text(rate: float) -> str:
    """Return a rate as one says it: 3e-4, 0.01, 1."""
    return f"{rate:g}" if rate >= 0.01 else base.rate_text(rate)


def chart(runs: Sequence[Run], majority: float) -> dict[str, Any]:
    """Return what the page needs to draw runs side by side, the newest last."""
    histories = [run.history for run in runs]
    return {
        "title": finding(runs, majority), "alt": spoken(runs, majority), "majority": majority,
        "epochs": max((run.settings["epochs"] for run in runs), default=10), "roof": rates.roof(histories),
        "floor": rates.floor(histories, majority), "columns": COLUMNS, "runs": [run.curve() for run in runs],
    }  # fmt: skip


def finding(runs: Sequence[Run], majority: float) -> str:
    """Return what the newest run reached, beside the best one and the majority rate."""
    if not runs:
        return "No run yet"
    newest = runs[-1]
    best = max(runs, key=lambda run: run.accuracy.value if run.accuracy else 0.0)
    if newest.accuracy is None or best.accuracy is None or rates.trouble(newest.history):
        return newest.headline
    beside = f"majority {base.percent(majority)}"
    if len(runs) > 1:
        other = (
            "best so far" if best is newest else f"best is run {best.number} with {base.percent(best.accuracy.value)}"
        )
        beside = f"{other}; {beside}"
    return f"{newest.headline}; {beside}"


def spoken(runs: Sequence[Run], majority: float) -> str:
    """Return the text alternative of the chart."""
    told = " ".join(f"{run.name}: {rates.in_words(run.history)}." for run in runs)
    return f"Loss and valid accuracy against the epoch; majority rate {base.percent(majority)}. {told}".strip()


def table(runs: Sequence[Run]) -> str:
    """Return the runs as an HTML table, the newest first."""
    head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in ("run", *COLUMNS))
    lines = [
        f'<tr><th scope="row">{run.number}</th>{"".join(f"<td>{html.escape(cell)}</td>" for cell in run.row())}</tr>'
        for run in reversed(runs)
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>" if runs else ""


def _points(pairs: Any) -> list[list[float]]:
    return [[round(float(x), 4), round(float(y), 5)] for x, y in pairs if math.isfinite(y)]
