"""The network as a list of named stages: its card, its head, and what is frozen. Everything uses this.

Every function here takes an `nn.Sequential` whose children are stages. Where a model came from is kept in a plain
dict, the *card*, because a slice of an `nn.Sequential` would drop any other attribute.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Parameter-free modules that compute the same function in train and in eval mode. An unknown one is taken to be
# random: the frozen prefix then ends before it, which costs time and never a wrong feature.
CONSTANT = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Sequential),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d),
    *(nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish),
)

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
BATCHNORM = ("train", "frozen")  # what the statistics do in stages that learn


def card(model: nn.Module) -> dict[str, Any]:
    """Return the model's card: name, weights, licence, classes, size. Empty for a slice or a stranger."""
    return vars(model).get("card", {})


def with_card(model: nn.Sequential, facts: Mapping[str, Any]) -> nn.Sequential:
    """Write the card (a copy of `facts`) on `model` and return the same model."""
    vars(model)["card"] = copy.deepcopy(dict(facts))
    return model


def named_stages(model: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """Return (name, stage) of the stages that have parameters, stem first."""
    return [(name, stage) for name, stage in model.named_children() if has_parameters(stage)]


def stage_names(model: nn.Sequential) -> list[str]:
    """Return the names of the stages that have parameters, stem first: exactly the keys of a learning-rate profile."""
    return [name for name, _ in named_stages(model)]


def has_parameters(stage: nn.Module) -> bool:
    """Tell whether a stage stores anything that can learn."""
    return next(stage.parameters(), None) is not None


def is_trainable(stage: nn.Module) -> bool:
    """Tell whether any parameter of the stage takes gradients."""
    return any(p.requires_grad for p in stage.parameters())


def is_constant(stage: nn.Module) -> bool:
    """Tell whether a stage, while it is frozen, computes one fixed function of each image.

    One with parameters does so in eval mode; one without follows the next stage's mode, so it must not care.
    """
    if any(isinstance(m, BATCHNORMS) and m.running_mean is None for m in stage.modules()):
        return False  # without statistics of its own it takes those of whatever else is in the batch
    constant = (isinstance(m, CONSTANT) or getattr(m, "is_constant", False) for m in stage.modules())
    return has_parameters(stage) or all(constant)


def check_stages(model: nn.Sequential) -> None:
    """Raise ValueError if two stages hold one tensor: it would be frozen and learn at once."""
    homes: dict[int, str] = {}
    for name, value in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        first = homes.setdefault(value.data_ptr() or id(value), name)
        if first.partition(".")[0] != name.partition(".")[0]:
            raise ValueError(f"a parameter belongs to one stage, but {first} and {name} are one and the same")


class Heads(nn.Module):
    """Several Linear heads on the same features: N×D → {task: N×classes}."""

    def __init__(self, features: int, classes: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.tasks = list(classes)  # beside the modules, because a task may be called "type", like nn.Module.type
        self.heads = nn.ModuleList(nn.Linear(features, len(names)) for names in classes.values())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of every head."""
        return {task: head(x) for task, head in zip(self.tasks, self.heads, strict=True)}


def check_float32(model: nn.Module) -> None:
    """Raise ValueError for weights of another type: images come as float32; less would round small steps away."""
    if other := {str(p.dtype) for p in model.parameters() if p.dtype != torch.float32}:
        raise ValueError(f"weights of {', '.join(sorted(other))}: this lab computes in float32; model.float() first")


def replace_head(
    model: nn.Sequential, classes: int | Sequence[str] | Mapping[str, Any], *, hidden: int | None = None, seed: int = 0
) -> nn.Sequential:
    """Return a copy of `model` whose head answers the new question; no pretrained weight is lost.

    classes: a number, the class names, or {task: number or names} for several heads (logits become a dict).
    hidden: insert Linear(features → hidden) and ReLU before the head, as a stage of its own.
    seed: of the new layers' random start. The global generator is left alone.

    >>> import sftlab as sft
    >>> model = sft.replace_head(sft.backbone("tiny"), ["intact", "defect"])
    >>> model.head
    Linear(in_features=32, out_features=2, bias=True)
    """
    stages = dict(copy.deepcopy(model).named_children())
    if "head" not in stages:
        raise ValueError(f"this model has no stage named 'head', only {', '.join(stages)}")
    features, names = in_features(model), _class_names(classes)
    if hidden is not None and hidden < 1:
        raise ValueError(f"hidden={hidden}: a hidden layer needs at least one unit")
    del stages["head"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hidden is not None:
            stages["hidden"], features = nn.Sequential(nn.Linear(features, hidden), nn.ReLU()), hidden
        stages["head"] = Heads(features, names) if isinstance(names, dict) else nn.Linear(features, len(names))
    new = nn.Sequential(OrderedDict(stages)).to(next(model.parameters()).device)
    return with_card(new, {**card(model), "classes": names, "hidden": hidden or card(model).get("hidden")})


def in_features(model: nn.Sequential) -> int:
    """Return the number of features that the head reads."""
    head = model.get_submodule("head")
    features = getattr(next((m for m in head.modules() if isinstance(m, nn.Linear)), head), "in_features", None)
    if not isinstance(features, int):
        raise ValueError(f"the head is {type(head).__name__}, not a Linear layer (or a dict of them)")
    return features


def _class_names(classes: int | Sequence[str] | Mapping[str, Any]) -> list[str] | dict[str, list[str]]:
    if isinstance(classes, Mapping):
        if not classes:
            raise ValueError("classes is an empty dict: name at least one task, such as {'defect': 2}")
        return {task: list(_class_names(c)) for task, c in classes.items()}
    names = [str(c) for c in (classes if isinstance(classes, Iterable) else range(classes))]
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} class{'' if len(names) == 1 else 'es'}: a classifier needs at least two. "
            "Regression, detection and segmentation are outside this lab."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"two classes share a name: {', '.join(names)}")
    return names


def frozen_prefix(model: nn.Sequential) -> int:
    """Return how many leading stages form a constant function: `model[:n]` can run once and be kept.

    A stage counts if it is frozen and `is_constant`; the first stage that learns ends it.
    """
    for n, stage in enumerate(model):
        if is_trainable(stage) or not is_constant(stage):
            return n
    return len(model)


def train_mode(model: nn.Sequential, profile: Mapping[str, float], *, batchnorm: str = "train") -> None:
    """Put stages that learn in train mode and all others in eval mode; write it where a textbook has `model.train()`.

    A frozen stage must be a constant function: `requires_grad = False` alone lets BatchNorm statistics drift and
    dropout roll dice. A stage without parameters (dropout before the head) follows the next stage that has some.
    batchnorm: "frozen" keeps the pretrained statistics (InstanceNorm's as well, where it has some) in the stages that
    learn too (scale and shift still learn): safer when the training images are few or differ from those to come.
    """
    if batchnorm not in BATCHNORM:
        raise ValueError(f"batchnorm={batchnorm!r}: {' or '.join(map(repr, BATCHNORM))}")
    learns = False
    for name, stage in reversed(list(model.named_children())):
        learns = profile[name] > 0 if name in profile else learns
        stage.train(learns)
        if batchnorm == "frozen":
            for module in stage.modules():
                if hasattr(module, "running_mean"):
                    module.eval()
    model.training = any(rate > 0 for rate in profile.values())


def fingerprint(model: nn.Sequential) -> dict[str, str]:
    """Return one hash a stage, over everything it stores: parameters and buffers, names, shapes and bytes."""
    stages = {name: [*stage.named_parameters(), *stage.named_buffers()] for name, stage in model.named_children()}
    return {name: hash_tensors(values)[:16] for name, values in stages.items()}


def hash_tensors(named: Iterable[tuple[str, Tensor]], start: bytes = b"") -> str:
    """Return a hash over the names, shapes, types and bytes of tensors, after those of `start`."""
    digest = hashlib.sha256(start)
    for name, value in named:
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Context: every module in eval mode inside, each module's own mode back outside, whatever happens."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield model.eval()
    finally:
        for module, mode in modes:
            module.training = mode
