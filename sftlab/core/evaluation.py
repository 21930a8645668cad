"""Predictions → metrics with intervals. The only room that reads a test split.

Point values come from scikit-learn. Intervals: Wilson (1927) for a proportion (accuracy, precision, recall), the
percentile bootstrap (Efron, 1979) over images otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from sftlab.core import cache, memory
from sftlab.core.losses import NO_LABEL
from sftlab.core.model import card, evaluating
from sftlab.core.records import Interval, Result
from sftlab.core.statistics import wilson
from sftlab.data import Split, first_task

RESAMPLES = 1000
_seen: Counter[str] = Counter()


def evaluate(
    model: nn.Sequential, split: Split, *, device: str | torch.device | None = None, batch_size: int = 64,
    encoder: str = "torch",
) -> Any:  # fmt: skip
    """Evaluate in eval mode and return a Result; for several heads {task: Result}. The model is left as it was.

    Soft targets are compared by their most probable class. Images without a label (−100) have probabilities but
    count in no metric. encoder: what runs a frozen prefix, as in `fit`. Raises ValueError if there is nothing to count.
    """
    if not len(split):
        raise ValueError(f"the {split.name} split is empty")
    here = torch.device(device) if device is not None else next(model.parameters()).device
    _seen[split.digest] += 1
    probabilities = predict_split(model, split, device=here, batch_size=batch_size, encoder=encoder)
    y = split.y
    settings = {
        "model": card(model).get("name"),
        "weights": card(model).get("weights"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": here.type,
        "encoder": encoder,
        "images": split.digest,
        "size": split.size,
        "noun": split.noun,
    }
    if isinstance(probabilities, dict):
        if not isinstance(y, dict) or not isinstance(split.classes, dict):
            raise ValueError(f"the model answers {', '.join(probabilities)}, the data has one task only")
        return {
            task: result(
                split.name,
                split.classes[task],
                split.hashes,
                first_task(y[task]).numpy(),
                p,
                _seen[split.digest],
                settings,
            )
            for task, p in probabilities.items()
        }
    if isinstance(y, dict) or isinstance(split.classes, dict):
        raise ValueError("the data has several tasks, the model one head: replace_head(model, data.classes)")
    if probabilities.shape[1] != len(split.classes):
        raise ValueError(
            f"the head has {probabilities.shape[1]} classes, the data {len(split.classes)}: "
            "model = replace_head(model, data.classes)"
        )
    return result(
        split.name, split.classes, split.hashes, first_task(y).numpy(), probabilities, _seen[split.digest], settings
    )


def predict_split(
    model: nn.Sequential, split: Split, *, device: torch.device | None = None, batch_size: int = 64,
    encoder: str = "torch",
) -> Any:  # fmt: skip
    """Return probabilities, n × classes (or {task: …}), in the split's order. A frozen prefix comes from the store."""
    here = device or next(model.parameters()).device
    cut = cache.worthwhile(model)
    source = cache.features(model[:cut], split, device=here, encoder=encoder) if cut else split
    chunks = []
    with evaluating(model), torch.no_grad(), memory.kept():
        for x, _ in source.batches(batch_size):
            x = tuple(t.to(here) for t in x) if isinstance(x, tuple) else x.to(here)
            logits = model[cut:](x)
            heads = logits if isinstance(logits, dict) else {"": logits}
            chunks.append({k: v.softmax(dim=1).cpu().numpy().astype(np.float64) for k, v in heads.items()})
    out = {k: np.concatenate([c[k] for c in chunks]) for k in chunks[0]}
    return out.get("", out)


def result(
    split: str, classes: Sequence[str], hashes: Sequence[str], targets: np.ndarray, probabilities: np.ndarray,
    evaluations: int = 1, settings: dict[str, Any] | None = None,
) -> Result:  # fmt: skip
    """Make a Result from class numbers (n, −100: none) and probabilities (n × classes)."""
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, roc_auc_score

    if not np.isfinite(probabilities).all():
        raise ValueError(
            "the model's probabilities are not finite: its weights have diverged; train again at a lower rate"
        )
    known = targets != NO_LABEL
    if not known.any():
        raise ValueError(f"no image of the {split} split has a label")
    y, p = targets[known], probabilities[known]
    called, k, n = p.argmax(axis=1), len(classes), int(known.sum())
    matrix = confusion_matrix(y, called, labels=list(range(k)))
    present = matrix.sum(axis=1) > 0
    draws = np.random.default_rng(0).multinomial(n, matrix.ravel() / n, RESAMPLES).reshape(-1, k, k)
    metrics = {
        "accuracy": wilson(int((y == called).sum()), n),
        "balanced_accuracy": _bootstrapped(
            balanced_accuracy_score(y, called) if present.sum() > 1 else 1.0 * (y == called).mean(), _recall(draws)
        ),
    }
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)  # how often each image is drawn
    if present.all():
        score = p[:, 1] if k == 2 else p / p.sum(axis=1, keepdims=True)
        metrics["roc_auc"] = _bootstrapped(roc_auc_score(y, score, multi_class="ovr"), _auc(y, p, times))
    metrics["ece"] = _bootstrapped(ece(p.max(axis=1), y == called), ece(p.max(axis=1), y == called, times))
    f1, f1_draws = f1_score(y, called, labels=list(range(k)), average=None, zero_division=0), _f1(draws)
    per_class = {
        name: {
            "precision": wilson(int(matrix[i, i]), int(matrix[:, i].sum())),
            "recall": wilson(int(matrix[i, i]), int(matrix[i].sum())),
            "f1": _bootstrapped(float(f1[i]), f1_draws[:, i]),
        }
        for i, name in enumerate(classes)
    }
    return Result(
        split=split, classes=list(classes), hashes=list(hashes), targets=[int(t) for t in targets],
        probabilities=np.round(probabilities, 7).tolist(), metrics=metrics, per_class=per_class,
        confusion=matrix.tolist(),
        evaluations=evaluations, settings=settings or {},
    )  # fmt: skip


def with_probabilities(found: Result, probabilities: np.ndarray) -> Result:
    """Return `found` as it would be with other probabilities (n × classes) for the same images, the metrics anew."""
    return result(
        found.split, found.classes, found.hashes, np.array(found.targets), np.asarray(probabilities),
        found.evaluations, found.settings,
    )  # fmt: skip


def ece(confidence: np.ndarray, right: np.ndarray, times: np.ndarray | None = None, bins: int = 15) -> np.ndarray:
    """Return the expected calibration error over equal bins of confidence (Naeini et al., 2015; Guo et al., 2017).

    confidence, right: n values. times: resamples × n, how often each image counts; one error a resample is returned.
    """
    times = np.ones((1, len(confidence))) if times is None else times
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = times @ ((confidence - right)[:, None] * np.eye(bins)[which])
    return np.abs(gap).sum(axis=1) / times.sum(axis=1)


def _recall(matrices: np.ndarray) -> np.ndarray:
    """Balanced accuracy of each resampled confusion matrix: the mean recall of the classes it contains."""
    rows = matrices.sum(axis=2)
    recalls = np.diagonal(matrices, axis1=1, axis2=2) / np.maximum(rows, 1)
    return recalls.sum(axis=1) / np.maximum((rows > 0).sum(axis=1), 1)


def _f1(matrices: np.ndarray) -> np.ndarray:
    both = matrices.sum(axis=2) + matrices.sum(axis=1)
    return 2 * np.diagonal(matrices, axis1=1, axis2=2) / np.maximum(both, 1)


def _auc(y: np.ndarray, p: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each resample, one class against the rest, averaged over classes.

    It is the share of (positive, negative) pairs in which the positive scores higher, ties half (Hanley and McNeil,
    1982). A resample without a class has no curve: nan.
    """
    areas = []
    for k in range(1, 2) if p.shape[1] == 2 else range(p.shape[1]):
        order = np.argsort(p[:, k])
        starts = np.flatnonzero(np.diff(p[order, k], prepend=-1.0))  # where each distinct score begins
        drawn = times[:, order]
        positive = np.add.reduceat(drawn * (y[order] == k), starts, axis=1)
        negative = np.add.reduceat(drawn * (y[order] != k), starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        areas.append(np.where(pairs > 0, (positive * below).sum(axis=1) / np.maximum(pairs, 1), np.nan))
    return np.mean(areas, axis=0)


def _bootstrapped(value: Any, draws: np.ndarray) -> Interval:
    value = float(np.squeeze(value))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Interval(value, float(min(low, value)), float(max(high, value)), "bootstrap")
