"""Frozen work is done once: the features of a frozen prefix live on disk, addressed by content.

An entry's key is the hash of everything its values depend on: the prefix (structure, parameters, buffers), the size of
the images, and how they were encoded; in it, each image has a row by the hash of its pixels. So every run, split,
seed, notebook and process that asks for the same image behind the same prefix shares the row, and nothing is ever
invalidated, because other content has another key.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.data import Split, batch_positions, data_dir
from sftlab.data.core import Targets
from sftlab.surgery import evaluating, fingerprint, frozen_prefix, has_parameters

VERSION = 2  # raise it when the meaning of an entry changes; old entries are then never read again
ENCODE_BATCH = 32
SAVE_SECONDS = 5.0  # how much work a kill may lose
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Features:
    """What a frozen prefix makes of a split, with the same `batches` as the split itself.

    arrays: one memory-mapped array for each tensor that flows between the stages, an image a row; channels last where
    the loop has them last, so that a batch needs no reordering. rows: the row of each image of the split.
    seconds: what encoding cost, now or when it was done; reused: whether all of it was on disk already.
    """

    arrays: list[np.ndarray]
    rows: np.ndarray
    split: Split
    seconds: float
    reused: bool

    def __len__(self) -> int:
        return len(self.split)

    @property
    def bytes(self) -> int:
        """Size on disk of the features of this split."""
        return sum(len(self) * a[:1].nbytes for a in self.arrays)

    def take(self, positions: np.ndarray) -> tuple[Any, Targets]:
        """Return (features, targets) at `positions`; features are one tensor or a tuple of tensors."""
        rows = self.rows[positions]
        x = tuple(_channels_first(torch.from_numpy(np.asarray(a[rows]))) for a in self.arrays)
        return x[0] if len(x) == 1 else x, self.split.labels(positions)

    def batches(
        self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Any, Targets]]:
        """Iterate over (features, targets) in exactly the order in which the split would deliver its images."""
        for positions in batch_positions(len(self), batch_size, seed=seed, epoch=epoch):
            yield self.take(positions)


@dataclass
class _Entry:
    """The index of one entry: whose features its rows are, their form, and what they cost to make."""

    rows: dict[str, int]
    forms: list[tuple[tuple[int, ...], str]]
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> _Entry:
        try:
            facts = json.loads((folder / "index.json").read_text())
        except FileNotFoundError:
            return cls({}, [], 0.0)
        forms = [(tuple(shape), dtype) for shape, dtype in facts["forms"]]
        return cls({h: i for i, h in enumerate(facts["images"])}, forms, facts["seconds"])

    def write(self, folder: Path) -> None:
        partial = folder / "index.partial"
        partial.write_text(json.dumps({"images": list(self.rows), "forms": self.forms, "seconds": self.seconds}))
        partial.replace(folder / "index.json")

    def missing(self, split: Split) -> np.ndarray:
        """Return the positions of images that have no row yet, each image once."""
        first: dict[str, int] = {}
        for position, image in enumerate(split.hashes):
            if image not in self.rows:
                first.setdefault(image, position)
        return np.array(list(first.values()), dtype=np.int64)

    def arrays(self, folder: Path) -> list[np.ndarray]:
        """Map the rows copy-on-write: who changes a feature in place changes his own copy, never the store."""
        shapes = [((len(self.rows), *shape), dtype) for shape, dtype in self.forms]
        return [np.memmap(folder / f"{i}.bin", dtype, "c", shape=shape) for i, (shape, dtype) in enumerate(shapes)]


def worthwhile(model: nn.Sequential) -> int:
    """Return how many leading stages to run once: the frozen prefix, or 0 if it computes nothing worth keeping."""
    cut = frozen_prefix(model)
    return cut if has_parameters(model[:cut]) else 0


def missing(prefix: nn.Sequential, split: Split) -> int:
    """Return how many images of `split` would have to be encoded: the price of a cut, before it is paid."""
    device = next(prefix.parameters()).device
    return len(_Entry.read(cache_dir() / key(prefix, split.size, device)).missing(split))


def features(
    prefix: nn.Sequential, split: Split, *, device: torch.device | None = None, progress: Progress | None = None
) -> Features:
    """Return the features of `split` behind a frozen `prefix`; images that any run ever encoded come from disk.

    The prefix runs in eval mode without gradients, whatever its flags say. progress(done, total) is called between
    batches while encoding; what it raises ends the encoding, and finished batches are kept.
    """
    from filelock import FileLock

    device = device or torch.device("cpu")
    folder = cache_dir() / key(prefix, split.size, device)
    entry, seconds, made = _Entry.read(folder), 0.0, 0
    if len(entry.missing(split)):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):  # two processes that ask at once compute it once
            entry = _Entry.read(folder)
            positions, before = entry.missing(split), entry.seconds
            made = len(positions)
            if made:
                _encode(prefix, split, positions, folder, entry, device, progress)
            seconds = entry.seconds - before
        _evict(keep=folder)
    os.utime(folder)  # least recently used goes first
    if not made:
        seconds = entry.seconds * len(split) / max(1, len(entry.rows))
    rows = np.array([entry.rows[image] for image in split.hashes], dtype=np.int64)
    return Features(entry.arrays(folder), rows, split, seconds, reused=not made)


def key(prefix: nn.Sequential, size: int, device: torch.device) -> str:
    """Return the address of an entry: a hash of all that its values depend on besides the images themselves."""
    parts = [VERSION, torch.__version__, device.type, repr(prefix), fingerprint(prefix), size]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _encode(
    prefix: nn.Sequential, split: Split, positions: np.ndarray, folder: Path, entry: _Entry, device: torch.device,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Append the images at `positions`, batch by batch. The index names a row only once its bytes are written.

    What a killed process wrote beyond its index is cut off first, so it is never read.
    """
    hashes, files = split.hashes, list[IO[bytes]]()
    saved = clock = time.perf_counter()
    with ExitStack() as stack, evaluating(prefix), torch.no_grad():

        def save() -> None:
            nonlocal clock, saved
            now = time.perf_counter()
            entry.seconds, clock, saved = entry.seconds + now - clock, now, now
            for file in files:
                file.flush()
            entry.write(folder)

        try:
            for batch in batch_positions(len(positions), ENCODE_BATCH):
                chosen = positions[batch]
                out = prefix(split.pixels(chosen).to(device))
                tensors = out if isinstance(out, tuple) else (out,)
                values = [_channels_last(t.cpu()).contiguous().numpy() for t in tensors]
                entry.forms = entry.forms or [(v.shape[1:], str(v.dtype)) for v in values]
                for i, value in enumerate(values):
                    if i == len(files):
                        files.append(stack.enter_context((folder / f"{i}.bin").open("ab")))
                        files[i].truncate(len(entry.rows) * value[:1].nbytes)
                    files[i].write(value.tobytes())
                entry.rows |= {hashes[p]: len(entry.rows) + k for k, p in enumerate(chosen)}
                if time.perf_counter() - saved > SAVE_SECONDS:
                    save()
                if progress is not None:
                    progress(int(batch[-1]) + 1, len(positions))
        finally:
            if files:
                save()


def _channels_last(x: Tensor) -> Tensor:
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


def _evict(keep: Path) -> None:
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
