"""Figures of the lesson on shift: accuracy at home and away, and what a threshold makes of both places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

TICKS = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
HOME, AWAY = (style.VALID, "o"), (style.WRONG, "v")


def domain_gap(
    stored: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    live: Mapping[str, tuple[float, float]] | None = None,
    chance: Mapping[str, float] | None = None,
    label: str = "accuracy",
    test_to_train: float = 0.0,
    ax: Any = None,
) -> Any:
    """Draw what each strategy reaches at home (dot) and away (triangle), a row a strategy.

    stored: {strategy: (values at home, values away)}, one a run, from records: hollow means, bars 95 % intervals.
    live: {strategy: (home, away)}, computed now: solid. chance: {name: what a fixed answer or a coin reaches}, dashed.
    test_to_train: of stored runs over random splits of one set, see `t_interval`.
    """
    if not stored:
        raise ValueError("no strategy to draw")
    ax, words = base.axes(ax, 7.8, 1.5 + 0.42 * len(stored)), []
    means = {
        name: [t_interval(values, test_to_train=test_to_train) for values in places] for name, places in stored.items()
    }
    for row, (name, pair) in enumerate(means.items()):
        ax.plot([one.value for one in pair], (row, row), color=style.LINE, linewidth=1, zorder=1)
        now = (live or {}).get(name, ())
        for one, (colour, mark) in zip(pair, (HOME, AWAY), strict=True):
            ax.plot((one.low, one.high), (row, row), color=colour, linewidth=2.2, alpha=0.75)
            ax.plot(one.value, row, mark, color=colour, markerfacecolor="white", markersize=7.5, gid="stored")
        for value, (colour, mark) in zip(now, (HOME, AWAY), strict=False):
            ax.plot(value, row + 0.24, mark, color=colour, markersize=7, gid="live")
        words.append(f"{name} {base.percent(pair[0].value)} and {base.percent(pair[1].value)}")
    for k, (name, rate) in enumerate(sorted((chance or {}).items(), key=lambda item: item[1])):
        base.majority_line(ax, rate, vertical=True)
        base.note(ax, name, (rate, -0.55), (2 if k else -2, 6), ha="left" if k else "right")
    base.rows(ax, list(stored))
    base.percent_axis(ax.xaxis)
    ax.set_xlabel(f"{label} (%): ● at home, ▼ away")
    ax.grid(axis="x")
    home, away = (
        [base.percent(end([pair[k].value for pair in means.values()]), 0) for end in (min, max)] for k in (0, 1)
    )
    title = f"Means at home {home[0]} to {home[1]}, away {away[0]} to {away[1]}"
    base.title(ax, title, f"{label} at home and away: {'; '.join(words)}.", pad=24)
    return ax


def threshold(
    places: Mapping[str, tuple[np.ndarray, np.ndarray]], at: float, *, classes: Sequence[str], ax: Any = None
) -> Any:
    """Draw what a network says in several places, a row a place: both classes, and the threshold between the answers.

    Probabilities stand at their log-odds, because answers crowd near 0 and 1. places: {place: (n probabilities of class
    1, n labels 0 or 1)}. at: the threshold.
    """
    ax, words = base.axes(ax, 7.8, 0.8 + 1.5 * len(places)), []
    rows = base.panels(ax, len(places), 1, (0.28, 0))
    every = np.concatenate([log_odds(p) for p, _ in places.values()])
    low, high = min(-3.0, every.min() - 0.2), max(3.0, every.max() + 0.2)
    ticks = [t for t in TICKS if low <= log_odds(t) <= high]
    for row, (place, (p, y)) in zip(rows, places.items(), strict=True):
        bins = np.linspace(low, high, 41)
        row.hist(log_odds(p[y == 0]), bins, color=style.VALID, alpha=0.35, label=classes[0])
        row.hist(log_odds(p[y == 1]), bins, color=style.WRONG, histtype="step", linewidth=1.6, label=classes[1])
        row.axvline(np.clip(log_odds(at), low, high), color=style.GUESS, linewidth=2, gid="threshold")
        row.set(xlim=(low, high), yticks=[])
        row.set_xticks([log_odds(t) for t in ticks], [f"{100 * t:g}" for t in ticks] if row is rows[-1] else [])
        right, majority = np.mean((p >= at) == (y == 1)), max(y.mean(), 1 - y.mean())
        words.append(f"{place}: {base.percent(right)} right, majority rate {base.percent(majority)}")
        base.corner(row, words[-1], color=style.INK)
    rows[0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2, fontsize=9)
    rows[-1].set_xlabel(f"probability of ‘{classes[1]}’ (%), called so from the line upwards")
    finding = f"Called ‘{classes[1]}’ from {100 * at:.4g} % upwards" if at <= 1 else f"Never called ‘{classes[1]}’"
    base.title(ax, finding, f"{'; '.join(words)}.", pad=24)
    return ax


def log_odds(p: Any) -> Any:
    """Return log(p / (1 − p)), of probabilities within a hundred-thousandth of 0 and 1."""
    inside = np.clip(np.asarray(p, dtype=float), 1e-5, 1 - 1e-5)
    return np.log(inside / (1 - inside))
