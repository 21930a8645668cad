"""Frozen work is done once: the features of a frozen prefix live on disk, addressed by content.

An entry's key is the hash of everything its values depend on: the prefix (structure, parameters, buffers, the code of
modules that a user wrote), the size of the images, and the encoder; in it, each image (or augmented view of one) has a
row by its hash. So every run, split, seed, notebook and process that asks for the same image behind the same prefix
shares the row, and nothing is ever invalidated, because other content has another key.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import nn

from sftlab.core import encoders, memory
from sftlab.core.bytecode import own_code
from sftlab.core.model import evaluating, fingerprint, frozen_prefix, has_parameters
from sftlab.core.store import Entry, Features, NoRoom, cache_dir, channels_last, check_room, clear, evict, info, limit
from sftlab.data import Split, View

__all__ = [
    "Features", "NoRoom", "Prefix", "cache_dir", "clear", "features", "info", "key", "limit", "missing", "worthwhile",
]  # fmt: skip

VERSION = 2  # raise it when the meaning of an entry changes; old entries are then never read again
SAVE_SECONDS = 5.0  # how much work a kill may lose
Progress = Callable[[int, int], None]


def worthwhile(model: nn.Sequential) -> int:
    """Return how many leading stages to run once: the frozen prefix, or 0 if it computes nothing worth keeping."""
    cut = frozen_prefix(model)
    return cut if has_parameters(model[:cut]) else 0


class Prefix:
    """A frozen prefix at one image size, and its place in the store; its address is computed once.

    encoder: "torch" gives the loop's own numbers; "fast" those of a compiled copy, within `encoders.TOLERANCE`, on a
    CPU and where it pays. Exact features that are there already serve who asks for fast ones, never the reverse.
    """

    weight = 0  # bytes of the features of one image, known from the first batch on

    def __init__(
        self, prefix: nn.Sequential, size: int, *, device: torch.device | None = None, encoder: str = "torch"
    ) -> None:
        encoders.check(encoder)
        device = device or encoders.device_of(prefix)
        self.encoder, self.size, self.device = encoders.Encoder(prefix, encoder), size, device
        self.exact = cache_dir() / key(prefix, size, device)
        fast = encoder == "fast" and device.type == "cpu"
        self.folder = cache_dir() / key(prefix, size, device, encoder) if fast else self.exact

    def missing(self, split: Split | View) -> int:
        """Return how many images of `split` would have to be encoded: the price of a cut, before it is paid."""
        return len(self._entry(split)[1].missing(split.hashes))

    def features(self, split: Split | View, progress: Progress | None = None, *, images: int = 0) -> Features:
        """Return the features of `split`; see the function of that name.

        images: how many the caller will ask for in all, if more than this split; NoRoom is raised for all of them.
        """
        from filelock import FileLock

        folder, entry = self._entry(split)
        seconds, made, start = 0.0, 0, 0
        if len(entry.missing(split.hashes)):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock"):  # two processes that ask at once compute it once
                entry = Entry.read(folder)
                positions, before = entry.missing(split.hashes), entry.seconds
                made = len(positions)
                if made:
                    start = self._encode(split, positions, folder, entry, max(images, made), progress)
                seconds = entry.seconds - before
            evict(keep=folder)
        os.utime(folder)  # least recently used goes first
        if not made:
            seconds = entry.seconds * len(split) / max(1, len(entry.rows))
        rows = np.array([entry.rows[image] for image in split.hashes], dtype=np.int64)
        return Features(entry.arrays(folder), rows, split, seconds, not made, start, entry.threads)

    def _encode(
        self, split: Split | View, positions: np.ndarray, folder: Path, entry: Entry, images: int,
        progress: Progress | None,
    ) -> int:  # fmt: skip
        """Append the images at `positions`, batch by batch; return how many stages had done their work before.

        The index names a row only once its bytes are written. What a killed process wrote beyond its index is cut off
        first, so it is never read.
        """
        hashes, files = split.hashes, list[IO[bytes]]()
        saved = clock = time.perf_counter()
        chunks = [positions[batch] for batch in encoders.batches(len(positions))]
        start, known = self._shallower(split, positions)
        if self.device.type == "cpu":
            entry.threads = sorted({*entry.threads, *(known.threads if known else ()), torch.get_num_threads()})
        if known is None:
            encoded = self.encoder.encode(map(split.inputs, chunks), len(positions))
        else:
            encoded = map(encoders.torch_encoder(self.encoder.prefix[start:]), map(known.inputs, chunks))
        done = 0
        with ExitStack() as stack, evaluating(self.encoder.prefix), memory.kept():

            def save() -> None:
                nonlocal clock, saved
                now = time.perf_counter()
                entry.seconds, clock, saved = entry.seconds + now - clock, now, now
                for file in files:
                    file.flush()
                entry.write(folder)

            try:
                for chosen, tensors in zip(chunks, encoded, strict=True):
                    values = [channels_last(t).contiguous().numpy() for t in tensors]
                    self.weight = sum(v[:1].nbytes for v in values)
                    if not done:
                        check_room(images * self.weight, images)
                    entry.forms = entry.forms or [(v.shape[1:], str(v.dtype)) for v in values]
                    for i, value in enumerate(values):
                        if i == len(files):
                            files.append(stack.enter_context((folder / f"{i}.bin").open("ab")))
                            files[i].truncate(len(entry.rows) * value[:1].nbytes)
                        files[i].write(value.tobytes())
                    entry.rows |= {hashes[p]: len(entry.rows) + k for k, p in enumerate(chosen)}
                    if time.perf_counter() - saved > SAVE_SECONDS:
                        save()
                    done += len(chosen)
                    if progress is not None:
                        progress(done, len(positions))
            finally:
                if files:
                    save()
        return start

    def _shallower(self, split: Split | View, positions: np.ndarray) -> tuple[int, Features | None]:
        """Return the deepest cut before this one that has exact features of the images at `positions`, and these.

        What the other stages make of them is, to the bit, what the whole prefix makes of the images. (0, None) if no
        cut has all of them.
        """
        prefix, images = self.encoder.prefix, split.hashes
        for cut in range(len(prefix) - 1, 0, -1):
            folder = cache_dir() / key(prefix[:cut], self.size, self.device)
            entry = Entry.read(folder)
            if entry.rows and not len(entry.missing([images[p] for p in positions])):
                rows = np.array([entry.rows.get(image, -1) for image in images], dtype=np.int64)
                return cut, Features(entry.arrays(folder), rows, split, entry.seconds, True, threads=entry.threads)
        return 0, None

    def _entry(self, split: Split | View) -> tuple[Path, Entry]:
        entry = Entry.read(self.exact)
        if self.folder == self.exact or not len(entry.missing(split.hashes)):
            return self.exact, entry
        return self.folder, Entry.read(self.folder)


def features(
    prefix: nn.Sequential, split: Split | View, *, device: torch.device | None = None,
    progress: Progress | None = None, encoder: str = "torch",
) -> Features:  # fmt: skip
    """Return the features of `split` behind a frozen `prefix`; images that any run ever encoded come from disk.

    The prefix runs in eval mode without gradients, whatever its flags say. progress(done, total) is called between
    batches while encoding; what it raises ends the encoding, and finished batches are kept. encoder: see `Prefix`.
    """
    return Prefix(prefix, split.size, device=device, encoder=encoder).features(split, progress)


def missing(prefix: nn.Sequential, split: Split | View) -> int:
    """Return how many images of `split` have no features behind `prefix` yet."""
    return Prefix(prefix, split.size).missing(split)


def key(prefix: nn.Sequential, size: int, device: torch.device, encoder: str = "torch") -> str:
    """Return the address of an entry: a hash of all that its values depend on besides the images themselves."""
    parts = [VERSION, encoders.identity(encoder), device.type, repr(prefix), fingerprint(prefix), size]
    parts += own_code(prefix)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
