"""What networks cost: a table of stages, the work of an image, and the price of keeping features.

Work is counted in MACs (one multiplication and one addition), the number that papers print under the name FLOPs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from sftlab.core.model import card, evaluating, has_parameters, is_trainable
from sftlab.data import Data
from sftlab.data.storage import keep_memory
from sftlab.networks import backbone


@cache
def macs(name: str, size: int = 224) -> int:
    """Count multiply–accumulates of one image of `size` pixels, in convolutions and matrix products.

    Counted by torch on tensors that have a shape but no numbers, so it costs no time and no memory.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(name, None)(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    return counter.get_total_flops() // 2


SAMPLE = 16  # images that are timed


@dataclass(frozen=True)
class StageCost:
    """Keep the features after `stage`: their shape, megabytes on disk for all images, and the seconds to make them.

    seconds is also what every further pass over the images saves, because those stages do not run in it.
    """

    stage: str
    shape: tuple[int, ...]
    megabytes: float
    seconds: float


@dataclass(frozen=True)
class FeatureCost:
    """The price of every cut, stem first, for `images` images (train and valid)."""

    rows: list[StageCost]
    images: int
    size: int
    kind: str = "images"

    def __repr__(self) -> str:
        title = f"{self.images} {self.kind} (seconds: paid once, and saved in every later pass)"
        lines = [f"{'keep features after':<20} {'shape':>14} {'on disk':>11} {'to make':>9}"]
        for cut in self.rows:
            shape = "×".join(map(str, cut.shape))
            lines.append(f"{cut.stage:<20} {shape:>14} {cut.megabytes:>8,.1f} MB {cut.seconds:>7.1f} s")
        return "\n".join([title, *lines])


def feature_cost(model: nn.Sequential, data: Data) -> FeatureCost:
    """Measure what keeping the features after each stage costs on these images; nothing is stored.

    A cut is possible after every stage from the first one with parameters to the one before the head. Sixteen images
    run through the network twice, the second time on the clock.
    """
    images = len(data.train) + len(data.valid)
    sample = data.train.inputs(np.arange(min(SAMPLE, len(data.train))))
    stages = list(model.named_children())[:-1]
    first = next(i for i, (_, stage) in enumerate(stages) if has_parameters(stage))
    with evaluating(model), torch.no_grad(), keep_memory():
        _timed(model[:-1], sample)
        seconds, outputs = zip(*_timed(model[:-1], sample), strict=True)
    rows = []
    for i, (name, _) in enumerate(stages[first:], first):
        tensors = outputs[i] if isinstance(outputs[i], tuple) else (outputs[i],)
        weight = sum(t[0].numel() * t.element_size() for t in tensors)
        once = sum(seconds[: i + 1]) / len(sample) * images
        rows.append(StageCost(name, tuple(tensors[0].shape[1:]), weight * images / 1e6, once))
    return FeatureCost(rows, images, data.train.size, data.train.kind)


def _timed(stages: nn.Sequential, x: Any) -> list[tuple[float, Any]]:
    """Run stage by stage; return the seconds and the output of each."""
    device, found = next(stages.parameters()).device, []
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    x = x.to(device)
    for stage in stages:
        clock = time.perf_counter()
        x = stage(x)
        wait()
        found.append((time.perf_counter() - clock, x))
    return found


@dataclass(frozen=True)
class Summary:
    """The network as a table: one row a stage with its output shape, parameters, share of them, and rate."""

    rows: list[tuple[str, str, int, float, str]]

    def __str__(self) -> str:
        total = sum(row[2] for row in self.rows)
        body = [(name, shape, f"{count:,}", f"{share:.1%}", rate) for name, shape, count, share, rate in self.rows]
        cells = [("stage", "output", "parameters", "share", "rate"), *body, ("total", "", f"{total:,}", "", "")]
        a, b, c, d, e = (max(map(len, column)) for column in zip(*cells, strict=True))
        return "\n".join(f"{n:<{a}}  {o:<{b}}  {p:>{c}}  {s:>{d}}  {r:>{e}}".rstrip() for n, o, p, s, r in cells)

    __repr__ = __str__


def summary(model: nn.Sequential, profile: Mapping[str, float] | None = None, *, size: int | None = None) -> Summary:
    """Tabulate stage · output · parameters · share · rate, by running a black image of `size` pixels or a short text.

    Without a profile the rate column says which stages take gradients.
    """
    size = size or card(model).get("size", 64)
    rates = {name: f"{rate:.2g}" if rate > 0 else "frozen" for name, rate in (profile or {}).items()}
    total = sum(p.numel() for p in model.parameters())
    example = getattr(model[0], "example", None)  # an input stage that takes no images says what it takes
    x: Any = example() if example else torch.zeros(1, 3, size, size, dtype=torch.uint8)
    x, rows = x.to(next(model.parameters()).device), []
    with evaluating(model), torch.no_grad():
        for name, stage in model.named_children():
            x = stage(x)
            count = sum(p.numel() for p in stage.parameters())
            rate = rates.get(name, "trainable" if is_trainable(stage) else "frozen") if count else ""
            rows.append((name, _shape(x), count, count / total, rate))
    return Summary(rows)


def _shape(x: Any) -> str:
    if isinstance(x, Mapping):
        return ", ".join(f"{k} {_shape(v)}" for k, v in x.items())
    if isinstance(x, tuple):
        return ", ".join(map(_shape, x))
    return "×".join(map(str, x.shape[1:]))
