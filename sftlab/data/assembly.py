"""From images and labels in memory to three splits with a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from sftlab.data.core import Card, Classes, Data, Split, Targets, first_task
from sftlab.data.splits import grouped_split, random_split, thin
from sftlab.data.storage import image_hash


def assemble(
    images: np.ndarray, targets: Targets, classes: Classes, *, name: str, rule: str, size: int | None = None,
    per_class: int | None = None, seed: int = 0, valid: float = 0.15, test: float = 0.25,
    groups: Sequence[object] | None = None, strata: Sequence[object] | None = None,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None, split: str = "", files: Sequence[str] = (),
    hashes: Sequence[str] | None = None, notes: Sequence[str] = (), **facts: Any,
) -> Data:  # fmt: skip
    """Build a Data from arrays: split them, thin train, write the card.

    The split is as given if `rows`, grouped if `groups`, else random. Raises ValueError if an image of one
    split is also in another (possible only with `rows`), or if nothing is left of one.
    """
    y = first_task(targets).numpy()
    hashes = hashes if hashes is not None else [image_hash(image) for image in images]
    strata = strata if strata is not None else _names(classes, y)
    if rows is None and groups is not None:
        rows = grouped_split(strata, groups, hashes, valid=valid, test=test, seed=seed)
        split = split or f"grouped, seed {seed}"
    elif rows is None:
        rows = random_split(strata, hashes, valid=valid, test=test, seed=seed)
        split = split or f"random, stratified, seed {seed}"
    check_disjoint(rows, hashes)
    train = thin(rows[0], list(y), per_class, seed) if per_class is not None else rows[0]
    h, w = images.shape[-2:]
    size = min(h, w) if size is None else size
    if size < 1:
        raise ValueError(f"size={size}: an edge length in pixels, such as 160")
    parts = [
        Split(part, images, targets, np.asarray(r, dtype=np.int64), classes, size, hashes, files)
        for part, r in zip(("train", "valid", "test"), (train, *rows[1:]), strict=True)
    ]
    card = Card(
        name=name, rule=rule, classes=classes, counts={}, majority=0.0, split=split,
        size=f"{w}×{h} pixels stored, {size}×{size} delivered", notes=list(notes), **facts,
    )  # fmt: skip
    return counted(parts, card)


def _names(classes: Classes, y: np.ndarray) -> list[str]:
    names = next(iter(classes.values())) if isinstance(classes, dict) else classes
    return [names[k] for k in y]


def counted(parts: Sequence[Split], card: Card) -> Data:
    """Return a Data whose card has the classes, counts and majority rate of these splits."""
    classes = parts[0].classes
    names = next(iter(classes.values())) if isinstance(classes, dict) else classes
    notes, counts = list(card.notes), {}
    for part in parts:
        found = Counter(first_task(part.y).tolist())
        counts[part.name] = {c: found[k] for k, c in enumerate(names)}
        missing = [c for c, n in counts[part.name].items() if n == 0]
        if missing and part.name != "train":
            one = part.noun[:-1]
            notes.append(f"{part.name} has no {one} of {', '.join(missing)}: nothing is measured there for it.")
        elif missing:
            notes.append(f"train has no {part.noun[:-1]} of {', '.join(missing)}: it cannot be learnt.")
    of_test = counts["test"].values()
    card = replace(card, classes=classes, counts=counts, majority=max(of_test) / max(1, sum(of_test)), notes=notes)
    return Data(train=parts[0], valid=parts[1], test=parts[2], card=card)


def check_disjoint(rows: Sequence[np.ndarray], hashes: Sequence[str]) -> None:
    """Raise ValueError if an image, by its pixels, is in two of the splits, or if a split is empty."""
    seen: dict[str, str] = {}
    for name, part in zip(("train", "valid", "test"), rows, strict=True):
        if not len(part):
            raise ValueError(f"the {name} split is empty; train, valid and test each need images")
        for i in part:
            other = seen.setdefault(hashes[i], name)
            if other != name:
                raise ValueError(f"the same image is in {other} and in {name} (row {i}); test images must be new")


def with_targets(data: Data, targets: Mapping[str, Tensor] | Tensor, classes: Classes) -> Data:
    """Return the same images and splits with other targets (a row each) and classes; the card counts anew."""
    new = dict(targets) if isinstance(targets, Mapping) else targets
    parts = [replace(part, targets=new, classes=classes) for part in (data.train, data.valid, data.test)]
    return counted(parts, data.card)
