"""What a remedy buys, run by run; and the gap between images that a network learned from and images that are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

MARKS = ("o", "s", "D", "^")
Points = Mapping[str, Sequence[float]]  # {remedy: points gained, one a run}


def remedies(
    runs: Mapping[str, Points], *, live: Mapping[str, Mapping[str, float]] | None = None, ax: Any = None
) -> Any:
    """Draw what each remedy gains, a row a remedy, for one or several starting points.

    runs: {start: {remedy: points gained over the same run without it}}, from records: faint dots are runs, hollow marks
    their means, bars 95 % intervals of the mean. live: {start: {remedy: points}}, computed now: solid.
    """
    if not runs or not all(runs.values()):
        raise ValueError("no remedy given, so there is nothing to draw")
    names = list(dict.fromkeys(name for points in runs.values() for name in points))
    ax = base.axes(ax, 8.2, 1.3 + 0.5 * len(names))
    ax.axvline(0, color=style.INK, linewidth=1)
    told, clear = [], []
    for g, (start, points) in enumerate(runs.items()):
        colour, mark = _colour(start, g), MARKS[g % len(MARKS)]
        for name, gained in points.items():
            y, mean = names.index(name) + 0.26 * (g - (len(runs) - 1) / 2), t_interval(gained)
            ax.plot(gained, np.full(len(gained), y), ".", color=colour, markersize=3.5, alpha=0.35)
            ax.plot((mean.low, mean.high), (y, y), color=colour, linewidth=2.2)
            ax.plot(mean.value, y, mark, color=colour, markerfacecolor="white", markersize=7, gid="stored")
            if live and name in live.get(start, {}):
                ax.plot(live[start][name], y, mark, color=colour, markersize=7, zorder=5, gid="live")
            told.append(f"{name}, {start}: {mean:+.1f}")
            clear += [(mean.value, name, start)] if mean.low > 0 else []
    where = {"xycoords": "axes fraction", "fontsize": 9, "ha": "left"}
    for g, start in enumerate(runs):
        words = f"{'●■◆▲'[g % len(MARKS)]} {start}"
        base.note(ax, words, (0, 1), (6 + 120 * g, 9), **where, color=style.ink_safe(_colour(start, g)))
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="points of accuracy lost (left) or gained (right), run by run")
    ax.grid(axis="x")
    finding = "No remedy is clear of zero"
    if clear:
        value, name, start = max(clear)
        finding = f"{name[0].upper()}{name[1:]} buys most: {value:+.1f} points, {start}"
    base.title(ax, finding, f"{'; '.join(told)}.", pad=26)
    return ax


def gaps(
    strengths: Sequence[float], train: Sequence[Sequence[float]], valid: Sequence[Sequence[float]], *,
    at: float | None = None, live: tuple[float, float, float] | None = None, majority: float | None = None,
    xlabel: str = "strength", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw accuracy on known and on new images against the strength of something; between them is the gap.

    strengths: K numbers. train, valid: K × runs, from records: hollow means with bands of 95 %. at: a position to mark.
    live: (strength, train accuracy, valid accuracy), computed now, drawn solid.
    """
    if not len(strengths) == len(train) == len(valid):
        raise ValueError(f"{len(strengths)} strengths, {len(train)} and {len(valid)} accuracies: give one for each")
    ax = base.axes(ax, 7.5, 3.8)
    x, means, ends = np.asarray(strengths, dtype=float), [], []
    for values, colour, mark, word in (
        (train, style.QUIET, "s", "images it learned from"), (valid, style.VALID, "o", "new images"),
    ):  # fmt: skip
        found = [t_interval(runs) for runs in values]
        mean = np.array([one.value for one in found])
        low, high = ([getattr(one, end) for one in found] for end in ("low", "high"))
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(x, mean, mark, linestyle="-", color=colour, markerfacecolor="white", markersize=6, gid="stored")
        ends.append((float(x[-1]), float(mean[-1]), word, colour))
        means.append(mean)
    if live is not None:
        for value, colour, mark in zip(live[1:], (style.QUIET, style.VALID), ("s", "o"), strict=True):
            ax.plot(live[0], value, mark, color=colour, markersize=8, zorder=5, gid="live")
    if at is not None:
        ax.axvline(at, color=style.GUESS, linewidth=1.4)
    floor = min(float(means[1].min()), *([majority] if majority is not None else []))
    span = float(x[-1] - x[0])
    ax.set(ylim=(max(0.0, floor - 0.08), 1.02), xlim=(x[0] - 0.03 * span, x[-1] + 0.03 * span))
    ax.set(xlabel=xlabel, ylabel="accuracy (%)")
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    ax.grid(axis="y")
    if majority is not None:
        base.majority_line(ax, majority)
        base.note(ax, "majority rate", (x[0], majority), (0, -7), ha="left")
    base.label_ends(ax, ends)
    points = [100 * (a - b) for a, b in zip(*means, strict=True)]
    first, last = f"{points[0]:.0f} points at {x[0]:g}", f"{points[-1]:.0f} at {x[-1]:g}"
    new = f"new images {base.percent(means[1][0], 0)} and {base.percent(means[1][-1], 0)}"
    words = "; ".join(f"{s:g}: {base.percent(a)} and {base.percent(b)}" for s, a, b in zip(x, *means, strict=True))
    base.title(ax, f"The gap is {first}, {last}; {new}", f"Known and new images by {xlabel}: {words}.")
    return ax


def _colour(start: str, index: int) -> str:
    return style.VALID if "pretrained" in start else style.hue(start, index)
