"""Lesson 09, Decide: its figure, of images in piles with their costs, and the checks of its exercises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from sftlab.analysis.decisions import costs
from sftlab.lessons.checks import Wrong, check, expect
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


# the checks of its exercises


@check
def saving_left(euros: float) -> str:
    """Check what the network still saves an image where a miss costs 2,000 €."""
    mistakes = {
        4.41: "That is the saving at 100 € a miss; the cost in the cell has to change.",
        17.1: "That is the bill itself. Asked is what it is below the bill of the better single answer.",
        -0.87: "The sign is the other way round: subtract the bill with the network from that without.",
    }
    expect(euros, 0.87, 0.15, mistakes)
    return f"{euros:.2f} € are saved at 2,000 € a miss, 4.41 € at 100 €: little, next to calling every image an 8."


@check
def cheapest_of_three(decide: Any) -> str:
    """Check decisions with a third answer, to ask a person, by what they cost on average, at three costs of a miss."""
    p = np.linspace(0, 1, 500)
    for missed, ask in product((50, 100, 400), (5, 40)):
        prices = np.array([p * missed, (1 - p) * 20, np.full(500, ask)])
        said = np.array(decide(p, missed, 20, ask))
        dear = prices[said, range(500)] - prices.min(0)
        at = dear.argmax()
        if dear[at] > 0.01:
            does = ("it says 0", "it says 1", "a person is asked")[said[at]] if 2 in said else "nobody is asked, also"
            where = f"at p = {p[at]:.2f}, {missed} € a miss and 20 € an alarm, where another answer costs less."
            raise Wrong(f"For {ask} € {does} {where}")
    return "Each of 500 probabilities gets the answer that costs least, at three costs of a miss and two of asking."


@check
def paid_once(threshold: Any) -> str:
    """Check a threshold for probabilities of a network that was trained with a weight on one class, in three cases."""
    for missed, alarm, weight in ((100, 20, 5), (100, 20, 2), (30, 60, 8)):
        mistakes = {
            alarm / (alarm + missed): "The costs are paid twice: in training, and once more in the threshold.",
            0.5: f"One half is not right for each weight, here {weight}, at {missed} € a miss and {alarm} € an alarm.",
            alarm / (alarm + missed * weight): "It is moved the wrong way: the weight made the probabilities larger.",
        }
        expect(threshold(missed, alarm, weight), weight * alarm / (weight * alarm + missed), 0.004, mistakes)
    return "Three weights, three costs: a picture is called an 8 exactly where that costs less."
