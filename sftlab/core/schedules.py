"""A schedule is a function of time: t in [0, 1] → factor on every rate of the profile.

t = 0 is the first step of a run and t → 1 its end, so a schedule never needs to know how long the run is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[float], float]


def constant() -> Schedule:
    """Keep every rate as the profile says."""
    return lambda t: 1.0


def cosine() -> Schedule:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter, 2017).

    >>> [round(cosine()(t), 2) for t in (0, 0.5, 1)]
    [1.0, 0.5, 0.0]
    """
    return lambda t: 0.5 * (1 + math.cos(math.pi * t))


def linear() -> Schedule:
    """Fall from 1 to 0 in a straight line."""
    return lambda t: 1 - t


def warmup_cosine(warmup: float = 0.1) -> Schedule:
    """Rise from near 0 to 1 over the first `warmup` share of the run, then fall along a cosine.

    >>> [round(warmup_cosine(0.1)(t), 2) for t in (0.05, 0.1, 1)]
    [0.5, 1.0, 0.0]
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup={warmup}: a share of the run in [0, 1)")
    fall = cosine()
    # the floor keeps the very first step from being wasted at a rate of exactly 0
    return lambda t: max(t, 1e-3 * warmup) / warmup if t < warmup else fall((t - warmup) / (1 - warmup))


def piecewise(points: Sequence[tuple[float, float]]) -> Schedule:
    """Hold each factor from its time on: [(0, 1.0), (0.6, 0.1)] drops tenfold at 60 % of the run."""
    times = [t for t, _ in points]
    if not points or times[0] != 0 or times != sorted(times) or times[-1] > 1:
        raise ValueError(f"points={list(points)}: times rise from 0 and stay within 1")
    return lambda t: next(factor for time, factor in reversed(points) if time <= t)
