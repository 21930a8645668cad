"""The classic recipes in pictures: the loss of every step in two implementations, and one recipe in two versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

LOOKS = ((style.LINE, "-", 5.0, 0.55), (style.VALID, "-", 1.4, 1.0), (style.WRONG, "--", 1.4, 1.0))
SAME = 1e-3  # nats; two losses that are closer than this at every step are drawn on one line


def losses(runs: Mapping[str, Sequence[float]], *, floor: tuple[str, float] | None = None, ax: Any = None) -> Any:
    """Draw the training loss of every step, a line a run; the first run is a broad band, so that a second shows on it.

    runs: {name: loss of each step}. floor: (name of a run, the lowest loss that it can reach), drawn dotted.
    """
    if not runs or len(runs) > len(LOOKS):
        raise ValueError(f"{len(runs)} runs: give one to {len(LOOKS)}")
    ax = base.axes(ax, 7.8, 3.2)
    ends, words = [], []
    for (name, values), (colour, line, width, alpha) in zip(runs.items(), LOOKS, strict=False):
        steps = np.arange(1, len(values) + 1)
        ax.plot(steps, values, line, color=colour, linewidth=width, alpha=alpha, gid=name, solid_capstyle="butt")
        ends.append((len(values), values[-1], name, style.ink_safe(colour)))
        words.append(f"{name}: {values[0]:.3f} at the first step, {values[-1]:.3f} at the last.")
    ax.set(xlabel="step", ylabel="training loss (nats per image)")
    if floor is not None:
        which, lowest = floor
        ax.axhline(lowest, color=style.WRONG, linestyle=":", linewidth=1.4, gid="floor")
        last = max(len(values) for values in runs.values())
        ends.append((last, lowest, f"lowest possible: {lowest:.3f}", style.ink_safe(style.WRONG)))
        words.append(f"{which} cannot get below {lowest:.3f}.")
        ax.set_ylim(0, None)
    base.label_ends(ax, ends)
    base.title(ax, _finding(runs, floor), " ".join(words))
    return ax


def _finding(runs: Mapping[str, Sequence[float]], floor: tuple[str, float] | None) -> str:
    names = list(runs)
    if floor is not None:
        which, lowest = floor
        return f"{which}: the loss ends at {runs[which][-1]:.2f} and cannot get below {lowest:.2f}"
    if len(names) == 2 and len(runs[names[0]]) == len(runs[names[1]]):
        apart = float(np.abs(np.subtract(runs[names[0]], runs[names[1]])).max())
        if apart < SAME:
            how = f"at most {apart:.0e} apart" if apart else "not a bit apart"
            return f"The same loss at each of {len(runs[names[0]])} steps: {how}"
        return f"The losses are up to {apart:.2f} apart"
    return base.listed([f"{name}: {values[0]:.2f} → {values[-1]:.2f}" for name, values in runs.items()])


def repaired(
    stored: Sequence[tuple[float, float]], names: tuple[str, str], *, now: tuple[float, float] | None = None,
    majority: float | None = None, label: str = "test accuracy", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw what a recipe reaches before and after a repair, a line a run.

    stored: (before, after) of runs from a record, shares of 1, drawn hollow. now: the run computed just now, drawn
    solid. With two stored runs or more, the title says the mean difference and its interval over them.
    """
    runs = [(pair, False) for pair in stored] + ([(now, True)] if now is not None else [])
    if not runs:
        raise ValueError("no run to draw")
    ax = base.axes(ax, 6.4, 3.4)
    for pair, solid in runs:
        up = pair[1] > pair[0]
        colour = style.RIGHT if up else style.WRONG
        how: dict[str, Any] = {"gid": "computed", "zorder": 4}
        if not solid:
            how = {"gid": "stored", "markerfacecolor": "white"}
        ax.plot((0, 1), pair, "-" if up else "--", color=colour, linewidth=2.4 if solid else 1.2, alpha=0.8)
        ax.plot((0, 1), pair, "o", color=style.INK if solid else colour, markersize=7 if solid else 5, **how)
    if now is not None:
        for x, share, side in zip((0, 1), now, (-1, 1), strict=True):
            text = {"ha": "right" if side < 0 else "left", "fontsize": 9.5, "color": style.INK}
            base.note(ax, f"now {100 * share:.1f}", (x, share), (side * 9, 0), **text)
    if majority is not None:
        base.majority_line(ax, majority)
        base.note(ax, "majority rate", (-0.44, majority), (0, -8), ha="left")  # where no run is
    ax.set(xlim=(-0.45, 1.45), ylabel=f"{label} (%)")
    ax.set_xticks((0, 1), names)
    ax.tick_params(axis="x", length=0, labelcolor=style.INK)
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
    rise = sum(pair[1] > pair[0] for pair, _ in runs)
    words = f"{len(stored)} stored runs{' and one computed now' if now is not None else ''}; {rise} of them rise."
    base.title(ax, _difference(stored, names, now), words)
    return ax


def _difference(stored: Sequence[tuple[float, float]], names: tuple[str, str], now: Any) -> str:
    if len(stored) < 2:
        pair = now if now is not None else stored[0]
        return f"{names[1]}: {100 * (pair[1] - pair[0]):+.1f} points against {names[0]}, in this run"
    gain = t_interval([100 * (after - before) for before, after in stored])
    span = f"{gain.low:+.1f} to {gain.high:+.1f}"
    return f"{names[1]}: {gain.value:+.1f} points against {names[0]} ({span}), over {len(stored)} splits"
