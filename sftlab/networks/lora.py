"""Few weights learn: LoRA and bias-only tuning, as surgery that returns a copy.

What shall not learn becomes a buffer: it is stored, saved and hashed as before, and no profile can wake it. So a
profile over an adapted network still says all there is to say: which stages learn, and how fast.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sftlab.core.model import card, named_stages, with_card

NEW = ("hidden", "head")  # what replace_head made is new and small: it learns as a whole


class LoRA(nn.Module):
    """A Linear that stays as it is, plus a product of two thin matrices: W x + b + s·B A x (Hu et al., 2022).

    A (rank × in) starts at random and B (out × rank) at zero, so nothing changes before the first step.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self.linear, self.scale = linear, scale
        self.a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the Linear says plus the correction."""
        return self.linear(x) + self.scale * (x @ self.a.T) @ self.b.T

    def extra_repr(self) -> str:
        """Show rank and scale in the printed network."""
        return f"rank={len(self.a)}, scale={self.scale:g}"


def lora(
    model: nn.Sequential,
    rank: int = 8,
    *,
    layers: Sequence[str] = ("query", "value"),
    stages: Sequence[str] | None = None,
    scale: float = 1.0,
    seed: int = 0,
) -> nn.Sequential:
    """Return a copy in which only thin corrections of some Linear layers can learn (Hu et al., 2022), and the head.

    layers: names of the Linears inside a stage. stages: which are adapted (default: all that have such a layer); the
    others keep their parameters, and a profile freezes them as ever. scale: α/r in the paper. Raises ValueError if
    there is nothing to adapt.

    >>> mlp = nn.Sequential()
    >>> mlp.add_module("body", nn.Sequential()); mlp.body.add_module("up", nn.Linear(8, 8))
    >>> mlp.add_module("head", nn.Linear(8, 2))
    >>> [name for name, p in lora(mlp, rank=2, layers=["up"]).named_parameters()]
    ['body.up.a', 'body.up.b', 'head.weight', 'head.bias']
    """
    if rank < 1:
        raise ValueError(f"rank={rank}: a whole number ≥ 1, such as 8")
    new, adapted = _copied(model), 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for stage in _chosen(new, stages):
            linears = [(path, child) for path, child in stage.named_modules() if isinstance(child, nn.Linear)]
            found = [(path, linear) for path, linear in linears if path.rpartition(".")[2] in layers]
            if found:
                hold(stage)
            for path, linear in found:
                stage.set_submodule(path, LoRA(linear, rank, scale).to(linear.weight.device))
            adapted += len(found)
    if not adapted:
        raise ValueError(f"no stage that is to be adapted has a Linear named {' or '.join(layers)}")
    return new


def bias_only(model: nn.Sequential) -> nn.Sequential:
    """Return a copy in which only biases and norms can learn (BitFit; Ben Zaken et al., 2022), and the head."""
    new = _copied(model)
    for stage in _chosen(new, None):
        hold(stage, but=lambda p: p.ndim == 1)
    return new


def merge(model: nn.Sequential) -> nn.Sequential:
    """Return a plain copy: corrections are added to the weights they correct, and what was held can learn again.

    It computes the same, to rounding, and `save` and `export` take it like any other network.
    """
    new = copy.deepcopy(model)
    for path, module in list(new.named_modules()):
        if isinstance(module, LoRA):
            module.linear.weight.data += module.scale * module.b.data @ module.a.data
            new.set_submodule(path, module.linear)
    for module in new.modules():
        for name in vars(module).pop("held", []):
            value = module.get_buffer(name)
            delattr(module, name)
            module.register_parameter(name, nn.Parameter(value))
    facts = dict(card(model))
    return with_card(new, facts | {"names": facts.pop("held_names", facts.get("names", {}))})


def hold(stage: nn.Module, but: Callable[[Tensor], bool] = lambda p: False) -> None:
    """Turn the parameters of a stage into buffers, in place, except those that `but` is true of."""
    for module in stage.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            if not but(p):
                delattr(module, name)
                module.register_buffer(name, p.detach())
                vars(module).setdefault("held", []).append(name)


def _chosen(model: nn.Sequential, stages: Sequence[str] | None) -> list[nn.Module]:
    known = {name: stage for name, stage in named_stages(model) if name not in NEW}
    if unknown := [name for name in stages or [] if name not in known]:
        raise ValueError(f"no stage named {unknown[0]!r} can be adapted; there are {', '.join(known)}")
    return [known[name] for name in (stages or known)]


def _copied(model: nn.Sequential) -> nn.Sequential:
    """Return a copy whose card has no original names: with corrections in it, it does not fit the plain network."""
    facts = dict(card(model))
    return with_card(copy.deepcopy(model), facts | {"held_names": facts.pop("names", {})})
