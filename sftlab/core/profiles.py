"""Strategies as learning-rate profiles ({stage: rate}, 0 means frozen) and schedules (how rates change in a run).

A profile names exactly the stages that have parameters, stem first. It is a plain dict: print it, edit it, save it.
`apply` is the only function in the lab that sets `requires_grad`.

A schedule is a function of time: t in [0, 1] → factor on every rate of the profile. t = 0 is the first step of a run
and t → 1 its end, so a schedule never needs to know how long the run is.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from sftlab.core.model import named_stages, stage_names

Profile = dict[str, float]
Schedule = Callable[[float], float]
Groups = list[dict[str, Any]]  # what an optimizer takes

# Tables that are no weights: a row for each position, for the distance of two, or for a token that is no patch.
TABLES = re.compile(r"(^|[._])(pos_?emb|position|rel_pos|bias|class_emb)\w*(\.weight)?$|_(pos|rel|tokens?)$|cpb_mlp")


def linear_probe(model: nn.Sequential, lr: float = 1e-3) -> Profile:
    """Train the head only; the backbone stays a constant function (Alain and Bengio, 2017).

    A `hidden` stage inserted by `replace_head` is as new as the head, so it learns as well.
    """
    return surgical(model, [n for n in stage_names(model) if n in ("hidden", "head")], lr=lr)


def last_k(model: nn.Sequential, k: int, lr: float = 1e-4) -> Profile:
    """Train the head and the k stages before it, all at one rate (Yosinski et al., 2014)."""
    names = stage_names(model)
    before = len(names) - 1
    if not 0 <= k <= before:
        raise ValueError(f"k={k}: this model has {before} stages before its head, so k goes from 0 to {before}")
    return surgical(model, names[before - k :], lr=lr)


def full(model: nn.Sequential, lr: float = 1e-4) -> Profile:
    """Train every stage at one rate."""
    return surgical(model, stage_names(model), lr=lr)


def layer_decay(model: nn.Sequential, lr: float = 3e-4, decay: float = 0.7, *, start: str | None = None) -> Profile:
    """Train the head at `lr` and each stage before it at `decay` times the next one's rate (Howard and Ruder, 2018).

    start: name of the first stage that learns; stages before it are frozen. Default: all learn.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay={decay}: a factor in (0, 1], such as 0.7")
    names = stage_names(model)
    first = names.index(_known(start, names)) if start is not None else 0
    rates = {name: lr * decay ** (len(names) - 1 - i) if i >= first else 0.0 for i, name in enumerate(names)}
    return check(model, rates)


def surgical(model: nn.Sequential, stages: str | list[str], lr: float = 1e-4) -> Profile:
    """Train the named stages only, all at one rate (Lee et al., 2023: which block to tune depends on the shift)."""
    names = stage_names(model)
    chosen = {_known(s, names) for s in ([stages] if isinstance(stages, str) else stages)}
    return check(model, {name: lr if name in chosen else 0.0 for name in names})


def check(model: nn.Sequential, profile: Mapping[str, float]) -> Profile:
    """Return the profile as {stage: float} in the model's order.

    Raises ValueError for a missing stage, an invented one, or a rate that is not a finite number ≥ 0.
    """
    if not isinstance(profile, Mapping):
        raise TypeError(f"a profile is a dict, {{stage: rate}}, as linear_probe(model) returns one, not {profile!r}")
    names, rates = stage_names(model), scalars(profile)
    for name, rate in rates.items():
        _known(name, names)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < math.inf:
            raise ValueError(f"{name}: a learning rate is a finite number ≥ 0, not {rate!r}")
    if missing := [name for name in names if name not in rates]:
        raise ValueError(f"the profile says nothing of {', '.join(missing)}; give each a rate (0 freezes it)")
    return {name: float(rates[name]) for name in names}


def scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same values, numbers of numpy and torch as Python's own."""
    return {name: v.item() if getattr(v, "ndim", None) == 0 else v for name, v in values.items()}


def _known(name: str, names: list[str]) -> str:
    if name not in names:
        close = difflib.get_close_matches(str(name), names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no stage with parameters is named {name!r}; there are {', '.join(names)}.{hint}")
    return name


def apply(model: nn.Sequential, profile: Mapping[str, float]) -> None:
    """Set `requires_grad` from the profile, in place; a frozen parameter's old gradient is dropped.

    Without the drop, an optimizer made later could still move it by momentum or weight decay.
    """
    rates = check(model, profile)
    for name, stage in named_stages(model):
        stage.requires_grad_(rates[name] > 0)
        if not rates[name]:
            stage.zero_grad()  # to None


def param_groups(model: nn.Sequential, profile: Mapping[str, float], weight_decay: float = 0.01) -> Groups:
    """Return optimizer groups: two a trainable stage at the stage's rate, weights decayed, the others not.

    The others are what `decays` is not true of. Each group carries its `stage`, by which rates are set, and a `name`
    for whoever prints it. The same profile makes the same groups: a checkpoint is of one profile.
    """
    rates, groups = check(model, profile), []
    for stage, module in named_stages(model):
        learning = [(decays(n, p), p) for n, p in module.named_parameters() if p.requires_grad and rates[stage]]
        for weights, name, decay in ((True, stage, weight_decay), (False, f"{stage} (biases, norms)", 0.0)):
            params = [p for is_weight, p in learning if is_weight == weights]
            group = {"name": name, "stage": stage, "params": params, "lr": rates[stage], "weight_decay": decay}
            groups += [group] if params else []
    return groups


def decays(name: str, p: Tensor) -> bool:
    """Tell whether weight decay acts on a parameter, as is usual: not on biases, norms, scales, tokens and positions.

    A vector may be stored with axes of length 1, and a table of positions has as many axes as a weight: names tell.
    """
    vector = p.ndim <= 1 or (p.ndim > 2 and p.numel() == max(p.shape) and not name.endswith("weight"))
    return not vector and not TABLES.search(name)


def factor(schedule: Schedule, t: float) -> float:
    """Return what every rate is multiplied with at time t. Raises ValueError for what is no finite number ≥ 0."""
    value = float(schedule(t))
    if not 0 <= value < math.inf:
        raise ValueError(f"the factor of a schedule is a finite number ≥ 0, not {value}")
    return value


def constant() -> Schedule:
    """Keep every rate as the profile says."""
    return lambda t: 1.0


def cosine() -> Schedule:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter, 2017).

    >>> [round(cosine()(t), 2) for t in (0, 0.5, 1)]
    [1.0, 0.5, 0.0]
    """
    return lambda t: 0.5 * (1 + math.cos(math.pi * t))


def linear() -> Schedule:
    """Fall from 1 to 0 in a straight line."""
    return lambda t: 1 - t


def warmup_cosine(warmup: float = 0.1) -> Schedule:
    """Rise from near 0 to 1 over the first `warmup` share of the run, then fall along a cosine.

    >>> [round(warmup_cosine(0.1)(t), 2) for t in (0.05, 0.1, 1)]
    [0.5, 1.0, 0.0]
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup={warmup}: a share of the run in [0, 1)")
    fall = cosine()
    # the floor keeps the very first step from being wasted at a rate of exactly 0
    return lambda t: max(t, 1e-3 * warmup) / warmup if t < warmup else fall((t - warmup) / (1 - warmup))
