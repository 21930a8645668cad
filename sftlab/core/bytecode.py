"""What a user's own modules do, as text: two classes of one name and the same weights may still compute two things."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from torch import nn

ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # where an object lies in memory says nothing of what it does
VERSIONED = ("builtins", "sftlab", "timm", "torch", "torchvision")  # do the same as long as their version is the same


def own_code(model: nn.Module) -> list[str]:
    """Return the instructions of each class in `model` that none of our libraries brought, with what they call.

    A module that is written in a notebook or a script is changed between two runs, and neither its name nor its weights
    tell. Of a method, and of plain functions that it calls by a global name, the instructions and constants count, and
    the global numbers and texts that they read; not where they are written: the same cell run again, or moved, gives
    the same text. What a name from elsewhere does (an imported function, an attribute) is not followed.
    """
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] not in VERSIONED]
    told = {f"{kind.__qualname__} {name} {_written(function)}" for kind in own for name, function in _methods(kind)}
    return sorted(told)


def _methods(kind: type) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(kind).items():
        function = getattr(value, "__func__", value)  # of a class method or a static one
        if isinstance(function, FunctionType):
            yield name, function


def _written(function: FunctionType, seen: frozenset[str] = frozenset()) -> str:
    seen |= {function.__qualname__}
    read = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    here = [f for f in read.values() if isinstance(f, FunctionType) and f.__module__ == function.__module__]
    helpers = [_written(f, seen) for f in here if f.__qualname__ not in seen]
    values = [(name, value) for name, value in read.items() if isinstance(value, (int, float, str, tuple))]
    said = ADDRESS.sub("", repr((values, function.__defaults__, function.__kwdefaults__)))
    return repr((_instructions(function.__code__), said, helpers))


def _instructions(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_instructions(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts)
    return code.co_code, code.co_names, constants


def _constant(value: object) -> str:
    """Return a constant's text; of a set, in an order that does not change from process to process."""
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
