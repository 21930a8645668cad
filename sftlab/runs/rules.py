"""What a parameter may be, as one writes it down, checked and said in words.

A rule is a type (`str`, `int`, `float`, `bool`, `str | None`), a type with its inclusive bounds (`(int, 1)`: at least
1; `(float, 0, 1)`), or the allowed values (`("probe", "full")`).
"""

from __future__ import annotations

import difflib
import math
from types import UnionType
from typing import Any, get_args

SHOWN = 8  # more allowed values than these are not all listed


def check_value(name: str, value: Any, rule: Any) -> None:
    """Raise TypeError or ValueError, in a sentence, unless `value` obeys `rule`."""
    kind, bounds, choices = parts(rule)
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
    kind, bounds, choices = parts(rule)
    if len(choices) > SHOWN:
        return f"one of {len(choices)}: {', '.join(map(repr, choices[: SHOWN // 2]))} …"
    if choices:
        *first, last = map(repr, choices)
        return f"{', '.join(first)} or {last}" if first else last
    words = getattr(kind, "__name__", None) or str(kind)
    if bounds is None:
        return words
    low, high = bounds
    return f"{words} from {low} to {high}" if high < math.inf else f"{words}, at least {low}"


def parts(rule: Any) -> tuple[Any, tuple[float, float] | None, tuple[Any, ...]]:
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
