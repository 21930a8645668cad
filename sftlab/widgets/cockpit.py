"""The cockpit: rate, layers, optimizer and epochs in the learner's hand, and curves that move while it learns."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from torch import nn

from sftlab.analysis.explain import answers
from sftlab.core import profiles
from sftlab.core.features import features, missing
from sftlab.core.model import stage_names
from sftlab.core.monitors import Stream
from sftlab.core.records import Epoch, History, Step
from sftlab.data import Data, Split, first_task, resize
from sftlab.plot import base, style
from sftlab.plot import curves as plot_curves
from sftlab.plot.curves import divergence, limits, train_curve
from sftlab.widgets.base import Element, figure_of, image_address, script, take_place
from sftlab.widgets.controls import choice, slider, strip
from sftlab.widgets.training_panel import Run, TrainingPanel

RATES = [float(f"{m}e{e}") for e in range(-5, 1) for m in (1, 2, 5)] + [10.0]
SHOWN, EDGE = 12, 64  # images to look at while it learns, and their edge in pixels
EPOCHS = [1, 2, 3, 5, 10, 20, 40]


@dataclass
class CockpitRun(Run):
    """A run of the cockpit with its record. settings: rate, layers, optimizer, epochs. learns: the layers in words."""

    learns: str = ""
    answers: list[int] = field(default_factory=list)  # to the images that are shown, after its last epoch

    @property
    def hue(self) -> str:
        """The colour of its rate, dark enough for a line."""
        return style.ink_safe(style.heat(self.settings["rate"]))

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
        return [self.learns, s["optimizer"], rate, done, percent, loss, f"{self.seconds:.1f}", self.ended]

    def curve(self) -> dict[str, Any]:
        """Return what the page needs to draw it."""
        epochs, score, kept = self.history.epochs, self.accuracy, None
        if score:
            best = self.history.kept
            kept = [best.epoch, best.valid_loss, best.valid_accuracy, *base.ends(score)]
        return {
            "number": self.number,
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
    (lowest accuracy shown), `columns`, and `runs`, the newest last: `number`, `rate`, `hue`, `train`, `valid` and
    `accuracy` as [epoch, value] pairs, `kept` (epoch, loss, accuracy and its interval) or null, `end` (words for a
    run that left the scale), `row`, and `answers` to the images of `fixed` ([{src, label}]; of the names in `classes`).
    pinned: the number of a run that stays, 0 for none. busy: what runs now; it stands in place of the title, and the
    page counts the seconds beside it.
    """

    _esm = script("chart")
    chart = traitlets.Dict().tag(sync=True)
    pinned = traitlets.Int(0).tag(sync=True)
    busy = traitlets.Unicode("").tag(sync=True)


class Cockpit(TrainingPanel):
    """Put training into the learner's hand: a panel with `runs`, `history`, `model` and `await panel.run()`.

    Each run trains a copy of `model`. rate, layers (the first stage that learns; default: only the head), optimizer and
    epochs: where the controls start. settings: of `fit`, the same for every run. While only the head learns and its
    features are on disk, letting go of a control trains at once; everything else starts with Train and ends
    with Stop. name: part of the CSS classes `sft-NAME-rate-input`, `-train-input`, `-chart`, `-status` and the like.
    history: of the newest run. model: its best weights.
    """

    kind = CockpitRun

    def __init__(
        self,
        model: nn.Sequential,
        data: Data,
        name: str = "cockpit",
        *,
        rate: float = 1e-3,
        layers: str | None = None,
        optimizer: str = "AdamW",
        epochs: int = 10,
        **settings: Any,
    ) -> None:
        if not isinstance(data.classes, list):
            raise ValueError("the cockpit trains one head: load the data with one target")
        self._base, self.stages = copy.deepcopy(model), stage_names(model)
        self._probes = self.stages[self.stages.index("hidden" if "hidden" in self.stages else "head") :]
        self.majority = data.valid.majority
        over = f"{len(set(data.valid.groups))} groups" if data.valid.groups else "images"
        accuracy = f"valid accuracy (95 %, {over})"
        self.columns = ["learns", "optimizer", "rate", "epochs", accuracy, "valid loss", "seconds", "ended"]
        heat = {"by": "rate", "colours": [[colour, style.ink_on(colour)] for colour in map(style.heat, RATES)]}
        stages = strip("learning starts at", self.stages, value=layers or self._probes[0])
        controls = {
            "rate": slider("learning rate", RATES, value=rate, text=rate_text),
            "optimizer": choice("optimizer", ["AdamW", "SGD"], value=optimizer),
            "epochs": slider("epochs", EPOCHS, value=epochs),
            "layers": replace(stages, look={"heat": heat}),
        }
        key = ("cockpit", name, data.train.digest, data.valid.digest)
        title = "learning rate, layers, optimizer, epochs"
        super().__init__(key, model, data, controls, settings, name=name, title=title)
        frozen = self._base[: self._before(self._probes[0])]
        self._on_disk = not any(missing(frozen, split) for split in (data.train, data.valid))
        self.shown, images = _some(data.valid, data.classes)
        self._inputs: dict[int, Any] = {}  # what the shown images are behind so many frozen stages
        self.chart = Chart(fixed={"name": name, "images": images, "classes": data.classes})
        self.view = ipywidgets.VBox([self.inputs, self.chart])
        take_place(self.view)
        self.draw()
        self.say("")
        self.show()

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
        foot, roof, floor = limits([run.history for run in self.runs], self.majority)
        self.chart.chart = {
            "title": self.finding(),
            "majority": self.majority,
            "columns": self.columns,
            "epochs": max((run.settings["epochs"] for run in self.runs), default=10),
            "roof": roof,
            "foot": foot,
            "floor": floor,
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
            return super().html()

        def draw() -> Any:
            histories, hues = {name: run.history for name, run in runs.items()}, [run.hue for run in runs.values()]
            ax = plot_curves(histories, hues=hues)
            base.title(ax, self.finding())
            return ax

        table = pd.DataFrame([run.row() for run in runs.values()], [*runs], self.columns)
        return style.figure_html(figure_of(draw)) + table[::-1].to_html()

    def finding(self) -> str:
        """Return what the newest run reached, beside the best one and the majority rate."""
        if not self.runs:
            return "No run yet"
        newest = self.runs[-1]
        s = newest.settings
        begin = f"Run {newest.number} ({newest.learns}, {s['optimizer']}, rate {rate_text(s['rate'])})"
        if trouble := divergence(newest.history):
            return f"{begin} {trouble}: this rate is too high"
        if newest.accuracy is None:
            return f"{begin} has begun"
        best, beside = max(self.runs, key=lambda run: run.score), ""
        if best is not newest:
            beside = f"best is run {best.number} with {base.percent(best.score)}; "
        elif len(self.runs) > 1:
            beside = "best so far; "
        reached = f"valid accuracy {base.percent(newest.score)}; {beside}majority {base.percent(self.majority)}"
        return f"{begin}: {reached}"

    def is_instant(self, values: Mapping[str, Any]) -> bool:
        """Tell whether only the head learns, on features that are on disk: a matter of a tenth of a second."""
        return self._on_disk and values["layers"] in self._probes

    def begin(self, run: CockpitRun) -> Stream:
        """Train a copy; frozen stages are shared with it, which is quicker."""
        s = run.settings
        run.learns = self._strategy(s["layers"])
        learns = self.stages[self.stages.index(s["layers"]) :]
        shared = {id(stage): stage for stage in self._base[: self._before(s["layers"])]}
        self.model = copy.deepcopy(self._base, shared)
        profile = profiles.surgical(self.model, learns, lr=s["rate"])
        return self.train(run, profile, s["epochs"], optimizer=s["optimizer"].lower())

    def tell(self, run: CockpitRun, record: Step | Epoch) -> str:
        """Return how far a run is; after an epoch its network is asked about the images on the page."""
        done = f"run {run.number}: epoch {record.epoch} of {run.settings['epochs']}"
        if isinstance(record, Epoch):
            run.answers = self._answers(self._before(run.settings["layers"]))
            return done
        self._on_disk = self._on_disk or run.settings["layers"] in self._probes
        return f"{done}, loss {record.loss:.3f}"

    def _before(self, stage: str) -> int:
        """Return how many parts of the network come before a stage."""
        return [name for name, _ in self._base.named_children()].index(stage)

    def _answers(self, frozen: int) -> list[int]:
        """Return what the network answers to the shown images; their features before what learns stay the same."""
        if not len(self.shown):
            return []
        if frozen not in self._inputs:
            source = features(self._base[:frozen], self.shown) if frozen else self.shown
            self._inputs[frozen] = source.inputs(np.arange(len(self.shown)))
        return answers(self.model[frozen:], self._inputs[frozen]).tolist()

    def ending(self, run: CockpitRun) -> str:
        """Return what to say at a run's end."""
        if run.outcome != "stopped":
            return f"Run {run.number} {run.ended.strip('✗ ')} after {run.seconds:.1f} s."
        if run.history.steps:
            return f"Stopped after step {len(run.history.steps)}; the model has its best weights so far."
        return "Stopped before the first step; what was encoded is kept."

    def _strategy(self, stage: str) -> str:
        """Name what it is to learn from `stage` on."""
        position = self.stages.index(stage)
        if not position:
            return "full fine-tuning"
        return "linear probe" if stage in self._probes else f"last {len(self.stages) - position} stages"


def _some(split: Split, names: list[str]) -> tuple[Split, list[dict[str, str]]]:
    """Return a dozen images of a split to look at, and what the page needs to show them; of texts none."""
    y = first_task(split.y).numpy()
    possible = np.flatnonzero((y >= 0) & (split.noun == "images"))
    some = np.sort(np.random.default_rng(0).permutation(possible)[:SHOWN])
    small = resize(split.pixels(some), EDGE) if len(some) else ()
    images = [{"src": image_address(image), "label": names[k]} for image, k in zip(small, y[some], strict=True)]
    return split.subset(some), images


cockpit = Cockpit
