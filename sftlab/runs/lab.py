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

from sftlab.lessons.checks import PROGRESS
from sftlab.runs.notebooks import MY_LAB, NEW, built, checkout, emptied, read, workplace
from sftlab.runs.report import without_widget

EXERCISES = "exercises"  # the folder of notebooks whose cells are tagged
NBGRADER = """c = get_config()
c.CourseDirectory.course_id = "sftlab"
c.ClearSolutions.code_stub = {"python": ""}  # what is to be filled in stands in the cell already
c.Execute.timeout = 600  # seconds: a busy machine takes its time
c.Execute.iopub_timeout = 60
"""
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
                    cell["outputs"] = [*filter(without_widget, cell["outputs"])]
        return model

    async def _has_kernel(self, path: str) -> bool:
        sessions = getattr(self.parent, "session_manager", None)  # a server's; without one nothing runs
        return sessions is not None and path.strip("/") in {s["path"] for s in await sessions.list_sessions()}


def copied(folder: Path, *, form: str = "folded", core: bool = False) -> list[str]:
    """Copy the lessons, outputs emptied, to a learner's `folder`; return a sentence for each that they had changed.

    What was changed or run there is never overwritten: a lesson that has a newer version gets it as a file beside it.
    form: of the exercises, see `exercises`. core: only the core lessons and their exercises.
    """
    root, notes = checkout(), []
    for lesson in built(root):
        place = lesson.relative_to(root / "notebooks")
        if core and place.parent.name not in ("", EXERCISES):
            continue
        book, own = exercises(emptied(read(lesson)), form), folder / place
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
    for text in (*root.glob("notebooks/*.md"), *root.glob("notebooks/sweeps/*.yml")):
        if text.stem == "teaching" and form != "solved":  # what is for the teacher
            continue
        if not (own := folder / text.relative_to(root / "notebooks")).exists():
            own.parent.mkdir(exist_ok=True)
            shutil.copyfile(text, own)
    progress = folder / EXERCISES / PROGRESS
    if progress.parent.is_dir() and not progress.exists():
        progress.write_text("{}", encoding="utf-8")
    return notes


def exercises(book: NotebookNode, form: str) -> NotebookNode:
    """Return a notebook whose cells tagged `blank`, `hint`, `solution` have a form; other notebooks stay as they are.

    "folded": solutions and hints are folded away, as text that runs nowhere. "solved": solutions stand where the blanks
    were. "nbgrader": a solution is marked as one in its blank, and each check is worth a point.
    """
    cells, blank = [], ""
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        if "blank" in tags and form != "folded":
            blank = cell.source
            continue
        if "hint" in tags:
            cell = _details(cell, "Hint", cell.source)
        elif "solution" in tags and form == "folded":
            cell = _details(cell, "A solution", f"```python\n{cell.source}\n```")
        elif "solution" in tags and form == "nbgrader":
            cell.source = f"{blank}\n### BEGIN SOLUTION\n{cell.source}\n### END SOLUTION"
            cell.metadata.nbgrader = _graded(cell, solution=True)
        elif cell.source.startswith("check.") and form == "nbgrader":
            cell.source = f"verdict = {cell.source}\nprint(verdict)\nfloat(verdict.right)"
            cell.metadata.nbgrader = _graded(cell, grade=True, locked=True, points=1)
        cells.append(cell)
    return NotebookNode({**book, "cells": cells})


def _details(cell: NotebookNode, title: str, text: str) -> NotebookNode:
    return new_markdown_cell(f"<details><summary>{title}</summary>\n\n{text}\n\n</details>", id=cell.id)


def _graded(cell: NotebookNode, **what: Any) -> NotebookNode:
    marks = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return NotebookNode(marks | what | {"grade_id": cell.id})


def assignments(folder: Path) -> None:
    """Write the exercises as a course of nbgrader: an assignment a lesson under `source`, and the course's settings.

    What is there already stays.
    """
    for path in sorted((checkout() / "notebooks" / EXERCISES).glob("*.ipynb")):
        place = folder / "source" / path.stem / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            nbformat.write(exercises(emptied(read(path)), "nbgrader"), place)
    settings = folder / "nbgrader_config.py"
    if not settings.exists():
        settings.write_text(NBGRADER, encoding="utf-8")


def _fingerprint(book: NotebookNode) -> str:
    """Return a hash of what a learner changes: cells and their outputs."""
    content = [[cell.cell_type, cell.source, cell.get("outputs")] for cell in book.cells]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def open_lab(words: Sequence[str]) -> int:
    """Open JupyterLab at a learner's first lesson, wait until it is left, and return its exit code."""
    root = workplace()
    for note in copied(root / MY_LAB):
        click.echo(note)
    open_at = f"--LabApp.default_url=/lab/tree/{MY_LAB}/00_start_here.ipynb"
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
