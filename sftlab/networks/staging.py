"""From any module to a list of stages, by one table `stage → original parts`, used both ways.

A part is the dotted path of an original submodule, or a small glue module for what the original does in
`forward`. Glue that holds original parameters is given as a function of the original (a class will do)
and says under which names it holds them (`original_names`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.networks.meta import Source

Part = str | nn.Module | Callable[[nn.Module], nn.Module]
Table = dict[str, Sequence[Part]]


class Input(nn.Module):
    """uint8 N×C×H×W → float N×3×H×W: scale to [0, 1], grey → RGB, subtract the weights' mean, divide by std.

    Data delivers uint8 only, so preprocessing cannot be mismatched. No parameters; the buffers are not saved.
    """

    is_constant = True

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images."""
        if x.dtype != torch.uint8:
            raise TypeError(f"the input stage takes uint8 images in 0…255, not {x.dtype}; it does the scaling itself")
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"images of shape {'×'.join(map(str, x.shape))}; expected N×1×H×W or N×3×H×W")
        x = (x.float() / 255 - self.mean) / self.std  # a grey image is broadcast to three channels here
        return x.contiguous(memory_format=torch.channels_last)  # the CPU's convolutions are faster in this layout

    def extra_repr(self) -> str:
        """Show the numbers in the printed network."""
        mean, std = (buffer.flatten().tolist() for buffer in (self.get_buffer("mean"), self.get_buffer("std")))
        return f"mean={[round(v, 3) for v in mean]}, std={[round(v, 3) for v in std]}"


def stages(
    module: nn.Module, table: Mapping[str, Sequence[Part]] | Sequence[str], *, example: Tensor | None = None,
    source: Source | None = None,
) -> nn.Sequential:  # fmt: skip
    """Turn a module into an `nn.Sequential` of named stages that compute the same function.

    table: {stage: [parts]}, or a list of child names (each its own stage). example: an input to check
    staged ≡ original on, in eval mode; its absence skips the check. source: the weights' own
    preprocessing, which becomes a first stage `input` (the example is then uint8), and the facts for the
    card. The module is copied, never changed. Every parameter must end up in exactly one stage, and the
    last stage must be named `head`. Raises ValueError where any of this does not hold.

    >>> from collections import OrderedDict
    >>> mlp = nn.Sequential(OrderedDict(body=nn.Linear(4, 8), head=nn.Linear(8, 2)))
    >>> [name for name, _ in stages(mlp, ["body", "head"], example=torch.zeros(1, 4)).named_children()]
    ['body', 'head']
    """
    given: Table = dict(table) if isinstance(table, Mapping) else {name: [name] for name in table}
    original, rows = copy.deepcopy((module, given))  # at once, so that glue in the table shares the copy's parameters
    if list(rows)[-1:] != ["head"]:
        raise ValueError(f"the last stage must be named 'head', not {(list(rows) or ['nothing'])[-1]!r}")
    staged, names = nn.Sequential(), dict[str, str]()
    if source is not None:
        staged.add_module("input", Input(source.mean, source.std))
    for stage, parts in rows.items():
        modules = [_part(original, part) for part in parts]
        single = len(modules) == 1
        staged.add_module(stage, modules[0] if single else nn.Sequential(*modules))
        for i, part in enumerate(parts):
            here = stage if single else f"{stage}.{i}"
            known = {"": part} if isinstance(part, str) else getattr(modules[i], "original_names", {})
            names |= {f"{here}.{own}".rstrip("."): there for own, there in known.items()}
    _check_complete(original, staged)
    if example is not None:
        _check_equal(original, staged, example)
    facts: dict[str, Any] = dict(source.facts) if source else {"name": type(module).__name__, "weights": "as given"}
    vars(staged)["card"] = {**facts, "names": names}
    return staged


def _part(original: nn.Module, part: Part) -> nn.Module:
    if isinstance(part, nn.Module):
        return part
    if not isinstance(part, str):
        return part(original)
    try:
        return original.get_submodule(part)
    except AttributeError:
        children = ", ".join(name for name, _ in original.named_children())
        raise ValueError(f"{type(original).__name__} has no part {part!r}; its children are {children}") from None


def _check_complete(original: nn.Module, staged: nn.Sequential) -> None:
    homes: dict[int, list[str]] = {}
    for stage, part in staged.named_children():
        for value in [*part.parameters(), *part.buffers()]:
            homes.setdefault(id(value), []).append(stage)
    held = {name: homes.get(id(p), []) for name, p in [*original.named_parameters(), *original.named_buffers()]}
    lost = [name for name, stages in held.items() if not stages]
    if lost:
        raise ValueError(
            f"no stage holds {', '.join(lost[:4])}{' …' if len(lost) > 4 else ''}; the table must place every parameter"
        )
    shared = [f"{name} (in {' and '.join(stages)})" for name, stages in held.items() if len(stages) > 1]
    if shared:
        raise ValueError(f"a parameter belongs to one stage, but these are in several: {', '.join(shared[:4])}")


def _check_equal(original: nn.Module, staged: nn.Sequential, example: Tensor) -> None:
    try:
        same, why = is_same_function(original, staged, example), ""
    except (RuntimeError, ValueError) as error:  # without its flatten, a Linear meets a shape that it cannot take
        same, why = False, f" ({str(error).splitlines()[0]})"
    if not same:
        raise ValueError(
            f"the staged network does not compute what the original does{why}: its forward must do something "
            "between the stages (flatten, reshape, dropout). Add that as a module at its place in the table."
        )


def is_same_function(original: nn.Module, staged: nn.Sequential, example: Tensor, *, train: bool = False) -> bool:
    """Tell whether both give bit-equal outputs for `example`, in eval mode or in train mode under one seed.

    Works on copies, so neither network's buffers nor modes change. What a network raises is passed on.
    """
    original, staged = copy.deepcopy(original).train(train), copy.deepcopy(staged).train(train)
    outputs = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        prepared = staged[0](example) if isinstance(staged[0], Input) else example
        for network in (original, staged[1:] if isinstance(staged[0], Input) else staged):
            torch.manual_seed(0)
            outputs.append(network(prepared.clone()))  # a clone: the first layer may work in place
    return torch.equal(*outputs)


def constant(module: nn.Module) -> nn.Module:
    """Mark a parameter-free module as computing one function in train and eval mode; return the same module.

    A frozen prefix then runs on through it; one that is neither known nor marked is taken to be random.
    """
    for part in module.modules():
        vars(part)["is_constant"] = True
    return module


def original_state_dict(model: nn.Sequential) -> dict[str, Tensor]:
    """Return the weights under their original names, ready for the plain model's `load_state_dict`.

    A head that `replace_head` made keeps the original head's name. Raises ValueError for stages that the
    original does not have (a `hidden` stage, several heads).
    """
    names: dict[str, str] = vars(model).get("card", {}).get("names", {})
    if not names:
        raise ValueError("this network was not made by backbone() or stages(), so its original names are unknown")
    longest_first = sorted(names, key=len, reverse=True)
    out = {}
    for key, value in model.state_dict().items():
        own = next((n for n in longest_first if key == n or key.startswith(n + ".")), None)
        if own is None or (key.startswith("head.") and key.count(".") > 1):
            raise ValueError(f"{key} has no place in the original network; save() keeps it, export cannot")
        name = names[own] + key.removeprefix(own)
        out[name.removeprefix(".")] = value  # glue may hold the original itself, named ""
    return out
