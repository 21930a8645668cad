"""From a source under `notebooks/src` to the notebook that is committed, and the check that the two agree.

The source (jupytext percent format) is what people review; the notebook, executed and cleaned, is what they read on
the web. Its metadata hold a fingerprint of the cells it was built from. That is how a learner's own changes are
noticed, and never overwritten: `build` then writes `NAME.new.ipynb` beside them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from sftlab.runs import extras
from sftlab.runs.notebooks import CELL_SECONDS, NEW, built, execute, name_of, read, sources, target
from sftlab.runs.parameters import NotebookError
from sftlab.runs.publishing import publish


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


def is_changed(book: NotebookNode) -> bool:
    """Tell whether somebody edited the cells of a notebook since it was built, or it never was built."""
    return _hashes(book).get("cells") != hashes(book)["cells"]


def build(path: Path, *, force: bool = False, seconds: int = CELL_SECONDS) -> Built:
    """Execute one source from top to bottom and write the notebook, cleaned, to its place; nothing if a cell fails.

    Where only prose has changed, the outputs stay. force: execute it even if nothing has changed since. seconds: limit
    for one cell. Raises NotebookError: with the cell and its error, or for an extra that the notebook needs.
    """
    source, place, name = read(path), target(path), name_of(path)
    marks = hashes(source)
    goal, outcome, notes = place, "built", list[str]()
    if place.is_file() and is_changed(theirs := read(place)) and hashes(theirs)["cells"] != marks["cells"]:
        notes.append(f"{name}.ipynb holds changes of yours and was left alone")
        goal, outcome = place.with_suffix(NEW), "kept"
    if goal.is_file() and not force and _hashes(read(goal)).get("source") == marks["source"]:
        return Built(goal, "unchanged" if outcome == "built" else outcome, tuple(notes))
    began = time.perf_counter()
    place.parent.mkdir(parents=True, exist_ok=True)
    if force or not (goal.is_file() and _took_outputs(source, read(goal))):
        _check_extras(source, name)
        execute(source, place.parent, name=name, seconds=seconds)
    notes += [f"cell {number} wrote to stderr, which is not published: {said}" for number, said in _stderr(source)]
    text = publish(source, marks, root=_root(place, name), name=name)
    partial = goal.with_name(goal.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(goal)
    return Built(goal, outcome, tuple(notes), time.perf_counter() - began)


def _check_extras(source: NotebookNode, name: str) -> None:
    """Raise NotebookError if an extra is missing: the notebook would run to its end, and publish nothing."""
    code = "\n".join(cell.source for cell in source.cells if cell.cell_type == "code")
    for extra in extras.asked(code):
        if extras.missing(extra):
            raise NotebookError(f"{name} {extras.needed(extra)}\n           Its notebook was left as it is")


def _root(place: Path, name: str) -> Path:
    """Return the clone that a built notebook lies in: above `notebooks`, and above the folders of its name."""
    return place.parents[len(Path(name).parts)]


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
        said = "".join(o.text for o in cell.get("outputs", []) if o.get("name") == "stderr")
        if said.strip():
            yield number, said.strip().splitlines()[-1]
