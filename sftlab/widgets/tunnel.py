"""The wind tunnel: paint a learning-rate profile and see what is learned and what is forgotten."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import nn

from sftlab.core import monitors, profiles
from sftlab.core.model import stage_names
from sftlab.data import Data
from sftlab.plot import base, style, tunnel
from sftlab.widgets.bars import Bars
from sftlab.widgets.flights import Course, Flight
from sftlab.widgets.panel import Panel, drawing, remembered

RATES = [0.0, *(float(f"{m}e{e}") for e in range(-5, -1) for m in (1, 2, 5)), 0.1]
KEPT = 8  # runs to compare; more points hide each other
OFTEN = 0.15  # seconds between two pictures of a run that goes on
SHARP = 144  # dots per inch


class Tunnel(Panel):
    """Bars and a plane: `runs` holds the flights, `profile` what is painted, `model` the network of the newest run."""

    def __init__(
        self, source: nn.Sequential, old: Data, new: Data, profile: Mapping[str, float] | None, epochs: int,
        beside: Mapping[str, Any], line: Sequence[str], name: str, settings: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.course = Course(source, old, new, epochs, settings)
        self.beside, self.line, self.stages = dict(beside), tuple(line), stage_names(source)
        self.error: Exception | None = None
        start = profiles.check(source, profile) if profile is not None else profiles.full(source, 1e-3)
        key = ("tunnel", name, old.valid.digest, new.valid.digest, tuple(self.stages))
        self._kept = remembered.setdefault(key, {"runs": [], "positions": [_position(r) for r in start.values()]})
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._again = False
        self.view = Bars(
            name=name, stages=self.stages, positions=self._kept["positions"], heat=[style.heat(r) for r in RATES],
            texts=["frozen", *map(base.rate_text, RATES[1:])], status="Paint the bars and let go, or press Train.",
        )  # fmt: skip
        self._draw()
        self.view.observe(self._painted, "positions")
        self.view.observe(self._pressed, "pressed")

    @property
    def runs(self) -> list[Flight]:
        """The newest runs, the last one last."""
        return self._kept["runs"]

    @property
    def model(self) -> nn.Sequential:
        """The network of the newest run; before the first, the one that came in."""
        return self.course.model

    @property
    def profile(self) -> dict[str, float]:
        """What the bars say."""
        return {name: RATES[p] for name, p in zip(self.stages, self.view.positions, strict=True)}

    @property
    def is_training(self) -> bool:
        """Whether a run goes on."""
        return self._thread is not None

    async def run(self, profile: Mapping[str, float] | None = None) -> None:
        """Train once as the bars say (or by `profile`) and wait; the output then holds the finished picture.

        Stop and an interrupted kernel end it early. Raises what the run raised.
        """
        if profile is not None:
            self.view.unobserve(self._painted, "positions")
            self.view.positions = [_position(rate) for rate in profiles.check(self.course.source, profile).values()]
            self.view.observe(self._painted, "positions")
        self.start()
        try:
            while self.is_training:
                await asyncio.sleep(0.02)
        except (KeyboardInterrupt, asyncio.CancelledError):
            self._stop.set()
            while self.is_training:
                time.sleep(0.02)
        self.settle()
        if self.error is not None:
            raise self.error

    def start(self) -> None:
        """Train as the bars say; while a run goes on, run once more when it has ended."""
        with self._lock:  # clicks may arrive on the main thread or on a subshell's
            if self._thread is not None:
                self._again = True
                return
            self._stop.clear()
            self.view.busy = True
            self._thread = threading.Thread(target=self._work, daemon=True, name="sftlab-tunnel")
            self._thread.start()

    def _work(self) -> None:
        while True:
            self.error = None
            try:
                self._fly()
            except Exception as error:  # belongs on the page; whoever waits for the run raises it as well
                self.error, self.view.failed = error, True
                self.view.status = f"This run failed: {type(error).__name__}: {error}"
            with self._lock:
                again, self._again = self._again and not self._stop.is_set(), False
                if not again:
                    self._thread, self.view.busy = None, False
                    return

    def _fly(self) -> None:
        """Make one run and show its path; the same profile again takes the place of its earlier run."""
        profile = self.profile
        if not any(profile.values()):
            self.view.status = "Every stage is frozen, so there is nothing to train; raise a bar."
            return
        flight = Flight(1 + max((f.number for f in self.runs), default=0), profile)
        self.view.failed = False
        while monitors.is_running() and not self._stop.is_set():
            self.view.status = "another panel is training; this one waits for it"
            time.sleep(0.02)
        self.view.status = f"run {flight.number} begins"
        self.runs[:] = [*[f for f in self.runs if f.profile != profile][-KEPT + 1 :], flight]
        drawn = 0.0
        try:
            for _ in self.course.fly(flight, self._stop):
                if time.perf_counter() - drawn > OFTEN:
                    self._draw()
                    drawn = time.perf_counter()
                    self.view.status = f"run {flight.number}: epoch {len(flight.path) - 1} of {self.course.epochs}"
        finally:
            if not flight.path:
                self.runs.remove(flight)
            self._draw()
        self.view.status = self.course.told(flight)

    def _figure(self) -> Any:
        ax = Figure(figsize=(6.4, 4.4), layout="constrained").add_subplot()
        flown = [f for f in self.runs if f.path]
        intervals = self.course.intervals(flown[-1]) if flown else ()
        tunnel.paths(
            flown, beside=self.beside, line=self.line, majority=self.course.majority, intervals=intervals, ax=ax
        )
        return ax.get_figure()

    def _draw(self) -> None:
        buffer = io.BytesIO()
        with drawing:
            figure = self._figure()
            figure.savefig(buffer, format="png", dpi=SHARP, pil_kwargs={"compress_level": 1})
            alt, width = style.alt(figure), round(96 * figure.get_figwidth())
        code = base64.b64encode(buffer.getvalue()).decode()
        self.view.drawn = {"src": f"data:image/png;base64,{code}", "alt": alt, "width": width}

    def _painted(self, change: Any) -> None:
        self._kept["positions"] = list(change["new"])
        self.start()

    def _pressed(self, change: Any) -> None:
        what = change["new"][0]
        if what == "train":
            self.start()
        elif what == "stop":
            self._again = False
            self._stop.set()
        elif what == "forget":
            self.runs[:] = [f for f in self.runs if f.outcome == "running"]
            self._draw()
            self.view.status = "Paint the bars and let go, or press Train."

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return a line for each run."""
        return "\n".join(self.course.told(f) for f in reversed(self.runs) if f.path) or "No run yet"

    def html(self) -> str:
        """Return the plane with the runs."""
        with drawing:
            return style.figure_html(self._figure())


def _position(rate: float) -> int:
    """Return the bar's position nearest to a rate, on a log scale; 0 is frozen."""
    return RATES.index(min(RATES[1:], key=lambda r: abs(r / rate - 1) + abs(rate / r - 1))) if rate > 0 else 0


def wind_tunnel(
    source: nn.Sequential, old: Data, new: Data, *, profile: Mapping[str, float] | None = None, epochs: int = 20,
    beside: Mapping[str, Sequence[Sequence[float]]] | None = None, line: Sequence[str] = (), name: str = "tunnel",
    **settings: Any,
) -> Tunnel:  # fmt: skip
    """Let a learner paint a profile and see old and new validation accuracy move; return the panel.

    source: a network that knows the `old` task. Each run trains a copy with a new head on `new`; the old accuracy is
    that of the old head on the new backbone, after each epoch. profile: where the bars start (default: full, 1e-3).
    beside: {strategy: [(old, new), …]} to compare with, drawn pale; line: those to be joined. settings: of `fit`.
    `await panel.run()` trains once and waits. name: part of the CSS classes `sft-NAME-STAGE-input`, `-train-input`,
    `-stop-input`, `-forget-input`, `-picture` and `-status`.
    """
    if not (isinstance(old.classes, list) and isinstance(new.classes, list)):
        raise ValueError("the wind tunnel has one head a task: load the data with one target")
    panel = Tunnel(source, old, new, profile, epochs, beside or {}, line, name, settings)
    panel.show()
    return panel
