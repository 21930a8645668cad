"""The wind tunnel: paint a learning-rate profile and see what is learned and what is forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from sftlab.core import profiles
from sftlab.core.loop import validate
from sftlab.core.losses import cross_entropy
from sftlab.core.model import replace_head, stage_names
from sftlab.core.monitors import Stream
from sftlab.core.records import Epoch, Interval, Step
from sftlab.data import Data
from sftlab.plot import base, old_and_new, style
from sftlab.widgets.base import figure_of, picture, share
from sftlab.widgets.controls import Control
from sftlab.widgets.training_panel import Run, TrainingPanel

RATES = [0.0, *(float(f"{m}e{e}") for e in range(-5, -1) for m in (1, 2, 5)), 0.1]


@dataclass
class TunnelRun(Run):
    """One run of the tunnel. old: validation accuracy of the old task, after each epoch."""

    old: list[Interval] = field(default_factory=list)


class WindTunnel(TrainingPanel):
    """Let a learner paint a profile and see old and new validation accuracy move.

    source: a network that knows the `old` task. Each run trains a copy with a new head on `new`; the old accuracy is
    that of the old head on the new backbone, after each epoch. profile: where the bars start (default: full, 1e-3).
    beside: {strategy: [(old, new), …]} from records, drawn hollow; test_to_train: of these runs, if they are over
    random splits of one set (see `t_interval`). settings: of `fit`.
    `await panel.run()` trains once and waits. name: part of the CSS classes `sft-NAME-STAGE-input`, `-train-input`,
    `-stop-input`, `-forget-input`, `-picture` and `-status`. `runs` holds the runs, `profile` what is painted, `model`
    the network of the newest run.
    """

    most = 8  # runs to compare; more points hide each other
    kind = TunnelRun

    def __init__(
        self,
        source: nn.Sequential,
        old: Data,
        new: Data,
        *,
        profile: Mapping[str, float] | None = None,
        epochs: int = 20,
        beside: Mapping[str, Sequence[tuple[float, float]]] | None = None,
        test_to_train: float = 0.0,
        name: str = "tunnel",
        **settings: Any,
    ) -> None:
        if not (isinstance(old.classes, list) and isinstance(new.classes, list)):
            raise ValueError("the wind tunnel has one head a task: load the data with one target")
        self.source, self.old, self.epochs, self.beside = source, old, epochs, beside or {}
        majority = [old.valid.majority, new.valid.majority]
        self._plot = partial(old_and_new, stored=self.beside, majority=majority, test_to_train=test_to_train)
        start = profiles.full(source, 1e-3) if profile is None else profiles.check(source, profile)
        nearest = [min(RATES[1:], key=lambda r: r / rate + rate / r) if rate else 0.0 for rate in start.values()]
        bars = Control(
            "profile",
            "learning rate of each stage",
            tuple(RATES),
            ("frozen", *map(base.rate_text, RATES[1:])),
            [*map(RATES.index, nearest)],
            tuple(start),
            {"heat": [style.heat(rate) for rate in RATES]},
        )
        key = ("tunnel", name, old.valid.digest, new.valid.digest)
        settings = {"keep_best": False, "cached": False, **settings}
        title = "wind tunnel: a learning rate for each stage"
        super().__init__(key, source, new, {"profile": bars}, settings, name=name, title=title)
        self.draw()
        self.say("")
        self.show()

    @property
    def profile(self) -> dict[str, float]:
        """What the bars say."""
        return dict(zip(self.controls["profile"].parts, self.values["profile"], strict=True))

    def start(self) -> None:
        """Train as the bars say."""
        if any(self.profile.values()):
            super().start()
        else:
            self.say("Every stage is frozen, so there is nothing to train; raise a bar.")

    def begin(self, run: TunnelRun) -> Stream:
        """Train a copy of the source under a new head; the old accuracy is that of the old head on the new backbone."""
        self.busy(f"run {run.number} begins")
        self.model = replace_head(self.source, self.data.classes, seed=self.settings.get("seed", 0))
        self._old_model = nn.Sequential(OrderedDict([*self.model.named_children()][:-1], head=self.source[-1]))
        return self.train(run, dict(zip(stage_names(self.source), run.settings["profile"], strict=True)), self.epochs)

    def tell(self, run: TunnelRun, record: Step | Epoch) -> str:
        """Measure the old accuracy after an epoch, and return how far the run is."""
        if isinstance(record, Step):
            return ""
        groups = self.old.valid.groups
        counts = validate(self._old_model, self.old.valid.batches(256), cross_entropy, groups)[2]
        run.old.append(share(counts, grouped=bool(groups)))
        return f"run {run.number}: epoch {record.epoch} of {self.epochs}"

    def draw(self) -> None:
        """Draw the rows of the runs anew, the newest on top."""
        self.figure = figure_of(self._rows)
        self.inputs.answer = {**self.inputs.answer, **picture(self.figure)}

    def busy(self, progress: str) -> None:
        """Tell what goes on."""
        super().busy(progress)
        if progress:
            self.say(progress)

    def ending(self, run: TunnelRun) -> str:
        """Return what a run came to, in a sentence or two."""
        end = {"stopped": " It was stopped.", "diverged": " It diverged: this profile is too hot."}.get(run.outcome, "")
        if run.accuracy is None:
            return f"Run {run.number} ended before its first epoch was over.{end}"
        return (
            f"Run {run.number} after {run.seconds:.1f} s: of the old task it keeps {base.interval(run.old[-1])}, "
            f"of the new one it learns {base.interval(run.accuracy)}.{end}"
        )

    def hint(self) -> str:
        """Return what to do next."""
        return "Paint the bars and let go, or press Train."

    def text(self) -> str:
        """Return a line for each run."""
        return "\n".join(self.ending(run) for run in reversed(self.runs) if run.old) or "No run yet"

    def _rows(self) -> Any:
        runs = [run for run in reversed(self.runs) if run.old]
        finding = "No run yet: paint a profile and let go"
        if runs:
            old, new = base.percent(runs[0].old[-1].value), base.percent(runs[0].score)
            finding = f"Run {runs[0].number}: {old} of the old task, {new} of the new one"
        elif not self.beside:
            return base.empty(None, finding)
        points = {
            f"{run.number}: {' '.join(map(base.rate_text, run.settings['profile']))}": (run.old[-1], run.accuracy)
            for run in runs
        }
        return self._plot(points, finding=finding)


wind_tunnel = WindTunnel
