"""Learn from images of one kind, ask about another: what a second task of a data set is good for besides learning."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sftlab.data.assembly import with_targets
from sftlab.data.core import Data, Split


class Elsewhere(NamedTuple):
    """Data of one kind, and two splits of the other kinds: `away` to measure on, `spare` to repair with."""

    home: Data
    away: Split
    spare: Split


def elsewhere(data: Data, task: str, *, by: str, home: str, n: int, seed: int = 0) -> Elsewhere:
    """Part the images of a data set of several tasks by one of them, and keep another as the question.

    task: the question that is kept. by: the task whose classes are the kinds. home: the kind to learn from. n images of
    it are trained on, up to n others are `home.valid`; up to n of the other kinds are `away`, the rest of them `spare`.
    All are drawn by `seed` from train and valid together; the test split stays as it is, of all kinds.
    Raises ValueError for a task or a kind that the data does not have, or if there are not more than n images of it.
    """
    classes = data.classes if isinstance(data.classes, dict) else {}
    if task not in classes or by not in classes or task == by:
        has = f"two of {', '.join(classes)}" if classes else "this data has one task only"
        raise ValueError(f"task={task!r}, by={by!r}: {has}")
    if home not in classes[by]:
        raise ValueError(f"home={home!r}: one of {', '.join(classes[by])}")
    kind = data.train.targets[by].numpy()  # type: ignore[index]
    known, rng = np.concatenate([data.train.index, data.valid.index]), np.random.default_rng(seed)
    drawn = [rng.permutation(known[kind[known] == k]) for k in range(len(classes[by]))]
    here = drawn.pop(classes[by].index(home))
    there = drawn[0] if len(drawn) == 1 else rng.permutation(np.concatenate(drawn))
    if len(here) <= n:
        raise ValueError(f"n={n}: there are {len(here)} of {home} outside the test, and some must be left to measure")
    one = with_targets(data, data.train.targets[task], classes[task])  # type: ignore[index]
    mine = replace(one, train=one.train.of_rows(here[:n]), valid=one.valid.of_rows(here[n : 2 * n]))
    return Elsewhere(mine, one.valid.of_rows(there[:n]), one.valid.of_rows(there[n:]))
