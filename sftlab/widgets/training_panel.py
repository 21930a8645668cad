"""Training in the learner's hand: what cockpit and wind tunnel share, from Train and Stop to the runs so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from IPython import get_ipython
from torch import nn

from sftlab.core import monitors, training
from sftlab.core.monitors import Stream
from sftlab.core.records import Epoch, History, Interval, Step
from sftlab.data import Data
from sftlab.widgets.base import Worker, share
from sftlab.widgets.controls import Control, ControlPanel, button

OFTEN = 0.12  # seconds between two pictures of a run that goes on
QUIET = 0.25  # seconds without a picture in which a run that is over by then gets by with one, its last

workers = WeakSet[Worker]()  # of all panels that train


@dataclass
class Run:
    """A run that a learner started. settings: what the controls said; the same ones give the same run again.

    accuracy: on the validation images, of the weights it kept; None before anything was measured.
    """

    number: int
    settings: dict[str, Any]
    outcome: str = "running"
    seconds: float = 0.0
    history: History = field(default_factory=History)
    accuracy: Interval | None = None

    @property
    def score(self) -> float:
        """Its validation accuracy, 0 before anything was measured."""
        return self.accuracy.value if self.accuracy else 0.0


class TrainingPanel(ControlPanel):
    """Controls with Train, Stop and Forget: one run at a time, in a thread. `model` is the network of the last run.

    Subclasses say how a run begins (`begin`), what a record of it tells (`tell`), how the runs are shown (`draw`), what
    to say at the end of one (`ending`) and then (`hint`). settings: of `fit`, the same for every run.
    """

    most = 6  # runs to compare; more lines cannot be told apart
    pinned = 0  # the number of a run that stays
    error: Exception | None = None
    kind: type[Run]  # of its runs

    def __init__(
        self,
        key: tuple[Any, ...],
        model: nn.Sequential,
        data: Data,
        controls: Mapping[str, Control],
        settings: Mapping[str, Any],
        *,
        name: str,
        title: str,
    ) -> None:
        buttons = {"train": button("Train"), "stop": button("Stop"), "forget": button("Forget runs")}
        super().__init__(key, {**controls, **buttons}, name=name, title=title, live=False)
        self.inputs.disabled = ["stop"]
        self.model, self.data, self.settings = model, data, dict(settings)
        self.runs: list[Any] = self.memory.setdefault("runs", [])
        self.before: list[Any] = []  # what comes back when a run ends before its first step
        self.worker = Worker(self._failed)
        if predecessor := self.memory.get("worker"):  # the cell runs again: nobody can stop that run any more
            predecessor.end()  # it has the same runs, and shows how it ended to a page that is gone
        self.memory["worker"] = self.worker
        workers.add(self.worker)
        if kernel := getattr(get_ipython(), "kernel", None):
            kernel.saved_sigint_handler = _interrupted  # which ipykernel installs between cells, to ignore interrupts

    @property
    def is_training(self) -> bool:
        """Whether a run of this panel goes on."""
        return self.worker.is_busy

    async def run(self) -> None:
        """Train once as the controls say and wait for it; Stop and an interrupted kernel end it early.

        The output then holds the finished picture, also for readers without a kernel. Raises what the run raised.
        """
        self.start()
        try:
            while self.is_training:
                await asyncio.sleep(0.02)
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.worker.end()
        self.settle()
        if self.error is not None:
            raise self.error

    def start(self) -> None:
        """Train as the controls say now, when the run that goes on has ended; only the newest wish waits."""
        values = self.values
        self.worker.ask(lambda: self._train({key: values[key] for key in self.lasting}))

    def changed(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Answer a click or a released control."""
        if new["stop"] > old["stop"]:
            self.worker.stop()
        elif new["forget"] > old["forget"]:
            self.runs[:] = [run for run in self.runs if run.outcome == "running"]
            self.before.clear()
            self.draw()
            self.say("")
        elif new["train"] > old["train"]:
            self.start()
        elif self.is_instant(self.values):
            if "train" in self.inputs.disabled:
                self.say(f"Queued: the head is trained when run {self.runs[-1].number} ends.")
            self.start()
        else:
            self.say("Training goes on." if self.is_training else "")

    def is_instant(self, values: Mapping[str, Any]) -> bool:
        """Tell whether letting go of a control trains at once."""
        return True

    def say(self, said: str, error: str = "") -> None:
        """Answer in the status line, which screen readers read out; what to do next is added."""
        hint = "" if "train" in self.inputs.disabled else self.hint()
        self.answer(said=f"{said} {hint}".strip(), error=error)

    def busy(self, progress: str) -> None:
        """Tell what goes on, '' when nothing does any more."""
        self.inputs.disabled = ["train"] if progress else ["stop"]

    def begin(self, run: Any) -> Stream:
        """Put the network to be trained into `model` and return the records of its training."""
        raise NotImplementedError

    def train(self, run: Any, profile: dict[str, float], epochs: int, **settings: Any) -> Stream:
        """Return the records of the training of `model`, which the run's history describes."""
        settings = self.settings | settings
        run.history.runs = [{"profile": profile, "epochs": epochs, **settings, "majority": self.data.valid.majority}]
        settings |= {"stop": self.worker.stopping, "say": self.busy}
        return training.train(self.model, self.data, profile, epochs, **settings)

    def tell(self, run: Any, record: Step | Epoch) -> str:
        """Return what goes on, now that the run's history has this record; '' if there is nothing new to see."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show the runs as they are now."""
        raise NotImplementedError

    def ending(self, run: Any) -> str:
        """Return what to say at a run's end."""
        raise NotImplementedError

    def hint(self) -> str:
        """Return what to do next."""
        raise NotImplementedError

    def _train(self, values: dict[str, Any]) -> None:
        """Make one run and show it a few times a second; one that was stopped before its first step leaves nothing."""
        self.error, waits = None, monitors.is_running()
        run = self.kind(1 + max((run.number for run in self.runs), default=0), values)
        begins = f"run {run.number} begins"
        if slow := waits or not self.is_instant(values):
            self.busy("another panel is training; this one waits for it" if waits else begins)
            self.say("Training has begun; Stop ends it within one step.")
            while monitors.is_running() and not self.worker.stopping.is_set():
                time.sleep(0.02)
            self.busy(begins)
        with self.lock:
            self.before[:] = self.runs
            self.runs[:] = self._beside(run)
        clock = time.perf_counter()
        due = clock if slow else clock + QUIET
        try:
            with closing(self.begin(run)) as stream:  # type: ignore[type-var]
                for record in stream:
                    run.history.add(record)
                    if isinstance(record, Epoch):
                        run.accuracy = share(run.history.kept.valid_counts, grouped=bool(self.data.valid.groups))
                    progress, now = self.tell(run, record), time.perf_counter()
                    if progress and now > due:
                        due, run.seconds = now + OFTEN, now - clock
                        with self.lock:
                            self.draw()
                            self.busy(progress)
            run.outcome = "stopped" if self.worker.stopping.is_set() else "finished"
        except monitors.Diverged:
            run.outcome = "diverged"
        except Exception:
            run.outcome = "failed"
            raise
        finally:
            run.seconds, run.history.stopped = time.perf_counter() - clock, [run.outcome]
            with self.lock:
                if not run.history.steps:
                    self.runs[:] = self.before
                self.draw()
                self.busy("")
        self.say(self.ending(run))

    def _beside(self, run: Any) -> list[Any]:
        """Return the runs to show when one more begins: not too many, and the best and a pinned one always."""
        # the same settings give the same curve again, so it takes the place of the old one
        others = [other for other in self.runs if other.settings != run.settings]
        best = max(others, key=lambda other: other.score, default=None)
        while len(others) >= self.most:
            others.remove(next(r for r in others if r is not best and r.number != self.pinned))
        return [*others, run]

    def _failed(self, error: Exception) -> None:
        self.error = error  # whoever waits for the run raises it as well
        self.busy("")
        self.say("", error=f"This run failed: {type(error).__name__}: {error}")


def _interrupted(*_: Any) -> None:
    """End the runs that clicks have started, which go on between the cells."""
    for worker in workers:
        worker.stop()
