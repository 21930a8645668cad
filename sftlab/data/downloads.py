"""Data sets that torchvision reads: downloaded into `data_dir()/torchvision` once, from there ever after."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from sftlab.data.assembly import assemble
from sftlab.data.core import Data
from sftlab.data.photos import to_square
from sftlab.data.remote import Bar, Damaged, Unreachable, check_room, download, full_disk_said, lock
from sftlab.data.splits import Rows, check_shares, draw, drop_copies
from sftlab.data.store import decoded, image_hash
from sftlab.data.torchvision_sets import TORCHVISION, Downloaded, root
from sftlab.data.unpacking import BROKEN, differs, unpack


def load_torchvision(
    name: str, *, size: int | None = None, per_class: int | None = None, seed: int = 0, valid: float = 0.15,
    test: float | None = None,
) -> Data:  # fmt: skip
    """Load a set of torchvision, downloading it if it is not here yet.

    Its own test split is `.test`; valid is its own, or a share of its training images drawn at random
    (`valid`), each class in proportion. `test` is a share of all images and only for a set without a test
    split (eurosat). A training image that is in test as well is dropped, and the card says how many.
    Photographs of many sizes are kept as squares of `size` (224).

    Raises FileNotFoundError with what to fetch and where to put it if the set is not here and cannot be
    downloaded.
    """
    about = TORCHVISION[name]
    if test is not None and len(about.parts) > 1:
        raise ValueError(f"test={test}: {name} has a test split of its own, which stays as it is; leave test out")
    check_shares(valid, test or 0.25)
    parts = _opened(name, about)
    labels = np.concatenate([_labels(part) for part in parts])
    classes = [str(c).replace("_", " ") for c in parts[0].classes]
    images, hashes = _images(name, about, parts, about.edge or size or 224)
    ends = np.cumsum([0, *(len(part) for part in parts)])
    of = [np.arange(start, stop) for start, stop in pairwise(ends)]
    notes, rows, split = list(about.notes), None, ""
    if len(of) == 3:
        rows, split = (of[0], of[1], of[2]), "as published"
    elif len(of) == 2:
        rows, split = (of[0], of[0][:0], of[1]), f"test as published, valid drawn from train, seed {seed}"
    if rows is not None:
        rows, dropped = drop_copies(rows, hashes)
        if dropped:
            notes.append(f"{len(dropped)} images of train are in test as well, to the pixel; they were dropped.")
        rows = rows if len(of) == 3 else _with_valid(rows, labels, hashes, valid, seed)
    return assemble(
        images, torch.from_numpy(labels), classes, name=name, rule=about.rule, size=size or about.edge,
        per_class=per_class, seed=seed, valid=valid, test=test or 0.25, rows=rows, split=split, hashes=hashes,
        source=f"torchvision.datasets.{about.cls}", licence=about.licence, citation=about.citation,
        notes=notes,
    )  # fmt: skip


def first_images(name: str) -> tuple[int, list[np.ndarray]]:
    """Open a set that is here: return how many images it has, and the first of each of its parts, H×W(×3).

    Raises FileNotFoundError if it is not here, or damaged.
    """
    about = TORCHVISION[name]
    if (parts := _here(about)) is None:
        raise FileNotFoundError(f"torchvision does not find {name} in {root() / about.folder}")
    try:
        return sum(map(len, parts)), [np.asarray(part[0][0]) for part in parts]
    except (OSError, IndexError) as error:
        raise FileNotFoundError(_damaged(name, about, error)) from None


def unpack_set(name: str) -> bool:
    """Unpack what was downloaded of a set, unless it lies there already, to the byte; tell whether there was need.

    Raises FileNotFoundError for a broken archive, NoRoom for a full disk.
    """
    about, done = TORCHVISION[name], False
    for file in about.remote(name):
        folder = file.path.parent
        try:
            with lock(file.place), full_disk_said(folder, lambda: "what was downloaded is kept"):
                if differs(file.path) is not None:
                    check_room(folder, file.path.stat().st_size, f"unpacking {file.name}")
                    unpack(file.path)
                    done = True
        except BROKEN as error:
            raise FileNotFoundError(_damaged(name, about, error)) from None
    return done


def _with_valid(rows: Rows, labels: np.ndarray, hashes: list[str], valid: float, seed: int) -> Rows:
    train, drawn = draw(rows[0], labels.tolist(), hashes, [valid], seed)
    return train, drawn, rows[2]


def _opened(name: str, about: Downloaded) -> list[Any]:
    """Return torchvision's data sets, a split each, downloaded and unpacked if need be."""
    if (parts := _here(about)) is None:
        _bring(name, about)
        parts = _here(about)
    if parts is None:
        raise FileNotFoundError(_damaged(name, about, "torchvision does not find its files in it"))
    return parts


def _here(about: Downloaded) -> list[Any] | None:
    """Return torchvision's data sets if they are unpacked here; None if they are not, or only in part."""
    from torchvision import datasets

    make = getattr(datasets, about.cls)
    try:
        return [make(root(), **part, download=False) for part in about.parts]
    except (RuntimeError, FileNotFoundError, EOFError):
        return None


def _bring(name: str, about: Downloaded) -> None:
    place = root() / about.folder
    try:
        with Bar(name) as bar:
            for file in about.remote(name):
                download(file, bar)
    except (Unreachable, Damaged) as error:
        raise FileNotFoundError(
            f"{name} is not on this machine and could not be downloaded ({error}). Where there is a network, run "
            f"`sftlab fetch {name}` and copy its data folder to this machine; or fetch {', '.join(about.files)} "
            f"({about.megabytes} MB; torchvision.datasets.{about.cls}(folder, download=True) does it), put "
            f"{'it' if len(about.files) == 1 else 'them'} into {place} and load again: it is unpacked then."
        ) from None
    unpack_set(name)


def _damaged(name: str, about: Downloaded, error: object) -> str:
    place = root() / about.folder
    return (
        f"{name} in {place} is damaged or only partly unpacked ({error}); `sftlab fetch {name}` mends it, or delete it "
        "there and load again"
    )


def _labels(part: Any) -> np.ndarray:
    # Three of torchvision's sets have no public name for their labels.
    found = part.targets if hasattr(part, "targets") else part._labels
    return np.array([int(label) for label in found], dtype=np.int64)


def _images(name: str, about: Downloaded, parts: list[Any], edge: int) -> tuple[np.ndarray, list[str]]:
    """Return (uint8 N×C×edge×edge of all parts in order, a hash each)."""
    if all(hasattr(part, "data") for part in parts):  # it comes as one array
        arrays = np.concatenate([np.asarray(part.data) for part in parts])
        images = arrays[:, None] if arrays.ndim == 3 else np.ascontiguousarray(arrays.transpose(0, 3, 1, 2))
        return images, [image_hash(image) for image in images]
    shape = (sum(len(part) for part in parts), 3, edge, edge)
    pictures = (to_square(part[i][0], edge) for part in parts for i in range(len(part)))
    try:
        return decoded(f"{name}-{edge}", shape, pictures)
    except FileNotFoundError as error:
        raise FileNotFoundError(_damaged(name, about, error)) from None
