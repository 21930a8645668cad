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
import math
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args

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
    bounds (`(int, 1)`: at least 1; `(float, 0, 1)`), or the allowed values (`("probe", "full")`).
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


def check_value(name: str, value: Any, rule: Any) -> None:
    """Raise TypeError or ValueError, in a sentence, unless `value` obeys `rule` (see `check_parameters`)."""
    kind, bounds, choices = _parts(rule)
    if choices:
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            near = difflib.get_close_matches(str(value), [str(c) for c in choices], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name} must be {describe(rule)}, not {value!r}{hint}")
    elif not _is_a(value, kind):
        raise TypeError(f"{name} must be {describe(rule)}, not {value!r} (a {type(value).__name__})")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value}")
    elif bounds and value is not None and not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"{name} must be {describe(rule)}, not {value!r}")


def describe(rule: Any) -> str:
    """Say a rule in words: 'int from 1 to 1000', 'str', "'probe' or 'full'"."""
    kind, bounds, choices = _parts(rule)
    if choices:
        return " or ".join(map(repr, choices))
    words = getattr(kind, "__name__", None) or str(kind)
    if bounds is None:
        return words
    low, high = bounds
    return f"{words} from {low} to {high}" if high < math.inf else f"{words}, at least {low}"


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

    Nothing is executed. A rule that only the running notebook can know (say `sft.backbones()`) is left to it.
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
    kind, _, choices = _parts(parameter.rule)
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


def _parts(rule: Any) -> tuple[Any, tuple[float, float] | None, tuple[Any, ...]]:
    """Split a rule into (type, bounds, choices); a rule of None allows anything."""
    if not isinstance(rule, (tuple, list)):
        return (object if rule is None else rule), None, ()
    if rule and isinstance(rule[0], (type, UnionType)):
        bounds = (rule[1], rule[2] if len(rule) > 2 else math.inf) if len(rule) > 1 else None
        return rule[0], bounds, ()
    return object, None, tuple(rule)


def _is_a(value: Any, kind: Any) -> bool:
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool):  # a bool is an int to Python; to a reader it is not
        return bool in kinds or object in kinds
    return isinstance(value, kind) or (isinstance(value, int) and float in kinds)


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
    """Return the rules that a call of `check_parameters` states in plain literals and types."""
    rules = {}
    for node in ast.walk(ast.parse(check)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "check_parameters":
            for keyword in node.keywords:
                try:
                    rules[keyword.arg or ""] = _evaluate(keyword.value)
                except ValueError:
                    continue
    return rules


def _evaluate(node: ast.expr) -> Any:
    """Evaluate literals, tuples, plain types, `a | b`, `list[int]` (as list) and `Literal[...]`."""
    if isinstance(node, ast.Name) and node.id in NAMES:
        return NAMES[node.id]
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_evaluate(item) for item in node.elts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _evaluate(node.left) | _evaluate(node.right)
    if isinstance(node, ast.Subscript):
        if ast.unparse(node.value).split(".")[-1] == "Literal":
            choices = _evaluate(node.slice)
            return choices if isinstance(choices, tuple) else (choices,)
        return _evaluate(node.value)
    return ast.literal_eval(node)
