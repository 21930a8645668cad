"""Figures of lesson 02, Head: how well a head reads after each stage, and what that stage hands on for one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sftlab.plot import base, by_stage

HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def reading(
    scores: Mapping[str, Any],
    *,
    majority: Any,
    widths: Mapping[str, int],
    guess: Any = None,
    at: str | None = None,
    x: Any = None,
    licence: str = "",
) -> Figure:
    """Draw the valid accuracy of a head after each stage; with `at` and `x`, that stage's maps to the left of it.

    scores: {stage: Interval}, stem first, or several such curves by name; `majority` then has a rate by name. widths:
    how many numbers an image each stage hands on. guess: the number of the stage (from 1) that was expected to be best.
    x: C×H×W, what stage `at` makes of one image; licence: of that image.
    """
    figure = Figure(figsize=(8.2, 3.6) if x is None else (9.6, 3.7), layout="constrained")
    if isinstance(majority, Mapping):
        _together(figure.subplots(), scores, majority)
        return figure
    if x is None:
        right = figure.subplots()
    else:
        left, right = figure.subplots(1, 2, width_ratios=[1, 2.1])
        maps(x, at or "", licence=licence, ax=left)
    by_stage(scores, majority=majority, widths=widths, guess=guess, at=at, ax=right)
    return figure


def _together(ax: Any, curves: Mapping[str, Any], majority: Mapping[str, float]) -> None:
    """Draw several curves over the stages, each with its intervals and, dashed in its colour, its majority rate."""
    lost = []
    for i, (name, curve) in enumerate(curves.items()):
        value, low, high = (np.array([getattr(s, part) for s in curve.values()]) for part in ("value", "low", "high"))
        places, colour = np.arange(len(curve)) + 0.12 * (i - (len(curves) - 1) / 2), HUES[i % len(HUES)]
        ax.errorbar(places, value, (value - low, high - value), fmt="o-", color=colour, label=name)
        ax.axhline(majority[name], color=colour, linestyle="--", linewidth=1)
        if high[-1] < low[value.argmax()]:  # where the intervals meet, the title is silent
            lost.append(f"{100 * (value.max() - value[-1]):.0f} ({name})")
    ax.set_xticks(range(len(curve)), list(curve))
    ax.set(ylabel="valid accuracy (%)", xlabel="the head reads after (dashed: majority rates)", ylim=(None, 1.03))
    base.percent_axis(ax.yaxis)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    finding = "No curve is clearly lower at the last stage than at its best"
    if lost:
        finding = f"Points lost between the best stage and the last: {base.listed(lost)}"
    base.title(ax, finding, f"Each point with its interval, one curve each: {base.listed(list(curves))}.")


def maps(x: Any, name: str = "", *, n: int = 12, columns: int = 4, licence: str = "", ax: Any = None) -> Any:
    """Draw the channels of one image at one stage that vary most, each in its own range of grey.

    x: C×H×W. name: of the stage. n: how many channels at most. licence: of the picture they were made from.
    """
    values = np.asarray(x, dtype=float)
    if values.ndim != 3:
        raise ValueError(f"maps of shape {'×'.join(map(str, values.shape))}; expected one image's C×H×W")
    channels, height, width = values.shape
    single = height * width == 1  # such a map varies over the channels only, so all of them share one range of grey
    spread = values[:, 0, 0] if single else values.std(axis=(1, 2))
    chosen = values[np.sort(np.argsort(-spread, kind="stable")[:n])]
    low, high = (end(chosen, axis=None if single else (1, 2), keepdims=True) for end in (np.min, np.max))
    grey = (chosen - low) / np.maximum(high - low, 1e-9)
    columns = min(columns, len(grey))
    rows = -(-len(grey) // columns)
    ax = base.axes(ax, 1.3 * columns, 1.3 * rows + 0.5)
    for k, image in enumerate(grey):
        left, top = k % columns, -(k // columns)
        ax.imshow(
            image, cmap="gray", vmin=0, vmax=1, extent=(left, left + 0.88, top - 0.88, top), interpolation="nearest"
        )
    ax.set(xlim=(0, columns), ylim=(-rows, 0))
    ax.set_axis_off()
    base.licence_line(ax, licence)
    shown = f"{len(grey)} of {channels}" if len(grey) < channels else f"{channels}"
    finding = f"{name + ': ' if name else ''}{shown} maps, {height}×{width}"
    base.title(ax, finding, f"The {len(grey)} channels that vary most over the picture, white is high.")
    return ax
