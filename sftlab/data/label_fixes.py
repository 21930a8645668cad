"""Corrected labels in a CSV file beside the data: the originals stay as they are, and every change can be read.

`load(…, corrections=…)` and `sft.corrected` use such a file, the relabelling widget writes it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sftlab.data.dataset import NO_LABEL, Data, Split, normal_name, with_targets
from sftlab.data.storage import as_path, replacing

Key = tuple[str, str]


class Correction(NamedTuple):
    """One corrected label. image: a hash of the file, or of the pixels where there is none. new: "" leaves it out."""

    image: str
    file: str
    old: str
    new: str
    when: str


COLUMNS = Correction._fields


def read_corrections(path: str | Path) -> dict[Key, Correction]:
    """Read a CSV of corrections, {} if there is none yet. Raises ValueError for a file that is something else."""
    path = as_path(path)
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [Correction(*(normal_name(line[name] or "") for name in COLUMNS)) for line in csv.DictReader(file)]
    except (ValueError, KeyError, csv.Error) as error:
        raise ValueError(f"{path.name} is no table of corrections ({error}); expected {','.join(COLUMNS)}") from None
    return {(row.image, row.file): row for row in rows}


def write_corrections(rows: Mapping[Key, Correction], path: str | Path) -> None:
    """Write a CSV of corrections, whole or not at all; without a row there is no file."""
    path = as_path(path)
    if not rows:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows.values()])


def corrections_path(data: Data) -> Path:
    """Return the CSV of a data set's corrections, named as the set is: a file of its own for each."""
    name = re.sub(r"[^\w.-]+", "_", data.card.name)
    return Path(f"corrections_{name}.csv")


def address(split: Split, position: int) -> Key:
    """Return (hash, file name) of one image of a split: its file's where it has one, else that of its pixels."""
    return _addresses(split)[int(split.index[position])]


def _addresses(split: Split) -> list[Key]:
    """Return the address of every row: unlike pixels, the bytes of a file know no size."""
    if not split.files:
        return [(image, "") for image in split.identities or split.image_hashes]
    return list(zip(split.identities, split.of_rows(range(len(split.files))).names, strict=True))


def corrected(data: Data, path: str | Path | None = None) -> Data:
    """Return the same images and splits with the labels that a CSV of corrections gives.

    path: by default `corrections_path(data)`. The split stays as it was drawn, so that results before and after are
    about the same images. An empty new label leaves the image out. Rows about other images, and rows whose old label is
    not the present one, change nothing and are counted in `card.notes`. Without a file the data come back as they are.
    Raises ValueError for a new label that is no class, for data without single class numbers, or for a split of which
    nothing would be left.
    """
    path = Path(path) if path is not None else corrections_path(data)
    rows = read_corrections(path)
    if not rows:
        return data
    classes, targets = data.classes, data.train.targets
    if not isinstance(classes, list) or isinstance(targets, dict) or targets.ndim != 1:
        raise ValueError("corrections give one class an image, but these data have soft labels or several tasks")
    new, used = targets.clone(), set[Key]()
    for index, key in enumerate(_addresses(data.train)):
        row, label = rows.get(key), int(targets[index])
        if row and label >= 0 and classes[label] in (row.old, row.new):
            used.add(key)
            if row.new not in ("", *classes):
                raise ValueError(f"{path.name} says {row.new}; the classes are {', '.join(classes)}")
            new[index] = classes.index(row.new) if row.new else NO_LABEL
    parts: dict[str, Split] = {}
    notes = list(data.card.notes)
    for part in (data.train, data.valid, data.test):
        changes = (new != targets)[part.index].numpy()
        gone = changes & (new == NO_LABEL)[part.index].numpy()
        if gone.all():
            raise ValueError(f"these corrections leave no image of the {part.name} split")
        parts[part.name] = part.subset(np.flatnonzero(~gone))
        if changes.any():
            notes.append(
                f"{path.name} corrects {part.name}: {changes.sum() - gone.sum()} with a new label, "
                f"{gone.sum()} left out."
            )
    if idle := len(rows) - len(used):
        notes.append(f"{path.name}: {idle} row{'s' * (idle > 1)} about other images, or other labels, not used.")
    return with_targets(Data(**parts, card=replace(data.card, notes=notes)), new, classes)
