"""How large a step: one step, many steps down a valley, the price of small ones, and rates that change in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.core.profiles import Schedule
from sftlab.plot import base
from sftlab.plot.style import GUESS, INK, LINE, OTHERS, VALID, WRONG, ink_safe

if TYPE_CHECKING:
    from sftlab.core.lr_search import LRSweep

MARKERS = "os^Dv"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
COLOURS = (VALID, "#D55E00", "#009E73", *OTHERS[1:])
FRAME = (-10.5, 6.5, -3.2, 3.2)  # of the valley: left, right, bottom, top
LEVELS: dict[str, Any] = {"levels": (0.5, 4, 12, 28, 55, 95), "colors": "#D5D5D5", "linewidths": 0.9}
# Where the name of a schedule stands: share of the run, shift in points, side of the words.
PLACES = ((0.8, (0, 9), "center"), (0.62, (-7, -9), "right"), (0.86, (5, 9), "left"), (0.05, (7, -7), "left"))


def one_step(sizes: Sequence[float], losses: Sequence[float], start: float, *, ax: Any = None) -> Any:
    """Draw the loss after one step against the step's size (log scale); `start` is the loss before it."""
    ax = base.axes(ax, 7.0, 3.2)
    x, y = np.array(sizes), np.array(losses)
    best = int(np.nanargmin(y))
    worse, gain = x[best:][y[best:] > start], start - y[best]
    ax.plot(x, y, color=VALID)
    ax.axhline(start, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    ax.plot(x[best], y[best], "o", color=VALID, markersize=8)
    ax.set_xscale("log")
    ax.set(ylim=(y[best] - 0.25 * gain, start + 1.6 * gain), xlabel="size of the step (learning rate, log scale)")
    ax.set(ylabel="train loss after it (nats)")
    base.note(ax, "no step at all", (x[0], start), (2, 8), color=INK)
    base.note(ax, f"best: {base.rate_text(x[best])}", (x[best], y[best]), (-12, -3), color=VALID, ha="right")
    said = "no step tried was too large."
    if len(worse):
        ax.axvline(worse[0], color=WRONG, linewidth=1, linestyle=":", zorder=1)
        words = f"✗ worse than nothing\nfrom {base.rate_text(worse[0])} on"
        base.note(ax, words, (worse[0], y[best] + 0.4 * gain), (8, 0), color=WRONG)
        said = f"from {base.rate_text(worse[0])} on the step does harm."
    finding = f"The best first step is {base.rate_text(x[best])}: loss {start:.2f} → {y[best]:.2f}"
    base.title(ax, finding, f"Smaller steps gain less, {said}")
    return ax


def valley(paths: Mapping[str, Any], curvatures: tuple[float, float] = (1.0, 25.0), *, ax: Any = None) -> Any:
    """Draw the ways of optimizers down ½(a x² + b y²), one panel each, with the loss at their start and end.

    paths: {name: T×2 positions}, the first one the start. curvatures: (a, b).
    """
    ax = base.axes(ax, *((6.5, 3.4) if len(paths) == 1 else (3.1 * len(paths) + 0.4, 2.7)))
    x, y = np.meshgrid(np.linspace(*FRAME[:2], 80), np.linspace(*FRAME[2:], 60))
    said = []
    for panel, (name, path) in zip(base.panels(ax, 1, len(paths), (0, 0.06)), paths.items(), strict=True):
        way = np.array(path, dtype=float)
        height = 0.5 * (curvatures[0] * way[:, 0] ** 2 + curvatures[1] * way[:, 1] ** 2)
        gone = ~np.isfinite(height) | (np.abs(way) > 3 * FRAME[1]).any(axis=1)
        seen = way[: int(gone.argmax()) + 1 if gone.any() else None].clip(-99, 99)  # one point more shows where it goes
        panel.contour(x, y, 0.5 * (curvatures[0] * x**2 + curvatures[1] * y**2), **LEVELS)
        panel.plot(*seen.T, color=LINE, linewidth=1)
        panel.plot(*seen.T, "o", color=VALID, markersize=3.2)
        panel.plot(0, 0, "+", color=INK, markersize=9)
        panel.set(xlim=FRAME[:2], ylim=FRAME[2:], xticks=[], yticks=[])
        stays = height[-1] <= height[0]
        verdict = f"loss {height[0]:.0f} → {height[-1]:.2g}" if stays else "✗ leaves the valley"
        said.append(f"{name}: {verdict}")
        if len(paths) > 1:
            how = {"fontsize": 9.5, "fontweight": "normal", "color": INK if stays else WRONG}
            panel.set_title(f"{name}\n{verdict}", loc="left", pad=5, **how)
    steps = len(next(iter(paths.values()))) - 1
    words = f"A valley {curvatures[1] / curvatures[0]:.0f} times steeper across than along"
    if len(paths) == 1:
        base.title(ax, f"{steps} steps of {said[0]}", f"{words}.")
    else:
        base.title(ax, f"{words}: where {steps} steps lead", f"{'; '.join(said)}.", pad=40)
    return ax


def time_to(sweep: LRSweep, accuracy: float, *, ax: Any = None) -> Any:
    """Draw how many epochs each rate needs until the valid accuracy (mean over seeds) is `accuracy`; log scales."""
    ax = base.axes(ax, 7.0, 3.2)
    there = np.array(sweep.valid_accuracy).mean(axis=0) >= accuracy
    rates, epochs, reached = np.array(sweep.rates), there.argmax(axis=1), there.any(axis=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.plot(rates[reached], epochs[reached], "o-", color=VALID, markersize=5)
    ax.plot(rates[~reached], np.full((~reached).sum(), sweep.epochs), "x", color=WRONG, markersize=7, gid="not reached")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200) if t <= 1.2 * sweep.epochs]
    ax.set_yticks(ticks, [str(t) for t in ticks])
    ax.set_yticks([], minor=True)
    ax.set(xlabel=f"learning rate ({sweep.optimizer}, log scale)", ylabel=f"epochs to {base.percent(accuracy, 0)}")
    ax.set_ylim(0.8, 1.8 * sweep.epochs)
    ax.grid(axis="y")
    for rate in rates[~reached][:1]:
        base.note(ax, f"✗ not\nwithin {sweep.epochs}", (rate, sweep.epochs), (-4, -18), color=WRONG)
    if not reached.any():
        base.title(ax, f"No rate reaches {base.percent(accuracy, 0)} in {sweep.epochs} epochs")
        return ax
    found = list(zip(rates[reached], epochs[reached], strict=True))
    for rate, epoch in found:
        base.note(ax, str(epoch), (rate, epoch), (0, 11), ha="center", color=INK)
    said = "; ".join(f"rate {base.rate_text(r)}: {e}" for r, e in found)
    few, many = min(e for _, e in found), max(e for _, e in found)
    base.title(ax, f"{base.percent(accuracy, 0)} takes {few} epochs or {many}: the rate decides", f"Epochs: {said}.")
    return ax


def hills(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, majority: float | None = None,
    points: Sequence[str] = (), finding: str = "", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw accuracy against the learning rate (log scale) for several kinds of run; each best rate is ringed.

    curves: {name: (rates, accuracies)}. points: names that are drawn as points without a line. finding: the title.
    """
    ax = base.axes(ax, 7.5, 3.4)
    ends, said = [], []
    for i, (name, (rates, accuracy)) in enumerate(curves.items()):
        x, y, colour = np.array(rates), np.array(accuracy, dtype=float), COLOURS[i % 5]
        how = {"marker": MARKERS[i % 5], "markersize": 8 if name in points else 4, "color": colour, "linewidth": 1.8}
        ax.plot(x, y, linestyle="none" if name in points else DASHES[i % 4], **how)
        best = int(np.nanargmax(y))
        ax.plot(x[best], y[best], "o", markersize=12, markerfacecolor="none", markeredgecolor=INK, gid="best")
        ends.append((x[-1], y[-1], name, ink_safe(colour)))
        said.append(f"{name}: best at {base.rate_text(x[best])} with {base.percent(y[best])}")
    ax.set_xscale("log")
    ax.margins(x=0.02)
    if majority is not None:
        base.majority_line(ax, majority)
        ends.append((ax.get_xlim()[1], majority, "majority", INK))
    ax.set(ylim=(0, 1.02), xlabel="learning rate (log scale)", ylabel="valid accuracy (%)")
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    ax.grid(axis="y")
    base.label_ends(ax, ends)
    base.title(ax, finding or "; ".join(said), f"{'; '.join(said)}.")
    return ax


def schedules(curves: Mapping[str, Schedule], *, ax: Any = None) -> Any:
    """Draw the factor that up to four schedules put on the rate against the share of the run that is over."""
    ax = base.axes(ax, 6.5, 2.8)
    t = np.linspace(0, 1, 201)
    for (name, schedule), colour, dash, place in zip(
        curves.items(), (*COLOURS[:3], GUESS), DASHES, PLACES, strict=False
    ):
        y = np.array([schedule(float(share)) for share in t])
        ax.plot(t, y, color=colour, linestyle=dash)
        at = (place[0], float(np.interp(place[0], t, y)))
        base.note(ax, name, at, place[1], color=ink_safe(colour), fontsize=9, ha=place[2])
    ax.set(xlabel="share of the run that is over", ylabel="factor on the rate", ylim=(-0.03, 1.2), xlim=(0, 1.02))
    base.title(ax, "A schedule is a factor on the rate", f"Schedules: {', '.join(curves)}.")
    return ax
