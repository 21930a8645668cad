"""A run: the loop with its monitors and the store of frozen features, as a stream (`train`) or as a History (`fit`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import nn

from sftlab.core import memory, monitors
from sftlab.core.loop import train_epochs
from sftlab.core.model import card, train_mode
from sftlab.core.monitors import Record, Stream
from sftlab.core.profiles import apply, check, param_groups
from sftlab.core.records import History
from sftlab.core.settings import OPTIMIZERS, Settings
from sftlab.core.sources import Say, Stopped, sources
from sftlab.data import Data


def train(
    model: nn.Sequential, data: Data, profile: Mapping[str, float], epochs: int = 10, *, stop: Event | None = None,
    say: Say | None = None, **settings: Any,
) -> Stream:  # fmt: skip
    """Train `model` in place and yield a record a step and an epoch; settings as for `fit`.

    Iterate to the end, or leave with `break`: the best weights are then back. Bind the stream to a name only inside
    `with contextlib.closing(stream)`. stop: an event that ends the run within one step, also while encoding.
    say: called with a line about what was encoded.
    """
    s, rates = Settings.of(settings), check(model, profile)
    _check(model, data, rates, epochs)
    run = _stream(model, data, rates, epochs, s, stop, say or (lambda line: None))
    if s.patience is not None:
        run = monitors.early_stop(run, s.patience)
    if stop is not None:
        run = monitors.stop_on(run, stop)
    return memory.keeping(monitors.one_at_a_time(run))


def _stream(
    model: nn.Sequential, data: Data, rates: dict[str, float], epochs: int, s: Settings, stop: Event | None, say: Say
) -> Stream:
    if s.device is not None:
        model.to(s.device)
    apply(model, rates)
    optimizer = (OPTIMIZERS[s.optimizer] if isinstance(s.optimizer, str) else s.optimizer)(
        param_groups(model, rates, s.weight_decay)
    )
    if s.clip_norm is not None:
        _clip(optimizer, s.clip_norm)
    best, past, rng = monitors.Best(), list[Record](), None
    facts = {
        **s.facts(),
        "profile": rates,
        "epochs": epochs,
        "train": data.train.digest,
        "model": card(model).get("name"),
    }
    if s.checkpoint is not None and Path(s.checkpoint).exists():
        saved = monitors.resume(s.checkpoint, model, optimizer, facts)
        best, past, rng = saved.best, saved.records, saved.rng
    try:
        source, valid, cut = sources(model, data, s, stop, say)
    except Stopped:
        return
    train_mode(model, rates, batchnorm=s.batchnorm)
    rest = model[cut:]  # what comes before it neither runs nor changes any more
    run = train_epochs(
        rest, source, valid, optimizer, rates, epochs=epochs, schedule=s.schedule, loss=s.loss,
        batch_size=s.batch_size, seed=s.seed, batchnorm=s.batchnorm, past=past, untouched=s.keep_best,
    )  # fmt: skip
    run = monitors.watch_divergence(run)
    if s.checkpoint is not None:
        run = monitors.checkpoint(run, s.checkpoint, rest, optimizer, best=best, settings=facts, past=past)
    run = monitors.replayed(past, monitors.seeded(run, s.seed, rng))
    yield from monitors.keep_best(run, rest, best) if s.keep_best else run


def _check(model: nn.Sequential, data: Data, rates: Mapping[str, float], epochs: int) -> None:
    if epochs < 1:
        raise ValueError(f"epochs={epochs}: at least one pass over the training images")
    if not len(data.train):
        raise ValueError("the training split is empty")
    if not any(rates.values()):
        raise ValueError("every stage of this profile is frozen, so there is nothing to train; give the head a rate")
    head = getattr(model, "head", None)
    if isinstance(head, nn.Linear) and isinstance(data.classes, list) and head.out_features != len(data.classes):
        fix = "model = replace_head(model, data.classes)"
        raise ValueError(f"the head has {head.out_features} classes, the data {len(data.classes)}: {fix}")


def _clip(optimizer: torch.optim.Optimizer, norm: float) -> None:
    learning = [p for group in optimizer.param_groups for p in group["params"]]

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(learning, norm)

    optimizer.register_step_pre_hook(clip)


def fit(
    model: nn.Sequential, data: Data, profile: Mapping[str, float], epochs: int = 10, *, verbose: bool = True,
    **settings: Any,
) -> History:  # fmt: skip
    """Train `model` in place on `data.train` and return the run's History; the best epoch's weights are kept.

    Best is the lowest validation loss, the weights that came in included (epoch 0): no run leaves a worse model. Of
    several tasks it is the sum of their losses, and the accuracy counts their answers together; `evaluate` parts them.
    profile: {stage: rate}, 0 freezes. epochs: passes over the training images. verbose: print a line or two.
    settings: schedule, optimizer, weight_decay, batch_size, clip_norm, loss, patience, augment, views, batchnorm, seed,
    device, keep_best, checkpoint, cached, encoder; `sftlab.core.settings.Settings` says what each means.
    Frozen leading stages run once and are kept on disk. A run whose loss is no longer finite stops, says so, and
    leaves the last good weights. Raises ValueError or TypeError for settings that cannot be, before anything moves.
    """
    say: Say = print if verbose else (lambda line: None)
    clock, outcome = time.perf_counter(), "finished"
    history = History(runs=[_describe(profile, epochs, settings)])
    try:
        with closing(train(model, data, profile, epochs, say=say, **settings)) as stream:  # type: ignore[type-var]
            for record in stream:
                history.add(record)
        if history.steps and history.epochs[-1].epoch < epochs:
            outcome = "early stop"
    except monitors.Diverged as error:
        outcome = "diverged"
        print(error)  # also when not verbose: a result that looks like one must not pass in silence
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


def _describe(profile: Mapping[str, float], epochs: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "profile": dict(profile), "epochs": epochs, **Settings.of(settings).facts(), "torch": torch.__version__,
        "threads": torch.get_num_threads(), "python": sys.version.split()[0], "layout": "channels last",
    }  # fmt: skip
