"""JupyterLab on a clone, at the first lesson."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sftlab.runs.defaults import START


def run(root: Path, words: Sequence[str] = ()) -> int:
    """Open JupyterLab on the clone `root` until it is left, and return its exit code; `words` go to it."""
    start = root / "notebooks" / f"{START}.ipynb"
    open_at = [f"--LabApp.default_url=/lab/tree/notebooks/{start.name}"] if start.is_file() else []
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", *open_at, *words]
    try:
        code = subprocess.run(command, cwd=root).returncode
    except KeyboardInterrupt:  # how one leaves JupyterLab
        return 0
    is_root = getattr(os, "geteuid", lambda: 1)() == 0  # as in a container; Windows has no such question
    if code and is_root and "--allow-root" not in words:
        print("JupyterLab starts for root only if told to: make lab ARGS=--allow-root, or sftlab lab --allow-root")
    return code
