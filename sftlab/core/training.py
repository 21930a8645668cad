"""A run: the loop with its monitors and the kept features, as a stream of records (`train`) or a History (`fit`).

Lessons, the learning-rate search, widgets and sweeps call these two.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import nn

from sftlab.core import monitors
from sftlab.core.features import Images, Say, sources
from sftlab.core.loop import Batches, Source, on_device, train_epochs
from sftlab.core.losses import Loss, cross_entropy
from sftlab.core.model import (
    BATCHNORM,
    BATCHNORMS,
    card,
    check_float32,
    check_stages,
    fingerprint,
    named_stages,
    train_mode,
    with_card,
)
from sftlab.core.monitors import Stream
from sftlab.core.profiles import Groups, Schedule, apply, check, constant, param_groups, scalars
from sftlab.core.records import History
from sftlab.data import Augment, Data, View, as_path
from sftlab.data.dataset import check_labels, in_order_of
from sftlab.data.storage import keep_memory

Optimizer = Callable[[Groups], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Optimizer] = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


def fit(
    model: nn.Sequential,
    data: Data,
    profile: Mapping[str, float],
    epochs: int = 10,
    *,
    schedule: Schedule | None = None,
    optimizer: str | Optimizer = "adamw",
    weight_decay: float = 0.01,
    batch_size: int = 32,
    clip_norm: float | None = None,
    loss: Loss = cross_entropy,
    patience: int | None = None,
    augment: Augment | None = None,
    views: int | None = None,
    batchnorm: str = "train",
    seed: int = 0,
    device: str | torch.device | None = None,
    keep_best: bool = True,
    checkpoint: str | Path | None = None,
    cached: bool = True,
    verbose: bool = True,
) -> History:
    """Train `model` in place on `data.train` and return the run's History; the best epoch's weights are kept.

    Best is the lowest validation loss, the weights that came in included (epoch 0): no run leaves a worse model. Of
    several tasks it is the sum of their losses, and the accuracy counts their answers together; `evaluate` parts them.
    Frozen leading stages run once and are kept on disk. A run whose loss is no longer finite, of a step or of the
    validation images, stops, says so, and leaves the best weights (with keep_best=False: what became of them). Raises
    ValueError for settings and data that cannot be, before anything moves.

    profile: {stage: rate}, 0 freezes. epochs: passes over the training images.
    schedule: t in [0, 1] → factor on every rate; constant by default. optimizer: "adamw", "sgd" (momentum 0.9), or a
    function of parameter groups. weight_decay: on what `profiles.decays`: weights, never biases, norms or positions.
    clip_norm: largest gradient norm. loss: (logits, targets) → scalar; of an epoch it is asked once for all labelled
    images together. patience: epochs without a lower validation loss before an early stop.
    augment: a function of uint8 batches; it needs every image anew, so frozen stages then run in every epoch. views:
    with augment, draw that many views of each image once and take them in turn, an epoch each: their features are kept
    while the process lives. batchnorm: "frozen" keeps the pretrained statistics in stages that learn as well.
    seed: of order, augmentation and dropout. keep_best: weights of the best epoch come back at the end.
    checkpoint: a file; a killed run called again goes on from it. It belongs to one run: to its data and labels, its
    start weights and every setting; a function counts by its code and what that refers to. cached: False runs frozen
    stages in every epoch. verbose: print a line or two.
    """
    settings = Settings.of(locals())
    say: Say = print if verbose else (lambda line: None)
    clock, outcome = time.perf_counter(), "finished"
    facts = settings.facts(lambda v: getattr(getattr(v, "func", v), "__qualname__", str(v)).split(".")[0])
    lab = {"torch": torch.__version__, "threads": torch.get_num_threads(), "python": sys.version.split()[0]}
    history = History(runs=[{"profile": dict(profile), **facts, **lab, "layout": "channels last"}])
    try:
        with closing(_run(model, data, profile, settings, None, say)) as stream:  # type: ignore[type-var]
            for record in stream:
                history.add(record)
        if history.steps and history.epochs[-1].epoch < settings.epochs:
            outcome = "early stop"
    except monitors.Diverged as error:
        outcome = "diverged"
        left = "" if settings.keep_best else " What became of the weights is left in the network: make it anew."
        print(f"{error}{left}")  # also when not verbose: a result that looks like one must not pass in silence
    history.stopped = [outcome]
    ran = history.epochs[-1].epoch if history.epochs else 0
    history.runs[0] |= {"ran": ran, "majority": data.valid.majority, "noun": data.train.noun}
    if history.epochs:
        kept = f", weights of epoch {history.best} kept" if history.best else ""
        if history.best == 0:
            kept = ": no epoch was better than the weights it came with, which are back"
        took = f"{ran} epoch{'s' * (ran != 1)} in {time.perf_counter() - clock:.1f} s"
        over = " of all tasks together" if isinstance(data.classes, Mapping) else ""
        say(f"{took}, {outcome}: valid accuracy{over} {history.kept.valid_accuracy:.3f}{kept}")
    return history


def train(
    model: nn.Sequential,
    data: Data,
    profile: Mapping[str, float],
    epochs: int = 10,
    *,
    schedule: Schedule | None = None,
    optimizer: str | Optimizer = "adamw",
    weight_decay: float = 0.01,
    batch_size: int = 32,
    clip_norm: float | None = None,
    loss: Loss = cross_entropy,
    patience: int | None = None,
    augment: Augment | None = None,
    views: int | None = None,
    batchnorm: str = "train",
    seed: int = 0,
    device: str | torch.device | None = None,
    keep_best: bool = True,
    checkpoint: str | Path | None = None,
    cached: bool = True,
    stop: Event | None = None,
    say: Say | None = None,
) -> Stream:
    """Train `model` in place and yield a record a step and an epoch; settings as for `fit`.

    Iterate to the end, or leave with `break`: the best weights are then back. Bind the stream to a name only inside
    `with contextlib.closing(stream)`. stop: an event that ends the run within one step, also while encoding.
    say: called with a line about what was encoded.
    """
    return _run(model, data, profile, Settings.of(locals()), stop, say or (lambda line: None))


@dataclass(frozen=True)
class Settings:
    """What `fit` and `train` are told besides network, data and profile, checked before anything moves."""

    epochs: int
    schedule: Schedule
    optimizer: str | Optimizer
    weight_decay: float
    batch_size: int
    clip_norm: float | None
    loss: Loss
    patience: int | None
    augment: Augment | None
    views: int | None
    batchnorm: str
    seed: int
    device: str | torch.device | None
    keep_best: bool
    checkpoint: Path | None
    cached: bool

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "views", "seed"):
            value, least = getattr(self, name), 0 if name == "seed" else 1
            if value is not None and not (type(value) is int and value >= least):
                raise ValueError(f"{name}={value!r}: a whole number ≥ {least}")
        if not (type(self.weight_decay) in (int, float) and 0 <= self.weight_decay < math.inf):
            raise ValueError(f"weight_decay={self.weight_decay!r}: a number ≥ 0")
        if self.clip_norm is not None and not (type(self.clip_norm) in (int, float) and self.clip_norm > 0):
            raise ValueError(f"clip_norm={self.clip_norm!r}: a number > 0, or None to clip nothing")
        if self.views is not None and self.augment is None:
            raise ValueError(f"views={self.views}: only together with augment=…, whose views are kept")
        if self.batchnorm not in BATCHNORM:
            raise ValueError(f"batchnorm={self.batchnorm!r}: {' or '.join(map(repr, BATCHNORM))}")
        if isinstance(self.optimizer, str) and self.optimizer not in OPTIMIZERS:
            names = " or ".join(map(repr, OPTIMIZERS))
            raise ValueError(f"optimizer={self.optimizer!r}: {names}, or a function of parameter groups")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Settings:
        """Pick the settings out of the arguments of `fit` or `train`."""
        values = scalars({f.name: arguments[f.name] for f in fields(cls)})
        path = values["checkpoint"] and as_path(values["checkpoint"])
        return cls(**values | {"schedule": values["schedule"] or constant(), "checkpoint": path})

    def facts(self, tell: Callable[[Any], str]) -> dict[str, Any]:
        """Return what tells one run from another: plain values, and of functions what `tell` returns."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("checkpoint", "device")}
        return {k: tell(v) if callable(v) else v for k, v in values.items()}


def _run(
    model: nn.Sequential,
    data: Data,
    profile: Mapping[str, float],
    s: Settings,
    stop: Event | None,
    say: Say,
) -> Stream:
    """Check everything, then return the stream: nothing moves before its first record is asked for."""
    rates = check(model, profile)
    check_stages(model)
    check_labels(data)
    if not any(rates.values()):
        raise ValueError("every stage of this profile is frozen, so there is nothing to train; give the head a rate")
    if 1 in (s.batch_size, len(data.train)) and s.batchnorm == "train":
        learning = (m for name, stage in named_stages(model) if rates[name] for m in stage.modules())
        if any(isinstance(module, BATCHNORMS) for module in learning):
            raise ValueError("BatchNorm cannot normalise one image alone: batch_size=2 or more, or batchnorm='frozen'")
    head = getattr(model, "head", None)
    outputs = head.out_features if isinstance(head, nn.Linear) else None
    data = in_order_of(card(model).get("classes"), outputs, data)
    run = _stream(model, data, rates, s, stop, say)
    if s.patience is not None:
        run = monitors.early_stop(run, s.patience)
    if stop is not None:
        run = monitors.stop_on(run, stop)
    return monitors.one_at_a_time(run, stop)


def check_learning(model: nn.Sequential) -> None:
    """Raise ValueError where torch could not compute gradients, or not well."""
    if not torch.is_grad_enabled() or any(p.is_inference() for p in model.parameters()):
        raise ValueError("gradients are switched off here, or were where the network was made: leave no_grad for that")
    check_float32(model)


def _stream(
    model: nn.Sequential, data: Data, rates: dict[str, float], s: Settings, stop: Event | None, say: Say
) -> Stream:
    check_learning(model)
    start, facts = monitors.Checkpoint(), dict[str, Any]()
    if s.checkpoint is not None:
        from sftlab.data.identity import identity  # joblib is not needed before

        facts = {**s.facts(identity), "profile": rates, "start weights": identity((repr(model), fingerprint(model)))}
        facts |= {split.name: identity((split.digest, split.y)) for split in (data.train, data.valid)}
    if s.device is not None:
        model.to(s.device)
    apply(model, rates)
    # what asks the model later needs: names for a head that only counted, and how training images were read
    told = {"classes": data.classes, "trained_size": data.train.size, "white": data.card.white}
    with_card(model, card(model) | {key: value for key, value in told.items() if value})
    make = OPTIMIZERS[s.optimizer] if isinstance(s.optimizer, str) else s.optimizer
    optimizer = make(param_groups(model, rates, s.weight_decay))
    if s.clip_norm is not None:
        _clip(optimizer, s.clip_norm)
    if s.checkpoint is not None and s.checkpoint.exists():
        start = monitors.resume(s.checkpoint, model, optimizer, facts)
        start.seen[:] = on_device(model, start.seen[:])
    with keep_memory():
        try:
            source, valid, cut = _sources(model, data, s, stop, say)
        except Stopped:
            return
        train_mode(model, rates, batchnorm=s.batchnorm)
        groups = data.valid.groups
        rest = model[cut:]  # what comes before it neither runs nor changes any more
        run = monitors.seeded(train_epochs(rest, source, valid, optimizer, rates, s, start, groups), s.seed, start)
        if s.checkpoint is not None:
            run = monitors.checkpoint(run, s.checkpoint, rest, optimizer, start, facts)
        run = monitors.watch_divergence(run)
        yield from monitors.keep_best(run, rest, start.best) if s.keep_best else run


def _clip(optimizer: torch.optim.Optimizer, norm: float) -> None:
    learning = [p for group in optimizer.param_groups for p in group["params"]]

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(learning, norm)

    optimizer.register_step_pre_hook(clip)


class Stopped(Exception):
    """Stop was pressed while the frozen part was being encoded."""


def _sources(model: nn.Sequential, data: Data, s: Settings, stop: Event | None, say: Say) -> tuple[Source, Source, int]:
    """Return what delivers training and validation batches, and how many leading stages they have behind them."""

    def progress(done: int, total: int) -> None:
        if stop is not None and stop.is_set():
            raise Stopped

    views, augment = list[Images]([data.train]), s.augment
    if s.views and augment is not None:
        views, augment = [View(data.train, augment, s.seed, number) for number in range(s.views)], None
    if augment is not None or not s.cached:
        return Turns(views, augment), data.valid, 0
    (*delivering, valid), cut = sources(model, [*views, data.valid], progress=progress, say=say)
    return Turns(delivering), valid, cut


@dataclass(frozen=True)
class Turns:
    """Views of the training images, an epoch each, then from the first again; the only place that augments.

    augment: drawn anew at each step; valid and test never get one.
    """

    views: Sequence[Any]
    augment: Augment | None = None

    def __len__(self) -> int:
        return len(self.views[0])

    def batches(self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0) -> Batches:
        """Iterate over (images or features, targets) of the view whose turn it is."""
        view, more = self.views[epoch % len(self.views)], {} if self.augment is None else {"augment": self.augment}
        yield from view.batches(batch_size, seed=seed, epoch=epoch, **more)
