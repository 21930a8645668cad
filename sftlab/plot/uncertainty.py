"""How sure a number is: spreads, intervals that miss, pairs, and what choosing does to a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

Values = Sequence[float] | np.ndarray


def sampling(draws: Mapping[int, Values], truth: float, *, majority: float | None = None, ax: Any = None) -> Any:
    """Draw how far measured accuracies scatter, a row a size of the test set, with the range of the middle 95 %.

    draws: {number of test images: accuracies of many test sets of that size}. truth: the accuracy that all of them
    measure.
    """
    ax = base.axes(ax, 7.5, 0.9 + 0.85 * len(draws))
    told, ranges = [], []
    for row, (n, values) in enumerate(draws.items()):
        x, counts = np.unique(np.round(np.asarray(values) * n).astype(int), return_counts=True)
        low, high = np.percentile(values, [2.5, 97.5])
        bars = 0.66 * counts / counts.max()
        ax.bar(x / n, -bars, width=0.85 / n, bottom=row, color="#A9C7DE", linewidth=0)
        ax.plot((low, high), (row + 0.1, row + 0.1), color=style.VALID, linewidth=3, solid_capstyle="butt")
        base.note(ax, f"{100 * low:.0f} to {100 * high:.0f} %", (high, row + 0.1), (6, 0), color=style.INK)
        ranges.append(50 * (high - low))
        told.append(f"{n} images: 95 % of the test sets say {100 * low:.1f} to {100 * high:.1f} %")
    ax.axvline(truth, color=style.VALID, linewidth=1)
    top = -0.86
    base.note(ax, "the truth", (truth, top), (4, 0), color=style.VALID)
    if majority is not None:
        base.majority_line(ax, majority, vertical=True)
        base.note(ax, "majority rate", (majority, top), (-4, 0), ha="right")
    ax.set_yticks(range(len(draws)), [f"{n} images" for n in draws])
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(draws) - 0.65, top - 0.1), xlabel="accuracy that a test set of this size reports (%)")
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f}")
    sizes = list(draws)
    finding = f"{sizes[0]} test images: ± {ranges[0]:.0f} points; {sizes[-1]} test images: ± {ranges[-1]:.1f} points"
    base.title(ax, finding, f"The truth is {base.percent(truth)}. {'; '.join(told)}.")
    return ax


def coverage(truths: Values, shares: Mapping[str, Values], n: int, *, promised: float = 0.95, ax: Any = None) -> Any:
    """Draw how often each kind of interval contains the truth, against the truth, for n test images.

    truths: accuracies. shares: {kind of interval: its coverage at each of them}; the promise is the dotted line.
    """
    ax = base.axes(ax, 7.5, 3.3)
    ax.axhline(promised, color=style.INK, linestyle=":", linewidth=1.2)
    base.note(ax, f"promised: {100 * promised:.0f} %", (min(truths), promised), (0, 7))
    ends, looks = [], ((style.WRONG, "--"), (style.VALID, "-"), (style.OTHERS[1], "-."))
    for (name, values), (colour, line) in zip(shares.items(), looks, strict=False):
        ax.plot(truths, values, line, color=colour)
        ends.append((float(max(truths)), float(values[-1]), name, style.ink_safe(colour)))
    ax.set(xlabel="true accuracy (%)", ylabel="intervals that contain it (%)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    base.label_ends(ax, ends)
    worst = {name: float(np.min(values)) for name, values in shares.items()}
    told = base.listed([f"{name} at worst {base.percent(w, 0)}" for name, w in worst.items()])
    finding = f"{n} test images, {100 * promised:.0f} % promised: {told}"
    base.title(ax, finding)
    return ax


def hits(intervals: Sequence[Interval], truth: float, *, n: int, majority: float | None = None, ax: Any = None) -> Any:
    """Draw the intervals of many test sets of n images side by side; those that miss the truth carry a ✗."""
    ax = base.axes(ax, 7.5, 3.2)
    hit = np.array([truth in one for one in intervals])
    value, low, high = (np.array([getattr(one, end) for one in intervals]) for end in ("value", "low", "high"))
    missed = int((~hit).sum())
    for which, colour, mark, size in ((hit, style.VALID, ".", 4), (~hit, style.WRONG, "X", 7)):
        x = np.flatnonzero(which)
        ax.vlines(x, low[which], high[which], color=colour, alpha=0.5 if mark == "." else 1, linewidth=1.8)
        ax.plot(x, value[which], mark, color=colour, markersize=size)
    ax.axhline(truth, color=style.INK, linewidth=1)
    base.note(ax, f"truth {base.percent(truth, 0)}", (len(intervals), truth), (2, 0), color=style.INK)
    if majority is not None:
        base.majority_line(ax, majority)
        base.note(ax, "majority rate", (len(intervals), majority), (2, 0))
    ax.set(xlim=(-1, len(intervals)), xticks=[], ylabel="accuracy (%)", ylim=(None, 1.005))
    ax.set_xlabel(f"{len(intervals)} test sets of {n} images, ✗ where the interval misses the truth")
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    half = 50 * np.mean([one.high - one.low for one in intervals])
    found = f"{len(intervals) - missed} of {len(intervals)} intervals contain the truth"
    base.title(ax, f"{found}; they reach ± {half:.1f} points", f"{n} test images each.")
    return ax


def spreads(groups: Mapping[str, Values], *, ax: Any = None) -> Any:
    """Draw how far repeated numbers lie from their mean, a row a cause: dots, and a bar of two standard deviations."""
    ax = base.axes(ax, 7.5, 1.0 + 0.62 * len(groups))
    rng, told = np.random.default_rng(0), []
    for row, (name, values) in enumerate(groups.items()):
        x = 100 * (np.asarray(values, dtype=float) - np.mean(values))
        wide = 2 * x.std(ddof=1)
        colour = style.hue(name, row)
        ax.barh(row, 2 * wide, left=-wide, height=0.62, color=colour, alpha=0.18, linewidth=0)
        shown = x if len(x) <= 60 else x[rng.choice(len(x), 60, replace=False)]
        ax.plot(shown, row + rng.uniform(-0.2, 0.2, len(shown)), "o", color=colour, markersize=4.5, alpha=0.75)
        base.note(ax, f"± {wide:.1f}", (max(wide, shown.max()), row), (8, 0), color=style.INK, fontsize=9.5)
        told.append((name, wide))
    ax.axvline(0, color="#BBBBBB", linewidth=1, zorder=0)
    ax.set_yticks(range(len(groups)), list(groups))
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(groups) - 0.5, -0.5), xlabel="distance from the mean of the row (points of accuracy)")
    words = base.listed([f"{name} ± {wide:.1f}" for name, wide in told])
    base.title(ax, f"Two standard deviations, in points: {words}")
    return ax


def pairs(
    first: Values, second: Values, names: tuple[str, str], *, majority: float | None = None, label: str = "accuracy",
    ax: Any = None,
) -> Any:  # fmt: skip
    """Draw two numbers a run, joined by a line, and say their mean difference with its interval over the runs.

    first, second: shares of 1, of the same runs (splits, seeds, test images) in the same order.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    gain = t_interval(100 * (b - a))
    ax = base.axes(ax, 6.2, 3.4)
    for low, high in zip(a, b, strict=True):
        up = high > low
        ax.plot((0, 1), (low, high), color=style.RIGHT if up else style.WRONG, linewidth=1.3, alpha=0.7,
                linestyle="-" if up else "--")  # fmt: skip
    ax.plot(np.zeros(len(a)), a, "o", color=style.INK, markersize=5)
    ax.plot(np.ones(len(b)), b, "o", color=style.INK, markersize=5)
    for x, values, side in ((0, a, -1), (1, b, 1)):
        ax.plot(x + side * 0.1, values.mean(), "D", color=style.VALID, markersize=8)
        how = {"ha": "right" if side < 0 else "left", "color": style.VALID, "fontsize": 9.5}
        base.note(ax, f"mean {100 * values.mean():.1f}", (x + side * 0.1, values.mean()), (side * 9, 0), **how)
    if majority is not None:
        base.majority_line(ax, majority)
        base.note(ax, "majority rate", (1.55, majority), (4, 0))
    ax.set(xlim=(-0.55, 1.55), ylabel=f"{label} (%)")
    ax.set_xticks((0, 1), names)
    ax.tick_params(axis="x", length=0, labelcolor=style.INK)
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
    sign = "more" if gain.value >= 0 else "less"
    ends = sorted((abs(gain.low), abs(gain.high)))
    clear = gain.low * gain.high > 0
    size = f"{abs(gain.value):.1f} points {sign}"
    told = f"({ends[0]:.1f}–{ends[1]:.1f})" if clear else f"({gain.low:+.1f} to {gain.high:+.1f}: may be nothing)"
    finding = f"{names[1][:1].upper()}{names[1][1:]}: {size} than {names[0]} {told}"
    base.title(ax, finding, f"{len(a)} pairs, {int((b > a).sum())} of them rise.")
    return ax


def batch_means(sizes: Values, wrong: Values, right: float, n: int, *, ax: Any = None) -> Any:
    """Draw the mean of batch means against the batch size, beside the share of n images that it should be."""
    sizes, wrong = np.asarray(sizes), np.asarray(wrong, dtype=float)
    ax = base.axes(ax, 7.5, 2.9)
    ax.plot(sizes, wrong, color=style.WRONG, linewidth=1.1)
    ax.axhline(right, color=style.VALID, linewidth=1.6)
    base.note(ax, "correct / n", (sizes[-1], right), (6, 0), color=style.VALID)
    worst = int(np.argmax(np.abs(wrong - right)))
    ax.plot(sizes[worst], wrong[worst], "X", color=style.WRONG, markersize=9)
    left = (n - 1) % int(sizes[worst]) + 1
    text = f"batches of {sizes[worst]}: the last has {left} image{'s' * (left != 1)}"
    base.note(ax, text, (sizes[worst], wrong[worst]), (-9, 0), ha="right", color=style.ink_safe(style.WRONG))
    ax.set(xlabel="images a batch", ylabel="mean of batch means (%)", xlim=(0, sizes[-1]))
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
    off = 100 * (wrong[worst] - right)
    finding = f"The same answers score {base.percent(wrong.min())} to {base.percent(wrong.max())}, by batch size"
    base.title(ax, finding, f"Correct / n is {base.percent(right)}; at worst the mean is {off:+.1f} points off.")
    return ax


def climb(
    seen: Values, truth: Values, *, n: int, majority: float, where: str = "new modules", guess: Any = None,
    ax: Any = None,
) -> Any:  # fmt: skip
    """Draw what choosing by one small test does: the kept best there climbs, its accuracy elsewhere need not.

    seen: accuracy of each try on the n images that are looked at, in order. truth: accuracy of the same tries on images
    that nobody looks at. After each try the best seen so far is kept.
    """
    seen, truth = np.asarray(seen, dtype=float), np.asarray(truth, dtype=float)
    kept = np.array([int(seen[: k + 1].argmax()) for k in range(len(seen))])
    x = np.arange(1, len(seen) + 1)
    ax = base.axes(ax, 7.5, 3.4)
    ax.plot(x, seen, "o", color="#B8B8B8", markersize=4, zorder=1)
    line = {"drawstyle": "steps-post", "linewidth": 2}
    ax.plot(x, seen[kept], color=style.WRONG, marker="^", markersize=5, **line)
    ax.plot(x, truth[kept], color=style.VALID, marker="o", markersize=4, **line)
    base.majority_line(ax, majority)
    last = float(x[-1])
    low = min(seen.min(), truth.min(), majority) - 0.02
    ax.set(xlim=(0.5, max(10.0, last + 0.5)), ylim=(low, min(1.02, seen.max() + 0.04)))
    ends = [
        (last, float(seen[kept[-1]]), f"best seen {100 * seen[kept[-1]]:.0f}", style.ink_safe(style.WRONG)),
        (last, float(truth[kept[-1]]), f"the same, {where} {100 * truth[kept[-1]]:.0f}", style.VALID),
    ]
    base.label_ends(ax, ends)
    base.note(ax, "majority rate", (0.5, majority), (3, -7))
    if guess is not None:
        ax.plot(last, float(guess) / 100, "D", color=style.GUESS, markerfacecolor="none", markersize=8, clip_on=False)
        base.note(ax, "your guess", (last, float(guess) / 100), (-8, -10), color=style.GUESS, ha="right")
    ax.set(xlabel=f"tries; each is looked at on the same {n} images", ylabel="accuracy (%)")
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
    gap = 100 * (seen[kept[-1]] - truth[kept[-1]])
    tries = f"{len(seen)} tr{'y' if len(seen) == 1 else 'ies'}"
    than = f"{abs(gap):.1f} points {'more' if gap >= 0 else 'less'} than it gives"
    finding = f"After {tries} the kept best promises {than}"
    words = f"On the {n} images {base.percent(seen[kept[-1]])}, on {where} {base.percent(truth[kept[-1]])}."
    base.title(ax, finding, words)
    return ax
