"""Every figure of the lab: a function `(data, *, ax=None) → ax` that draws a record.

Titles state the finding, computed from the data; axes carry units; lines are labelled at their end; a dashed
line stands at the majority rate wherever accuracy is shown. Each Axes carries a text alternative.
"""

from sftlab.plot.crossentropy import cross_entropy, floors, shares
from sftlab.plot.curves import accuracy, curves, loss, lr_finder
from sftlab.plot.decisions import bills, by_certainty, disagreements, heatmaps, piles, refusals
from sftlab.plot.depth import depth, filters, maps, parameters
from sftlab.plot.differences import band_curves, differences, label_gap
from sftlab.plot.drift import costs, drift, fading
from sftlab.plot.grids import grid
from sftlab.plot.images import confused, images, mistakes, views
from sftlab.plot.labels import label_curves, label_differences, label_worth
from sftlab.plot.layers import moved, trade_off
from sftlab.plot.networks import changed, profile, stages
from sftlab.plot.rates import runs
from sftlab.plot.recipes import losses, repaired
from sftlab.plot.remedies import gaps, remedies
from sftlab.plot.results import confusion, probabilities, reliability
from sftlab.plot.scores import guess_vs_result, scores
from sftlab.plot.selection import candidates, projections, ranked, seen, taps
from sftlab.plot.shift import against, falls, threshold, weight_line
from sftlab.plot.sizes import estimates, image_size
from sftlab.plot.steps import hills, one_step, schedules, time_to, valley
from sftlab.plot.style import show
from sftlab.plot.sweeps import lr_sweep
from sftlab.plot.tasks import agreement, compass, second_task
from sftlab.plot.texts import attention, left_out, tuning, without
from sftlab.plot.tunnel import paths
from sftlab.plot.uncertainty import batch_means, climb, coverage, hits, pairs, sampling, spreads

__all__ = [
    "accuracy", "against", "agreement", "attention", "band_curves", "batch_means", "bills",
    "by_certainty", "candidates", "changed", "climb", "compass", "confused", "confusion", "costs", "coverage",
    "cross_entropy", "curves", "depth", "differences", "disagreements", "drift", "estimates", "fading", "falls",
    "filters", "floors", "gaps", "grid", "guess_vs_result", "heatmaps", "hills", "hits", "image_size", "images",
    "label_curves", "label_differences", "label_gap", "label_worth", "left_out", "loss", "losses", "lr_finder",
    "lr_sweep", "maps", "mistakes", "moved", "one_step", "pairs", "parameters", "paths", "piles", "probabilities",
    "profile", "projections", "ranked", "refusals", "reliability", "remedies", "repaired", "runs", "sampling",
    "schedules", "scores", "second_task", "seen", "shares", "show", "spreads", "stages", "taps", "threshold",
    "time_to", "trade_off", "tuning", "valley", "views", "weight_line", "without",
]  # fmt: skip
