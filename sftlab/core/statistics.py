"""Intervals over groups, images and runs, for evaluation, comparisons and figures.

Wilson (1927) for a proportion of images; else one method, the delete-one jackknife (Tukey, 1958) with Student's t.
Where images come in groups (modules, patients, days), a whole group is deleted: they are right or wrong together.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval

FEWEST = 5  # units; the spread of fewer says next to nothing


@functools.cache  # a dragged slider asks for the same few a thousand times
def wilson(successes: int, n: int) -> Interval:
    """Return a proportion of n independent cases with its Wilson score interval (1927); without any case, 0 in [0, 1].

    >>> f"{wilson(90, 100):.2f}"
    '0.90 (0.83–0.94)'
    """
    from scipy.stats import binomtest

    if n == 0:
        return Interval(0.0, 0.0, 1.0, why="no cases")
    ends = binomtest(successes, n).proportion_ci(method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high))


def proportion(right: Any, groups: Any = ()) -> Interval:
    """Return the share of n booleans that are true: over groups, one a case, where they are known, else Wilson's."""
    right = np.asarray(right)
    return mean_interval(right, groups, (0, 1)) if len(groups) else wilson(int(right.sum()), len(right))


def mean_of(parts: Sequence[Interval]) -> Interval:
    """Return the mean of independent proportions; the ways to their ends add up in squares (Zou and Donner, 2008)."""
    ends = np.array([(part.value, part.low, part.high) for part in parts])
    value, (down, up) = float(ends[:, 0].mean()), np.linalg.norm(ends[:, 1:] - ends[:, :1], axis=0) / len(parts)
    return Interval(value, value - float(down), value + float(up), "Wilson, combined", max(p.groups for p in parts))


def mean_interval(values: Any, groups: Any = (), ends: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """Return the mean of n values with its interval over groups (one a value), or over the values themselves.

    ends: between which the mean lies, see `jackknife`.
    """
    x = np.asarray(values, dtype=float)
    if not len(x):
        raise ValueError("no values, so there is no mean")
    unit = np.unique(groups, return_inverse=True)[1] if len(groups) else np.arange(len(x))
    word = "groups" if len(groups) else "images"
    return jackknife(x.mean(), leave_out(x, unit), ends, word, sizes=np.bincount(unit))


def leave_out(values: np.ndarray, unit: np.ndarray, count: int = 0) -> np.ndarray:
    """Return the mean of n values without those of each unit, by its number 0, 1, … (nan where nothing is left)."""
    n, total = np.bincount(unit, minlength=count), np.bincount(unit, values, count)
    with np.errstate(invalid="ignore"):
        return (total.sum() - total) / (n.sum() - n)


def jackknife(
    value: Any,
    deleted: np.ndarray,
    ends: tuple[float, float] = (-math.inf, math.inf),
    unit: str = "groups",
    fewest: int | None = None,
    sizes: np.ndarray | None = None,
) -> Interval:
    """Return `value` with its 95 % interval from what it is without each unit: a group, or else an image, a run.

    ends: between which it lies; (0, 1) is reckoned on the logit scale. fewest: the smallest number of units that some
    part of it rests on, such as a class. sizes: values in each unit; of unequal ones Student's t has the degrees of
    freedom of as many equal ones as are worth the same, (Σ n)² / Σ n² (Kish, 1965). Below FEWEST there is no interval,
    and `why` says so. Where nothing varies, a bounded value may still be off by as much as an event may happen that
    none of so many units has shown.
    """
    from scipy.special import expit, logit, stdtrit

    value, units, (floor, roof) = float(value), len(deleted), ends
    fewest = units if fewest is None else fewest
    how: dict[str, Any] = {"method": f"jackknife over {unit}", "groups": units * (unit == "groups")}
    if fewest < FEWEST:
        return Interval(value, floor, roof, why=f"{fewest} of the {FEWEST} {unit} that it needs", **how)
    if np.ptp(deleted) < 1e-12:
        if math.isinf(roof):
            return Interval(value, value, value, why=f"{units} equal values", **how)
        far = wilson(0, fewest).high
        return Interval(value, max(floor, value - far), min(roof, value + far), **how)
    share = ends == (0, 1)
    with np.errstate(divide="ignore"):
        scaled = logit(deleted) if share else deleted
    if not np.isfinite(scaled).all():  # without one group nothing is wrong: the slope of the logit instead
        scaled = deleted / (value * (1 - value))
    worth = units if sizes is None else sizes.sum() ** 2 / (sizes**2).sum()
    half = stdtrit(max(1, worth - 1), 0.975) * math.sqrt((units - 1) * scaled.var())
    reach = np.array([-half, half])
    low, high = expit(logit(value) + reach) if share else np.clip(value + reach, floor, roof)
    return Interval(value, float(low), float(high), **how)


def t_interval(values: Any, *, test_to_train: float = 0.0) -> Interval:
    """Return the mean over runs (splits, seeds) with its interval after Student (1908).

    test_to_train: for runs over random splits of one set, the images tested on for each one to train on. Such runs
    share images, so their mean varies by 1/n + test_to_train, not 1/n (Nadeau and Bengio, 2003); 0 for other runs.
    """
    from scipy.special import stdtrit

    x = np.asarray(values, dtype=float)
    n, mean = len(x), float(x.mean()) if len(x) else 0.0
    if n < 2:
        raise ValueError(f"{n} run{'s' * (n != 1)}: a spread needs at least two")
    half = float(stdtrit(n - 1, 0.975) * x.std(ddof=1) * math.sqrt(1 / n + test_to_train))
    return Interval(mean, mean - half, mean + half, "Student t", why="" if np.ptp(x) > 1e-12 else f"{n} equal runs")
