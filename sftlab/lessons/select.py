"""Figures of lesson 01, Select: networks on the shelf, what an untouched network says, what the image size does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.plot import base, style

if TYPE_CHECKING:
    from sftlab.analysis.cost import Gallery


def candidates(shelf: Gallery, *, ax: Any = None) -> Any:
    """Draw measured images a second, a row a network, fastest first, each with its published top-1 accuracy.

    ● weights on this machine, □ to be downloaded.
    """
    rows = sorted((row for row in shelf.rows if row.top1 is not None), key=lambda row: -row.images_per_second)
    ax = base.axes(ax, 8.0, 0.9 + 0.27 * len(rows))
    base.rows(ax, [row.name for row in rows])
    for i, row in enumerate(rows):
        look = {"marker": "o"} if row.here else {"marker": "s", "markerfacecolor": "white"}
        ax.plot(row.images_per_second, i, color=style.VALID, markersize=7, **look)
        base.note(ax, f"{row.top1:.1f} %", (row.images_per_second, i), (8, 0), color=style.INK)
    ax.set(xscale="log", xlabel=f"images a second on this machine, {shelf.size} pixels (log scale); beside it: top-1")
    ax.grid(axis="x")
    fast, slow = rows[0].images_per_second, rows[-1].images_per_second
    ready = sum(row.here for row in rows)
    finding = f"{ready} of {len(rows)} networks are on this machine (●); speeds differ {fast / slow:.0f}-fold"
    words = "; ".join(f"{row.name} {row.images_per_second:.0f} images/s, {row.top1} %" for row in rows)
    base.title(ax, finding, f"{words}.")
    return ax


def top_names(
    pictures: Sequence[Any],
    titles: Sequence[str],
    names: Sequence[str],
    p: Sequence[Sequence[float]],
    *,
    licence: str = "",
    ax: Any = None,
) -> Any:
    """Draw pictures (H×W×3) in a row and below each the four most probable names, with their probabilities.

    p: a row of probabilities a picture.
    """
    values, k = np.asarray(p, dtype=float), len(pictures)
    ax = base.axes(ax, max(6.6, 2.75 * k), 4.3)
    ax.set_axis_off()
    words = []
    for i, (photo, title) in enumerate(zip(pictures, titles, strict=True)):
        edge = min(photo.shape[:2])
        top, left = ((side - edge) // 2 for side in photo.shape[:2])
        picture = ax.inset_axes(((i + 0.02) / k, 0.4, 0.93 / k, 0.6))
        picture.imshow(photo[top : top + edge, left : left + edge])
        picture.set_axis_off()
        picture.set_title(title, fontsize=9.5, fontweight="normal", loc="center", pad=4)
        bars = ax.inset_axes(((i + 0.02) / k, 0.04, 0.93 / k, 0.33))
        order = np.argsort(-values[i], kind="stable")[:4]
        answers = [f"{names[j]}  {base.percent(values[i, j], 0)}" for j in order]
        bars.barh(range(len(order)), values[i, order], color="#DADADA", height=0.86)
        for row, name in enumerate(answers):
            base.note(bars, name, (0, row), (4, 0), color=style.INK, fontsize=9)
        bars.set(xlim=(0, max(0.5, values.max())), ylim=(len(order) + 0.3, -0.7))
        bars.set_axis_off()
        words.append(f"{title}: {', '.join(answers)}")
    base.licence_line(ax, licence)
    first, last = (base.percent(values[i].max(), 0) for i in (0, k - 1))
    base.title(ax, f"Surest name: {first} for {titles[0]}, {last} for {titles[-1]}", f"{'. '.join(words)}.", pad=24)
    return ax


def image_size(
    picture: np.ndarray,
    size: int,
    scores: Mapping[int, Interval],
    speeds: Mapping[int, float],
    *,
    majority: float,
    title: str = "",
    licence: str = "",
    ax: Any = None,
) -> Any:
    """Draw (part of) an image as a network meets it at `size` pixels, beside accuracy and images a second by size.

    picture: h×w, grey. scores, speeds: {size: …}. title: what to write above the picture.
    """
    ax = base.axes(ax, 9.0, 3.4)
    ax.set_axis_off()
    left, middle, right = (ax.inset_axes(box) for box in ((0, 0, 0.29, 1), (0.37, 0, 0.29, 1), (0.8, 0, 0.2, 1)))
    dark, light = np.percentile(picture, [1, 99])
    left.imshow(picture, cmap="gray", vmin=dark, vmax=light, interpolation="nearest")
    left.set(xticks=[], yticks=[])
    base.corner(left, title, color=style.ink_safe({"✓": style.RIGHT, "✗": style.WRONG}.get(title[:1], style.INK)))
    base.licence_line(left, base.clip(licence, 46))
    sizes, chosen = sorted(scores), scores[size]
    value, (low, high) = [scores[s].value for s in sizes], zip(*(base.ends(scores[s]) for s in sizes), strict=True)
    middle.fill_between(sizes, low, high, color=style.VALID, alpha=0.18, linewidth=0)
    middle.plot(sizes, value, "o-", color=style.VALID, markerfacecolor="white", linewidth=1.4)
    base.dot(middle, chosen, size, style.VALID, upright=True)
    base.majority_line(middle, majority)
    base.note(middle, "majority rate", (sizes[-1], majority), (0, 6), ha="right")
    base.percent_axis(middle.yaxis)
    middle.set(ylim=(min(*low, majority) - 0.02, max(high) + 0.02), ylabel="accuracy (%)")
    right.plot(sorted(speeds), [speeds[s] for s in sorted(speeds)], "-", color=style.QUIET, linewidth=1.4)
    right.plot(size, speeds[size], "o", color=style.INK, markersize=9)
    right.set(yscale="log", ylabel="images a second (log)")
    for panel in (middle, right):
        panel.set(xlabel="image size (pixels)", xticks=[64, 160, 224, 300])
        panel.grid(axis="y")
    finding = f"{size} pixels: {base.interval(chosen)}, {speeds[size]:.0f} images/s"
    words = ", ".join(f"{s} px {base.percent(scores[s].value)}" for s in sizes)
    base.title(ax, finding, f"{title}. {words}. Majority rate {base.percent(majority)}.", pad=26)
    return ax
