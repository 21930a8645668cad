"""SGD and AdamW by hand, for weights of many runs stacked in one tensor: each run has its own rate.

torch's own take one rate a group; these take a tensor of rates that is broadcast over the stack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class SGD:
    """Momentum as torch has it: v ← μ v + g + λ w, w ← w − η v (Polyak, 1964)."""

    momentum = 0.9

    def __init__(self, layers: Sequence[Tensor], rates: Tensor, weight_decay: float) -> None:
        self.layers, self.rates = layers, rates
        self.decays = [weight_decay if i % 2 == 0 else 0.0 for i in range(len(layers))]  # biases are not decayed
        self.velocity = [torch.zeros_like(w) for w in layers]

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Move the layers by one step; factor: what the schedule says of every rate."""
        for w, g, v, decay in zip(self.layers, gradients, self.velocity, self.decays, strict=True):
            v.mul_(self.momentum).add_(g).add_(w, alpha=decay)
            w.addcmul_(self.rates * factor, v, value=-1)


class AdamW:
    """Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019), torch's defaults."""

    betas, eps = (0.9, 0.999), 1e-8

    def __init__(self, layers: Sequence[Tensor], rates: Tensor, weight_decay: float) -> None:
        self.layers, self.rates, self.steps = layers, rates, 0
        self.decays = [weight_decay if i % 2 == 0 else 0.0 for i in range(len(layers))]  # biases are not decayed
        self.mean, self.square = ([torch.zeros_like(w) for w in layers] for _ in range(2))

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Move the layers by one step; factor: what the schedule says of every rate."""
        self.steps += 1
        (b1, b2), rates = self.betas, self.rates * factor
        scale = rates / (1 - b1**self.steps)
        for w, g, m, v, decay in zip(self.layers, gradients, self.mean, self.square, self.decays, strict=True):
            w.mul_(1 - rates * decay)
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            size = v.sqrt().div_(math.sqrt(1 - b2**self.steps)).add_(self.eps)
            w.sub_(m.mul(scale).div_(size))


OPTIMIZERS: dict[str, Any] = {"adamw": AdamW, "sgd": SGD}
