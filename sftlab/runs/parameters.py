"""The parameters of a notebook: read from its tagged cell, and checked twice by one line.

A lesson's third cell is tagged `parameters` and holds typed UPPER_CASE names; the next says what they may be:

    sft.check_parameters(globals(), BACKBONE=str, LABELS=(int, 1, 1000), STRATEGY=("probe", "full"))

In the notebook that line refuses what papermill injected without looking. `sftlab run` reads the same line
with `ast`, runs nothing, and refuses a wrong name, type or range before a kernel starts.
"""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

from sftlab.runs.rules import check_value, parts

NAMES: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}


@dataclass(frozen=True)
class Parameter:
    """One name of a parameters cell: its type as written, default, comment, and what it may be (a rule)."""

    name: str
    type: str
    default: Any
    comment: str = ""
    rule: Any = None


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
    for name in _injected(namespace):
        if name not in rules:
            raise NameError(unknown(name, list(rules)))
    for name, rule in rules.items():
        if name not in namespace:
            raise NameError(f"the parameter {name} has no value: run the parameters cell first")
        check_value(name, namespace[name], rule)


def unknown(name: str, names: list[str]) -> str:
    """Say that a notebook has no such parameter, with the nearest name it does have."""
    if not names:
        return f"{name} is not a parameter of this notebook: it has none"
    # 'labels' is most likely LABELS: case must not hide the nearest name
    near = difflib.get_close_matches(name.upper(), names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
    return f"{name} is not a parameter of this notebook; {hint}"


def read_parameters(source: str, check: str = "") -> list[Parameter]:
    """Read the parameters from the source of a tagged cell, and their rules from that of the check cell.

    Nothing is executed. A rule that only the running notebook can know (say `make_rule()`) is left to it.
    """
    comments = _comments(source)
    rules = _rules(check)
    found = {}
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.AnnAssign, ast.Assign)):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if not isinstance(target, ast.Name) or not target.id.isupper():
            continue
        default = None if node.value is None else _literal(node.value)
        typed = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else type(default).__name__
        comment = comments.get(node.end_lineno or 0, "")
        found[target.id] = Parameter(target.id, typed, default, comment, rules.get(target.id, _rule(typed)))
    return list(found.values())


def parse_value(parameter: Parameter, text: str) -> Any:
    """Turn text from a command line into a value of the parameter's type, checked against its rule.

    >>> parse_value(Parameter("LABELS", "int", 100), "50")
    50
    """
    kind, _, choices = parts(parameter.rule)
    kinds = {type(choice) for choice in choices} or set(get_args(kind)) or {kind}
    value: Any = text
    if text in ("None", "none", "null") and (type(None) in kinds or None in kinds):
        value = None
    elif bool in kinds and text.lower() in ("true", "false", "yes", "no", "on", "off", "1", "0"):
        value = text.lower() in ("true", "yes", "on", "1")
    elif str not in kinds:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds and int not in kinds:
        value = float(value)
    check_value(parameter.name, value, parameter.rule)
    return value


def _injected(namespace: Mapping[str, Any]) -> list[str]:
    """Return the names that papermill's own cell assigned: the one run last before the cell that runs now."""
    history = [source for source in namespace.get("In", ()) if source.strip()]  # kept by IPython
    injected = next((source for source in history[-2:] if source.startswith("# Parameters\n")), "")
    targets = [node.targets[0] for node in ast.parse(injected).body if isinstance(node, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").rstrip() for t in tokens if t.type == tokenize.COMMENT}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _rule(typed: str) -> Any:
    """Return the rule that an annotation stands for, or None if it is more than this module reads."""
    try:
        return _evaluate(ast.parse(typed, mode="eval").body)
    except ValueError:
        return None


def _rules(check: str) -> dict[str, Any]:
    """Return the rules that a call of `check_parameters` states so that they can be read."""
    rules, names = dict[str, Any](), dict(NAMES)
    tree = ast.parse(check)
    for line in tree.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            with suppress(ValueError):
                names[line.targets[0].id] = _evaluate(line.value, names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "check_parameters":
            for keyword in node.keywords:
                with suppress(ValueError):
                    rules[keyword.arg or ""] = _evaluate(keyword.value, names)
    return rules


def _evaluate(node: ast.expr, names: Mapping[str, Any] = NAMES) -> Any:
    """Evaluate literals, tuples, known names, `a | b`, `list[int]` (as list), `Literal[...]`, and `sft.backbones()`."""
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, (ast.Tuple, ast.List)):
        items: list[Any] = []
        for item in node.elts:
            items += _evaluate(item.value, names) if isinstance(item, ast.Starred) else [_evaluate(item, names)]
        return tuple(items)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _evaluate(node.left, names) | _evaluate(node.right, names)
    if isinstance(node, ast.Subscript):
        if ast.unparse(node.value).split(".")[-1] == "Literal":
            choices = _evaluate(node.slice, names)
            return choices if isinstance(choices, tuple) else (choices,)
        return _evaluate(node.value, names)
    if ast.unparse(node) == "sft.backbones()":
        from sftlab.networks import backbones

        return tuple(backbones())
    return ast.literal_eval(node)
