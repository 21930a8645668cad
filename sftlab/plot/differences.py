"""What many runs say: paired differences, and learning curves; lessons, `sftlab compare` and sweeps draw with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.analysis import labels
from sftlab.core.records import Interval
from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

MARKS = "osD^vPX"


def differences(
    gains: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    to: str,
    unit: str = "points",
    live: Mapping[str, Mapping[str, float]] | None = None,
    test_to_train: float = 0.0,
    ax: Any = None,
) -> Any:
    """Draw how much more each of several ways reaches than `to`, run by run: a row a condition, a mark a way.

    gains: {condition: {way: differences, one a run}}, from records: dots are runs, hollow marks means, bars 95 %
    intervals of the mean; a way without runs may be live alone. live: {condition: {way: difference}}, computed now:
    solid. A bar across the line at zero has decided nothing. test_to_train: of runs over random splits of one set, see
    `t_interval`.
    """
    ways = list(dict.fromkeys(way for row in gains.values() for way in row))
    if not ways:
        raise ValueError("nothing to compare: give at least one condition with at least one way")
    ax = base.axes(ax, 8.0, 1.3 + (0.2 + 0.17 * len(ways)) * len(gains))
    ax.axvline(0, color=style.INK, linewidth=1)
    means: dict[tuple[str, str], Interval] = {}
    for k, way in enumerate(ways):
        colour = style.ink_safe(style.hue(way, k))
        mark: dict[str, Any] = {"color": colour, "marker": MARKS[k % 7], "markersize": 6.5, "linestyle": "none"}
        ax.plot([], [], markerfacecolor="white", label=way, **mark)
        for row, (condition, values) in enumerate(gains.items()):
            y = row + 0.72 * ((k + 0.5) / len(ways) - 0.5)
            if len(runs := values.get(way, ())):
                mean = means[condition, way] = t_interval(runs, test_to_train=test_to_train)
                ax.plot(runs, np.full(len(runs), y), ".", color=colour, markersize=3, alpha=0.35)
                ax.plot((mean.low, mean.high), (y, y), color=colour, linewidth=2, gid="interval")
                ax.plot(mean.value, y, markerfacecolor="white", gid="stored", **mark)
            now = (live or {}).get(condition, {}).get(way)
            if now is not None:
                ax.plot(now, y, zorder=5, gid="live", **mark)
    if len(ways) > 1:
        beside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "handletextpad": 0.2, "labelcolor": "markeredgecolor"}
        ax.legend(fontsize=9, **beside)
    base.rows(ax, list(gains), 44)
    ax.set_xlabel(f"{unit} more (right) or less (left) than {to}, run by run")
    for border in range(1, len(gains)):
        ax.axhline(border - 0.5, color="#E6E6E6", linewidth=0.8)
    ax.grid(axis="x")
    words = [f"{condition}, {way}: {mean:+.1f}" for (condition, way), mean in means.items()]
    words += [f"{row}, {way}, now: {value:+.1f}" for row, ways in (live or {}).items() for way, value in ways.items()]
    base.title(ax, _finding(means, to, unit), f"{'; '.join(words)}.")
    return ax


def _finding(means: Mapping[tuple[str, str], Interval], to: str, unit: str) -> str:
    if not means:
        return f"One run beside {to}"
    clear = sum(0 not in mean and not mean.why for mean in means.values())
    if len(means) == 1:
        (condition, way), mean = next(iter(means.items()))
        return f"{condition}, {way}: {mean:+.1f} {unit} against {to}{'' if clear else ', not clear of zero'}"
    words = f"Against {to}, {clear or 'none'} of {len(means)} differences {'is' if clear == 1 else 'are'} clear of zero"
    return f"{words}, by chance about {len(means) / 20:.1g} would be" if clear else words


def label_gap(
    curves: Mapping[str, Mapping[Any, Sequence[float]]], method: str, baseline: str, *, at: float, ax: Any = None
) -> Any:
    """Draw learning curves, and how many labels the baseline needs for what the method reaches with `at` a class.

    curves: {name: {labels a class: accuracies, one a run}}, from records: hollow marks are means, bands 95 % intervals
    of them. From the method's curve an arrow runs level to where the baseline is as good; the bar behind its tip is the
    95 % interval.
    """
    if missing := {method, baseline} - set(curves):
        raise ValueError(f"no curve is named {min(missing)!r}; there are {', '.join(curves)}")
    runs, others = curves[method], curves[baseline]
    counts, most = sorted(runs), max(others)
    if not counts[0] <= at <= counts[-1]:
        raise ValueError(f"at={at}: between {counts[0]} and {counts[-1]} labels a class, where the curves are")
    ax, ends, words = base.axes(ax, 8.2, 4.2), [], []
    for i, (name, values) in enumerate(curves.items()):
        colour, alpha = style.hue(name, i), 1 if name in (method, baseline) else 0.45
        means = {n: t_interval(values[n]) for n in sorted(values)}
        x, y, low, high = zip(*((n, mean.value, mean.low, mean.high) for n, mean in means.items()), strict=True)
        ax.fill_between(x, low, high, color=colour, alpha=0.18 * alpha, linewidth=0)
        look = {"marker": MARKS[i % 7], "markersize": 5.5, "markerfacecolor": "white", "linewidth": 1.4}
        ax.semilogx(x, y, color=colour, alpha=alpha, gid="stored", **look)
        ends.append((x[-1], y[-1], name, colour))
        words.append(f"{name}: " + ", ".join(f"{n:g} {base.percent(mean.value, 0)}" for n, mean in means.items()))
    places = sorted(set().union(*curves.values()))
    ax.set_xticks(places, [f"{n:g}" for n in places])
    ax.minorticks_off()
    ax.set(xlabel="labels a class (log scale)", ylabel="accuracy (%)")
    base.percent_axis(ax.yaxis)
    ax.grid(axis="y")
    base.label_ends(ax, ends)
    level, worth = labels.reached(counts, [np.mean(runs[n]) for n in counts], at), labels.worth(runs, others, at)
    tip = min(worth.value, most)
    ax.hlines(level, max(worth.low, counts[0]), min(worth.high, most), color=style.GUESS, linewidth=7, alpha=0.22)
    arrow = {"arrowstyle": "-|>", "color": style.GUESS, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (tip, level), (at, level), zorder=5, gid="gap", arrowprops=arrow)
    ax.plot(at, level, "o", color=style.GUESS, markerfacecolor="none", markeredgewidth=2, markersize=11, zorder=6)
    needs = label_count(worth, most)
    base.note(ax, f"{needs.split(' (')[0]} labels", (tip, level), (4, -9), color=style.GUESS, fontsize=9.5)
    finding = f"{method} with {at:g} label{'s' * (at != 1)} a class: {base.percent(level)}; {baseline} needs {needs}"
    base.title(ax, f"{finding[0].upper()}{finding[1:]}", f"By labels a class: {'; '.join(words)}.")
    return ax


def label_count(worth: Interval, most: float) -> str:
    """Return a number of labels as words: '15 (12–21)', or 'more than 50' where 50 were the most that was tried."""
    low, value, high = (f"{n:.1f}" if n < 20 else f"{n:.0f}" for n in (worth.low, worth.value, worth.high))
    if math.isinf(worth.value):
        return f"more than {most:g}" + ("" if math.isinf(worth.low) else f" (at least {low})")
    if worth.why:
        return f"{worth.value:.3g}"
    return f"{value} ({low} to more than {most:g})" if math.isinf(worth.high) else f"{value} ({low}–{high})"
