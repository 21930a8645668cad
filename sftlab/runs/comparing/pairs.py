"""Two evaluations of the same test images, image by image: what differs, and whether it is more than chance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sftlab.core import records, statistics
from sftlab.core.losses import NO_LABEL
from sftlab.core.records import Interval, Result
from sftlab.runs import grids
from sftlab.runs import results as runs
from sftlab.runs.comparing.paired import differences
from sftlab.runs.parameters import NotebookError

MACHINE_MADE = re.compile(r"\d{4}-\d\d-\d\d_\d{6}_.+|.+-[0-9a-f]{12}")  # names of folders: of `run`, of a sweep's run
ORDINARY = ("images", "size")  # settings that say which images were seen; those are compared by themselves


@dataclass(frozen=True)
class Side:
    """One of the two runs: its name, folder, record, and everything it was told."""

    name: str
    folder: Path
    result: Result
    settings: dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """A metric of both runs, and the second minus the first, in pairs; None where no paired test is known."""

    name: str
    first: Interval
    second: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Difference:
    """An image on which just one run is right: its hash, class, and what each says with which probability."""

    image: str
    truth: str
    said: tuple[str, str]
    sure: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """What two runs have and do not have in common.

    settings: (name, first, second) where they differ. counts: images both have right, only the first, only the second,
    neither. p: of an exact McNemar test. only: the images that only the first, and only the second, has right, the
    surest mistake of the other one first.
    """

    sides: tuple[Side, Side]
    settings: list[tuple[str, Any, Any]]
    metrics: list[Metric]
    counts: tuple[int, int, int, int]
    p: float
    only: tuple[list[Difference], list[Difference]] = field(repr=False)

    @property
    def verdict(self) -> str:
        """Say in a sentence or two whether one is better than the other, as far as these images can tell."""
        change = next(m.difference for m in self.metrics if m.name == "accuracy")
        assert change is not None
        n, words = sum(self.counts), signed(f"{100 * change.low:+.1f} to {100 * change.high:+.1f}")
        points = f"{100 * abs(change.value):.1f} points"
        better = self.sides[1 if change.value > 0 else 0].name
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        told = f"second minus first {words} points, McNemar {p}, {n} images"
        if not change.value:
            return f"Both are right equally often ({told})."
        if self.p < 0.05:
            return f"{better} is right more often, by {points}, more than chance explains ({told})."
        return f"{better} is right more often, by {points}, but these images cannot tell that from chance ({told})."


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare two runs, each given as its folder or as the record in it.

    Raises NotebookError if one has no readable record, or the two were not judged by the same labelled images.
    """
    sides = _named(_side(first), _side(second))
    a, b = (side.result for side in sides)
    order = _lined_up(a, b)
    y = np.array(a.targets)
    pa, pb = np.array(a.probabilities), np.array(b.probabilities)[order]
    known = y != NO_LABEL
    y, pa, pb = y[known], pa[known], pb[known]
    hashes = [h for h, k in zip(a.hashes, known, strict=True) if k]
    right_a, right_b = pa.argmax(axis=1) == y, pb.argmax(axis=1) == y
    counts = [int(n.sum()) for n in (right_a & right_b, right_a & ~right_b, right_b & ~right_a, ~right_a & ~right_b)]
    only = [_only(side, y, (pa, pb), hashes, a.classes, (right_a, right_b)) for side in (0, 1)]
    changes = differences(y, pa, pb)
    metrics = [Metric(n, a.metrics[n], b.metrics[n], changes.get(n)) for n in a.metrics if n in b.metrics]
    return Comparison(
        sides, _differing(sides[0].settings, sides[1].settings), metrics, (counts[0], counts[1], counts[2], counts[3]),
        statistics.mcnemar(right_a, right_b), (only[0], only[1]),
    )  # fmt: skip


def signed(numbers: str) -> str:
    """Return text with real minus signs: a hyphen is easily overlooked before a small number."""
    return numbers.replace("-", "−")


def _side(run: str | Path) -> Side:
    folder = Path(run).resolve()
    folder = folder.parent if folder.name == runs.RECORD else folder
    if not (folder / runs.RECORD).is_file():
        what = "left no record there" if folder.is_dir() else "is not there"
        raise NotebookError(f"{run} {what}: give the folder of a run that has a {runs.RECORD}")
    try:
        result: Any = records.read(folder / runs.RECORD)
        facts = runs.Facts.read(folder) if (folder / runs.FACTS).is_file() else None
    except ValueError as error:
        raise NotebookError(f"{run} is damaged: {error}") from None
    if not isinstance(result, Result):
        raise NotebookError(f"{folder / runs.RECORD} holds no single evaluation, so there is nothing to compare")
    settings = {k: v for k, v in result.settings.items() if k not in ORDINARY}
    if facts is not None:
        settings = {"notebook": facts.notebook, **facts.parameters, **settings, **facts.versions}
        settings.pop("code", None)
    return Side(folder.name, folder, result, settings)


def _named(one: Side, two: Side) -> tuple[Side, Side]:
    """Return the sides with names one can tell apart: what differs in place of a name that no person chose."""
    told = [entry for entry in _differing(one.settings, two.settings) if entry[0].isupper()]
    if MACHINE_MADE.fullmatch(one.name) and MACHINE_MADE.fullmatch(two.name) and 0 < len(told) <= 3:
        ours, theirs = (", ".join(f"{entry[0]} {grids.shown(entry[i])}" for entry in told) for i in (1, 2))
        return replace(one, name=ours), replace(two, name=theirs)
    if one.name == two.name:
        one, two = (replace(side, name=f"{side.folder.parent.name}/{side.name}") for side in (one, two))
    return one, two


def _lined_up(a: Result, b: Result) -> list[int]:
    """Return where each image of `a` stands in `b`, by its hash; refuse what is no pair."""
    if a.classes != b.classes:
        raise NotebookError(f"their classes differ: {', '.join(a.classes)} and {', '.join(b.classes)}")
    ours, theirs = _counted(a.hashes), _counted(b.hashes)
    if set(ours) != set(theirs):
        shared = len(set(ours) & set(theirs))
        raise NotebookError(
            f"their test images differ ({a.n} and {b.n} images, {shared} in common), so image by image they cannot be "
            "compared; compare runs of the same data and the same SEED, which draws the split"
        )
    at = {image: i for i, image in enumerate(theirs)}
    order = [at[image] for image in ours]
    if other := sum(t != b.targets[i] for t, i in zip(a.targets, order, strict=True)):
        raise NotebookError(f"{other} of their {len(ours)} test images have another label in each; correct one of them")
    return order


def _counted(hashes: Sequence[str]) -> list[tuple[str, int]]:
    """Return each hash with its how-manieth time: a set may hold the same picture twice."""
    seen: Counter[str] = Counter()
    out = []
    for image in hashes:
        out.append((image, seen[image]))
        seen[image] += 1
    return out


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]


def _only(
    side: int, y: np.ndarray, p: tuple[np.ndarray, np.ndarray], hashes: list[str], classes: list[str],
    right: tuple[np.ndarray, np.ndarray],
) -> list[Difference]:  # fmt: skip
    """Return the images that only this side has right; first those of which the other was surest."""
    at = np.flatnonzero(right[side] & ~right[1 - side])
    at = at[np.argsort(-p[1 - side][at].max(axis=1), kind="stable")]
    return [
        Difference(
            hashes[i], classes[y[i]], (classes[p[0][i].argmax()], classes[p[1][i].argmax()]),
            (float(p[0][i].max()), float(p[1][i].max())),
        )
        for i in at
    ]  # fmt: skip
