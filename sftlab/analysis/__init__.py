"""Why does it answer so? Features, explanations, costs and labels of a network."""

from sftlab.analysis.cost import feature_cost
from sftlab.analysis.explain import answers, drift, photo_crops
from sftlab.analysis.features import logme, tapped

__all__ = [
    "answers",
    "drift",
    "feature_cost",
    "logme",
    "photo_crops",
    "tapped",
]
