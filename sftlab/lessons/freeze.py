"""Lesson 04, Freeze: its figure, of statistics that drift in stages that nobody trains, and its exercises' checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.analysis import explain
from sftlab.core.model import replace_head, stage_names
from sftlab.lessons.checks import Wrong, check, expect, moved_by_training
from sftlab.networks import backbone
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


# the checks of its exercises


@check
def work_left(share: float) -> str:
    """Check the share of a forward pass that is left to do where `layer6` and what follows it learn.

    0.369 is what the exercise's cell counts with torch's FlopCounterMode, 0.79 what follows from `numel`.
    """
    mistakes = {
        0.79: "That is the share of the parameters. Late stages have many, and few pixels to use them on.",
        0.63: "That is the share that is saved; asked is what is left to do in every epoch.",
    }
    expect(share, 0.37, 0.02, mistakes)
    return "37 % of the work is left, and 79 % of the parameters learn."


@check
def survives_train(freeze: Callable[[nn.Module], Any]) -> str:
    """Check a freeze over two epochs that begin with `model.train()`, of three networks cut at different stages."""
    for first in (11, 8, 5):
        torch.manual_seed(first)
        model = replace_head(backbone("efficientnet_lite0"), 2)
        freeze(model[:first])
        moved = moved_by_training(model, torch.optim.AdamW(model.parameters(), lr=1e-3), epochs=2)
        if any(p.grad is not None for p in model[:first].parameters()):
            raise Wrong("Parameters of the frozen part still get gradients, and the optimizer moves them.")
        if moved != stage_names(model[first:]):
            raise Wrong(
                "No parameter moved, but statistics of BatchNorm did. Each epoch begins with model.train(), which "
                "reaches every stage, also one that was in eval mode."
            )
    return "After two epochs that begin with model.train(), the frozen stages of three networks store what they did."


@check
def all_changes(changed: Callable[[nn.Module, Callable[[], Any]], Iterable[str]]) -> str:
    """Check a function that names what changes in an epoch at a tiny rate, for three first stages that learn."""
    for first in (2, 3, 5):
        torch.manual_seed(first)
        model = backbone("tiny")
        optimizer = torch.optim.AdamW(model[first:].parameters(), lr=1e-6)
        names = {*changed(model, partial(moved_by_training, model, optimizer, epochs=1))}
        if not names:
            raise Wrong("It finds nothing, although much has moved: a state_dict holds tensors, not copies of them.")
        if "stem.1.running_mean" not in names:
            raise Wrong("It misses running statistics: a module stores more than its parameters.")
        if names != model.state_dict().keys() - dict(model[:first].named_parameters()):
            raise Wrong(f"It names {', '.join(sorted(names))}: more than what moved, or less.")
    return "It finds what changed, parameters and statistics, and nothing else."
