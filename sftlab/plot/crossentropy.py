"""What is minimised: cross-entropy in its two parts, its gradient, and who in a batch makes it."""

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


def cross_entropy(p: Sequence[float], q: Sequence[float], names: Sequence[str] | None = None, *, ax: Any = None) -> Any:
    """Draw target p and answer q, the cross-entropy H(p, q) in its two parts, and its gradient q − p.

    p, q: a probability a class, each summing to one. The parts are the floor H(p), which no answer gets below, and
    the removable KL(p‖q) (Kullback and Leibler, 1951). The gradient is by the logits behind q.
    """
    target, answer = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    if target.shape != answer.shape or target.ndim != 1:
        raise ValueError(f"p has the shape {target.shape}, q {answer.shape}; expected one probability a class in both")
    for letter, values in (("p", target), ("q", answer)):
        if values.min() < 0 or abs(values.sum() - 1) > 1e-3:
            raise ValueError(f"{letter} sums to {values.sum():.3f}; probabilities are at least 0 and sum to 1")
    called = list(names) if names is not None else [f"class {k}" for k in range(len(target))]
    wanted = target > 0
    with np.errstate(divide="ignore"):
        loss = float(-(target[wanted] * np.log(answer[wanted])).sum())
    floor = entropy(target)
    removable = max(0.0, loss - floor)
    ax = base.axes(ax, 9.2, 3.3)
    ax.set_axis_off()
    left = ax.inset_axes((0.0, 0.0, 0.37, 0.9))
    middle = ax.inset_axes((0.47, 0.0, 0.12, 0.9))
    right = ax.inset_axes((0.73, 0.0, 0.27, 0.9))
    _bars(left, target, answer, called)
    _parts(middle, floor, removable)
    _gradient(right, answer - target, called)
    parts = f"{floor:.2f} floor + {removable:.2f} removable" if math.isfinite(loss) else "q is 0 where p is not"
    told = f"H(p, q) = {loss:.2f} nats: {parts}".replace("inf", "∞")
    listed = "; ".join(
        f"{n}: p {a:.2f}, q {b:.2f}, gradient {b - a:+.2f}" for n, a, b in zip(called, target, answer, strict=True)
    )
    base.title(ax, told, f"{listed}.", pad=16)
    return ax


def _bars(ax: Any, p: np.ndarray, q: np.ndarray, names: list[str]) -> None:
    x = np.arange(len(p))
    styles = ((p, -0.2, {"color": "#E3E8EC", "edgecolor": "#5D6873", "hatch": STRIPES}, "p"),
              (q, 0.2, {"color": style.VALID, "edgecolor": style.VALID}, "q"))  # fmt: skip
    for values, shift, how, letter in styles:
        ax.bar(x + shift, values, width=0.38, linewidth=0.8, gid=letter, **how)
        for i, value in enumerate(values):
            base.note(ax, f"{value:.2f}", (i + shift, value), (0, 2), ha="center", va="bottom", fontsize=8)
    ax.set_xticks(x, [base.clip(n, 12) for n in names])
    ax.tick_params(axis="x", length=0, labelcolor=style.INK)
    ax.set(ylim=(0, 1.08), ylabel="probability")
    ax.set_title("target p (striped), answer q (blue)", loc="left", fontsize=9, fontweight="normal", pad=5)


def _parts(ax: Any, floor: float, removable: float) -> None:
    from matplotlib.ticker import MaxNLocator

    shown = min(removable, 20.0) if math.isfinite(removable) else 20.0
    ax.bar(0, floor, width=0.7, color=FLOOR, hatch=STRIPES, edgecolor="#5D6873", linewidth=0.6, gid="floor")
    ax.bar(0, shown, bottom=floor, width=0.7, color=REMOVABLE, linewidth=0, gid="removable")
    top = max(1.2, 1.1 * (floor + shown))
    ax.set(xlim=(-0.45, 0.45), ylim=(0, top), ylabel="nats")
    ax.set_xticks([])
    ax.yaxis.set_major_locator(MaxNLocator(5))
    for value, at, text in ((floor, floor / 2, "H(p)"), (shown, floor + shown / 2, "KL")):
        if value > 0.01 * top:
            base.note(ax, text, (0.38, at), (4, 0), color=style.INK)
    ax.set_title("loss", loc="left", fontsize=9, fontweight="normal", pad=5)


def _gradient(ax: Any, gradient: np.ndarray, names: list[str]) -> None:
    for i, value in enumerate(gradient):
        up = value < 0  # the step goes against the gradient
        colour = style.RIGHT if up else style.WRONG
        ax.bar(i, value, width=0.6, color=colour, gid="gradient")
        if abs(value) > 0.005:
            text = f"{value:+.2f}\nlogit {'↑' if up else '↓'}".replace("-", "−")
            base.note(ax, text, (i, value), (0, -3 if up else 3), ha="center", va="top" if up else "bottom", fontsize=8)
    ax.axhline(0, color=style.INK, linewidth=0.8)
    ax.set(ylim=(-1.35, 1.35), xlim=(-0.6, len(names) - 0.4), ylabel="q − p")
    ax.set_yticks([-1, 0, 1])
    ax.set_xticks(range(len(names)), [base.clip(n, 9) for n in names])
    ax.tick_params(axis="x", length=0, labelcolor=style.INK)
    ax.set_title("gradient, and where a step moves it", loc="left", fontsize=9, fontweight="normal", pad=5)


def floors(levels: Sequence[float], name: str = "class 1", *, ax: Any = None) -> Any:
    """Draw H(p, q) of two classes against q, a curve for each target p, with its lowest point.

    levels: probabilities of the second class in the target. name: of that class.
    """
    ax = base.axes(ax, 7.4, 3.6)
    q = np.linspace(0.002, 0.998, 400)
    colours = (style.VALID, "#CC79A7", "#E69F00", "#009E73", style.INK)
    lowest = {p: entropy([1 - p, p]) for p in levels}
    for i, (p, floor) in enumerate(lowest.items()):
        colour = colours[i % len(colours)]
        with np.errstate(divide="ignore"):
            loss = -(1 - p) * np.log(1 - q) - p * np.log(q)
        ax.plot(q, loss, color=colour, linewidth=1.8)
        ax.plot(min(max(p, q[0]), q[-1]), floor, "o", color=colour, markersize=7, clip_on=False, gid="floor")
        ax.vlines(p, -0.14, floor, color=colour, linewidth=1, linestyle=":")  # the words stand below all curves
        side = "left" if p < 0.05 else "right" if p > 0.95 else "center"
        how = {"ha": side, "va": "top", "color": style.ink_safe(colour), "linespacing": 1.3}
        base.note(ax, f"p = {_fraction(p)}\nfloor {floor:.2f}", (p, -0.16), (0, 0), **how)
    ax.set(xlim=(0, 1), ylim=(-0.62, 2.6), ylabel="H(p, q) (nats)", xlabel=f"q: the answer's probability of ‘{name}’")
    ax.set_yticks([0, 0.5, 1, 1.5, 2, 2.5])
    ax.grid(axis="y")
    worst = max(reversed(levels), key=lambda p: lowest[p])
    finding = f"With p = {_fraction(worst)} no answer gets below {lowest[worst]:.2f} nats"
    words = "; ".join(f"p = {_fraction(p)}: lowest {floor:.3f} at q = p" for p, floor in lowest.items())
    base.title(ax, finding, f"{words}.")
    return ax


def _fraction(p: float) -> str:
    known = {0: "0", 1 / 3: "⅓", 0.5: "½", 2 / 3: "⅔", 1: "1"}
    return next((text for value, text in known.items() if abs(p - value) < 1e-3), f"{p:.2g}")


def shares(losses: Sequence[float], gradients: Sequence[float], at: int, *, guess: Any = None, ax: Any = None) -> Any:
    """Draw who makes a batch's loss and who makes its gradient, a bar each; the image at `at` is pointed out.

    losses: one an image, in nats. gradients: the size of each image's gradient. guess: the share of the loss, in
    percent, that the learner expected of that image.
    """
    ax = base.axes(ax, 8.2, 1.9)
    parts, words = [], []
    for row, (name, values) in enumerate((("loss", losses), ("gradient", gradients))):
        each = np.asarray(values, dtype=float)
        share = each / max(float(each.sum()), 1e-12)
        order = [at, *(i for i in np.argsort(-share, kind="stable") if i != at)]
        left = 0.0
        for i in order:
            hot = i == at
            how = {"color": REMOVABLE, "hatch": "xx", "gid": "pointed out"} if hot else {"color": OTHERS, "gid": "rest"}
            ax.barh(row, share[i], left=left, height=0.62, edgecolor="white", linewidth=0.7, **how)
            left += share[i]
        base.note(ax, base.percent(share[at], 0), (share[at], row), (5, 0), fontsize=10, color=style.INK)
        parts.append(share[at])
        words.append(f"{name} {base.percent(share[at])}")
    even = 1 / len(losses)
    ax.axvline(even, color=style.INK, linestyle=(0, (4, 3)), linewidth=1)
    base.note(ax, "an even share", (even, -0.5), (0, 2), ha="left" if even < 0.1 else "center", va="bottom")
    if guess is not None:
        ax.plot(float(guess) / 100, 0.5, "D", color=style.GUESS, markerfacecolor="none", markersize=7, gid="guess")
        base.note(ax, "your guess", (float(guess) / 100, 0.5), (8, 0), color=style.GUESS)
    ax.set(xlim=(0, 1), ylim=(1.5, -0.5), xlabel="share of the batch (%)")
    ax.set_yticks([0, 1], ["loss", "gradient"])
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f}")
    one = f"1 of {len(losses)} images makes {base.percent(parts[0], 0)} of the loss"
    base.title(ax, f"{one}, {base.percent(parts[1], 0)} of the gradient", f"{', '.join(words)}.", pad=20)
    return ax
