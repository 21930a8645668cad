"""What each cut costs before it is paid: disk and seconds once, against seconds saved in every pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from sftlab.core import memory
from sftlab.core.model import evaluating, has_parameters
from sftlab.data import Data

SAMPLE = 16  # images that are timed


@dataclass(frozen=True)
class Cut:
    """Keep the features after `stage`: their shape, megabytes on disk for all images, and the seconds to make them.

    seconds is also what every further pass over the images saves, because those stages do not run in it.
    """

    stage: str
    shape: tuple[int, ...]
    megabytes: float
    seconds: float


@dataclass(frozen=True)
class Cuts:
    """The price of every cut, stem first, for `images` images (train and valid)."""

    rows: list[Cut]
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


def cuts(model: nn.Sequential, data: Data) -> Cuts:
    """Measure what keeping the features after each stage costs on these images; nothing is stored.

    A cut is possible after every stage from the first one with parameters to the one before the head. Sixteen images
    run through the network twice, the second time on the clock.
    """
    images = len(data.train) + len(data.valid)
    sample = data.train.inputs(np.arange(min(SAMPLE, len(data.train))))
    stages = list(model.named_children())[:-1]
    first = next(i for i, (_, stage) in enumerate(stages) if has_parameters(stage))
    with evaluating(model), torch.no_grad(), memory.kept():
        _timed(model[:-1], sample)
        seconds, outputs = zip(*_timed(model[:-1], sample), strict=True)
    rows = []
    for i, (name, _) in enumerate(stages[first:], first):
        tensors = outputs[i] if isinstance(outputs[i], tuple) else (outputs[i],)
        weight = sum(t[0].numel() * t.element_size() for t in tensors)
        once = sum(seconds[: i + 1]) / len(sample) * images
        rows.append(Cut(name, tuple(tensors[0].shape[1:]), weight * images / 1e6, once))
    return Cuts(rows, images, data.train.size, data.train.kind)


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
