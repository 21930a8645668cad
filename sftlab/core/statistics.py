"""Intervals of accuracies and differences, and the test of two models: for evaluation, comparisons and figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from sftlab.core.records import Interval


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
    a, b = paired(right_a, right_b)
    return bootstrap_mean(a.astype(float) - b)


def mcnemar(right_a: Any, right_b: Any) -> float:
    """Return the exact two-sided p-value of two models judged on the same images (McNemar, 1947).

    right_a, right_b: n booleans. Only images on which one is right and the other wrong say anything; if the models are
    equally good, each of those is a toss of a coin.
    """
    from scipy.stats import binomtest

    a, b = paired(right_a, right_b)
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


def paired(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays; raise ValueError unless there is one value of each for every image."""
    a, b = np.asarray(a), np.asarray(b)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values: give one of each for every image")
    return a, b
