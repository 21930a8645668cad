"""Runs that are judged twice: by what they learn and by what is left of what was known before."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from torch import nn

from sftlab.core import monitors, training
from sftlab.core.loop import validate
from sftlab.core.losses import cross_entropy
from sftlab.core.model import replace_head
from sftlab.core.records import Epoch, Interval
from sftlab.core.statistics import wilson
from sftlab.data import Data
from sftlab.plot import base


@dataclass
class Flight:
    """One run: its profile, (old, new) validation accuracy before the first step and after each epoch, its end."""

    number: int
    profile: dict[str, float]
    path: list[tuple[float, float]] = field(default_factory=list)
    outcome: str = "running"
    seconds: float = 0.0


class Course:
    """What every flight shares: a `source` that knows the `old` task, the `new` one, epochs and settings of `fit`.

    model: the network of the newest flight, under its new head. majority: rates of old and new validation images.
    """

    def __init__(self, source: nn.Sequential, old: Data, new: Data, epochs: int, settings: Mapping[str, Any]) -> None:
        self.source, self.old, self.new, self.epochs, self.model = source, old, new, epochs, source
        given = {key: value for key, value in settings.items() if key != "verbose"}  # a stream is silent anyway
        self.settings = {"keep_best": False, "cached": False, **given}
        self.images = [len(part.valid) for part in (old, new)]
        self.majority = [part.valid.majority for part in (old, new)]

    def fly(self, flight: Flight, stop: Event) -> Iterator[None]:
        """Train a copy of the source by the flight's profile; yield whenever the path has grown by a point."""
        clock = time.perf_counter()
        model = replace_head(self.source, self.new.classes, seed=self.settings.get("seed", 0))
        head = {"head": self.source.get_submodule("head")}
        before = nn.Sequential(OrderedDict(model.named_children()) | head)
        stream = training.train(model, self.new, flight.profile, self.epochs, stop=stop, **self.settings)
        flight.path.append((_accuracy(before, self.old), _accuracy(model, self.new)))
        yield
        try:
            with closing(stream):  # type: ignore[type-var]
                for record in stream:
                    if isinstance(record, Epoch) and record.epoch:
                        flight.path.append((_accuracy(before, self.old), record.valid_accuracy))
                        flight.seconds = time.perf_counter() - clock
                        yield
            flight.outcome = "was stopped" if stop.is_set() else "finished"
        except monitors.Diverged:
            flight.outcome = "diverged: this profile is too hot"
        flight.seconds, self.model = time.perf_counter() - clock, model

    def intervals(self, flight: Flight) -> list[Interval]:
        """Return the old and the new accuracy at the end of the path, each with its interval."""
        pairs = zip(flight.path[-1], self.images, strict=True)
        return [wilson(round(share * images), images) for share, images in pairs]

    def told(self, flight: Flight) -> str:
        """Return what a flight came to, in a sentence or two."""
        old, new = self.intervals(flight)
        end = "" if flight.outcome == "finished" else f" It {flight.outcome}."
        return (
            f"Run {flight.number} after {flight.seconds:.1f} s: keeps {base.percent(old.value)} of the old task "
            f"({100 * old.low:.0f}–{100 * old.high:.0f}), learns {base.percent(new.value)} of the new one "
            f"({100 * new.low:.0f}–{100 * new.high:.0f}).{end}"
        )


def _accuracy(model: nn.Sequential, data: Data) -> float:
    return validate(model, data.valid.batches(256), cross_entropy)[1]
