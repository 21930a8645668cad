"""Accuracy against labels a class, and the level gap between two such curves: what a method is worth in labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.analysis import labels
from sftlab.core.records import Interval
from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

MARKS = ("o", "s", "D", "^", "v", "P", "X")
HUES = {
    "random labels, LP-FT": style.WRONG, "random labels, probe": style.STRATEGIES["probe"],
    "random labels": style.OTHERS[1], "LP-FT": style.VALID,
    "nearest": style.OTHERS[3], "logistic": style.OTHERS[2],
}  # fmt: skip


def label_curves(
    curves: Mapping[str, labels.Runs], *, solid: Mapping[str, Mapping[int, float]] | None = None,
    gap: tuple[str, str] | None = None, at: float = 5, flat: Mapping[str, float] | None = None,
    majority: float | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw accuracy against labels a class, on a log axis, a line a method.

    curves: {method: {labels a class: accuracies, one a run}}, from records: hollow marks at the means, bands are 95 %
    intervals of the mean over the runs. solid: {method: {labels: accuracy}}, computed now. gap: (method, baseline):
    from the method's curve at `at` labels an arrow runs level to where the baseline is as good. flat: {name: accuracy}
    of what needs no label.
    """
    if not curves:
        raise ValueError("no curve given, so there is nothing to draw")
    ax = base.axes(ax, 8.2, 4.6)
    ends, told = [], []
    for i, (name, runs) in enumerate(curves.items()):
        ns = sorted(runs)
        means = [t_interval(runs[n]) for n in ns]
        faint = gap is not None and name not in gap
        colour, mark = _hue(name, i), MARKS[i % len(MARKS)]
        low, high = ([getattr(m, end) for m in means] for end in ("low", "high"))
        ax.fill_between(ns, low, high, color=colour, alpha=0.06 if faint else 0.18, linewidth=0)
        y = [m.value for m in means]
        how = {"markerfacecolor": "white", "linewidth": 1.2 if faint else 1.8, "alpha": 0.45 if faint else 1}
        ax.plot(ns, y, mark, linestyle="-", color=colour, markersize=5, gid="stored", **how)
        ends.append((ns[-1], y[-1], name, style.ink_safe(colour)))
        told.append(f"{name}: " + ", ".join(f"{n} {base.percent(v)}" for n, v in zip(ns, y, strict=True)))
    for name, points in (solid or {}).items():
        i = list(curves).index(name) if name in curves else len(curves)
        live = {"color": _hue(name, i), "marker": MARKS[i % len(MARKS)], "linestyle": "none", "markersize": 8}
        ax.plot(list(points), list(points.values()), gid="live", zorder=4, **live)
    every = [v for runs in curves.values() for values in runs.values() for v in [float(np.mean(values))]]
    floor = min([*every, *(flat or {}).values(), *([majority] if majority is not None else [])])
    ns = sorted({n for runs in curves.values() for n in runs})
    ax.set(xscale="log", xlim=(ns[0] * 0.9, ns[-1] * 1.08), ylim=(max(0.0, floor - 0.04), 1.01))
    ax.set_xticks(ns, [str(n) for n in ns])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="labels a class (log scale)", ylabel="accuracy (%)")
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    ax.grid(axis="y")
    if majority is not None:
        base.majority_line(ax, majority)
        base.note(ax, "majority rate", (ns[-1], majority), (0, 7), ha="right")
    for name, value in (flat or {}).items():
        ax.axhline(value, color=style.QUIET, linestyle=":", linewidth=1.4, gid="flat")
        base.note(ax, f"{name} {base.percent(value)}", (ns[-1], value), (0, -7), ha="right")
        told.append(f"{name}: {base.percent(value)}")
    count = len(next(iter(next(iter(curves.values())).values())))
    finding = f"Accuracy against labels a class, {count} runs"
    if gap is not None:
        finding = _arrow(ax, curves, *gap, at)
    _label_ends(ax, ends)
    base.title(ax, finding, f"Means of {count} runs by labels a class. {'; '.join(told)}.")
    return ax


def label_worth(
    method: labels.Runs, baselines: Mapping[str, labels.Runs], *, name: str = "the pretrained network", at: float = 0,
    ax: Any = None,
) -> Any:  # fmt: skip
    """Draw how many times as many labels each baseline needs, against the labels that the method was given.

    The bars are 95 % intervals, a bootstrap over runs; a caret means: more labels than were tried. at: the number
    of labels whose points are drawn large.
    """
    from matplotlib.markers import CARETUP

    if not baselines:
        raise ValueError("no baseline given: against what should the labels be counted?")
    ax = base.axes(ax, 7.5, 3.6)
    ns, told, first = sorted(method), [], ""
    shown = at or ns[0]
    for i, (other, runs) in enumerate(baselines.items()):
        colour, (mark, symbol) = _hue(other, i), (("s", "□"), ("D", "◇"), ("v", "▽"))[i % 3]
        for n in ns:
            found, x, most = labels.worth(method, runs, n), n * (1 + 0.05 * i), max(runs) / n
            ends = (min(found.low / n, most), min(found.high / n, most))
            ax.plot((x, x), ends, color=colour, linewidth=1.6, alpha=0.7)
            if math.isinf(found.high):
                ax.plot(x, most, marker=CARETUP, color=colour, markersize=7, gid="beyond")
            if not math.isinf(found.value):
                look = {"markerfacecolor": "white", "markersize": 9 if n == at else 6, "gid": "stored"}
                ax.plot(x, found.value / n, mark, color=colour, **look)
            told.append(f"{n} labels: {said(found, max(runs))} for {other}")
        words = {"xycoords": "axes fraction", "color": style.ink_safe(colour), "fontsize": 9, "ha": "right"}
        base.note(ax, f"{symbol} {other}", (1, 1), (-6, -8 - 14 * i), **words)
        first = first or f"{other} needs {said(labels.worth(method, runs, shown), max(runs))}"
    ax.axhline(1, color=style.INK, linewidth=1)
    base.note(ax, "worth nothing", (ns[0], 1), (0, -7), ha="left")
    ax.set(xscale="log", yscale="log", xlabel=f"labels a class that {name} was given (log scale)")
    ax.set_ylabel("times as many labels (log)")
    ax.set_xticks(ns, [str(n) for n in ns])
    ax.set_xticks([], minor=True)
    low, high = min(ax.get_ylim()[0], 0.85), ax.get_ylim()[1]  # room for the words below the line
    ax.set_ylim(low, high)
    ax.set_yticks([t for t in (0.25, 0.5, 1, 2, 3, 5, 10, 20, 50) if low <= t <= high])
    ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    ax.set_yticks([], minor=True)
    finding = f"{name} with {shown:g} label{'s' * (shown != 1)} a class: {first}"
    base.title(ax, finding, f"{'; '.join(told)}.")
    return ax


def label_differences(curves: Mapping[str, labels.Runs], to: str, *, ax: Any = None) -> Any:
    """Draw how many points each method has more than the method `to`, run by run, against labels a class.

    curves: {method: {labels a class: accuracies, one a run}}, the same runs everywhere. Dots are runs, marks the means
    with their 95 % intervals over the runs. What stays across the zero line is not decided.
    """
    if to not in curves or len(curves) < 2:
        raise ValueError(f"give {to!r} and at least one other method")
    ax = base.axes(ax, 8.2, 3.8)
    ends, told = [], []
    for i, (name, runs) in enumerate((n, r) for n, r in curves.items() if n != to):
        colour, mark, ns = _hue(name, i), MARKS[i % len(MARKS)], sorted(runs)
        x = np.array(ns) * 1.06 ** (i - (len(curves) - 2) / 2)  # side by side, so that the bars can be told apart
        far = {n: 100 * (np.asarray(runs[n], dtype=float) - np.asarray(curves[to][n], dtype=float)) for n in ns}
        means = [t_interval(far[n]) for n in ns]
        for at, n, m in zip(x, ns, means, strict=True):
            ax.plot(np.full(len(far[n]), at), far[n], ".", color=colour, markersize=3, alpha=0.35)
            ax.plot((at, at), (m.low, m.high), color=colour, linewidth=2)
        y = [m.value for m in means]
        ax.plot(x, y, mark, color=colour, markerfacecolor="white", markersize=6, gid="stored")
        ends.append((1.13 * ns[-1], y[-1], name, style.ink_safe(colour)))
        told.append(f"{name}: " + ", ".join(f"{n} labels {m:+.1f}" for n, m in zip(ns, means, strict=True)))
        clear = [n for n, m in zip(ns, means, strict=True) if m.low * m.high > 0]
        if i == 0:
            where = f"at {base.listed([str(n) for n in clear])} labels" if clear else "nowhere"
            finding = f"{name} minus {to}: clear of zero {where}"
    ax.axhline(0, color=style.INK, linewidth=1)
    ns = sorted(curves[to])
    ax.set(xscale="log", xlim=(0.85 * ns[0], 1.13 * ns[-1]))  # the names stand outside, clear of the zero line
    ax.set(xlabel="labels a class (log scale)", ylabel=f"points more than {to}")
    ax.set_xticks(ns, [str(n) for n in ns])
    ax.set_xticks([], minor=True)
    _label_ends(ax, ends)
    base.title(ax, finding, f"{'; '.join(told)}.")
    return ax


def said(found: Interval, most: float) -> str:
    """Return a worth as words: '15 (12–21)', or 'more than 50' where 50 were the most that was tried."""
    if math.isinf(found.value):
        at_least = "" if math.isinf(found.low) else f" (at least {_count(found.low)})"
        return f"more than {most:g}{at_least}"
    high = f"more than {most:g}" if math.isinf(found.high) else _count(found.high)
    dash = " to " if math.isinf(found.high) else "–"
    return f"{_count(found.value)} ({_count(found.low)}{dash}{high})"


def _count(labels_a_class: float) -> str:
    return f"{labels_a_class:.1f}" if labels_a_class < 20 else f"{labels_a_class:.0f}"


def _arrow(ax: Any, curves: Mapping[str, labels.Runs], method: str, baseline: str, at: float) -> str:
    """Draw the level arrow from one curve to the other and return what it says."""
    for name in (method, baseline):
        if name not in curves:
            raise ValueError(f"no curve is named {name!r}; there are {', '.join(curves)}")
    runs, others = curves[method], curves[baseline]
    ns, most = sorted(runs), max(others)
    if not ns[0] <= at <= ns[-1]:
        raise ValueError(f"at={at}: between {ns[0]} and {ns[-1]} labels a class, where the curves are")
    y = labels.reached(ns, [np.mean(runs[n]) for n in ns], at)
    found = labels.worth(runs, others, at)
    end = most if math.isinf(found.value) else found.value
    left, right = max(found.low, ns[0]), most if math.isinf(found.high) else found.high
    ax.plot((left, right), (y, y), color=style.GUESS, linewidth=7, alpha=0.22, solid_capstyle="butt", zorder=2)
    arrow = {"arrowstyle": "-|>", "color": style.GUESS, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (end, y), (at, y), zorder=5, gid="gap", arrowprops=arrow)
    ax.plot(at, y, "o", color=style.GUESS, markerfacecolor="none", markeredgewidth=2, markersize=11, zorder=6)
    needs = said(found, most)
    base.note(ax, f"{needs.split(' (')[0]} labels", (end, y), (4, -9), color=style.GUESS, fontsize=9.5)
    word = f"{at:g} label{'s' * (at != 1)} a class"
    return f"{method} with {word}: {base.percent(y)}; {baseline} needs {needs}"


def _label_ends(ax: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each (x, y, text, colour) where its line ends, 13 points apart, the highest no higher than the Axes."""
    points = ax.get_window_extent().height / ax.get_figure(root=True).dpi * 72
    low, high = ax.get_ylim()
    room = points
    for x, y, text, colour in sorted(ends, key=lambda end: -end[1]):
        height = (y - low) / (high - low) * points
        at = min(height, room - 6)
        room = at - 7
        base.note(ax, text, (x, y), (9, at - height), color=colour, fontsize=9)


def _hue(name: str, index: int) -> str:
    return next((colour for word, colour in HUES.items() if word in name), style.hue(name, index))
