"""Corrected labels in a CSV file beside the data: the originals stay as they are, and every change can be read."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sftlab.data.dataset import Data, Split, with_targets

COLUMNS = ("image", "file", "old", "new", "when")
Key = tuple[str, str]


@dataclass(frozen=True)
class Correction:
    """One corrected label. image: a hash of the file, or of the pixels where there is none. new: "" leaves it out."""

    image: str
    file: str
    old: str
    new: str
    when: str


def read_corrections(path: str | Path) -> dict[Key, Correction]:
    """Read a CSV of corrections, {} if there is none yet. Raises ValueError for a file that is something else."""
    path = Path(path)
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if missing := set(COLUMNS) - set(table.fieldnames or []):
                raise ValueError(f"no column {', '.join(sorted(missing))}")
            rows = [Correction(*(row[column] or "" for column in COLUMNS)) for row in table]
    except (ValueError, csv.Error) as error:
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
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([getattr(row, column) for column in COLUMNS] for row in rows.values())
    partial.replace(path)


def address(split: Split, position: int) -> Key:
    """Return (hash, file name) of one image of a split: its file's where it has one, else that of its pixels."""
    row = int(split.index[position])
    if not split.files:
        return split.image_hashes[row], ""
    path = Path(split.files[row])
    return file_hash(path), path.relative_to(_root(split)).as_posix()


def file_hash(path: Path) -> str:
    """Return the hash of a file's bytes; unlike that of its pixels it does not depend on the size they are read at."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


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
    new, gone, applied = targets.clone(), set[int](), set[Key]()
    for index, key in _matches(data, rows):
        row, now = rows[key], classes[int(targets[index])]
        if now in (row.old, row.new):
            applied.add(key)
            gone |= {index} if not row.new else set()
            new[index] = classes.index(row.new) if row.new else targets[index]
    parts, told = _without(data, gone), _told(data, new, gone)
    notes = [f"{Path(path).name} corrects {told}."] if told else []
    if idle := len(rows) - len(applied):
        notes.append(f"{Path(path).name}: {idle} row{'s' * (idle > 1)} about other images, or other labels, not used.")
    return with_targets(replace(parts, card=replace(data.card, notes=[*data.card.notes, *notes])), new, classes)


def _matches(data: Data, rows: Mapping[Key, Correction]) -> list[tuple[int, Key]]:
    """Return (row of the images, key of the correction) wherever the two are about the same image."""
    found, train = [], data.train
    if train.files:
        where = {Path(file): i for i, file in enumerate(train.files)}
        for key in rows:
            path = _root(train) / key[1]
            if key[1] and path in where and path.is_file() and file_hash(path) == key[0]:
                found.append((where[path], key))
        return found
    known = {key[0]: key for key in rows}
    return [(i, known[image]) for i, image in enumerate(train.image_hashes) if image in known]


def _without(data: Data, gone: set[int]) -> Data:
    def rest(part: Split) -> Split:
        kept = np.array([i for i in part.index.tolist() if i not in gone], dtype=np.int64)
        if not len(kept):
            raise ValueError(f"these corrections leave no image of the {part.name} split")
        return replace(part, index=kept)

    return Data(rest(data.train), rest(data.valid), rest(data.test), data.card)


def _told(data: Data, new: torch.Tensor, gone: set[int]) -> str:
    """Say how many labels of which split change."""
    old, counts = data.train.targets, Counter[str]()
    assert isinstance(old, torch.Tensor)
    for part in (data.train, data.valid, data.test):
        for i in part.index.tolist():
            counts[f"{part.name} {'without' if i in gone else 'labels'}"] += i in gone or bool(new[i] != old[i])
    words = {"labels": ("label", "labels"), "without": ("image left out", "images left out")}
    return ", ".join(
        f"{n} {words[kind][n > 1]} of {part}" for (part, kind), n in ((k.split(), n) for k, n in counts.items()) if n
    )


def _root(split: Split) -> Path:
    return Path(os.path.commonpath([str(Path(file).parent.parent) for file in split.files]))
