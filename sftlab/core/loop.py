"""The loop, from the inside out: `steps` is the textbook's, `train_epochs` adds rates, modes and validation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sftlab.core.losses import Loss, correct
from sftlab.core.model import evaluating, stage_names, train_mode
from sftlab.core.monitors import Record, Stream
from sftlab.core.profiles import Schedule, apply
from sftlab.core.records import Epoch, Step
from sftlab.data import batch_positions

Batches = Iterator[tuple[Any, Any]]


class Source(Protocol):
    """What delivers batches: a `Split`, or the `Features` that a frozen prefix made of one."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int = ..., *, seed: int | None = ..., epoch: int = ...) -> Batches:
        """Iterate over (images or features, targets), in order without a seed."""


def steps(
    model: nn.Module, batches: Iterable[tuple[Any, Any]], optimizer: torch.optim.Optimizer, loss_fn: Loss
) -> Iterator[float]:
    """Yield the loss of each optimizer update."""
    for x, y in batches:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def train_epochs(
    model: nn.Sequential,
    train: Source,
    valid: Source,
    optimizer: torch.optim.Optimizer,
    profile: Mapping[str, float],
    *,
    epochs: int,
    schedule: Schedule,
    loss: Loss,
    batch_size: int,
    seed: int,
    batchnorm: str = "train",
    past: list[Record] | None = None,
    untouched: bool = False,
) -> Stream:
    """Yield a `Step` after each update and an `Epoch` after each pass, with validation in between.

    model: a network, or what is left of one behind its frozen prefix; `train` and `valid` then deliver what that made
    of the images. profile: of the whole network, so that records name every stage.
    untouched: begin with an `Epoch` of number 0, the validation of the weights as they came.
    past: the records of the same run before it was killed; they are skipped, and counted in their epoch's loss.
    """
    past, own = past or [], {stage: profile[stage] for stage in stage_names(model)}
    sizes = [len(positions) for positions in batch_positions(len(train), batch_size)]
    total, step = epochs * len(sizes), past[-1].step if past else 0
    finished = max((record.epoch for record in past if isinstance(record, Epoch)), default=0)
    if untouched and not past:
        clock = time.perf_counter()
        found = validate(model, on_device(model, valid.batches(4 * batch_size)), loss)
        yield Epoch(0, 0, math.nan, *found, time.perf_counter() - clock)
    for epoch in range(finished, epochs):
        clock = time.perf_counter()
        apply(model, own)  # once an epoch: code in between may have switched gradients back on
        train_mode(model, profile, batchnorm=batchnorm)
        seen = [r for r in past if isinstance(r, Step) and r.epoch == epoch + 1]
        losses, images = sum(r.loss * r.images for r in seen), sum(r.images for r in seen)
        batches = _skip(train.batches(batch_size, seed=seed, epoch=epoch), len(seen))
        rates = set_rates(optimizer, profile, schedule(step / total))
        for value in steps(model, on_device(model, batches), optimizer, loss):
            n = sizes[step % len(sizes)]
            step, losses, images = step + 1, losses + value * n, images + n
            yield Step(step, epoch + 1, value, n, rates)
            rates = set_rates(optimizer, profile, schedule(step / total))
        valid_loss, accuracy = validate(model, on_device(model, valid.batches(4 * batch_size)), loss)
        yield Epoch(epoch + 1, step, losses / images, valid_loss, accuracy, time.perf_counter() - clock)


def _skip(batches: Batches, count: int) -> Batches:
    return (batch for i, batch in enumerate(batches) if i >= count)


def set_rates(optimizer: torch.optim.Optimizer, profile: Mapping[str, float], factor: float) -> dict[str, float]:
    """Set every group's rate to profile × factor and return the rates by stage."""
    for group in optimizer.param_groups:
        group["lr"] = profile[group["stage"]] * factor
    return {stage: rate * factor for stage, rate in profile.items()}


def validate(model: nn.Sequential, batches: Iterable[tuple[Any, Any]], loss: Loss) -> tuple[float, float]:
    """Return (mean loss, accuracy = correct / n) over all images, in eval mode; modes are put back."""
    total, images, right, labelled = 0.0, 0, 0, 0
    with evaluating(model), torch.no_grad():
        for x, y in batches:
            logits = model(x)
            n = len(next(iter(logits.values())) if isinstance(logits, dict) else logits)
            hits, known = correct(logits, y)
            total, images = total + loss(logits, y).item() * n, images + n
            right, labelled = right + hits, labelled + known
    return total / max(1, images), right / max(1, labelled)


def on_device(model: nn.Module, batches: Batches) -> Batches:
    """Move batches to where the model is; on the CPU they are there already."""
    device = next(model.parameters()).device
    return batches if device.type == "cpu" else ((_to(x, device), _to(y, device)) for x, y in batches)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {k: _to(v, device) for k, v in value.items()}
    return tuple(_to(v, device) for v in value)
