"""What networks cost, as pandas tables with a row a stage: its parameters, and the price of keeping its features."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sftlab.core.model import card, evaluating, has_parameters, is_trainable
from sftlab.data import Data
from sftlab.data.storage import keep_memory

if TYPE_CHECKING:
    from pandas import DataFrame

SAMPLE = 16  # images that are timed


def feature_cost(model: nn.Sequential, data: Data) -> DataFrame:
    """Measure what keeping the features after each stage costs on the train and valid images; nothing is stored.

    Columns: shape of one image's features; megabytes on disk for all images; seconds to make them once, which is also
    what every further pass over the images saves. A cut is possible after every stage from the first one with
    parameters to the one before the head. Sixteen images run through the network twice, the second time on the clock.
    """
    from pandas import DataFrame

    images = len(data.train) + len(data.valid)
    sample = data.train.inputs(np.arange(min(SAMPLE, len(data.train))))
    stages = list(model.named_children())[:-1]
    first = next(i for i, (_, stage) in enumerate(stages) if has_parameters(stage))
    with evaluating(model), torch.no_grad(), keep_memory():
        _timed(model[:-1], sample)
        seconds, outputs = zip(*_timed(model[:-1], sample), strict=True)
    rows = {}
    for i, (name, _) in enumerate(stages[first:], first):
        tensors = outputs[i] if isinstance(outputs[i], tuple) else (outputs[i],)
        weight = sum(t[0].numel() * t.element_size() for t in tensors)
        once = sum(seconds[: i + 1]) / len(sample) * images
        rows[name] = {"shape": _shape(tensors[0]), "megabytes": weight * images / 1e6, "seconds": once}
    return DataFrame.from_dict(rows, orient="index")


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


def summary(model: nn.Sequential, profile: Mapping[str, float] | None = None) -> DataFrame:
    """Tabulate output · parameters · share · rate, by running a black image of its size, or a short text.

    Without a profile the rate column says which stages take gradients.
    """
    from pandas import DataFrame

    size = card(model).get("size", 64)
    rates = {name: f"{rate:.2g}" if rate > 0 else "frozen" for name, rate in (profile or {}).items()}
    total = sum(p.numel() for p in model.parameters())
    example = getattr(model[0], "example", None)  # an input stage that takes no images says what it takes
    x: Any = example() if example else torch.zeros(1, 3, size, size, dtype=torch.uint8)
    x, rows = x.to(next(model.parameters()).device), {}
    with evaluating(model), torch.no_grad():
        for name, stage in model.named_children():
            x = stage(x)
            count = sum(p.numel() for p in stage.parameters())
            rate = rates.get(name, "trainable" if is_trainable(stage) else "frozen") if count else ""
            rows[name] = {"output": _shape(x), "parameters": count, "share": f"{count / total:.1%}", "rate": rate}
    rows["total"] = {"output": "", "parameters": total, "share": "", "rate": ""}
    return DataFrame.from_dict(rows, orient="index")


def _shape(x: Any) -> str:
    if isinstance(x, Mapping):
        return ", ".join(f"{k} {_shape(v)}" for k, v in x.items())
    if isinstance(x, tuple):
        return ", ".join(map(_shape, x))
    return "×".join(map(str, x.shape[1:]))
