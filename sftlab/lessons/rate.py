"""Lesson 05, Rate: its figure, ways of optimizers down a valley, and its exercises' checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import fingerprint
from sftlab.lessons.checks import Wrong, apart, check, expect
from sftlab.plot import base, style

STEEP = 25  # times as steep across as along
STILL = "No tensor of the list has moved: a new tensor under an old name is not in the network."
FRAME = (-10.5, 6.5, -3.2, 3.2)  # of the valley: left, right, bottom, top


def height(x: Any, y: Any) -> Any:
    """Return the loss at a place of the valley."""
    return 0.5 * (x**2 + STEEP * y**2)


def loss_surface(paths: Mapping[str, Any], *, ax: Any = None) -> Any:
    """Draw the ways of optimizers down ½(x² + 25 y²), one panel each, with the loss at their start and end.

    paths: {name: T×2 positions}, the first one the start.
    """
    ax = base.axes(ax, max(6.5, 3.1 * len(paths) + 0.4), 2.9)
    x, y = np.meshgrid(np.linspace(*FRAME[:2], 80), np.linspace(*FRAME[2:], 60))
    words = []
    for panel, (name, path) in zip(base.panels(ax, 1, len(paths), (0, 0.06)), paths.items(), strict=True):
        way = np.clip(np.nan_to_num(np.array(path, dtype=float), nan=99), -99, 99)  # beyond the frame it is gone
        start, end = height(*way[0]), height(*way[-1])
        panel.contour(x, y, height(x, y), levels=(0.5, 4, 12, 28, 55, 95), colors="#D5D5D5", linewidths=0.9)
        panel.plot(*way.T, "-o", color=style.VALID, linewidth=0.8, markersize=3.2)
        panel.plot(0, 0, "+", color=style.INK, markersize=9)
        panel.set(xlim=FRAME[:2], ylim=FRAME[2:], xticks=[], yticks=[], xlabel="a, along", ylabel="b, across")
        stays = end <= start
        words.append(f"{name}: " + (f"loss {start:.0f} → {end:.2g}" if stays else "✗ leaves the valley"))
        base.corner(panel, words[-1].replace(": ", "\n"), color=style.INK if stays else style.WRONG)
    steps = len(next(iter(paths.values()))) - 1
    finding = f"A valley {STEEP} times steeper across than along: where {steps} steps lead"
    base.title(ax, finding, f"{'; '.join(words)}.", pad=40)
    return ax


# the checks of its exercises


@check
def rate_of_the_sum(rate: float) -> str:
    """Check the rate at which the summed loss of 200 images trains as their mean did at 0.5."""
    mistakes = {
        0.5: "At the same rate each step is now much too long; look at the loss.",
        100: "The other way round: the gradients have become larger, not smaller.",
    }
    expect(rate, 0.0025, 0.0001, mistakes)
    return "200 times the gradient at a 200th of the rate: the same steps."


@check
def steps_like_torch(step: Callable[[list[Tensor], dict[Any, Any], float], Any]) -> str:
    """Check a momentum step against PyTorch's, 20 steps of three tensors, two of them of one shape, at three rates."""
    for seed in range(1, 4):
        torch.manual_seed(seed)
        mine = [torch.ones(size, requires_grad=True) for size in (2, 3, 3)]
        theirs, memory = deepcopy(mine), dict[Any, Any]()
        optimizer = torch.optim.SGD(theirs, lr=seed / 100, momentum=0.9)
        for _ in range(20):
            for a, b in zip(mine, theirs, strict=True):
                a.grad = b.grad = torch.randn(len(a))
            optimizer.step()
            step(mine, memory, seed / 100)
        way, right = (torch.cat(tensors) - 1 for tensors in (mine, theirs))
        if way.any() and not memory:
            raise Wrong("After 20 steps the dict `memory` is still empty, so no step knows of the one before.")
        length = f"After 20 steps your tensors have gone {way.norm() / right.norm():.0%} as far as PyTorch's."
        expect(apart(way, right), 0, 1e-3, {1: STILL}, length)
    return "After 20 steps all tensors are where PyTorch's optimizer brings them."


@check
def leaves_no_trace(finder: Callable[[nn.Module, Tensor, Tensor], tuple[Any, Any]]) -> str:
    """Check that a finder finds, and that three networks that have seen images store the same before and after."""
    for _ in map(torch.manual_seed, range(3)):
        net, x = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 3)), torch.randn(64, 8)
        net(x)
        before = fingerprint(net)
        _, losses = finder(net, x, x[:, :3].argmax(dim=1))
        if (after := fingerprint(net))["1"] != before["1"]:
            raise Wrong("The weights are not what they were before it.")
        if after != before:
            raise Wrong("The weights are back, but the statistics of BatchNorm are not.")
        if not min(losses) < 0.8 * losses[0]:
            raise Wrong("The network is as it was, but the losses never fall: nothing was tried.")
    return "It finds a rate, and the network stores the same before and after it, statistics included."
