"""What every panel of this wing is made of: a part of the page, a worker thread, figures as pictures, the panel."""

from __future__ import annotations

import html
import io
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython import get_ipython
from IPython.display import display
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from sftlab.core.records import Interval
from sftlab.core.statistics import proportion
from sftlab.plot import base, style

STATIC = Path(__file__).parent / "static"

# What the learner did, by control and question: running a cell again, or all of them, does not throw it away.
remembered: dict[tuple[Any, ...], Any] = {}

# Which run of each cell made which widgets last: ipywidgets keeps them, and with them their panels and the networks
# that these train, until they are closed.
newest: dict[Any, list[Any]] = {}


def take_place(widget: Any) -> None:
    """Close what an earlier run of this cell made, even one that was interrupted: its place on the page is taken."""
    if kernel := getattr(get_ipython(), "kernel", None):
        cell = kernel.get_parent()["metadata"].get("cellId", widget)  # not every front end says which one runs
        made = newest.setdefault(cell, [])
        while made and made[0][0] != kernel.execution_count:
            old = made.pop()[1]
            old.close()
            old.layout.close()  # ipywidgets would keep it
        made.append((kernel.execution_count, widget))


def script(name: str) -> str:
    """Return the JavaScript of a part of the page, with what the parts share before it."""
    return "\n".join((STATIC / file).read_text(encoding="utf-8") for file in ("elements.js", f"{name}.js"))


class Element(anywidget.AnyWidget):
    """A part of the page. fixed: what does not change; its `name` is part of the CSS classes of everything in it.

    asked, heard: the page counts what it sends, and the kernel says up to where it has heard. spoken: what it says:
    `said`, and whether that is an `error`.
    """

    _css = (STATIC / "panel.css").read_text(encoding="utf-8")
    fixed = traitlets.Dict().tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    heard = traitlets.Int(0).tag(sync=True)
    spoken = traitlets.Dict({"said": ""}).tag(sync=True)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        take_place(self)

    @traitlets.observe("asked")
    def _hear(self, change: Any) -> None:
        self.heard = change["new"]


class Worker:
    """One thread that does jobs one after the other, and ends when none waits.

    failed: called with the error of a job; it belongs on the page, not into a thread that nobody sees. waiting: how
    many jobs may wait; a further one takes the place of the oldest (None: all wait).
    """

    def __init__(self, failed: Callable[[Exception], None], waiting: int | None = 1) -> None:
        self._failed, self._jobs = failed, deque[Callable[[], None]](maxlen=waiting)
        self._lock = threading.RLock()  # clicks may arrive on the main thread or on a subshell's, an interrupt anywhere
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    @property
    def is_busy(self) -> bool:
        """Whether a job is being done."""
        return self._thread is not None

    def ask(self, job: Callable[[], None]) -> None:
        """Do a job as soon as those before it are done."""
        with self._lock:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="sftlab-widget")
                self._thread.start()

    def stop(self) -> None:
        """Ask the present job to end, by setting `stopping`; nothing that waits for it begins."""
        with self._lock:
            self._jobs.clear()
            self.stopping.set()

    def end(self) -> None:
        """Stop, and wait until the present job has ended."""
        self.stop()
        while self.is_busy:
            time.sleep(0.02)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.popleft()
                self.stopping.clear()
            try:
                job()
            except Exception as error:
                self._failed(error)


def figure_of(draw: Callable[[], Any]) -> Any:
    """Return the Figure that `draw` makes, or whose Axes it returns; it is none of pyplot's, so threads may draw it."""
    with base.offscreen():
        drawn = draw()
    if drawn is None:
        raise TypeError("draw returned nothing; it must return the Axes or the Figure that it drew")
    return style.released(drawn)  # a learner's own may be pyplot's


def picture(figure: Any) -> dict[str, Any]:
    """Return a figure for the page: `src`, `alt` and `width` (CSS pixels) of its picture."""
    source = style.address(*style.picture(figure, live=True))
    return {"src": source, "alt": style.alt(figure), "width": round(96 * figure.get_figwidth())}


def image_address(pixels: Tensor) -> str:
    """Return an image, uint8 C×H×W, as the address of a PNG that is its own content."""
    buffer = io.BytesIO()
    to_pil_image(pixels).save(buffer, format="png")
    return style.address("image/png", buffer.getvalue())


def share(counts: Sequence[Sequence[int]], *, grouped: bool) -> Interval:
    """Return the share of right answers from (right, labelled) of each group, or of all images if not `grouped`."""
    hits = [np.arange(labelled) < right for right, labelled in counts]
    return proportion(np.concatenate(hits), np.repeat(np.arange(len(hits)), [*map(len, hits)]) if grouped else ())


def paragraph(words: str) -> str:
    """Return words as HTML."""
    return f"<p>{html.escape(words)}</p>"


class Panel:
    """A live control with a static twin, shown below the cell that makes it.

    Subclasses set `view` (a widget), perhaps `figure`, say `text()`, and are made with a last call of `show()`.
    """

    view: Any
    figure: Any = None
    _handle: Any = None
    _shown: Any = None

    def html(self) -> str:
        """Return what a reader without a kernel sees: the figure, or else the words."""
        return style.figure_html(self.figure) if self.figure else paragraph(self.text())

    def text(self) -> str:
        """Return it in words, for terminals."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.text()

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
        kernel = getattr(get_ipython(), "kernel", None)
        if kernel is None:
            print(self.text())
        else:
            self._shown = kernel.execution_count
            self._handle = display(self.bundle(), raw=True, display_id=True)

    def settle(self) -> None:
        """Write the present state into the output, so that a saved notebook holds it."""
        if self._handle is not None:
            self._handle.update(self.bundle(), raw=True)

    def _ipython_display_(self) -> None:
        """A cell that ends in the control shows it once, although making it has shown it already."""
        if getattr(get_ipython(), "execution_count", None) != self._shown:
            self.show()
