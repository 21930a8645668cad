"""The loop, from the inside out: `steps` is the textbook's, `train_epochs` adds rates, modes and validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.losses import Loss, correct
from sftlab.core.model import evaluating, stage_names, train_mode
from sftlab.core.monitors import Checkpoint, Stream
from sftlab.core.profiles import apply, factor
from sftlab.core.records import Epoch, Step
from sftlab.data import batch_positions

if TYPE_CHECKING:
    from sftlab.core.training import Settings

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
    s: Settings,
    start: Checkpoint,
    groups: Sequence[int],
) -> Stream:
    """Yield a `Step` after each update and an `Epoch` after each pass, with validation in between.

    model: a network, or what is left of one behind its frozen prefix; `train` and `valid` then deliver what that made
    of the images. profile: of the whole network, so that records name every stage. s: of `fit`; to keep the best
    weights it begins with an `Epoch` of number 0, the validation of the weights as they came.
    start: where the same run was when it was killed. groups: of the validation images, where they are known.
    An epoch's train loss is the loss of all the answers that its batches got, so that neither their size nor their
    labels weigh: `start.seen` collects them.
    """
    own, seen = {stage: profile[stage] for stage in stage_names(model)}, start.seen
    last = start.records[-1] if start.records else None
    sizes = [len(positions) for positions in batch_positions(len(train), s.batch_size)]
    total, step = s.epochs * len(sizes), last.step if last else 0

    def loss(logits: Any, targets: Any) -> Tensor:
        seen.append((_each(Tensor.detach, logits), targets))
        value = s.loss(logits, targets)
        if value.isnan() and not correct(logits, targets)[1].any():  # as torch's losses are where no image has a label
            return 0 * (sum(z.sum() for z in logits.values()) if isinstance(logits, Mapping) else logits.sum())
        return value

    def validated(began: float) -> tuple[Any, ...]:
        loss, accuracy, counts = validate(model, on_device(model, valid.batches(4 * s.batch_size)), s.loss, groups)
        return loss, accuracy, time.perf_counter() - began, counts

    if s.keep_best and last is None:
        yield Epoch(0, 0, math.nan, *validated(time.perf_counter()))
    for epoch in range(last.epoch - isinstance(last, Step) if last else 0, s.epochs):
        clock = time.perf_counter()
        apply(model, own)  # once an epoch: code in between may have switched gradients back on
        train_mode(model, profile, batchnorm=s.batchnorm)
        batches = islice(train.batches(s.batch_size, seed=s.seed, epoch=epoch), len(seen), None)
        rates = set_rates(optimizer, profile, factor(s.schedule, step / total))
        for value in steps(model, on_device(model, batches), optimizer, loss):
            step += 1
            yield Step(step, epoch + 1, value, sizes[(step - 1) % len(sizes)], rates)
            rates = set_rates(optimizer, profile, factor(s.schedule, step / total))
        with torch.no_grad():
            train_loss = s.loss(*together(seen)).item()
        seen.clear()
        yield Epoch(epoch + 1, step, train_loss, *validated(clock))


def set_rates(optimizer: torch.optim.Optimizer, profile: Mapping[str, float], factor: float) -> dict[str, float]:
    """Set every group's rate to profile × factor and return the rates by stage."""
    for group in optimizer.param_groups:
        group["lr"] = profile[group["stage"]] * factor
    return {stage: rate * factor for stage, rate in profile.items()}


def validate(
    model: nn.Sequential, batches: Iterable[tuple[Any, Any]], loss: Loss, groups: Sequence[int] = ()
) -> tuple[float, float, list[list[int]]]:
    """Return (loss, accuracy = correct / n, counts) over all images that have a label, in eval mode.

    groups: a number an image, where they are known. counts: (correct, labelled) of each group, or else of all images.
    """
    with evaluating(model), torch.no_grad():
        logits, targets = together([(model(x), y) for x, y in batches])
        each = [known.cpu().numpy() for known in correct(logits, targets)]
        unit = np.resize(np.unique(groups or [0], return_inverse=True)[1], len(each[0]))  # anew for each task
        counts = np.array([np.bincount(unit, known) for known in each], dtype=int).T
        right, labelled = counts.sum(axis=0).tolist()
        return loss(logits, targets).item(), right / max(1, labelled), counts[counts[:, 1] > 0].tolist()


def together(parts: Sequence[Any]) -> Any:
    """Return the tensors of several batches as those of one: a loss then weighs their images as it does in a batch."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return {k: together([part[k] for part in parts]) for k in first}
    return tuple(together(column) for column in zip(*parts, strict=True))


def on_device(model: nn.Module, batches: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, Any]]:
    """Move batches to where the model is; on the CPU they are there already."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return batches if device.type == "cpu" else (_each(lambda t: t.to(device, non_blocking=True), b) for b in batches)


def _each(do: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return do(value)
    if isinstance(value, Mapping):
        return {k: _each(do, v) for k, v in value.items()}
    return tuple(_each(do, v) for v in value)
