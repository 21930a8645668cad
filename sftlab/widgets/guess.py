"""Predict, then run: a number guessed before the figure that shows it."""

from __future__ import annotations

import html
from typing import Any

import anywidget
import traitlets

from sftlab.widgets.panel import CSS, Panel, remembered


class _Number(anywidget.AnyWidget):
    """A labelled range and a number field that show one value. kept: what the kernel has heard of it."""

    _esm = """
    function render({ model, el }) {
      const id = `sft-guess-${Math.random().toString(36).slice(2)}`, name = model.get("name");
      el.classList.add("sft-panel");
      el.innerHTML = `<div class="sft-guess sft-${name}" role="group">
        <label for="${id}"></label><input type="range" id="${id}" class="sft-${name}-range">
        <input type="number" class="sft-${name}-number">
        <span role="status" class="sft-${name}-status"></span></div>`;
      const [label, range, number, status] = el.firstChild.children;
      label.textContent = model.get("question");
      number.setAttribute("aria-label", model.get("question"));
      for (const input of [range, number]) {
        input.dataset.lmSuppressShortcuts = "true";  // else JupyterLab takes the arrow keys for itself
        for (const key of ["min", "max", "step"]) input[key] = model.get(key);
        input.addEventListener("input", () => { if (input === range) number.value = range.value; });
        input.addEventListener("change", () => {
          const typed = Number(input.value);
          if (input.value !== "" && Number.isFinite(typed)) {
            model.set("value", Math.min(model.get("max"), Math.max(model.get("min"), typed)));
            model.set("touched", true);
            model.save_changes();
          }
          range.value = number.value = model.get("value");
          sync();
        });
      }
      function sync() {
        const value = model.get("value");  // news from the kernel interrupts nobody who drags or types
        if (!range.matches(":active")) range.value = value;
        if (!number.matches(":focus")) number.value = value;
        const kept = model.get("touched") && model.get("kept") === value;
        status.textContent = kept ? `your guess ${value} is kept: run the next cells` : "drag, or type a number";
      }
      for (const name of ["value", "touched", "kept"]) model.on(`change:${name}`, sync);
      sync();
    }
    export default { render };
    """
    _css = CSS
    name = traitlets.Unicode("guess").tag(sync=True)
    question = traitlets.Unicode("").tag(sync=True)
    min = traitlets.Float(0).tag(sync=True)
    max = traitlets.Float(1).tag(sync=True)
    step = traitlets.Float(1).tag(sync=True)
    value = traitlets.Float(0).tag(sync=True)
    touched = traitlets.Bool(False).tag(sync=True)
    kept = traitlets.Float(None, allow_none=True).tag(sync=True)


class Prediction(Panel):
    """A number guessed before it is measured: `float(guess)`, or `guess.value`."""

    def __init__(self, question: str, low: float, high: float, default: float, step: float, name: str) -> None:
        self.question, self.low, self.high, self._step = question, low, high, step
        self._key = ("predict", name, question, low, high, default)
        kept = remembered.get(self._key)
        self.view = _Number(
            name=name, question=f"Your guess: {question} ({low:g} to {high:g})", min=low, max=high, step=step,
            value=default if kept is None else kept, touched=kept is not None, kept=kept,
        )  # fmt: skip
        self.view.observe(self._remember, ["value", "touched"])

    @property
    def value(self) -> float:
        """The guess; a whole number where only whole numbers make sense."""
        return int(self.view.value) if self._step == int(self._step) else float(self.view.value)

    @property
    def touched(self) -> bool:
        """Whether a learner has chosen the number."""
        return bool(self.view.touched)

    def __float__(self) -> float:
        return float(self.view.value)

    def __repr__(self) -> str:
        return self.text()

    def html(self) -> str:
        """Return the question and the guess that stands."""
        return f"<p>{html.escape(self.text())}</p>"

    def text(self) -> str:
        """Return question and guess in one line."""
        return f"Your guess: {self.question} ({self.low:g} to {self.high:g}): {self.value:g}"

    def _remember(self, change: Any) -> None:
        remembered[self._key] = self.view.kept = self.view.value


def predict(
    question: str,
    low: float,
    high: float,
    default: float | None = None,
    *,
    step: float | None = None,
    name: str = "guess",
) -> Prediction:
    """Ask for a number before the figure that shows it; return an object that `float` turns into the guess.

    low, high: ends of the scale. default: what stands until a learner moves it, and in unattended runs
    (default: low). step: of the scale; default 1 between whole numbers, else a hundredth of it. name: part of
    the CSS classes `sft-NAME-range`, `-number` and `-status`. Raises ValueError if the default is off the
    scale.
    """
    default = low if default is None else default
    if not low < high:
        raise ValueError(f"low={low}, high={high}: the scale must rise")
    if not low <= default <= high:
        raise ValueError(f"default={default} is not between {low} and {high}")
    if step is None:
        step = 1 if all(float(v).is_integer() for v in (low, high, default)) and high - low >= 2 else (high - low) / 100
    panel = Prediction(question, low, high, default, step, name)
    panel.show()
    return panel
