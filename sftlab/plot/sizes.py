"""Estimates beside measurements, and what the size of the images does to a crack, an accuracy and a speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.plot import base, style
from sftlab.plot.selection import LOOKS, Start


def estimates(starts: Sequence[Start], correlation: Interval, *, ax: Any = None) -> Any:
    """Draw measured accuracy against LogME, a point a starting point; ○ ImageNet, □ random; all from records.

    correlation: of the two rankings, with its interval.
    """
    ax = base.axes(ax, 6.8, 4.0)
    for weights, (colour, mark, _) in LOOKS.items():
        at = [(s["logme"], s["accuracy"].value) for s in starts if s["weights"] == weights]
        if at:
            x, y = zip(*at, strict=True)
            ax.plot(x, y, mark, linestyle="none", color=colour, markerfacecolor="none", markersize=5, alpha=0.8)
            base.note(ax, f"{mark.replace('o', '○').replace('s', '□')} {weights} ({len(at)})", (np.median(x), max(y)),
                      (0, 11), color=style.ink_safe(colour), ha="center", fontsize=9)  # fmt: skip
    ax.set(xlabel="LogME (nats an image): no probe was trained", ylabel="measured accuracy (%)")
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    ax.margins(y=0.12)
    ax.grid()
    low, high = f"{correlation.low:.2f}", f"{correlation.high:.2f}"
    finding = f"Rank correlation {correlation.value:.2f} ({low} to {high}) over {len(starts)} starting points"
    base.title(ax, finding, "A point a starting point: LogME to the right, the measured accuracy of its probe upwards.")
    return ax


def image_size(
    picture: np.ndarray, size: int, scores: Mapping[int, Interval], speeds: Mapping[int, float], *, majority: float,
    yardstick: float, called: str = "", weights: str = "ImageNet", zoom: tuple[int, int, int] | None = None,
    licence: str = "", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw one image as a network meets it at `size` pixels, beside accuracy and images a second at every size.

    picture: H×W, already `size` pixels wide. scores, speeds: {size: …}. yardstick: what a probe without a
    network scores. called: what the probe said of this image; ✓ or ✗ first. zoom: (top, left, edge) of the part that
    is shown, in three-hundredths of the image.
    """
    ax = base.axes(ax, 9.0, 3.5)
    ax.set_axis_off()
    left, middle, right = (ax.inset_axes(box) for box in ((0, 0, 0.29, 1), (0.37, 0, 0.29, 1), (0.8, 0, 0.2, 1)))
    top, start, edge = (round(v * size / 300) for v in zoom or (0, 0, 300))
    part = picture[top : top + edge, start : start + edge]
    dark, light = np.percentile(part, [1, 99])
    left.imshow(part, cmap="gray", vmin=dark, vmax=light, interpolation="nearest", aspect="equal")
    left.set_xticks([])
    left.set_yticks([])
    left.set_title(f"{size}×{size} pixels" + (", a part of it" if zoom else ""), fontsize=9.5, fontweight="normal")
    below = {"xycoords": "axes fraction", "va": "top"}
    if called:
        colour = style.ink_safe(style.RIGHT if called.startswith("✓") else style.WRONG)
        base.note(left, called, (0, 0), (0, -6), color=colour, fontsize=10, **below)
    if licence:
        short = base.clip(licence.split(" (")[0], 46)  # what it allows stands in the data card
        base.note(left, short, (0, 0), (0, -24 if called else -6), fontsize=6.5, **below)
    colour, mark, line = LOOKS[weights]
    sizes = sorted(scores)
    low, high, value = ([getattr(scores[s], name) for s in sizes] for name in ("low", "high", "value"))
    middle.fill_between(sizes, low, high, color=colour, alpha=0.18, linewidth=0)
    middle.plot(sizes, value, mark, linestyle=line, color=colour, markerfacecolor="white", linewidth=1.4)
    middle.plot(size, scores[size].value, mark, color=colour, markersize=10)
    base.majority_line(middle, majority)
    base.note(middle, "majority rate", (sizes[-1], majority), (0, 6), ha="right")
    middle.axhline(yardstick, color=style.GUESS, linestyle=":", linewidth=1.5)
    base.note(middle, "two numbers", (sizes[-1], yardstick), (0, -7), color=style.GUESS, ha="right")
    middle.set(ylim=(0.67, 0.85), ylabel="accuracy (%)", xlabel="image size (pixels)")
    middle.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    middle.set_title(f"{100 * scores[size].value:.1f} % with {weights} weights", fontsize=9.5, fontweight="normal")
    right.plot(sorted(speeds), [speeds[s] for s in sorted(speeds)], "-", color=style.QUIET, linewidth=1.4)
    right.plot(size, speeds[size], "o", color=style.INK, markersize=9)
    right.set(yscale="log", ylabel="images a second (log)", xlabel="image size (pixels)")
    right.set_yticks([t for t in (10, 20, 50, 100, 200, 500, 1000, 2000) if _within(t, speeds.values())])
    right.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    right.yaxis.set_minor_formatter(lambda v, _: "")
    right.set_title(f"{speeds[size]:.0f} images/s", fontsize=9.5, fontweight="normal")
    for panel in (middle, right):
        panel.grid(axis="y")
        panel.set_xticks([64, 160, 224, 300])
    s = scores[size]
    band = f"{100 * s.low:.1f}–{100 * s.high:.1f}"
    finding = f"{size} pixels: {100 * s.value:.1f} % ({band}), {speeds[size]:.0f} images/s"
    told = ", ".join(f"{n} px {100 * scores[n].value:.1f} %" for n in sizes)
    base.title(ax, finding, f"{weights} weights. {told}. Majority rate {base.percent(majority)}.", pad=26)
    return ax


def _within(value: float, speeds: Iterable[float]) -> bool:
    """Tell whether a tick lies among the speeds, or close by."""
    known = list(speeds)
    return min(known) / 1.5 <= value <= 1.5 * max(known)
