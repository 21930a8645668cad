"""Intervals and tests of accuracy, calibration, costs and distances: functions of arrays, for evaluation and figures.

p is n × classes, y holds n class numbers, and in a question of two classes class 1 is the one that must not be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval

SMALLEST = 1e-12  # below this a probability is rounding


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return a proportion with its Wilson score interval (1927); without any case, 0 in [0, 1].

    >>> f"{wilson(90, 100):.2f}"
    '0.90 (0.83–0.94)'
    """
    from scipy.stats import binomtest

    if n == 0:
        return Interval(0.0, 0.0, 1.0, "no cases", confidence)
    ends = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high), "Wilson", confidence)


def resamples(counts: Any, times: int = 1000, *, seed: int = 0) -> np.ndarray:
    """Return how often each case comes in each of `times` bootstrap samples: times × cases (Efron, 1979).

    counts: how often each case was seen; ones for n different images, the cells of a confusion matrix, ….
    """
    counts = np.asarray(counts).ravel()
    n = int(counts.sum())
    return np.random.default_rng(seed).multinomial(n, counts / n, times)


def bootstrap(value: Any, resampled: np.ndarray, method: str = "bootstrap") -> Interval:
    """Return `value` with the ends between which 95 % of the resampled values lie; nan among them is left out."""
    value = float(np.squeeze(value))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Interval(value, float(min(low, value)), float(max(high, value)), method)


def bootstrap_mean(values: Any, *, seed: int = 0) -> Interval:
    """Return the mean of n values with its percentile bootstrap interval."""
    x = np.asarray(values, dtype=float)
    if not len(x):
        raise ValueError("no values, so there is no mean")
    kinds, counts = np.unique(x, return_counts=True)  # few distinct values: draw how often each one comes
    return bootstrap(x.mean(), resamples(counts, 2000, seed=seed) @ kinds / len(x))


def difference(right_a: Any, right_b: Any) -> Interval:
    """Return accuracy of a minus accuracy of b, with a bootstrap interval that keeps the pairs together.

    right_a, right_b: n booleans, on the same images.
    """
    a, b = _pairs(right_a, right_b)
    return bootstrap_mean(a.astype(float) - b)


def mcnemar(right_a: Any, right_b: Any) -> float:
    """Return the exact two-sided p-value of two models judged on the same images (McNemar, 1947).

    right_a, right_b: n booleans. Only images on which one is right and the other wrong say anything; if the models are
    equally good, each of those is a toss of a coin.
    """
    from scipy.stats import binomtest

    a, b = _pairs(right_a, right_b)
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def t_interval(values: Any) -> Interval:
    """Return the mean over independent runs (splits, seeds) with its interval after Student (1908)."""
    from scipy.stats import t

    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        raise ValueError(f"{len(x)} run{'s' * (len(x) != 1)}: a spread needs at least two")
    mean, half = float(x.mean()), float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half, "Student t")


def temperature_scale(p: Any, temperature: float) -> np.ndarray:
    """Return softmax(z / T) for probabilities p = softmax(z): T > 1 makes them less sure, T = 1 leaves them.

    Logits are known up to a constant from their probabilities, and softmax ignores the constant. The order of the
    classes, and with it accuracy, stays (Guo et al., 2017).
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: a number above 0")
    z = _log(p) / temperature
    return _normalised(np.exp(z - z.max(axis=1, keepdims=True)))


def fit_temperature(p: Any, y: Any) -> float:
    """Return the T > 0 at which `temperature_scale(p, T)` has the lowest cross-entropy with the labels y.

    With b = 1/T the loss is convex, so a bisection of its slope, Σ (mean z under the model − z of the label), finds it.
    T between 0.05 and 20.
    """
    z, y = _log(p), np.asarray(y)
    _pairs(z, y)
    low, high = 1 / 20, 20.0
    for _ in range(60):
        b = (low + high) / 2
        slope = ((temperature_scale(p, 1 / b) * z).sum(axis=1) - z[np.arange(len(y)), y]).mean()
        low, high = (b, high) if slope < 0 else (low, b)
    return 2 / (low + high)


def reweighted(p: Any, trained: Sequence[float], expected: Sequence[float]) -> np.ndarray:
    """Return probabilities for a world with other class shares than the training images (Saerens et al., 2002).

    trained, expected: the share of each class among the training images, and where the answers will be used.
    """
    return _normalised(np.asarray(p) * np.divide(expected, trained))


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
    p1, y = _pairs(p1, y)
    return np.where(y == 1, missed * (p1 < at), false_alarm * (p1 >= at))


def cost_threshold(p1: Any, y: Any, *, missed: float = 1, false_alarm: float = 1) -> float:
    """Return the threshold at which calling class 1 costs least on these labelled images: fewest errors, by default.

    p1: n probabilities of class 1. y: n labels, 0 or 1. A threshold lies halfway between two neighbouring
    probabilities, or beyond the last; of several that are equally good, the middle one is taken.
    """
    p1, y = _pairs(p1, y)
    if not len(p1):
        raise ValueError("no labelled images, so no threshold can be chosen")
    ends = np.unique([0.0, *p1, 1.0])
    at = np.concatenate([[0.0], (ends[1:] + ends[:-1]) / 2, [np.nextafter(1.0, 2.0)]])
    total = costs(p1, y, at[:, None], missed=missed, false_alarm=false_alarm).sum(axis=1)
    best = np.flatnonzero(total == total.min())
    return float(at[best[len(best) // 2]])


def cosines(features: Any, references: Any) -> np.ndarray:
    """Return the cosine of each row of `features` (n × d) with each of `references` (m × d): n × m, 1 is alike."""
    a, b = (np.asarray(rows, dtype=np.float64) for rows in (features, references))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return a @ b.T


def knn_distance(features: Any, references: Any, *, nearest: int = 5) -> np.ndarray:
    """Return how far each row of `features` is from its nearest `references`: 0 the same direction, 1 unrelated.

    The mean cosine distance to the `nearest` neighbours: a deep nearest-neighbour score (Sun et al., 2022). Rows of
    `references` that are asked about themselves should be left out by the caller.
    """
    if (n := len(references)) < nearest:
        raise ValueError(f"{n} known images, fewer than the {nearest} nearest that are asked for")
    return 1 - np.partition(cosines(features, references), n - nearest, axis=1)[:, n - nearest :].mean(axis=1)


def _log(p: Any) -> np.ndarray:
    """Return logits whose softmax is p."""
    return np.log(np.maximum(np.asarray(p, dtype=float), SMALLEST))


def _normalised(odds: np.ndarray) -> np.ndarray:
    return odds / odds.sum(axis=1, keepdims=True)


def _pairs(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values: give one of each for every image")
    return a, b
