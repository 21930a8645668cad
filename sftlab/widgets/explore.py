"""A figure under the learner's hand, redrawn while a control moves; and a number guessed before the figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import traitlets

from sftlab.plot import style
from sftlab.widgets.base import (
    Element,
    Panel,
    Worker,
    figure_of,
    paragraph,
    picture,
    remembered,
    script,
)
from sftlab.widgets.controls import Control, ControlPanel


class Explorer(ControlPanel):
    """Put a figure under the learner's hand: it is drawn anew while a control moves.

    draw: takes the controls' values by name and returns the Axes or Figure it drew. It is called once in the cell, so
    that its errors end the cell, then in a thread: let `sftlab.plot` make the figure, or `matplotlib.figure.Figure`,
    never pyplot, and compute beforehand what takes longer than a quarter of a second. controls: `slider`, `choice`,
    `strip`, `words`, `distribution`, `button`. name: part of the CSS classes `sft-NAME-KEY-input` and the
    like.
    """

    def __init__(self, draw: Callable[..., Any], *, name: str = "explore", **controls: Control) -> None:
        for key, control in controls.items():
            if not isinstance(control, Control):
                raise ValueError(f"{key}={control!r} is no control, as slider, choice, words or button make them")
        super().__init__(("explore", name), controls, name=name, title=f"controls of {name}", live=True)
        self._draw_figure, self.worker = draw, Worker(self._failed)
        kept = self.memory["state"]
        self.memory["state"] = {}  # what cannot be drawn shall not come back with every run of the cell
        self._draw(self.inputs.state, self.values)
        self.memory["state"] = kept
        self.show()

    def text(self) -> str:
        """Return the settings and the figure's text alternative."""
        return f"{self._settings()}. {self.inputs.answer['alt']}"

    def html(self) -> str:
        """Return the settings and the figure."""
        return paragraph(self._settings()) + style.figure_html(self.figure)

    def changed(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Draw once more; the newest wish wins."""
        self.worker.ask(partial(self._draw, new, self.values))

    def _settings(self) -> str:
        state = self.inputs.answer["state"]
        said = [f"{self.controls[key].label}: {self.controls[key].text(state[key])}" for key in self.lasting]
        return " · ".join(said) or "Not pressed yet"

    def _draw(self, state: dict[str, Any], values: dict[str, Any]) -> None:
        self._state = state
        self.figure = figure_of(lambda: self._draw_figure(**values))
        self.answer(state=state, error="", **picture(self.figure))

    def _failed(self, error: Exception) -> None:
        self.answer(state=self._state, error=f"This cannot be drawn: {type(error).__name__}: {error}")


explore = Explorer


class _Number(Element):
    """A labelled range and a number field that show one value.

    fixed: `name`, `question`, and the scale: `min`, `max`, `step`.
    """

    _esm = script("guess")
    value = traitlets.Float().tag(sync=True)
    touched = traitlets.Bool(False).tag(sync=True)


class Prediction(Panel):
    """Ask for a number before the figure that shows it; the object is the guess: `float(guess)`, or `guess.value`.

    low, high: ends of the scale. default: what stands until a learner moves it, and in unattended runs
    (default: low). step: of the scale; default 1 between whole numbers, else a hundredth of it. name: part of
    the CSS classes `sft-NAME-range`, `-number` and `-status`. Raises ValueError if the default is off the
    scale.
    """

    def __init__(
        self,
        question: str,
        low: float,
        high: float,
        default: float | None = None,
        *,
        step: float | None = None,
        name: str = "guess",
    ) -> None:
        default = low if default is None else default
        if not low < high:
            raise ValueError(f"low={low}, high={high}: the scale must rise")
        if not low <= default <= high:
            raise ValueError(f"default={default} is not between {low} and {high}")
        if step is None:
            whole = all(float(v).is_integer() for v in (low, high, default)) and high - low >= 2
            step = 1 if whole else (high - low) / 100
        self.question = f"Your guess: {question} ({low:g} to {high:g})"
        self._key = ("predict", name, question, low, high, default)
        kept = remembered.get(self._key)
        self.view = _Number(
            fixed={"name": name, "question": self.question, "min": low, "max": high, "step": step},
            value=default if kept is None else kept,
            touched=kept is not None,
        )
        self.view.observe(self._remember, ["value", "touched"])
        self.show()

    @property
    def value(self) -> float:
        """The guess; a whole number where only whole numbers make sense."""
        return int(self.view.value) if float(self.view.fixed["step"]).is_integer() else float(self)

    @property
    def touched(self) -> bool:
        """Whether a learner has chosen the number."""
        return bool(self.view.touched)

    def __float__(self) -> float:
        return float(self.view.value)

    def text(self) -> str:
        """Return the question in one line, and the guess if it is one."""
        return f"{self.question}: {self.value:g}" if self.touched else self.question

    def _remember(self, _: Any) -> None:
        remembered[self._key] = self.view.value


predict = Prediction
