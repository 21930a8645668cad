"""Probabilities become metrics with intervals: `evaluate`, the only function that reads a test split.

Intervals: Wilson (1927) for a proportion (accuracy, precision, recall), the percentile bootstrap (Efron, 1979) over
images otherwise. A metric is one function, of the images as they are and of their resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from sftlab.core.features import keep_memory, sources
from sftlab.core.model import card, evaluating
from sftlab.core.records import Result
from sftlab.core.statistics import bootstrap, resamples, wilson
from sftlab.data import Split, first_task
from sftlab.data.dataset import NO_LABEL, by_task, class_columns

_seen: Counter[str] = Counter()


def evaluate(model: nn.Sequential, split: Split, *, batch_size: int = 64) -> Any:
    """Evaluate in eval mode and return a Result; for several heads {task: Result}. The model is left as it was.

    Soft targets are compared by their most probable class. Images without a label (−100) have probabilities but
    count in no metric. Raises ValueError if there is nothing to count, or as `predict_split`.
    """
    if not len(split):
        raise ValueError(f"the {split.name} split is empty")
    heads = by_task(predict_split(model, split, batch_size=batch_size))
    classes, targets = by_task(split.classes), by_task(split.y)
    _seen[split.digest] += 1
    settings = {
        "model": card(model).get("name"),
        "weights": card(model).get("weights"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": _device(model).type,
        "images": split.digest,
        "size": split.size,
        "noun": split.noun,
        **({"note": split.note} if split.note else {}),
    }
    results = {}
    for task, p in heads.items():
        y = first_task(targets[task]).numpy()
        results[task] = result(split.name, classes[task], split.ids, y, p, _seen[split.digest], settings)
    return results.get("", results)


def predict_split(model: nn.Sequential, split: Split, *, batch_size: int = 64) -> Any:
    """Return probabilities, n × classes (or {task: …}), images and classes in the split's order; classes go by name.

    A frozen prefix comes from the store. Raises ValueError if the model's classes are not those of the data.
    """
    device = _device(model)
    (source,), cut = sources(model, [split])
    chunks = []
    with evaluating(model), torch.no_grad(), keep_memory():
        for x, _ in source.batches(batch_size):
            x = tuple(t.to(device) for t in x) if isinstance(x, tuple) else x.to(device)
            heads = by_task(model[cut:](x))
            chunks.append(
                {task: z.float().softmax(dim=1).cpu().numpy().astype(np.float64) for task, z in heads.items()}
            )
    columns = class_columns(card(model).get("classes"), {t: p.shape[1] for t, p in chunks[0].items()}, split.classes)
    probabilities = {task: np.concatenate([chunk[task] for chunk in chunks])[:, to] for task, to in columns.items()}
    return probabilities.get("", probabilities)


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))  # not every model has parameters


def result(
    split: str,
    classes: Sequence[str],
    hashes: Sequence[str],
    targets: np.ndarray,
    probabilities: np.ndarray,
    evaluations: int = 1,
    settings: dict[str, Any] | None = None,
) -> Result:
    """Make a Result from class numbers (n, −100: none) and probabilities (n × classes)."""
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "the model's probabilities are not finite: its weights have diverged; train again at a lower rate"
        )
    labelled = targets != NO_LABEL
    if not labelled.any():
        raise ValueError(f"no image of the {split} split has a label")
    y, p = targets[labelled], probabilities[labelled]
    n, k, right = len(y), len(classes), p.argmax(axis=1) == y
    confusion = np.bincount(y * k + p.argmax(axis=1), minlength=k * k).reshape(1, k, k)
    confusions = resamples(confusion).reshape(-1, k, k)
    once, times = np.ones((1, n)), resamples(np.ones(n))
    metrics = {
        "accuracy": wilson(int(right.sum()), n),
        "balanced_accuracy": bootstrap(balanced_accuracy(confusion), balanced_accuracy(confusions)),
    }
    if confusion.any(axis=2).all():
        metrics["roc_auc"] = bootstrap(auc(y, p, once), auc(y, p, times))
    confidence = p.max(axis=1)
    metrics["ece"] = bootstrap(ece(confidence, right, once), ece(confidence, right, times))
    per_class = {
        name: {
            "precision": wilson(int(confusion[0, i, i]), int(confusion[0, :, i].sum())),
            "recall": wilson(int(confusion[0, i, i]), int(confusion[0, i].sum())),
            **({"f1": bootstrap(f1(confusion)[:, i], f1(confusions)[:, i])} if confusion[0, i].any() else {}),
        }
        for i, name in enumerate(classes)
    }
    return Result(
        split=split,
        classes=list(classes),
        hashes=list(hashes),
        targets=targets.tolist(),
        probabilities=np.round(probabilities, 7).tolist(),
        metrics=metrics,
        per_class=per_class,
        confusion=confusion[0].tolist(),
        evaluations=evaluations,
        settings=settings or {},
    )


def with_probabilities(before: Result, probabilities: np.ndarray) -> Result:
    """Return `before` as it would be with other probabilities (n × classes) for the same images, the metrics anew."""
    return result(
        before.split,
        before.classes,
        before.hashes,
        np.array(before.targets),
        np.asarray(probabilities),
        before.evaluations,
        before.settings,
    )


def balanced_accuracy(confusions: np.ndarray) -> np.ndarray:
    """Return the mean recall of the classes that are present, of each confusion matrix: R×C×C → R."""
    images = confusions.sum(axis=2)
    recalls = np.diagonal(confusions, axis1=1, axis2=2) / np.maximum(images, 1)
    return recalls.sum(axis=1) / np.maximum((images > 0).sum(axis=1), 1)


def f1(confusions: np.ndarray) -> np.ndarray:
    """Return each class's F1, of each confusion matrix, nan where it has no image: R×C×C → R×C."""
    images = confusions.sum(axis=2)
    twice = 2 * np.diagonal(confusions, axis1=1, axis2=2)
    return np.where(images > 0, twice / np.maximum(images + confusions.sum(axis=1), 1), np.nan)


def ece(confidence: np.ndarray, right: np.ndarray, times: np.ndarray, bins: int = 15) -> np.ndarray:
    """Return the expected calibration error over equal bins of confidence (Naeini et al., 2015; Guo et al., 2017).

    confidence, right: n values. times: R×n, how often each image counts; the errors are R.
    """
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = times @ ((confidence - right)[:, None] * np.eye(bins)[which])
    return np.abs(gap).sum(axis=1) / times.sum(axis=1)


def auc(y: np.ndarray, p: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve, one class against the rest, averaged over classes.

    It is the share of (positive, negative) pairs in which the positive scores higher, ties half (Hanley and McNeil,
    1982). y: n class numbers. p: n × classes. times: R×n, how often each image counts; the areas are R, and nan where a
    class is absent.
    """
    areas = []
    for k in range(1, 2) if p.shape[1] == 2 else range(p.shape[1]):
        order = np.argsort(p[:, k])
        starts = np.flatnonzero(np.diff(p[order, k], prepend=-1.0))  # where each distinct score begins
        counts = times[:, order]
        positive = np.add.reduceat(counts * (y[order] == k), starts, axis=1)
        negative = np.add.reduceat(counts * (y[order] != k), starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        areas.append(np.where(pairs > 0, (positive * below).sum(axis=1) / np.maximum(pairs, 1), np.nan))
    return np.mean(areas, axis=0)
