"""What labels buy in a learning curve, and which labels deserve a second look.

A learning curve is accuracy against labels a class (Cortes et al., 1994). Between two curves there is a vertical gap,
in points, and a horizontal one, in labels; the second is what a pretrained network is worth. A label deserves a second
look where a model that has never seen the image is, for its own standards, confident of another class: confident
learning (Northcutt, Jiang and Chuang, 2021).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from sftlab.core.evaluation import predict_split
from sftlab.core.model import replace_head
from sftlab.core.profiles import linear_probe
from sftlab.core.records import Interval
from sftlab.core.statistics import jackknife
from sftlab.core.training import fit
from sftlab.data import Data, Split, first_task
from sftlab.data.dataset import first_names

Runs = Mapping[int, Sequence[float]]  # {labels a class: accuracies, one a run}; run i is the same run at every n


def draw(split: Split, n: int, seed: int) -> Split:
    """Return n images of each class, drawn at random; the draw of n + 1 with the same seed contains that of n.

    Raises ValueError if n is below 1 or some class has fewer images.
    """
    y, rng = first_task(split.y).numpy(), np.random.default_rng(seed)
    if n < 1:
        raise ValueError(f"n={n}: at least one label a class")
    chosen = []
    names = first_names(split.classes)
    for k in np.unique(y[y >= 0]):
        rows = rng.permutation(np.flatnonzero(y == k))
        if len(rows) < n:
            raise ValueError(f"n={n}: class {names[k]} has {len(rows)} images in {split.name}")
        chosen.append(rows[:n])
    return split.subset(np.concatenate(chosen))


def needed(labels: Sequence[float], accuracy: Any, target: float) -> float:
    """Return how many labels a class a curve needs to reach `target`: inf if it does not get there.

    labels: K numbers, rising. accuracy: K numbers. A dip counts as no
    progress (the running maximum is taken); between two points the curve is a straight line over the logarithm of the
    labels. What the first point reaches already needs no more than labels[0], which is returned.

    >>> round(needed([1, 10, 100], [0.5, 0.7, 0.9], 0.8), 1)
    31.6
    """
    best = np.maximum.accumulate(accuracy)
    k = int(np.searchsorted(best, target))  # the first point that reaches it
    if k in (0, len(best)):
        return math.inf if k else float(labels[0])
    return float(np.exp(np.interp(target, best[k - 1 : k + 1], np.log(labels[k - 1 : k + 1]))))


def reached(labels: Sequence[float], accuracy: Any, n: float) -> float:
    """Return the accuracy of a curve at n labels a class, on the same straight lines as `needed`."""
    return float(np.interp(math.log(n), np.log(labels), np.maximum.accumulate(accuracy)))


def worth(method: Runs, baseline: Runs, n: float) -> Interval:
    """Return how many labels a class the baseline needs to be as good as the method is with n, on average over runs.

    The interval leaves out each run in turn, on a logarithmic scale of labels, and both curves at once: method and
    baseline met the same draws of labels. inf: more than were tried. Raises ValueError if the two do not have the same
    runs.
    """
    (ns, a), (ms, b) = _table(method), _table(baseline)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} runs of the method, {len(b)} of the baseline: pairs need the same ones")
    chosen = [np.ones(len(a), dtype=bool), *~np.eye(len(a), dtype=bool)]  # all runs, then all but one
    means = [(a[rows].mean(axis=0), b[rows].mean(axis=0)) for rows in chosen]
    value, *deleted = [needed(ms, other, reached(ns, own, n)) for own, other in means]
    found = jackknife(np.log(min(value, ms[-1])), np.log(np.minimum(deleted, ms[-1])), unit="runs")
    low, high = (float(np.exp(end)) for end in (found.low, found.high))
    beyond = high > ms[-1] * (1 + 1e-9) or math.inf in (value, *deleted)
    return replace(found, value=float(value), low=max(low, ms[0]), high=math.inf if beyond else high)


def _table(runs: Runs) -> tuple[list[int], np.ndarray]:
    """Return the labels a class, rising, and runs × labels."""
    ns = sorted(runs)
    lengths = {len(runs[n]) for n in ns}
    if len(lengths) != 1:
        raise ValueError(f"{' or '.join(map(str, sorted(lengths)))} runs, by the number of labels; give the same ones")
    return ns, np.array([list(runs[n]) for n in ns], dtype=float).T


def cross_val_proba(
    model: nn.Sequential, data: Data, *, folds: int = 5, epochs: int = 20, lr: float = 1e-3, seed: int = 0
) -> np.ndarray:
    """Return probabilities (n×classes) for every training image, each from a probe that was not trained on it.

    model: a backbone that has not been fine-tuned on these labels, or it would repeat what it has memorised. Each of
    `folds` probes learns on the other folds and answers for its own; the features are computed once. Copies of one
    image are in one fold. There are fewer folds where a class has fewer different images. Raises ValueError for several
    tasks, or as `fold_of`.
    """
    if not isinstance(data.classes, list):
        raise ValueError("these data have several tasks; labels are doubted one task at a time: load one target")
    part = fold_of(data.train, folds, seed)
    p = np.empty((len(data.train), len(data.classes)))
    probe = replace_head(model, data.classes, seed=seed)
    untrained = copy.deepcopy(probe[-1].state_dict())
    for fold in np.unique(part):
        away, rest = np.flatnonzero(part == fold), np.flatnonzero(part != fold)
        held = data.train.subset(away)
        probe[-1].load_state_dict(untrained)  # all else is frozen, and need not be copied for every fold
        # The held-out fold chooses nothing: a fixed number of epochs, the last weights.
        fit(
            probe,
            replace(data, train=data.train.subset(rest), valid=held),
            linear_probe(probe, lr),
            epochs,
            seed=seed,
            keep_best=False,
            verbose=False,
        )
        p[away] = predict_split(probe, held)
    return p


def fold_of(split: Split, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each image, classes in proportion, copies of one image together: at most `folds` of them.

    Every class is in every fold, so there are no more than a class has different images. Raises ValueError for a class
    that has one only, or for folds below 2.
    """
    y, hashes, names = first_task(split.y).numpy(), np.array(split.hashes), first_names(split.classes)
    images = {names[k]: np.unique(hashes[y == k]) for k in np.unique(y)}
    if folds < 2:
        raise ValueError(f"folds={folds}: at least two, so that each image can be left out once")
    if single := [name for name, different in images.items() if len(different) < 2]:
        raise ValueError(f"only one different training image of {', '.join(single[:5])}: no other can judge its label")
    folds = min(folds, *map(len, images.values()))
    fold: dict[str, int] = {}
    rng = np.random.default_rng(seed)
    for different in images.values():
        for i, image in enumerate(rng.permutation(different)):
            fold.setdefault(image, i % folds)  # a picture with two labels stays in the fold that it was given first
    return np.array([fold[image] for image in hashes])


def find_label_issues(p: Any, y: Any) -> np.ndarray:
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
