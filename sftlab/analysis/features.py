"""Which features suit a task: measured by a probe on held-out groups, and guessed without one by LogME.

`tapped` delivers the features of every stage in one pass; the other two read features (n × D) and class numbers,
whatever network they came from.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from torch import Tensor, nn

from sftlab.core.features import features
from sftlab.core.model import named_stages
from sftlab.data import Split

PRIOR_VARIANCE = 3.0  # of a probe's logit, before it has seen a label; the same for every width
NARROW = 512  # features; below, Newton's method is the faster way to a probe's optimum
STEPS = 200  # of LogME's fixed point, at most


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
    found = features(nn.Sequential(OrderedDict(input=model[0], taps=taps)), split)
    values, _ = found.take(np.arange(len(split)))
    return {name: value.numpy() for name, value in zip(taps.known, values, strict=True)}


def probed(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return for each image whether a probe that never saw its group calls it right: n booleans.

    Grouped cross-validation: five times, a logistic regression learns from all other folds. Features are
    standardised on what it learns from. Weights w ~ N(0, C) of D such features give the logit the prior
    variance C·D; C = 3/D makes the brake equally strong for 16 features and for 1280.
    features: n × D. targets: n class numbers. groups: n labels; images of one group stay together.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.asarray(features, dtype=np.float32), np.asarray(targets)
    solver = "newton-cholesky" if x.shape[1] < NARROW else "newton-cg"  # the same optimum; which is faster differs
    classifier = LogisticRegression(C=PRIOR_VARIANCE / x.shape[1], solver=solver, tol=1e-6, max_iter=1000)
    probe = make_pipeline(StandardScaler(), classifier)
    return cross_val_predict(probe, x, y, groups=groups, cv=GroupKFold(5)) == y


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
    s = s[s > s[0] * max(f.shape) * np.finfo(float).eps]
    return float(np.mean([_evidence(u[:, : len(s)], s, (y == k).astype(float)) for k in classes])) / len(y)


def _evidence(u: np.ndarray, s: np.ndarray, y: np.ndarray) -> float:
    """Return the largest log evidence of y. u, s: F's left singular vectors and singular values.

    With A = α + βFᵀF and its posterior mean m = βA⁻¹Fᵀy, MacKay's (1992) fixed point is α = γ/mᵀm and
    β = (n − γ)/‖Fm − y‖²; γ = Σ βsᵢ²/(α + βsᵢ²) counts the weights that the labels determine.
    """
    n, z = len(y), u.T @ y
    outside = max(float(y @ y - z @ z), 0.0)  # the part of y that no weights can reach
    alpha = beta = 1.0
    evidence = -np.inf
    for _ in range(STEPS):
        a = alpha + beta * s**2
        weights = float(((beta * s * z / a) ** 2).sum())  # mᵀm
        error = float(((alpha * z / a) ** 2).sum()) + outside  # ‖Fm − y‖²
        before, evidence = (
            evidence,
            0.5 * (n * np.log(beta / (2 * np.pi)) - beta * error - alpha * weights + np.log(alpha / a).sum()),
        )
        if abs(evidence - before) < 1e-9 * n:
            break
        gamma = float((beta * s**2 / a).sum())
        alpha, beta = gamma / max(weights, 1e-300), (n - gamma) / max(error, 1e-300)
    return float(evidence)
