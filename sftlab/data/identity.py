"""What a value is made of, as a hash: by it a checkpoint knows the data, the network and the functions of its run."""

from __future__ import annotations

import dis
import hashlib
import pickle
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"))


def identity(value: Any) -> str:
    """Return a hash that equal values have in every process, and others have not.

    A function counts by its code, its defaults, and what it closes over or looks up; a tensor by its numbers; what an
    installed library defines by its name. Raises ValueError for what has no such facts, such as a lock or an open file.
    """
    digest = hashlib.sha256()
    try:
        _Facts(SimpleNamespace(write=digest.update), pickle.HIGHEST_PROTOCOL).dump(value)
    except Exception as error:  # whatever an object raises that does not want to be pickled
        raise ValueError(
            f"{value!r} cannot be told from others of its kind ({error}), so no checkpoint would know whose it is: "
            "do without one, or give it plain values only"
        ) from None
    return digest.hexdigest()[:12]


class _Facts(pickle.Pickler):
    """Writes the facts of code where pickle has but its name. Nobody reads it back."""

    def reducer_override(self, value: Any) -> Any:
        """Return (str, its name, its facts), or leave the value to pickle."""
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            return str, (f"{value.dtype} {tuple(value.shape)}",), flat.view(torch.uint8).numpy().tobytes()
        if isinstance(value, ModuleType):
            file = None if _installed(value.__name__) else value.__file__
            return str, (value.__name__,), file and Path(file).read_bytes()
        if isinstance(value, FunctionType) and ("<" in value.__qualname__ or not _installed(value.__module__)):
            return str, (value.__qualname__,), _function(value)
        if isinstance(value, type) and not _installed(value.__module__):
            members = {k: getattr(v, "__func__", getattr(v, "fget", v)) for k, v in vars(value).items()}
            own = {k: v for k, v in members.items() if isinstance(v, FunctionType) or not k.startswith("_")}
            return str, (value.__qualname__,), (value.__bases__, own)
        if isinstance(value, nn.Module):
            return str, (), (type(value), {k: _ordered(v) for k, v in vars(value).items()})
        return NotImplemented


def _function(function: FunctionType) -> tuple[Any, ...]:
    """Return a function's code, defaults, what it closes over and which globals it looks up."""
    codes = list(_codes(function.__code__))
    names = {i.argval for code in codes for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    looked_up = {k: _ordered(function.__globals__[k]) for k in sorted(names) if k in function.__globals__}
    closed_over = [_ordered(cell.cell_contents) for cell in function.__closure__ or ()]
    constants = [[_ordered(c) for c in code.co_consts if not isinstance(c, CodeType)] for code in codes]
    text = repr([(code.co_code, code.co_names, rest) for code, rest in zip(codes, constants, strict=True)])
    return text, function.__defaults__, function.__kwdefaults__, closed_over, looked_up


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Iterate over the code of a function and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _ordered(value: Any) -> Any:
    """Return a set as a list in one order, which it has not in another process, and anything else as it is."""
    return sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value


def _installed(module: str) -> bool:
    """Tell whether a module is Python's own or an installed library's, which change with their version only."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return module != "__main__" and (file is None or any(place in file for place in LIBRARIES))
