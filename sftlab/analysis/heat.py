"""Where in the image the evidence for a class lies: Grad-CAM, and the test that a heat map must pass.

A network here is a list, so no hooks are needed: `model[:k]` makes the maps, `model[k:]` reads them.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from sftlab.core.model import card, evaluating, stage_names, with_card


def grad_cam(model: nn.Sequential, x: Tensor, target: int, stage: str) -> Tensor:
    """Return a heat map an image, N×h×w ≥ 0, of the evidence for class `target` in the maps that `stage` makes.

    x: uint8 N×C×H×W. A map counts by how much the logit grows with it on average over the image; the weighted maps
    are added up and negative evidence is cut off (Selvaraju et al., 2017). h × w is the stage's own grid: 5 × 5 for
    a stride of 32 at 160 pixels. Raises ValueError for a stage that makes no maps.
    """
    k = list(dict(model.named_children())).index(stage) + 1
    with evaluating(model):
        with torch.no_grad():
            maps = model[:k](x)
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            raise ValueError(f"stage {stage!r} makes no maps N×C×h×w, so there is nothing to colour")
        with torch.enable_grad():
            maps.requires_grad_()
            logit = model[k:](maps)[:, target].sum()
            (slope,) = torch.autograd.grad(logit, maps)
    return torch.relu((slope.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)).detach()


def randomised(model: nn.Sequential, blank: nn.Sequential, count: int) -> nn.Sequential:
    """Return a copy of `model` whose last `count` stages before the head are those of `blank`, at random weights.

    The test of Adebayo et al. (2018): a map that stays the same when what the network learned is thrown away does not
    show what it learned.
    """
    names = [name for name in stage_names(model) if name != "head"]
    if not 0 <= count <= len(names):
        raise ValueError(f"count={count}: from 0 to the {len(names)} stages before the head")
    other, lost = dict(blank.named_children()), set(names[len(names) - count :])
    parts = [(n, copy.deepcopy(other[n] if n in lost else part)) for n, part in model.named_children()]
    return with_card(nn.Sequential(OrderedDict(parts)).eval(), card(model))
