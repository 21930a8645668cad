"""Augmentation works on uint8 batches and changes only what keeps the label.

An augmentation is a function (N×C×H×W uint8, generator) → the same shape and dtype. It reaches train alone:
only `Split.batches(augment=…)` calls it, and `fit` passes it for the training split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Augment = Callable[[Tensor, torch.Generator], Tensor]


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


def brightness(strength: float) -> Augment:
    """Return an augmentation that scales each image's brightness by 1 − strength to 1 + strength."""

    def scaled(x: Tensor, generator: torch.Generator) -> Tensor:
        factor = 1 + strength * (2 * torch.rand(len(x), 1, 1, 1, generator=generator) - 1)
        return (x.float() * factor).round().clamp(0, 255).to(x.dtype)

    return scaled


def rotate(degrees: float) -> Augment:
    """Return an augmentation that turns each image by an angle between ∓ `degrees`; corners repeat the edge."""

    def rotated(x: Tensor, generator: torch.Generator) -> Tensor:
        angle = math.radians(degrees) * (2 * torch.rand(len(x), generator=generator) - 1)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(x))
        return _sampled(x, torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3))

    return rotated


def zoom(strength: float) -> Augment:
    """Return an augmentation that keeps a square of each image, 1 − strength of its area, anywhere, enlarged again.

    Raises ValueError for a strength outside 0 ≤ strength < 1.
    """
    if not 0 <= strength < 1:
        raise ValueError(f"strength={strength}: a share of the area, from 0 (nothing is cut off) to below 1")
    edge = math.sqrt(1 - strength)  # of the square, where the image's is 1

    def zoomed(x: Tensor, generator: torch.Generator) -> Tensor:
        right, down = (1 - edge) * (2 * torch.rand(2, len(x), generator=generator) - 1)
        one, zero = torch.full((len(x),), edge), torch.zeros(len(x))
        return _sampled(x, torch.stack([one, zero, right, zero, one, down], dim=1).view(-1, 2, 3))

    return zoomed


def _sampled(x: Tensor, maps: Tensor) -> Tensor:
    """Return uint8 images seen through one affine map each, N×2×3 in coordinates from −1 to 1."""
    grid = functional.affine_grid(maps.to(x.device), list(x.shape), align_corners=False)
    seen = functional.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
    return seen.round().clamp(0, 255).to(x.dtype)


def chain(*augments: Augment) -> Augment:
    """Return one augmentation that applies several in order."""

    def chained(x: Tensor, generator: torch.Generator) -> Tensor:
        for augment in augments:
            x = augment(x, generator)
        return x

    return chained


def behaviour(augment: Augment, channels: int, size: int) -> str:
    """Return a hash of what an augmentation does to eight images of noise: its address, whatever it is made of.

    Names and source code would miss a changed helper or a changed number; the pixels that come out miss neither.
    """
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (8, channels, size, size), generator=draw, dtype=torch.uint8)
    return hashlib.sha256(augment(x, draw).contiguous().numpy().tobytes()).hexdigest()
