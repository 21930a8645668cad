"""What every interactive output shares: a live widget, a static figure, a line of text, one look."""

from __future__ import annotations

import threading
from typing import Any

# Matplotlib is made for one thread: figures of all panels are drawn one after the other.
drawing = threading.RLock()

# What the learner did, by control and question: running a cell again, or all of them, does not throw it away.
remembered: dict[tuple[Any, ...], Any] = {}

CSS = """
.sft-panel { color: var(--jp-ui-font-color1, #222);
  font: 14px/1.5 var(--jp-ui-font-family, system-ui, sans-serif);
  padding: .4em 0; }
.sft-panel button, .sft-panel input { font: inherit; }
.sft-panel button { padding: .45em 1.1em; margin: 0 .5em .4em 0; border: 1.5px solid #0072B2;
  border-radius: 6px; background: var(--jp-layout-color1, white); color: inherit; cursor: pointer; }
.sft-panel button:hover { background: rgba(0, 114, 178, .12); }
.sft-panel button.sft-main { background: #0072B2; color: white; }
.sft-panel :focus-visible { outline: 3px solid #E69F00; outline-offset: 2px; }
.sft-panel kbd { font: inherit; font-size: 85%; opacity: .75; margin-right: .5em; }
.sft-guess { display: flex; flex-wrap: wrap; gap: .3em .9em; align-items: center; }
.sft-guess label { flex-basis: 100%; font-weight: 600; }
.sft-guess input[type=range] { width: 20em; accent-color: #AA3377; }
.sft-guess input[type=number] { width: 6em; }
.sft-guess [role=status] { opacity: .75; }
.sft-cells img.sft-cell { display: block; width: min(360px, 100%); margin: .4em 0; image-rendering: auto; }
.sft-cells progress { width: min(360px, 100%); display: block; accent-color: #0072B2; }
.sft-controls { display: flex; flex-wrap: wrap; gap: .5em 1.8em; align-items: center; padding-bottom: .3em; }
.sft-control { display: flex; flex-wrap: wrap; align-items: center; gap: .2em .7em; min-width: 0; }
.sft-control > label:first-child, .sft-label { font-weight: 600; }
.sft-control output { font-variant-numeric: tabular-nums; }
.sft-control input[type=range] { width: 15em; max-width: 100%; accent-color: #0072B2; margin: .3em 0; }
.sft-control input[type=checkbox] { width: 1.15em; height: 1.15em; vertical-align: -.15em; accent-color: #0072B2; }
.sft-panel .sft-control button { margin: 0; }
.sft-panel [aria-disabled=true] { opacity: .45; cursor: default; }
.sft-strip span.sft-cold { background: repeating-linear-gradient(135deg, rgba(127, 150, 178, .38) 0 5px,
  rgba(127, 150, 178, .16) 5px 10px); border-color: rgba(127, 150, 178, .7); }
.sft-choice, .sft-strip { display: inline-flex; flex-wrap: wrap; }
.sft-choice label, .sft-strip label { position: relative; cursor: pointer; }
.sft-choice input, .sft-strip input { position: absolute; inset: 0; opacity: 0; margin: 0; cursor: pointer; }
.sft-choice span, .sft-strip span { display: block; padding: .22em .8em; margin: 1px 0 1px -1.5px;
  border: 1.5px solid var(--jp-border-color1, #aaa); background: var(--jp-layout-color1, white); }
.sft-choice label:first-child span { border-radius: 6px 0 0 6px; margin-left: 0; }
.sft-choice label:last-child span { border-radius: 0 6px 6px 0; }
.sft-strip label + label::before { content: "›"; padding: 0 .3em; opacity: .6; }
.sft-strip label { display: flex; align-items: center; }
.sft-kind-strip { flex-basis: 100%; }
.sft-strip span { border-radius: 4px; margin-left: 0; }
.sft-choice label:hover span, .sft-strip label:hover span { background: rgba(0, 114, 178, .12); }
.sft-panel input:checked + span { background: #0072B2; border-color: #0072B2; color: white; position: relative; }
.sft-panel input:focus-visible + span { outline: 3px solid #E69F00; outline-offset: 2px; z-index: 1;
  position: relative; }
.sft-kind-words { flex-basis: 100%; }
.sft-words { display: flex; flex-wrap: wrap; gap: .2em .35em; max-width: 60em; }
.sft-panel .sft-words button { padding: .2em .15em; border-width: 0 0 2px; border-style: dotted; border-radius: 0; }
.sft-panel .sft-words [aria-pressed=true] { text-decoration: line-through 2px #D55E00; opacity: .7;
  border-color: transparent; }
.sft-status { margin: .2em 0; min-height: 1.5em; }
.sft-status.sft-error { border-left: 4px solid #D55E00; padding-left: .6em; }
.sft-unseen { position: absolute; width: 1px; height: 1px; min-height: 0; overflow: hidden; clip-path: inset(50%); }
.sft-explore { position: relative; }
.sft-panel .sft-title { margin: .3em 0 0; font-weight: 600; font-size: 15px; }
.sft-panel .sft-busy { font-variant-numeric: tabular-nums; font-weight: 400; }
.sft-panel .sft-busy::before { content: "●"; color: #D55E00; margin-right: .5em; }
.sft-chart svg { display: block; width: 100%; max-width: 880px; height: auto; overflow: visible; }
.sft-chart text { fill: var(--jp-ui-font-color1, #222); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.sft-chart .sft-tick, .sft-chart .sft-axis-name { fill: var(--jp-ui-font-color2, #666); }
.sft-chart .sft-strong { font-weight: 600; }
.sft-chart .sft-grid { stroke: var(--jp-border-color2, #ddd); }
.sft-chart .sft-axis { stroke: var(--jp-ui-font-color2, #888); }
.sft-chart .sft-majority { stroke: var(--jp-ui-font-color1, #222); stroke-dasharray: 5 4; stroke-width: 1.2; }
.sft-run { opacity: .5; stroke-width: 1.5; } .sft-run.sft-now { opacity: 1; stroke-width: 2.4; }
.sft-run .sft-line, .sft-run .sft-train, .sft-run .sft-whisker { fill: none; }
.sft-run .sft-train { stroke: var(--jp-ui-font-color2, #888); stroke-dasharray: 6 4; stroke-width: 1.6; }
.sft-run .sft-whisker { stroke-width: 1.6; }
.sft-run .sft-kept { fill: none; stroke: var(--jp-ui-font-color1, #222); stroke-width: 1.4; }
.sft-chart .sft-end, .sft-chart .sft-strong { paint-order: stroke; stroke: var(--jp-layout-color0, white);
  stroke-width: 3px; stroke-linejoin: round; }
.sft-panel .sft-runs { overflow-x: auto; }
.sft-panel .sft-runs table { border-collapse: collapse; margin: .4em 0; font-size: 13px; color: inherit; }
.sft-panel .sft-runs th, .sft-panel .sft-runs td { text-align: left; padding: .2em .9em .2em 0; white-space: nowrap;
  font-variant-numeric: tabular-nums; border-bottom: 1px solid var(--jp-border-color2, #ddd); background: none; }
.sft-panel .sft-runs thead th { font-weight: 600; opacity: .75; }
.sft-panel .sft-runs tbody tr:first-child { font-weight: 600; }
.sft-panel .sft-runs tbody tr:hover { background: rgba(0, 114, 178, .12); }
.sft-key { width: 34px; height: 12px; vertical-align: -1px; } .sft-key path { stroke-width: 2; }
.sft-picture { display: block; max-width: 100%; height: auto; border-radius: 4px; }
.sft-picture[hidden] { display: none; }
"""

# Vertical ranges that look like bars: one a stage in the wind tunnel, one a class in a distribution.
UPRIGHT = """
.sft-bars { display: flex; gap: .3em; touch-action: none; }
.sft-bar { display: flex; flex-direction: column; align-items: center; width: 4.1em; }
.sft-bar output { font-variant-numeric: tabular-nums; font-size: 92%; }
.sft-bar label { font-weight: 600; }
.sft-bar input[type=range] { writing-mode: vertical-lr; direction: rtl; -webkit-appearance: none; appearance: none;
  width: 3em; height: 11.5em; margin: .15em 0; border: 1.5px solid #7C8CA0; border-radius: 4px; cursor: ns-resize;
  background: linear-gradient(to top, var(--sft-hot, #0072B2) var(--sft-at), rgba(127, 150, 178, .14) var(--sft-at)); }
.sft-bar input.sft-cold { background: repeating-linear-gradient(45deg, transparent 0 5px,
  rgba(127, 150, 178, .45) 5px 7px); }
.sft-bar input[type=range]::-webkit-slider-thumb { -webkit-appearance: none; width: 3em; height: 7px;
  background: #222; border-radius: 2px; }
.sft-bar input[type=range]::-moz-range-thumb { width: 3em; height: 7px; background: #222; border: 0;
  border-radius: 2px; }
.sft-kind-bars .sft-bar { width: 4.6em; } .sft-kind-bars .sft-bar input[type=range] { height: 7em; }
"""


class Panel:
    """A live control with a static twin. Subclasses set `view` (a widget) and say `html()` and `text()`."""

    view: Any
    _handle: Any = None
    _shown: Any = None

    def html(self) -> str:
        """Return what a reader without a kernel sees."""
        raise NotImplementedError

    def text(self) -> str:
        """Return one line for terminals."""
        raise NotImplementedError

    def bundle(self) -> dict[str, Any]:
        """Return the output: widget view, static figure, text; a front end takes the first it can show."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        return {
            "application/vnd.jupyter.widget-view+json": view,
            "text/html": self.html(),
            "text/plain": self.text(),
        }

    def show(self) -> None:
        """Show the control below the cell that runs now."""
        from IPython import get_ipython
        from IPython.display import display

        shell = get_ipython()
        if shell is None:
            print(self.text())
            return
        self._shown = shell.execution_count
        self._handle = display(self.bundle(), raw=True, display_id=True)

    def settle(self) -> None:
        """Write the present state into the output, so that a saved notebook holds it."""
        if self._handle is not None:
            self._handle.update(self.bundle(), raw=True)

    def _ipython_display_(self) -> None:
        """A cell that ends in the control shows it once, although making it has shown it already."""
        from IPython import get_ipython

        if getattr(get_ipython(), "execution_count", None) != self._shown:
            self.show()
