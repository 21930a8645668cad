"""The wind tunnel: paint a learning-rate profile and see what is learned and what is forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sftlab.core import profiles, training
from sftlab.core.loop import validate
from sftlab.core.losses import cross_entropy
from sftlab.core.model import replace_head, stage_names
from sftlab.core.records import Epoch, Interval
from sftlab.data import Data
from sftlab.plot import base, old_and_new, style
from sftlab.widgets.base import figure_html, figure_of, picture, share
from sftlab.widgets.cockpit import Run, TrainingPanel
from sftlab.widgets.controls import Control, starting

RATES = [0.0, *(float(f"{m}e{e}") for e in range(-5, -1) for m in (1, 2, 5)), 0.1]


class _Profile(Control):
    """A bar a stage, stem first: the position is an index into RATES for each, 0 is frozen."""

    def value(self, position: Any) -> dict[str, float]:
        return {stage: RATES[p] for stage, p in zip(self.look["stages"], position, strict=True)}

    def position(self, value: Any) -> list[int]:
        """Return the positions nearest to the rates of a profile, on a log scale."""
        nearest = [min(RATES[1:], key=lambda r: r / rate + rate / r) if rate > 0 else 0.0 for rate in value.values()]
        return [RATES.index(rate) for rate in nearest]


@dataclass
class TunnelRun(Run):
    """One run of the tunnel: (old, new) validation accuracy before the first step and after each epoch."""

    path: list[tuple[Interval, Interval]] = field(default_factory=list)

    @property
    def profile(self) -> dict[str, float]:
        """The learning rate of each stage."""
        return self.settings["profile"]

    @property
    def has_record(self) -> bool:
        """Whether anything was measured."""
        return bool(self.path)

    @property
    def score(self) -> float:
        """The new accuracy at its end."""
        return self.path[-1][1].value if self.path else 0.0


class WindTunnel(TrainingPanel):
    """Bars and a figure: `runs` holds the runs, `profile` what is painted, `model` the network of the newest run.

    source: a network that knows the `old` task. majority: rates of old and new validation images.
    """

    most = 8  # runs to compare; more points hide each other

    def __init__(
        self,
        source: nn.Sequential,
        old: Data,
        new: Data,
        profile: Mapping[str, float] | None,
        epochs: int,
        beside: Mapping[str, Any],
        test_to_train: float,
        name: str,
        settings: Mapping[str, Any],
    ) -> None:
        self.source, self.old, self.new, self.epochs = source, old, new, epochs
        self.beside, self.test_to_train = dict(beside), test_to_train
        self.majority = [part.valid.majority for part in (old, new)]
        texts = ("frozen", *map(base.rate_text, RATES[1:]))
        start = profiles.full(source, 1e-3) if profile is None else profiles.check(source, profile)
        look = {"stages": stage_names(source), "heat": [style.heat(rate) for rate in RATES]}
        bars = starting(_Profile("profile", "learning rate of each stage", (), texts, look=look), start)
        super().__init__(
            ("tunnel", name, old.valid.digest, new.valid.digest),
            source,
            {"profile": bars},
            {"keep_best": False, "cached": False, **settings},
            name=name,
            title="wind tunnel: a learning rate for each stage",
        )
        self.settings.pop("verbose", None)  # a stream is silent anyway
        self.view = self.inputs
        self.draw()
        self.say("")

    @property
    def profile(self) -> dict[str, float]:
        """What the bars say."""
        return self.values["profile"]

    def start(self, *, queue: bool = False) -> None:
        """Train as the bars say; while a run goes on, run once more when it has ended."""
        if any(self.profile.values()):
            super().start(queue=True)
        else:
            self.say("Every stage is frozen, so there is nothing to train; raise a bar.")

    def begin(self, number: int, values: dict[str, Any]) -> TunnelRun:
        """Return a new run."""
        self.busy(f"run {number} begins")
        return TunnelRun(number, values)

    def steps(self, run: TunnelRun) -> Iterator[str]:
        """Train a copy of the source under a new head; the old accuracy is that of the old head on the new backbone."""
        model = replace_head(self.source, self.new.classes, seed=self.settings.get("seed", 0))
        before = nn.Sequential(OrderedDict([*model.named_children()][:-1], head=self.source.get_submodule("head")))
        stream = training.train(model, self.new, run.profile, self.epochs, stop=self.worker.stopping, **self.settings)
        run.path.append((_accuracy(before, self.old), _accuracy(model, self.new)))
        self.model = model
        yield f"run {run.number}: epoch 0 of {self.epochs}"
        with closing(stream):  # type: ignore[type-var]
            for record in stream:
                if isinstance(record, Epoch) and record.epoch:
                    new = share(record.valid_counts, grouped=bool(self.new.valid.groups))
                    run.path.append((_accuracy(before, self.old), new))
                    yield f"run {run.number}: epoch {record.epoch} of {self.epochs}"

    def draw(self) -> None:
        """Draw the plane anew."""
        self._figure = figure_of(self._rows)
        self.inputs.answer = {**self.inputs.answer, **picture(self._figure)}

    def busy(self, progress: str) -> None:
        """Tell what goes on."""
        super().busy(progress)
        if progress:
            self.say(progress)

    def ending(self, run: TunnelRun) -> str:
        """Return what a run came to, in a sentence or two."""
        if not run.path:
            return "Stopped before anything was measured."
        old, new = run.path[-1]
        ends = {"stopped": " It was stopped.", "diverged": " It diverged: this profile is too hot."}
        return (
            f"Run {run.number} after {run.seconds:.1f} s: of the old task it keeps {base.interval(old)}, "
            f"of the new one it learns {base.interval(new)}.{ends.get(run.outcome, '')}"
        )

    def hint(self) -> str:
        """Return what to do next."""
        return "Paint the bars and let go, or press Train."

    def text(self) -> str:
        """Return a line for each run."""
        return "\n".join(self.ending(run) for run in reversed(self.runs) if run.path) or "No run yet"

    def html(self) -> str:
        """Return the figure of the runs."""
        return figure_html(self._figure)

    def _rows(self) -> Any:
        runs = [run for run in reversed(self.runs) if run.path]
        points = {f"{run.number}: {' '.join(map(base.rate_text, run.profile.values()))}": run for run in runs}
        finding = "No run yet: paint a profile and let go"
        if runs:
            old, new = (base.percent(reached.value) for reached in runs[0].path[-1])
            finding = f"Run {runs[0].number}: {old} of the old task, {new} of the new one"
        if not runs and not self.beside:
            return base.empty(None, finding)
        ends: dict[str, Any] = {name: [run.path[-1]] for name, run in points.items()}
        how: Any = {"majority": self.majority, "finding": finding, "test_to_train": self.test_to_train}
        return old_and_new(ends, stored=self.beside, **how)


def _accuracy(model: nn.Sequential, data: Data) -> Interval:
    groups = data.valid.groups
    return share(validate(model, data.valid.batches(256), cross_entropy, groups)[2], grouped=bool(groups))


def wind_tunnel(
    source: nn.Sequential,
    old: Data,
    new: Data,
    *,
    profile: Mapping[str, float] | None = None,
    epochs: int = 20,
    beside: Mapping[str, Sequence[Sequence[float]]] | None = None,
    test_to_train: float = 0.0,
    name: str = "tunnel",
    **settings: Any,
) -> WindTunnel:
    """Let a learner paint a profile and see old and new validation accuracy move; return the panel.

    source: a network that knows the `old` task. Each run trains a copy with a new head on `new`; the old accuracy is
    that of the old head on the new backbone, after each epoch. profile: where the bars start (default: full, 1e-3).
    beside: {strategy: [(old, new), …]} from records, drawn hollow; test_to_train: of these runs, if they are over
    random splits of one set (see `t_interval`). settings: of `fit`.
    `await panel.run()` trains once and waits. name: part of the CSS classes `sft-NAME-STAGE-input`, `-train-input`,
    `-stop-input`, `-forget-input`, `-picture` and `-status`.
    """
    if not (isinstance(old.classes, list) and isinstance(new.classes, list)):
        raise ValueError("the wind tunnel has one head a task: load the data with one target")
    return WindTunnel(source, old, new, profile, epochs, beside or {}, test_to_train, name, settings).show()
