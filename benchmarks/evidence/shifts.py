"""What the scripts on distribution shift share: images that come otherwise, and statistics that follow them."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import sftlab as sft
from sftlab.core.loop import validate
from sftlab.data import Augment, Data, Split, View

STATISTICS = ("frozen", "moving")


def spoilt(split: Split, corruption: Augment, seed: int) -> Split:
    """Return a split that a worse camera took: `View(split, corruption, seed, 1)`, its pixels made once."""
    view = View(split, corruption, seed, 1)
    every = np.arange(len(split))
    pixels = view.pixels(every).numpy()
    return replace(split, images=pixels, targets=split.y, index=every, image_hashes=view.hashes, files=())


def printed_digits(characters: Split, classes: list[str]) -> Split:
    """Return the digits among printed characters, numbered as `classes` are."""
    number = torch.tensor([classes.index(name) if name in classes else -1 for name in characters.classes])
    rows = np.flatnonzero(number[characters.y] >= 0)
    return replace(characters.subset(rows), targets=number[characters.targets], classes=classes)


def accuracy(net: Any, split: Split) -> float:
    """Return the share of right answers."""
    return validate(net, split.batches(512), sft.cross_entropy)[1]


def take_statistics(net: Any, split: Split) -> None:
    """Give every BatchNorm the statistics of these images, all in one batch; no weight moves and no label is read."""
    norms = [m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # nothing of what was before
    net.train()
    with torch.no_grad():
        net(split.inputs(np.arange(len(split))))
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum


def fit(net: Any, data: Data, profile: dict[str, float], epochs: int, size: int, seed: int, **settings: Any) -> None:
    """Train `net` in place on a few images, repeated until an epoch has `size`; the last epoch counts."""
    again = data.train.subset(np.resize(np.arange(len(data.train)), size))
    data = replace(data, train=again, valid=data.train.subset(range(8)))  # the loop looks after every epoch, we once
    how = {"schedule": sft.cosine(), "keep_best": False, "verbose": False, "cached": False, "seed": seed}
    sft.fit(net, data, profile, epochs, **how | settings)
