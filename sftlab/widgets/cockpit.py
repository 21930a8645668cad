"""Training in the learner's hand: what every panel that trains shares, and the cockpit of rate, layers, optimizer."""

from __future__ import annotations

import asyncio
import copy
import html
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import ipywidgets
import numpy as np
import torch
import traitlets
from torch import nn

from sftlab.core import monitors, profiles, training
from sftlab.core.features import features, missing
from sftlab.core.model import card, evaluating, stage_names, with_card
from sftlab.core.records import Epoch, History, Interval
from sftlab.data import Data, Split, first_task, resize
from sftlab.plot import base, style
from sftlab.plot import curves as plot_curves
from sftlab.plot.curves import accuracy_floor, divergence, loss_ceiling, loss_floor, train_curve
from sftlab.widgets.base import Element, Worker, figure_html, figure_of, image_address, script, share
from sftlab.widgets.controls import Control, ControlPanel, button, choice, slider, strip

OFTEN = 0.12  # seconds between two pictures of a run that goes on
QUIET = 0.25  # seconds without a picture in which a run that is over by then gets by with one, its last
RATES = [float(f"{m}e{e}") for e in range(-5, 1) for m in (1, 2, 5)] + [10.0]
SHOWN, EDGE = 12, 64  # images to look at while it learns, and their edge in pixels
EPOCHS = [1, 2, 3, 5, 10, 20, 40]


@dataclass
class Run:
    """A run that a learner started. settings: what the controls said; the same ones give the same run again.

    A subclass keeps the record, and says by `has_record` whether there is any, and by `score` how good it was.
    """

    number: int
    settings: dict[str, Any]
    outcome: str = "running"
    seconds: float = 0.0


class TrainingPanel(ControlPanel):
    """Controls with Train, Stop and Forget: one run at a time, in a thread. `model` is the network of the last run.

    Subclasses say how a run begins (`begin`), what it does (`steps`), how the runs are shown (`draw`), what to say at
    the end of one (`ending`) and then (`hint`). settings: of `fit`, the same for every run.
    """

    most = 6  # runs to compare; more lines cannot be told apart
    pinned = 0  # the number of a run that stays
    error: Exception | None = None

    def __init__(
        self,
        key: tuple[Any, ...],
        model: nn.Sequential,
        controls: Mapping[str, Control],
        settings: Mapping[str, Any],
        *,
        name: str,
        title: str,
    ) -> None:
        buttons = {"train": button("Train"), "stop": button("Stop"), "forget": button("Forget runs")}
        super().__init__(key, {**controls, **buttons}, name=name, title=title, live=False)
        self.inputs.disabled = ["stop"]
        self.model, self.settings = model, dict(settings)
        self.runs: list[Any] = self.memory.setdefault("runs", [])
        self.worker = Worker(self._failed)
        if predecessor := self.memory.get("worker"):  # the cell runs again: nobody can stop that run any more
            predecessor.stop()
        self.memory["worker"] = self.worker

    @property
    def is_training(self) -> bool:
        """Whether a run of this panel goes on."""
        return self.worker.is_busy

    async def run(self, **settings: Any) -> None:
        """Train once as the controls say and wait for it; Stop and an interrupted kernel end it early.

        settings: put into the controls first. The output then holds the finished picture, also for readers without a
        kernel. Raises what the run raised.
        """
        self.place(**settings)
        self.start()
        try:
            while self.is_training:
                await asyncio.sleep(0.02)
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.worker.stop()
            while self.is_training:
                time.sleep(0.02)
        self.settle()
        if self.error is not None:
            raise self.error

    def start(self, *, queue: bool = False) -> None:
        """Train as the controls say now; while a run goes on, nothing happens, or with `queue` one more run follows."""
        values = {key: value for key, value in self.values.items() if self.controls[key].kind != "button"}
        self.worker.ask(lambda: self._train(values), queue=queue)

    def changed(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Answer a click or a released control."""
        if new["stop"] > old["stop"]:
            self.worker.stop()
        elif new["forget"] > old["forget"]:
            self.runs[:] = [run for run in self.runs if run.outcome == "running"]
            self.draw()
            self.say("")
        elif new["train"] > old["train"]:
            self.start()
        elif self.is_instant(self.values):
            if "train" in self.inputs.disabled:
                self.say(f"Queued: the head is trained when run {self.runs[-1].number} ends.")
            self.start(queue=True)
        else:
            self.say("Training goes on." if self.is_training else "")

    def is_instant(self, values: Mapping[str, Any]) -> bool:
        """Tell whether letting go of a control trains at once."""
        return True

    def say(self, said: str, error: str = "") -> None:
        """Answer in the status line, which screen readers read out; what to do next is added."""
        hint = "" if "train" in self.inputs.disabled else self.hint()
        answer = {"state": self.inputs.state, "said": f"{said} {hint}".strip(), "error": error}
        self.inputs.answer = {**self.inputs.answer, **answer}

    def busy(self, progress: str) -> None:
        """Tell what goes on, '' when nothing does any more."""
        self.inputs.disabled = ["train"] if progress else ["stop"]

    def begin(self, number: int, values: dict[str, Any]) -> Any:
        """Return a new run."""
        raise NotImplementedError

    def steps(self, run: Any) -> Iterator[str]:
        """Train, and yield what goes on whenever the run's record has grown; leave the network in `model`."""
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
        self.error, slow = None, not self.is_instant(values)
        run = self.begin(1 + max((run.number for run in self.runs), default=0), values)
        if slow:
            self.busy(f"run {run.number} begins")
            self.say("Training has begun; Stop ends it within one step.")
        while monitors.is_running() and not self.worker.stopping.is_set():
            self.busy("another panel is training; this one waits for it")
            slow = True
            time.sleep(0.02)
        if slow:
            self.busy(f"run {run.number} begins")
        before = list(self.runs)
        self.runs[:] = self._beside(run)
        clock = time.perf_counter()
        drawn = clock - OFTEN if slow else clock + QUIET - OFTEN
        try:
            with closing(self.steps(run)) as steps:  # type: ignore[type-var]
                for progress in steps:
                    now = time.perf_counter()
                    if now - drawn > OFTEN:
                        drawn, run.seconds = now, now - clock
                        self.draw()
                        self.busy(progress)
            run.outcome = "stopped" if self.worker.stopping.is_set() else "finished"
        except monitors.Diverged:
            run.outcome = "diverged"
        finally:
            run.seconds = time.perf_counter() - clock
            if not run.has_record:
                self.runs[:] = before
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


@dataclass
class CockpitRun(Run):
    """A run of the cockpit with its record. settings: rate, layers, learns, optimizer, epochs."""

    grouped: bool = False  # whether the groups of the validation images are known
    answers: list[int] = field(default_factory=list)  # to the images that are shown, after its last epoch
    history: History = field(default_factory=History)

    @property
    def name(self) -> str:
        """Its number and settings in words."""
        s = self.settings
        return f"run {self.number} ({s['learns']}, {s['optimizer']}, rate {rate_text(s['rate'])})"

    @property
    def hue(self) -> str:
        """The colour of its rate, dark enough for a line."""
        return style.ink_safe(style.heat(self.settings["rate"]))

    @property
    def has_record(self) -> bool:
        """Whether it made a step."""
        return bool(self.history.steps)

    @property
    def accuracy(self) -> Interval | None:
        """Validation accuracy of the weights it kept; None before the first epoch has ended."""
        if not self.history.epochs:
            return None
        return share(self.history.kept.valid_counts, grouped=self.grouped)

    @property
    def score(self) -> float:
        """Its validation accuracy, 0 before the first epoch."""
        return self.accuracy.value if self.accuracy else 0.0

    @property
    def headline(self) -> str:
        """What it reached, as a sentence without a full stop; a rate that is too high is named."""
        begin = self.name[0].upper() + self.name[1:]
        if trouble := divergence(self.history):
            return f"{begin} {trouble}: this rate is too high"
        return f"{begin}: valid accuracy {base.percent(self.accuracy.value)}" if self.accuracy else f"{begin} has begun"

    @property
    def ended(self) -> str:
        """How it ended, in a word; a rate that is too high is named."""
        return "✗ diverges" if divergence(self.history) else self.outcome

    def row(self) -> list[str]:
        """Return its line of the table, one text a column."""
        s, score, epochs = self.settings, self.accuracy, self.history.epochs
        reached = epochs[-1].epoch if epochs else 0
        done = f"{s['epochs']}" if self.outcome == "finished" else f"{reached} of {s['epochs']}"
        percent = "–"
        if score:
            ends = "no interval" if score.why else f"{100 * score.low:.0f}–{100 * score.high:.0f}"
            percent = f"{100 * score.value:.1f} ({ends}) %"
        loss = f"{self.history.kept.valid_loss:.3f}" if epochs else "–"
        rate = rate_text(s["rate"])
        return [s["learns"], s["optimizer"], rate, done, percent, loss, f"{self.seconds:.1f}", self.ended]

    def curve(self) -> dict[str, Any]:
        """Return what the page needs to draw it."""
        epochs, score, kept = self.history.epochs, self.accuracy, None
        if score:
            best = self.history.kept
            kept = [best.epoch, best.valid_loss, best.valid_accuracy, *base.ends(score)]
        return {
            "number": self.number,
            "name": self.name,
            "hue": self.hue,
            "rate": rate_text(self.settings["rate"]),
            "row": self.row(),
            "answers": self.answers,
            "end": divergence(self.history),
            "kept": kept,
            "train": _points(train_curve(self.history)),
            "valid": _points((e.epoch, e.valid_loss) for e in epochs),
            "accuracy": _points((e.epoch, e.valid_accuracy) for e in epochs),
        }


def _points(pairs: Any) -> list[list[float]]:
    return [[round(float(x), 4), round(float(y), 5)] for x, y in pairs if math.isfinite(y)]


def rate_text(rate: float) -> str:
    """Return a rate as one says it: 3e-4, 0.01, 1."""
    return f"{rate:g}" if rate >= 0.01 else base.rate_text(rate)


class Chart(Element):
    """Curves that move while a network learns, and a table of the runs: numbers go to the page, which draws them.

    chart: `title`, `majority`, `epochs` (end of the axis), `roof` and `foot` (highest and lowest loss shown), `floor`
    (lowest accuracy shown), `columns`, and `runs`, the newest last: `number`, `name`, `rate`, `hue`, `train`, `valid`
    and `accuracy` as [epoch, value] pairs, `kept` (epoch, loss, accuracy and its interval) or null, `end` (words for a
    run that left the scale), `row`, and `answers` to the images of `fixed` ([{src, label}]; of the names in `classes`).
    pinned: the number of a run that stays, 0 for none. busy: what runs now; it stands in place of the title, and the
    page counts the seconds beside it.
    """

    _esm = script("chart")
    chart = traitlets.Dict().tag(sync=True)
    pinned = traitlets.Int(0).tag(sync=True)
    busy = traitlets.Unicode("").tag(sync=True)


class Cockpit(TrainingPanel):
    """Controls, live curves, and the runs so far: `runs`, `history` (the newest), `model` (its best weights)."""

    def __init__(
        self, model: nn.Sequential, data: Data, name: str, start: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        self.data, self._base, self.stages = data, copy.deepcopy(model), stage_names(model)
        self._probe = self.stages.index("hidden" if "hidden" in self.stages else "head")
        self.grouped, self.majority = bool(data.valid.groups), data.valid.majority
        over = f"{len(set(data.valid.groups))} groups" if self.grouped else "images"
        accuracy = f"valid accuracy (95 %, {over})"
        self.columns = ["learns", "optimizer", "rate", "epochs", accuracy, "valid loss", "seconds", "ended"]
        heat = {"by": "rate", "colours": [[colour, style.ink_on(colour)] for colour in map(style.heat, RATES)]}
        layers = strip("learning starts at", self.stages, value=start["layers"] or self.stages[self._probe])
        controls = {
            "rate": slider("learning rate", RATES, value=start["rate"], text=rate_text),
            "optimizer": choice("optimizer", ["AdamW", "SGD"], value=start["optimizer"]),
            "epochs": slider("epochs", EPOCHS, value=start["epochs"]),
            "layers": replace(layers, look={"heat": heat}),
        }
        title = "learning rate, layers, optimizer, epochs"
        assert isinstance(data.classes, list)
        super().__init__(
            ("cockpit", name, data.train.digest, data.valid.digest), model, controls, settings, name=name, title=title
        )
        self._on_disk = self._probe_is_on_disk()
        self.shown, images = _some(data.valid, data.classes)
        self._inputs: dict[int, Any] = {}  # what the shown images are behind so many frozen stages
        self.chart = Chart(fixed={"name": name, "images": images, "classes": data.classes})
        self.view = ipywidgets.VBox([self.inputs, self.chart])
        self.draw()
        self.say("")

    @property
    def pinned(self) -> int:  # type: ignore[override]
        """The number of the run that was pinned on the page, 0 for none."""
        return int(self.chart.pinned)

    @property
    def history(self) -> History | None:
        """The record of the newest run; None before the first."""
        return self.runs[-1].history if self.runs else None

    def draw(self) -> None:
        """Send the curves to the page."""
        histories = [run.history for run in self.runs]
        self.chart.chart = {
            "title": self.finding(),
            "majority": self.majority,
            "columns": self.columns,
            "epochs": max((run.settings["epochs"] for run in self.runs), default=10),
            "roof": loss_ceiling(histories),
            "foot": loss_floor(histories),
            "floor": accuracy_floor(histories, self.majority),
            "runs": [run.curve() for run in self.runs],
        }

    def hint(self) -> str:
        """Return what to do next."""
        if self.is_instant(self.values):
            return "Let go of a control, and the head is trained anew."
        return f"Press Train for {self._strategy(self.values['layers'])}; Stop ends it within one step."

    def busy(self, progress: str) -> None:
        """Tell what goes on; the page counts the seconds beside it."""
        self.chart.busy = progress
        super().busy(progress)

    def text(self) -> str:
        """Return the finding and a line for each run."""
        return "\n".join([self.finding(), *(" · ".join(run.row()) for run in reversed(self.runs))])

    def html(self) -> str:
        """Return figure and table of the runs."""
        import pandas as pd

        runs = {f"run {run.number}": run for run in self.runs if run.history.epochs}
        if not runs:
            return f"<p>{html.escape(self.text())}</p>"

        def draw() -> Any:
            histories, hues = {name: run.history for name, run in runs.items()}, [run.hue for run in runs.values()]
            ax = plot_curves(histories, hues=hues)
            base.title(ax, self.finding())
            return ax

        table = pd.DataFrame([run.row() for run in runs.values()], [*runs], self.columns)
        return figure_html(figure_of(draw)) + table[::-1].to_html()

    def finding(self) -> str:
        """Return what the newest run reached, beside the best one and the majority rate."""
        if not self.runs:
            return "No run yet"
        newest = self.runs[-1]
        best = max(self.runs, key=lambda run: run.score)
        if newest.accuracy is None or divergence(newest.history):
            return newest.headline
        other = f"best is run {best.number} with {base.percent(best.accuracy.value)}; "
        other = "best so far; " if best is newest else other
        return f"{newest.headline}; {other if len(self.runs) > 1 else ''}majority {base.percent(self.majority)}"

    def is_instant(self, values: Mapping[str, Any]) -> bool:
        """Tell whether only the head learns, on features that are on disk: a matter of a tenth of a second."""
        return self._on_disk and self.stages.index(values["layers"]) >= self._probe

    def begin(self, number: int, values: dict[str, Any]) -> CockpitRun:
        """Return a new run."""
        return CockpitRun(number, {**values, "learns": self._strategy(values["layers"])}, grouped=self.grouped)

    def steps(self, run: CockpitRun) -> Iterator[str]:
        """Train a copy; frozen stages are shared with it, which is quicker."""
        s, history = run.settings, run.history
        learns = self.stages[self.stages.index(s["layers"]) :]
        stages = [(name, copy.deepcopy(x) if name in learns else x) for name, x in self._base.named_children()]
        model = with_card(nn.Sequential(OrderedDict(stages)), card(self._base))
        profile = profiles.surgical(model, learns, lr=s["rate"])
        settings = {**self.settings, "optimizer": s["optimizer"].lower()}
        history.runs = [{"profile": profile, "epochs": s["epochs"], **settings, "majority": self.majority}]
        total = s["epochs"] * -(-len(self.data.train) // settings.get("batch_size", 32))
        stream = training.train(
            model, self.data, profile, s["epochs"], stop=self.worker.stopping, say=self.busy, **settings
        )
        began, progress = 0.0, f"run {run.number}: the untrained network is measured"
        try:
            with closing(stream):  # type: ignore[type-var]
                for record in stream:
                    history.add(record)
                    if isinstance(record, Epoch):
                        run.answers = self._answers(model, [*dict(model.named_children())].index(learns[0]))
                    else:
                        progress = f"run {run.number}: epoch {record.epoch} of {s['epochs']}, loss {record.loss:.3f}"
                        if record.step == 1:
                            began = time.perf_counter()
                        else:
                            left = (time.perf_counter() - began) / (record.step - 1) * (total - record.step)
                            progress = f"{progress}, about {left:.0f} s left"
                    yield progress
        except monitors.Diverged:
            history.stopped = ["diverged"]
            raise
        self.model = model
        self._on_disk = self._on_disk or (s["layers"] in self.stages[self._probe :] and bool(history.steps))
        history.stopped = ["stopped" if self.worker.stopping.is_set() else "finished"]

    def _answers(self, model: nn.Sequential, frozen: int) -> list[int]:
        """Return what the network answers to the shown images; their features before what learns stay the same."""
        if frozen not in self._inputs:
            source = features(self._base[:frozen], self.shown) if frozen else self.shown
            self._inputs[frozen] = source.take(np.arange(len(self.shown)))[0] if len(self.shown) else None
        if self._inputs[frozen] is None:
            return []
        with evaluating(model), torch.no_grad():
            return model[frozen:](self._inputs[frozen]).argmax(dim=1).tolist()

    def ending(self, run: CockpitRun) -> str:
        """Return what to say at a run's end."""
        if run.outcome != "stopped":
            return f"Run {run.number} {run.ended.strip('✗ ')} after {run.seconds:.1f} s."
        if run.has_record:
            return f"Stopped after step {len(run.history.steps)}; the model has its best weights so far."
        return "Stopped before the first step; what was encoded is kept."

    def _strategy(self, stage: str) -> str:
        """Name what it is to learn from `stage` on."""
        position = self.stages.index(stage)
        if not position:
            return "full fine-tuning"
        return "linear probe" if position >= self._probe else f"last {len(self.stages) - position} stages"

    def _probe_is_on_disk(self) -> bool:
        cut = [name for name, _ in self._base.named_children()].index(self.stages[self._probe])
        return not any(missing(self._base[:cut], split) for split in (self.data.train, self.data.valid))


def _some(split: Split, names: Sequence[str]) -> tuple[Split, list[dict[str, str]]]:
    """Return a dozen images of a split to look at, and what the page needs to show them; of texts none."""
    y = first_task(split.y).numpy()
    possible = np.flatnonzero((y >= 0) & (split.noun == "images"))
    some = np.sort(np.random.default_rng(0).permutation(possible)[:SHOWN])
    small = resize(split.pixels(some), EDGE).numpy() if len(some) else some
    return split.subset(some), [
        {"src": image_address(image), "label": names[y[i]]} for image, i in zip(small, some, strict=True)
    ]


def cockpit(
    model: nn.Sequential,
    data: Data,
    name: str = "cockpit",
    *,
    rate: float = 1e-3,
    layers: str | None = None,
    optimizer: str = "AdamW",
    epochs: int = 10,
    **settings: Any,
) -> Cockpit:
    """Put training into the learner's hand; return a panel with `runs`, `history`, `model` and `await panel.run()`.

    Each run trains a copy of `model`. rate, layers (the first stage that learns; default: only the head), optimizer and
    epochs: where the controls start. settings: of `fit`, the same for every run. While only the head learns and its
    features are on disk, letting go of a control trains at once; everything else starts with Train and ends
    with Stop. name: part of the CSS classes `sft-NAME-rate-input`, `-train-input`, `-chart`, `-status` and the like.
    """
    if not isinstance(data.classes, list):
        raise ValueError("the cockpit trains one head: load the data with one target")
    start = {"rate": rate, "layers": layers, "optimizer": optimizer, "epochs": epochs}
    return Cockpit(model, data, name, start, settings).show()
