"""What networks cost: a table of stages, size, work and speed of each network, and the price of keeping features.

Work is counted in MACs (one multiplication and one addition), the number that papers print under the name FLOPs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from sftlab.core.model import card, evaluating, has_parameters, is_trainable
from sftlab.data import Data
from sftlab.data.storage import keep_memory
from sftlab.networks import backbone, backbones
from sftlab.networks.offline import LITE, lite_weights
from sftlab.networks.torchvision_nets import CLASSIC, FAMILIES, here, remote

SPEED_IMAGES, SPEED_SECONDS = 4, 0.2  # images a pass, and how long passes are repeated; the fastest counts
UNSTATED = "none stated"


@dataclass(frozen=True)
class Candidate:
    """One network: MACs and images/s at the gallery's image size; top-1 as published, in percent.

    megabytes: of the weights' file. here: whether that file is on this machine. top1 and megabytes are None for a
    network that has no pretrained weights.
    """

    name: str
    parameters: int
    macs: int
    top1: float | None
    licence: str
    megabytes: float | None
    here: bool
    images_per_second: float


@dataclass(frozen=True)
class Gallery:
    """The candidates as a table, for square images of `size` pixels."""

    rows: list[Candidate]
    size: int

    def __getitem__(self, name: str) -> Candidate:
        return next(row for row in self.rows if row.name == name)

    def __repr__(self) -> str:
        head = ("network", "parameters", "MACs", "top-1", "licence", "file", "images/s", "here")
        lines = ["{:<19}{:>11}{:>9}{:>8}  {:<12}{:>8}{:>10}  {}".format(*head)]
        for row in self.rows:
            top1 = "–" if row.top1 is None else f"{row.top1:.1f} %"
            file = "–" if row.megabytes is None else f"{row.megabytes:.0f} MB"
            told = (row.name, f"{row.parameters / 1e6:.2f} M", f"{row.macs / 1e9:.2f} G", top1, row.licence, file)
            here = "yes" if row.here else "download"
            speed = f"{row.images_per_second:>10.0f}  {here}"
            lines.append("{:<19}{:>11}{:>9}{:>8}  {:<12}{:>8}".format(*told) + speed)
        return "\n".join(lines)


def gallery(names: Sequence[str] | None = None, *, size: int = 224) -> Gallery:
    """Describe networks (default: all with an adapter) and measure how many images a second each one encodes here.

    Nothing is downloaded: parameters, MACs and speed do not depend on what the weights are.
    """
    return Gallery([_candidate(name, size) for name in names or backbones()], size)


@cache
def macs(name: str, size: int = 224) -> int:
    """Count multiply–accumulates of one image of `size` pixels, in convolutions and matrix products.

    Counted by torch on tensors that have a shape but no numbers, so it costs no time and no memory.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(name, None)(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    return counter.get_total_flops() // 2


def images_per_second(model: nn.Sequential, size: int = 224) -> float:
    """Measure how many grey images of `size` pixels a second all stages before the head encode, once warm."""
    x = torch.randint(0, 256, (SPEED_IMAGES, 1, size, size), dtype=torch.uint8)
    passes: list[float] = []
    with evaluating(model), torch.no_grad(), keep_memory():
        model[:-1](x[:1])
        while not passes or sum(passes) < SPEED_SECONDS:
            clock = time.perf_counter()
            model[:-1](x)
            passes.append(time.perf_counter() - clock)
    return SPEED_IMAGES / min(passes)


def _candidate(name: str, size: int) -> Candidate:
    top1, licence, megabytes, here = _published(name)
    model = backbone(name, None)
    count = sum(p.numel() for p in model.parameters())
    speed = images_per_second(model, size)
    return Candidate(name, count, macs(name, size), top1, licence, megabytes, here, speed)


def _published(name: str) -> tuple[float | None, str, float | None, bool]:
    """Return top-1, licence, megabytes of the file, and whether that file is here."""
    if name in LITE:
        facts, file = card(backbone(name)), lite_weights(name)
        return facts["top1"], facts["licence"], file.stat().st_size / 1e6, True
    if name in FAMILIES:
        from torchvision.models import get_model_weights

        meta, weights = get_model_weights(name)[CLASSIC].meta, remote(name)
        top1, licence = meta["_metrics"]["ImageNet-1K"]["acc@1"], meta.get("license", UNSTATED)
        return top1, licence, weights.megabytes, here(weights) is not None
    return None, "MIT", None, True  # comes with this package and starts at random


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
