"""Lesson 07, Overfit: the checks of its exercises."""

from __future__ import annotations

from typing import Any

import torch

from sftlab.lessons.checks import Wrong, check, expect


@check
def half_wrong(new: float) -> str:
    """Check how many percent of new images are read when half of the labels are drawn at random."""
    # 45.6 to 48.0 over four times five networks
    mistakes = {
        100.0: "That is what it knows of its own list. Asked are the images that it has not seen.",
        89: "That is read with all labels right; the share in the cell has to change.",
        9: "That is what is left when all labels are drawn at random; asked is half of them.",
    }
    expect(new, 47, 5, mistakes)
    return f"Both lists are known to 100 %. Of new images {new:.0f} % are read instead of 89 %: only they tell."


@check
def mixes_both(mixup: Any) -> str:
    """Check a mixture of images and labels, eight of each, for three shares."""
    for seed in range(3):
        torch.manual_seed(seed)
        x, hot, order, share = torch.rand(8, 1, 4, 4), torch.eye(8), torch.randperm(8), 0.6 + seed / 10
        for name, mixed, whole in zip(("images", "labels"), mixup(x, hot, share, order), (x, hot), strict=True):
            if torch.equal(mixed, whole):
                raise Wrong(f"The {name} are not mixed, so most pictures get a label that is not theirs.")
            if not torch.allclose(mixed, torch.lerp(whole[order], whole, share)):
                raise Wrong(f"The {name} are not the right mixture: `share` of each itself, the rest of its partner.")
    return "Images and labels have the same shares of the same partners, for three shares."


@check
def leaves_valid_alone(split: Any) -> str:
    """Check a split whose training images are changed (here by + 100), for three generators and the first once more."""
    dealt = set()
    for seed in (0, 1, 2, 0):
        parts = split(torch.arange(40.0), lambda image: image + 100, torch.Generator().manual_seed(seed))
        train, valid = ({float(image) for image in part} for part in parts)
        if max(valid) > 99:
            raise Wrong("The augmentation reaches the validation images.")
        if min(train) < 99:
            raise Wrong("Training images are not augmented any more. Do both parts look into the same `Photos`?")
        if {image - 100 for image in train} & valid:
            raise Wrong("Some images are in both parts. Were the rows drawn twice?")
        dealt.add(frozenset(valid))
    if len(dealt) != 3:
        raise Wrong(
            "The same generator shall deal the same images, and another one others. Is the order drawn from it?"
        )
    return "Training images are augmented, validation images are as they were, and no image is in both parts."
