"""Lesson 01, Select: the checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import sem
from torch import Tensor

from sftlab.lessons.checks import Wrong, apart, check, expect
from sftlab.networks import backbone


@check
def work_of_size(ratio: float) -> str:
    """Check how many times the work of pictures of 160 pixels those of 300 are."""
    mistakes = {
        1.88: "So many times longer is the edge. The work is done for each pixel of a map, and a map has two edges.",
        1: "That is the ratio of the parameters, which do not depend on the picture. Asked is the ratio of the work.",
        0.729: "That is the work at 300 pixels, in billions of MACs. Divide it by the work at 160.",
    }
    expect(ratio, 3.7, 0.1, mistakes)
    return "3.7 times the work with the same parameters: the maps have 3.5 times the pixels, and some are rounded up."


@check
def one_standard_error(choose: Callable[[Any, Any], int]) -> str:
    """Check which network a rule takes, on ten tables of five networks of which four are nearly equal."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scores, work = rng.normal(0.8, 0.05, (5, 16)), rng.permutation(5)
        scores[work.argmin()] -= 0.2  # the one with the least work is never good enough
        means = scores.mean(axis=1)
        best = means.argmax()
        errors = sem(scores[best]), scores[best].std()
        right, wide = (np.where(means >= means[best] - error, work, 5).argmin() for error in errors)
        mistakes = {
            wide: "It lets too many pass: a standard error is the spread divided by √16, the root of the blocks.",
            best: "It takes the most accurate one, although one with less work was within a standard error.",
        }
        expect(choose(scores, work), right, 0, mistakes, "For one table it takes network {}; the rule another one.")
    return "On ten tables it takes what the rule takes, whatever the numbers are."


@check
def prepares(prepare: Callable[[Any], Tensor]) -> str:
    """Check what three random photographs, neither black nor white anywhere, are before they enter the network."""
    stage: Any = backbone("efficientnet_lite0").input
    for seed in range(3):
        photo = np.random.default_rng(seed).integers(9, 200, (32, 48, 3), dtype=np.uint8)
        bgr, x = torch.tensor(photo).permute(2, 0, 1)[None], prepare(photo)
        right = stage(bgr.flip(1))
        if x.shape != right.shape:
            raise Wrong(f"The network expects the shape {tuple(right.shape)}, not {tuple(x.shape)}.")
        order = "The values are scaled as they should be, but a colour is not where the network expects it."
        scale = f"The values lie between {x.min():.2f} and {x.max():.2f}, not as these weights were trained."
        expect(apart(x, right), 0, 1e-4, {apart(stage(bgr), right): order}, scale)
    return "The photograph enters the network as in its training, to the last pixel."
