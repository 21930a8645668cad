"""Monitors are generators around a training stream: they pass every record through and act on what they see.

    stream = early_stop(keep_best(train_epochs(…), model), patience=3)

Each closes the stream it wraps, so leaving the outermost one (`break`, an error, Stop) ends them all, innermost last.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sftlab.core.records import Epoch, Step

Record = Step | Epoch
Stream = Iterator[Record]


@dataclass
class Best:
    """The best weights so far, by value: a copy, so that "best" can never turn into "last"."""

    value: float = math.inf
    epoch: int | None = None
    state: dict[str, Tensor] | None = None


def keep_best(stream: Stream, model: nn.Module, best: Best | None = None) -> Stream:
    """Remember the weights at the lowest validation loss and put them back when the stream ends, however it ends.

    An `Epoch` of number 0 puts the weights that came in among them. Without any epoch, weights stay as they are.
    """
    best = best if best is not None else Best()
    try:
        with closing(stream):  # type: ignore[type-var]
            for record in stream:
                if isinstance(record, Epoch) and record.valid_loss < best.value:
                    best.value, best.epoch, best.state = record.valid_loss, record.epoch, copy_state(model)
                yield record
    finally:
        if best.state is not None:
            restore_state(model, best.state)


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Copy what training can change: parameters that learn, and every buffer."""
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    buffers = {name for name, _ in model.named_buffers()}
    return {k: v.detach().clone() for k, v in model.state_dict().items() if k in learns or k in buffers}


def restore_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Write a copied state back, in place; what it does not name stays as it is."""
    current = model.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            current[name].copy_(value)


def early_stop(stream: Stream, patience: int, min_delta: float = 0.0) -> Stream:
    """End the stream after `patience` epochs in a row without a validation loss lower by more than `min_delta`."""
    if patience < 1:
        raise ValueError(f"patience={patience}: at least one epoch")
    best, waited = math.inf, 0
    with closing(stream):  # type: ignore[type-var]
        for record in stream:
            yield record
            if isinstance(record, Epoch):
                better = record.valid_loss < best - min_delta
                best, waited = (record.valid_loss, 0) if better else (best, waited + 1)
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
    """The loss is no longer a number: the learning rate is too high for this network and these images."""


def watch_divergence(stream: Stream) -> Stream:
    """Pass the first record whose loss is not finite, then raise Diverged."""
    with closing(stream):  # type: ignore[type-var]
        for record in stream:
            yield record
            if isinstance(record, Step) and not math.isfinite(record.loss):
                rates = [rate for rate in record.rates.values() if rate > 0]
                raise Diverged(
                    f"the run diverged at step {record.step}: loss {record.loss} at a learning rate of "
                    f"{max(rates, default=0.0):.2g}. Try a tenth of it, or find_lr(model, data, profile)."
                )


def replayed(past: list[Record], stream: Stream) -> Stream:
    """Yield the records from before the run was killed, then go on: monitors outside rebuild their state from them."""
    with closing(stream):  # type: ignore[type-var]
        yield from past
        yield from stream


def seeded(stream: Stream, seed: int, state: Tensor | None = None) -> Stream:
    """Run the stream on a random generator of its own: dropout is a function of the seed, whatever the caller draws.

    The global generator is swapped in for each record and swapped out again before the caller sees it.
    """
    own = state if state is not None else torch.Generator().manual_seed(seed).get_state()
    with closing(stream):  # type: ignore[type-var]
        while True:
            outer = torch.get_rng_state()
            torch.set_rng_state(own)
            try:
                record = next(stream)
            except StopIteration:
                return
            finally:
                own = torch.get_rng_state()
                torch.set_rng_state(outer)
            yield record


_running = threading.Lock()
_owner: list[int] = []


def one_at_a_time(stream: Stream) -> Stream:
    """Let one run train at a time in this process; a second thread waits, a second stream in one thread is refused.

    Two runs would share the cores and the random generator: both would be slower and neither would be reproducible.
    """
    if _running.locked() and _owner == [threading.get_ident()]:
        raise RuntimeError(
            "another training stream is still open in this thread; finish it, or call its close(), first"
        )
    with _running:
        _owner[:] = [threading.get_ident()]
        try:
            with closing(stream):  # type: ignore[type-var]
                yield from stream
        finally:
            _owner.clear()


def is_running() -> bool:
    """Tell whether a run is training right now: a second panel then says that it waits."""
    return _running.locked()
