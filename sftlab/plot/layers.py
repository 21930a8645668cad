"""One rate or many: how far each stage moved, and what a network pays in old knowledge for what it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sftlab import style
from sftlab.plot import base

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
        for i, (stage, share) in enumerate(change.items()):
            how = {"hatch": style.HATCH, "gid": "frozen"} if not rates[stage] else {"gid": "moved"}
            colour = style.heat(rates[stage])
            row.bar(i, 100 * share, width=0.7, color=colour, edgecolor="#7C8CA0", linewidth=0.6, **how)
            text = {"va": "bottom", "fontsize": 9, "color": style.INK}
            rate = f"at {base.rate_text(rates[stage])}" if rates[stage] else "frozen"
            base.note(row, f"{base.percent(share)} {rate}", (i, 100 * share), (0, 2), ha="center", **text)
        row.set_xticks(range(len(change)), list(change) if row is rows[-1] else [])
        row.set(ylim=(0, 1.3 * top or 1), ylabel="moved (%)", xlim=(-0.6, len(change) - 0.4))
        row.tick_params(axis="x", length=0)
        where = {"xycoords": "axes fraction", "va": "bottom", "fontweight": "bold", "fontsize": 9.5}
        base.note(row, name, (0, 1), (0, 4), color=style.ink_safe(_hue(name)), **where)
    first = next(iter(changes.values()))
    far, near = max(first, key=lambda s: first[s]), min(first, key=lambda s: first[s])
    most, least = base.percent(first[far], 0), base.percent(first[near], 0)
    finding = f"{next(iter(changes))}: {far} moves by {most}, {near} by {least}"
    told = "; ".join(f"{n}: " + ", ".join(f"{s} {base.percent(v)}" for s, v in c.items()) for n, c in changes.items())
    base.title(ax, finding, f"Change of each stage's weights. {told}.", pad=24)
    return ax


def trade_off(
    points: Mapping[str, Sequence[Pair]] | None = None, *, stored: Mapping[str, Sequence[Pair]] | None = None,
    line: Sequence[str] = (), majority: Sequence[float | None] = (None, None), old: str = "old task, valid accuracy",
    new: str = "new task, valid accuracy", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw strategies in the plane of old (across) and new (up).

    points: {strategy: [(old, new), one a seed]}, computed now: solid dots. stored: from records, hollow: the mean with
    its 95 % t-interval in both directions, or each of less than five runs. line: names to be joined in this order, such
    as one strategy at rising rates. majority: (old, new), dashed; either may be None.
    """
    points, stored = points or {}, stored or {}
    if not {**points, **stored}:
        raise ValueError("no strategy to draw")
    ax = base.axes(ax, 7.4, 4.6)
    _plane(ax, majority, old, new)
    known = {**points, **stored}
    joined = [np.mean(known[name], axis=0) for name in line]
    if joined:
        ax.plot(*np.transpose(joined), color=_hue(line[0]), linewidth=1.3, alpha=0.55, zorder=1)
    for i, name in enumerate(known):
        colour = _hue(name, i)
        if name in stored:
            _spread(ax, np.asarray(stored[name], dtype=float), colour)
        if name in points:
            dots = {"markersize": 4.5, "alpha": 0.85, "zorder": 4, "gid": "computed"}
            ax.plot(*np.transpose(points[name]), "o", color=colour, **dots)
        _name(ax, name, np.mean(known[name], axis=0), style.ink_safe(colour), below=name in line)
    low = min(min(pair[1] for pairs in known.values() for pair in pairs), majority[1] or 1.0)
    ax.set_ylim(max(-0.02, low - 0.07), None)
    ends = {name: np.mean(pairs, axis=0) for name, pairs in known.items()}
    best = max(ends, key=lambda name: ends[name].sum())
    keeps, learns = (base.percent(v, 0) for v in ends[best])
    words = "; ".join(f"{n} old {base.percent(e[0])}, new {base.percent(e[1])}" for n, e in ends.items())
    finding = f"{best[:1].upper()}{best[1:]} comes nearest to both: old {keeps}, new {learns}"
    base.title(ax, finding, f"Means over seeds: {words}.")
    return ax


class Trial(Protocol):
    """One run of a wind tunnel: its number, its profile, and (old, new) after each epoch."""

    number: int
    profile: dict[str, float]
    path: list[tuple[float, float]]


def paths(
    trials: Sequence[Trial], *, beside: Mapping[str, Sequence[Pair]] | None = None, line: Sequence[str] = (),
    majority: Sequence[float | None] = (None, None), intervals: Sequence[Any] = (), ax: Any = None,
) -> Any:  # fmt: skip
    """Draw runs in the plane of old and new accuracy: the newest with its path, earlier ones hollow.

    Each carries its profile as a row of squares, stem first, in the heat of the rate. beside: {strategy: [(old, new)]}
    from records, pale. intervals: of the newest run's old and new accuracy.
    """
    ax = base.axes(ax, 7.0, 4.4)
    _plane(ax, majority, "old task, valid accuracy", "new task, valid accuracy")
    known = {name: np.mean(pairs, axis=0) for name, pairs in (beside or {}).items()}
    if line:
        ax.plot(*np.transpose([known[name] for name in line]), color="#CCCCCC", linewidth=1.3, zorder=1)
    for name, at in known.items():
        ax.plot(*at, "o", color="#BBBBBB", markerfacecolor="white", markersize=5, zorder=1)
        _name(ax, name, at, style.QUIET, 7.5, below=name in line)
    ran = [trial for trial in trials if trial.path]
    for trial in ran[:-1]:
        ax.plot(*trial.path[-1], "o", color=style.VALID, markerfacecolor="white", markersize=8, gid="earlier")
        _label(ax, trial)
    if not ran:
        base.title(ax, "No run yet: paint a profile and let go")
        return ax
    newest = ran[-1]
    ax.plot(*zip(*newest.path, strict=True), color=style.VALID, linewidth=1.4, marker=".", markersize=4, zorder=3)
    x, y = newest.path[-1]
    if intervals:
        ax.plot([intervals[0].low, intervals[0].high], [y, y], color=style.VALID, linewidth=2, alpha=0.4)
        ax.plot([x, x], [intervals[1].low, intervals[1].high], color=style.VALID, linewidth=2, alpha=0.4)
    ax.plot(x, y, "o", color=style.VALID, markersize=10, zorder=4, gid="newest")
    _label(ax, newest)
    finding = f"Run {newest.number}: {base.percent(x)} of the old task, {base.percent(y)} of the new one"
    told = [f"Run {t.number}: old {base.percent(t.path[-1][0])}, new {base.percent(t.path[-1][1])}." for t in ran]
    base.title(ax, finding, " ".join(told))
    return ax


def _label(ax: Any, trial: Trial) -> None:
    """Write a run's number and its profile beside its point, on the side where there is room."""
    at, left = trial.path[-1], trial.path[-1][0] > 0.75
    start = -12 - 9 * (len(trial.profile) + 1) if left else 10
    back = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
    how = {"bbox": back, "zorder": 6}
    base.note(ax, str(trial.number), at, (start, 7), fontsize=8.5, color=style.INK, fontweight="bold", **how)
    for i, rate in enumerate(trial.profile.values()):
        square = {"fontsize": 10, "color": style.heat(rate) if rate else style.LINE, **how}
        base.note(ax, "■" if rate else "□", at, (start + 9 * (i + 1), 7), **square)


def _plane(ax: Any, majority: Sequence[float | None], old: str, new: str) -> None:
    ax.set(xlim=(-0.02, 1.12), ylim=(-0.02, 1.24), xlabel=f"{old} (%)", ylabel=f"{new} (%)")
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


def _hue(name: str, index: int = 0) -> str:
    return HUES.get(name) or style.hue(name, index)


def _name(ax: Any, name: str, at: Any, colour: str, size: float = 8.5, *, below: bool = False) -> None:
    """Write a name aslant above or below its point: so the names of points that lie side by side do not touch."""
    slant = {"rotation": 38, "rotation_mode": "anchor", "ha": "left", "va": "bottom", "zorder": 5}
    if below:
        slant |= {"ha": "right", "va": "top"}
    base.note(ax, name, at, (-3, -4) if below else (3, 4), color=colour, fontsize=size, **slant)


def _spread(ax: Any, pairs: np.ndarray, colour: str) -> None:
    """Draw n stored pairs hollow: their mean with its t-interval, or each of them if they are few."""
    hollow = {"color": colour, "markerfacecolor": "white", "zorder": 3, "gid": "stored"}
    if len(pairs) < ENOUGH:
        ax.plot(*pairs.T, "o", markersize=6, markeredgewidth=1.4, **hollow)
        return
    from scipy.stats import t

    x, y = pairs.mean(axis=0)
    dx, dy = t.ppf(0.975, len(pairs) - 1) * pairs.std(axis=0, ddof=1) / len(pairs) ** 0.5
    ax.plot([x - dx, x + dx], [y, y], color=colour, linewidth=1.6, alpha=0.6, zorder=2)
    ax.plot([x, x], [y - dy, y + dy], color=colour, linewidth=1.6, alpha=0.6, zorder=2)
    ax.plot(x, y, "o", markersize=8, markeredgewidth=1.6, **hollow)


def differences(runs: Mapping[str, Sequence[Pair]], to: str, *, ax: Any = None) -> Any:
    """Draw how much better each strategy is than the strategy `to`, seed by seed: old on the left, new on the right.

    runs: {strategy: [(old, new), one a seed, the same seeds]}. Dots are seeds; the bar is the mean with its t-interval.
    """
    from scipy.stats import t

    if to not in runs or len(runs) < 2 or len({len(pairs) for pairs in runs.values()}) > 1:
        raise ValueError(f"give {to!r} and at least one other strategy, over the same seeds")
    others = [name for name in runs if name != to]
    ax = base.axes(ax, 8.2, 1.5 + 0.5 * len(others))
    sides, words, n = base.panels(ax, 1, 2, (0, 0.06)), [], len(runs[to])
    for side, panel in enumerate(sides):
        for row, name in enumerate(others):
            far = 100 * (np.asarray(runs[name], dtype=float) - np.asarray(runs[to], dtype=float))[:, side]
            mean, half = far.mean(), t.ppf(0.975, n - 1) * far.std(ddof=1) / n**0.5
            colour = _hue(name, row)
            panel.plot(far, np.full(n, row + 0.22), "o", color=colour, markersize=3, alpha=0.5)
            panel.plot([mean - half, mean + half], [row, row], color=colour, linewidth=2.4)
            panel.plot(mean, row, "D", color=colour, markersize=6)
            base.note(panel, f"{mean:+.1f}", (mean, row), (0, 5), ha="center", va="bottom", color=style.INK)
            words.append(f"{name}, {('old', 'new')[side]}: {mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f}).")
        panel.axvline(0, color=style.INK, linewidth=1)
        panel.set(ylim=(len(others) - 0.5, -0.6), xlabel=f"{('old', 'new')[side]} task: points more than {to}")
        panel.set_yticks(range(len(others)), [] if side else others)
        panel.tick_params(axis="y", length=0, labelcolor=style.INK)
        panel.grid(axis="x")
    base.title(ax, f"Against {to}, over {n} pairs of runs", " ".join(words))
    return ax
