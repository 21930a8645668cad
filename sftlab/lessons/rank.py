"""Figure of the further lesson rank: what the image size does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.plot import base, style


def image_size(
    picture: np.ndarray,
    size: int,
    scores: Mapping[int, Interval],
    work: Mapping[int, float],
    *,
    majority: float,
    title: str,
    licence: str,
    ax: Any = None,
) -> Any:
    """Draw (part of) an image as a network meets it at `size` pixels, beside accuracy and work by size.

    picture: h×w, grey. scores: {size: …}. work: {size: billions of MACs an image}. title: what to write above it.
    """
    ax = base.axes(ax, 9.0, 3.4)
    ax.set_axis_off()
    left, middle, right = (ax.inset_axes(box) for box in ((0, 0, 0.29, 1), (0.37, 0, 0.29, 1), (0.8, 0, 0.2, 1)))
    dark, light = np.percentile(picture, [1, 99])
    left.imshow(picture, cmap="gray", vmin=dark, vmax=light, interpolation="nearest")
    left.set(xticks=[], yticks=[])
    base.corner(left, title, color=style.verdict(title))
    base.licence_line(left, base.clip(licence, 46))
    sizes = sorted(scores)
    value, (low, high) = [scores[s].value for s in sizes], np.transpose([base.ends(scores[s]) for s in sizes])
    middle.fill_between(sizes, low, high, color=style.VALID, alpha=0.18, linewidth=0)
    middle.plot(sizes, value, "o-", color=style.VALID, markerfacecolor="white", linewidth=1.4)
    base.dot(middle, scores[size], size, style.VALID, upright=True)
    base.majority_line(middle, majority)
    base.note(middle, "majority rate", (sizes[-1], majority), (0, 6), ha="right")
    base.percent_axis(middle.yaxis)
    middle.set(ylim=(min(low.min(), majority) - 0.02, high.max() + 0.02), ylabel="accuracy (%)")
    right.plot(sorted(work), [work[s] for s in sorted(work)], "-", color=style.QUIET, linewidth=1.4)
    right.plot(size, work[size], "o", color=style.INK, markersize=9)
    right.set(ylim=(0, None), ylabel="work (billion MACs an image)")
    for panel in (middle, right):
        panel.set(xlabel="image size (pixels)", xticks=[64, 160, 224, 300])
        panel.grid(axis="y")
    finding = f"{size} pixels: {base.interval(scores[size])}, {work[size]:.2f} G MACs"
    words = ", ".join(f"{s} px {base.percent(scores[s].value)}" for s in sizes)
    base.title(ax, finding, f"{title}. {words}. Majority rate {base.percent(majority)}.", pad=26)
    return ax
