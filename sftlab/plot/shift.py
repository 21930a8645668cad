"""Home and away: what of an accuracy survives when the images change, and what the weights in between are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import t_interval
from sftlab.plot import base, style
from sftlab.plot.layers import hue

Runs = Sequence[float]
TICKS = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
HOME, AWAY = style.VALID, style.WRONG
MARKS = ("o", "s", "D", "^", "v", "P")


def falls(
    stored: Mapping[str, tuple[Runs, Runs]], *, live: Mapping[str, tuple[float, float]] | None = None,
    majority: tuple[float, float] | None = None, label: str = "accuracy", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw how far each strategy falls from home (dot) to away (triangle), a row a strategy.

    stored: {strategy: (values at home, values away), one a run}, from records: hollow means, bars 95 % intervals.
    live: {strategy: (home, away)}, computed now: solid. majority: the majority rates at home and away; without them a
    line stands at one half, which an area under the ROC curve must beat.
    """
    if not stored:
        raise ValueError("no strategy to draw")
    ax, told, means = base.axes(ax, 7.8, 1.5 + 0.42 * len(stored)), [], {}
    splits = len(next(iter(stored.values()))[0])
    for row, (name, both) in enumerate(stored.items()):
        found = [t_interval(runs) for runs in both]
        means[name] = [one.value for one in found]
        ax.plot(means[name], (row, row), color=style.LINE, linewidth=1, zorder=1)
        for one, colour, mark in zip(found, (HOME, AWAY), ("o", "v"), strict=True):
            ax.plot((one.low, one.high), (row, row), color=colour, linewidth=2.2, alpha=0.75)
            hollow = {"markerfacecolor": "white", "markersize": 7.5, "zorder": 3, "gid": "stored"}
            ax.plot(one.value, row, mark, color=colour, **hollow)
        if live and name in live:
            for value, colour, mark in zip(live[name], (HOME, AWAY), ("o", "v"), strict=True):
                ax.plot(value, row + 0.24, mark, color=colour, markersize=7, zorder=4, gid="live")
        told.append(f"{name} {base.percent(means[name][0])} and {base.percent(means[name][1])}")
    lines = [(0.5, "0.5: a coin", style.QUIET)] if majority is None else [
        (rate, f"majority rate {place}", colour)
        for rate, place, colour in zip(majority, ("at home", "away"), (HOME, AWAY), strict=True)
    ]  # fmt: skip
    for k, (rate, words, colour) in enumerate(sorted(lines)):
        base.majority_line(ax, rate, vertical=True)
        side = {"ha": "right" if k == 0 and len(lines) == 2 else "left", "va": "bottom"}
        base.note(ax, words, (rate, -0.6), (-2 if side["ha"] == "right" else 2, 2), color=colour, **side)
    ax.set_yticks(range(len(stored)), list(stored))
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(stored) - 0.4, -0.6), xlabel=f"{label} (%): ● at home, ▼ away; means of {splits} splits")
    ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    ax.grid(axis="x")
    best = max(means, key=lambda name: means[name][1])
    words = f"{best[0].upper()}{best[1:]}: {base.percent(means[best][0], 0)} at home, "
    finding = f"{words}{base.percent(means[best][1], 0)} away, the highest there"
    base.title(ax, finding, f"{label.capitalize()} at home and away: {'; '.join(told)}.", pad=24)
    return ax


def threshold(
    places: Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[int] | np.ndarray]], at: float, *,
    classes: Sequence[str], before: float = 0.5, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw what a network says in several places, a row a place: both classes, and the threshold between the answers.

    Probabilities stand at their log-odds, because answers crowd near 0 and 1. places: {place: (n probabilities of class
    1, n labels 0 or 1)}. at: the threshold; before: where it was, dotted.
    """
    ax = base.axes(ax, 7.8, 0.8 + 1.5 * len(places))
    rows, told = base.panels(ax, len(places), 1, (0.28, 0)), []
    every = np.concatenate([_log_odds(p1) for p1, _ in places.values()])
    low, high = min(-3.0, float(every.min()) - 0.2), max(3.0, float(every.max()) + 0.2)
    ticks = [t for t in TICKS if low <= _log_odds(t) <= high]
    for row, (name, (p1, y)) in zip(rows, places.items(), strict=True):
        p, labels = np.asarray(p1, dtype=float), np.asarray(y)
        for k, colour, kind, alpha in ((0, style.VALID, "stepfilled", 0.35), (1, style.WRONG, "step", 1.0)):
            how = {"histtype": kind, "color": colour, "alpha": alpha, "linewidth": 1.6}
            row.hist(_log_odds(p[labels == k]), np.linspace(low, high, 41), **how)
        right, share = float(((p >= at) == (labels == 1)).mean()), float(max(labels.mean(), 1 - labels.mean()))
        row.axvline(np.clip(_log_odds(at), low, high), color=style.GUESS, linewidth=2, gid="threshold")
        if at != before:
            row.axvline(_log_odds(before), color=style.QUIET, linewidth=1, linestyle=":")
        row.set(xlim=(low, high), yticks=[])
        row.set_xticks([_log_odds(t) for t in ticks], [f"{100 * t:g}" for t in ticks] if row is rows[-1] else [])
        row.spines["left"].set_visible(False)
        words = f"{name}: {base.percent(right)} right, majority rate {base.percent(share)}"
        base.note(row, words, (0, 1), (0, 7), xycoords="axes fraction", color=style.INK, fontsize=9.5)
        told.append(words)
    for k, (mark, colour) in enumerate((("■", style.VALID), ("□", style.WRONG))):
        how = {"xycoords": "axes fraction", "ha": "right", "fontsize": 9, "color": style.ink_safe(colour)}
        base.note(rows[0], f"{mark} {classes[k]}", (1, 1), (-70 * (1 - k), 7), **how)
    rows[-1].set_xlabel(f"probability of ‘{classes[1]}’ (%), called so from the line upwards")
    finding = f"Called ‘{classes[1]}’ from {100 * at:.4g} % upwards" if at <= 1 else f"Never called ‘{classes[1]}’"
    base.title(ax, finding, f"{'; '.join(told)}.", pad=24)
    return ax


def _log_odds(p: Any) -> Any:
    """Return log(p / (1 − p)), of probabilities within a hundred-thousandth of 0 and 1."""
    inside = np.clip(np.asarray(p, dtype=float), 1e-5, 1 - 1e-5)
    return np.log(inside / (1 - inside))


def weight_line(
    shares: Sequence[float], home: Sequence[Runs], away: Sequence[Runs], *, at: float | None = None,
    live: tuple[float, float] | None = None, ends: tuple[str, str] = ("before", "after"), label: str = "accuracy",
    majority: tuple[float, float] | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw the networks on the straight line between two sets of weights, at home and away.

    shares: K positions from 0 (before) to 1 (after). home, away: K × runs, from records: hollow means, 95 % bands.
    at: the position that `live`, its two values computed now, is drawn at, solid. majority: at home and away.
    """
    if not len(shares) == len(home) == len(away):
        raise ValueError(f"{len(shares)} shares, {len(home)} and {len(away)} results: give one for each")
    ax, x, names = base.axes(ax, 7.6, 3.7), np.asarray(shares, dtype=float), []
    told, best = [], 0
    for runs, colour, mark, word in ((home, HOME, "o", "home"), (away, AWAY, "v", "away")):
        found = [t_interval(values) for values in runs]
        mean = np.array([one.value for one in found])
        low, high = ([getattr(one, end) for one in found] for end in ("low", "high"))
        ax.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        ax.plot(x, mean, mark, linestyle="-", color=colour, markerfacecolor="white", markersize=6, gid="stored")
        names.append((float(x[-1]), float(mean[-1]), word, style.ink_safe(colour)))
        told.append(f"{word} {', '.join(base.percent(v) for v in mean)}")
        best = int(mean.argmax())  # of the last one, away
    if at is not None:
        ax.axvline(at, color=style.GUESS, linewidth=1.2, zorder=0)
    for value, colour, mark in zip(live or (), (HOME, AWAY), ("o", "v"), strict=False):
        ax.plot(at, value, mark, color=colour, markersize=9, zorder=5, gid="live")
    for rate, colour in zip(majority or (), (HOME, AWAY), strict=False):
        ax.axhline(rate, color=colour, linestyle=(0, (4, 3)), linewidth=1, zorder=1, gid="majority")
    if majority:
        base.note(ax, "majority rates", (x[0], max(majority)), (2, 7))
    ax.set(xlabel=f"share of the way from {ends[0]} (0) to {ends[1]} (1)", ylabel=f"{label} (%)")
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    ax.grid(axis="y")
    base.label_ends(ax, names)
    finding = f"Away, {label} is highest at {x[best]:g} of the way"
    if live is not None:
        finding = f"At {at:g} of the way: home {base.percent(live[0])}, away {base.percent(live[1])}"
    base.title(ax, finding, f"{label.capitalize()} at {', '.join(f'{s:g}' for s in x)}: {'; '.join(told)}.")
    return ax


def against(
    runs: Mapping[str, Mapping[str, Runs]], to: str, *, live: Mapping[str, Mapping[str, float]] | None = None,
    unit: str = "points", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw how much more each of several ways reaches than the way `to`, run by run, a row a condition.

    runs: {condition: {way: values as shares of 1, one a run}}, the same runs for all ways. live: {condition: {way:
    points more than `to`}}, computed now: solid.
    """
    ways = list(dict.fromkeys(way for row in runs.values() for way in row if way != to))
    if not ways or any(to not in row for row in runs.values()):
        raise ValueError(f"give {to!r} and at least one other way under every condition")
    ax, told, clear = base.axes(ax, 8.0, 1.4 + (0.2 + 0.17 * len(ways)) * len(runs)), [], []
    ax.axvline(0, color=style.INK, linewidth=1)
    colours = [hue(way, k) for k, way in enumerate(ways)]
    for row, (name, found) in enumerate(runs.items()):
        gains = {}
        for k, way in enumerate(ways):
            if way not in found:
                continue
            gain = t_interval(100 * (np.asarray(found[way]) - np.asarray(found[to])))
            y = row + 0.72 * ((k + 0.5) / len(ways) - 0.5)
            dark = style.ink_safe(colours[k])
            ax.plot((gain.low, gain.high), (y, y), color=dark, linewidth=1.8)
            ax.plot(gain.value, y, MARKS[k % 6], color=dark, markerfacecolor="white", markersize=6.5, gid="stored")
            if live and way in live.get(name, {}):
                ax.plot(live[name][way], y, MARKS[k % 6], color=dark, markersize=6.5, zorder=5, gid="live")
            gains[way] = gain
            told.append(f"{name}, {way}: {gain:+.1f}")
        first = max(gains, key=lambda way: gains[way].value)
        clear += [f"{name} by {first} ({gains[first].value:+.0f})"] if gains[first].low > 0 else []
    for k, way in enumerate(ways):
        how = {"xycoords": "axes fraction", "fontsize": 9, "color": style.ink_safe(colours[k])}
        base.note(ax, f"{'○□◇△▽✚'[k % 6]} {way}", (k / max(3, len(ways)), 1), (2, 10), **how)
    ax.set_yticks(range(len(runs)), list(runs))
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(runs) - 0.5, -0.5), xlabel=f"{unit} more (right) or less (left) than {to}, run by run")
    for border in range(1, len(runs)):
        ax.axhline(border - 0.5, color="#E6E6E6", linewidth=0.8)
    ax.grid(axis="x")
    finding = f"Clearly above {to}: {', '.join(clear)}" if clear else f"Nothing is clearly above {to}"
    base.title(ax, finding, f"Against {to}: {'; '.join(told)}.", pad=26)
    return ax
