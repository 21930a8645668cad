"""Build notebooks/*.ipynb from notebooks/src/*.py, and check that the two agree; `make notebooks` calls it.

    python tools/notebooks.py [NAME …] [--check] [--force]

The source (jupytext percent format) is what people review; the notebook, executed and cleaned, is what they read on
the web. Its metadata hold a fingerprint of the cells it was built from. That is how a learner's own changes are
noticed, and never overwritten: `build` then writes `NAME.new.ipynb` beside them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

from sftlab.runs.notebooks import (
    CELL_SECONDS,
    KERNEL,
    NEW,
    START_SECONDS,
    Kernel,
    built,
    checkout,
    failure,
    interruption,
    name_of,
    read,
    sources,
)
from sftlab.runs.parameters import NotebookError
from sftlab.runs.report import without_widget

MAX_BYTES = 1_000_000  # a page that every viewer on the web still opens


@dataclass(frozen=True)
class Built:
    """What `build` did for a notebook: "built", "unchanged", or "kept" (yours stays, a new one beside it)."""

    path: Path
    outcome: str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        took = f"  {self.seconds:.0f} s" if self.seconds else ""
        return "\n           ".join([f"{self.outcome:<10} {name_of(self.path)}.ipynb{took}", *self.notes])


def main(words: list[str] | None = None) -> int:
    """Build or check the notebooks that are named, all if none is; return 0 if nothing failed."""
    parser = argparse.ArgumentParser(description="Build notebooks/*.ipynb from notebooks/src/*.py.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a notebook (00) or a folder (recipes); default: all")
    parser.add_argument("--check", action="store_true", help="only compare sources and notebooks")
    parser.add_argument("--force", action="store_true", help="execute again even what has not changed")
    asked = parser.parse_args(words)
    root = checkout()
    if asked.check:
        findings = check(root, asked.names)
        print(
            "\n".join(
                [*findings, "`make notebooks` builds what changed"] if findings else ["sources and notebooks agree"]
            )
        )
        return bool(findings)
    failures = 0
    for source in sources(root, asked.names):
        try:
            print(build(source, force=asked.force), flush=True)
        except NotebookError as error:
            failures += 1
            print(f"FAILED     {error}", flush=True)
    return bool(failures)


def check(root: Path, names: Iterable[str] = ()) -> list[str]:
    """Compare the cells of sources and notebooks; return one sentence for each notebook that drifted."""
    names, findings = list(names), []
    for path in sources(root, names):
        source, there = read(path), target(path)
        file = f"{name_of(path)}.ipynb"
        if not there.is_file():
            findings.append(f"{file} has not been built")
        elif where := difference(source, book := read(there)):
            findings.append(f"{file}, {where}")
        elif _hashes(book).get("source") != hashes(source)["source"]:
            findings.append(f"{file}: the metadata of a cell changed in the source")
    if not names:
        known = {target(path) for path in sources(root)}
        findings += [f"{name_of(path)}.ipynb has no source" for path in built(root) if path not in known]
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


def target(source: Path) -> Path:
    """Return where the notebook of a source is built: at the same place beside `src`."""
    src = next(folder for folder in source.parents if folder.name == "src")
    return src.parent / source.relative_to(src).with_suffix(".ipynb")


def build(path: Path, *, force: bool = False) -> Built:
    """Execute one source from top to bottom and write the notebook, cleaned, to its place; nothing if a cell fails.

    Where only prose has changed, the outputs stay. force: execute it even if nothing has changed since.
    Raises NotebookError with the cell and its error.
    """
    source, place, name = read(path), target(path), name_of(path)
    marks = hashes(source)
    goal, outcome, notes = place, "built", list[str]()
    if place.is_file():
        theirs = read(place)
        cells = hashes(theirs)["cells"]
        if cells not in (_hashes(theirs).get("cells"), marks["cells"]):
            notes.append(f"{name}.ipynb holds changes of yours and was left alone")
            goal, outcome = place.with_suffix(NEW), "kept"
    if goal.is_file() and not force and _hashes(read(goal)).get("source") == marks["source"]:
        return Built(goal, "unchanged" if outcome == "built" else outcome, tuple(notes))
    began = time.perf_counter()
    place.parent.mkdir(parents=True, exist_ok=True)
    if force or not (goal.is_file() and _took_outputs(source, read(goal))):
        execute(source, place.parent, name=name)
    notes += [f"cell {number} wrote to stderr, which is not published: {line}" for number, line in _stderr(source)]
    text = publish(source, marks, root=place.parents[len(Path(name).parts)], name=name)
    partial = goal.with_name(goal.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(goal)
    return Built(goal, outcome, tuple(notes), time.perf_counter() - began)


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


def publish(book: NotebookNode, marks: dict[str, str], *, root: Path, name: str = "notebook") -> str:
    """Bring an executed notebook into the form that is committed, in place, and return it as text.

    Widgets, times, versions, paths of this machine, stderr and progress residue go; outputs and counts stay.
    marks: what it was built from, kept in its metadata. root: the clone; paths are printed relative to it.
    Raises NotebookError if a cell was not executed, or the result is not valid or larger than 1 MB.
    """
    language = {"name": "python", **book.metadata.get("language_info", {})}
    language.pop("version", None)
    book.metadata = NotebookNode(kernelspec=dict(KERNEL), language_info=language, sftlab=marks)
    counts = []
    for number, cell in enumerate(book.cells):
        for key in ("execution", "papermill"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, number)  # and what was overwritten goes
            cell.outputs = [cleaned for output in cell.outputs if (cleaned := clean(output, root))]
            if cell.source.strip():
                counts.append(cell.execution_count)
    if counts != list(range(1, len(counts) + 1)):
        raise NotebookError(f"{name} was not executed once from top to bottom: its counts are {counts}")
    try:
        nbformat.validate(book)
    except nbformat.ValidationError as error:
        raise NotebookError(f"{name} is not a valid notebook: {error}") from error
    text = nbformat.writes(book) + "\n"
    if (size := len(text.encode())) > MAX_BYTES:
        weights = [len(json.dumps(cell.get("outputs", []))) for cell in book.cells]
        most = weights.index(max(weights)) + 1
        raise NotebookError(f"{name} has {size / 1e6:.1f} MB, more than 1 MB; most of it is the output of cell {most}")
    return text


def clean(output: NotebookNode, root: Path) -> NotebookNode | None:
    """Return what a reader of the page should see of an output; None if nothing is left."""
    if output.output_type == "stream":
        output.text = without_machine_paths(output.text.replace("\r\n", "\n"), root)
        return output if output.text else None
    if output.output_type == "error":
        output.evalue = without_machine_paths(output.evalue, root)
        output.traceback = [without_machine_paths(line, root) for line in output.traceback]
    for mime, data in output.get("data", {}).items():
        if mime.startswith("text/") and isinstance(data, str):
            output.data[mime] = without_machine_paths(data, root)
    return output if without_widget(output) else None


def without_machine_paths(text: str, root: Path) -> str:
    """Take the folders of this machine and addresses in its memory out of a text.

    >>> without_machine_paths(f"{Path.home()}/photos and <Axes at 0x7f0011223344>", Path("/clone"))
    '~/photos and <Axes>'
    """
    # the look-behind lets a match begin at a border only: a picture is one word of a hundred thousand letters
    text = re.sub(r"(?<![^\s\"'])[^\s\"']*ipykernel_\d+[/\\]\d+\.py", "cell", text)
    text = re.sub(r" at 0x[0-9a-fA-F]{6,}", "", text)
    for folder, word in _machine_folders(root):
        # "/tmp/x" becomes "temporary/x" and "/tmp" alone "temporary"; "/tmpfs" is another folder
        inside = rf"(?<![\w.]){re.escape(folder)}"
        text = re.sub(rf"{inside}[/\\]", word, text)
        text = re.sub(rf"{inside}(?![\w-])", word.rstrip("/") or ".", text)
    return text


def _machine_folders(root: Path) -> list[tuple[str, str]]:
    """Return (folder, what is printed in its place), the innermost first."""
    packages = {str(Path(p)) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    folders = {
        str(root): "",
        str(Path(__file__).parents[1]): "",
        str(Path.home()): "~/",
        tempfile.gettempdir(): "temporary/",
        str(Path(json.__file__).parents[1]): "python/",
        **dict.fromkeys(packages, "site-packages/"),
    }
    if data := os.environ.get("SFTLAB_DATA"):
        folders[str(Path(data).resolve())] = "data/"
    return sorted(((f, w) for f, w in folders.items() if len(f) > 1), key=lambda pair: -len(pair[0]))


def _took_outputs(source: NotebookNode, built: NotebookNode) -> bool:
    """Copy the outputs of a built notebook into its source if both have the same code; tell whether they have."""
    new, old = ([cell for cell in book.cells if cell.cell_type == "code"] for book in (source, built))
    if [(c.source, c.metadata.get("tags", [])) for c in new] != [(c.source, c.metadata.get("tags", [])) for c in old]:
        return False
    for cell, before in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    return True


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
        text = "".join(output.text for output in cell.get("outputs", []) if output.get("name") == "stderr")
        if text.strip():
            yield number, text.strip().splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
