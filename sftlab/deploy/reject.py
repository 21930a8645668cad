"""The reject option: when to answer "neither". Limits chosen on validation images, kept with the model.

There are two reasons, and they catch different pictures. The largest probability is low: the picture lies between the
classes. Its features are far from those of every training image: it is a stranger. A probability alone cannot say
that, because a linear head is surest far away from its border, and so may be surer of a tree than of any solar cell
(Hein et al., 2019); the distance to the nearest training images can (Sun et al., 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sftlab.core.evaluation import predict_split
from sftlab.core.features import sources
from sftlab.core.loop import on_device
from sftlab.core.model import evaluating
from sftlab.data import Data, Split, first_task

NEAREST = 5  # training images that a picture is compared with
MOST = 1000  # training images kept with the model: 2.5 MB at 1,280 features
BATCH = 64


@dataclass(frozen=True, eq=False)
class RejectOption:
    """Limits beyond which the answer is "neither".

    probability: the least that the likeliest class must have. distance: the largest mean cosine distance to the five
    nearest of `known` (K×D unit rows of float16: features of training images). kept: the share of the right answers to
    `images` validation images that were right which passes both limits.
    """

    probability: float = 0.0
    distance: float = math.inf
    known: Tensor | None = None
    kept: float = 1.0
    images: int = 0

    def reason(self, p: float, distance: float | None) -> str:
        """Say why an answer of probability `p` at `distance` is refused; '' if it is not."""
        if distance is not None and distance > self.distance:
            return f"unlike every training image (distance {distance:.3f}, limit {self.distance:.3f})"
        if p < self.probability:
            return f"undecided (probability {p:.3f}, limit {self.probability:.3f})"
        return ""

    def __str__(self) -> str:
        far = f" or a distance above {self.distance:.3f}" if math.isfinite(self.distance) else ""
        return f"“neither” at a probability below {self.probability:.3f}{far}"

    def facts(self) -> dict[str, Any]:
        """Return the numbers, for a card."""
        return {name: value for name, value in vars(self).items() if name != "known"}

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None, known: Tensor | None = None) -> RejectOption | None:
        """Rebuild what `facts` told, from JSON, which has no infinity; the features come from elsewhere."""
        if facts is None:
            return None
        return cls(**{"distance": math.inf, **{k: v for k, v in facts.items() if v is not None}}, known=known)


def distances(features: Tensor, known: Tensor) -> Tensor:
    """Return the mean cosine distance of each row of features (N×D) to the nearest rows of `known` (K×D, unit)."""
    alike = F.normalize(features, dim=1) @ known.T
    return 1 - alike.topk(NEAREST, dim=1).values.mean(dim=1)


def choose_reject_option(model: nn.Sequential, data: Data, keep: float = 0.95) -> RejectOption:
    """Choose limits that keep at least the share `keep` of the right answers to the validation images.

    Each of the two limits may cost half of what is allowed. The features of up to 1,000 training images are kept with
    them. Raises ValueError for a share outside (0, 1), several heads, or too few images.
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep={keep}: a share of the right answers between 0 and 1, such as 0.95")
    if not isinstance(data.classes, list):
        raise ValueError("these data have several tasks; a reject option is chosen for one: load one target")
    if len(data.train) < NEAREST:
        raise ValueError(f"{len(data.train)} training images; distances need at least {NEAREST}")
    features, truth = _features(model, data.valid), first_task(data.valid.y)
    confidence, answer = torch.from_numpy(predict_split(model, data.valid)).max(dim=1)
    right = answer == truth
    if not right.any():
        raise ValueError("no validation image is answered rightly, so there is no answer worth keeping")
    chosen = np.random.default_rng(0).permutation(len(data.train))[:MOST]
    known = F.normalize(_features(model, data.train.subset(np.sort(chosen))), dim=1).half()
    confidence, far = confidence[right], distances(features[right], known.float()).double()
    cost = (1 - keep) / 2
    least = confidence.quantile(cost, interpolation="lower").item()
    most = far.quantile(1 - cost, interpolation="higher").item()
    kept = ((confidence >= least) & (far <= most)).double().mean().item()
    return RejectOption(least, most, known, kept, len(far))


def _features(model: nn.Sequential, split: Split) -> Tensor:
    """Return what the head reads, N×D; the frozen prefix comes from the store."""
    (source,), cut = sources(model, [split])
    with evaluating(model), torch.no_grad():
        return torch.cat([model[cut:-1](x).cpu() for x, _ in on_device(model, source.batches(BATCH))])
