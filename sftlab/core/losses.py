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
from sftlab.data.dataset import NO_LABEL

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
    if targets.ndim == 1 and len(targets):
        low, high = targets.aminmax()
        if low >= 0 and high < logits.shape[1]:  # a label for every image: torch's one kernel computes the same sum
            return F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)
    p, labelled = target_distribution(targets, logits.shape[1])
    p = (1 - smoothing) * p + smoothing / p.shape[1] * labelled[:, None]
    share = p if weight is None else p * weight
    h = -(share * F.log_softmax(logits, dim=1)).sum(dim=1)
    if weight is None:
        return h.sum() / labelled.sum().clamp(min=1)
    # torch divides by the weights of the labels for class numbers, and by n for probabilities
    hard = targets.ndim == 1
    total = weight[targets.clamp(min=0)][labelled].sum() if hard else labelled.sum()
    return h.sum() / total.clamp(min=torch.finfo(h.dtype).tiny)


def target_distribution(targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return p (N×C, rows of zeros where there is no label) and which images have a label (N booleans)."""
    if targets.ndim == 2:
        if targets.shape[1] != classes:
            raise ValueError(f"targets give {targets.shape[1]} probabilities an image, the head has {classes} classes")
        return targets.float(), torch.ones(len(targets), dtype=torch.bool, device=targets.device)
    labelled = targets != NO_LABEL
    if bool((targets[labelled] >= classes).any() or (targets[labelled] < 0).any()):
        bad = targets[labelled & ((targets >= classes) | (targets < 0))][0].item()
        raise ValueError(
            f"label {bad} is outside 0…{classes - 1}: the head has {classes} classes. Replace the head first."
        )
    p = F.one_hot(targets.clamp(min=0), classes).float()
    return p * labelled[:, None], labelled


def correct(logits: Any, targets: Any) -> tuple[int, int]:
    """Return (correct, labelled) over a batch; several tasks are counted together."""
    if isinstance(logits, Mapping):
        pairs = [correct(logits[k], targets[k]) for k in logits]
        return sum(c for c, _ in pairs), sum(n for _, n in pairs)
    hard = targets.argmax(dim=1) if targets.ndim == 2 else targets
    labelled = hard != NO_LABEL
    return int((logits.argmax(dim=1) == hard)[labelled].sum()), int(labelled.sum())


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
