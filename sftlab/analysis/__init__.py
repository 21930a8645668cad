"""Why does it answer so? Features, explanations, costs and labels of a network."""

from sftlab.analysis.cost import feature_cost, macs
from sftlab.analysis.explain import answers, drift, moved, photo_crops, task_gradients
from sftlab.analysis.features import logme, probed, tapped

__all__ = [
    "answers",
    "drift",
    "feature_cost",
    "logme",
    "macs",
    "moved",
    "photo_crops",
    "probed",
    "tapped",
    "task_gradients",
]
