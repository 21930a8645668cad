"""Corruptions: what a worse camera, lamp or lens does to an image whose label stays (Hendrycks and Dietterich, 2019).

Each returns a function like an augmentation, (N×C×H×W uint8, generator) → the same shape and dtype, and serves two
ends: `View(split, noise(0.1), seed, 1)` is a split that a worse camera took, `fit(…, augment=noise(0.1))` prepares
for one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from sftlab.data.augment import Augment


def noise(strength: float) -> Augment:
    """Return a corruption that adds normal noise to each pixel; strength: its standard deviation, white is 1."""
    _check("strength", strength, 0, math.inf)

    def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(x.shape, generator=generator, dtype=torch.float32)
        return _uint8(x + 255 * strength * drawn)

    return noisy


def blur(pixels: float) -> Augment:
    """Return a corruption that blurs with a normal kernel of standard deviation `pixels`; edges are repeated."""
    _check("pixels", pixels, 0, math.inf)

    def blurred(x: Tensor, generator: torch.Generator) -> Tensor:
        if not pixels:
            return x
        reach = math.ceil(3 * pixels)
        kernel = torch.exp(-((torch.arange(-reach, reach + 1) / pixels) ** 2) / 2)
        kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
        soft = functional.pad(x.float(), (reach, reach, 0, 0), mode="replicate")
        soft = functional.conv2d(soft, kernel, groups=x.shape[1])
        soft = functional.pad(soft, (0, 0, reach, reach), mode="replicate")
        return _uint8(functional.conv2d(soft, kernel.transpose(-1, -2), groups=x.shape[1]))

    return blurred


def darken(strength: float) -> Augment:
    """Return a corruption that takes the share `strength` of the light away, from 0 to below 1."""
    _check("strength", strength, 0, 1)
    return lambda x, generator: _uint8(x * (1 - strength))


def fade(strength: float) -> Augment:
    """Return a corruption that takes the share `strength` of each image's contrast away, from 0 to below 1."""
    _check("strength", strength, 0, 1)

    def faded(x: Tensor, generator: torch.Generator) -> Tensor:
        mean = x.float().mean(dim=(1, 2, 3), keepdim=True)
        return _uint8(mean + (x - mean) * (1 - strength))

    return faded


def invert(x: Tensor, generator: torch.Generator) -> Tensor:
    """Turn black into white: a corruption without strength."""
    return 255 - x


def _uint8(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value < high:  # which refuses nan and infinity, too
        upper = f" to below {high:g}" if math.isfinite(high) else " upwards"
        raise ValueError(f"{name}={value}: a number from {low:g}{upper}; {low:g} changes nothing")
