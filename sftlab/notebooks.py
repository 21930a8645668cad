"""From `notebooks/src/NN_name.py` to the notebook beside it, and the check that the two agree.

The source (jupytext percent format) is what people review; the notebook, executed and cleaned, is what they
read on the web. Its metadata hold a fingerprint of the cells it was built from. That is how a learner's own
changes are noticed, and never overwritten: `build` then writes `NN_name.new.ipynb` beside them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from sftlab.parameters import Parameter, read_parameters
from sftlab.publishing import KERNEL, NotebookError, publish

CELL_SECONDS = 300  # no cell of a lesson comes near this; one that hangs must end
START_SECONDS = 120  # a busy two-core machine takes its time to start a kernel
ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Without this the kernel's debugger warns, on every start, about a Python option that nobody here chose.
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")


class Kernel(AsyncKernelManager):
    """A kernel that starts without a warning that it talks, to its own machine, unencrypted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"transport_encryption": "auto", **options})


@dataclass(frozen=True)
class Built:
    """What `build` did for a lesson: "built", "unchanged", or "kept" (yours stays, a new one beside it)."""

    path: Path
    outcome: str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        took = f"  {self.seconds:.0f} s" if self.seconds else ""
        return "\n           ".join([f"{self.outcome:<10} {self.path.name}{took}", *self.notes])


def checkout() -> Path:
    """Return the folder that holds `notebooks/src`: where one is, one above it, or this package's clone."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "notebooks" / "src").is_dir():
            return folder
    raise NotebookError("there is no notebooks/ folder here: run this inside a clone of the sftlab repository")


def lessons(root: Path, names: Iterable[str] = ()) -> list[Path]:
    """Return the lesson sources under `root`, in order; `names` (`14`, `14_your`, a path) picks some."""
    every = sorted((root / "notebooks" / "src").glob("[0-9]*.py"))
    picked = [_pick(every, name) for name in names]
    return picked or every


def built(root: Path) -> list[Path]:
    """Return the built notebooks under `root`, in order; not the `.new` ones beside somebody's changes."""
    paths = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    return [path for path in paths if not path.name.endswith(".new.ipynb")]


def find(name: str | Path) -> Path:
    """Return the notebook that `name` means: a path, or the start of a lesson's name such as `14`.

    A lesson that has not been built yet is returned as its source; `read` opens either.
    """
    if Path(name).suffix in (".ipynb", ".py") and Path(name).is_file():
        return Path(name).resolve()
    root = checkout()
    files = {path.stem: path for path in (*lessons(root), *built(root))}  # the built one wins
    return _pick(list(files.values()), str(name))


def read(path: Path) -> NotebookNode:
    """Read an .ipynb, or a .py source as a notebook without outputs and with the same cell ids every time."""
    try:
        if path.suffix == ".ipynb":
            return nbformat.read(path, as_version=4)
        book = jupytext.read(path, fmt="py:percent")
    except Exception as error:  # each reader has its own errors; a learner needs the file's name and the reason
        raise NotebookError(f"{path.name} cannot be read as a notebook: {error}") from error
    seen: dict[str, int] = {}
    for cell in book.cells:
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
    book.nbformat, book.nbformat_minor = 4, 5
    book.metadata = NotebookNode(kernelspec=dict(KERNEL))
    return book


def parameters(book: NotebookNode) -> list[Parameter]:
    """Return a notebook's parameters: name, type, default, comment and rule. Empty if no cell is tagged."""
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    tagged = next((c.source for c in code if "parameters" in c.metadata.get("tags", [])), "")
    check = next((c.source for c in code if "check_parameters(globals()" in c.source), "")
    try:
        return read_parameters(tagged, check)
    except SyntaxError as error:
        raise NotebookError(f"the parameters cell, or the one that checks it, is not Python: {error.msg}") from error


def check(root: Path, names: Iterable[str] = ()) -> list[str]:
    """Compare the cells of sources and notebooks; return one sentence for each lesson that drifted."""
    names, findings = list(names), []
    for path in lessons(root, names):
        source, target = read(path), root / "notebooks" / f"{path.stem}.ipynb"
        if not target.is_file():
            findings.append(f"{target.name} has not been built")
        elif where := difference(source, book := read(target)):
            findings.append(f"{target.name}, {where}")
        elif _hashes(book).get("source") != hashes(source)["source"]:
            findings.append(f"{target.name}: the metadata of a cell changed in the source")
    if not names:
        known = {path.stem for path in lessons(root)}
        findings += [f"{path.name} has no source" for path in built(root) if path.stem not in known]
    return findings


def difference(source: NotebookNode, book: NotebookNode) -> str:
    """Name the first cell in which a source and its notebook differ, with both lines; '' if they agree."""
    ours, theirs = list(_cells(source)), list(_cells(book))
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False), 1):
        if (a[0], a[2]) != (b[0], b[2]):
            return f"cell {number}: {_kind(a)} in the source, {_kind(b)} in the notebook"
        lines = zip([*a[1].splitlines(), ""], [*b[1].splitlines(), ""], strict=False)
        for one, two in lines:
            if one != two:
                return f"cell {number}: the source says {one.strip()!r}, the notebook {two.strip()!r}"
    if len(ours) != len(theirs):
        return f"the source has {len(ours)} cells, the notebook {len(theirs)}"
    return ""


def hashes(book: NotebookNode) -> dict[str, str]:
    """Return two fingerprints: "cells" of what a learner edits (kind, text, tags), "source" metadata too."""
    cells = list(_cells(book))
    return {
        "cells": _hash(cells),
        "source": _hash([[*c, b.metadata] for c, b in zip(cells, book.cells, strict=True)]),
    }


def is_changed(book: NotebookNode) -> bool:
    """Tell whether somebody edited the cells of a notebook since it was built, or it never was built."""
    return _hashes(book).get("cells") != hashes(book)["cells"]


def build(path: Path, *, force: bool = False, seconds: int = CELL_SECONDS) -> Built:
    """Execute one lesson from top to bottom and write it, cleaned, beside `src/`; nothing if a cell fails.

    Where only prose has changed, the outputs stay. force: execute it even if nothing has changed since. seconds: limit
    for one cell. Raises NotebookError, with the cell and its error.
    """
    source, folder = read(path), path.parents[1]
    marks = hashes(source)
    target, outcome, notes = folder / f"{path.stem}.ipynb", "built", []
    if target.is_file() and is_changed(theirs := read(target)) and hashes(theirs)["cells"] != marks["cells"]:
        notes.append(f"{target.name} holds changes of yours and was left alone")
        target, outcome = folder / f"{path.stem}.new.ipynb", "kept"
    if target.is_file() and not force and _hashes(read(target)).get("source") == marks["source"]:
        return Built(target, "unchanged" if outcome == "built" else outcome, tuple(notes))
    began = time.perf_counter()
    if force or not (target.is_file() and _took_outputs(source, read(target))):
        execute(source, folder, name=path.stem, seconds=seconds)
    notes += [f"cell {number} wrote to stderr, which is not published: {said}" for number, said in _stderr(source)]
    text = publish(source, marks, root=folder.parent, name=path.stem)
    partial = target.with_name(target.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(target)
    return Built(target, outcome, tuple(notes), time.perf_counter() - began)


def _took_outputs(source: NotebookNode, built: NotebookNode) -> bool:
    """Copy the outputs of a built notebook into its source if both have the same code; tell whether they have."""
    new, old = ([cell for cell in book.cells if cell.cell_type == "code"] for book in (source, built))
    if [(c.source, c.metadata.get("tags", [])) for c in new] != [(c.source, c.metadata.get("tags", [])) for c in old]:
        return False
    for cell, before in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    return True


def execute(book: NotebookNode, folder: Path, *, name: str = "notebook", seconds: int = CELL_SECONDS) -> None:
    """Run every cell in a fresh kernel that works in `folder`; the outputs are written into `book`."""
    client = NotebookClient(
        book,
        kernel_manager_class=Kernel,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        timeout=seconds,
        startup_timeout=START_SECONDS,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        cell = next(c for c in book.cells if any(o.output_type == "error" for o in c.get("outputs", [])))
        sentence = failure(name, cell.execution_count, cell.source, error.ename, error.evalue)
        raise NotebookError(sentence) from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(interruption(name, error, seconds)) from error


def failure(name: str, count: int | None, source: str, kind: str, message: str) -> str:
    """Say which cell of a notebook failed (its `In [n]`, its first line) and what the error was."""
    first = source.strip().splitlines()[0]
    error = ANSI.sub("", f"{kind}: {message}" if message else kind)
    return f"{name} stopped at cell [{count}], which begins {first.strip()!r}:\n{error}"


def interruption(name: str, error: Exception, seconds: int) -> str:
    """Say in a sentence why a notebook ended without an error of its own."""
    if isinstance(error, CellTimeoutError):
        return f"{name}: a cell took longer than {seconds} seconds and was stopped"
    return f"{name}: the kernel died, most likely for want of memory"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _hashes(book: NotebookNode) -> dict[str, str]:
    """Return the fingerprints that a notebook was built with; empty for one that `build` did not write."""
    return book.metadata.get("sftlab", {})


def _cells(book: NotebookNode) -> Iterator[tuple[str, str, list[str]]]:
    for cell in book.cells:
        lines = [line.rstrip() for line in cell.source.strip().splitlines()]
        yield cell.cell_type, "\n".join(lines), cell.metadata.get("tags", [])


def _kind(cell: tuple[str, str, list[str]]) -> str:
    return f"a {cell[0]} cell" + (f" tagged {', '.join(cell[2])}" if cell[2] else "")


def _stderr(book: NotebookNode) -> Iterator[tuple[int, str]]:
    for number, cell in enumerate(book.cells, 1):
        said = "".join(o.text for o in cell.get("outputs", []) if o.get("name") == "stderr")
        if said.strip():
            yield number, said.strip().splitlines()[-1]


def _pick(paths: list[Path], name: str) -> Path:
    stem = Path(name).stem if name.endswith((".py", ".ipynb")) else name
    found = [p for p in paths if p.stem == stem] or [p for p in paths if p.stem.startswith(stem)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(p.stem for p in paths) or "none yet"
    what = "several notebooks begin" if found else "no notebook begins"
    raise NotebookError(f"{what} with {stem!r}; there are {names}")
