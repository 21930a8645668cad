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
from sftlab.data.dataset import NO_LABEL, labelled

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
    if targets.ndim == 2:
        targets = targets.to(logits.dtype)
    elif not (targets != NO_LABEL).any():
        return 0 * logits.sum()  # torch's mean over no image would be nan
    try:
        return F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)
    except (IndexError, RuntimeError):
        labelled(targets, logits.shape[1])  # says which target is none
        raise


def correct(logits: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Return for each image whether it was answered rightly, and whether it has a label; several tasks in turn."""
    if isinstance(logits, Mapping):
        right, labelled = zip(*(correct(logits[k], targets[k]) for k in logits), strict=True)
        return torch.cat(right), torch.cat(labelled)
    hard = targets.argmax(dim=1) if targets.ndim == 2 else targets
    return logits.argmax(dim=1) == hard, hard != NO_LABEL


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
