"""The figure of lesson 04, Freeze: which statistics drift in stages that nobody trains, and which answers with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from sftlab.analysis import explain
from sftlab.plot import base, style

GLOW = 0.02  # a statistic that moved by one standard deviation is as hot as a rate of 0.02


def drift(record: explain.Drift, cut: str, step: int, *, train: bool, ax: Any = None) -> Any:
    """Draw which statistics of the frozen stages moved after `step` batches, and how many old answers with them.

    cut: the first stage that learns. step: one of `record.steps`. train: whether the frozen stages are in train mode;
    in eval mode nothing moves.
    """
    at, frozen = record.steps.index(step), record.stages.index(cut)
    shifts = record.statistics[at] if train else dict.fromkeys(record.stages, 0.0)
    ax = base.axes(ax, 8.2, 3.6)
    ax.set_axis_off()
    strip = ax.inset_axes((0, 0.64, 1, 0.36))
    for i, name in enumerate(record.stages):
        moved = shifts[name] if i < frozen else 0.0
        colour, lines = style.heat(GLOW * moved), (name, "same", f"by {moved:.2f} σ" if moved else "same")
        look, behind = {"gid": "learning"}, None
        if i >= frozen:
            colour, lines = "white", (name, "learn", "")
        elif not moved:  # hatched, but not behind letters
            look, behind = {"gid": "frozen", "hatch": "////"}, {"facecolor": colour, "edgecolor": "none", "pad": 1.2}
        strip.bar(i, 0.94, bottom=0.03, width=0.94, color=colour, edgecolor="#7C8CA0", linewidth=0.7, **look)
        for k, word in enumerate(lines):
            ink = {"color": style.ink_on(colour), "fontweight": "normal" if k else "bold", "bbox": behind}
            strip.text(i, 0.8 - 0.3 * k, word, fontsize=7.8, ha="center", va="center", **ink)
    for k, name in enumerate(("stage", "weights", "statistics")):
        base.note(strip, name, (-0.58, 0.8 - 0.3 * k), ha="right", fontsize=8)
    strip.set(xlim=(-0.55, len(record.stages) - 0.45), ylim=(-0.02, 1.02))
    strip.set_axis_off()
    curve = ax.inset_axes((0.07, 0.0, 0.86, 0.47))
    shares = [answers[cut] * train for answers in record.answers]
    curve.plot(record.steps, shares, color=style.WRONG, marker="o", markersize=4)
    curve.plot(step, shares[at], "o", color=style.WRONG, markersize=9)
    changed = base.percent(shares[at], 0)
    base.note(curve, changed, (step, shares[at]), (0, 11), ha="center", fontsize=10, color=style.INK)
    curve.set(xlim=(-0.3, record.steps[-1] + 0.5), ylim=(-0.04, 1.15), xlabel="training steps of somebody else's head")
    curve.set(ylabel="answers\nchanged (%)", xticks=record.steps, yticks=[0, 0.5, 1])
    base.percent_axis(curve.yaxis)
    finding = f"{frozen or 'No'} stage{'s' * (frozen != 1)} frozen: 0 parameters changed, {changed} of the answers did"
    moved_words = base.listed([f"{name} {shifts[name]:.2f}" for name in record.stages[:frozen] if shifts[name]])
    words = f"{'Train' if train else 'Eval'} mode, after {step} steps; statistics moved, in standard deviations: "
    base.title(ax, finding, f"{words}{moved_words or 'none'}.")
    return ax


class Drifting:
    """What train mode does to a network for every cut at once, measured when it is made; `draw` shows one of them.

    batches: of (images, targets). images: on which the network is asked before and after.
    """

    def __init__(self, model: nn.Sequential, batches: Iterable[tuple[Any, Any]], images: Tensor) -> None:
        self.record = explain.drift(model, batches, images)
        self.stages, self.steps = self.record.stages, self.record.steps

    def draw(self, cut: str, step: int, mode: str = "train") -> Any:
        """Draw the stages and the answers if `cut` is the first stage that learns; mode: train or eval."""
        return drift(self.record, cut, step, train=mode == "train")
