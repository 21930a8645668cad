"""Lesson 03, Loss: figures of a cross-entropy's parts and gradient, and of who makes the loss; exercises' checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import entr, rel_entr
from torch import Tensor
from torch.nn import functional as F

from sftlab.lessons.checks import Wrong, check, expect
from sftlab.plot import base, style

FLOOR, REMOVABLE, OTHERS = "#B9C1C9", style.WRONG, "#C7D6E3"
LABELS: dict[str, Any] = {"padding": 2, "fontsize": 8, "color": style.QUIET}  # of bars
STRIPES = {"edgecolor": "#5D6873", "hatch": "\\\\\\"}  # of what comes from the labels: the target and its entropy


def cross_entropy(p: Sequence[float], q: Sequence[float], names: Sequence[str], *, ax: Any = None) -> Any:
    """Draw target p and answer q, the cross-entropy H(p, q) in its two parts, and its gradient q − p.

    p, q: a probability a class, each summing to one. The parts are the floor H(p) (Shannon, 1948), which no answer gets
    below, and the removable KL(p‖q) (Kullback and Leibler, 1951). The gradient is by the logits behind q.
    """
    target, answer = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    for letter, values in (("p", target), ("q", answer)):
        if values.min() < 0 or abs(values.sum() - 1) > 1e-3:
            raise ValueError(f"{letter} sums to {values.sum():.3f}; probabilities are at least 0 and sum to 1")
    floor, removable = entr(target).sum(), max(0.0, rel_entr(target, answer).sum())
    loss, gradient = floor + removable, answer - target
    ax = base.axes(ax, 9.2, 3.3)
    ax.set_axis_off()
    left, middle, right = (
        ax.inset_axes(box) for box in ((0, 0, 0.37, 0.9), (0.47, 0, 0.12, 0.9), (0.73, 0, 0.27, 0.9))
    )
    _bars(left, target, answer)
    _parts(middle, floor, removable)
    _gradient(right, gradient)
    for panel in (left, right):
        panel.set_xticks(range(len(names)), [base.clip(name, 10) for name in names])
        panel.tick_params(axis="x", length=0, labelcolor=style.INK)
    base.corner(left, "target p (striped), answer q (blue)", fontsize=9)
    base.corner(middle, "loss", fontsize=9)
    base.corner(right, "gradient, and where a step moves it", fontsize=9)
    parts = f"{floor:.2f} floor + {removable:.2f} removable" if math.isfinite(loss) else "q is 0 where p is not"
    columns = zip(names, target, answer, gradient, strict=True)
    words = "; ".join(f"{name}: p {a:.2f}, q {b:.2f}, gradient {slope:+.2f}" for name, a, b, slope in columns)
    base.title(ax, f"H(p, q) = {loss:.2f} nats: {parts}".replace("inf", "∞"), f"{words}.", pad=16)
    return ax


def _bars(ax: Any, p: np.ndarray, q: np.ndarray) -> None:
    for values, shift, look in ((p, -0.2, {"color": "#E3E8EC", **STRIPES}), (q, 0.2, {"color": style.VALID})):
        bars = ax.bar(np.arange(len(p)) + shift, values, width=0.38, linewidth=0.8, **look)
        ax.bar_label(bars, fmt="%.2f", **LABELS)
    ax.set(ylim=(0, 1.08), ylabel="probability")


def _parts(ax: Any, floor: float, removable: float) -> None:
    shown = min(removable, 20.0)  # infinite, if the answer is 0 where the target is not
    ax.bar(0, floor, width=0.7, color=FLOOR, linewidth=0.6, gid="floor", **STRIPES)
    ax.bar(0, shown, bottom=floor, width=0.7, color=REMOVABLE, gid="removable")
    top = max(1.2, 1.1 * (floor + shown))
    ax.set(xlim=(-0.45, 0.45), ylim=(0, top), xticks=[], ylabel="nats")
    for value, at, text in ((floor, floor / 2, "H(p)"), (shown, floor + shown / 2, "KL")):
        if value > 0.01 * top:
            base.note(ax, text, (0.38, at), (4, 0), color=style.INK)


def _gradient(ax: Any, gradient: np.ndarray) -> None:
    for i, value in enumerate(gradient):
        up = value < 0  # the step goes against the gradient
        bars = ax.bar(i, value, width=0.6, color=style.RIGHT if up else style.WRONG, gid="gradient")
        if abs(value) > 0.005:
            ax.bar_label(bars, [f"{value:+.2f}\nlogit {'↑' if up else '↓'}".replace("-", "−")], **LABELS)
    ax.axhline(0, color=style.INK, linewidth=0.8)
    ax.set(ylim=(-1.35, 1.35), xlim=(-0.6, len(gradient) - 0.4), ylabel="q − p", yticks=[-1, 0, 1])


def shares(losses: Sequence[float], gradients: Sequence[float], at: int, *, guess: Any = None, ax: Any = None) -> Any:
    """Draw who makes a batch's loss and who makes its gradient, a bar each; the image at `at` is pointed out.

    losses: one an image, in nats. gradients: the size of each image's gradient. guess: the share of the loss, in
    percent, that the learner expected of that image.
    """
    ax = base.axes(ax, 8.2, 1.9)
    base.rows(ax, ["loss", "gradient"])
    parts, look = [], {"height": 0.62, "edgecolor": "white", "linewidth": 0.7}
    for row, values in enumerate((losses, gradients)):
        share = np.array(values) / max(sum(values), 1e-12)
        one, rest = share[at], -np.sort(-np.delete(share, at))
        ax.barh(row, one, color=REMOVABLE, hatch="xx", gid="pointed out", **look)
        ax.barh([row] * len(rest), rest, left=one + rest.cumsum() - rest, color=OTHERS, gid="rest", **look)
        base.note(ax, base.percent(one, 0), (one, row), (5, 0), fontsize=10, color=style.INK)
        parts.append(one)
    even = 1 / len(losses)
    ax.axvline(even, color=style.INK, linestyle=(0, (4, 3)), linewidth=1)
    base.note(ax, "an even share", (even, -0.5), (0, 2), va="bottom")
    if (number := base.guessed(guess)) is not None:
        base.guess_mark(ax, (number / 100, 0.5))
        base.note(ax, "your guess", (number / 100, 0.5), (8, 0), color=style.GUESS)
    ax.set(xlim=(0, 1), xlabel="share of the batch (%)")
    base.percent_axis(ax.xaxis)
    makes = f"1 of {len(losses)} images makes {base.percent(parts[0], 0)} of the loss"
    words = f"Loss {base.percent(parts[0])}, gradient {base.percent(parts[1])}."
    base.title(ax, f"{makes}, {base.percent(parts[1], 0)} of the gradient", words, pad=20)
    return ax


# the checks of its exercises


@check
def removable_part(nats: float) -> str:
    """Check what training could still remove of the loss of a run with smoothing 0.3."""
    mistakes = {
        1.324: "That is the whole loss. A part of it belongs to the labels.",
        1.18: "That part belongs to the labels, and no answer gets below it. Asked is the rest.",
        0.054: "The floor is a little lower: the right class has its share of the smoothing too.",
    }
    expect(nats, 0.1473, 0.01, mistakes)  # 0.1473 twice on one machine: the run has no randomness
    return "With smoothing and without, about 0.15 nats are left to remove: only the floor has grown."


@check
def same_as_torch(loss: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check a cross-entropy against PyTorch's, for three sets of labels and logits up to some 10,000."""
    for seed in range(3):
        logits, p = torch.randn(2, 8, 3 + seed, generator=torch.Generator().manual_seed(seed))
        p = p.softmax(dim=1)
        for scale in (1, 1e4):
            ratio = float(loss(scale * logits, p) / F.cross_entropy(scale * logits, p))
            if not math.isfinite(ratio):
                raise Wrong("With logits of 10,000 it is not finite: a probability that became 0 has no logarithm.")
            if abs(ratio - 1) > 1e-3:
                raise Wrong(f"For 8 images and {3 + seed} classes it is {ratio:.3g} times what PyTorch gives.")
    return "It agrees with PyTorch for three sets of labels, and is finite at logits of 10,000."


@check
def lowest_loss(lowest: Callable[[int], float]) -> str:
    """Check the lowest loss with a softmax too many, for four numbers of classes."""
    for classes in (2, 3, 10, 1000):
        right = F.cross_entropy(torch.eye(classes), torch.arange(classes)).item()
        mistakes = {
            math.log(classes): "That is the loss of one who knows nothing. Asked is the lowest that can be reached.",
            0: "A loss of 0 needs logits that differ without limit. How far apart are the numbers that arrive here?",
        }
        expect(lowest(classes), right, 0.01, mistakes)
    return "0.31 nats for 2 classes, 1.46 for 10: a loss that stops there has met a softmax too many."
