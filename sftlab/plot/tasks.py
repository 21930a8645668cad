"""Two tasks on one network: which way each one pulls, and for how long they pull together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

HUES = {"alone": style.INK, "loop": style.RIGHT, "ink": style.WRONG, "random": style.OTHERS[2]}
MARKS = ("o", "s", "D", "^", "v", "P", "X")


def task_hue(name: str, index: int = 0) -> str:
    """Return the colour of the second task that `name` mentions, else the `index`-th of the spare ones."""
    return next((colour for word, colour in HUES.items() if word in name), style.OTHERS[index % len(style.OTHERS)])


def compass(cosines: Mapping[str, float | Sequence[float]], *, truth: str = "all labels", ax: Any = None) -> Any:
    """Draw gradients as arrows of one length, each at its angle to a direction that points up.

    cosines: {name: cosine with that direction}; of several, such as draws of labels, the first is drawn strong and
    the others pale. An arrow in the upper half helps: a small step against that gradient lowers the loss that `truth`
    names. Names alternate between right and left; only the angle to the vertical has a meaning.
    """
    if not cosines:
        raise ValueError("no gradient given, so there is no arrow to draw")
    ax = base.axes(ax, 6.2, 3.9)
    turn = np.linspace(0, 2 * math.pi, 200)
    ax.plot(np.cos(turn), np.sin(turn), color=style.LINE, linewidth=0.8, zorder=0)
    ax.plot((-1, 1), (0, 0), color=style.LINE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    ax.fill_between(np.cos(turn[:100]), np.sin(turn[:100]), color="#EFF5EF", linewidth=0, zorder=-1)
    _arrow(ax, (0, 1), "#BBBBBB", 4, truth)
    base.note(ax, truth, (0, 1), (0, 9), ha="center")
    base.note(ax, "dashed, a right angle: neither helps nor harms", (0, -1), (0, -9), ha="center", fontsize=8)
    told = []
    for i, (name, found) in enumerate(cosines.items()):
        values = np.atleast_1d(np.asarray(found, dtype=float))
        side, colour = (1, -1)[i % 2], task_hue(name, i)
        for k, cosine in reversed(list(enumerate(values))):
            at = (side * math.sqrt(max(0.0, 1 - cosine**2)), float(cosine))
            _arrow(ax, at, colour, 2.2 if k == 0 else 0.8, name, alpha=1 if k == 0 else 0.35)
        at = (side * math.sqrt(max(0.0, 1 - values[0] ** 2)), float(values[0]))
        how = {"ha": "left" if side > 0 else "right", "color": style.ink_safe(colour), "fontsize": 9}
        base.note(ax, f"{name} {values[0]:+.2f}", at, (8 * side, 4 if at[1] > 0 else -4), **how)
        told.append(f"{name} {values[0]:+.2f}, {math.degrees(math.acos(np.clip(values[0], -1, 1))):.0f} degrees")
    ax.set(xlim=(-2.3, 2.3), ylim=(-1.25, 1.3), aspect="equal")
    ax.set_axis_off()
    finding = f"Cosine with {truth}: " + base.listed([f"{n} {np.ravel(v)[0]:+.2f}" for n, v in cosines.items()])
    base.title(ax, finding, f"{'; '.join(told)}.")
    return ax


def _arrow(ax: Any, at: tuple[float, float], colour: str, width: float, gid: str, alpha: float = 1) -> None:
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0, "alpha": alpha}
    ax.annotate("", at, (0, 0), arrowprops=look, gid=gid, zorder=3 if alpha == 1 else 2)


def agreement(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    between: str = "the gradients of the two tasks",
    ax: Any = None,
) -> Any:
    """Draw the cosine of two gradients on the way of training, a line a second task.

    curves: {second task: {epochs trained: cosines, one a run}}, from records: hollow marks at the means, bands are 95 %
    intervals of the mean over the runs.
    """
    if not curves:
        raise ValueError("no curve given, so there is nothing to draw")
    ax = base.axes(ax, 7.6, 3.4)
    ends, told = [], []
    for i, (name, runs) in enumerate(curves.items()):
        epochs, colour = sorted(runs), task_hue(name, i)
        means = [t_interval(runs[e]) for e in epochs]
        ax.fill_between(epochs, [m.low for m in means], [m.high for m in means], color=colour, alpha=0.15, linewidth=0)
        y = [m.value for m in means]
        how = {"color": colour, "markerfacecolor": "white", "markersize": 6, "linewidth": 1.6, "gid": "stored"}
        ax.plot(epochs, y, f"{MARKS[i % len(MARKS)]}-", **how)
        ends.append((epochs[-1], y[-1], name, style.ink_safe(colour)))
        told.append(f"{name}: " + ", ".join(f"{e} epochs {v:+.2f}" for e, v in zip(epochs, y, strict=True)))
    ax.axhline(0, color=style.INK, linewidth=1)
    ax.set(xlabel="epochs trained", ylabel="cosine")
    base.label_ends(ax, ends)
    overall = {name: float(np.mean([np.mean(v) for v in runs.values()])) for name, runs in curves.items()}
    words = base.listed([f"{name} {value:+.2f}" for name, value in overall.items()])
    base.title(ax, f"Cosine of {between}, on average: {words}", f"{'; '.join(told)}.")
    return ax


def second_task(
    gains: Mapping[str, Mapping[Any, Sequence[float]]], *, live: Mapping[str, Mapping[Any, float]] | None = None,
    across: str = "labels a class of the first task", what: str = "points of accuracy", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw how many points the first task gains or loses beside a second one, a mark a second task.

    gains: {second task: {place on the axis: points more than alone, one a run}}, from records: hollow means with 95 %
    intervals over the runs, each run a dot. live: {second task: {place: points}}, computed now, solid. Places are
    drawn in the order given, evenly. An interval that crosses the zero line has decided nothing.
    """
    if not gains:
        raise ValueError("no second task given, so there is nothing to draw")
    ax = base.axes(ax, 8.0, 3.7)
    places = list(dict.fromkeys(place for runs in gains.values() for place in runs))
    ends, told, finding = [], [], []
    for i, (name, runs) in enumerate(gains.items()):
        colour, mark = task_hue(name, i), MARKS[i % len(MARKS)]
        x = [places.index(p) + 0.12 * (i - (len(gains) - 1) / 2) for p in runs]
        means = [t_interval(values) for values in runs.values()]
        for at, values, m in zip(x, runs.values(), means, strict=True):
            ax.plot(np.full(len(values), at), values, ".", color=colour, markersize=3, alpha=0.35)
            ax.plot((at, at), (m.low, m.high), color=colour, linewidth=2.2, alpha=0.8)
        y = [m.value for m in means]
        look = {"color": colour, "markerfacecolor": "white", "markersize": 7, "gid": "stored"}
        ax.plot(x, y, mark, linestyle=":", linewidth=1, **look)
        for place, points in (live or {}).get(name, {}).items():
            ax.plot(x[list(runs).index(place)] + 0.05, points, mark, color=colour, markersize=8, gid="live", zorder=4)
        ends.append((x[-1], y[-1], name, style.ink_safe(colour)))
        told.append(f"{name}: " + ", ".join(f"{p} {m:+.1f}" for p, m in zip(runs, means, strict=True)))
        finding.append(f"{name} {y[0]:+.1f} to {y[-1]:+.1f}")
    ax.axhline(0, color=style.INK, linewidth=1)
    ax.set_xticks(range(len(places)), [str(p) for p in places])
    ax.set(xlim=(-0.4, len(places) - 0.5), xlabel=across, ylabel=f"{what} more than alone")
    ax.grid(axis="y")
    base.label_ends(ax, ends)
    where = f"{across[0].upper()}{across[1:]}, {places[0]} to {places[-1]}"
    base.title(ax, f"{where}: {base.listed(finding)} points", f"{'; '.join(told)}.")
    return ax
