"""The figure of the recipes: the loss of every step, in the textbook's loop and in the lab's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.plot import base, style

LOOKS = ((style.LINE, "-", 5.0, 0.55), (style.VALID, "--", 1.4, 1.0))
SAME = 1e-3  # nats; two losses that are closer than this at every step are drawn on one line


def step_losses(runs: Mapping[str, Sequence[float]], *, floor: float | None = None, ax: Any = None) -> Any:
    """Draw the training losses of two runs; the first is a broad band, so that the second shows on it.

    runs: {name: loss of each step}, two of them. floor: the lowest loss that the second can reach, dotted.
    """
    if len(runs) != 2:
        raise ValueError(f"{len(runs)} runs: give two")
    ax, ends = base.axes(ax, 7.8, 3.2), []
    for (name, values), (colour, line, width, alpha) in zip(runs.items(), LOOKS, strict=True):
        ax.plot(np.arange(1, len(values) + 1), values, line, color=colour, linewidth=width, alpha=alpha, gid=name)
        ends.append((len(values), values[-1], name, colour))
    (_, first), (second, other) = runs.items()
    steps = min(len(first), len(other))
    apart = float(np.abs(np.subtract(first[:steps], other[:steps])).max())
    finding = f"The losses are up to {apart:.2f} apart"
    if apart < SAME:
        finding = f"The same loss at each of {steps} steps: at most {apart:.0e} apart"
    if floor is not None:
        ax.axhline(floor, color=style.WRONG, linestyle=":", linewidth=1.4, gid="floor")
        ends.append((len(other), floor, f"lowest possible: {floor:.3f}", style.WRONG))
        finding = f"{second}: the loss ends at {other[-1]:.2f} and cannot get below {floor:.2f}"
        ax.set_ylim(0, None)
    ax.set(xlabel="step", ylabel="training loss (nats per image)")
    base.label_ends(ax, ends)
    words = [
        f"{name}: {values[0]:.3f} at the first step, {values[-1]:.3f} at the last" for name, values in runs.items()
    ]
    base.title(ax, finding, f"{'; '.join(words)}.")
    return ax
