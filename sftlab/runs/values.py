"""What somebody gives a notebook from outside, checked before a kernel starts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sftlab.runs.parameters import Parameter, parse_value, unknown
from sftlab.runs.publishing import NotebookError
from sftlab.runs.rules import check_value


def checked(known: list[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values in the types of their parameters; raise NotebookError for what does not fit."""
    by_name = {p.name: p for p in known}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in by_name:
            raise NotebookError(unknown(name, list(by_name)))
        if name == "OUT":
            raise NotebookError("OUT is the folder of this run and is set for you; choose where it is made with --out")
        try:
            if isinstance(value, str):
                value = parse_value(by_name[name], value)
            elif type(value) is int and by_name[name].type == "float":
                value = float(value)
            check_value(name, value, by_name[name].rule)
            values[name] = _meant(name, value) if isinstance(value, str) else value
        except (TypeError, ValueError) as error:
            raise NotebookError(str(error)) from None
    return values


def _meant(name: str, value: str) -> str:
    """Return text as the notebook shall have it: a `folder:` as seen from here, although it works in its own folder.

    DATA is a data set and BACKBONE a network in every notebook. Raises ValueError for what is not there.
    """
    if value.startswith("folder:"):
        folder = Path(value.removeprefix("folder:")).expanduser().resolve()
        if not folder.is_dir():
            raise ValueError(f"{name}: there is no folder {folder}")
        return f"folder:{folder}"
    if name == "DATA" and not value.startswith("csv:"):
        _check_data(value)
    if name == "BACKBONE":
        _check_network(value)
    return value


def _check_data(name: str) -> None:
    from sftlab.data import datasets

    if name not in datasets():
        _nobody("DATA", name, [*datasets(), "folder:PATH"])


def _check_network(name: str) -> None:
    from sftlab.networks import backbones

    ours = [*backbones(), "minilm"]
    if name in ours:
        return
    import timm

    if not timm.is_model(name.split(".")[0]):
        _nobody("BACKBONE", name, [*ours, *timm.list_models()])


def _nobody(parameter: str, name: str, known: Sequence[str]) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known[:6])} …"
    raise ValueError(f"{parameter}: nothing is named {name!r}; {hint}")
