"""What a value is made of, as a hash: by it a checkpoint knows the data, the network and the functions of its run."""

from __future__ import annotations

import dis
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from joblib.hashing import NumpyHasher
from torch import Tensor

LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"))


def identity(value: Any) -> str:
    """Return a hash that equal values have in every process, and others have not.

    A function counts by its code, its defaults, and what it closes over or looks up; a tensor by its numbers; what an
    installed library defines by its name. Raises ValueError for what has no such facts, such as a lock or an open file.
    """
    try:
        return str(_Facts("sha256").hash(value))[:12]
    except Exception as error:  # whatever an object raises that does not want to be pickled
        raise ValueError(
            f"{value!r} cannot be told from others of its kind ({error}), so no checkpoint would know whose it is: "
            "do without one, or give it plain values only"
        ) from None


class _Facts(NumpyHasher):
    """joblib's hash, which knows values and gives functions and classes by name: of those it takes the facts here."""

    def reducer_override(self, value: Any) -> Any:
        """Return (str, its name, its facts), or leave the value to joblib."""
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            return str, (f"{value.dtype} {tuple(value.shape)}",), flat.view(torch.uint8).numpy()
        if isinstance(value, frozenset):
            return str, (), set(value)  # joblib has an order for sets, which another process has not
        if isinstance(value, CodeType):
            return str, (), (value.co_code, value.co_names, value.co_consts)
        if isinstance(value, ModuleType):
            file = None if _installed(value.__name__) else value.__file__
            return str, (value.__name__,), file and Path(file).read_bytes()
        if isinstance(value, FunctionType) and ("<" in value.__qualname__ or not _installed(value.__module__)):
            looked_up = {k: value.__globals__[k] for k in _names(value.__code__) if k in value.__globals__}
            closed_over = [cell.cell_contents for cell in value.__closure__ or ()]
            facts = value.__code__, value.__defaults__, value.__kwdefaults__, closed_over, looked_up
            return str, (value.__qualname__,), facts
        if isinstance(value, type) and not _installed(value.__module__):
            members = {k: getattr(v, "__func__", getattr(v, "fget", v)) for k, v in vars(value).items()}
            own = {k: v for k, v in members.items() if isinstance(v, FunctionType) or not k.startswith("_")}
            return str, (value.__qualname__,), (value.__bases__, own)
        return NotImplemented


def _names(code: CodeType) -> Iterator[str]:
    """Iterate over the globals that a function, and the functions inside it, look up."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _installed(module: str) -> bool:
    """Tell whether a module is Python's own or an installed library's, which change with their version only."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return module != "__main__" and (file is None or any(place in file for place in LIBRARIES))
