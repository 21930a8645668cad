"""Two tasks on one backbone: which way each of them pulls the stages that they share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.losses import Loss, cross_entropy


def task_gradients(
    model: nn.Sequential, x: Any, targets: Mapping[str, Tensor], *, loss: Loss = cross_entropy
) -> dict[str, Tensor]:
    """Return {task: gradient of its loss} with respect to all that the tasks share and that learns, as one vector.

    model: its head answers the tasks of `targets` (a label of −100 counts in no loss); what it shares is every stage
    before the head. The model is left as it was, batch statistics included. The cosine of two such vectors says
    whether a step for one task is a step for the other (Yu et al., 2020). Raises ValueError if there is one head only,
    or if no shared stage learns: heads on constant features are as separate as two networks.
    """
    net = copy.deepcopy(model)  # in train mode a pass moves the batch statistics
    shared = [p for name, stage in net.named_children() if name != "head" for p in stage.parameters()]
    shared = [p for p in shared if p.requires_grad]
    if not shared:
        raise ValueError("no stage before the head learns, so the tasks share nothing that a gradient could move")
    logits = net(x)
    if not isinstance(logits, Mapping):
        raise ValueError("the model has one head: replace_head(model, {'first': …, 'second': …}) makes several")
    if set(targets) - set(logits):
        raise ValueError(f"the model answers {', '.join(logits)}; the targets name {', '.join(targets)}")
    found = {}
    for task, y in targets.items():
        parts = torch.autograd.grad(loss(logits[task], y), shared, retain_graph=True)
        found[task] = torch.cat([part.flatten() for part in parts])
    return found
