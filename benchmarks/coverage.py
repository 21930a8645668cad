"""Do the intervals keep their promise? Coverage of 95 % intervals over groups, and over splits; in `coverage.json`.

    python benchmarks/coverage.py

Groups: images of two classes come in groups of 20 to 100, in one world of 5 to 500. Each group has its own level (all
its scores are higher or lower) and its own difficulty (its classes are further apart or nearer), so that its images are
right or wrong together; the truth over all groups there could be is known by a formula. Of 1,000 such test sets, how
many intervals contain it?
Beside the lab's intervals: those of a formula that counts images, and the percentiles of 300 redraws of whole groups.
Splits: a nearest-mean classifier on 300 points, a quarter of which tests it, over ten random splits of them; the truth
is the mean accuracy over all sets there could be. Resumable: what is there is not made again. Twenty minutes on one
thread of a busy machine.
"""

from typing import Any

import numpy as np
from evidence.ledger import Ledger
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import norm

from sftlab.analysis.decisions import difference
from sftlab.core.evaluation import result
from sftlab.core.statistics import t_interval, wilson

GROUPS, SETS, REDRAWS = (5, 6, 7, 8, 9, 10, 11, 20, 40), 1000, 300
# share of class 1; distance of the classes; how much level and difficulty vary from group to group
WORLDS = {
    "as the solar cells": (0.3, 2.0, 0.4, 0.6),
    "groups nearly alike": (0.3, 2.0, 0.1, 0.1),
    "groups far apart": (0.5, 2.0, 0.8, 0.8),
    "a good network": (0.3, 3.5, 0.4, 0.6),
    "a rare class": (0.1, 2.5, 0.4, 0.4),
    "groups of very different sizes": (0.3, 2.0, 0.6, 0.6),
}
UNEVEN = 5, 500  # images a group in the last world, evenly over the logarithm
BETTER = 0.3  # of the second network: its classes are so much further apart
POINTS, DIMENSIONS, SPLITS, TEST = 300, 10, 10, 0.25


def truth(world: tuple[float, float, float, float]) -> dict[str, float]:
    """Return what each metric is over all groups there could be; of the area, for pairs from different groups."""
    share, distance, level, difficulty = world
    hits = recalls(distance, level, difficulty)
    second = recalls(distance + BETTER, level, difficulty)
    mix = np.array([1 - share, share])
    true, false_alarm, missed = share * hits[1], (1 - share) * (1 - hits[0]), share * (1 - hits[1])
    return {
        "accuracy": float(mix @ hits), "balanced_accuracy": float(hits.mean()),
        "roc_auc": float(norm.cdf(distance / np.sqrt(2 * (1 + level**2 + difficulty**2 / 4)))),
        "recall": float(hits[1]), "precision": float(true / (true + false_alarm)),
        "f1": float(2 * true / (2 * true + false_alarm + missed)), "difference": float(mix @ (second - hits)),
    }  # fmt: skip


def recalls(distance: float, level: float, difficulty: float) -> np.ndarray:
    """Return the expected recall of class 0 and of class 1: a score is right above 0 for class 1, below for class 0."""
    z, weight = hermegauss(60)
    half = (distance + difficulty * z[:, None]) / 2
    both = [norm.cdf(half + sign * level * z) for sign in (-1, 1)]
    return np.array([weight @ one @ weight for one in both]) / weight.sum() ** 2


def test_set(world: tuple[float, float, float, float], count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return classes, groups, and the scores of two networks that look at the same images."""
    share, distance, level, difficulty = world
    uneven = world == WORLDS["groups of very different sizes"]
    sizes = np.geomspace(*UNEVEN, 1000)[rng.integers(1000, size=count)].astype(int) if uneven else None
    group = np.repeat(np.arange(count), rng.integers(20, 101, count) if sizes is None else sizes)
    y = (rng.random(len(group)) < share).astype(int)
    if len(np.unique(y)) < 2:
        y[:2] = 0, 1
    side, shift, more = 2 * y - 1, level * rng.normal(size=count)[group], difficulty * rng.normal(size=count)[group]
    noise = rng.normal(size=len(y))
    other = 0.8 * noise + 0.6 * rng.normal(size=len(y))
    first = side * (distance + more) / 2 + shift + noise
    return y, group, first, side * (distance + BETTER + more) / 2 + shift + other


def covered(world: tuple[float, float, float, float], count: int, sets: int = SETS, seed: int = 0) -> dict[str, float]:
    """Return for each interval the share of test sets of `count` groups in which it contains the truth."""
    rng, known, hits = np.random.default_rng([seed, count]), truth(world), dict[str, list[bool]]()
    for _ in range(sets):
        y, group, first, second = test_set(world, count, rng)
        p = 1 / (1 + np.exp(-np.stack([-first, first], axis=1)))
        found = result("test", ["0", "1"], [""] * len(y), y, p, groups=group.tolist())
        right, other = ((score > 0) == (y == 1) for score in (first, second))
        intervals = {**found.metrics, **found.per_class["1"], "difference": difference(other, right, group)}
        for name, interval in intervals.items():
            if not interval.why:
                hits.setdefault(name, []).append(known[name] in interval)
        sizes, sums = np.bincount(group), np.bincount(group, right)
        draws = rng.multinomial(count, np.full(count, 1 / count), REDRAWS)
        low, high = np.percentile((draws @ sums) / (draws @ sizes), [2.5, 97.5])
        hits.setdefault("accuracy, groups redrawn", []).append(bool(low <= known["accuracy"] <= high))
        images = wilson(int(right.sum()), len(y))
        hits.setdefault("accuracy, images counted", []).append(known["accuracy"] in images)
    return {name: float(np.mean(values)) for name, values in hits.items()}


def split_accuracies(rng: np.random.Generator) -> np.ndarray:
    """Return the accuracy of a nearest-mean classifier on each of some random splits of one set of points."""
    y = np.arange(POINTS) % 2
    x = rng.normal(size=(POINTS, DIMENSIONS)) + 0.35 * y[:, None]
    out = []
    for _ in range(SPLITS):
        order = rng.permutation(POINTS)
        test, train = np.split(order, [int(TEST * POINTS)])
        means = np.stack([x[train][y[train] == k].mean(axis=0) for k in (0, 1)])
        out.append((((x[test, None] - means) ** 2).sum(axis=2).argmin(axis=1) == y[test]).mean())
    return np.array(out)


def over_splits(sets: int = SETS, seed: int = 0) -> dict[str, float]:
    """Return the share of t-intervals over splits that contain the truth, with the correction and without it."""
    rng = np.random.default_rng(seed)
    every = np.array([split_accuracies(rng) for _ in range(sets)])
    known, ratios = float(every.mean()), {"as if independent": 0.0, "Nadeau and Bengio": TEST / (1 - TEST)}
    return {
        name: float(np.mean([known in t_interval(one, test_to_train=ratio) for one in every]))
        for name, ratio in ratios.items()
    }


def main() -> None:
    ledger = Ledger(__file__, sets=SETS, groups={}, splits={})
    for name, world in WORLDS.items():
        rows: dict[str, Any] = ledger.kept["groups"].setdefault(name, {})
        for count in GROUPS:
            ledger.once(rows, str(count), lambda w=world, c=count: covered(w, c))
    ledger.once(ledger.kept["splits"], str(SPLITS), over_splits)
    metrics = list(next(iter(ledger.kept["groups"].values()))["40"])
    print(f"| | {' | '.join(map(str, GROUPS))} |\n|---" + "|---" * len(GROUPS) + "|")
    for metric in metrics:
        cells = [[rows[str(count)].get(metric) for rows in ledger.kept["groups"].values()] for count in GROUPS]
        words = [f"{100 * min(c):.0f}–{100 * max(c):.0f}" if None not in c else "–" for c in cells]
        print(f"| {metric.replace('_', ' ')} | {' | '.join(words)} |")
    print(ledger.kept["splits"])


if __name__ == "__main__":
    main()
