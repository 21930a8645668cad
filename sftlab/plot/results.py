"""What an evaluation found: confusion, calibration, one image's probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Result
from sftlab.plot import base, style


def confusion(result: Result, *, ax: Any = None) -> Any:
    """Draw the confusion matrix: true classes down, called ones across, shaded by the share of the row."""
    counts = np.array(result.confusion)
    k = len(counts)
    side = min(7.0, max(2.7, 0.42 * k + 1.2))
    ax = base.axes(ax, min(8.2, side + 1.3), side + 0.8)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ax.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    if k <= 20:
        for i in range(k):
            for j in range(k):
                big = k <= 5
                text = f"{counts[i, j]}\n{100 * shares[i, j]:.0f} %" if big else str(counts[i, j] or "")
                how = {
                    "color": "white" if shares[i, j] > 0.55 else style.INK,
                    "weight": "bold" if i == j else "normal",
                }
                ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=11 if big else 8, **how)
    names = [base.clip(name, 18) for name in result.classes]
    called = "called (%: share of the true class)" if k <= 5 else "called (images)"
    ax.set(xlabel=called, ylabel="true", aspect="equal", xlim=(0, k), ylim=(k, 0))
    many = k > 40
    ax.set_xticks(np.arange(k) + 0.5, [""] * k if many else names)
    ax.set_yticks(np.arange(k) + 0.5, [""] * k if many else names)
    if max(map(len, names)) > (9 if k <= 4 else 3):
        ax.tick_params(axis="x", rotation=40)
        for tick in ax.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    for side_ in ax.spines.values():
        side_.set_visible(False)
    errors = counts - np.diag(np.diag(counts))
    i, j = np.unravel_index(errors.argmax(), errors.shape)
    finding = f"All {result.n} images called right"
    if errors.max():
        finding = "" if k == 2 else "Most common mistake: "
        finding += f"{counts[i, j]} of {counts[i].sum()} ‘{result.classes[i]}’ were called ‘{result.classes[j]}’"
    if k == 2:
        told = [f"Of {counts[a].sum()} {c}, {counts[a, a]} were called {c}." for a, c in enumerate(result.classes)]
        words = " ".join(told)
    else:
        recalls = ", ".join(f"{c} {100 * shares[a, a]:.0f} %" for a, c in enumerate(result.classes))
        words = f"Recall by class: {recalls}."
    base.title(ax, finding, words)
    return ax


def reliability(result: Result, *, bins: int = 10, ax: Any = None) -> Any:
    """Draw accuracy against confidence in equal bins, with Wilson intervals and the number of images in each.

    On the diagonal a network that says 80 % is right four times in five (Guo et al., 2017).
    """
    from sftlab.core.statistics import wilson

    known = [i for i, t in enumerate(result.targets) if t >= 0]
    p = np.array([result.probabilities[i] for i in known])
    right = p.argmax(axis=1) == np.array([result.targets[i] for i in known])
    said = p.max(axis=1)
    which = np.minimum((said * bins).astype(int), bins - 1)
    ax = base.axes(ax, 5.6, 4.3)
    ax.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1, zorder=1)
    base.majority_line(ax, result.majority)
    sizes = np.bincount(which, minlength=bins)
    middles = (np.arange(bins) + 0.5) / bins
    ax.bar(middles, 0.22 * sizes / sizes.max(), width=0.9 / bins, color="#E3EAF1", zorder=0, gid="sizes")
    for b in np.flatnonzero(sizes):
        inside = which == b
        score = wilson(int(right[inside].sum()), int(inside.sum()))
        x = said[inside].mean()
        ax.plot([x, x], [score.low, score.high], color=style.VALID, linewidth=1.6, alpha=0.75)
        ax.plot(x, score.value, "o", color=style.VALID, markersize=6)
        base.note(ax, str(sizes[b]), (middles[b], 0), (0, 3), ha="center", va="bottom", fontsize=7.5)
    low = max(0.0, min(1 / len(result.classes), said.min()) - 0.03)
    ax.set(xlim=(low, 1.01), ylim=(0, 1.02), ylabel="right (%)")
    ax.set_xlabel("confidence: probability of the called class (%)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    base.note(ax, "majority rate", (1.01, result.majority), (4, 0))
    base.note(ax, "as sure as right", (1, 1), (6, 0))
    ece = result.metrics["ece"]
    where: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "fontsize": 9, "color": style.INK}
    base.note(ax, f"ECE {ece.value:.3f}\n({ece.low:.3f}–{ece.high:.3f})", (0.98, 0.33), **where)
    sure, correct = base.percent(said.mean(), 0), base.percent(right.mean(), 0)
    words = f"Expected calibration error {ece:.3f} over {result.n} images."
    majority = f"Majority rate {base.percent(result.majority)}."
    base.title(ax, f"Says {sure} on average, is right {correct} of the time", f"{words} {majority}")
    return ax


def probabilities(
    names: Sequence[str], p: Sequence[float], *, top: int = 5, title: str | None = None, ax: Any = None
) -> Any:
    """Draw the highest probabilities of one image as bars: what the network says.

    names: a name a class. p: a probability a class, summing to one.
    """
    values = np.asarray(p, dtype=float).ravel()
    if len(values) != len(names):
        raise ValueError(f"{len(values)} probabilities for {len(names)} names")
    order = np.argsort(-values, kind="stable")[:top]
    ax = base.axes(ax, 6.4, 0.95 + 0.34 * len(order))
    labels = [base.clip(str(names[i]), 34) for i in order]
    colours = [style.VALID] + ["#A9C7DE"] * (len(order) - 1)
    ax.barh(range(len(order)), values[order], color=colours, height=0.72)
    for row, i in enumerate(order):
        base.note(ax, base.percent(values[i]), (values[i], row), (5, 0), fontsize=9, color=style.INK)
    ax.set_yticks(range(len(order)), labels)
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(order) - 0.5, -0.5), xlim=(0, max(0.05, values.max()) * 1.02), xlabel="probability (%)")
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g}")
    finding = title or f"The network says ‘{names[order[0]]}’ with {base.percent(values[order[0]], 0)}"
    rest = 1 - values[order].sum()
    others = len(values) - len(order)
    tail = f"; the other {others} classes share {base.percent(rest)}" if others else ""
    words = ", ".join(f"{names[i]} {base.percent(values[i])}" for i in order)
    base.title(ax, finding, f"{words}{tail}.")
    return ax
