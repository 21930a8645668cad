"""Rows into train, valid and test: seeded, stratified, and disjoint by image and by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def random_split(
    strata: Sequence[object], hashes: Sequence[str], *, valid: float = 0.15, test: float = 0.25, seed: int = 0
) -> Rows:
    """Split rows at random, each stratum in proportion; copies of one image stay together.

    strata: what to keep in proportion, a value a row. hashes: identical images share one. valid, test: shares of all.
    Raises ValueError when a stratum is too small to be in every split.
    """
    from sklearn.model_selection import train_test_split

    _check_shares(valid, test)
    first: dict[str, int] = {}
    owner = np.array([first.setdefault(h, i) for i, h in enumerate(hashes)])
    rows = np.unique(owner)
    labels = np.array([str(strata[i]) for i in rows])
    smallest, count = min(Counter(labels).items(), key=lambda item: item[1])
    need = max(3, _least(len(set(labels)), valid, test))
    if count < 3:
        raise ValueError(f"'{smallest}' has {count} different image{'s' * (count != 1)}; three splits need at least 3 of each")
    if len(rows) < need:
        raise ValueError(f"{len(rows)} different images are too few for three splits of {len(set(labels))} classes")
    rest, tests = train_test_split(rows, test_size=_amount(test, len(rows), labels), stratify=labels, random_state=seed)
    left = np.array([str(strata[i]) for i in rest])
    share = _amount(valid, len(rows), labels)
    train, valids = train_test_split(rest, test_size=share, stratify=left, random_state=seed)
    return tuple(np.flatnonzero(np.isin(owner, part)) for part in (train, valids, tests))  # type: ignore[return-value]


def _amount(share: float, n: int, labels: np.ndarray) -> int:
    return max(round(share * n), len(set(labels)))


def _least(classes: int, valid: float, test: float) -> int:
    return 3 * classes


def _check_shares(valid: float, test: float) -> None:
    if not (0 < valid < 1 and 0 < test < 1 and valid + test < 1):
        raise ValueError(f"valid={valid}, test={test}: two shares in (0, 1) that leave something for train")


def grouped_split(
    strata: Sequence[object], groups: Sequence[object], hashes: Sequence[str], *,
    valid: float = 0.15, test: float = 0.25, seed: int = 0,
) -> Rows:  # fmt: skip
    """Split whole groups (a module, a patient, a camera), strata in proportion as far as the groups allow.

    Two groups that share an image count as one. Raises ValueError for fewer than three groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _check_shares(valid, test)
    joined = join_groups(groups, hashes)
    labels = np.unique([str(s) for s in strata], return_inverse=True)[1]
    if len(set(joined)) < 3:
        raise ValueError(f"{len(set(joined))} groups: a grouped split needs at least 3, one for each of train, valid and test")

    def hold_out(rows: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        folds = min(max(2, round(1 / share)), len(set(joined[rows])))
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        keep, held = next(splitter.split(rows, labels[rows], joined[rows]))
        return rows[keep], rows[held]

    rest, tests = hold_out(np.arange(len(labels)), test)
    train, valids = hold_out(rest, valid / (1 - test))
    return train, valids, tests


def join_groups(groups: Sequence[object], hashes: Sequence[str]) -> np.ndarray:
    """Return group numbers a row, with groups that share an identical image joined into one."""
    names = list(dict.fromkeys(str(g) for g in groups))
    number = {name: i for i, name in enumerate(names)}
    parent = list(range(len(names)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[str, int] = {}
    for group, image in zip(groups, hashes, strict=True):
        here = root(number[str(group)])
        parent[here] = root(seen.setdefault(image, here))
    return np.array([root(number[str(g)]) for g in groups])


def thin(rows: np.ndarray, labels: Sequence[object], per_class: int, seed: int) -> np.ndarray:
    """Keep at most `per_class` rows of each label, at random, in order."""
    if per_class < 1:
        raise ValueError(f"per_class={per_class}: at least one training image a class")
    rng = np.random.default_rng(seed)
    values = np.array([str(labels[i]) for i in rows])
    kept = [rng.permutation(rows[values == v])[:per_class] for v in np.unique(values)]
    return np.sort(np.concatenate(kept))
