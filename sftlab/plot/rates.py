"""Several runs in one picture: what a learning rate that is too small, right or too large looks like."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sftlab.core.records import History
from sftlab.plot import base, style

MARKERS = "os^Dv"
PIECES = 4  # points an epoch of a train curve; single steps are mostly noise


def runs(
    histories: Mapping[str, History], *, majority: float | None = None, hues: Iterable[str] = (), ax: Any = None
) -> Any:
    """Draw loss and validation accuracy of several runs against the epoch, side by side inside `ax`.

    histories: {name: run}; of the last one the train loss is drawn as well, dashed. hues: a colour a run (default: of
    the strategy that its name mentions). A run whose loss rose or diverged leaves through the roof and is named there.
    """
    if not any(h.epochs for h in histories.values()):
        raise ValueError("none of these runs has a finished epoch, so there is no curve to draw")
    ax = base.axes(ax, 8.6, 3.5)
    left, right = base.panels(ax, 1, 2, (0, 0.26))
    top, last = roof(histories.values()), max(h.epochs[-1].epoch for h in histories.values() if h.epochs)
    colours = [*hues] or [style.hue(name, i) for i, name in enumerate(histories)]
    loss_ends, accuracy_ends, out = [], [], []
    for i, ((name, history), colour) in enumerate(zip(histories.items(), colours, strict=True)):
        how = {"color": colour, "marker": MARKERS[i % 5], "markersize": 4.5, "linewidth": 1.8}
        ink = style.ink_safe(colour)
        x, y = _finite(history, "valid_loss")
        if i == len(histories) - 1:
            train = train_curve(history)
            left.plot(*zip(*train, strict=True), color=style.LINE, linestyle=(0, (4, 2)), linewidth=1.4)
            if not trouble(history):
                loss_ends.append((*train[-1], "train", style.QUIET))
        left.plot(x, y, **how)
        if trouble(history):
            out.append((name, ink, trouble(history)))
        elif x:
            loss_ends.append((x[-1], y[-1], name, ink))
        x, y = _finite(history, "valid_accuracy")
        right.plot(x, y, **how)
        if x:
            accuracy_ends.append((x[-1], y[-1], name, ink))
    majority = majority if majority is not None else next(iter(histories.values())).majority
    if majority is not None:
        base.majority_line(right, majority)
        accuracy_ends.append((last, majority, "majority", style.INK))
    counted = next(iter(histories.values())).noun
    left.set(ylim=(0, top), ylabel=f"loss (nats per {counted[:-1]})")
    right.set(ylim=(floor(histories.values(), majority), 1.0), ylabel="valid accuracy (%)")
    right.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    for panel in (left, right):
        panel.set(xlim=(-0.2, last + 0.2), xlabel=f"epoch (passes over the train {counted})")
        panel.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        panel.grid(axis="y")
    for row, (name, ink, words) in enumerate(out):
        at: dict[str, Any] = {"xycoords": "axes fraction", "fontsize": 9, "color": ink}
        base.note(left, f"✗ {name}: {words}", (0.04, 0.94 - 0.09 * row), **at)
    base.label_ends(left, loss_ends)
    base.label_ends(right, accuracy_ends)
    base.title(ax, finding(histories, majority), " ".join(f"{n}: {in_words(h)}." for n, h in histories.items()))
    return ax


def finding(histories: Mapping[str, History], majority: float | None = None) -> str:
    """Return which run got furthest, in a sentence without a full stop."""
    reached = {name: h.kept.valid_accuracy for name, h in histories.items() if h.epochs}
    best = max(reached, key=reached.__getitem__)
    name = best[:1].upper() + best[1:]
    beside = f" (majority {base.percent(majority)})" if majority is not None else ""
    if len(reached) == 1:
        return f"{name} reaches a valid accuracy of {base.percent(reached[best])}{beside}"
    return f"{name} gets furthest: valid accuracy {base.percent(reached[best])}{beside}"


def in_words(history: History) -> str:
    """Return a run's numbers as words."""
    if not history.epochs:
        return "no finished epoch"
    best = history.kept
    end = f"; {trouble(history)}" if trouble(history) else ""
    return (
        f"after epoch {best.epoch} of {history.epochs[-1].epoch} valid loss {best.valid_loss:.3f}, "
        f"valid accuracy {base.percent(best.valid_accuracy)}{end}"
    )


def trouble(history: History) -> str:
    """Say what is wrong with the rate of a run that did not descend; '' if nothing is.

    A loss that is no longer a number has diverged. A head alone stays finite whatever the rate, because its loss
    grows no faster than its weights: it diverges in all but name when it ends above the untrained head's loss.
    """
    if "diverged" in history.stopped:
        return f"diverged at step {len(history.steps)}"
    start, end = history.epochs[:1], history.epochs[-1:]
    if start and not start[0].epoch and end[0].epoch and not end[0].train_loss <= start[0].valid_loss:
        return f"diverges, loss {start[0].valid_loss:.2g} → {end[0].train_loss:.2g}"
    return ""


def train_curve(history: History) -> list[tuple[float, float]]:
    """Return the train loss as (epoch, mean over a quarter of an epoch), finite values only."""
    if not history.steps:
        return [(0.0, math.nan)]
    per_epoch: dict[int, list[float]] = {}
    for step in history.steps:
        per_epoch.setdefault(step.epoch, []).append(step.loss)
    length, points = max(map(len, per_epoch.values())), []
    size = max(1, length // PIECES)
    for epoch, losses in per_epoch.items():
        for begin in range(0, len(losses), size):
            piece = losses[begin : begin + size]
            points.append((epoch - 1 + (begin + len(piece)) / length, sum(piece) / len(piece)))
    return [point for point in points if math.isfinite(point[1])] or [(0.0, math.nan)]


def roof(histories: Iterable[History]) -> float:
    """Return the highest loss worth showing: half above what an untrained head has."""
    starts = [h.epochs[0].valid_loss for h in histories if h.epochs and math.isfinite(h.epochs[0].valid_loss)]
    return 1.5 * max(starts, default=1.0)


def floor(histories: Iterable[History], majority: float | None) -> float:
    """Return the lowest accuracy worth showing, a multiple of a tenth below everything."""
    values = [e.valid_accuracy for h in histories for e in h.epochs if math.isfinite(e.valid_accuracy)]
    low = min([*values, 1.0 if majority is None else majority])
    return max(0.0, math.floor(10 * low - 0.2) / 10)


def _finite(history: History, name: str) -> tuple[list[int], list[float]]:
    points = [(e.epoch, getattr(e, name)) for e in history.epochs if math.isfinite(getattr(e, name))]
    return [x for x, _ in points], [y for _, y in points]
