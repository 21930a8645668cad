"""Augmented views with an address: the same picture each time it is asked for, so that its features can be kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sftlab.data.augment import Augment, behaviour
from sftlab.data.core import Split, Targets, batch_positions, generator


@dataclass(frozen=True, eq=False)
class View:
    """One augmented view of every image of a split; it delivers as the split does.

    What an image becomes depends on (seed, number, its pixels) alone, not on its place in a batch or a split.
    """

    split: Split
    augment: Augment
    seed: int
    number: int

    def __len__(self) -> int:
        return len(self.split)

    @property
    def noun(self) -> str:
        """What one row is, in the plural."""
        return self.split.noun

    @property
    def size(self) -> int:
        """Edge of the images in pixels."""
        return self.split.size

    @cached_property
    def hashes(self) -> list[str]:
        """One hash an image, over its pixels, what the augmentation does, and which view this is."""
        does = behaviour(self.augment, self.split.images.shape[1], self.size)
        address = hashlib.sha256(f"{does} {self.size} {self.seed} {self.number}".encode()).hexdigest()[:16]
        return [f"{image}+{address}" for image in self.split.hashes]

    def inputs(self, positions: np.ndarray) -> Tensor:
        """Return the pixels, as a split does."""
        return self.pixels(positions)

    def pixels(self, positions: np.ndarray) -> Tensor:
        """Return augmented uint8 N×C×size×size."""
        x, hashes = self.split.pixels(positions), self.split.hashes
        draws = (generator(self.seed, self.number, int(hashes[p][:15], 16)) for p in positions)
        return torch.cat([self.augment(x[i : i + 1], draw) for i, draw in enumerate(draws)])

    def labels(self, positions: np.ndarray) -> Targets:
        """Return the targets at `positions`."""
        return self.split.labels(positions)

    def batches(
        self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Tensor, Targets]]:
        """Iterate over (augmented images, targets) in the order in which the split would deliver its images."""
        for positions in batch_positions(len(self), batch_size, seed=seed, epoch=epoch):
            yield self.pixels(positions), self.labels(positions)
