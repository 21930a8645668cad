"""The figure of lesson 09, Decide: images in piles, by what they are and what they are called, with their costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.analysis.decisions import costs
from sftlab.plot import base, style

PILES = (
    (0, 0, "called {0}, is {0}"),
    (0, 1, "called {1}, is {0}: false alarms"),
    (1, 0, "called {0}, is {1}: missed"),
    (1, 1, "called {1}, is {1}"),
)


def piles(
    p: np.ndarray,
    y: np.ndarray,
    thumbs: np.ndarray,
    shown: Sequence[int] | np.ndarray,
    at: float,
    *,
    missed: float,
    false_alarm: float,
    classes: Sequence[str],
    ax: Any = None,
) -> Any:
    """Draw images in four piles, by what they are and what they are called, and what the errors cost in €.

    p: n probabilities of class 1, y: n labels, of which those at `shown` are drawn; thumbs: their small grey pictures,
    len(shown) × h × w. Within a pile the least probable comes first. The money is for all n, per 1,000 images.
    """
    ax = base.axes(ax, 8.0, 5.2)
    order = np.argsort(p[shown], kind="stable")  # places in `shown`
    most = max(np.bincount(y[shown], minlength=2))
    columns = math.ceil(math.sqrt(2.3 * most))
    edge = thumbs.shape[-1] + 2
    boxes, prices = base.panels(ax, 2, 2, (0.13, 0.05)), (0, false_alarm, missed, 0)
    for box, (true_class, called, text), price in zip(boxes, PILES, prices, strict=True):
        pile = (y == true_class) & ((p >= at) == bool(called))
        sheet = np.full((math.ceil(most / columns) * edge, columns * edge), 255, dtype=np.uint8)
        for k, place in enumerate([k for k in order if pile[shown[k]]]):
            top, left = k // columns * edge + 1, k % columns * edge + 1
            sheet[top : top + edge - 2, left : left + edge - 2] = thumbs[place]
        box.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="antialiased", aspect="auto")
        words = f"{'✗' if price else '✓'} {text.format(*classes)}: {pile.sum()}" + (f" × {price:g} €" if price else "")
        colour = style.verdict(words)
        box.set_title(words, fontsize=9.5, color=colour, loc="left", pad=4)
        box.set(xticks=[], yticks=[])
        box.spines[:].set(visible=True, color=colour, linewidth=1.2)
    total = costs(p, y, at, missed=missed, false_alarm=false_alarm).mean() * 1000
    always = f"calling every cell ‘{classes[1]}’: {false_alarm * (y == 0).mean() * 1000:,.0f} €"
    base.note(ax, always, (0, 0), (0, -9), xycoords="axes fraction")
    finding = f"From p ≥ {at:.2f} on ‘{classes[1]}’: {total:,.0f} € per 1,000 cells"
    base.title(ax, finding, f"Compare {always}.", pad=24)
    return ax
