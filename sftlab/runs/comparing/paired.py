"""Differences of two models on the same images, with intervals that keep the pairs together: second minus first."""

from __future__ import annotations

import numpy as np

from sftlab.core import statistics
from sftlab.core.evaluation import ece
from sftlab.core.records import Interval


def differences(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Interval]:
    """Return each metric of `second` minus that of `first`. y: n class numbers; first, second: n × classes."""
    both = first, second
    right = [p.argmax(axis=1) == y for p in both]
    sure = [p.max(axis=1) for p in both]
    once, times = np.ones((1, len(y))), statistics.resamples(np.ones(len(y)))
    balanced = [(_balanced(y, r, once), _balanced(y, r, times)) for r in right]
    error = [(ece(s, r, once), ece(s, r, times)) for s, r in zip(sure, right, strict=True)]
    found = {
        "accuracy": statistics.difference(right[1], right[0]),
        "balanced_accuracy": _resampled(*balanced),
        "ece": _resampled(*error),
    }
    return found if len(np.unique(y)) < first.shape[1] else found | {"roc_auc": auc_difference(y, first, second)}


def auc_difference(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> Interval:
    """Return the difference of two areas under the ROC curve on the same images, after DeLong et al. (1988).

    More than two classes: the mean over classes, each against the rest.
    """
    ks = [1] if first.shape[1] == 2 else range(first.shape[1])
    areas, added = [], np.zeros(len(y))
    for k in ks:
        positive = y == k
        change = _placements(second[:, k], positive) - _placements(first[:, k], positive)
        areas.append(change[positive].mean())
        for side in (positive, ~positive):  # what each image adds to the error, beyond the mean of its side
            n = int(side.sum())
            added[side] += (change[side] - change[side].mean()) / np.sqrt(n * max(1, n - 1))
    value, error = float(np.mean(areas)), float(np.sqrt(((added / len(areas)) ** 2).sum()))
    return Interval(value, value - 1.96 * error, value + 1.96 * error, "DeLong")


def _placements(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return, image by image, the share of the other side that it is ranked rightly against; ties count half."""
    ours, theirs = score[positive][:, None], score[~positive][None]
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    out = np.empty(len(score))
    out[positive], out[~positive] = wins.mean(axis=1), wins.mean(axis=0)
    return out


def _balanced(y: np.ndarray, right: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the mean recall of the classes in each resample."""
    classes = [y == k for k in np.unique(y)]
    return np.mean([(times[:, k] @ right[k]) / np.maximum(times[:, k].sum(axis=1), 1) for k in classes], axis=0)


def _resampled(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> Interval:
    """Return the difference of (value, resamples) and the ends between which 95 % of the resampled ones lie."""
    return statistics.bootstrap(second[0] - first[0], second[1] - first[1], "paired bootstrap")
