"""A sweep that has been read: its runs, each with the address by which it is found again."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from sftlab.runs import results as runs
from sftlab.runs.execution import Task
from sftlab.runs.grids import shown
from sftlab.runs.parameters import Parameter

SEED = "SEED"
Combination = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """A sweep, checked: every combination is one the notebook accepts.

    name: of the file. source: the notebook's path; book: the notebook as JSON. known: its parameters. fixed: what all
    runs share; varied: the names that differ, without the seed. combinations: the values of each run.
    """

    name: str
    source: Path
    book: str
    known: dict[str, Parameter]
    fixed: Combination
    varied: tuple[str, ...]
    combinations: list[Combination]

    def tasks(self, folder: Path, seconds: int) -> list[Task]:
        """Return the runs in their order, each with its address and, in `folder`, its own folder."""
        there = {path.name.rsplit("-", 1)[-1]: path for path in folder.glob("*-*") if path.is_dir()}
        tasks = []
        for values in self.combinations:
            mark = address(self.book, self.known, values, self.source.parent)
            where = there.get(mark, folder / f"{self._label(values)}-{mark}")
            tasks.append(Task(self.source.stem, self.book, str(self.source.parent), str(where), values, seconds, mark))
        return tasks

    def told(self, values: Combination) -> str:
        """Return what is particular to a run, as one line: `RATE=1e-3 STRATEGY=full SEED=0`."""
        said = [f"{name}={shown(values[name])}" for name in (*self.varied, SEED) if name in values]
        return " ".join(said) or self.source.stem

    def _label(self, values: Combination) -> str:
        words = self.told(values).lower().replace("=", "_").replace(" ", "-")
        return re.sub(r"[^\w.+-]+", "_", words)[:60]


def address(book: str, known: dict[str, Parameter], values: Combination, cwd: Path) -> str:
    """Return the name by which a finished run is found again: a hash of what its numbers depend on.

    That is the notebook's code (not its prose and comments), the value of every parameter, the files of a `folder:`,
    the CSV files beside it that its code names (corrected labels, say), and the versions of sftlab and torch. A run
    made with other ones has another address and is left alone.
    """
    code = [(_bare(c.source), c.metadata.get("tags", [])) for c in _cells(book) if c.cell_type == "code"]
    every = {p.name: values.get(p.name, p.default) for p in known.values() if p.name != "OUT"}
    files = [_stamp(value) for value in every.values() if isinstance(value, str) and value.startswith("folder:")]
    tables = {cwd / name for name in re.findall(r"[\"']([^\"'\n]+\.csv)[\"']", book.replace("\\", ""))}
    files += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(tables) if path.is_file()]
    versions = {name: runs.versions()[name] for name in ("sftlab", "torch")}
    content = json.dumps([code, every, files, versions], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


@cache
def _cells(book: str) -> list[Any]:
    return list(nbformat.reads(book, as_version=4).cells)


@cache
def _bare(source: str) -> str:
    """Return code without its comments and line breaks; as it is if it is more than Python."""
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:
        return source


@cache
def _stamp(value: str) -> str:
    """Return a hash of the names, sizes and times of the files in a `folder:`; it does not read them."""
    top = Path(value.removeprefix("folder:"))
    facts = sorted(
        (str(path.relative_to(top)), stat.st_size, stat.st_mtime_ns)
        for path in top.rglob("*")
        if not (stat := path.stat()).st_mode & 0o040000
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()
