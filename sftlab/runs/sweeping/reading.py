"""A sweep as it is written down: one notebook, what is fixed, what varies, and the seeds; checked before anything runs.

    notebook: 14_your_own_images
    fixed: {SIZE: 160, EPOCHS: 2}
    grid:                        # every combination of these …
      RATE: [1e-4, 1e-3]
      STRATEGY: [partial, full]
    seeds: 3                     # … with each of the seeds 0, 1, 2

In place of `grid`, `cases` lists combinations one by one: `- {STRATEGY: full, RATE: 1e-4}`.
"""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sftlab.runs import notebooks
from sftlab.runs.execution import stripped
from sftlab.runs.parameters import NotebookError, Parameter, checked, read_parameters, unknown
from sftlab.runs.sweeping.plan import SEED, Combination, Grid

KEYS = ("notebook", "fixed", "grid", "cases", "seeds")


def read(path: str | Path) -> Grid:
    """Read a sweep's file and check all of it. Raises NotebookError that names each line that is wrong, and why."""
    path = Path(path)
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise NotebookError(f"there is no file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line, problem = f", line {mark.line + 1}" if mark else "", getattr(error, "problem", None) or error
        raise NotebookError(f"{path.name}{line} is not YAML: {problem}") from None
    return _Reader(path).grid(node)


class _Reader:
    """Walks the nodes of a file, whose lines are known, and collects what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self.path, self.findings = path, list[str]()
        self.known: dict[str, Parameter] = {}
        self.notebook = ""

    def grid(self, node: Any) -> Grid:
        parts = dict(self.entries(node, "a sweep"))
        for key, at in parts.items():
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, 1)
                self.wrong(at, f"there is no key {key!r}; " + (f"did you mean {near[0]}?" if near else _expected()))
        if "notebook" not in parts:
            raise NotebookError("\n".join([*self.findings, f"{self.path.name} names no notebook; {_expected()}"]))
        source = self.source(parts["notebook"])
        book = notebooks.read(source)
        self.known, self.notebook = read_parameters(book), source.stem
        fixed = {name: self.value(name, at) for name, at in self.mapping(parts.get("fixed"), "fixed")}
        if "grid" in parts and "cases" in parts:
            self.wrong(parts["cases"], "a sweep has a grid or cases, not both")
        varied, cases = self.cases(parts["cases"]) if "cases" in parts else self.product(parts.get("grid"))
        seeds = self.seeds(parts["seeds"], {*fixed, *varied}) if "seeds" in parts else [{}]
        for name in sorted(fixed.keys() & set(varied)):
            self.findings.append(f"{self.path.name}: {name} is fixed and varied; it can be only one")
        every = [fixed | case | seed for case in cases for seed in seeds]
        if not self.findings:
            self.repeated(every)
        if self.findings:
            raise NotebookError("\n".join(self.findings))
        return Grid(self.path.stem, source, stripped(book), self.known, fixed, tuple(varied), every)

    def source(self, node: Any) -> Path:
        name = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        beside = self.path.parent / name
        try:
            return notebooks.find(beside if name and beside.is_file() else name)
        except NotebookError as error:
            self.wrong(node, str(error))
            raise NotebookError("\n".join(self.findings)) from None

    def product(self, node: Any) -> tuple[list[str], list[Combination]]:
        """Read `grid`: names with lists of values; return the names and every combination."""
        lists: dict[str, list[Any]] = {}
        for name, at in self.mapping(node, "grid"):
            if not isinstance(at, yaml.SequenceNode) or not at.value:
                self.wrong(at, f"{name} takes a list of values, as in {name}: [a, b]; one value for all is `fixed`")
                continue
            lists[name] = [self.value(name, item) for item in at.value]
        return list(lists), [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]

    def cases(self, node: Any) -> tuple[list[str], list[Combination]]:
        """Read `cases`: a list of combinations; a name that one of them leaves out keeps its default."""
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.wrong(node, "cases is a list of combinations, each as in `- {RATE: 1e-3, EPOCHS: 5}`")
            return [], []
        found = [{name: self.value(name, at) for name, at in self.mapping(item, "a case")} for item in node.value]
        return list(dict.fromkeys(name for case in found for name in case)), found

    def seeds(self, node: Any, taken: set[str]) -> list[Combination]:
        """Read `seeds`: how many, or which."""
        if SEED in taken:
            self.wrong(node, f"{SEED} is set elsewhere in this file too; leave it to `seeds`")
        if isinstance(node, yaml.SequenceNode) and node.value:
            return [{SEED: self.value(SEED, item)} for item in node.value]
        count = _plain(node)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            self.wrong(node, f"seeds is a number of them (3: the seeds 0, 1, 2) or a list of them, not {count!r}")
            return []
        if SEED not in self.known:
            self.wrong(node, f"{self.notebook} has no parameter {SEED}, so it cannot be repeated with other seeds")
        return [{SEED: seed} for seed in range(count)]

    def value(self, name: str, node: Any) -> Any:
        """Return a parameter's value in its type; what is wrong with it becomes a finding."""
        value = _plain(node)
        if isinstance(value, str) and value.startswith("folder:"):
            top = (self.path.parent / Path(value.removeprefix("folder:")).expanduser()).resolve()
            if not top.is_dir():
                self.wrong(node, f"there is no folder {top}")
            value = f"folder:{top}"
        try:
            return checked(self.known, {name: value})[name]
        except NotebookError as error:
            says = str(error) if name in self.known else unknown(name, self.known)
            self.wrong(node, says.replace("this notebook", self.notebook))
            return value

    def repeated(self, every: list[Combination]) -> None:
        seen: dict[str, Combination] = {}
        for values in every:
            text = json.dumps(values, sort_keys=True, default=str)
            if text in seen:
                what = ", ".join(f"{name}={value}" for name, value in values.items())
                self.findings.append(f"{self.path.name} asks for the same run twice: {what}")
                return
            seen[text] = values

    def mapping(self, node: Any, what: str) -> Iterator[tuple[str, Any]]:
        return self.entries(node, what) if node is not None else iter(())

    def entries(self, node: Any, what: str) -> Iterator[tuple[str, Any]]:
        """Yield (name, node) of a mapping; a name given twice, which YAML lets pass, is refused."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what} is written as names with values; {_expected()}")
            return
        seen = set()
        for name, value in node.value:
            if name.value in seen:
                self.wrong(name, f"{name.value} is given twice")
            seen.add(name.value)
            yield str(name.value), value

    def wrong(self, node: Any, sentence: str) -> None:
        line = f", line {node.start_mark.line + 1}" if node is not None else ""
        self.findings.append(f"{self.path.name}{line}: {sentence}")


def _plain(node: Any) -> Any:
    return yaml.constructor.SafeConstructor().construct_object(node, deep=True)


def _expected() -> str:
    return "it has a notebook, what is fixed, a grid or cases, and seeds"
