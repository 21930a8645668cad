"""Weight decay that pulls toward the pretrained weights instead of zero: L2-SP (Li, Grandvalet and Davoine, 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from sftlab.core.settings import Groups


def toward_start(decay: float) -> Callable[[Groups], torch.optim.Optimizer]:
    """Return an optimizer for `fit`: AdamW whose decay pulls every pretrained stage back to where it started.

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
