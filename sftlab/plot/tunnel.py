"""Runs of the wind tunnel in the plane of old and new accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sftlab.plot import base, placing, style
from sftlab.plot.layers import Pair, between, name_beside, plane, rates


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
    plane(ax, majority, "old task, valid accuracy", "new task, valid accuracy")
    known = {name: np.mean(pairs, axis=0) for name, pairs in (beside or {}).items()}
    if line:
        ax.plot(*np.transpose([known[name] for name in line]), color="#CCCCCC", linewidth=1.3, zorder=1)
    for at in known.values():
        ax.plot(*at, "o", color="#BBBBBB", markerfacecolor="white", markersize=5, zorder=1)
    ran = [trial for trial in trials if trial.path]
    for trial in ran[:-1]:
        ax.plot(*trial.path[-1], "o", color=style.VALID, markerfacecolor="white", markersize=8, gid="earlier")
    names = [_label(ax, trial) for trial in reversed(ran)]
    names += [name_beside(ax, name, at, style.QUIET, 7.5) for name, at in known.items()]
    lines = [*between([known[name] for name in line]), *rates(majority), *(between(ran[-1].path) if ran else [])]
    placing.place(ax, names, marks=[*known.values(), *(t.path[-1] for t in ran), (1, 1)], lines=lines)
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
    finding = f"Run {newest.number}: {base.percent(x)} of the old task, {base.percent(y)} of the new one"
    told = [f"Run {t.number}: old {base.percent(t.path[-1][0])}, new {base.percent(t.path[-1][1])}." for t in ran]
    base.title(ax, finding, " ".join(told))
    return ax


def _label(ax: Any, trial: Trial) -> placing.Name:
    """Return a run's number and its profile, to be written beside its point."""
    at = trial.path[-1]

    def write(offset: tuple[float, float]) -> None:
        how = {"zorder": 6, "va": "bottom"}
        base.note(ax, str(trial.number), at, offset, fontsize=8.5, color=style.INK, fontweight="bold", **how)
        for i, rate in enumerate(trial.profile.values()):
            square = {"fontsize": 10, "color": style.heat(rate) if rate else style.LINE, **how}
            base.note(ax, "■" if rate else "□", at, (offset[0] + 9 * (i + 1), offset[1] - 1), **square)

    return placing.Name(at, (9.0 * len(trial.profile) + 17, 11.0), write)
