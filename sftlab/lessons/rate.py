"""The figure of lesson 05, Rate: ways of optimizers down a valley."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sftlab.plot import base, style

STEEP = 25  # times as steep across as along
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
