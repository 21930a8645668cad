"""From probabilities to decisions: calibrate, weigh the costs, refuse what is neither, compare two models in pairs.

Plain functions of arrays: p is n × classes, y holds n class numbers, and in a question of two classes class 1 is the
one that must not be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval

SMALLEST = 1e-12  # below this a probability is rounding
RESAMPLES = 2000


def temperature_scale(p: Any, temperature: float) -> np.ndarray:
    """Return softmax(z / T) for probabilities p = softmax(z): T > 1 makes them less sure, T = 1 leaves them.

    Logits are known up to a constant from their probabilities, and softmax ignores the constant. The order of the
    classes, and with it accuracy, stays (Guo et al., 2017).
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: a number above 0")
    z = np.log(np.maximum(_matrix(p), SMALLEST)) / temperature
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def fit_temperature(p: Any, y: Any) -> float:
    """Return the T > 0 at which `temperature_scale(p, T)` has the lowest cross-entropy with the labels y.

    With b = 1/T the loss is convex, so a bisection of its slope, Σ (mean z under the model − z of the label), finds it.
    T between 0.05 and 20.
    """
    z, y = np.log(np.maximum(_matrix(p), SMALLEST)), np.asarray(y)
    _check(len(z), len(y))
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
    odds = _matrix(p) * np.asarray(expected, dtype=float) / np.asarray(trained, dtype=float)
    return odds / odds.sum(axis=1, keepdims=True)


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


def cost_threshold(p1: Any, y: Any) -> float:
    """Return the threshold at which calling class 1 is wrong least often on these labelled images.

    p1: n probabilities of class 1. y: n labels, 0 or 1. A threshold lies halfway between two neighbouring
    probabilities, or beyond the last; of several that are equally good, the middle one is taken.
    """
    p1, y = np.asarray(p1, dtype=float), np.asarray(y)
    _check(len(p1), len(y))
    if not len(p1):
        raise ValueError("no labelled images, so no threshold can be chosen")
    ends = np.unique(np.concatenate([[0.0], p1, [1.0]]))
    at = np.concatenate([[0.0], (ends[1:] + ends[:-1]) / 2, [np.nextafter(1.0, 2.0)]])
    wrong = ((p1 >= at[:, None]) != (y == 1)).sum(axis=1)
    best = np.flatnonzero(wrong == wrong.min())
    return float(at[best[len(best) // 2]])


def costs(p1: Any, y: Any, at: float, *, missed: float, false_alarm: float) -> np.ndarray:
    """Return what each image costs when class 1 is called from probability `at` upwards.

    p1: n probabilities of class 1. y: n labels, 0 or 1.
    """
    p1, y = np.asarray(p1, dtype=float), np.asarray(y)
    _check(len(p1), len(y))
    called = p1 >= at
    return missed * ((y == 1) & ~called) + false_alarm * ((y == 0) & called)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return a proportion with its Wilson score interval; without any case, 0 in [0, 1].

    >>> f"{wilson(90, 100):.2f}"
    '0.90 (0.83–0.94)'
    """
    from scipy.stats import binomtest

    if n == 0:
        return Interval(0.0, 0.0, 1.0, "no cases", confidence)
    ends = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high), "Wilson", confidence)


def bootstrap_mean(values: Any, *, seed: int = 0) -> Interval:
    """Return the mean of n values with its percentile bootstrap interval (Efron, 1979)."""
    x = np.asarray(values, dtype=float)
    if not len(x):
        raise ValueError("no values, so there is no mean")
    kinds, counts = np.unique(x, return_counts=True)  # few distinct values: draw how often each one comes
    drawn = np.random.default_rng(seed).multinomial(len(x), counts / len(x), RESAMPLES) @ kinds / len(x)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(x.mean()), float(low), float(high), "bootstrap")


def t_interval(values: Any) -> Interval:
    """Return the mean over independent runs (splits, seeds) with its interval after Student (1908)."""
    from scipy.stats import t

    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        raise ValueError(f"{len(x)} run{'s' * (len(x) != 1)}: a spread needs at least two")
    half = float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, "Student t")


def mcnemar(right_a: Any, right_b: Any) -> float:
    """Return the exact two-sided p-value of two models judged on the same images (McNemar, 1947).

    right_a, right_b: n booleans. Only images on which one is right and the other wrong say anything; if the models are
    equally good, each of those is a toss of a coin.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    _check(len(a), len(b))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def difference(right_a: Any, right_b: Any) -> Interval:
    """Return accuracy of a minus accuracy of b, with a bootstrap interval that keeps the pairs together."""
    a, b = np.asarray(right_a, dtype=float), np.asarray(right_b, dtype=float)
    _check(len(a), len(b))
    return bootstrap_mean(a - b)


def cosines(features: Any, known: Any) -> np.ndarray:
    """Return how alike in direction each row of `features` (n × d) is to each row of `known` (m × d), n × m: 1 same."""
    a, b = (np.asarray(rows, dtype=np.float64) for rows in (features, known))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return a @ b.T


def knn_distance(features: Any, known: Any, *, nearest: int = 5) -> np.ndarray:
    """Return how far each row of `features` is from the nearest rows of `known`: 0 the same direction, 1 unrelated.

    The mean cosine distance to the `nearest` neighbours: a deep nearest-neighbour score (Sun et al., 2022). Rows of
    `known` that are asked about themselves should be left out by the caller.
    """
    if (n := len(known)) < nearest:
        raise ValueError(f"{n} known images, fewer than the {nearest} nearest that are asked for")
    return 1 - np.partition(cosines(features, known), n - nearest, axis=1)[:, n - nearest :].mean(axis=1)


def _matrix(p: Any) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    if p.ndim != 2:
        raise ValueError(f"probabilities of shape {'×'.join(map(str, p.shape))}; expected images × classes")
    return p


def _check(n: int, m: int) -> None:
    if n != m:
        raise ValueError(f"{n} and {m} values: give one of each for every image")
