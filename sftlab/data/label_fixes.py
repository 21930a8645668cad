"""Corrected labels in a CSV file beside the data: the originals stay as they are, and every change can be read.

`load(…, corrections=…)` and `sft.corrected` use such a file, the relabelling widget writes it.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sftlab.data.dataset import Data, Split, with_targets
from sftlab.data.download import file_hash

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
    path = Path(path)
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [Correction(*(line[name] or "" for name in COLUMNS)) for line in csv.DictReader(file)]
    except (ValueError, KeyError, csv.Error) as error:
        raise ValueError(f"{path.name} is no table of corrections ({error}); expected {','.join(COLUMNS)}") from None
    return {(row.image, row.file): row for row in rows}


def write_corrections(rows: Mapping[Key, Correction], path: str | Path) -> None:
    """Write a CSV of corrections, whole or not at all; without a row there is no file."""
    path = Path(path)
    if not rows:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows.values()])
    partial.replace(path)


def address(split: Split, position: int) -> Key:
    """Return (hash, file name) of one image of a split: its file's where it has one, else that of its pixels."""
    row = int(split.index[position])
    if not split.files:
        return split.image_hashes[row], ""
    path = Path(split.files[row])
    return file_hash(path)[:16], path.relative_to(_root(split)).as_posix()  # unlike pixels, bytes know no size


def corrected(data: Data, path: str | Path) -> Data:
    """Return the same images and splits with the labels that a CSV of corrections gives.

    The split stays as it was drawn, so that results before and after are about the same images. An empty new label
    leaves the image out. Rows about other images, and rows whose old label is not the present one, change nothing and
    are counted in `card.notes`. Without a file the data come back as they are. Raises ValueError for a new label that
    is no class, for data without single class numbers, or for a split of which nothing would be left.
    """
    rows = read_corrections(path)
    if not rows:
        return data
    classes, targets = data.classes, data.train.targets
    if not isinstance(classes, list) or isinstance(targets, dict) or targets.ndim != 1:
        raise ValueError("corrections give one class an image, but these data have soft labels or several tasks")
    if unknown := sorted({row.new for row in rows.values()} - {*classes, ""}):
        raise ValueError(f"{Path(path).name} says {', '.join(unknown)}; the classes are {', '.join(classes)}")
    new, left_out, used = targets.clone(), set[int](), set[Key]()
    for index, key in _matches(data.train, rows):
        row, now = rows[key], classes[int(targets[index])]
        if now in (row.old, row.new):
            used.add(key)
            if row.new:
                new[index] = classes.index(row.new)
            else:
                left_out.add(index)
    parts: dict[str, Split] = {}
    notes = list(data.card.notes)
    for part in (data.train, data.valid, data.test):
        stays = ~np.isin(part.index, list(left_out))
        if not stays.any():
            raise ValueError(f"these corrections leave no image of the {part.name} split")
        parts[part.name] = replace(part, index=part.index[stays])
        changed = int((new != targets)[part.index].sum())
        if changed or not stays.all():
            notes.append(
                f"{Path(path).name} corrects {part.name}: {changed} with a new label, {(~stays).sum()} left out."
            )
    if idle := len(rows) - len(used):
        notes.append(f"{Path(path).name}: {idle} row{'s' * (idle > 1)} about other images, or other labels, not used.")
    return with_targets(Data(**parts, card=replace(data.card, notes=notes)), new, classes)


def _matches(split: Split, rows: Mapping[Key, Correction]) -> list[tuple[int, Key]]:
    """Return (row of the images, key of the correction) wherever the two are about the same image."""
    if not split.files:
        by_image = {key[0]: key for key in rows}
        return [(i, by_image[image]) for i, image in enumerate(split.image_hashes) if image in by_image]
    place = {Path(file): i for i, file in enumerate(split.files)}
    files = [(_root(split) / key[1], key) for key in rows if key[1]]
    return [(place[p], key) for p, key in files if p in place and p.is_file() and file_hash(p)[:16] == key[0]]


def _root(split: Split) -> Path:
    return Path(os.path.commonpath([str(Path(file).parent.parent) for file in split.files]))
