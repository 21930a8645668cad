"""Rows into train, valid and test: seeded, stratified, and disjoint by image and by group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
DRAWS = 2000  # of groups, of which the best balanced one is taken


def random_split(
    strata: Sequence[object], hashes: Sequence[str], *, valid: float = 0.15, test: float = 0.25, seed: int = 0
) -> Rows:
    """Split rows at random, each stratum in proportion and in every split; copies of one image stay together.

    strata: what to keep in proportion, a value a row. hashes: identical images share one. valid, test: shares
    of all. Raises ValueError when a stratum has fewer than three different images.
    """
    check_shares(valid, test)
    train, tests, valids = draw(np.arange(len(strata)), strata, hashes, (test, valid), seed)
    return train, valids, tests


def draw(
    rows: np.ndarray, strata: Sequence[object], hashes: Sequence[str], shares: Sequence[float], seed: int
) -> tuple[np.ndarray, ...]:
    """Draw parts of `rows` at random: (what is left, a part for each share), each stratum in proportion.

    Every part gets at least one different image of each stratum. Raises ValueError for a stratum with too
    few.
    """
    rng = np.random.default_rng(seed)
    copies: dict[str, list[int]] = {}
    for row in rows.tolist():
        copies.setdefault(hashes[row], []).append(row)
    members: dict[str, list[str]] = {}
    for image, where in copies.items():
        members.setdefault(str(strata[where[0]]), []).append(image)
    parts: list[list[int]] = [[] for _ in range(len(shares) + 1)]
    for stratum, images in sorted(members.items()):
        n = len(images)
        if n <= len(shares):
            raise ValueError(
                f"'{stratum}' has {n} different image{'s' * (n != 1)}; "
                f"{len(parts)} splits need at least {len(parts)} of each, better 30"
            )
        amounts = [max(1, round(share * n)) for share in shares]
        while sum(amounts) >= n:  # a few images and large shares: something must be left
            amounts[amounts.index(max(amounts))] -= 1
        cuts = np.cumsum([0, n - sum(amounts), *amounts])
        order = rng.permutation(n)
        for part, start, stop in zip(parts, cuts, cuts[1:], strict=False):
            part += [row for k in order[start:stop] for row in copies[images[k]]]
    return tuple(np.sort(np.array(part, dtype=np.int64)) for part in parts)


def drop_copies(rows: Rows, hashes: Sequence[str]) -> tuple[Rows, dict[int, str]]:
    """Drop from train what is in valid or test too, from valid what is in test; return rows, {row: where}."""
    train, valid, test = rows
    in_test = {hashes[i] for i in test}
    in_valid = {hashes[i] for i in valid} - in_test
    dropped = {int(i): "test" for part in (train, valid) for i in part if hashes[i] in in_test}
    dropped |= {int(i): "valid" for i in train if hashes[i] in in_valid}
    keep = [part[[int(i) not in dropped for i in part]] if len(part) else part for part in (train, valid)]
    return (keep[0], keep[1], test), dropped


def check_shares(valid: float, test: float) -> None:
    """Raise ValueError unless both are shares in (0, 1) that leave something for train."""
    if not (0 < valid < 1 and 0 < test < 1 and valid + test < 1):
        raise ValueError(f"valid={valid}, test={test}: two shares in (0, 1) that leave something for train")


def grouped_split(
    strata: Sequence[object], groups: Sequence[object], hashes: Sequence[str], *,
    valid: float = 0.15, test: float = 0.25, seed: int = 0,
) -> Rows:  # fmt: skip
    """Split whole groups (a module, a patient, a camera), strata in proportion as far as the groups allow.

    Of many random draws the one whose strata come closest to proportion is taken, so that another seed gives
    another split. (scikit-learn's StratifiedGroupKFold gives nearly the same one for every seed: it shuffles only
    among groups of equal composition.) Two groups that share an image count as one. Raises ValueError for fewer
    than three groups.
    """
    check_shares(valid, test)
    joined = np.unique(join_groups(groups, hashes), return_inverse=True)[1]
    count = int(joined.max()) + 1
    if count < 3:
        raise ValueError(
            f"{count} group{'s' * (count != 1)}: a grouped split needs at least 3, one each for train, valid and test"
        )
    labels = np.unique([str(s) for s in strata], return_inverse=True)[1]
    table = np.zeros((count, labels.max() + 1))  # images of each stratum in each group
    np.add.at(table, (joined, labels), 1)
    wanted = np.array([1 - valid - test, valid, test])[:, None] * table.sum(axis=0)
    rng = np.random.default_rng(seed)
    best, part_of = np.inf, np.zeros(count, dtype=np.int64)
    for _ in range(DRAWS):
        drawn = _deal(table.sum(axis=1), wanted.sum(axis=1), rng)
        found = np.stack([table[drawn == part].sum(axis=0) for part in range(3)])
        far = float(((found - wanted) ** 2 / wanted).sum())
        if far < best:
            best, part_of = far, drawn
    train, valids, tests = (np.flatnonzero(part_of[joined] == part) for part in range(3))
    return train, valids, tests


def _deal(sizes: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal groups in random order to test, then valid, until each has its share; the rest is train. None is empty."""
    order = rng.permutation(len(sizes))
    part_of = np.zeros(len(sizes), dtype=np.int64)
    start = 0
    for part, left in ((2, 2), (1, 1)):
        reached = np.cumsum(sizes[order[start:]])
        take = int(np.argmin(np.abs(reached - wanted[part]))) + 1
        take = min(take, len(order) - start - left)  # something must be left for each part still to come
        part_of[order[start : start + take]] = part
        start += take
    return part_of


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
