"""A learner labels images against the clock, and meets the same interval as the network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from sftlab import style
from sftlab.data import Split
from sftlab.data.core import first_task
from sftlab.evaluation import wilson
from sftlab.plot import base
from sftlab.plot.images import images, size_of_grid
from sftlab.records import Interval
from sftlab.widgets.panel import CSS, Panel, remembered


class _Game(anywidget.AnyWidget):
    """One image at a time, a button a class, a clock; it plays in the browser, busy kernel or not."""

    _esm = """
    let justPlayed = false;  // the output is written anew after a game; the focus must not get lost then
    function render({ model, el }) {
      const name = model.get("name"), images = model.get("images"), classes = model.get("classes");
      const limit = model.get("limit"), noun = model.get("noun");
      const make = (tag, parent, props = {}, text = "") => {
        const node = Object.assign(document.createElement(tag), props);
        node.textContent = text; parent.append(node);
        return node;
      };
      el.classList.add("sft-panel");
      const root = make("div", el, { className: `sft-cells sft-${name}` });
      root.setAttribute("role", "group"); root.setAttribute("aria-label", `label ${images.length} images`);
      const status = make("p", root, { className: `sft-${name}-status` });
      status.setAttribute("role", "status");
      status.id = `sft-status-${Math.random().toString(36).slice(2)}`;
      const clock = make("progress", root, { className: `sft-${name}-clock`, max: limit, value: 0 });
      clock.setAttribute("aria-label", "time used");
      const left = make("small", root, { className: `sft-${name}-left` });
      left.setAttribute("aria-hidden", "true");  // a reader aloud of every second would drown the question
      const image = make("img", root, { className: `sft-cell sft-${name}-image` });
      const row = make("div", root);
      const start = make("button", row, { className: `sft-main sft-${name}-start` }, "Start");
      start.setAttribute("aria-describedby", status.id);
      const buttons = classes.map((label, k) => {
        const button = make("button", row, { className: `sft-${name}-class-${k}` });
        if (k < 9) make("kbd", button, {}, `${k + 1}`);
        button.append(label); button.onclick = () => answer(k); return button;
      });
      for (const button of [start, ...buttons]) button.dataset.lmSuppressShortcuts = "true";
      const score = make("div", root, { className: `sft-${name}-score` });
      let answers = [], began = 0, timer = null;

      function rest() {
        clearInterval(timer); timer = null;
        for (const node of [image, clock, left, ...buttons]) node.style.display = "none";
        start.style.display = "";
        start.textContent = model.get("rounds") ? "Play again" : "Start";
        score.innerHTML = model.get("score");
        status.textContent = model.get("message");
      }
      function ask() {
        image.src = images[answers.length];
        image.alt = `${noun} ${answers.length + 1} of ${images.length}, to be labelled`;
        tell();
      }
      function tell() {
        const used = (performance.now() - began) / 1000;
        clock.value = Math.min(limit, used);
        left.textContent = `${Math.max(0, Math.ceil(limit - used))} s left`;
        status.textContent = `${noun} ${answers.length + 1} of ${images.length}`;
        if (used >= limit) finish(limit);
      }
      function answer(k) {
        if (timer === null) return;
        answers.push(k);
        if (answers.length === images.length) finish((performance.now() - began) / 1000); else ask();
      }
      function finish(used) {
        clearInterval(timer); timer = null; justPlayed = true;
        status.textContent = "done; the kernel counts …";
        model.set("answers", [...answers]); model.set("elapsed", used);
        model.set("rounds", model.get("rounds") + 1); model.save_changes();
        for (const node of [image, clock, left, ...buttons]) node.style.display = "none";
        start.style.display = ""; start.textContent = "Play again"; start.focus();
      }
      start.onclick = () => {
        answers = []; began = performance.now(); score.innerHTML = "";
        for (const node of [image, clock, left, ...buttons]) node.style.display = "";
        start.style.display = "none";
        timer = setInterval(tell, 250); ask(); buttons[0].focus();
      };
      root.addEventListener("keydown", event => {
        const k = Number(event.key) - 1;
        const named = Number.isInteger(k) && k >= 0 && k < Math.min(9, classes.length);
        if (timer !== null && named && !event.repeat) {
          event.preventDefault(); event.stopPropagation(); answer(k);
        }
      });
      model.on("change:score", () => { if (timer === null) rest(); });
      rest();
      const refocus = () => start.isConnected ? start.focus() : requestAnimationFrame(refocus);
      if (justPlayed) { justPlayed = false; refocus(); }
      return () => clearInterval(timer);
    }
    export default { render };
    """
    _css = CSS
    name = traitlets.Unicode("cells").tag(sync=True)
    noun = traitlets.Unicode("cell").tag(sync=True)
    images = traitlets.List(traitlets.Unicode()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    limit = traitlets.Float(60).tag(sync=True)
    answers = traitlets.List(traitlets.Int()).tag(sync=True)
    elapsed = traitlets.Float(0).tag(sync=True)
    rounds = traitlets.Int(0).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)
    score = traitlets.Unicode("").tag(sync=True)


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
        self.view = _Game(
            name=name, noun=noun, classes=self.classes, limit=seconds, answers=answers, elapsed=elapsed,
            images=[_data_uri(image) for image in _stored(split, self.positions)], rounds=int(bool(answers)),
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


def _data_uri(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image.transpose(1, 2, 0)
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(buffer, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
