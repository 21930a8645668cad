"""Rows into train, valid and test: seeded, stratified, disjoint by image and by group; and splits that are looked at.

`assemble`, which every image loader calls, makes three splits with a card; `near_duplicates` lists images that splits
nearly share; `domain_split` parts a data set into a source and a target.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from sftlab.data.dataset import (
    Card,
    Classes,
    Data,
    Split,
    Targets,
    batch_positions,
    check_whole,
    counted,
    first_names,
    first_task,
    with_targets,
)
from sftlab.data.storage import image_hash

Rows = Sequence[np.ndarray]  # of train, valid and test
PARTS = ("train", "valid", "test")
DRAWS = 2000  # of groups, of which the best balanced one is taken
EDGE = 32  # pixels of a thumbnail that near-duplicates are compared by
Pair = tuple[str, int, str, int, float]


def draw(
    rows: np.ndarray, strata: Sequence[object], hashes: Sequence[str], shares: Sequence[float], seed: int
) -> tuple[np.ndarray, ...]:
    """Draw parts of `rows` at random: (what is left, a part for each share), each stratum in proportion.

    strata: what to keep in proportion, a value an image. hashes: copies of an image share one, and stay together. Every
    part gets at least one different image of each stratum. Raises ValueError for a stratum with too few.
    """
    rng = np.random.default_rng(seed)
    copies: dict[str, list[int]] = defaultdict(list)
    for row in rows.tolist():
        copies[hashes[row]].append(row)
    members: dict[str, list[list[int]]] = defaultdict(list)
    for same in copies.values():
        members[str(strata[same[0]])].append(same)
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
        cuts = np.cumsum([n - sum(amounts), *amounts[:-1]])
        for part, chosen in zip(parts, np.split(rng.permutation(n), cuts), strict=True):
            part += [row for k in chosen for row in images[k]]
    return tuple(np.sort(np.array(part, dtype=np.int64)) for part in parts)


def drop_copies(rows: Rows, hashes: Sequence[str]) -> tuple[Rows, dict[int, str]]:
    """Drop from train what is in valid or test too, from valid what is in test; return rows, {row: where}."""
    belongs = {hashes[i]: name for name, part in zip(PARTS, rows, strict=True) for i in part}  # the last one counts
    dropped = {
        int(i): belongs[hashes[i]]
        for name, part in zip(PARTS, rows, strict=True)
        for i in part
        if belongs[hashes[i]] != name
    }
    return [part[~np.isin(part, list(dropped))] for part in rows], dropped


def completed(
    given: Mapping[str, np.ndarray], labels: Sequence[object], hashes: Sequence[str], seed: int, **shares: float
) -> tuple[Rows, dict[int, str], str]:
    """Return (rows of all splits, {row: where} of the copies that were dropped, in words which were drawn from train).

    given: the rows of train, and of valid and test where they are given. shares: of train, for those that are not.
    """
    check_shares(**shares)
    kept, dropped = drop_copies([given.get(name, np.array([], int)) for name in PARTS], hashes)
    rows = dict(zip(PARTS, kept, strict=True))
    missing = [name for name in shares if name not in given]
    if not missing:
        return kept, dropped, ""
    drawn = draw(rows["train"], labels, hashes, [shares[name] for name in missing], seed)
    rows |= zip(("train", *missing), drawn, strict=True)
    return list(rows.values()), dropped, f", {' and '.join(missing)} drawn from train, seed {seed}"


def check_shares(**shares: float) -> None:
    """Raise ValueError unless all are shares in (0, 1) that leave something for train."""
    if not (all(0 < share < 1 for share in shares.values()) and sum(shares.values()) < 1):
        named = ", ".join(f"{name}={share}" for name, share in shares.items())
        raise ValueError(f"{named}: shares in (0, 1) that leave something for train")


def split_rows(
    rows: np.ndarray,
    strata: Sequence[object],
    hashes: Sequence[str],
    groups: Sequence[object] | None,
    *,
    valid: float,
    test: float,
    seed: int,
) -> tuple[Rows, str]:
    """Return the rows of train, valid and test, and how they were split: by `groups`, or without any at random.

    Groups (a module, a patient, a camera) stay whole, strata in proportion as far as the groups allow. Of many random
    draws the one whose strata come closest to proportion is taken, so that another seed gives another split.
    (scikit-learn's StratifiedGroupKFold gives nearly the same one for every seed: it shuffles only among groups of
    equal composition.) Two groups that share an image count as one. Raises ValueError for fewer than three groups.
    """
    check_shares(valid=valid, test=test)
    if groups is None:
        train, tests, valids = draw(rows, strata, hashes, (test, valid), seed)
        return (train, valids, tests), "random, stratified"
    joined = join_groups([groups[i] for i in rows], [hashes[i] for i in rows])
    count = int(joined.max()) + 1
    if count < 3:
        raise ValueError(
            f"{count} group{'s' * (count != 1)}: a grouped split needs at least 3, one each for train, valid and test"
        )
    labels = np.unique([str(strata[i]) for i in rows], return_inverse=True)[1]
    table = np.zeros((count, labels.max() + 1))  # images of each stratum in each group
    np.add.at(table, (joined, labels), 1)
    wanted = np.array([1 - valid - test, valid, test])[:, None] * table.sum(axis=0)
    rng = np.random.default_rng(seed)

    def distance(part_of: np.ndarray) -> float:
        counts = np.stack([table[part_of == part].sum(axis=0) for part in range(3)])
        return float(((counts - wanted) ** 2 / wanted).sum())

    deals = (_deal(table.sum(axis=1), wanted.sum(axis=1), rng) for _ in range(DRAWS))
    part_of = min(deals, key=distance)[joined]
    return [rows[part_of == part] for part in range(3)], "grouped"


def _deal(sizes: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal groups in random order to test, then valid, until each has its share; the rest is train. None is empty."""
    order = rng.permutation(len(sizes))
    part_of = np.zeros(len(sizes), dtype=np.int64)
    for part in (2, 1):
        take = int(np.argmin(np.abs(np.cumsum(sizes[order]) - wanted[part]))) + 1
        take = min(take, len(order) - part)  # something must be left for each part still to come
        part_of[order[:take]] = part
        order = order[take:]
    return part_of


def join_groups(groups: Sequence[object], hashes: Sequence[str]) -> np.ndarray:
    """Return group numbers a row, with groups that share an identical image joined into one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers = {name: i for i, name in enumerate(dict.fromkeys(map(str, groups)))}
    group = np.array([numbers[str(name)] for name in groups])
    image = len(numbers) + np.unique(hashes, return_inverse=True)[1]
    edges = coo_array((np.ones(len(group)), (group, image)), shape=(image.max() + 1, image.max() + 1))
    return connected_components(edges, directed=False)[1][group]


def thin(rows: np.ndarray, labels: Sequence[object], per_class: int, seed: int) -> np.ndarray:
    """Keep at most `per_class` rows of each label, at random, in order."""
    check_whole(per_class=per_class)
    rng = np.random.default_rng(seed)
    values = np.array([str(labels[i]) for i in rows])
    return np.sort(np.concatenate([rng.permutation(rows[values == v])[:per_class] for v in np.unique(values)]))


def assemble(
    images: np.ndarray,
    targets: Targets,
    classes: Classes,
    *,
    name: str,
    rule: str,
    size: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.25,
    groups: Sequence[object] | None = None,
    strata: Sequence[object] | None = None,
    rows: Rows | None = None,
    split: str = "",
    files: Sequence[str] = (),
    hashes: Sequence[str] | None = None,
    identities: Sequence[str] = (),
    usable: np.ndarray | None = None,
    notes: Sequence[str] = (),
    test_note: str = "",
    kind: type[Split] = Split,
    **facts: Any,
) -> Data:
    """Build a Data from arrays: split them, thin train, write the card.

    The split is as given if `rows`, grouped if `groups`, else random; strata: the classes if None. usable: the rows to
    split, by default those with a label. test_note: what a reader of test numbers must know. kind: Split, or Texts.
    facts: further fields of the card. Raises ValueError if an image of one split is also in another (possible only with
    `rows`), or if nothing is left of one.
    """
    check_whole(size=size, seed=seed)
    numbers, names, notes = first_task(targets).tolist(), first_names(classes), list(notes)
    hashes = hashes if hashes is not None else [image_hash(image) for image in images]
    amounts = {kind.noun: len(images), "labels": len(numbers)}
    if groups is not None:
        amounts["groups"] = len(groups)
    if len({*amounts.values()}) > 1:
        raise ValueError(f"{', '.join(f'{n} {what}' for what, n in amounts.items())}; give one for each")
    if missing := sum(k < 0 for k in numbers):
        notes.append(f"{missing} of {len(numbers)} {kind.noun} have no label and are left out.")
    for folded, count in Counter(map(str.casefold, names)).items():
        if count > 1 and len(folded) > 1:
            alike = [name for name in names if name.casefold() == folded]
            notes.append(f"{' and '.join(alike)} are probably one class: only capitals tell them apart.")
    if rows is None:
        usable = np.flatnonzero(np.array(numbers) >= 0) if usable is None else usable
        strata = strata if strata is not None else [names[k] if k >= 0 else "" for k in numbers]
        rows, how = split_rows(usable, strata, hashes, groups, valid=valid, test=test, seed=seed)
        split = split or f"{how}, seed {seed}"
    check_disjoint(rows, hashes)
    kept = thin(rows[0], numbers, per_class, seed) if per_class is not None else rows[0]
    size = min(images.shape[-2:]) if size is None else size
    joined = join_groups(groups, hashes).tolist() if groups is not None else ()
    made = [
        kind(part, images, targets, index, classes, size, hashes, files, identities, note, joined)
        for part, index, note in zip(PARTS, (kept, *rows[1:]), ("", "", test_note), strict=True)
    ]
    card = Card(name, rule, classes, {}, 0.0, made[0].sizes, split, notes=notes, noun=kind.noun, **facts)
    return counted(made, card)


def resplit(data: Data, seed: int) -> Data:
    """Return the images of `data` in three other splits of about the same sizes: by groups, where they are known.

    Classes are kept in proportion. It tells how far a result depends on the luck of the split.
    """
    parts, whole = (data.train, data.valid, data.test), data.train
    every = np.sort(np.concatenate([part.index for part in parts]))
    valid, test = (len(part) / len(every) for part in parts[1:])
    strata, groups = first_task(whole.targets).tolist(), whole.image_groups or None
    rows, how = split_rows(every, strata, whole.image_hashes, groups, valid=valid, test=test, seed=seed)
    made = [replace(part, index=index) for part, index in zip(parts, rows, strict=True)]
    return counted(made, replace(data.card, split=f"{how}, split anew with seed {seed}"))


def check_disjoint(rows: Sequence[np.ndarray], hashes: Sequence[str]) -> None:
    """Raise ValueError if an image, by its pixels, is in two of the splits, or if a split is empty."""
    for name, part in zip(PARTS, rows, strict=True):
        if not len(part):
            raise ValueError(f"the {name} split is empty; train, valid and test each need images")
    _, copies = drop_copies(rows, hashes)
    if copies:
        row, name = next(iter(copies.items()))
        raise ValueError(f"the image of row {row} is in {name} as well; no image may be in two splits")


def near_duplicates(data: Data, threshold: float = 0.002) -> list[Pair]:
    """List almost equal images in different splits, nearest first.

    Each is (split, position, split, position, distance).

    The distance is 1 − r, with r the correlation of the two images' grey 32×32 thumbnails: 0 for the same
    picture saved again, brighter, or with more contrast. The default finds more than nine in ten copies that
    were recompressed, halved or given slight noise. It misses copies that were cropped, moved by 1 %,
    mirrored or turned, and pictures of one flat colour.

    What it lists are *candidates to look at*: pictures of things that are made alike come as near as copies
    do. Of the 3.4 million pairs of solar cells, all of them different cells, none is below 0.001, 16 are
    below 0.002, 188 below 0.005 and 1,015 below 0.01. Most lie in one module: between the splits of the
    grouped split none is below 0.005, between those of the random one 102 are.

    10,000 images take a few seconds. Raises ValueError for a threshold outside 0 … 1.
    """
    from sklearn.neighbors import NearestNeighbors

    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}: a distance above 0 and up to 1, such as 0.002")
    thumbs = {part.name: _thumbnails(part) for part in (data.train, data.valid, data.test)}
    pairs: list[Pair] = []
    for a, b in combinations(thumbs, 2):
        near = NearestNeighbors(radius=threshold, metric="cosine").fit(thumbs[b])
        for i, (distances, others) in enumerate(zip(*near.radius_neighbors(thumbs[a]), strict=True)):
            pairs += [(a, i, b, int(j), float(d)) for d, j in zip(distances, others, strict=True)]
    return sorted(pairs, key=lambda pair: pair[4])


def _thumbnails(part: Split) -> np.ndarray:
    """Return float32 N×1024: small grey images with mean 0; their cosine is then a correlation, 0 of a flat one."""
    rows = []
    for positions in batch_positions(len(part), 256):
        grey = part.pixels(positions).float().mean(dim=1, keepdim=True)
        small = F.interpolate(grey, (EDGE, EDGE), mode="bilinear", antialias=True).flatten(1)
        rows.append((small - small.mean(dim=1, keepdim=True)).round(decimals=3))  # a flat one is 0 but for rounding
    return torch.cat(rows).numpy()


class DomainSplit(NamedTuple):
    """Data of one kind to learn from, and two splits of the other kinds: one to measure on, one to repair with."""

    source: Data
    target: Split
    held_out: Split


def domain_split(data: Data, task: str, *, by: str, source: str, n: int, seed: int = 0) -> DomainSplit:
    """Part the images of a data set of several tasks by one of them, and keep another as the question.

    task: the question that is kept. by: the task whose classes are the kinds. source: the kind to learn from. n images
    of it are trained on, up to n others are `source.valid`; up to n of the other kinds are `target`, the rest of them
    `held_out`. All are drawn by `seed` from train and valid together; the test split stays as it is, of all kinds.
    Raises ValueError for a task or a kind that the data does not have, or if there are not more than n images of it.
    """
    classes = data.classes if isinstance(data.classes, dict) else {}
    if task not in classes or by not in classes or task == by:
        has = f"two of {', '.join(classes)}" if classes else "this data has one task only"
        raise ValueError(f"task={task!r}, by={by!r}: {has}")
    if source not in classes[by]:
        raise ValueError(f"source={source!r}: one of {', '.join(classes[by])}")
    kind = data.train.targets[by].numpy()  # type: ignore[index]
    rows, rng = np.concatenate([data.train.index, data.valid.index]), np.random.default_rng(seed)
    domains = [rng.permutation(rows[kind[rows] == k]) for k in range(len(classes[by]))]
    inside = domains.pop(classes[by].index(source))
    outside = domains[0] if len(domains) == 1 else rng.permutation(np.concatenate(domains))
    if len(inside) <= n:
        raise ValueError(
            f"n={n}: there are {len(inside)} of {source} outside the test, and some must be left to measure"
        )
    one = with_targets(data, data.train.targets[task], classes[task])  # type: ignore[index]
    learned = replace(one, train=one.train.of_rows(inside[:n]), valid=one.valid.of_rows(inside[n : 2 * n]))
    return DomainSplit(learned, one.valid.of_rows(outside[:n]), one.valid.of_rows(outside[n:]))
