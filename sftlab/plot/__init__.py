"""Every figure of the lab: a function `(data, *, ax=None) → ax` that draws a record.

Titles state the finding, computed from the data; axes carry units; lines are labelled at their end; a dashed
line stands at the majority rate wherever accuracy is shown. Each Axes carries a text alternative.
"""

from sftlab.plot.curves import accuracy, curves, loss, lr_finder
from sftlab.plot.images import images, mistakes
from sftlab.plot.networks import changed, profile, stages
from sftlab.plot.results import confusion, guessed, probabilities, reliability, scores
from sftlab.style import show

__all__ = [
    "accuracy", "changed", "confusion", "curves", "guessed", "images", "loss", "lr_finder", "mistakes",
    "probabilities", "profile", "reliability", "scores", "show", "stages",
]  # fmt: skip
