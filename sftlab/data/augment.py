"""Augmentations, corruptions, and views: functions (N×C×H×W uint8, generator) → the same shape and dtype.

An augmentation changes only what keeps the label. It reaches train alone: only `Split.batches(augment=…)` calls it,
and `fit` passes it for the training split. A corruption (Hendrycks and Dietterich, 2019) is what a worse camera, lamp
or lens does; `View(split, noise(0.1), seed, 1)` is a split that a worse camera took, `fit(…, augment=noise(0.1))`
prepares for one. A `View` has an address, so that its features can be kept.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sftlab.data.dataset import Augment, Split, augmented, generator


def flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left-right with probability ½."""
    chosen = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], x.flip(-1), x)


def turn(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror and turn each image into one of its eight symmetric views (square images without up or down)."""
    x = flip(x, generator)
    quarter = torch.randint(4, (len(x),), generator=generator)
    return torch.stack([torch.rot90(image, int(k), (-2, -1)) for image, k in zip(x, quarter, strict=True)])


def shift(pixels: int) -> Augment:
    """Return an augmentation that moves each image by up to `pixels` in both directions, edges repeated."""

    def moved(x: Tensor, generator: torch.Generator) -> Tensor:
        padded = functional.pad(x.float(), (pixels,) * 4, mode="replicate").to(x.dtype)
        h, w = x.shape[-2:]
        offsets = torch.randint(2 * pixels + 1, (len(x), 2), generator=generator).tolist()
        corners = zip(padded, offsets, strict=True)
        return torch.stack([image[:, i : i + h, j : j + w] for image, (i, j) in corners])

    return moved


def rotate(degrees: float) -> Augment:
    """Return an augmentation that turns each image by an angle between ∓ `degrees`; corners repeat the edge."""

    def rotated(x: Tensor, generator: torch.Generator) -> Tensor:
        angle = math.radians(degrees) * (2 * torch.rand(len(x), generator=generator) - 1)
        cos, sin, still = angle.cos(), angle.sin(), torch.zeros(len(x))
        maps = torch.stack([cos, -sin, still, sin, cos, still], dim=1).view(-1, 2, 3)
        grid = functional.affine_grid(maps.to(x.device), list(x.shape), align_corners=False)
        return _uint8(functional.grid_sample(x.float(), grid, padding_mode="border", align_corners=False))

    return rotated


def behaviour(augment: Augment, channels: int, size: int) -> str:
    """Return a hash of what an augmentation does to eight images of noise: its address, whatever it is made of.

    Names and source code would miss a changed helper or a changed number; the pixels that come out miss neither.
    """
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (8, channels, size, size), generator=draw, dtype=torch.uint8)
    return hashlib.sha256(augmented(x, augment, draw).numpy().tobytes()).hexdigest()


class View(Split):
    """One augmented view of every image of a split; it delivers as the split does.

    What an image becomes depends on (seed, number, its pixels) alone, not on its place in a batch or a split.
    """

    def __init__(self, split: Split, augment: Augment, seed: int, number: int) -> None:
        super().__init__(**vars(split))
        self.split = split
        self.augment = augment
        self.seed = seed
        self.number = number

    @cached_property
    def hashes(self) -> list[str]:
        """One hash an image, over its pixels, what the augmentation does, and which view this is."""
        does = behaviour(self.augment, self.images.shape[1], self.size)
        address = hashlib.sha256(f"{does} {self.size} {self.seed} {self.number}".encode()).hexdigest()[:16]
        return [f"{image}+{address}" for image in self.split.hashes]

    def pixels(self, positions: np.ndarray) -> Tensor:
        """Return augmented uint8 N×C×size×size."""
        x, hashes = self.split.pixels(positions), self.split.hashes
        draws = (generator(self.seed, self.number, int(hashes[p][:15], 16)) for p in positions)
        return torch.cat([augmented(x[i : i + 1], self.augment, draw) for i, draw in enumerate(draws)])


def noise(strength: float) -> Augment:
    """Return a corruption that adds normal noise to each pixel; strength: its standard deviation, white is 1."""
    _check("strength", strength)

    def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
        return _uint8(x + 255 * strength * torch.randn(x.shape, generator=generator))

    return noisy


def blur(pixels: float) -> Augment:
    """Return a corruption that blurs with a normal kernel of standard deviation `pixels`; edges are repeated."""
    _check("pixels", pixels)

    def blurred(x: Tensor, generator: torch.Generator) -> Tensor:
        from scipy.ndimage import gaussian_filter

        reach = math.ceil(3 * pixels)
        soft = gaussian_filter(x.numpy(), pixels, output=np.float32, mode="nearest", radius=reach, axes=(2, 3))
        return _uint8(torch.from_numpy(soft))

    return blurred


def darken(strength: float) -> Augment:
    """Return a corruption that takes the share `strength` of the light away, from 0 to below 1."""
    _check("strength", strength, 1)
    return lambda x, generator: _uint8(x * (1 - strength))


def fade(strength: float) -> Augment:
    """Return a corruption that takes the share `strength` of each image's contrast away, from 0 to below 1."""
    _check("strength", strength, 1)

    def faded(x: Tensor, generator: torch.Generator) -> Tensor:
        mean = x.float().mean(dim=(1, 2, 3), keepdim=True)
        return _uint8(mean + (x - mean) * (1 - strength))

    return faded


def _uint8(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def _check(name: str, value: float, end: float = math.inf) -> None:
    if not 0 <= value < end:  # which refuses nan and infinity, too
        upper = f" to below {end:g}" if math.isfinite(end) else " upwards"
        raise ValueError(f"{name}={value}: a number from 0{upper}; 0 changes nothing")
