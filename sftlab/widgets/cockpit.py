"""The cockpit: rate, layers, optimizer and epochs in the hand, and a real network that answers."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Mapping
from typing import Any

import ipywidgets
from torch import nn

from sftlab.core.model import stage_names
from sftlab.core.records import History
from sftlab.data import Data
from sftlab.plot import base, rates, style
from sftlab.widgets import runs as curves
from sftlab.widgets.chart import Chart
from sftlab.widgets.controls import button, choice, slider, specs, strip
from sftlab.widgets.inputs import Controls
from sftlab.widgets.panel import Panel, drawing, remembered
from sftlab.widgets.runs import Run
from sftlab.widgets.trainer import Trainer

RATES = [float(f"{m}e{e}") for e in range(-5, 1) for m in (1, 2, 5)] + [10.0]
EPOCHS = [1, 2, 3, 5, 10, 20, 40]
SETTINGS = ("rate", "layers", "optimizer", "epochs")


class Cockpit(Panel):
    """Controls, live curves, and the runs so far: `runs`, `history` (the newest), `model` (its best weights)."""

    def __init__(
        self, model: nn.Sequential, data: Data, name: str, start: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        names = stage_names(model)
        key = ("cockpit", name, data.train.digest, data.valid.digest, tuple(names))
        self._kept = remembered.setdefault(key, {"state": {}, "runs": []})
        self.trainer = Trainer(model, data, settings, self._kept["runs"], self)
        self.controls = {
            "rate": slider("learning rate", RATES, value=start["rate"], text=curves.rate_text),
            "optimizer": choice("optimizer", ["AdamW", "SGD"], value=start["optimizer"]),
            "epochs": slider("epochs", EPOCHS, value=start["epochs"]),
            "layers": strip("learning starts at", names, value=start["layers"] or names[self.trainer.probe]),
            "train": button("Train"), "stop": button("Stop"), "forget": button("Forget runs"),
        }  # fmt: skip
        described = specs(self.controls)
        described[3]["heat"] = {"by": "rate", "colours": [[c, style.ink_on(c)] for c in map(style.heat, RATES)]}
        self.inputs = Controls(
            name=name, title="learning rate, layers, optimizer, epochs", specs=described, live=False, disabled=["stop"],
            state={k: c.start for k, c in self.controls.items()} | self._kept["state"],
        )  # fmt: skip
        self.chart = Chart(name=name)
        self.view = ipywidgets.VBox([self.inputs, self.chart])
        self._answers = 0
        self.draw()
        self.say("")
        self.inputs.observe(self._changed, "state")

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return {key: self.controls[key].value(self.inputs.state[key]) for key in SETTINGS}

    @property
    def runs(self) -> list[Run]:
        """The newest runs, the last one last."""
        return self.trainer.runs

    @property
    def history(self) -> History | None:
        """The record of the newest run; None before the first."""
        return self.runs[-1].history if self.runs else None

    @property
    def model(self) -> nn.Sequential:
        """The network of the last run that ended, with the best weights it had; before it, the one that came in."""
        return self.trainer.model

    @property
    def is_training(self) -> bool:
        """Whether a run of this panel goes on."""
        return self.trainer.is_training

    async def run(self, **settings: Any) -> None:
        """Train once as the controls say and wait for it; Stop and an interrupted kernel end it early.

        settings: `rate`, `layers`, `optimizer` or `epochs`, put into the controls first. The output then holds the
        finished curves, also for readers without a kernel. Raises what the run raised.
        """
        positions = {key: self.controls[key].position(value) for key, value in settings.items()}
        with self.inputs.hold_trait_notifications():
            self.inputs.unobserve(self._changed, "state")
            self.inputs.state = {**self.inputs.state, **positions}
        self.inputs.observe(self._changed, "state")
        self.trainer.start(lambda: self.values)
        try:
            while self.is_training:
                await asyncio.sleep(0.02)
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.trainer.stop()
            while self.is_training:
                time.sleep(0.02)
        self.settle()
        if self.trainer.error is not None:
            raise self.trainer.error

    def draw(self) -> None:
        """Send the curves to the page."""
        self.chart.chart = curves.chart(self.runs, self.trainer.majority)

    def say(self, said: str, error: str = "") -> None:
        """Answer in the status line, which screen readers read out; what to do next is added."""
        hint = "" if self.chart.busy else self._hint()
        self._answers += 1  # each answer is a new one, even if its words are the same
        words = f"{said} {hint}".strip()
        self.inputs.drawn = {"state": self.inputs.state, "said": words, "error": error, "answer": self._answers}

    def busy(self, what: str) -> None:
        """Tell what goes on; the page counts the seconds beside it."""
        self.chart.busy = what
        self.inputs.disabled = ["train"] if what else ["stop"]

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the finding and a line for each run."""
        lines = [" · ".join(run.row()) for run in reversed(self.runs)]
        return "\n".join([curves.finding(self.runs, self.trainer.majority), *lines])

    def html(self) -> str:
        """Return figure and table of the runs."""
        drawn = [run for run in self.runs if run.history.epochs]
        if not drawn:
            return f"<p>{html.escape(self.text())}</p>"
        from matplotlib.figure import Figure  # not pyplot: a run may end on a thread of its own

        majority = self.trainer.majority
        with drawing:
            ax = Figure(figsize=(8.6, 3.5), layout="constrained").add_subplot()
            named = {f"run {run.number}": run.history for run in drawn}
            rates.runs(named, majority=majority, hues=[run.hue for run in drawn], ax=ax)
            base.title(ax, curves.finding(drawn, majority), curves.spoken(drawn, majority))
            figure = style.figure_html(ax.get_figure())
        return figure + curves.table(drawn)

    def _changed(self, change: Any) -> None:
        """Answer a click or a released slider."""
        old, new = change["old"], change["new"]
        self._kept["state"] = {k: p for k, p in new.items() if self.controls[k].kind != "button"}
        pressed = [key for key in ("train", "stop", "forget") if new[key] > old[key]]
        if "stop" in pressed:
            self.trainer.stop()
        elif "forget" in pressed:
            self.runs[:] = [run for run in self.runs if run.outcome == "running"]
            self.draw()
            self.say("")
        elif pressed or self.trainer.is_instant(self.values["layers"]):
            self.trainer.start(lambda: self.values, queue=not pressed)
        elif self.is_training:
            self.say("Training goes on.")
        else:
            self.say("")

    def _hint(self) -> str:
        if self.trainer.is_instant(self.values["layers"]):
            return "Let go of a control, and the head is trained anew."
        learns = self.trainer.strategy(self.values["layers"])
        return f"Press Train for {learns}; Stop ends it within one step."


def cockpit(
    model: nn.Sequential, data: Data, name: str = "cockpit", *, rate: float = 1e-3, layers: str | None = None,
    optimizer: str = "AdamW", epochs: int = 10, **settings: Any,
) -> Cockpit:  # fmt: skip
    """Put training into the learner's hand; return a panel with `runs`, `history`, `model` and `await panel.run()`.

    Each run trains a copy of `model`. rate, layers (the first stage that learns; default: only the head), optimizer and
    epochs: where the controls start. settings: of `fit`, the same for every run. While only the head learns and its
    features are on disk, letting go of a control trains at once; everything else starts with Train and ends
    with Stop. name: part of the CSS classes `sft-NAME-rate-input`, `-train-input`, `-chart`, `-status` and the like.
    """
    if not isinstance(data.classes, list):
        raise ValueError("the cockpit trains one head: load the data with one target")
    start = {"rate": rate, "layers": layers, "optimizer": optimizer, "epochs": epochs}
    panel = Cockpit(model, data, name, start, settings)
    panel.show()
    return panel
