"""From probabilities to decisions: calibrate, weigh the costs, measure how strange an image is.

Plain functions of arrays, called by the lessons on decisions and shift: p is n × classes, y holds n class numbers, and
in a question of two classes class 1 is the one that must not be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import paired

SMALLEST = 1e-12  # below this a probability is rounding


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
    paired(z, y)
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
