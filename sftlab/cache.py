"""Frozen work is done once: the features of a frozen prefix live on disk, addressed by content.

An entry's key is the hash of everything its values depend on: the prefix (structure, parameters, buffers), the images,
their size, and how they were encoded. Every run, notebook and process that asks for the same thing shares the entry;
nothing is ever invalidated, because other content has another key.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.data import Split, batch_positions, data_dir
from sftlab.data.core import Targets
from sftlab.surgery import evaluating, fingerprint, frozen_prefix, has_parameters

VERSION = 1  # raise it when the meaning of an entry changes; old entries are then never read again
ENCODE_BATCH = 32
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Features:
    """What a frozen prefix makes of a split, with the same `batches` as the split itself.

    arrays: one memory-mapped array for each tensor that flows between the stages, images first; channels last where
    the loop has them last, so that a batch needs no reordering.
    seconds: what encoding cost when it was done; reused: whether it was already on disk.
    """

    arrays: list[np.ndarray]
    split: Split
    seconds: float
    reused: bool

    def __len__(self) -> int:
        return len(self.split)

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(a.nbytes for a in self.arrays)

    def take(self, positions: np.ndarray) -> tuple[Any, Targets]:
        """Return (features, targets) at `positions`; features are one tensor or a tuple of tensors."""
        x = tuple(_channels_first(torch.from_numpy(a[positions])) for a in self.arrays)
        return x[0] if len(x) == 1 else x, self.split.labels(positions)

    def batches(
        self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Any, Targets]]:
        """Iterate over (features, targets) in exactly the order in which the split would deliver its images."""
        for positions in batch_positions(len(self), batch_size, seed=seed, epoch=epoch):
            yield self.take(positions)


def worthwhile(model: nn.Sequential) -> int:
    """Return how many leading stages to run once: the frozen prefix, or 0 if it computes nothing worth keeping."""
    cut = frozen_prefix(model)
    return cut if has_parameters(model[:cut]) else 0


def features(
    prefix: nn.Sequential, split: Split, *, device: torch.device | None = None, progress: Progress | None = None
) -> Features:
    """Return the features of `split` behind a frozen `prefix`, from disk if any run ever made them.

    The prefix runs in eval mode without gradients, whatever its flags say. progress(done, total) is called between
    batches while encoding; what it raises ends the encoding and leaves nothing half-written.
    """
    from filelock import FileLock

    device = device or torch.device("cpu")
    folder = cache_dir() / key(prefix, split, device)
    if not (folder / "entry.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):  # two processes that ask at once compute it once
            if not (folder / "entry.json").exists():
                seconds = _encode(prefix, split, folder, device, progress)
                folder.with_suffix(".lock").unlink(missing_ok=True)
                _evict(keep=folder)
                return Features(_open(folder), split, seconds, reused=False)
    os.utime(folder)  # least recently used goes first
    facts = json.loads((folder / "entry.json").read_text())
    return Features(_open(folder), split, facts["seconds"], reused=True)


def key(prefix: nn.Sequential, split: Split, device: torch.device) -> str:
    """Return the address of an entry: a hash of all that its values depend on."""
    parts = [VERSION, torch.__version__, device.type, repr(prefix), fingerprint(prefix), split.digest]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _encode(
    prefix: nn.Sequential, split: Split, folder: Path, device: torch.device, progress: Progress | None
) -> float:
    """Encode batch by batch straight into memory-mapped files beside `folder`, then move them there at once."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed; the lock says nobody writes it now
    partial.mkdir()
    arrays: list[np.memmap] = []
    start, done = time.perf_counter(), 0
    try:
        with evaluating(prefix), torch.no_grad():
            for positions in batch_positions(len(split), ENCODE_BATCH):
                out = prefix(split.pixels(positions).to(device))
                for i, tensor in enumerate(out if isinstance(out, tuple) else (out,)):
                    values = _channels_last(tensor.cpu()).numpy()
                    if i == len(arrays):
                        shape = (len(split), *values.shape[1:])
                        arrays.append(np.lib.format.open_memmap(partial / f"{i}.npy", "w+", values.dtype, shape))
                    arrays[i][positions] = values
                done += len(positions)
                if progress is not None:
                    progress(done, len(split))
        for array in arrays:
            array.flush()
        seconds = time.perf_counter() - start
        facts = {
            "seconds": seconds,
            "images": len(split),
            "bytes": sum(a.nbytes for a in arrays),
            "arrays": len(arrays),
        }
        (partial / "entry.json").write_text(json.dumps(facts))
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return seconds


def _open(folder: Path) -> list[np.ndarray]:
    count = json.loads((folder / "entry.json").read_text())["arrays"]
    # copy-on-write: a caller who changes a feature in place changes his own copy, never the store
    return [np.load(folder / f"{i}.npy", mmap_mode="c") for i in range(count)]


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
    folders = [f for f in cache_dir().iterdir() if (f / "entry.json").exists()]
    return sorted((f.stat().st_mtime, sum(p.stat().st_size for p in f.iterdir()), f) for f in folders)


def _evict(keep: Path) -> None:
    entries = _entries()
    total = sum(size for _, size, _ in entries)
    for _, size, folder in entries:
        if total <= limit():
            return
        if folder != keep:
            shutil.rmtree(folder, ignore_errors=True)
            total -= size
