"""From any module to a list of stages, by one table `stage → original parts` used both ways; how weights are read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.model import card, check_stages
from sftlab.data.download import RemoteFile, download, file_hash
from sftlab.data.storage import as_path

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Source:
    """The weights' own preprocessing and provenance; `facts` becomes the model's card."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    facts: dict[str, Any] = field(default_factory=dict)


def read_weights(path: str | Path, *, digest: str | None = None) -> dict[str, Tensor]:
    """Read a state dict from .safetensors or a torch file, tensors only, never code.

    digest: what the file's sha256 must begin with.
    Raises FileNotFoundError, or ValueError for a wrong hash or a file that is no state dict.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    if digest is not None and not (found := file_hash(path)).startswith(digest):
        raise ValueError(
            f"{path} is not the file we know (sha256 {found[:8]}…, expected {digest[:8]}…): "
            "damaged, or another file under its name; delete it and download or install it again"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"{path.name} could not be read as weights: {why}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name} holds no state dict (names → tensors)")
    return state


def load_weights(model: nn.Sequential, state: Mapping[str, Tensor], name: str) -> None:
    """Load weights under their original names into the staged network `name`; every one must be there, and no other.

    Raises ValueError that names what is missing, unknown or of another shape.
    """
    own = original_state_dict(model)
    missing = [f"{key} is missing" for key in own if key not in state]
    unread = tuple(card(model).get("unread", ()))
    unknown = [f"{key} is unknown to it" for key in state if key not in own and not key.startswith(unread)]
    other = [
        f"{key} is {_size(state[key])}, not {_size(value)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if wrong := [*other, *missing, *unknown]:
        rest = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"these weights do not fit {name}: {'; '.join(wrong[:3])}{rest}. "
            "Weights for the plain network are expected, such as export() writes; "
            "a file that save() wrote is read by load_model()."
        )
    for key, value in own.items():  # the network's own memory
        value.copy_(state[key])


def _size(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "one number"


def bring(name: str, item: str, file: RemoteFile, about: str) -> Path:
    """Download weights to their place and return it; about: which weights these are, for the sentence if it fails.

    item: what `sftlab fetch` calls them.

    Raises FileNotFoundError that says what to fetch and where to put it, ValueError for a wrong hash, OSError for a
    full disk.
    """
    print(f"downloading {about} to {file.path.parent}", flush=True)
    try:
        return download(file.urls, file.path, file.known)
    except ConnectionError as error:
        raise not_here(name, item, f"{about} from {file.urls[0]} into {file.path.parent}", error) from None


def not_here(name: str, item: str, what: str, why: object) -> FileNotFoundError:
    """Return the error for weights that could not be downloaded: how to fetch them, what, and where to put it."""
    return FileNotFoundError(
        f"the weights of {name} are not on this machine and could not be downloaded ({why}). "
        f"On a machine that is online run `sftlab fetch {item}` and copy its data folder here, or fetch {what}; "
        f"or pass the file by weights=PATH, start at random by weights=None, "
        f"or take backbone('efficientnet_lite0'), whose weights come with a package."
    )


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
    module: nn.Module,
    table: Mapping[str, Sequence[Part]] | Sequence[str],
    *,
    example: Tensor | None = None,
    source: Source | None = None,
) -> nn.Sequential:
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
    held = {id(value) for value in [*staged.parameters(), *staged.buffers()]}
    every = [*original.named_parameters(), *original.named_buffers()]
    if lost := [name for name, value in every if id(value) not in held]:
        raise ValueError(
            f"no stage holds {', '.join(lost[:4])}{' …' if len(lost) > 4 else ''}; the table must place every parameter"
        )
    check_stages(staged)


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
        if isinstance(staged[0], Input):
            example, staged = staged[0](example), staged[1:]
        for network in (original, staged):
            torch.manual_seed(0)
            outputs.append(network(example.clone()))  # a clone: the first layer may work in place
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
    names: dict[str, str] = card(model).get("names", {})
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
