"""Figures of lesson 05, Rate: ways of optimizers down a valley, and accuracy against the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.plot import base, style

MARKERS = "os^Dv"
FRAME = (-10.5, 6.5, -3.2, 3.2)  # of the valley: left, right, bottom, top


def loss_surface(paths: Mapping[str, Any], curvatures: tuple[float, float] = (1.0, 25.0), *, ax: Any = None) -> Any:
    """Draw the ways of optimizers down ½(a x² + b y²), one panel each, with the loss at their start and end.

    paths: {name: T×2 positions}, the first one the start. curvatures: (a, b).
    """

    def height(x: Any, y: Any) -> Any:
        return 0.5 * (curvatures[0] * x**2 + curvatures[1] * y**2)

    ax = base.axes(ax, max(6.5, 3.1 * len(paths) + 0.4), 2.9)
    x, y = np.meshgrid(np.linspace(*FRAME[:2], 80), np.linspace(*FRAME[2:], 60))
    words = []
    for panel, (name, path) in zip(base.panels(ax, 1, len(paths), (0, 0.06)), paths.items(), strict=True):
        way = np.clip(np.nan_to_num(np.array(path, dtype=float), nan=99), -99, 99)  # beyond the frame it is gone
        start, end = height(*way[0]), height(*way[-1])
        panel.contour(x, y, height(x, y), levels=(0.5, 4, 12, 28, 55, 95), colors="#D5D5D5", linewidths=0.9)
        panel.plot(*way.T, "-o", color=style.VALID, linewidth=0.8, markersize=3.2)
        panel.plot(0, 0, "+", color=style.INK, markersize=9)
        panel.set(xlim=FRAME[:2], ylim=FRAME[2:], xticks=[], yticks=[])
        stays = end <= start
        words.append(f"{name}: " + (f"loss {start:.0f} → {end:.2g}" if stays else "✗ leaves the valley"))
        base.corner(panel, words[-1].replace(": ", "\n"), color=style.INK if stays else style.WRONG)
    steps = len(next(iter(paths.values()))) - 1
    steep = f"A valley {curvatures[1] / curvatures[0]:.0f} times steeper across than along"
    base.title(ax, f"{steep}: where {steps} steps lead", f"{'; '.join(words)}.", pad=40)
    return ax


def lr_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, majority: float, finding: str, ax: Any = None
) -> Any:
    """Draw accuracy against the learning rate (log scale) for several kinds of run; the best of each is the large mark.

    curves: {name: (rates, accuracies)}. finding: the title.
    """
    ax = base.axes(ax, 7.5, 3.4)
    ends, words = [], []
    for i, (name, (rates, accuracies)) in enumerate(curves.items()):
        x, y = np.array(rates), np.array(accuracies, dtype=float)
        colour, marker = (style.VALID, style.WRONG, style.RIGHT, *style.OTHERS[1:])[i % 6], MARKERS[i % 5]
        best = int(np.nanargmax(y))
        line = "-" if i % 2 == 0 else (0, (5, 2))
        ax.plot(x, y, marker=marker, linestyle=line, color=colour, markersize=4, linewidth=1.8)
        ax.plot(x[best], y[best], marker, color=colour, markersize=9, gid="best")
        ends.append((x[-1], y[-1], name, colour))
        words.append(f"{name}: best at {base.rate_text(x[best])} with {base.percent(y[best])}")
    ax.set(xscale="log", ylim=(0, 1.02), xlabel="learning rate (log scale)", ylabel="valid accuracy (%)")
    base.majority_line(ax, majority)
    ends.append((ax.get_xlim()[1], majority, "majority", style.INK))
    base.percent_axis(ax.yaxis)
    ax.grid(axis="y")
    base.label_ends(ax, ends)
    base.title(ax, finding, f"{'; '.join(words)}. Majority rate {base.percent(majority)}.")
    return ax
