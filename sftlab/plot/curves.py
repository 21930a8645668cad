"""Training over time: loss and accuracy against the epoch, loss against the learning rate."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sftlab.core.records import Epoch, History
from sftlab.plot import base
from sftlab.plot.style import GUESS, INK, LINE, QUIET, VALID, WRONG

BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}  # below words that lie on lines

if TYPE_CHECKING:
    from sftlab.core.lr_search import LRFinder


def curves(history: History, *, majority: float | None = None, ax: Any = None) -> Any:
    """Draw loss and accuracy against the epoch, side by side inside `ax`; see `loss` and `accuracy`.

    majority: the rate of the most frequent class among the validation images, drawn dashed; the History knows it.
    """
    ax = base.axes(ax, 8.2, 3.4)
    epochs = _epochs(history)
    left, right = base.panels(ax, 1, 2, (0, 0.22))
    loss(history, ax=left)
    accuracy(history, majority=majority, ax=right)
    kept = history.kept
    finding = (
        f"Kept: epoch {kept.epoch} of {epochs[-1].epoch}, with valid loss {kept.valid_loss:.3f}, "
        f"valid accuracy {base.percent(kept.valid_accuracy)}"
    )
    if history.best == 0:
        finding = f"No epoch was better than the weights it came with (valid loss {kept.valid_loss:.3f})"
    if "diverged" in history.stopped:
        finding = f"Diverged after {_count(epochs[-1].epoch, 'epoch')}: the loss was no longer finite"
    for panel in (left, right):
        panel.set_title("")
    words = f"{_loss_words(epochs)} {_accuracy_words(epochs, majority)} {_run_words(history)}".strip()
    base.title(ax, finding, words, pad=22 if run_borders(history) else None)
    return ax


def loss(history: History, *, ax: Any = None) -> Any:
    """Draw train loss (dashed grey) and valid loss (solid) against the epoch; the kept epoch is ringed."""
    ax = base.axes(ax, 5.5)
    epochs = _epochs(history)
    train = _line(ax, epochs, "train_loss", LINE, linestyle=(0, (4, 2)))
    valid = _line(ax, epochs, "valid_loss", VALID)
    kept = history.kept
    _mark(ax, kept, kept.valid_loss, -1)
    ax.set(ylabel=f"loss (nats per {history.noun[:-1]})")
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.1 * (high - low), high)
    _epoch_axis(ax, history)
    base.label_ends(ax, [(*end, *how) for end, how in ((train, ("train", QUIET)), (valid, ("valid", VALID))) if end[0]])
    finding = f"Valid loss {kept.valid_loss:.3f} after epoch {kept.epoch}"
    base.title(ax, finding, _loss_words(epochs), pad=22 if run_borders(history) else None)
    return ax


def accuracy(history: History, *, majority: float | None = None, ax: Any = None) -> Any:
    """Draw valid accuracy against the epoch, the majority rate dashed; the kept epoch is ringed."""
    ax = base.axes(ax, 5.5)
    epochs = _epochs(history)
    if majority is None:
        majority = history.majority
    valid = _line(ax, epochs, "valid_accuracy", VALID)
    kept = history.kept
    _mark(ax, kept, kept.valid_accuracy, 1)
    ax.set(ylabel="valid accuracy (%)")
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f}")
    values = [e.valid_accuracy for e in epochs] + ([majority] if majority is not None else [])
    span = max(0.04, max(values) - min(values))
    ax.set_ylim(max(-0.02, min(values) - 0.18 * span), max(values) + 0.22 * span)
    _epoch_axis(ax, history)
    ends = [(*valid, "valid", VALID)] if valid[0] else []
    if majority is not None:
        base.majority_line(ax, majority)
        ends.append((epochs[-1].epoch, majority, "majority", INK))
    base.label_ends(ax, ends)
    finding = f"Valid accuracy {base.percent(kept.valid_accuracy)} after epoch {kept.epoch}"
    base.title(ax, finding, _accuracy_words(epochs, majority), pad=22 if run_borders(history) else None)
    return ax


def run_borders(history: History) -> list[int]:
    """Return the epochs after which a next run began."""
    ran = [run.get("ran", run.get("epochs", 0)) for run in history.runs]
    return [epoch for epoch in accumulate(ran[:-1]) if epoch < history.epochs[-1].epoch]


def lr_finder(found: LRFinder, *, ax: Any = None) -> Any:
    """Draw the loss against the rising learning rate: the rate to try first, and where it diverged."""
    ax = base.axes(ax, 7.0, 3.4)
    ax.plot(found.rates, found.losses, color="#C9C9C9", linewidth=1)
    ax.plot(found.rates, found.smoothed, color=VALID)
    ax.set_xscale("log")
    finite = [v for v in found.smoothed if math.isfinite(v)]
    low, high = min(finite), max(finite)
    start = max(finite[: max(1, len(finite) // 4)])
    top = min(high, low + 2.2 * (start - low)) if start > low else high
    margin = 0.12 * max(top - low, 1e-3)
    ax.set_ylim(low - 2 * margin, top + margin)
    unit = f"nats per {found.noun[:-1]}"
    ax.set(xlabel="learning rate (highest of the profile, log scale)", ylabel=f"train loss ({unit})")
    at = min(range(len(found.rates)), key=lambda i: abs(found.rates[i] - found.steepest))
    ax.axvline(found.steepest, color=GUESS, linewidth=1, zorder=1)
    ax.plot(found.steepest, found.smoothed[at], "o", color=GUESS, markersize=7)
    left = found.steepest > math.sqrt(found.rates[0] * found.rates[-1])
    foot: dict[str, Any] = {"fontsize": 9, "va": "bottom", "bbox": BEHIND}
    words, at_foot = (
        f"steepest fall\ntry {base.rate_text(found.steepest)}",
        (found.steepest, low - 2 * margin),
    )
    base.note(ax, words, at_foot, (-7 if left else 7, 5), color=GUESS, ha="right" if left else "left", **foot)
    end = "the loss stayed finite."
    if found.diverged:
        end = f"the sweep diverged at {base.rate_text(found.diverged)}."
        ax.axvline(found.diverged, color=WRONG, linewidth=1, linestyle=":", zorder=1)
        words = f"✗ diverged\n{base.rate_text(found.diverged)}"
        base.note(ax, words, (found.diverged, low - 2 * margin), (7, 5), color=WRONG, **foot)
    first, last = base.rate_text(found.rates[0]), base.rate_text(found.rates[-1])
    words = (
        f"{len(found.rates)} steps from {first} to {last}; "
        f"smoothed loss {found.smoothed[0]:.3f} at the start, {low:.3f} at its lowest; {end}"
    )
    base.title(ax, f"The loss falls fastest at a rate of {base.rate_text(found.steepest)}", words)
    return ax


def _epochs(history: History) -> list[Epoch]:
    if not history.epochs:
        raise ValueError("this history holds no finished epoch, so there is no curve to draw")
    return history.epochs


def _line(ax: Any, epochs: list[Epoch], name: str, colour: str, **how: Any) -> tuple[float, float]:
    """Draw one curve over its finite values and return where it ends; (0, 0) if it has none."""
    points = [(e.epoch, getattr(e, name)) for e in epochs if math.isfinite(getattr(e, name))]
    if not points:
        return 0, 0
    marker = "o" if len(points) <= 30 else None
    ax.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3.5, **how)
    return points[-1]


def _mark(ax: Any, epoch: Epoch, value: float, side: int) -> None:
    """Ring the epoch whose weights were kept; the word goes above (side 1) or below (−1) the ring."""
    if math.isfinite(value):
        base.note(ax, "kept", (epoch.epoch, value), (0, 13 * side), ha="center", fontsize=8, bbox=BEHIND)
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.3}
        ax.plot(epoch.epoch, value, "o", gid="kept", clip_on=False, **ring)


def _epoch_axis(ax: Any, history: History) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = history.epochs[0].epoch, history.epochs[-1].epoch
    ax.set_xlim(first - 0.4, max(last, first + 1) + 0.15)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.set(xlabel=f"epoch (passes over the train {history.noun})")
    ax.grid(axis="y")
    for border in run_borders(history):
        ax.axvline(border + 0.5, color="#AAAAAA", linewidth=1, linestyle=":", gid="border")
        top = {"xycoords": ("data", "axes fraction"), "va": "bottom", "ha": "center", "fontsize": 8}
        base.note(ax, "next run", (border + 0.5, 1), (0, 1), **top)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _loss_words(epochs: list[Epoch]) -> str:
    first, last = epochs[0], epochs[-1]
    trained = [e.train_loss for e in epochs if not math.isnan(e.train_loss)] or [math.nan]  # epoch 0 has none
    return (
        f"Over {_count(len(epochs), 'epoch')} the train loss goes from {trained[0]:.3f} "
        f"to {trained[-1]:.3f}, the valid loss from {first.valid_loss:.3f} to {last.valid_loss:.3f}."
    )


def _accuracy_words(epochs: list[Epoch], majority: float | None) -> str:
    beside = f"; the majority rate is {base.percent(majority)}" if majority is not None else ""
    first, last = (base.percent(e.valid_accuracy) for e in (epochs[0], epochs[-1]))
    return f"Valid accuracy goes from {first} to {last}{beside}."


def _run_words(history: History) -> str:
    borders = run_borders(history)
    return f"A next run begins after epoch {base.listed([str(b) for b in borders])}." if borders else ""
