"""Probabilities become metrics with intervals: `evaluate`, the only function that reads a test split.

Every interval is over groups where the split knows them (`core.statistics`): a number says how it would be with other
modules, patients or days. Accuracy, precision and recall are proportions, and so is what F1 is made of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sftlab.core import records
from sftlab.core.features import device_of, sources
from sftlab.core.loop import on_device, together
from sftlab.core.model import card, check_float32, evaluating
from sftlab.core.records import Interval, Result
from sftlab.core.statistics import FEWEST, jackknife, leave_out, mean_of, proportion
from sftlab.data import Split, first_task
from sftlab.data.dataset import NO_LABEL, by_task, class_columns
from sftlab.data.storage import keep_memory

_seen: Counter[str] = Counter()


def evaluate(model: nn.Sequential, split: Split, *, batch_size: int = 64, out: str | Path = "") -> Any:
    """Evaluate in eval mode and return a Result; for several heads {task: Result}. The model is left as it was.

    Soft targets are compared by their most probable class. Images without a label (−100) have probabilities but
    count in no metric. out: a folder in which the result is kept as record.json, if any. Raises ValueError if there is
    nothing to count, or as `predict_split`.
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
        "device": device_of(model).type,
        "images": split.digest,
        "size": split.size,
        "noun": split.noun,
        "note": split.note,
    }
    results = {}
    for task, p in heads.items():
        y = first_task(targets[task]).numpy()
        groups, seen = split.groups, _seen[split.digest]
        found = result(split.name, classes[task], split.ids, y, p, seen, settings, groups)
        results[task] = replace(found, files=split.names if split.files else [])
    answer = results.get("", results)
    if out:
        records.write(answer, Path(out) / "record.json")
    return answer


def predict_split(model: nn.Sequential, split: Split, *, batch_size: int = 64) -> Any:
    """Return probabilities, n × classes (or {task: …}), images and classes in the split's order; classes go by name.

    A frozen prefix comes from the store. Raises ValueError if the model's classes are not those of the data.
    """
    check_float32(model)
    (source,), cut = sources(model, [split])
    with evaluating(model), torch.no_grad(), keep_memory():
        logits = by_task(together([model[cut:](x) for x, _ in on_device(model, source.batches(batch_size))]))
    p = {task: z.float().softmax(dim=1).double().cpu().numpy() for task, z in logits.items()}
    columns = class_columns(card(model).get("classes"), {task: one.shape[1] for task, one in p.items()}, split.classes)
    probabilities = {task: p[task][:, to] for task, to in columns.items()}
    return probabilities.get("", probabilities)


def result(
    split: str,
    classes: Sequence[str],
    hashes: Sequence[str],
    targets: np.ndarray,
    probabilities: np.ndarray,
    evaluations: int = 1,
    settings: dict[str, Any] | None = None,
    groups: Sequence[int] = (),
) -> Result:
    """Make a Result from class numbers (n, −100: none), probabilities (n × classes) and groups (n, or none known)."""
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "the model's probabilities are not finite: its weights have diverged; train again at a lower rate"
        )
    labelled = targets != NO_LABEL
    if not labelled.any():
        raise ValueError(f"no image of the {split} split has a label")
    y, p = targets[labelled], probabilities[labelled]
    n, k, called, grouped = len(y), len(classes), p.argmax(axis=1), len(groups) > 0
    unit = np.unique(np.asarray(groups)[labelled], return_inverse=True)[1] if grouped else np.arange(n)

    def share(right: np.ndarray, rows: np.ndarray) -> Interval:
        return proportion(right[rows], unit[rows] if grouped else ())

    per_class: dict[str, dict[str, Interval]] = {}
    for i, name in enumerate(classes):
        true, said = y == i, called == i
        per_class[name] = {"precision": share(true, said), "recall": share(said, true)}
        if true.any():
            per_class[name]["f1"] = f1(share(true & said, true | said))
    recalls = [row["recall"] for row in per_class.values() if "f1" in row]
    fewest = min(len(np.unique(unit[y == i])) for i in np.unique(y))
    over: tuple[Any, ...] = ((0, 1), "groups" if grouped else "images", fewest, np.bincount(unit))
    metrics = {"accuracy": share(called == y, y >= 0), "balanced_accuracy": mean_of(recalls)}
    if grouped and (fewest < FEWEST or all(0 < one.value < 1 for one in recalls)):
        metrics["balanced_accuracy"] = jackknife(*balanced_accuracy(y, called, unit), *over)
    if len(recalls) == k:
        metrics["roc_auc"] = jackknife(*auc(y, p, unit), *over)
    return Result(
        split=split,
        classes=list(classes),
        hashes=list(hashes),
        targets=targets.tolist(),
        probabilities=np.round(probabilities, 7).tolist(),
        metrics=metrics,
        per_class=per_class,
        confusion=np.bincount(y * k + called, minlength=k * k).reshape(k, k).tolist(),
        evaluations=evaluations,
        settings=settings or {},
        groups=list(groups),
    )


def f1(hits: Interval) -> Interval:
    """Return the F1 of a class from its hits among all that are of it or called so, a proportion J: 2J / (1 + J)."""
    return replace(hits, **{end: 2 * x / (1 + x) for end, x in vars(hits).items() if end in ("value", "low", "high")})


def balanced_accuracy(y: np.ndarray, called: np.ndarray, unit: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean recall of the classes that are present, and what it is without each unit.

    y, called: n class numbers. unit: n numbers from 0.
    """
    own = [y == k for k in np.unique(y)]
    value = np.mean([(called == y)[rows].mean() for rows in own])
    return float(value), np.mean([leave_out((called == y)[rows], unit[rows], unit.max() + 1) for rows in own], axis=0)


def auc(y: np.ndarray, p: np.ndarray, unit: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the area under the ROC curve, one class against the rest, mean over classes; and without each unit.

    It is the share of (positive, negative) pairs in which the positive scores higher, ties half (Hanley and McNeil,
    1982). Without a unit, the pairs that it has a part in are missing. y: n class numbers, of every class. p: n ×
    classes. unit: n numbers from 0.
    """
    from scipy.stats import rankdata

    values, deleted = [], []
    for k in range(1, 2) if p.shape[1] == 2 else range(p.shape[1]):
        positive = y == k
        won, pos, neg = _won(p[:, k], positive), np.bincount(unit, positive), np.bincount(unit, ~positive)
        # pairs inside a unit must be taken off once only; ranked as if each unit beat those before it
        inside = _won(rankdata(p[:, k]) + (len(y) + 1) * unit, positive)
        lost = np.bincount(unit, won) - np.bincount(unit, inside * positive) + pos * (neg.cumsum() - neg)
        pairs = won[positive].sum()
        values.append(pairs / (pos.sum() * neg.sum()))
        with np.errstate(invalid="ignore"):
            deleted.append((pairs - lost) / ((pos.sum() - pos) * (neg.sum() - neg)))
    return float(np.mean(values)), np.mean(deleted, axis=0)


def _won(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return for each case how many of the other kind lie on its right side: lower ones, or higher for a negative."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    for kind in (positive, ~positive):
        ranks[kind] -= rankdata(scores[kind])
    return np.where(positive, ranks, positive.sum() - ranks)
