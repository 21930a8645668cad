"""The parameters of a notebook: read from its tagged cell, and checked before a kernel starts and again inside it.

A lesson's third cell is tagged `parameters` and holds typed UPPER_CASE names; the next says what they may be:

    sft.check_parameters(globals(), BACKBONE=str, LABELS=(int, 1, 1000), STRATEGY=("probe", "full"))

In the notebook that line refuses what papermill injected without looking. `sftlab run`, `sweep` and `params` read the
same line without running the notebook. (papermill.inspect_notebook knows no rules, and no `str | None`.)
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from nbformat import NotebookNode

TYPES = {kind.__name__: kind for kind in (bool, int, float, str, list, dict)}


class NotebookError(Exception):
    """A notebook that cannot be found, run or published as asked; the message says which one, where and why."""


@dataclass(frozen=True)
class Parameter:
    """One name of a parameters cell: its default, what it may be (a rule; None: anything), and its comment."""

    name: str
    default: Any
    rule: Any = None
    comment: str = ""


def check_parameters(namespace: Mapping[str, Any], /, **rules: Any) -> None:
    """Refuse parameters that a notebook cannot run with, by name; return None if all is well.

    namespace: the notebook's `globals()`.
    rules: for each parameter a type (`str`, `int`, `float`, `bool`, `str | None`), a type with its inclusive
    bounds (`(int, 1)`: at least 1; `(float, 0, 1)`), or the allowed values (`("probe", "full")`, `sft.backbones()`).
    Raises NameError for a parameter that is missing or was injected under a name the notebook does not have,
    TypeError for a wrong type, ValueError for a wrong value.

    >>> check_parameters({"LABELS": 100, "RATE": 0.001}, LABELS=(int, 1, 1000), RATE=(float, 0, 1))
    >>> check_parameters({"LABELS": "100"}, LABELS=(int, 1, 1000))
    Traceback (most recent call last):
    TypeError: LABELS must be int from 1 to 1000, not '100' (a str)
    """
    cells = [source for source in namespace.get("In", ()) if source.strip()]  # IPython's history, this cell the last
    injected = next((source for source in cells[-2:] if source.startswith("# Parameters\n")), "")
    for name in re.findall(r"^(\w+) = ", injected, re.MULTILINE):
        if name not in rules:
            raise NameError(unknown(name, rules))
    for name, rule in rules.items():
        if name not in namespace:
            raise NameError(f"the parameter {name} has no value: run the parameters cell first")
        check_value(name, namespace[name], rule)


def read_parameters(notebook: NotebookNode) -> dict[str, Parameter]:
    """Return a notebook's parameters by name; empty if no cell is tagged.

    Only defaults and rules are evaluated. A rule that needs more of the notebook is left to the running notebook.
    Raises NotebookError if one of the two cells is not Python.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = next((cell.source for cell in code if "parameters" in cell.metadata.get("tags", [])), "")
    check = next((cell.source for cell in code if "check_parameters(globals()" in re.sub(r"\s", "", cell.source)), "")
    try:
        rules, assignments = _rules(check), ast.parse(tagged).body
    except SyntaxError as error:
        raise NotebookError(f"the parameters cell, or the one that checks it, is not Python: {error.msg}") from error
    lines, parameters = tagged.encode().splitlines(), {}
    for node in assignments:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value, annotation=hint):
                default, rule = _evaluate(value), _evaluate(hint)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                default = _evaluate(value)
                rule = None if default is None else type(default)
            case _:
                continue
        if name.isupper():
            comment = lines[(node.end_lineno or 1) - 1][node.end_col_offset :].decode().strip(" #")
            rule = rules.get(name) or (rule if isinstance(rule, (type, UnionType)) else None)
            parameters[name] = Parameter(name, default, rule, comment)
    return parameters


def checked(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in the types of their parameters, text from a command line too, `folder:` as seen from here.

    Raises NotebookError, a sentence, for a name, type or value that does not fit, and for data or networks that
    do not exist.
    """
    result = {}
    for name, value in values.items():
        if name not in parameters:
            raise NotebookError(unknown(name, parameters))
        if name == "OUT":
            raise NotebookError("OUT is the folder of this run and is set for you; choose where it is made with --out")
        rule = parameters[name].rule
        try:
            value = _typed(value, rule)
            check_value(name, value, rule)
            result[name] = _existing(name, value) if isinstance(value, str) else value
        except OSError as error:
            raise NotebookError(f"{name}: {error}") from None
        except (TypeError, ValueError) as error:
            raise NotebookError(str(error)) from None
    return result


def unknown(name: str, names: Iterable[str]) -> str:
    """Say that a notebook has no such parameter, with the nearest name it does have."""
    hint = _near(name.upper(), names) or f"; it has {', '.join(names) or 'none'}"  # 'labels' is most likely LABELS
    return f"{name} is not a parameter of this notebook{hint}"


def _near(word: str, words: Iterable[Any]) -> str:
    """Return "; did you mean …?" with the nearest of some words; empty if none is near."""
    near = difflib.get_close_matches(word, map(str, words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_value(name: str, value: Any, rule: Any) -> None:
    """Raise TypeError or ValueError, in a sentence, unless `value` obeys `rule`."""
    kinds, bounds, choices = _parts(rule)
    sentence = f"{name} must be {describe(rule)}, not {value!r}"
    if choices:
        if (type(value), value) not in [(type(choice), choice) for choice in choices]:
            raise ValueError(sentence + _near(str(value), choices))
    elif not ({type(value), object} & {*kinds} or (type(value) is int and float in kinds)):
        raise TypeError(f"{sentence} (a {type(value).__name__})")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value}")
    elif bounds and value is not None and not bounds[0] <= value <= (*bounds, math.inf)[1]:
        raise ValueError(sentence)


def describe(rule: Any) -> str:
    """Say a rule in words: 'int from 1 to 1000', 'str', "'probe' or 'full'"."""
    kinds, bounds, choices = _parts(rule)
    if choices:
        return " or ".join(map(repr, choices))
    words = " | ".join({object: "anything", NoneType: "None"}.get(kind, kind.__name__) for kind in kinds)
    return words + {0: "", 1: ", at least {}", 2: " from {} to {}"}[len(bounds)].format(*bounds)


def _parts(rule: Any) -> tuple[tuple[type, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Split a rule into (types that a value may have, bounds: none, the lower, or both, choices)."""
    first, *more = rule if isinstance(rule, (tuple, list)) else (object if rule is None else rule,)
    if isinstance(first, (type, UnionType)):
        return get_args(first) or (first,), tuple(more), ()
    return tuple(map(type, (first, *more))), (), (first, *more)


def _typed(value: Any, rule: Any) -> Any:
    """Turn text into what the rule asks for, as far as it can be read so, and a whole number into a float."""
    kinds = _parts(rule)[0]
    if isinstance(value, str) and str not in kinds:
        with suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value.title() if value.lower() in ("true", "false", "none") else value)
    if value == "None" and NoneType in kinds:
        return None
    return float(value) if type(value) is int and float in kinds and int not in kinds else value


def _rules(check: str) -> dict[str, Any]:
    """Return the rules that a call of `check_parameters` states."""
    for node in ast.walk(ast.parse(check)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("check_parameters"):
            return {keyword.arg or "": _evaluate(keyword.value) for keyword in node.keywords}
    return {}


def _evaluate(node: ast.expr) -> Any:
    """Return the value of an expression of literals, types and sftlab's own functions; None if it needs more."""
    try:
        code = compile(ast.Expression(node), "parameters", "eval")
        return eval(code, {"__builtins__": {}, **TYPES, "sft": import_module("sftlab")})
    except Exception:  # whatever such an expression raises: the running notebook will say it
        return None


def _existing(name: str, value: str) -> str:
    """Return text as the notebook needs it: DATA is a data set and BACKBONE a network in every notebook.

    Raises OSError or ValueError for what does not exist.
    """
    from sftlab.data import as_path, datasets
    from sftlab.data.folder import folder_path

    if value.startswith("folder:"):
        return f"folder:{folder_path(value.removeprefix('folder:'))}"
    known = [value]
    if name == "DATA" and not value.startswith("csv:"):
        known = [*datasets(), *([f"folder:{value}"] if as_path(value).exists() else ["folder:PATH"])]
    elif name == "BACKBONE":
        from sftlab.networks import backbones

        known = [*backbones(), "minilm"]
        if value not in known:
            import timm

            known += timm.list_models()
    if not {value, value.split(".")[0]} & {*known}:
        hint = _near(value, known) or f"; there are {', '.join(known[:6])} …"
        raise ValueError(f"{name}: nothing is named {value!r}{hint}")
    return value
