"""JupyterLab as `sftlab lab` opens it: at a copy of the first lesson that is the learner's own, without outputs.

The lessons of the clone, or of the wheel, stay as they are: to be read, with the outputs they were published with.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import nbformat
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from sftlab.runs.notebooks import MY_LAB, NEW, built, checkout, emptied, read, workplace
from sftlab.runs.report import without_widget

START = "00_start_here.ipynb"
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


def copied(folder: Path) -> list[str]:
    """Copy the lessons, outputs emptied, to a learner's `folder`; return a sentence for each that they had changed.

    What was changed or run there is never overwritten: a lesson that has a newer version gets it as a file beside it.
    """
    root, notes = checkout(), []
    for lesson in built(root):
        book, own = for_learners(emptied(read(lesson))), folder / lesson.relative_to(root / "notebooks")
        version = _fingerprint(book)
        book.metadata.sftlab = NotebookNode(copy_of=version)
        for place in (own, own.with_suffix(NEW)):
            theirs = read(place) if place.is_file() else None
            mark = theirs and theirs.metadata.get("sftlab", {}).get("copy_of")
            if mark == version:  # of this very version, whatever was done to it
                break
            if theirs is None or mark == _fingerprint(theirs):
                place.parent.mkdir(parents=True, exist_ok=True)
                nbformat.write(book, place)
                if place != own:
                    notes.append(f"{own.name} holds work of yours and was left alone; the new lesson is {place.name}")
                break
    for text in (*root.glob("notebooks/*.md"), *root.glob("notebooks/*/*.yml")):
        if not (own := folder / text.relative_to(root / "notebooks")).exists():
            own.parent.mkdir(exist_ok=True)
            shutil.copyfile(text, own)
    return notes


def for_learners(book: NotebookNode) -> NotebookNode:
    """Return a notebook of exercises with each hint and each solution folded away, as text that runs nowhere."""
    cells = []
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        if "hint" in tags or "solution" in tags:
            title, text = ("Hint", cell.source) if "hint" in tags else ("A solution", f"```python\n{cell.source}\n```")
            cell = new_markdown_cell(f"<details><summary>{title}</summary>\n\n{text}\n\n</details>", id=cell.id)
        cells.append(cell)
    return NotebookNode({**book, "cells": cells})


def _fingerprint(book: NotebookNode) -> str:
    """Return a hash of what a learner changes: cells and their outputs."""
    content = [[cell.cell_type, cell.source, cell.get("outputs")] for cell in book.cells]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def open_lab(words: Sequence[str]) -> int:
    """Open JupyterLab at a learner's first lesson, wait until it is left, and return its exit code."""
    root = workplace()
    for note in copied(root / MY_LAB):
        click.echo(note)
    open_at = f"--LabApp.default_url=/lab/tree/{MY_LAB}/{START}"
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", *WORDS, open_at, *words]
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
