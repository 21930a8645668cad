"""A progress bar that leaves nothing behind: in a notebook, in a terminal, and where nobody looks."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

from sftlab.data.remote.files import Watch


class Bar(Watch):
    """One line that counts megabytes and the time left, wiped at the end.

    A file, a pipe or a headless run gets no bar characters; a notebook's bar is one output, emptied at the end.
    """

    def __init__(self, name: str) -> None:
        self.name, self.shown, self.began = name, "", (time.monotonic(), 0)
        self.output = _notebook_output()
        self.terminal = self.output is None and sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Bar:
        return self

    def at(self, done: int, total: int | None) -> None:
        """Show how much is here."""
        since, had = self.began
        if done < had or not self.shown:  # what came in an earlier call says nothing of today's speed
            self.began = since, had = time.monotonic(), done
        seconds, text = time.monotonic() - since, f"{done / 1e6:.0f} MB"
        if total:
            text = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB ({done / total:.0%})"
            if seconds > 1 and done > had:
                text += f", {_left(seconds * (total - done) / (done - had))} left"
        self._show(f"downloading {self.name}: {text}")

    def doing(self, text: str) -> None:
        """Show what else takes time, until there is something to count again."""
        self._show(text)

    note = doing

    def __exit__(self, *_: object) -> None:
        self._show("")

    def _show(self, text: str) -> None:
        if text == self.shown:
            return
        if self.output is not None:
            self.output.update({"text/plain": text}, raw=True)
        elif self.terminal:
            text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be wiped
            sys.stderr.write(f"\r{text:<{len(self.shown)}}\r{text}")
            sys.stderr.flush()
        self.shown = text


def _left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _notebook_output() -> Any:
    shell = sys.modules.get("IPython")  # where IPython is not loaded, nobody is in a notebook
    if shell is None or not hasattr(shell.get_ipython(), "kernel"):
        return None
    from IPython.display import display

    return display({"text/plain": ""}, raw=True, display_id=True)
