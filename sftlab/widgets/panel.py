"""What every interactive output shares: a live widget, a static figure, a line of text, one look."""

from __future__ import annotations

from typing import Any

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
