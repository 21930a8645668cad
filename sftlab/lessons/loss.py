"""Figures of lesson 03, Loss: cross-entropy in its two parts with its gradient, and who in a batch makes the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.plot import base, style

FLOOR, REMOVABLE, OTHERS = "#B9C1C9", style.WRONG, "#C7D6E3"
STRIPES = "\\\\\\"  # of what comes from the labels: the target and its entropy


def entropy(p: Any) -> float:
    """Return H(p) = −Σ p(x) log p(x) in nats, with 0 log 0 = 0 (Shannon, 1948)."""
    p = np.asarray(p, dtype=float)
    return abs(float((p[p > 0] * np.log(p[p > 0])).sum()))


def cross_entropy(p: Sequence[float], q: Sequence[float], names: Sequence[str], *, ax: Any = None) -> Any:
    """Draw target p and answer q, the cross-entropy H(p, q) in its two parts, and its gradient q − p.

    p, q: a probability a class, each summing to one. The parts are the floor H(p), which no answer gets below, and the
    removable KL(p‖q) (Kullback and Leibler, 1951). The gradient is by the logits behind q.
    """
    target, answer = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    for letter, values in (("p", target), ("q", answer)):
        if values.min() < 0 or abs(values.sum() - 1) > 1e-3:
            raise ValueError(f"{letter} sums to {values.sum():.3f}; probabilities are at least 0 and sum to 1")
    with np.errstate(divide="ignore"):
        loss = float(-(target[target > 0] * np.log(answer[target > 0])).sum())
    floor = entropy(target)
    removable = max(0.0, loss - floor)
    ax = base.axes(ax, 9.2, 3.3)
    ax.set_axis_off()
    left, middle, right = (
        ax.inset_axes(box) for box in ((0, 0, 0.37, 0.9), (0.47, 0, 0.12, 0.9), (0.73, 0, 0.27, 0.9))
    )
    _bars(left, target, answer)
    _parts(middle, floor, removable)
    _gradient(right, answer - target)
    for panel in (left, right):
        panel.set_xticks(range(len(names)), [base.clip(name, 10) for name in names])
        panel.tick_params(axis="x", length=0, labelcolor=style.INK)
    for panel, text in (
        (left, "target p (striped), answer q (blue)"),
        (middle, "loss"),
        (right, "gradient, and where a step moves it"),
    ):
        base.corner(panel, text, fontsize=9)
    parts = f"{floor:.2f} floor + {removable:.2f} removable" if math.isfinite(loss) else "q is 0 where p is not"
    gradient = zip(names, target, answer, strict=True)
    words = "; ".join(f"{name}: p {a:.2f}, q {b:.2f}, gradient {b - a:+.2f}" for name, a, b in gradient)
    base.title(ax, f"H(p, q) = {loss:.2f} nats: {parts}".replace("inf", "∞"), f"{words}.", pad=16)
    return ax


def _bars(ax: Any, p: np.ndarray, q: np.ndarray) -> None:
    x = np.arange(len(p))
    looks = (
        (p, -0.2, {"color": "#E3E8EC", "edgecolor": "#5D6873", "hatch": STRIPES}),
        (q, 0.2, {"color": style.VALID}),
    )
    for values, shift, look in looks:
        ax.bar(x + shift, values, width=0.38, linewidth=0.8, **look)
        for i, value in enumerate(values):
            base.note(ax, f"{value:.2f}", (i + shift, value), (0, 2), ha="center", va="bottom", fontsize=8)
    ax.set(ylim=(0, 1.08), ylabel="probability")


def _parts(ax: Any, floor: float, removable: float) -> None:
    shown = min(removable, 20.0)  # infinite, if the answer is 0 where the target is not
    look = {"hatch": STRIPES, "edgecolor": "#5D6873"}
    ax.bar(0, floor, width=0.7, color=FLOOR, linewidth=0.6, gid="floor", **look)
    ax.bar(0, shown, bottom=floor, width=0.7, color=REMOVABLE, gid="removable")
    top = max(1.2, 1.1 * (floor + shown))
    ax.set(xlim=(-0.45, 0.45), ylim=(0, top), xticks=[], ylabel="nats")
    for value, at, text in ((floor, floor / 2, "H(p)"), (shown, floor + shown / 2, "KL")):
        if value > 0.01 * top:
            base.note(ax, text, (0.38, at), (4, 0), color=style.INK)


def _gradient(ax: Any, gradient: np.ndarray) -> None:
    for i, value in enumerate(gradient):
        up = value < 0  # the step goes against the gradient
        ax.bar(i, value, width=0.6, color=style.RIGHT if up else style.WRONG, gid="gradient")
        if abs(value) > 0.005:
            text = f"{value:+.2f}\nlogit {'↑' if up else '↓'}".replace("-", "−")
            base.note(ax, text, (i, value), (0, -3 if up else 3), ha="center", va="top" if up else "bottom", fontsize=8)
    ax.axhline(0, color=style.INK, linewidth=0.8)
    ax.set(ylim=(-1.35, 1.35), xlim=(-0.6, len(gradient) - 0.4), ylabel="q − p", yticks=[-1, 0, 1])


def shares(losses: Sequence[float], gradients: Sequence[float], at: int, *, guess: Any = None, ax: Any = None) -> Any:
    """Draw who makes a batch's loss and who makes its gradient, a bar each; the image at `at` is pointed out.

    losses: one an image, in nats. gradients: the size of each image's gradient. guess: the share of the loss, in
    percent, that the learner expected of that image.
    """
    ax = base.axes(ax, 8.2, 1.9)
    base.rows(ax, ["loss", "gradient"])
    parts = []
    for row, values in enumerate((losses, gradients)):
        share = np.asarray(values, dtype=float) / max(float(np.sum(np.asarray(values))), 1e-12)
        left = 0.0
        for i in [at, *(i for i in np.argsort(-share, kind="stable") if i != at)]:
            look = (
                {"color": REMOVABLE, "hatch": "xx", "gid": "pointed out"}
                if i == at
                else {"color": OTHERS, "gid": "rest"}
            )
            ax.barh(row, share[i], left=left, height=0.62, edgecolor="white", linewidth=0.7, **look)
            left += share[i]
        base.note(ax, base.percent(share[at], 0), (share[at], row), (5, 0), fontsize=10, color=style.INK)
        parts.append(float(share[at]))
    even = 1 / len(losses)
    ax.axvline(even, color=style.INK, linestyle=(0, (4, 3)), linewidth=1)
    base.note(ax, "an even share", (even, -0.5), (0, 2), va="bottom")
    if (number := base.guessed(guess)) is not None:
        base.guess_mark(ax, (number / 100, 0.5))
    ax.set(xlim=(0, 1), xlabel="share of the batch (%)")
    base.percent_axis(ax.xaxis)
    one = f"1 of {len(losses)} images makes {base.percent(parts[0], 0)} of the loss"
    words = f"Loss {base.percent(parts[0])}, gradient {base.percent(parts[1])}."
    base.title(ax, f"{one}, {base.percent(parts[1], 0)} of the gradient", words, pad=20)
    return ax
