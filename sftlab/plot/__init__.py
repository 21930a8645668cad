"""Every figure of the lab: a function `(data, *, ax=None) → ax` that draws a record.

Titles state the finding, computed from the data; axes carry units; lines are labelled at their end; a dashed
line stands at the majority rate wherever accuracy is shown. Each Axes carries a text alternative.
"""

from sftlab.plot.crossentropy import cross_entropy, floors, shares
from sftlab.plot.curves import curves, lr_finder, lr_sweep
from sftlab.plot.decisions import bills, by_certainty, disagreements, heatmaps, piles, refusals
from sftlab.plot.depth import depth, filters, maps
from sftlab.plot.differences import band_curves, differences, label_gap
from sftlab.plot.drift import costs, drift, fading
from sftlab.plot.images import images, mistakes, views
from sftlab.plot.layers import trade_off
from sftlab.plot.networks import changed, moved, parameters, profile, stages
from sftlab.plot.results import (
    by_stage,
    confusion,
    guess_vs_result,
    old_and_new,
    probabilities,
    reliability,
    scores,
    spreads,
)
from sftlab.plot.selection import candidates, projections, ranked, seen, taps
from sftlab.plot.sizes import estimates, image_size
from sftlab.plot.steps import hills, one_step, schedules, time_to, valley
from sftlab.plot.style import show
from sftlab.plot.tunnel import paths
from sftlab.plot.uncertainty import batch_means, climb, coverage, hits, pairs, sampling

__all__ = [
    "band_curves", "batch_means", "bills", "by_certainty", "by_stage", "candidates", "changed", "climb",
    "confusion", "costs", "coverage", "cross_entropy", "curves", "depth", "differences", "disagreements", "drift",
    "estimates", "fading", "filters", "floors", "guess_vs_result", "heatmaps", "hills", "hits",
    "image_size", "images", "label_gap", "lr_finder", "lr_sweep", "maps", "mistakes", "moved", "old_and_new",
    "one_step", "pairs", "parameters", "paths", "piles", "probabilities", "profile", "projections", "ranked",
    "refusals", "reliability", "sampling", "schedules", "scores", "seen", "shares", "show", "spreads", "stages",
    "taps", "time_to", "trade_off", "valley", "views",
]  # fmt: skip
