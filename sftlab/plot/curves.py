"""Training over time and over the learning rate: curves of one run or several, and an LR sweep."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.core.records import History
from sftlab.core.statistics import wilson
from sftlab.plot import base, style
from sftlab.plot.style import INK, VALID, WRONG

if TYPE_CHECKING:
    from sftlab.core.lr_search import LRSweep

MARKERS = "os^Dv"
PIECES = 4  # points an epoch of a train curve; single steps are mostly noise


def curves(history: History | Mapping[str, History], *, hues: Iterable[str] = (), ax: Any = None) -> Any:
    """Draw loss and valid accuracy of one run, or of several ({name: run}), against the epoch, side by side in `ax`.

    Valid curves are solid; the train loss of the last run is dashed; kept epochs are ringed; the rate of the most
    frequent class among the validation images, which the runs know, is dashed. A run whose loss rose or diverged leaves
    through the roof and is named there. hues: a colour a run (default: of the strategy that its name mentions).
    """
    runs = {"valid": history} if isinstance(history, History) else dict(history)
    if not any(run.epochs for run in runs.values()):
        raise ValueError("no finished epoch in these runs, so there is no curve to draw")
    colours = [*hues] or [style.hue(name, i) for i, name in enumerate(runs)]
    *_, newest = runs.values()
    train, majority, borders = train_curve(newest), newest.majority, run_borders(newest)
    lowest, highest, floor = limits(runs.values(), majority)
    last = max(run.epochs[-1].epoch for run in runs.values() if run.epochs)
    ax = base.axes(ax, 8.6, 3.5)
    left, right = base.panels(ax, 1, 2, (0, 0.26))
    left.plot(*zip(*train, strict=True), color=style.LINE, linestyle=(0, (4, 2)), linewidth=1.4)
    left.set(ylim=(lowest, highest), ylabel=f"loss (nats per {newest.noun[:-1]})")
    right.set(ylim=(floor, 1.0), ylabel="valid accuracy (%)")
    base.percent_axis(right.yaxis)
    ends = {left: [] if divergence(newest) else [(*train[-1], "train", style.QUIET)], right: []}
    if majority is not None:
        base.majority_line(right, majority)
        ends[right].append((last + 0.2, majority, "majority", INK))
    height = 0.94
    for i, ((name, run), colour) in enumerate(zip(runs.items(), colours, strict=True)):
        if trouble := divergence(run):
            how: dict[str, Any] = {"xycoords": "axes fraction", "fontsize": 9, "color": style.ink_safe(colour)}
            base.note(left, f"✗ {name}: {trouble}", (0.04, height), **how)
            height -= 0.09
        for panel, field in ((left, "valid_loss"), (right, "valid_accuracy")):
            points = [(e.epoch, getattr(e, field)) for e in run.epochs if math.isfinite(getattr(e, field))]
            if not points:
                continue
            marker = MARKERS[i % 5] if len(points) <= 30 else None
            panel.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4.5, linewidth=1.8)
            if panel is right or not trouble:
                ends[panel].append((*points[-1], name, colour))
            if run.best is not None and len(runs) == 1:
                ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": INK}
                panel.plot(run.kept.epoch, getattr(run.kept, field), "o", gid="kept", clip_on=False, **ring)
    for panel in (left, right):
        panel.set(xlim=(-0.2, last + 0.2), xlabel=f"epoch (passes over the train {newest.noun})")
        panel.locator_params(axis="x", integer=True, nbins=6)
        panel.grid(axis="y")
        base.label_ends(panel, ends[panel])
        for border in borders:
            panel.axvline(border + 0.5, color="#AAAAAA", linewidth=1, linestyle=":", gid="border")
    words = " ".join(f"{name}: {in_words(run)}." for name, run in runs.items())
    if borders:
        words += f" A next run begins after epoch {base.listed([str(border) for border in borders])} (dotted)."
    base.title(ax, finding(runs, majority), words)
    return ax


def finding(runs: Mapping[str, History], majority: float | None) -> str:
    """Return which run got furthest, or how far the only one got, in a sentence without a full stop."""
    reached = {name: run.kept.valid_accuracy for name, run in runs.items() if run.epochs}
    best = max(reached, key=reached.__getitem__)
    accuracy = base.percent(reached[best]) + (f" (majority {base.percent(majority)})" if majority is not None else "")
    if len(runs) > 1:
        return f"{best[0].upper()}{best[1:]} gets furthest: valid accuracy {accuracy}"
    (run,) = runs.values()
    if trouble := divergence(run):
        return trouble[0].upper() + trouble[1:]
    if run.best == 0:
        return f"No epoch was better than the weights it came with: valid accuracy {accuracy}"
    return f"Epoch {run.kept.epoch} of {run.epochs[-1].epoch} is kept: valid accuracy {accuracy}"


def in_words(run: History) -> str:
    """Return a run's numbers as words."""
    if not run.epochs:
        return "no finished epoch"
    best = run.kept
    accuracy, trouble = base.percent(best.valid_accuracy), divergence(run)
    reached = f"valid loss {best.valid_loss:.3f}, valid accuracy {accuracy}{'; ' * bool(trouble)}{trouble}"
    return f"after epoch {best.epoch} of {run.epochs[-1].epoch} {reached}"


def divergence(run: History) -> str:
    """Say what is wrong with the rate of a run that did not descend; '' if nothing is.

    A loss that is no longer a number has diverged. A head alone stays finite whatever the rate, because its loss
    grows no faster than its weights: it diverges in all but name when it ends above the untrained head's loss.
    """
    if "diverged" in run.stopped:
        return f"diverged at step {len(run.steps)}"
    start, end = run.epochs[:1], run.epochs[-1:]
    if start and not start[0].epoch and end[0].epoch and not end[0].train_loss <= start[0].valid_loss:
        return f"diverges, loss {start[0].valid_loss:.2g} → {end[0].train_loss:.2g}"
    return ""


def train_curve(run: History) -> list[tuple[float, float]]:
    """Return the train loss as (epoch, mean over a quarter of an epoch), finite values only."""
    epochs, losses = np.array([step.epoch for step in run.steps], dtype=int), [step.loss for step in run.steps]
    done = np.arange(1, len(epochs) + 1) - np.searchsorted(epochs, epochs)  # steps of its epoch at the end of each
    ends = epochs - 1 + done / np.max(done, initial=1)
    quarters, which = np.unique(np.ceil(PIECES * ends), return_inverse=True)
    means = np.bincount(which, losses) / np.bincount(which)
    return [(x, y) for x, y in zip(quarters / PIECES, means, strict=True) if math.isfinite(y)] or [(0.0, math.nan)]


def limits(runs: Collection[History], majority: float | None) -> tuple[float, float, float]:
    """Return the lowest loss, the highest loss and the lowest accuracy worth showing.

    The lowest loss is 0, but of a loss that may be negative the lowest there is. The highest is half as far again above
    it as what the untrained head has. The accuracy is a multiple of a tenth below everything.
    """
    epochs = [epoch for run in runs for epoch in run.epochs]
    losses = [0.0, *(e.train_loss for e in epochs), *(e.valid_loss for e in epochs)]
    shares = [1.0 if majority is None else majority, *(e.valid_accuracy for e in epochs)]
    starts = (run.epochs[0].valid_loss for run in runs if run.epochs)
    lowest, start = min(filter(math.isfinite, losses)), max(filter(math.isfinite, starts), default=1.0)
    floor = math.floor(10 * min(filter(math.isfinite, shares)) - 0.2) / 10
    return lowest, start + 0.5 * max(start - lowest, 1e-3), max(0.0, floor)


def run_borders(history: History) -> list[int]:
    """Return the epochs after which a next run began."""
    ran = [run.get("ran", run.get("epochs", 0)) for run in history.runs]
    return [epoch for epoch in accumulate(ran[:-1]) if epoch < history.epochs[-1].epoch]


def lr_sweep(sweep: LRSweep, *, ax: Any = None) -> Any:
    """Draw valid accuracy after the last epoch against the learning rate, the majority rate dashed.

    One seed: a line with the Wilson band of its validation images, or without a band where they come in groups. More
    seeds: their mean and the range from the lowest to the highest. Rates at which a run diverged are crossed out at the
    foot.
    """
    accuracy = np.array(sweep.valid_accuracy)[:, :, -1]  # seeds × rates
    finite = np.isfinite(accuracy).all(axis=0)
    rates, mean = np.array(sweep.rates), np.where(finite, accuracy.mean(axis=0), np.nan)
    low, high, spread = accuracy.min(axis=0), accuracy.max(axis=0), f"lowest to highest of {len(sweep.seeds)} seeds"
    if len(sweep.seeds) == 1 and sweep.groups:
        spread = f"none, since {sweep.n} images in {sweep.groups} groups are no {sweep.n} cases; see evaluate"
    elif len(sweep.seeds) == 1:
        intervals = [wilson(round(share * sweep.n), sweep.n) for share in np.nan_to_num(mean)]
        low, high = np.array([(one.low, one.high) for one in intervals]).T
        spread = f"95 % interval for {sweep.n} images"
    ax = base.axes(ax, 7.0, 3.4)
    ax.fill_between(rates, low, high, where=finite, color=VALID, alpha=0.15, linewidth=0)
    ax.plot(rates, mean, color=VALID, marker="o", markersize=3.5)
    base.majority_line(ax, sweep.majority)
    ax.margins(y=0.12)
    for rate in rates[~finite]:
        ax.plot(rate, 0.04, "x", color=WRONG, markersize=7, gid="diverged", transform=ax.get_xaxis_transform())
    ax.set(xscale="log", xlabel=f"learning rate ({sweep.optimizer}, log scale)", ylabel="valid accuracy (%)")
    base.percent_axis(ax.yaxis)
    ax.grid(axis="y")
    base.note(ax, "majority", (1, sweep.majority), (5, 0), xycoords=ax.get_yaxis_transform(), color=INK)
    passes = f"{sweep.epochs} epoch{'s' * (sweep.epochs != 1)}"
    words = f"Majority rate {base.percent(sweep.majority)}; band: {spread}."
    headline = f"Every rate has diverged after {passes}"
    if finite.any():
        best = int(np.nanargmax(mean))
        ax.plot(rates[best], mean[best], "o", color=VALID, markersize=8, gid="best")
        headline = f"After {passes} the best rate is {base.rate_text(rates[best])}: {base.percent(mean[best])}"
        near = rates[finite & (mean >= mean[best] - 0.01)]
        words = f"Within one point of it: {base.rate_text(near.min())} to {base.rate_text(near.max())}. {words}"
    base.title(ax, headline, words)
    return ax
