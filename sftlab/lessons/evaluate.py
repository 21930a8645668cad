"""The figure of lesson 08, Evaluate: what choosing does to a number."""

from __future__ import annotations

from typing import Any

import numpy as np

from sftlab.plot import base, style


def climb(tried: np.ndarray, truth: np.ndarray, *, n: int, majority: float, ax: Any = None) -> Any:
    """Draw what choosing by one small test does: the kept best there climbs, its accuracy on new modules need not.

    tried: accuracy of each try on the n images that are looked at, in order. truth: accuracy of the same tries on
    images that nobody looks at. After each try the best so far is kept. The title sets beside its gap that of an
    average try, which nobody chose: the rest is the price of choosing.
    """
    best = [tried[:k].argmax() for k in range(1, len(tried) + 1)]
    x = np.arange(1, len(tried) + 1)
    ax = base.axes(ax, 7.5, 3.4)
    ax.plot(x, tried, "o", color="#B8B8B8", markersize=4, zorder=1)
    lines = ((tried[best], "best seen", style.WRONG, "^"), (truth[best], "on new modules", style.VALID, "o"))
    ends = []
    for values, name, colour, mark in lines:
        ax.plot(x, values, color=colour, marker=mark, markersize=5, drawstyle="steps-post")
        ends.append((x[-1], values[-1], f"{name} {100 * values[-1]:.0f}", colour))
    base.majority_line(ax, majority)
    low = min(tried.min(), truth.min(), majority) - 0.02
    ax.set(xlim=(0.5, max(10.0, len(tried) + 0.5)), ylim=(low, min(1.02, tried.max() + 0.04)), ylabel="accuracy (%)")
    ax.set_xlabel(f"tries; each is looked at on the same {n} images")
    base.percent_axis(ax.yaxis)
    base.label_ends(ax, ends)
    base.note(ax, "majority rate", (0.5, majority), (3, -7))
    promise, gives = tried[best[-1]], truth[best[-1]]
    words = f"On the {n} images {base.percent(promise)}, on new modules {base.percent(gives)}."
    finding = f"After {len(tried)} tries the kept best promises {_more(promise - gives)} than it gives"
    base.title(ax, f"{finding}, an average try {_more(tried.mean() - truth.mean())}", words)
    return ax


def _more(gap: float) -> str:
    return f"{100 * abs(gap):.1f} points {'more' if gap >= 0 else 'less'}"
