"""Why a network answers so: Grad-CAM and its control, what moves in training, and which way tasks pull.

A network here is a list, so no hooks are needed: `model[:k]` makes the maps, `model[k:]` reads them. A network's
*answer* to an image is the class it gives the highest logit: whoever keeps old images and old answers can tell without
a single label whether a network is still the one it was.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import evaluating, stage_names
from sftlab.data.folder import photo_crops as photo_crops  # for lessons, beside `answers`
from sftlab.data.storage import keep_memory


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
            (slope,) = torch.autograd.grad(model[k:](maps)[:, target].sum(), maps)
    return torch.relu((slope.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)).detach()


def randomised(model: nn.Sequential, blank: nn.Sequential, count: int) -> nn.Sequential:
    """Return a copy of `model` whose last `count` stages, the head first, are those of `blank`, at random weights."""
    new, other = copy.deepcopy(model).eval(), copy.deepcopy(blank).eval()
    for name in stage_names(model)[-count:]:
        setattr(new, name, other.get_submodule(name))
    return new


def cascade(
    model: nn.Sequential, blanks: Sequence[nn.Sequential], x: Tensor, target: int, stage: str
) -> dict[str, np.ndarray]:
    """Return {stage: blanks × images}: Spearman's rank correlation of each Grad-CAM map with what is left of it.

    The control of Adebayo et al. (2018): from the logits downwards, stage after stage gets random weights, and the map
    is made anew. One that stays the same does not show what the network has learned. blanks: networks like `model`,
    head and all, each from another random start. nan: a map without any evidence has no order.
    """
    from scipy.stats import spearmanr

    def order(a: Tensor, b: Tensor) -> float:
        return spearmanr(a, b).statistic if a.any() and b.any() else np.nan

    found, own = {}, grad_cam(model, x, target, stage).flatten(1)
    for count, name in enumerate(reversed(stage_names(model)), 1):
        others = [grad_cam(randomised(model, blank, count), x, target, stage).flatten(1) for blank in blanks]
        found[name] = np.array([[order(*maps) for maps in zip(own, other, strict=True)] for other in others])
    return found


BATCH = 64


def answers(model: nn.Module, images: Tensor) -> Tensor:
    """Return the answer of `model`, in eval mode, to each of N images: N class numbers."""
    with evaluating(model), torch.no_grad(), keep_memory():
        return torch.cat([model(x).argmax(dim=1) for x in images.split(BATCH)])


@dataclass(frozen=True)
class Drift:
    """What train mode does to a network none of whose parameters learns.

    stages: all with parameters, stem first. steps: after how many batches it was looked at. statistics: for each of
    these {stage: how far the BatchNorm statistics of its median channel have moved, in standard deviations; 0 without
    BatchNorm}. answers: for each of these {stage: share of the answers that are different, if this
    stage is the first that learns and all stages before it are "frozen" by `requires_grad = False` alone}.
    """

    stages: list[str]
    steps: list[int]
    statistics: list[dict[str, float]]
    answers: list[dict[str, float]]


def drift(
    model: nn.Sequential, batches: Iterable[tuple[Any, Any]], images: Tensor, steps: Sequence[int] = (1, 3, 10)
) -> Drift:
    """Run batches through a copy of `model` in train mode and ask it about `images` after some of them.

    One pass serves every cut: what a stage's statistics become depends on the stages before it only. batches: of
    (images, targets); no target is read and no gradient computed. steps: numbers of batches, rising from at least 1.
    """
    looks = [0, *steps]
    if any(b <= a for a, b in pairwise(looks)):
        raise ValueError(f"steps={tuple(steps)}: numbers of batches that rise, from at least 1")
    names, first = stage_names(model), answers(model, images)
    moving, supply = copy.deepcopy(model), iter(batches)
    shifts, changed = [dict.fromkeys(names, 0.0)], [dict.fromkeys(names, 0.0)]
    for done, target in pairwise(looks):
        wanted = list(islice(supply, target - done))
        if missing := target - done - len(wanted):
            raise ValueError(f"the batches ended {missing} before the last step to look at")
        moving.train()
        with torch.no_grad(), keep_memory():
            for x, _ in wanted:
                moving(x)
        shifts.append({name: _shift(model.get_submodule(name), moving.get_submodule(name)) for name in names})
        changed.append(_changed(model, moving, images, first))
    return Drift(names, looks, shifts, changed)


def _changed(model: nn.Sequential, moving: nn.Sequential, images: Tensor, first: Tensor) -> dict[str, float]:
    """For each stage: the share of answers that differ if all stages before it are the moving copy's."""
    names = [name for name, _ in model.named_children()]
    found = dict[str, float]()
    with evaluating(model), evaluating(moving), torch.no_grad(), keep_memory():
        flow = list(images.split(BATCH))
        for i, name in enumerate(names):
            if name in stage_names(model):
                found[name] = float((torch.cat([model[i:](x).argmax(dim=1) for x in flow]) != first).float().mean())
            flow = [moving[i](x) for x in flow]
    return found


def _shift(before: Any, after: Any) -> float:
    """How far the stored normal distribution of the median channel has moved: √(Δμ² + Δσ²) / σ.

    The root is the Wasserstein distance of two normal distributions (Olkin and Pukelsheim, 1982).
    """
    far = [torch.zeros(0)]
    for old, new in zip(before.modules(), after.modules(), strict=True):
        if getattr(old, "running_mean", None) is not None:
            sigma = old.running_var.sqrt()
            far.append(torch.hypot(new.running_mean - old.running_mean, new.running_var.sqrt() - sigma) / sigma)
    every = torch.cat(far)
    every = every[every.isfinite()]  # a dead channel has σ = 0
    return float(every.median()) if len(every) else 0.0
