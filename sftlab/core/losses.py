"""What is minimised: (logits, targets) → scalar, and L2-SP, the pull back to the pretrained weights.

H(p, q) = −Σ p(x) log q(x), x runs over the classes, p is the target distribution and q the model's answer.
A class number is the special case of a p with a single 1; so there is one loss, not three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sftlab.core.profiles import Groups
from sftlab.data.dataset import NO_LABEL, by_task

Loss = Callable[[Any, Any], Tensor]


def cross_entropy(logits: Any, targets: Any, *, smoothing: float = 0.0, weight: Tensor | None = None) -> Tensor:
    """Return the mean of H(p, q) over the images of a batch, in nats.

    logits: N×C, or {task: N×C}. targets: N class numbers (−100: no label), N×C probabilities, or {task: …} with the
    same tasks; the losses of several tasks add up. smoothing: share of p that is spread evenly over the classes
    (Szegedy et al., 2016). weight: C class weights; the mean is then weighted, as in torch.

    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(0.6931)
    """
    if isinstance(logits, Mapping):
        if not isinstance(targets, Mapping) or set(targets) != set(logits):
            named = ", ".join(targets) if isinstance(targets, Mapping) else type(targets).__name__
            raise ValueError(f"the model answers {', '.join(logits)}; the targets name {named}")
        losses = [cross_entropy(logits[k], targets[k], smoothing=smoothing, weight=weight) for k in logits]
        return torch.stack(losses).sum()
    if not labelled(targets, logits.shape[1]).any():
        return 0 * logits.sum()  # torch's mean over no image would be nan
    targets = targets.to(logits.dtype) if targets.ndim == 2 else targets
    return F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)


def labelled(targets: Tensor, classes: int) -> Tensor:
    """Return which images have a label (N booleans). Raises ValueError for targets that are none of `classes`."""
    if targets.ndim == 2:
        if targets.shape[1] != classes:
            raise ValueError(f"targets give {targets.shape[1]} probabilities an image, the head has {classes} classes")
        if not (targets >= 0).all():
            raise ValueError("targets give probabilities that are negative or nan; each is a number from 0 to 1")
        return torch.ones(len(targets), dtype=torch.bool, device=targets.device)
    if targets.dtype != torch.int64:
        raise ValueError(f"class numbers are whole and of torch.int64, not {targets.dtype}: make them so by y.long()")
    known = targets != NO_LABEL
    if len(wrong := targets[known & ((targets < 0) | (targets >= classes))]):
        raise ValueError(
            f"label {wrong[0]} is outside 0…{classes - 1}: the head has {classes} classes. Replace the head first."
        )
    return known


def correct(logits: Any, targets: Any) -> tuple[int, int]:
    """Return (correct, labelled) over a batch; several tasks are counted together."""
    right, known = 0, 0
    for task, z in by_task(logits).items():
        y = by_task(targets)[task]
        hard = y.argmax(dim=1) if y.ndim == 2 else y
        right, known = right + int((z.argmax(dim=1) == hard).sum()), known + int((hard != NO_LABEL).sum())
    return right, known


def l2_sp(decay: float) -> Callable[[Groups], torch.optim.Optimizer]:
    """Return an optimizer for `fit`: AdamW whose decay pulls every pretrained stage back to where it started.

    L2-SP (Li, Grandvalet and Davoine, 2018).

    Before each step, w ← w + η · decay · (w₀ − w), with η the stage's rate at that moment and w₀ its weights when `fit`
    began; decoupled from the gradient, as AdamW decays toward zero (Loshchilov and Hutter, 2019). The head has no past
    worth keeping: it keeps the `weight_decay` of `fit`. Raises ValueError for a decay that is no number ≥ 0.
    """
    if not (math.isfinite(decay) and decay >= 0):
        raise ValueError(f"decay={decay}: a number ≥ 0, such as 0.1; at 0 nothing is pulled")

    def optimizer(groups: Groups) -> torch.optim.Optimizer:
        adamw = torch.optim.AdamW(
            [group if group["stage"] == "head" else {**group, "weight_decay": 0.0} for group in groups]
        )
        pulled = [group for group in adamw.param_groups if group["stage"] != "head"]
        starts = [[w.detach().clone() for w in group["params"]] for group in pulled]

        @torch.no_grad()
        def pull(*_: Any) -> None:
            for group, start in zip(pulled, starts, strict=True):
                for w, w0 in zip(group["params"], start, strict=True):
                    w.lerp_(w0, group["lr"] * decay)

        adamw.register_step_pre_hook(pull)
        return adamw

    return optimizer
