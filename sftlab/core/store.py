"""Where features lie on disk: a folder an entry, a row an image, a size limit for all of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sftlab.data import Split, View, batch_positions, data_dir
from sftlab.data.dataset import Targets


@dataclass
class Entry:
    """The index of one entry: whose features its rows are, their form, what they cost, and how many threads made them.

    threads: every count that had a part in it, none for entries of earlier versions. Two counts differ in their last
    bits; a key for each would double the store for that, so the index only says which it was.
    """

    rows: dict[str, int]
    forms: list[tuple[tuple[int, ...], str]]
    seconds: float
    threads: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Entry:
        """Read the index of an entry; an empty one if there is none yet."""
        try:
            facts = json.loads((folder / "index.json").read_text())
        except FileNotFoundError:
            return cls({}, [], 0.0)
        forms = [(tuple(shape), dtype) for shape, dtype in facts["forms"]]
        rows = {h: i for i, h in enumerate(facts["images"])}
        return cls(rows, forms, facts["seconds"], facts.get("threads", []))

    def write(self, folder: Path) -> None:
        """Write the index, whole or not at all: it names a row only once its bytes are written."""
        partial = folder / "index.partial"
        facts = {"images": list(self.rows), "forms": self.forms, "seconds": self.seconds, "threads": self.threads}
        partial.write_text(json.dumps(facts))
        partial.replace(folder / "index.json")

    def missing(self, images: Sequence[str]) -> np.ndarray:
        """Return the positions of images (by hash) that have no row yet, each image once."""
        first: dict[str, int] = {}
        for position, image in enumerate(images):
            if image not in self.rows:
                first.setdefault(image, position)
        return np.array(list(first.values()), dtype=np.int64)

    def arrays(self, folder: Path) -> list[np.ndarray]:
        """Map the rows copy-on-write: who changes a feature in place changes his own copy, never the store."""
        shapes = [((len(self.rows), *shape), dtype) for shape, dtype in self.forms]
        return [np.memmap(folder / f"{i}.bin", dtype, "c", shape=shape) for i, (shape, dtype) in enumerate(shapes)]


@dataclass(frozen=True, eq=False)
class Features:
    """What a frozen prefix makes of a split, with the same `batches` as the split itself.

    arrays: one memory-mapped array for each tensor that flows between the stages, an image a row; channels last where
    the loop has them last, so that a batch needs no reordering. rows: the row of each image of the split.
    seconds: what encoding cost, now or when it was done; reused: whether all of it was on disk already; start: how
    many leading stages did not have to run even so, because a shallower cut's features were there. threads: with how
    many threads its entry was made; more than one number if different processes had a part in it.
    """

    arrays: list[np.ndarray]
    rows: np.ndarray
    split: Split | View
    seconds: float
    reused: bool
    start: int = 0
    threads: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.split)

    @property
    def bytes(self) -> int:
        """Size on disk of the features of this split."""
        return sum(len(self) * a[:1].nbytes for a in self.arrays)

    def inputs(self, positions: np.ndarray) -> Any:
        """Return the features at `positions`: one tensor or a tuple of tensors."""
        rows = self.rows[positions]
        x = tuple(_channels_first(torch.from_numpy(np.asarray(a[rows]))) for a in self.arrays)
        return x[0] if len(x) == 1 else x

    def take(self, positions: np.ndarray) -> tuple[Any, Targets]:
        """Return (features, targets) at `positions`."""
        return self.inputs(positions), self.split.labels(positions)

    def batches(
        self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Any, Targets]]:
        """Iterate over (features, targets) in exactly the order in which the split would deliver its images."""
        for positions in batch_positions(len(self), batch_size, seed=seed, epoch=epoch):
            yield self.take(positions)


def channels_last(x: Tensor) -> Tensor:
    """Return N×C×H×W as N×H×W×C; the loop keeps images in that order in memory, so nothing moves."""
    return x.movedim(1, -1) if x.ndim == 4 else x


def _channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1) if x.ndim == 4 else x


def cache_dir() -> Path:
    """Return the folder of the feature store."""
    return data_dir() / "features"


def limit() -> int:
    """Return the size limit in bytes: $SFTLAB_CACHE_GB (default 10) gigabytes."""
    text = os.environ.get("SFTLAB_CACHE_GB", "10")
    try:
        return int(float(text) * 1e9)
    except ValueError:
        raise ValueError(f"SFTLAB_CACHE_GB={text!r}: a number of gigabytes, such as 10") from None


@dataclass(frozen=True)
class Info:
    """What the store holds."""

    entries: int
    bytes: int
    limit: int
    folder: str

    def __str__(self) -> str:
        return f"{self.entries} entries, {self.bytes / 1e6:,.0f} MB of {self.limit / 1e9:g} GB"


def info() -> Info:
    """Return how many entries the store holds and how large it is."""
    found = _entries()
    return Info(len(found), sum(size for _, size, _ in found), limit(), str(cache_dir()))


def clear() -> int:
    """Delete every entry; return the bytes set free. Features are made again when asked for."""
    freed = info().bytes
    shutil.rmtree(cache_dir(), ignore_errors=True)
    return freed


def _entries() -> list[tuple[float, int, Path]]:
    if not cache_dir().is_dir():
        return []
    folders = [f for f in cache_dir().iterdir() if (f / "index.json").exists()]
    return sorted((f.stat().st_mtime, sum(p.stat().st_size for p in f.iterdir()), f) for f in folders)


class NoRoom(OSError):
    """The features are larger than what the store may hold, or than the disk."""


def check_room(price: int, images: int) -> None:
    """Raise NoRoom if `price` bytes for the features of that many images are too many."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    room = min(limit(), shutil.disk_usage(cache_dir()).free)
    if price > room:
        raise NoRoom(
            f"the features of {images} images would take {price / 1e9:.2g} GB, and the store has room for "
            f"{room / 1e9:.2g} GB: freeze more stages, or raise SFTLAB_CACHE_GB"
        )


def evict(keep: Path) -> None:
    """Delete the entries used longest ago until the store is within its limit; `keep` stays."""
    from filelock import FileLock, Timeout

    entries = _entries()
    total = sum(size for _, size, _ in entries)
    for _, size, folder in entries:
        if total <= limit():
            return
        if folder != keep:
            try:
                with FileLock(folder / "lock", timeout=0):  # somebody may be writing it
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue
            total -= size
