"""papermill's own engine, sparing with the disk: it writes the notebook twice a cell, this one every other second.

Writing a hundred times what nobody reads meanwhile takes a second of a run that takes ten.
"""

from __future__ import annotations

import time
from typing import Any

from papermill.engines import NBClientEngine, papermill_engines

NAME = "sftlab"
SECONDS = 2.0  # how much of a run that is killed its notebook may lack


class Sparing(NBClientEngine):
    """Runs the cells as papermill does; what is written in between may wait, what is written at the end may not."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *arguments: Any, **options: Any) -> None:
        """Execute every cell; however it ends, the next `save` writes."""
        write, last = nb_man.save, time.monotonic()

        def save(**changed: Any) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS:
                write(**changed)
                last = time.monotonic()

        nb_man.save = save
        try:
            super().execute_managed_notebook(nb_man, kernel_name, *arguments, **options)
        finally:
            del nb_man.save


papermill_engines.register(NAME, Sparing)
