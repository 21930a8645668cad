"""One rate or many: how far each stage moved, and what a network pays in old knowledge for what it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sftlab.plot import base, placing, style

Pair = Sequence[float]  # (old, new): what is left of the old task, what is reached in the new one
HUES = {"LP-FT": style.OTHERS[0], "gradual unfreezing": style.OTHERS[1]}  # beside the strategies that `style` knows
ENOUGH = 5  # runs from which a mean with its interval says more than the runs themselves


def moved(
    changes: Mapping[str, Mapping[str, float]], profiles: Mapping[str, Mapping[str, float]], *, ax: Any = None
) -> Any:
    """Draw how far each stage moved, ‖w′ − w‖ / ‖w‖ in percent, a row a strategy, in the heat of its rate.

    changes: {strategy: {stage: share}}. profiles: {strategy: {stage: rate}}, the same strategies.
    """
    if not changes or set(changes) != set(profiles):
        raise ValueError("give the changes and the profiles of the same strategies, at least one")
    ax = base.axes(ax, 7.8, 0.9 + 0.95 * len(changes))
    rows = [ax] if len(changes) == 1 else base.panels(ax, len(changes), 1, (0.1, 0))
    top = 100 * max(share for change in changes.values() for share in change.values())
    for row, (name, change) in zip(rows, changes.items(), strict=True):
        rates = profiles[name]
        alike = len(change) > 5 and len({rates[stage] for stage in change}) == 1  # then it is said once
        for i, (stage, share) in enumerate(change.items()):
            how = {"hatch": style.HATCH, "gid": "frozen"} if not rates[stage] else {"gid": "moved"}
            colour = style.heat(rates[stage])
            row.bar(i, 100 * share, width=0.7, color=colour, edgecolor="#7C8CA0", linewidth=0.6, **how)
            text = {"va": "bottom", "fontsize": 9, "color": style.INK}
            rate = f" at {base.rate_text(rates[stage])}" if rates[stage] else " frozen"
            words = base.percent(share, 1 if top >= 1 else 2) + ("" if alike else rate)
            base.note(row, words, (i, 100 * share), (0, 2), ha="center", **text)
        row.set_xticks(range(len(change)), list(change) if row is rows[-1] else [])
        row.set(ylim=(0, 1.3 * top or 1), ylabel="moved (%)", xlim=(-0.6, len(change) - 0.4))
        row.tick_params(axis="x", length=0)
        where = {"xycoords": "axes fraction", "va": "bottom", "fontweight": "bold", "fontsize": 9.5}
        told = f"{name}, every stage at {base.rate_text(rates[next(iter(change))])}" if alike else name
        base.note(row, told, (0, 1), (0, 4), color=style.ink_safe(hue(name)), **where)
    first = next(iter(changes.values()))
    far, near = max(first, key=lambda s: first[s]), min(first, key=lambda s: first[s])
    most, least = (base.percent(first[stage], 0 if top >= 1 else 2) for stage in (far, near))
    finding = f"{next(iter(changes))}: {far} moves by {most}, {near} by {least}"
    words = "; ".join(f"{n}: " + ", ".join(f"{s} {base.percent(v)}" for s, v in c.items()) for n, c in changes.items())
    base.title(ax, finding, f"Change of each stage's weights. {words}.", pad=24)
    return ax


def trade_off(
    points: Mapping[str, Sequence[Pair]] | None = None, *, stored: Mapping[str, Sequence[Pair]] | None = None,
    line: Sequence[str] = (), majority: Sequence[float | None] = (None, None), old: str = "old task, valid accuracy",
    new: str = "new task, valid accuracy", finding: str = "", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw strategies in the plane of old (across) and new (up).

    points: {strategy: [(old, new), one a seed]}, computed now: solid dots. stored: from records, hollow: the mean with
    its 95 % t-interval in both directions, or each of less than five runs. line: names to be joined in this order, such
    as one strategy at rising rates. majority: (old, new), dashed; either may be None. finding: the title; by default
    which strategy comes nearest to both.
    """
    points, stored = points or {}, stored or {}
    if not {**points, **stored}:
        raise ValueError("no strategy to draw")
    ax = base.axes(ax, 7.4, 4.6)
    plane(ax, majority, old, new)
    known = {**points, **stored}
    joined = [np.mean(known[name], axis=0) for name in line]
    lines = [*between(joined), *rates(majority)]
    if joined:
        ax.plot(*np.transpose(joined), color=hue(line[0]), linewidth=1.3, alpha=0.55, zorder=1)
    for i, name in enumerate(known):
        colour = hue(name, i)
        if name in stored:
            lines += between(_spread(ax, np.asarray(stored[name], dtype=float), colour))
        if name in points:
            dots = {"markersize": 4.5, "alpha": 0.85, "zorder": 4, "gid": "computed"}
            ax.plot(*np.transpose(points[name]), "o", color=colour, **dots)
    low = min(min(pair[1] for pairs in known.values() for pair in pairs), majority[1] or 1.0)
    ax.set_ylim(max(-0.02, low - 0.07), None)
    ends = {name: np.mean(stored.get(name, pairs), axis=0) for name, pairs in known.items()}
    names = [name_beside(ax, name, end, style.ink_safe(hue(name, i))) for i, (name, end) in enumerate(ends.items())]
    marks = [*ends.values(), *(pair for pairs in points.values() for pair in pairs), (1, 1)]
    marks += [pair for name in stored if len(stored[name]) < ENOUGH for pair in stored[name]]
    placing.place(ax, names, marks=marks, lines=lines)
    best = max(ends, key=lambda name: ends[name].sum())
    keeps, learns = (base.percent(v, 0) for v in ends[best])
    words = "; ".join(f"{n} old {base.percent(e[0])}, new {base.percent(e[1])}" for n, e in ends.items())
    finding = finding or f"{best[:1].upper()}{best[1:]} comes nearest to both: old {keeps}, new {learns}"
    base.title(ax, finding, f"Means over seeds: {words}.")
    return ax


def plane(ax: Any, majority: Sequence[float | None], old: str, new: str) -> None:
    """Draw the empty plane of old (across) and new (up): the star where one would like to be, and majority rates."""
    ax.set(xlim=(-0.05, 1.12), ylim=(-0.02, 1.24), xlabel=f"{old} (%)", ylabel=f"{new} (%)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
        axis.set_ticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    ax.grid(visible=True)
    ax.plot(1, 1, "*", color=style.LINE, markersize=9, gid="everything kept, everything learned")
    if majority[0] is not None:
        base.majority_line(ax, majority[0], vertical=True)
    if majority[1] is not None:
        base.majority_line(ax, majority[1])
        words = "majority rate" if majority[0] is None else "majority rates"
        base.note(ax, words, (0.22 if majority[0] is None else majority[0], majority[1]), (4, -8), fontsize=8)


def hue(name: str, index: int = 0) -> str:
    """Return the colour of a strategy."""
    return HUES.get(name) or style.hue(name, index)


def name_beside(ax: Any, name: str, at: Any, colour: str, size: float = 8.5) -> placing.Name:
    """Return a strategy's name, to be written beside its point."""

    def write(offset: tuple[float, float]) -> None:
        base.note(ax, name, at, offset, color=colour, fontsize=size, va="bottom", zorder=5)

    return placing.Name(at, (placing.width(name, size), 1.25 * size), write)


def between(corners: Sequence[Any]) -> list[Any]:
    """Return points along the straight lines between corners."""
    share = np.linspace(0, 1, 12)[:, None]
    pairs = pairwise(np.asarray(corners, dtype=float))
    return [point for a, b in pairs for point in a + share * (b - a)]


def rates(majority: Sequence[float | None]) -> list[Any]:
    """Return points along the dashed lines of the majority rates."""
    across, up = majority
    steps = np.linspace(0, 1.1, 80)
    found = [(x, up) for x in steps] if up is not None else []
    return found + ([(across, y) for y in steps] if across is not None else [])


def _spread(ax: Any, pairs: np.ndarray, colour: str) -> list[tuple[float, float]]:
    """Draw n stored pairs hollow: their mean with its t-interval, or each of them if they are few. Return the cross."""
    hollow = {"color": colour, "markerfacecolor": "white", "zorder": 3, "gid": "stored"}
    if len(pairs) < ENOUGH:
        ax.plot(*pairs.T, "o", markersize=6, markeredgewidth=1.4, **hollow)
        return []
    from scipy.stats import t

    x, y = pairs.mean(axis=0)
    dx, dy = t.ppf(0.975, len(pairs) - 1) * pairs.std(axis=0, ddof=1) / len(pairs) ** 0.5
    cross = [(x - dx, y), (x + dx, y), (x, y), (x, y + dy), (x, y - dy)]
    ax.plot(*np.transpose(cross[:2]), color=colour, linewidth=1.6, alpha=0.6, zorder=2)
    ax.plot(*np.transpose(cross[3:]), color=colour, linewidth=1.6, alpha=0.6, zorder=2)
    ax.plot(x, y, "o", markersize=8, markeredgewidth=1.6, **hollow)
    return cross
