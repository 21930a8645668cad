"""A learner labels images against the clock, and meets the same interval as the network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.core.statistics import wilson
from sftlab.data import Split
from sftlab.data.core import first_task
from sftlab.plot import base, style
from sftlab.plot.images import images, size_of_grid
from sftlab.widgets.game import Game
from sftlab.widgets.panel import Panel, remembered


class Labelling(Panel):
    """Images that a learner labels against the clock: `answers` (class numbers), `seconds`, `accuracy`."""

    def __init__(
        self,
        split: Split,
        positions: Sequence[int],
        classes: Sequence[str],
        seconds: float,
        noun: str,
        name: str,
        licence: str,
    ) -> None:
        self.split, self.positions, self.classes = split, np.asarray(positions, dtype=np.int64), list(classes)
        self.limit, self.licence, self.noun = seconds, licence, noun
        self.truth = [int(k) for k in first_task(split.labels(self.positions))]
        self._key = ("label", name, split.digest, tuple(positions))
        answers, elapsed = remembered.get(self._key, ([], 0.0))
        self.view = Game(
            name=name, noun=noun, classes=self.classes, limit=seconds, answers=answers, elapsed=elapsed,
            images=[data_uri(image) for image in _stored(split, self.positions)], rounds=int(bool(answers)),
        )  # fmt: skip
        self._say()
        self.view.observe(self._finished, "rounds")

    @property
    def answers(self) -> list[int]:
        """The class numbers given, in order; empty until a game has ended, fewer if time ran out."""
        return list(self.view.answers)

    @property
    def seconds(self) -> float:
        """Seconds the last game took; 0 if none was played."""
        return float(self.view.elapsed)

    @property
    def correct(self) -> list[bool]:
        """Whether each answer is right."""
        return [a == t for a, t in zip(self.answers, self.truth, strict=False)]

    @property
    def accuracy(self) -> Interval | None:
        """Right answers / answers given, with its Wilson interval; None if nothing was played."""
        return wilson(sum(self.correct), len(self.answers)) if self.answers else None

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the score in one sentence, or how to play."""
        many = f"{len(self.positions)} {self.noun}s"
        if not self.answers:
            return f"not played: {many} to label, {self.limit:g} seconds"
        score, given = self.accuracy, len(self.answers)
        assert score is not None
        given_of = f"{given} {self.noun}s" if given == len(self.positions) else f"the {given} {self.noun}s you reached"
        low, high = 100 * score.low, 100 * score.high
        return (
            f"{sum(self.correct)} of {given_of} right in {self.seconds:.0f} s: "
            f"accuracy {base.percent(score.value, 0)}, 95 % interval {low:.0f} to {high:.0f} %"
        )

    def html(self) -> str:
        """Return the grid of the images: numbered before the game, with answer and truth after it."""
        if self.answers:
            return f"<p>{html.escape(self.text())}</p>{self._grid(self._verdicts(), self.text())}"
        truth = ", ".join(f"{i + 1} {self.classes[t]}" for i, t in enumerate(self.truth))
        title = f"{len(self.truth)} {self.noun}s: {' or '.join(self.classes)}?"
        grid = self._grid([str(i + 1) for i in range(len(self.truth))], title)
        return f"{grid}<details><summary>The answers</summary><p>{html.escape(truth)}</p></details>"

    def _verdicts(self) -> list[str]:
        said = [
            f"✓ {self.classes[t]}" if a == t else f"✗ {self.classes[a]}\nis {self.classes[t]}"
            for a, t in zip(self.answers, self.truth, strict=False)
        ]
        return said + [f"–\nis {self.classes[t]}" for t in self.truth[len(said) :]]

    def _grid(self, captions: list[str], title: str) -> str:
        from matplotlib.figure import Figure  # not pyplot: a game may end on a thread of its own

        lines = max(c.count("\n") + 1 for c in captions)
        fig = Figure(figsize=size_of_grid(len(captions), None, lines, self.licence), layout="constrained")
        images(self.split, self.positions, captions, title=title, licence=self.licence, ax=fig.add_subplot())
        return style.figure_html(fig)

    def _finished(self, _: Any) -> None:
        remembered[self._key] = (self.answers, self.seconds)
        self._say()
        self.settle()

    def _say(self) -> None:
        keys = " ".join(f"{k + 1} = {c}" for k, c in enumerate(self.classes[:9]))
        many = f"{len(self.positions)} {self.noun}s, {self.limit:g} seconds. Buttons, or keys: {keys}."
        self.view.message = f"{self.text()}." if self.answers else many
        # The round makes each score a new string, so that two equal games are both shown.
        self.view.score = (
            f"<!--{self.view.rounds}-->{self._grid(self._verdicts(), self.text())}" if self.answers else ""
        )


def label_cells(
    split: Split, positions: Sequence[int], classes: Sequence[str] | None = None, *, seconds: float = 60,
    noun: str = "cell", licence: str = "", name: str = "cells",
) -> Labelling:  # fmt: skip
    """Let the learner label images against the clock; return an object with `answers`, `seconds`, `accuracy`.

    positions: which images of the split. classes: names, in label order (default: the split's). seconds: the
    limit. noun: what one image shows. name: part of the CSS classes `sft-NAME-start`, `-class-0`, `-status`,
    `-image`, … Nothing waits for a player: an unattended run shows the images and goes on, with `answers`
    empty.
    """
    if not len(positions):
        raise ValueError("no position given, so there is nothing to label")
    names = classes if classes is not None else split.classes
    if isinstance(names, dict):
        names = next(iter(names.values()))
    panel = Labelling(split, positions, names, seconds, noun, name, licence)
    panel.show()
    return panel


def _stored(split: Split, positions: np.ndarray) -> np.ndarray:
    """Return the images as they are stored: a crack needs every pixel."""
    return np.asarray(split.images[split.index[positions]])


def data_uri(image: np.ndarray) -> str:
    """Return an image, uint8 C×H×W, as the address of a PNG that is its own content."""
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image.transpose(1, 2, 0)
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(buffer, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
