"""Lesson 00: its figure, what each way to use a pretrained network reaches over five splits; its exercises' checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import replace_head, stage_names
from sftlab.core.records import Result, stored
from sftlab.core.statistics import t_interval
from sftlab.lessons.checks import Wrong, check, expect, moved_by_training
from sftlab.networks import backbone
from sftlab.plot import base, style

PROBE = "linear probe"


def strategies(live: Mapping[str, Mapping[str, Result]], *, ax: Any = None) -> Any:
    """Draw validation accuracies of strategies, a panel a task, with what each gains over the linear probe.

    Small hollow dots are splits of the record of `benchmarks/start.py`, a large one their mean, the bar its 95 %
    interval; the numbers are gains over the probe on the same splits, in points. live: {task: {strategy: result}},
    computed now, solid.
    """
    record = stored("start")  # {task: {split: {strategy: accuracies by epoch}}}, and `test_to_train` of each task
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


# the checks of its exercises


@check
def gain_at_most(points: float) -> str:
    """Check the upper end of the interval of what full fine-tuning adds to the probe on solar cells."""
    mistakes = {
        2.13: "That is the mean of the five gains. Asked is how large the gain may be.",
        26.7: "That is for typefaces, where the gain was shown.",
        -1.72: "That is the other end: what full fine-tuning may cost.",
    }
    expect(points, 5.99, 0.1, mistakes)
    return "Zero lies in the interval, and so do 6 points: five splits do not tell which."


@check
def learns_from(optimizer_for: Callable[[nn.Sequential, int, float], torch.optim.Optimizer]) -> str:
    """Check which stages of a real network one step of an optimizer moves, for three first stages and rates."""
    for first in (11, 8, 5):
        torch.manual_seed(first)
        model = replace_head(backbone("efficientnet_lite0"), 2)
        optimizer, learning = optimizer_for(model, first, first / 1e4), stage_names(model[first:])
        moved = moved_by_training(model, optimizer)
        if early := {*moved} - {*learning}:
            raise Wrong(f"With first = {first}, other stages have moved as well, such as {min(early)}.")
        if moved != learning:
            raise Wrong(f"With first = {first}, a step has moved {base.listed(moved) or 'nothing'}, and no more.")
        if {group["lr"] for group in optimizer.param_groups} != {first / 1e4}:
            raise Wrong("The right stages learn, but not at the rate that was asked for.")
    return "In all three networks one step moved the stages from `first` on, and no other."


@check
def finds_leak(leaked: Callable[[Tensor, Tensor], Iterable[int]]) -> str:
    """Check which test images a function finds in train, for sets that share none, 5 and 10."""
    for seed in range(3):
        torch.manual_seed(seed)
        train, test = torch.randint(17, (2, 600, 8, 8), dtype=torch.uint8)
        rows = torch.randperm(600)[: 5 * seed]
        test[rows] = train[: len(rows)]
        found, shared = {*map(int, leaked(train, test))}, {*rows.tolist()}
        if wrong := found - shared:
            raise Wrong(f"It names test images that are not in train, pixel by pixel: row {min(wrong)}, for one.")
        if missed := shared - found:
            raise Wrong(f"It misses {len(missed)} of {len(rows)}; a copy may stand at any place in train.")
    return "It finds what two sets share, at any place, and nothing where they share nothing."
