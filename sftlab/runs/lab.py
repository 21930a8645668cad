"""JupyterLab as `sftlab lab` opens it: at the first lesson, without questions, and without controls that are dead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from sftlab.runs.report import without_widget

WORDS = ("--ServerApp.contents_manager_class=sftlab.runs.lab.Contents",)
CONFIG = Path(__file__).with_name("jupyter")  # no question about news over the first lesson, notebooks before folders


class Contents(AsyncLargeFileManager):
    """Files as JupyterLab reads them. A notebook without a kernel shows its figures, not controls that nobody hears.

    A saved control is the address of one that lived in a kernel. When that is gone, JupyterLab says "model not found"
    in its place, although the figure is in the same output.
    """

    async def get(self, path: str, *args: Any, **options: Any) -> Any:
        """Return a file; see the server's own."""
        model = await super().get(path, *args, **options)
        if model["type"] == "notebook" and model["content"] and not await self._has_kernel(path):
            for cell in model["content"]["cells"]:
                if "outputs" in cell:
                    cell["outputs"] = [output for output in cell["outputs"] if without_widget(output)]
        return model

    async def _has_kernel(self, path: str) -> bool:
        sessions = getattr(self.parent, "session_manager", None)  # a server's; without one nothing runs
        return sessions is not None and path.strip("/") in {s["path"] for s in await sessions.list_sessions()}


def open_lab(root: Path, lesson: Path, words: Sequence[str]) -> int:
    """Open JupyterLab in the folder `root` at a lesson, wait until it is left, and return its exit code."""
    open_at = [f"--LabApp.default_url=/lab/tree/{lesson.relative_to(root).as_posix()}"] if lesson.is_file() else []
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", *WORDS, *open_at, *words]
    try:
        code = subprocess.run(command, cwd=root, env=environment()).returncode
    except KeyboardInterrupt:  # how one leaves JupyterLab
        return 0
    is_root = getattr(os, "geteuid", lambda: 1)() == 0  # as in a container; Windows has no such question
    if code and is_root and "--allow-root" not in words:
        click.echo("JupyterLab starts for root only if told to: make lab ARGS=--allow-root, or sftlab lab --allow-root")
    return code


def environment() -> dict[str, str]:
    """Return this process's environment, with the lab's settings where JupyterLab looks for some."""
    paths = [str(CONFIG), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}
