"""From probabilities to decisions: is there skill, are they honest, what do errors cost.

Plain functions of arrays, called by the lessons on decisions and shift and by `sftlab compare`: p is n × classes, y
holds n class numbers, and in a question of two classes class 1 is the one that must not be missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sftlab.core.records import Interval, Result
from sftlab.core.statistics import mean_interval

SMALLEST = 1e-12  # below this a probability is rounding
BINS, DRAWS = 15, 500


def difference(right_a: Any, right_b: Any, groups: Any = ()) -> Interval:
    """Return accuracy of a minus accuracy of b, with an interval that keeps the pairs together.

    right_a, right_b: n booleans, on the same images. groups: of these images, where they are known.
    """
    a, b = paired(right_a, right_b)
    return mean_interval(a.astype(float) - b, groups, (-1, 1))


def paired(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays; raise ValueError unless there is one value of each for every image."""
    a, b = np.asarray(a), np.asarray(b)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values: give one of each for every image")
    return a, b


def skill(result: Result) -> str:
    """Return a sentence: does this result show that the network knows anything?

    Judged by the area under the ROC curve of two classes against 0.5, by the balanced accuracy of more against 1 over
    their number: a rare class counts as much as a common one. Accuracy above the majority rate shows skill as well.
    """
    name, chance, words = "balanced_accuracy", 1 / len(result.classes), "balanced accuracy"
    if len(result.classes) == 2:
        name, chance, words = "roc_auc", 0.5, "area under the ROC curve"
    clear = result.accuracy.low > result.majority
    found = f"accuracy {result.accuracy:.3f}, the majority rate is {result.majority:.3f}"
    if metric := result.metrics.get(name):
        clear = clear or metric.low > chance
        found = f"{words} {metric:.3f}, chance is {chance:.3g}; {found}"
    return f"Skill is {'shown' if clear else 'not shown, which is not to say that there is none'}: {found}."


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error, beside what a perfectly calibrated network shows on as many images.

    ece: over equal bins of confidence (Naeini et al., 2015; Guo et al., 2017). expected, most: mean and 95th percentile
    of the same number where each answer is right with exactly the probability that it was given: it is never 0, because
    a gap cannot be negative, and it has no bootstrap interval, because redrawing adds the same bias once more.
    """

    ece: float
    expected: float
    most: float

    def __str__(self) -> str:
        return f"ECE {self.ece:.3f} (calibrated: {self.expected:.3f}, up to {self.most:.3f})"


def calibration(p: Any, y: Any) -> Calibration:
    """Return the calibration error of probabilities p (n × classes) for the class numbers y (n, −100: none)."""
    p, y = (np.asarray(values)[np.asarray(y) >= 0] for values in (p, y))
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)

    def error(right: np.ndarray) -> float:
        return float(np.abs(np.bincount(which, confidence - right)).sum() / len(right))

    rng = np.random.default_rng(0)
    drawn = [error(rng.random(len(right)) < confidence) for _ in range(DRAWS)]
    return Calibration(error(right), float(np.mean(drawn)), float(np.percentile(drawn, 95)))


def fit_temperature(p: Any, y: Any) -> float:
    """Return the T at which softmax(z / T) has the lowest cross-entropy with the labels y, for p = softmax(z).

    p: n × classes; logits are known from it up to a constant, which softmax ignores. T is between 0.05 and 20: above 1
    it makes the probabilities less sure. The order of the classes, and with it accuracy, stays (Guo et al., 2017).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    z, y = paired(np.log(np.maximum(np.asarray(p, dtype=float), SMALLEST)), y)

    def loss(log_t: float) -> float:
        return -log_softmax(z / np.exp(log_t), axis=1)[np.arange(len(y)), y].mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded").x))


def threshold(missed: float, false_alarm: float) -> float:
    """Return the probability above which calling class 1 is the cheaper answer (Elkan, 2001).

    An answer of 1 costs (1 − p) · false_alarm on average, an answer of 0 costs p · missed; they are equal at
    p = false_alarm / (false_alarm + missed). It holds for calibrated probabilities.

    >>> threshold(missed=100, false_alarm=25)
    0.2
    """
    if missed <= 0 or false_alarm <= 0:
        raise ValueError(f"missed={missed}, false_alarm={false_alarm}: two costs above 0")
    return false_alarm / (false_alarm + missed)


def costs(p1: Any, y: Any, at: Any, *, missed: float = 1, false_alarm: float = 1) -> np.ndarray:
    """Return what each image costs when class 1 is called from probability `at` upwards.

    p1: n probabilities of class 1. y: n labels, 0 or 1. at: one threshold, or t × 1 of them: the costs are t × n.
    """
    p1, y = paired(p1, y)
    return np.where(y == 1, missed * (p1 < at), false_alarm * (p1 >= at))


def cost_threshold(p1: Any, y: Any, *, missed: float = 1, false_alarm: float = 1) -> float:
    """Return the threshold at which calling class 1 costs least on these labelled images: fewest errors, by default.

    p1: n probabilities of class 1. y: n labels, 0 or 1. A threshold lies halfway between two neighbouring
    probabilities, or beyond the last; of several that are equally good, the middle one is taken.
    """
    p1, y = paired(p1, y)
    if not len(p1):
        raise ValueError("no labelled images, so no threshold can be chosen")
    ends = np.unique([0.0, *p1, 1.0])
    at = np.concatenate([[0.0], (ends[1:] + ends[:-1]) / 2, [np.nextafter(1.0, 2.0)]])
    total = costs(p1, y, at[:, None], missed=missed, false_alarm=false_alarm).sum(axis=1)
    best = np.flatnonzero(total == total.min())
    return float(at[best[len(best) // 2]])


def mcnemar(right_a: Any, right_b: Any) -> float:
    """Return the exact two-sided p-value of two models judged on the same images (McNemar, 1947).

    right_a, right_b: n booleans. Only images on which one is right and the other wrong say anything; if the models are
    equally good, each of those is a toss of a coin. It holds for independent images; for groups see `difference`.
    """
    from scipy.stats import binomtest

    a, b = paired(right_a, right_b)
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
