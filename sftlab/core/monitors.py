"""Monitors: keep the best weights, stop early, go on after a kill. `core.training` puts them around the loop.

A monitor is a generator around a stream of records: it passes every record through and acts on what it sees.

    stream = early_stop(keep_best(train_epochs(…), model, Best()), patience=3)

Each closes the stream it wraps, so leaving the outermost one (`break`, an error, Stop) ends them all, innermost last.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.records import Epoch, Step, from_dict, to_dict
from sftlab.data.storage import replacing

Record = Step | Epoch
Stream = Iterator[Record]


@dataclass
class Best:
    """The best weights so far, by value: a copy, so that "best" can never turn into "last"."""

    value: float = math.inf
    epoch: int | None = None
    state: dict[str, Tensor] | None = None


def keep_best(stream: Stream, model: nn.Module, best: Best) -> Stream:
    """Remember the weights at the lowest validation loss and put them back when the stream ends, however it ends.

    An `Epoch` of number 0 puts the weights that came in among them. Without any epoch, weights stay as they are.
    """
    try:
        with closing(stream):  # type: ignore[type-var]
            for record in stream:
                if isinstance(record, Epoch) and record.valid_loss < best.value:
                    best.value, best.epoch, best.state = record.valid_loss, record.epoch, copy_state(model)
                yield record
    finally:
        if best.state is not None:
            model.load_state_dict(best.state, strict=False)


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Copy what training can change: parameters that learn, and every buffer."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {name: value.detach().clone() for name, value in model.state_dict().items() if name not in frozen}


def early_stop(stream: Stream, patience: int) -> Stream:
    """End the stream after `patience` epochs in a row without a lower validation loss."""
    best, waited = math.inf, 0
    with closing(stream):  # type: ignore[type-var]
        for record in stream:
            yield record
            if isinstance(record, Epoch):
                waited = 0 if record.valid_loss < best else waited + 1
                best = min(best, record.valid_loss)
                if waited >= patience:
                    return


def stop_on(stream: Stream, event: threading.Event) -> Stream:
    """End the stream within one step after the event is set: what a Stop button does."""
    with closing(stream):  # type: ignore[type-var]
        for record in stream:
            yield record
            if event.is_set():
                return


class Diverged(RuntimeError):
    """The loss of a step, or of the validation images, is no longer a number."""


def watch_divergence(stream: Stream) -> Stream:
    """Pass the first record whose loss is not finite, then raise Diverged."""
    rate = 0.0
    with closing(stream):  # type: ignore[type-var]
        for record in stream:
            yield record
            if isinstance(record, Step):
                loss, where = record.loss, "loss"
                rate = max(record.rates.values())
            else:
                loss, where = record.valid_loss, "validation loss"
            if math.isfinite(loss):
                continue
            where = f"{where} {loss}"
            if not record.epoch:
                raise Diverged(f"{where} before the first step: look at the network's weights and at the data.")
            raise Diverged(
                f"the run diverged at step {record.step}: {where} at a learning rate of {rate:.2g}. "
                "Try a tenth of it, or find_lr(model, data, profile)."
            )


def seeded(stream: Stream, seed: int, run: Checkpoint) -> Stream:
    """Run the stream on a random generator of its own: dropout is a function of the seed, whatever the caller draws.

    The global generator is swapped in for each record and swapped out again before the caller sees it; `run` keeps its
    state meanwhile.
    """
    if run.rng is None:
        run.rng = torch.Generator().manual_seed(seed).get_state()
    with closing(stream):  # type: ignore[type-var]
        while True:
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(run.rng)
                record = next(stream, None)
                run.rng = torch.get_rng_state()
            if record is None:
                return
            yield record


_running = threading.Lock()
_owner: list[int] = []


def one_at_a_time(stream: Stream, stop: threading.Event | None = None) -> Stream:
    """Let one run train at a time in this process; a second thread waits, a second stream in one thread is refused.

    stop: ends the waiting as well, without a record.
    Two runs would share the cores and the random generator: both would be slower and neither would be reproducible.
    """
    if _running.locked() and _owner == [threading.get_ident()]:
        raise RuntimeError(
            "another training stream is still open in this thread; finish it, or call its close(), first"
        )
    while not _running.acquire(timeout=0.05):
        if stop is not None and stop.is_set():
            return
    try:
        _owner[:] = [threading.get_ident()]
        with closing(stream):  # type: ignore[type-var]
            yield from stream
    finally:
        _owner.clear()
        _running.release()


def is_running() -> bool:
    """Tell whether a run is training right now: a second panel then says that it waits."""
    return _running.locked()


CHECKPOINT_SECONDS = 10.0


@dataclass
class Checkpoint:
    """Where a run was when it was killed: with weights and optimizer all that it needs to go on as if it had not been.

    seen: logits and targets of the batches of the epoch that was going on.
    """

    records: list[Record] = field(default_factory=list)
    seen: list[tuple[Any, Any]] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    rng: Tensor | None = None


def checkpoint(
    stream: Stream,
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Checkpoint,
    settings: dict[str, Any],
) -> Stream:
    """Write a checkpoint after each epoch, and after a step when the last one is CHECKPOINT_SECONDS old.

    It is written whole or not at all. The records from before the run was killed come first: monitors outside rebuild
    their state from them.

    Wrap `keep_best` *around* it, so that the weights on disk are the ones being trained; both know `run.best`.
    """
    last = -math.inf
    with closing(stream):  # type: ignore[type-var]
        yield from run.records
        for record in stream:
            run.records.append(record)
            yield record
            if time.monotonic() - last >= CHECKPOINT_SECONDS or isinstance(record, Epoch):
                last = time.monotonic()
                state = {"model": copy_state(model), "optimizer": optimizer.state_dict(), "settings": settings}
                with replacing(path) as partial:
                    torch.save(state | vars(run) | {"records": to_dict(run.records), "best": vars(run.best)}, partial)


def resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> Checkpoint:
    """Put model and optimizer back to where the checkpoint's run was, and return it (tensors and plain data only).

    Raises ValueError for a file that is no checkpoint, or that of another run.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        run = Checkpoint(from_dict(data["records"]), data["seen"], Best(**data["best"]), data["rng"])
        saved, state, weights = data["settings"], data["optimizer"], data["model"]
    except Exception as error:
        raise ValueError(
            f"{path} is not a checkpoint of this lab ({type(error).__name__}); delete it to start again"
        ) from None
    if differ := [k for k in settings if saved.get(k) != settings[k]]:
        other = ", ".join(f"{k}: {saved.get(k)!r} there, {settings[k]!r} here" for k in differ)
        fix = "make the network anew, as it was when that run began; " * ("start weights" in differ)
        raise ValueError(f"{path} is the checkpoint of another run ({other}); {fix}delete it or name another file")
    model.load_state_dict(weights, strict=False)
    optimizer.load_state_dict(state)  # by position: the same profile and weights have made the same groups
    return run
