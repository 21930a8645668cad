"""Loss against learning rate, measured on a throw-away copy (Smith, 2017).

The rate of every learning stage rises together, exponentially, one step at a time; the profile's proportions stay.
Model, buffers, gradients, random generators and every file except the feature store are left as they were.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from sftlab.core import records
from sftlab.core.monitors import Diverged
from sftlab.core.profiles import check
from sftlab.core.records import Step
from sftlab.core.training import train
from sftlab.data import Data


@dataclass
class LRFinder:
    """The sweep: the highest rate of the profile at each step, the loss there, and the rate we would try first.

    `steepest` is where the smoothed loss falls fastest; `diverged` is the rate at which the sweep was ended, if it was.
    `noun` says what the loss is a mean of: images or texts.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    diverged: float | None
    noun: str = "images"

    def __repr__(self) -> str:
        end = f", diverged at {self.diverged:.2g}" if self.diverged else ""
        span = f"from {self.rates[0]:.1g} to {self.rates[-1]:.2g}"
        return f"LRFinder({len(self.rates)} steps {span}, try {self.steepest:.2g}{end})"


records.KINDS["LRFinder"] = LRFinder


def find_lr(
    model: nn.Sequential, data: Data, profile: Mapping[str, float], *, low: float = 1e-6, high: float = 1.0,
    steps: int = 100, smoothing: float = 0.9, **settings: Any,
) -> LRFinder:  # fmt: skip
    """Raise the rate from `low` to `high` over `steps` updates and record the loss.

    profile: says which stages learn and in which proportion. settings: as for `fit` (batch_size, optimizer, seed …).
    The sweep ends early once the smoothed loss is four times its lowest.
    """
    if not 0 < low < high or steps < 10:
        raise ValueError(f"low={low}, high={high}, steps={steps}: 0 < low < high and at least 10 steps")
    rates = check(model, profile)
    top = max(rates.values())
    if not top:
        raise ValueError("every stage of this profile is frozen, so there is no rate to find")
    batch_size = settings.get("batch_size", 32)
    epochs = math.ceil(steps / max(1, len(data.train) // batch_size))
    total = epochs * -(-len(data.train) // batch_size)
    span = math.log(high / low)

    def ramp(t: float) -> float:
        return low / top * math.exp(span * min(1.0, t * total / steps))

    tried, losses, smooth, mean = [], [], [], 0.0
    diverged = None
    stream = train(copy.deepcopy(model), data, rates, epochs, schedule=ramp, keep_best=False, **settings)
    try:
        for record in stream:
            if not isinstance(record, Step):
                continue
            if not math.isfinite(record.loss):
                break
            tried.append(max(record.rates.values()))
            losses.append(record.loss)
            mean = smoothing * mean + (1 - smoothing) * record.loss
            smooth.append(mean / (1 - smoothing ** len(losses)))
            if len(losses) >= steps:
                break
            if smooth[-1] > 4 * min(smooth):
                diverged = tried[-1]
                break
    except Diverged:
        diverged = tried[-1] if tried else low
    finally:
        stream.close()  # type: ignore[attr-defined]
    return LRFinder(tried, losses, smooth, _steepest(tried, smooth), diverged, data.train.noun)


def _steepest(rates: list[float], smooth: list[float]) -> float:
    """Return the rate in the middle of the steepest fall before the lowest smoothed loss.

    The slope is that of a line through an eighth of the sweep: from step to step, noise is steeper than descent.
    """
    x, y = np.log(np.array(rates)), np.array(smooth)
    window, end = max(3, len(rates) // 8), int(np.argmin(smooth)) + 1
    if end < window:
        return rates[0]
    slopes = [np.polyfit(x[i : i + window], y[i : i + window], 1)[0] for i in range(end - window + 1)]
    return rates[int(np.argmin(slopes)) + window // 2]
