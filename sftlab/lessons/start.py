"""The figure of lesson 00: what each way to use a pretrained network reaches on two tasks, over five splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sftlab.core.records import Result
from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

PROBE = "linear probe"


def strategies(
    record: Mapping[str, Mapping[str, Any]], live: Mapping[str, Mapping[str, Result]], *, ax: Any = None
) -> Any:
    """Draw validation accuracies of strategies, a panel a task, with what each gains over the linear probe.

    record: of `benchmarks/start.py`: {task: {split: {strategy: accuracies by epoch}}}, and `test_to_train` of each
    task. Small hollow dots are splits, a large one their mean, the bar its 95 % interval; the numbers are gains over
    the probe on the same splits, in points. live: {task: {strategy: result}}, computed now, solid.
    """
    names = [name for name in next(iter(record[next(iter(live))].values())) if name != "majority"]
    ax = base.axes(ax, 9.4, 1.5 + 0.5 * len(names))
    words, findings = [], []
    panels = base.panels(ax, 1, len(live), (0, 0.26))
    for panel, (task, results) in zip(panels, live.items(), strict=True):
        runs, ratio = list(record[task].values()), record["test_to_train"][task]
        last = {name: np.array([run[name][-1] for run in runs]) for name in names}
        gains = {}
        for row, (name, values) in enumerate(last.items()):
            colour = style.hue(name, row)
            panel.plot(values, [row - 0.18] * len(values), "o", color=colour, markersize=3, markerfacecolor="white")
            base.dot(panel, t_interval(values, test_to_train=ratio), row, colour, stored=True)
            if name in results:
                base.dot(panel, results[name].accuracy, row + 0.22, colour)
            if name != PROBE:
                gain = gains[name] = t_interval(100 * (values - last[PROBE]), test_to_train=ratio)
                text = f"{gain.value:+.0f} ({gain.low:+.0f} to {gain.high:+.0f})".replace("-", "−")
                base.note(panel, text, (1, row), (4, 0), xycoords=("axes fraction", "data"), fontsize=8.5)
        base.majority_line(panel, np.mean([run["majority"] for run in runs]), vertical=True)
        base.rows(panel, names if panel is panels[0] else [""] * len(names))
        panel.set_title(task, fontsize=10, pad=14)
        panel.set_xlabel("validation accuracy (%); right: points more than the probe", fontsize=8.5)
        base.percent_axis(panel.xaxis)
        findings.append(_finding(task, gains))
        words += [f"{task}, {name}: {gain:+.1f}" for name, gain in gains.items()]
    finding = "; ".join(findings)
    base.title(ax, finding[0].upper() + finding[1:], f"Points more than the probe: {'; '.join(words)}.", pad=30)
    return ax


def _finding(task: str, gains: Mapping[str, Any]) -> str:
    above = {name: gain.value for name, gain in gains.items() if gain.low > 0}
    if not above:
        return f"{task}: nothing is clearly above the probe"
    best = max(above, key=above.__getitem__)
    return f"{task}: {best} gains {above[best]:.0f} points over the probe"
