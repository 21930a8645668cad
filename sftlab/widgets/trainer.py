"""Runs in a thread: what a panel that trains needs besides its looks."""

from __future__ import annotations

import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Protocol

from torch import nn

from sftlab.core import cache, monitors, profiles, training
from sftlab.core.losses import NO_LABEL
from sftlab.core.model import card, stage_names, with_card
from sftlab.data import Data, first_task
from sftlab.widgets.runs import Run

KEPT = 6  # runs to compare; more lines cannot be told apart
OFTEN = 0.12  # seconds between two pictures of a run that goes on
QUIET = 0.25  # seconds without a picture in which a run that is over by then gets by with one, its last


class Page(Protocol):
    """Where a trainer shows what happens. Its methods are called from the trainer's thread."""

    def draw(self) -> None:
        """Show the runs as they are now."""

    def say(self, said: str, error: str = "") -> None:
        """Tell what has happened."""

    def busy(self, what: str) -> None:
        """Tell what goes on, '' when nothing does."""


class Trainer:
    """Trains copies of a network, one run at a time, and keeps the newest `runs` and the last `model`.

    settings: of `fit`, the same for every run. runs: the list to keep them in.
    """

    def __init__(
        self, model: nn.Sequential, data: Data, settings: Mapping[str, Any], runs: list[Run], page: Page
    ) -> None:
        self.model, self._base = model, copy.deepcopy(model)
        self.data, self.settings, self.runs, self.page = data, dict(settings), runs, page
        self.stages = stage_names(model)
        self.probe = self.stages.index("hidden") if "hidden" in self.stages else len(self.stages) - 1
        labels = first_task(data.valid.y)
        labels = labels[labels != NO_LABEL]
        self.images, self.majority = len(labels), data.valid.majority
        self.error: Exception | None = None
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._next: Callable[[], dict[str, Any]] | None = None
        self._on_disk = self._probe_is_on_disk()

    @property
    def is_training(self) -> bool:
        """Whether a run goes on."""
        return self._thread is not None

    def is_instant(self, stage: str) -> bool:
        """Tell whether only the head learns, on features that are on disk: a matter of a tenth of a second."""
        return self._on_disk and self.stages.index(stage) >= self.probe

    def strategy(self, stage: str) -> str:
        """Name what it is to learn from `stage` on."""
        position = self.stages.index(stage)
        if not position:
            return "full fine-tuning"
        return "linear probe" if position >= self.probe else f"last {len(self.stages) - position} stages"

    def start(self, settings: Callable[[], dict[str, Any]], *, queue: bool = False) -> None:
        """Start a run with the settings of this moment; while one goes on, nothing happens.

        queue: then run once more, with the settings of that moment, when the present run has ended.
        """
        with self._lock:  # clicks may arrive on the main thread or on a subshell's
            if self._thread is not None:
                self._next = settings if queue else self._next
                return
            self._stop.clear()
            self._thread = threading.Thread(target=self._work, args=(settings(),), daemon=True, name="sftlab-run")
            self._thread.start()

    def stop(self) -> None:
        """End the present run within one step; nothing that waits for it begins."""
        self._next = None
        self._stop.set()

    def _work(self, values: dict[str, Any]) -> None:
        while True:
            try:
                self.error = None
                self._train(values)
            except Exception as error:  # belongs on the page; whoever waits for the run raises it as well
                self.error = error
                self.page.say("", error=f"This run failed: {type(error).__name__}: {error}")
            with self._lock:
                settings, self._next = self._next, None
                if settings is None:
                    self._thread = None
                    return
            values = settings()

    def _train(self, values: dict[str, Any]) -> None:
        """Make one run and show it; one that was stopped before its first step leaves nothing."""
        described = {**values, "learns": self.strategy(values["layers"])}
        run = Run(1 + max((r.number for r in self.runs), default=0), described, self.images)
        slow, begins = not self.is_instant(values["layers"]), f"{run.name}: begins"
        if slow:
            self.page.busy(begins)
            self.page.say("Training has begun; Stop ends it within one step.")
        while monitors.is_running() and not self._stop.is_set():
            self.page.busy("another panel is training; this one waits for it")
            slow = True
            time.sleep(0.02)
        if slow:
            self.page.busy(begins)
        # The same settings give the same curve again, so it takes the place of the old one.
        self.runs[:] = [*[r for r in self.runs if r.settings != described][-KEPT + 1 :], run]
        clock = time.perf_counter()
        try:
            self._follow(run, values, clock, quiet=0.0 if slow else QUIET)
        except monitors.Diverged:
            run.outcome, run.history.stopped = "diverged", ["diverged"]
        finally:
            run.seconds = time.perf_counter() - clock
            if not run.history.steps:
                self.runs.remove(run)
            self._on_disk = self._on_disk or (bool(run.history.steps) and values["layers"] in self.stages[self.probe :])
            self.page.draw()
            self.page.busy("")
        if run.outcome == "stopped":
            self.page.say(
                f"Stopped after step {len(run.history.steps)}; the model has its best weights so far."
                if run.history.steps
                else "Stopped before the first step; what was encoded is kept."
            )
        else:
            self.page.say(f"Run {run.number} {run.ended.strip('✗ ')} after {run.seconds:.1f} s.")

    def _follow(self, run: Run, values: dict[str, Any], clock: float, quiet: float) -> None:
        """Train a copy and show a few pictures a second: the first after `quiet` seconds and the first step."""
        learns = self.stages[self.stages.index(values["layers"]) :]
        model = self._copy(learns)
        profile = profiles.surgical(model, learns, lr=values["rate"])
        settings = {**self.settings, "optimizer": values["optimizer"].lower()}
        run.history.runs = [{"profile": profile, "epochs": values["epochs"], **settings, "majority": self.majority}]
        steps = values["epochs"] * -(-len(self.data.train) // settings.get("batch_size", 32))
        drawn, learning = clock + quiet - OFTEN, 0.0
        stream = training.train(
            model, self.data, profile, values["epochs"], stop=self._stop, say=self.page.busy, **settings
        )
        with closing(stream):  # type: ignore[type-var]
            for record in stream:
                run.history.add(record)
                now = time.perf_counter()
                begins = not learning and bool(run.history.steps)
                learning = now if begins else learning
                if now - drawn > OFTEN or (begins and not quiet):
                    drawn, run.seconds = now, now - clock
                    self.page.draw()
                    self.page.busy(_progress(run, steps, now - learning))
        run.outcome = "stopped" if self._stop.is_set() else "finished"
        run.history.stopped = [run.outcome]
        self.model = model

    def _copy(self, learns: list[str]) -> nn.Sequential:
        """Return the network with copies of the stages that will learn; frozen ones are shared, which is quicker."""
        stages = [(n, copy.deepcopy(s) if n in learns else s) for n, s in self._base.named_children()]
        return with_card(nn.Sequential(OrderedDict(stages)), card(self._base))

    def _probe_is_on_disk(self) -> bool:
        cut = [name for name, _ in self._base.named_children()].index(self.stages[self.probe])
        prefix = cache.Prefix(self._base[:cut], self.data.train.size, encoder=self.settings.get("encoder", "torch"))
        return not any(prefix.missing(split) for split in (self.data.train, self.data.valid))


def _progress(run: Run, steps: int, seconds: float) -> str:
    """Say where a run is and how long it will take; seconds: since its first step."""
    if not run.history.steps:
        return f"run {run.number}: the untrained network is measured"
    step, epochs = run.history.steps[-1], run.settings["epochs"]
    said = f"run {run.number}: epoch {step.epoch} of {epochs}, loss {step.loss:.3f}"
    return f"{said}, about {seconds / (step.step - 1) * (steps - step.step):.0f} s left" if step.step > 1 else said
