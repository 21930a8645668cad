"""Which labels deserve a second look: what images say that had no part in the training, against what their label says.

The idea is confident learning (Northcutt, Jiang and Chuang, 2021): a label is in doubt where a model that has never
seen the image is, for its own standards, confident of another class.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from sftlab.core.evaluation import predict_split
from sftlab.core.model import replace_head
from sftlab.core.profiles import linear_probe
from sftlab.core.training import fit
from sftlab.data import Data, Split, first_task


def cross_fitted(
    model: nn.Sequential, data: Data, *, folds: int = 5, epochs: int = 20, lr: float = 1e-3, seed: int = 0
) -> np.ndarray:
    """Return probabilities (n×classes) for every training image, each from a probe that was not trained on it.

    model: a backbone that has not been fine-tuned on these labels, or it would repeat what it has memorised. Each of
    `folds` probes learns on the other folds and answers for its own; the features are computed once. Copies of one
    image are in one fold. Raises ValueError for several tasks, or for a class with fewer different images than folds.
    """
    if folds < 2:
        raise ValueError(f"folds={folds}: at least two, so that each image can be left out once")
    if not isinstance(data.classes, list):
        raise ValueError("these data have several tasks; labels are doubted one task at a time: load one target")
    part = fold_of(data.train, folds, seed)
    p = np.empty((len(data.train), len(data.classes)))
    probe = replace_head(model, data.classes, seed=seed)
    untrained = copy.deepcopy(probe[-1].state_dict())
    for fold in range(folds):
        away, rest = np.flatnonzero(part == fold), np.flatnonzero(part != fold)
        held = data.train.subset(away)
        probe[-1].load_state_dict(untrained)  # all else is frozen, and need not be copied for every fold
        # The held-out fold chooses nothing: a fixed number of epochs, the last weights.
        fit(
            probe, replace(data, train=data.train.subset(rest), valid=held), linear_probe(probe, lr), epochs,
            seed=seed, keep_best=False, verbose=False,
        )  # fmt: skip
        p[away] = predict_split(probe, held)
    return p


def fold_of(split: Split, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each image: classes in proportion, copies of one image together."""
    y, hashes = first_task(split.y).numpy(), np.array(split.hashes)
    fold: dict[str, int] = {}
    rng = np.random.default_rng(seed)
    for k in np.unique(y):
        images = rng.permutation(np.unique(hashes[y == k]))
        if len(images) < folds:
            raise ValueError(f"class {k} has {len(images)} different training images, fewer than {folds} folds")
        for i, image in enumerate(images):
            fold.setdefault(image, i % folds)  # a picture with two labels stays in the fold that it was given first
    return np.array([fold[image] for image in hashes])


def mislabelled(p: Any, y: Any) -> np.ndarray:
    """Return positions of labels in doubt, the most doubtful first.

    p: out-of-sample probabilities, n×classes. y: n class numbers as given. The threshold of a class is the mean
    probability that it gets on images labelled so; an image is *confidently* of the likeliest class that reaches its
    threshold, and in doubt if that is another one than its label. Ordered by p(label) − p(other), the lowest first.
    """
    p, y = np.asarray(p, dtype=float), np.asarray(y)
    if p.ndim != 2 or len(p) != len(y):
        raise ValueError(f"{len(y)} labels and probabilities of shape {p.shape}; expected one row for each label")
    with np.errstate(invalid="ignore"):
        threshold = np.array([p[y == k, k].mean() if (y == k).any() else np.inf for k in range(p.shape[1])])
    confident = np.where(p >= threshold, p, -1.0)
    other = confident.argmax(axis=1)
    doubted = np.flatnonzero((confident.max(axis=1) >= 0) & (other != y))
    margin = p[doubted, y[doubted]] - p[doubted, other[doubted]]
    return doubted[np.argsort(margin, kind="stable")]


def undecided(p: Any) -> np.ndarray:
    """Return all positions, the smallest margin between the two likeliest classes first."""
    two = np.sort(np.asarray(p, dtype=float), axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0], kind="stable")
