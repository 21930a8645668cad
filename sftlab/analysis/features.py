"""Which features suit a task: `tapped` delivers those of every stage in one pass, `logme` guesses how good they are."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from torch import Tensor, nn

from sftlab.core.features import features
from sftlab.core.model import named_stages
from sftlab.data import Split


class Taps(nn.Module):
    """Run stages in order and return what each one with parameters says, averaged over the image: a tuple of N×C."""

    def __init__(self, stages: nn.Sequential) -> None:
        super().__init__()
        self.stages, self.known = stages, [name for name, _ in named_stages(stages)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return N×C for every stage with parameters, stem first."""
        out = []
        for name, stage in self.stages.named_children():
            x = stage(x)
            if name in self.known:
                out.append(x.mean(dim=(2, 3)) if x.ndim == 4 else x)
        return tuple(out)


def tapped(model: nn.Sequential, split: Split) -> dict[str, np.ndarray]:
    """Return the features of every stage of a convolutional network, in one pass: {stage: n × channels}.

    A stage's output is averaged over the image. The features are kept in the store, like those of any prefix.
    """
    taps = Taps(model[1:-1])
    values, _ = features(nn.Sequential(OrderedDict(input=model[0], taps=taps)), split).take(np.arange(len(split)))
    return {name: value.numpy() for name, value in zip(taps.known, values, strict=True)}


def logme(features: np.ndarray, targets: np.ndarray) -> float:
    """Return LogME (You et al., 2021): how well a linear map explains the labels, in nats per image and class.

    For each class, y (n zeros and ones) = Fw + noise with w ~ N(0, 1/α) and noise ~ N(0, 1/β). The score is
    the logarithm of the evidence p(y | F, α, β) at the α and β that make it largest, divided by n, averaged over
    classes. Nothing is trained and nothing is held out: the evidence itself charges for unused width.
    features: F, n × D. targets: n class numbers. Raises ValueError if there is only one class.
    """
    f, y = np.asarray(features, dtype=np.float64), np.asarray(targets)
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError("LogME compares classes, and all these images are of one")
    u, s, _ = np.linalg.svd(f, full_matrices=False)
    kept = s > s[0] * max(f.shape) * np.finfo(float).eps
    return float(np.mean([_evidence(u[:, kept], s[kept] / s[0], (y == k).astype(float)) for k in classes]))


def _evidence(u: np.ndarray, s: np.ndarray, y: np.ndarray) -> float:
    """Return the largest log evidence of y, per image. u, s: F's left singular vectors, and relative singular values.

    y is Gaussian with covariance FFᵀ/α + I/β: along uᵢ its variance is (1 + r·sᵢ²)/β, with r = β/α, and 1/β in what no
    weights can reach. The best 1/β follows from r, so r alone is searched, on a logarithmic scale.
    """
    from scipy.optimize import minimize_scalar

    z = u.T @ y
    outside = max(float(y @ y - z @ z), 0.0)

    def loss(log_r: float) -> float:
        spread = 1 + np.exp(log_r) * s**2
        noise = ((z**2 / spread).sum() + outside) / len(y)
        return 0.5 * (np.log(2 * np.pi * noise) + 1 + np.log(spread).sum() / len(y))

    return -minimize_scalar(loss, bounds=(-30, 30), method="bounded").fun
