"""Explore: a figure under the learner's hand, redrawn while a control moves."""

from __future__ import annotations

import base64
import html
import inspect
import io
import sys
import threading
from collections.abc import Callable
from typing import Any

from sftlab.plot import base, style
from sftlab.widgets.controls import Control, specs
from sftlab.widgets.inputs import Controls
from sftlab.widgets.panel import Panel, drawing, remembered

SHARP = 144  # dots per inch of a live picture: sharp on most screens, and drawn in a tenth of a second


class Explorer(Panel):
    """Controls and the figure they draw: `values` are what they say now."""

    def __init__(self, draw: Callable[..., Any], controls: dict[str, Control], name: str) -> None:
        self.draw, self.controls = draw, controls
        self._lock, self._worker, self._wanted = threading.Lock(), None, None
        self._key = ("explore", name, *((key, c.kind, c.label, c.texts) for key, c in controls.items()))
        state = {key: control.start for key, control in controls.items()} | remembered.get(self._key, {})
        self.view = Controls(name=name, title=f"controls of {name}", specs=specs(controls), state=state)
        remembered.pop(self._key, None)  # what cannot be drawn shall not come back with every run of the cell
        self._figure = self._draw(state)
        self.view.drawn = self._picture(self._figure, state)
        self._remember(state)
        self.view.observe(self._chosen, "state")

    _worker: threading.Thread | None
    _wanted: dict[str, Any] | None

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now, as `draw` gets it."""
        return self._values(self.view.state)

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the settings and the figure's text alternative."""
        return f"{self._settings()}. {self.view.drawn['alt']}"

    def html(self) -> str:
        """Return the settings and the figure."""
        with drawing:
            figure = style.figure_html(self._figure)
        return f"<p>{html.escape(self._settings())}</p>{figure}"

    def wait(self, seconds: float = 10) -> None:
        """Wait until the figure shows what the controls say."""
        worker = self._worker
        if worker is not None:
            worker.join(seconds)

    def _settings(self) -> str:
        state = self.view.drawn["state"]
        said = [control.text(state[key]) for key, control in self.controls.items() if control.kind != "button"]
        return " · ".join(said) or "Not pressed yet"

    def _values(self, state: dict[str, Any]) -> dict[str, Any]:
        return {key: control.value(state[key]) for key, control in self.controls.items()}

    def _remember(self, state: dict[str, Any]) -> None:
        remembered[self._key] = {key: state[key] for key, c in self.controls.items() if c.kind != "button"}

    def _chosen(self, change: Any) -> None:
        """Ask for a figure; the newest wish wins, and one figure is drawn at a time."""
        self._remember(change["new"])
        with self._lock:
            self._wanted = dict(change["new"])
            if self._worker is None:  # else it will look for a newer wish before it ends
                self._worker = threading.Thread(target=self._work, daemon=True, name="sftlab-explore")
                self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                state, self._wanted = self._wanted, None
                if state is None:
                    self._worker = None
                    return
            try:
                self._figure = self._draw(state)
                self.view.drawn = self._picture(self._figure, state)
            except Exception as error:  # a mistake in `draw` belongs on the page, not into a thread nobody sees
                said = f"{type(error).__name__}: {error}"
                self.view.drawn = {**self.view.drawn, "state": state, "error": f"This cannot be drawn: {said}"}

    def _draw(self, state: dict[str, Any]) -> Any:
        with drawing, base.offscreen():
            thing = self.draw(**self._values(state))
        if thing is None:
            raise TypeError("draw returned nothing; it must return the Axes or the Figure that it drew")
        figure = thing if hasattr(thing, "savefig") else thing.get_figure(root=True)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close(figure)  # else the cell would show it a second time
        return figure

    @staticmethod
    def _picture(figure: Any, state: dict[str, Any]) -> dict[str, Any]:
        buffer = io.BytesIO()
        with drawing:
            figure.savefig(buffer, format="png", dpi=SHARP, pil_kwargs={"compress_level": 1})
            alt, width = style.alt(figure), round(96 * figure.get_figwidth())
        code = base64.b64encode(buffer.getvalue()).decode()
        return {"state": state, "src": f"data:image/png;base64,{code}", "alt": alt, "width": width, "error": ""}


def explore(draw: Callable[..., Any], *, name: str = "explore", **controls: Control) -> Explorer:
    """Put a figure under the learner's hand: it is drawn anew while a control moves.

    draw: takes the controls' values by name and returns the Axes or Figure it drew. It is called once in the cell, so
    that its errors end the cell, then in a thread: let `sftlab.plot` make the figure, or `matplotlib.figure.Figure`,
    never pyplot, and compute beforehand what takes longer than a quarter of a second. controls: `slider`, `choice`,
    `strip`, `toggle`, `words`, `distribution`, `button`. name: part of the CSS classes `sft-NAME-KEY-input` and the
    like. Raises ValueError if `draw` does not take what the controls give.
    """
    if not controls:
        raise ValueError("no control given: explore(draw, size=slider(…)) moves the argument `size` of draw")
    try:
        inspect.signature(draw).bind(**controls)
    except TypeError as error:
        raise ValueError(f"draw and its controls ({', '.join(controls)}) do not fit: {error}") from None
    for key, control in controls.items():
        if not isinstance(control, Control):
            raise ValueError(f"{key}={control!r} is no control, as slider, choice, words or button make them")
    panel = Explorer(draw, controls, name)
    panel.show()
    return panel
