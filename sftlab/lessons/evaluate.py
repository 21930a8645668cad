"""Figures of lesson 08, Evaluate: intervals that contain the truth or miss it, and what choosing does to a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.plot import base, style

Values = Sequence[float] | np.ndarray


def hits(intervals: Sequence[Interval], truth: float, *, n: int, majority: float, ax: Any = None) -> Any:
    """Draw the intervals of many test sets of n images side by side; those that miss the truth carry a ✗."""
    ax = base.axes(ax, 7.5, 3.2)
    inside = np.array([truth in one for one in intervals])
    value, low, high = (np.array([getattr(one, end) for one in intervals]) for end in ("value", "low", "high"))
    for which, colour, mark in ((inside, style.VALID, "."), (~inside, style.WRONG, "X")):
        x = np.flatnonzero(which)
        ax.vlines(x, low[which], high[which], color=colour, alpha=0.6, linewidth=1.8)
        ax.plot(x, value[which], mark, color=colour, markersize=6)
    ax.axhline(truth, color=style.INK, linewidth=1)
    base.note(ax, f"truth {base.percent(truth, 0)}", (len(intervals), truth), (2, 0), color=style.INK)
    base.majority_line(ax, majority)
    base.note(ax, "majority rate", (len(intervals), majority), (2, 0))
    ax.set(xlim=(-1, len(intervals)), xticks=[], ylabel="accuracy (%)", ylim=(None, 1.005))
    ax.set_xlabel(f"{len(intervals)} test sets of {n} images, ✗ where the interval misses the truth")
    base.percent_axis(ax.yaxis)
    half = 50 * np.mean(high - low)
    finding = f"{inside.sum()} of {len(intervals)} intervals contain the truth; they reach ± {half:.1f} points"
    base.title(ax, finding, f"{n} test images each.")
    return ax


def climb(tried: Values, truth: Values, *, n: int, majority: float, ax: Any = None) -> Any:
    """Draw what choosing by one small test does: the kept best there climbs, its accuracy on new modules need not.

    tried: accuracy of each try on the n images that are looked at, in order. truth: accuracy of the same tries on
    images that nobody looks at. After each try the best so far is kept.
    """
    tried, truth = np.asarray(tried, dtype=float), np.asarray(truth, dtype=float)
    best = np.array([int(tried[: k + 1].argmax()) for k in range(len(tried))])
    x = np.arange(1, len(tried) + 1)
    ax = base.axes(ax, 7.5, 3.4)
    ax.plot(x, tried, "o", color="#B8B8B8", markersize=4, zorder=1)
    ends = []
    for values, name, colour, mark in (
        (tried, "best seen", style.WRONG, "^"),
        (truth, "on new modules", style.VALID, "o"),
    ):
        ax.plot(x, values[best], color=colour, marker=mark, markersize=5, drawstyle="steps-post")
        ends.append((float(x[-1]), float(values[best[-1]]), f"{name} {100 * values[best[-1]]:.0f}", colour))
    base.majority_line(ax, majority)
    low = min(tried.min(), truth.min(), majority) - 0.02
    ax.set(xlim=(0.5, max(10.0, len(tried) + 0.5)), ylim=(low, min(1.02, tried.max() + 0.04)), ylabel="accuracy (%)")
    ax.set_xlabel(f"tries; each is looked at on the same {n} images")
    base.percent_axis(ax.yaxis)
    base.label_ends(ax, ends)
    base.note(ax, "majority rate", (0.5, majority), (3, -7))
    promise, gives = tried[best[-1]], truth[best[-1]]
    more = f"{100 * abs(promise - gives):.1f} points {'more' if promise >= gives else 'less'} than it gives"
    words = f"On the {n} images {base.percent(promise)}, on new modules {base.percent(gives)}."
    base.title(ax, f"After {len(tried)} tries the kept best promises {more}", words)
    return ax
