"""The loop, from the inside out: `steps` is the textbook's, `train_epochs` adds rates and validation, `train` the
monitors and the store of frozen features, `fit` collects the records.

A run is a stream of `Step` and `Epoch` records. Whoever wants to look, iterates.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sftlab import cache, monitors
from sftlab.data import Augment, Data, Split, batch_positions
from sftlab.losses import correct, cross_entropy
from sftlab.monitors import Record, Stream
from sftlab.profiles import apply, check, param_groups
from sftlab.records import Epoch, History, Step
from sftlab.schedules import Schedule, constant
from sftlab.surgery import card, evaluating, train_mode

Loss = Callable[[Any, Any], Tensor]
Optimizers = Mapping[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]]
OPTIMIZERS: Optimizers = {
    "adamw": lambda groups: torch.optim.AdamW(groups),
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


class Source(Protocol):
    """What delivers batches: a `Split`, or the `Features` that a frozen prefix made of one."""

    def __len__(self) -> int: ...
    def batches(self, batch_size: int = ..., *, seed: int | None = ..., epoch: int = ...) -> Iterator[tuple[Any, Any]]: ...


def steps(model: nn.Module, batches: Iterable[tuple[Any, Any]], optimizer: torch.optim.Optimizer, loss_fn: Loss) -> Iterator[float]:
    """Yield the loss of each optimizer update."""
    for x, y in batches:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        yield loss.item()


def train_epochs(
    model: nn.Sequential, train: Source, valid: Source, optimizer: torch.optim.Optimizer, profile: Mapping[str, float], *,
    epochs: int, schedule: Schedule, loss: Loss, batch_size: int, seed: int, past: list[Record] | None = None,
    tail: nn.Sequential | None = None, device: torch.device | None = None, batchnorm: str = "train",
) -> Stream:  # fmt: skip
    """Yield a `Step` after each update and an `Epoch` after each pass, with validation in between.

    tail: the part of `model` that `train` and `valid` feed (all of it unless a frozen prefix was run beforehand).
    past: records of the same run from a checkpoint; they are skipped, and counted in the first epoch's loss.
    """
    tail = tail if tail is not None else model
    sizes = [len(positions) for positions in batch_positions(len(train), batch_size)]
    total, done = epochs * len(sizes), list(past or [])
    step = done[-1].step if done else 0
    finished = sum(isinstance(record, Epoch) for record in done)
    for epoch in range(finished, epochs):
        clock = time.perf_counter()
        apply(model, profile)  # once an epoch: code in between may have switched gradients back on
        train_mode(model, profile, batchnorm=batchnorm)
        seen = [r for r in done if isinstance(r, Step) and r.epoch == epoch + 1]
        losses, images = sum(r.loss * r.images for r in seen), sum(r.images for r in seen)
        batches = _skip(_on(device, train.batches(batch_size, seed=seed, epoch=epoch)), len(seen))
        rates = set_rates(optimizer, profile, schedule(step / total))
        for value in steps(tail, batches, optimizer, loss):
            n = sizes[step % len(sizes)]
            step, losses, images = step + 1, losses + value * n, images + n
            yield Step(step, epoch + 1, value, n, rates)
            rates = set_rates(optimizer, profile, schedule(min(1.0, step / total)))
        valid_loss, accuracy = validate(tail, _on(device, valid.batches(4 * batch_size)), loss)
        yield Epoch(epoch + 1, step, losses / images, valid_loss, accuracy, time.perf_counter() - clock)


def _skip(batches: Iterator[Any], count: int) -> Iterator[Any]:
    return (batch for i, batch in enumerate(batches) if i >= count)


def _on(device: torch.device | None, batches: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Move batches to the device; on the CPU they are there already."""
    return batches if device is None or device.type == "cpu" else ((_to(x, device), _to(y, device)) for x, y in batches)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {k: _to(v, device) for k, v in value.items()}
    return tuple(_to(v, device) for v in value)


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
            total, images, right, labelled = total + loss(logits, y).item() * n, images + n, right + hits, labelled + known
    return total / max(1, images), right / max(1, labelled)


def train(
    model: nn.Sequential, data: Data, profile: Mapping[str, float], epochs: int = 10, *, schedule: Schedule | None = None,
    optimizer: str | Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = "adamw", weight_decay: float = 0.01,
    batch_size: int = 32, clip_norm: float | None = None, loss: Loss = cross_entropy, patience: int | None = None,
    augment: Augment | None = None, batchnorm: str = "train", seed: int = 0, device: str | torch.device | None = None, keep_best: bool = True,
    checkpoint: str | Path | None = None, cached: bool = True, stop: Any = None, say: Callable[[str], None] | None = None,
) -> Stream:  # fmt: skip
    """Train `model` in place and yield a record a step and an epoch; see `fit` for the arguments.

    Iterate to the end, or leave with `break`: the best weights are then back. Bind the stream to a name only inside
    `with contextlib.closing(stream)`.
    """
    rates = check(model, profile)
    _check(epochs=epochs, batch_size=batch_size, weight_decay=weight_decay, images=len(data.train), rates=rates)
    _check_classes(model, data)
    if isinstance(optimizer, str) and optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}: {' or '.join(map(repr, OPTIMIZERS))}, or a function of parameter groups")
    if patience is not None and patience < 1:
        raise ValueError(f"patience={patience}: at least one epoch")
    settings = {
        "profile": rates, "epochs": epochs, "optimizer": str(optimizer), "weight_decay": weight_decay, "seed": seed,
        "batch_size": batch_size, "clip_norm": clip_norm, "batchnorm": batchnorm, "train": data.train.digest, "model": card(model).get("name"),
    }  # fmt: skip
    here = torch.device(device) if device is not None else next(model.parameters()).device

    def stream() -> Stream:
        model.to(here)
        apply(model, rates)
        make = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
        opt = make(param_groups(model, rates, weight_decay))
        if clip_norm is not None:
            learning = [p for group in opt.param_groups for p in group["params"]]
            opt.register_step_pre_hook(lambda *_: (nn.utils.clip_grad_norm_(learning, clip_norm), None)[1])
        best, past, rng = monitors.Best(), [], None
        if checkpoint is not None and Path(checkpoint).exists():
            best, past, rng = _resume(Path(checkpoint), model, opt, settings)
        cut = cache.worthwhile(model) if cached and augment is None else 0
        try:
            train_source, valid_source = _sources(model, data, cut, here, augment, stop, say)
        except Stopped:
            return
        inner = train_epochs(
            model, train_source, valid_source, opt, rates, epochs=epochs, schedule=schedule or constant(), loss=loss,
            batch_size=batch_size, seed=seed, past=past, tail=model[cut:], device=here, batchnorm=batchnorm,
        )  # fmt: skip
        inner = monitors.watch_divergence(inner)
        if checkpoint is not None:
            inner = monitors.checkpoint(inner, checkpoint, model, opt, best=best, settings=settings, past=past)
        inner = monitors.replayed(past, monitors.seeded(inner, seed, rng))
        yield from monitors.keep_best(inner, model, best) if keep_best else inner

    run: Stream = stream()
    if patience is not None:
        run = monitors.early_stop(run, patience)
    if stop is not None:
        run = monitors.stop_on(run, stop)
    return monitors.one_at_a_time(run)


def _check(*, epochs: int, batch_size: int, weight_decay: float, images: int, rates: dict[str, float]) -> None:
    if epochs < 1:
        raise ValueError(f"epochs={epochs}: at least one pass over the training images")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: at least one image a batch")
    if weight_decay < 0:
        raise ValueError(f"weight_decay={weight_decay}: a number ≥ 0")
    if not images:
        raise ValueError("the training split is empty")
    if not any(rates.values()):
        raise ValueError("every stage of this profile is frozen, so there is nothing to train; give the head a rate")


def _check_classes(model: nn.Sequential, data: Data) -> None:
    if not isinstance(head := getattr(model, "head", None), nn.Linear) or isinstance(data.classes, dict):
        return
    if head.out_features != len(data.classes):
        raise ValueError(f"the head has {head.out_features} classes, the data {len(data.classes)}: model = replace_head(model, data.classes)")


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> tuple[Any, list[Record], Tensor]:
    saved = monitors.read_checkpoint(path)
    differ = [k for k in settings if saved.settings.get(k) != settings[k]]
    if differ:
        was = ", ".join(f"{k}: {saved.settings.get(k)!r} there, {settings[k]!r} here" for k in differ)
        raise ValueError(f"{path.name} is the checkpoint of another run ({was}); delete it or name another file")
    monitors._restore(model, saved.model)
    monitors.load_by_name(optimizer, saved.optimizer)
    return saved.best, saved.records, saved.rng


def _sources(
    model: nn.Sequential, data: Data, cut: int, device: torch.device, augment: Augment | None, stop: Any, say: Callable[[str], None] | None
) -> tuple[Source, Source]:  # fmt: skip
    if not cut:
        return (_Augmented(data.train, augment) if augment else data.train), data.valid
    say = say or (lambda line: None)
    clock = time.perf_counter()
    announced = False

    def progress(done: int, total: int) -> None:
        nonlocal announced
        if stop is not None and stop.is_set():
            raise Stopped
        left = (time.perf_counter() - clock) / done * (total + len(data.valid) - done)
        if not announced and left > 2:
            say(f"running the frozen part once on {total + len(data.valid)} images, about {left:.0f} s …")
        announced = True

    made = [cache.features(model[:cut], split, device=device, progress=progress) for split in (data.train, data.valid)]
    names = [name for name, _ in model.named_children()]
    new, saved = sum(f.seconds for f in made if not f.reused), sum(f.seconds for f in made)
    how = f"encoded once in {new:.1f} s" if new else f"found on disk, {saved:.1f} s of work saved"
    size = sum(f.bytes for f in made) / 1e6
    say(f"frozen {names[0]} … {names[cut - 1]}: {how} ({len(data.train)} + {len(data.valid)} images, {size:.1f} MB)")
    return made[0], made[1]


class Stopped(Exception):  # noqa: N818 - a wish of the user, not an error
    """Stop was pressed while the frozen part was being encoded."""


class _Augmented:
    """The training split with its augmentation; valid and test never get one."""

    def __init__(self, split: Split, augment: Augment) -> None:
        self.split, self.augment = split, augment

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0) -> Iterator[tuple[Any, Any]]:
        return self.split.batches(batch_size, seed=seed, epoch=epoch, augment=self.augment)


def fit(
    model: nn.Sequential, data: Data, profile: Mapping[str, float], epochs: int = 10, *, verbose: bool = True, **settings: Any
) -> History:
    """Train `model` in place on `data.train` and return the run's History; the best epoch's weights are kept.

    profile: {stage: rate}. epochs: passes over the training images. settings: schedule (t → factor), optimizer
    ("adamw", "sgd" or a function of groups), weight_decay (weights only, not biases and norms), batch_size,
    clip_norm, loss, patience (epochs), augment, batchnorm ("frozen" keeps the pretrained statistics everywhere), seed, device, keep_best, checkpoint (a file: a killed run called
    again goes on from its last step), cached (False runs the frozen part every time). Frozen leading stages run once
    and are kept on disk; augmentation needs every image anew, so it switches that off.
    A run whose loss is no longer finite stops, says so, and leaves the last good weights.
    """
    say = print if verbose else (lambda line: None)
    clock, outcome = time.perf_counter(), "finished"
    history = History(runs=[_describe(profile, epochs, settings)])
    try:
        with closing(train(model, data, profile, epochs, say=say, **settings)) as stream:  # type: ignore[type-var]
            for record in stream:
                if isinstance(record, Step):
                    history.steps.append(record)
                else:
                    history.epochs.append(record)
        if len(history.epochs) < epochs:
            outcome = "early stop"
    except monitors.Diverged as error:
        outcome = "diverged"
        print(error)  # also when not verbose: a result that looks like one must not pass in silence
    history.stopped = [outcome]
    finite = [e for e in history.epochs if math.isfinite(e.valid_loss)]
    if settings.get("keep_best", True) and finite:
        history.best = min(finite, key=lambda e: e.valid_loss).epoch
    if history.epochs:
        shown = history.epochs[(history.best or len(history.epochs)) - 1]
        kept = f", weights of epoch {shown.epoch} kept" if history.best is not None else ""
        seconds = time.perf_counter() - clock
        say(f"{len(history.epochs)} epochs in {seconds:.1f} s, {outcome}: valid accuracy {shown.valid_accuracy:.3f}{kept}")
    return history


def _describe(profile: Mapping[str, float], epochs: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        # a schedule or augmentation is a function; the name of what made it is what a reader knows it by
        return getattr(value, "__qualname__", str(value)).split(".")[0] if callable(value) else value

    chosen = {k: plain(v) for k, v in settings.items() if k not in ("stop", "checkpoint", "device")}
    return {
        "profile": dict(profile), "epochs": epochs, **chosen, "torch": torch.__version__, "threads": torch.get_num_threads(),
        "python": sys.version.split()[0], "encoder": "torch fp32", "layout": "channels last",
    }  # fmt: skip
