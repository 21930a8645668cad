"""Figures that two lessons or a user share: each is a function `(data, *, ax=None) → ax` that draws a record.

Titles state the finding, computed from the data; axes carry units; lines are labelled at their end; a dashed
line stands at the majority rate wherever accuracy is shown. Each Axes carries a text alternative.
"""

from sftlab.plot.curves import curves, lr_sweep
from sftlab.plot.differences import differences, label_gap
from sftlab.plot.images import images, mistakes
from sftlab.plot.results import confusion, guess_vs_result, old_and_new
from sftlab.plot.style import show

__all__ = [
    "confusion",
    "curves",
    "differences",
    "guess_vs_result",
    "images",
    "label_gap",
    "lr_sweep",
    "mistakes",
    "old_and_new",
    "show",
]
