"""Features: what the frozen stages of a network make of images, computed once and kept on disk.

`features` is the door; the loop, the evaluation and the lessons ask it. An entry of the store is a folder. It is
addressed by what its values depend on and a hash can see: the weights and the form of the stages, the size of the
images, the precision. Each image has a row by its own hash, so every run, split, seed and notebook shares it.

No address can see everything (a hook, a setting that `repr` does not show), so an entry is verified by measurement
whenever it is opened: the live network runs on a few of its images. Where it disagrees, the entry stays as it is, and
another is begun beside it. Bytes are believed only if their checksum is the one that was written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import evaluating, fingerprint, frozen_prefix, has_parameters
from sftlab.data import Split, View, batch_positions
from sftlab.data.dataset import Targets
from sftlab.data.storage import (
    Rows,
    evict_features,
    features_dir,
    features_limit,
    keep_memory,
    process_folder,
    writable,
)

VERSION = 4  # raise it when the meaning of an entry changes; old entries are then never read again
BATCH = 32  # images encoded at once
SAVE_SECONDS = 5.0  # how much work a kill may lose
TOLERANCE = 1e-4  # largest difference from the live network, as a share of the largest value
FIRST_CHECK, LATER_CHECK = 4, 1  # images that the live network is asked about, at the first opening and later ones

Images = Split | View
Say = Callable[[str], None]
Progress = Callable[[int, int], None]

_draw = np.random.default_rng()  # which images are asked about; nobody's seed is touched
_opened: set[Path] = set()  # entries that this process found right
_disagreed: set[Path] = set()  # entries of which it has been said that they are not this network's


class NotKept(RuntimeError):
    """These features cannot be kept: there is no room for them, or they are not a constant."""


def features(stages: nn.Sequential, split: Images, *, progress: Progress | None = None, say: Say = print) -> Features:
    """Return what frozen `stages` (such as `model[:-1]`) make of `split`; images that any run encoded come from disk.

    The stages run in eval mode without gradients, whatever their flags say. progress(done, total) is called between
    batches while encoding; what it raises ends the encoding, and finished batches are kept. say: gets a line where an
    entry disagrees with the network. Raises NotKept if there is no room, or if the stages are not a constant function.
    """
    return _features(stages, [split], progress, say)[0]


def sources(
    model: nn.Sequential, splits: Sequence[Images], *, progress: Progress | None = None, say: Say | None = None
) -> tuple[list[Images | Features], int]:
    """Return what delivers the batches of each split, and how many leading stages they have behind them.

    The features of the frozen stages where these compute something and can be kept, else the splits themselves.
    say: gets a line about what was encoded, and one before an encoding of more than two seconds.
    """
    names, tell = [*dict(model.named_children())], say or (lambda line: None)
    cut = min(frozen_prefix(model), len(model) - ("head" in names))
    if not has_parameters(model[:cut]):
        return list(splits), 0
    try:
        made = _features(model[:cut], splits, progress, say or print, announce=tell)
    except NotKept as error:
        (say or print)(f"{error}; the frozen part runs in every epoch")
        return list(splits), 0
    fresh = [f for f in made if f.encoded]
    if fresh:
        images, noun = sum(f.encoded for f in fresh), splits[0].noun
        how = f"{images} {noun[:-1] if images == 1 else noun} encoded once in {sum(f.seconds for f in fresh):.1f} s"
        if start := min(f.start for f in fresh):
            how += f", the work up to {names[start - 1]} found on disk"
    else:
        how = f"found on disk, {sum(f.seconds for f in made):.1f} s of work saved"
    tell(f"frozen {names[0]} … {names[cut - 1]}: {how} ({sum(f.bytes for f in made) / 1e6:.1f} MB)")
    return list(made), cut


def missing(stages: nn.Sequential, split: Images) -> int:
    """Return how many images of `split` would have to be encoded."""
    with evaluating(stages):
        store = features_dir()
        return len(_open(stages, Query(split, split.hashes, fingerprint(stages), store, writable(store))).missing)


@dataclass(frozen=True, eq=False)
class Features:
    """What frozen stages make of a split, with the same `batches` as the split itself.

    arrays: the bytes of each tensor that flows between the stages, memory-mapped, an image a row; images are channels
    last, as the loop has them. forms: shape and type of one image's tensor. rows: the row of each image of the split.
    seconds: what encoding cost, now or when it was done. encoded: how many images had to be encoded now; start: how
    many leading stages did not have to run even then, because a shallower cut's features were there.
    """

    arrays: list[np.ndarray]
    forms: list[tuple[list[int], str]]
    rows: np.ndarray
    split: Images
    seconds: float = 0.0
    encoded: int = 0
    start: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bytes(self) -> int:
        """Size on disk of the features of this split."""
        return len(self) * sum(a.shape[1] for a in self.arrays)

    def inputs(self, positions: np.ndarray) -> Any:
        """Return the features at `positions`: one tensor or a tuple of tensors."""
        tensors = [
            torch.from_numpy(a.take(self.rows[positions], axis=0)).view(getattr(torch, dtype)).view(-1, *shape)
            for a, (shape, dtype) in zip(self.arrays, self.forms, strict=True)
        ]
        x = tuple(t.movedim(-1, 1) if t.ndim == 4 else t for t in tensors)
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


# --- one entry of the store -----------------------------------------------------------------------------------------


class Entry(Rows):
    """Rows of features, and beside them `witness.pt`: four images and their features, asked where no row is there.

    rows: of the images (by their hashes) it was opened for; −1 where features are missing or damaged.
    """

    @property
    def forms(self) -> list[tuple[list[int], str]]:
        """Shape and type of each tensor of one image."""
        return self.facts.setdefault("forms", [])

    @property
    def missing(self) -> np.ndarray:
        """The positions of images that have no row, each image once."""
        last_to_first = np.flatnonzero(self.rows < 0)[::-1]
        first = {self.hashes[position]: position for position in last_to_first}
        return np.array(sorted(first.values()), dtype=np.int64)

    def features(self, split: Images, encoded: int = 0, start: int = 0, seconds: float | None = None) -> Features:
        """Return the rows of the split; without `seconds`, its share of what all rows cost."""
        if seconds is None:
            seconds = self.seconds * len(self.hashes) / max(1, len(self.index))
        return Features(self.arrays, self.forms, self.rows, split, seconds, encoded, start)

    def agrees(self, stages: nn.Sequential, split: Images) -> bool:
        """Tell whether the live network gives the features of stored images, drawn anew each time."""
        number = LATER_CHECK if self.folder in _opened else FIRST_CHECK
        stored = np.flatnonzero(self.rows >= 0)
        if len(stored):
            chosen = _draw.choice(stored, min(number, len(stored)), replace=False)
            x, kept = split.inputs(chosen), _as_tuple(self.features(split).inputs(chosen))
        else:
            try:
                x, kept = torch.load(self.folder / "witness.pt", weights_only=True)
            except Exception:  # whatever is wrong with that file, it cannot speak for this entry
                return False
        return _close(_run(stages, x), kept)

    def add(self, positions: np.ndarray, tensors: Sequence[Tensor]) -> None:
        """Write the features of the images at `positions`; the index is written by `save`."""
        values = [t.movedim(1, -1) if t.ndim == 4 else t for t in tensors]  # nothing moves: the loop has them like this
        self.facts["forms"] = self.forms or [(list(v.shape[1:]), str(v.dtype).removeprefix("torch.")) for v in values]
        self.append(positions, [v.reshape(len(v), -1).contiguous().view(torch.uint8).numpy() for v in values])


def _as_tuple(x: Any) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def device_of(stages: nn.Module) -> torch.device:
    """Return where the parameters are; the CPU for stages without any."""
    return next((p.device for p in stages.parameters()), torch.device("cpu"))


def _run(stages: nn.Sequential, x: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what the stages (in eval mode) make of a batch, without gradients, on the CPU."""
    device, n = device_of(stages), len(_as_tuple(x)[0])
    # alone, an image takes other kernels and other roundings
    moved = tuple((torch.cat([t, t]) if n == 1 else t).to(device) for t in _as_tuple(x))
    with torch.no_grad():
        return tuple(t[:n].cpu() for t in _as_tuple(stages(moved if isinstance(x, tuple) else moved[0])))


def _close(live: Sequence[Tensor], kept: Sequence[Tensor]) -> bool:
    """Tell whether two encodings agree within TOLERANCE, or two roundings of a 16-bit type, of the largest value."""
    if [(t.shape, t.dtype) for t in live] != [(t.shape, t.dtype) for t in kept]:
        return False
    for a, b in zip(live, kept, strict=True):
        share = max(TOLERANCE, 2 * torch.finfo(b.dtype).eps) if b.is_floating_point() else 0.0
        largest = float(b.double().nan_to_num(0, 0, 0).abs().max())
        if not torch.allclose(a.double(), b.double(), rtol=0, atol=share * largest, equal_nan=True):
            return False
    return True


# --- which entry, and how it is filled ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Query:
    """The images to find features of, their hashes, the print of each stage; the store and whether one may write it."""

    split: Images
    hashes: list[str]
    prints: dict[str, str]
    store: Path
    writable: bool


def _candidates(stages: nn.Sequential, query: Query, say: Say | None = None) -> Iterator[Entry]:
    """Iterate over the entries of an address that are empty or agree with the live network.

    In the store; where that can only be read, also in a folder of this process, which ends with it. Augmented views
    are only there: their address is no more than a sample of what the augmentation does.
    """
    device = device_of(stages).type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else "as the weights"
    parts = [VERSION, torch.__version__, device, str(precision), repr(stages), query.split.size]
    parts += [query.prints[name] for name, _ in stages.named_children()]
    address = sha256(repr(parts).encode()).hexdigest()[:32]
    roots = [] if isinstance(query.split, View) else [query.store]
    if not roots or not query.writable:
        roots.append(process_folder(query.store))
    for root in roots:
        for number in count():
            entry = Entry(root / (f"{address}-{number}" if number else address), query.hashes)
            if not entry.index or entry.agrees(stages, query.split):
                _opened.add(entry.folder)
                yield entry
            elif say is not None and entry.folder not in _disagreed:
                _disagreed.add(entry.folder)
                say("the features kept are not what this network gives (a hook, a setting?): others go beside them")
            if not (entry.folder / "index.json").exists():
                break


def _open(stages: nn.Sequential, query: Query, say: Say | None = None) -> Entry:
    """Return the entry that has all images of the query, or the first that can be begun or gone on with."""
    entries = _candidates(stages, query, say)
    return next(entry for entry in entries if not len(entry.missing) or writable(entry.folder))


def _features(
    stages: nn.Sequential, splits: Sequence[Images], progress: Progress | None, say: Say, announce: Say | None = None
) -> list[Features]:
    """Open the entry of each split and encode what it lacks; see `features`. announce: told of a long encoding."""
    from filelock import FileLock

    made, done, clock = [], 0, 0.0
    with evaluating(stages), keep_memory():
        prints, store = fingerprint(stages), features_dir()
        can_write = writable(store)
        queries = [Query(split, split.hashes, prints, store, can_write) for split in splits]
        entries = [_open(stages, query, say) for query in queries]
        total = sum(len(entry.missing) for entry in entries)

        def report(images: int, weight: int) -> None:
            nonlocal done, clock
            now, begun, done = time.perf_counter(), done > 0, done + images
            left = (now - clock) / images * (total - done)
            if announce is not None and begun and done <= 2 * BATCH and left > 2:  # the first batch warms the kernels
                price = f"about {left:.0f} s and {total * weight / 1e6:.1f} MB"
                announce(f"running the frozen part once on {total} {splits[0].noun}, {price} …")
            clock = now
            if progress is not None:
                progress(done, total)

        for query, entry in zip(queries, entries, strict=True):
            while len(entry.missing):
                entry.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(entry.folder / "lock"):  # two processes that ask at once compute it once
                    entry = Entry(entry.folder, entry.hashes)
                    if not entry.index or entry.agrees(stages, query.split):
                        made.append(_encode(entry, stages, query, total, report))
                        break
                entry = _open(stages, query, say)
            else:
                made.append(entry.features(query.split))
            if can_write:  # least recently used goes first; a store that can only be read has no order
                with suppress(OSError):  # an entry of somebody else in a store that all may write
                    os.utime(entry.folder)
        if total:
            evict_features({entry.folder for entry in entries})
    return made


def _encode(
    entry: Entry, stages: nn.Sequential, query: Query, total: int, report: Callable[[int, int], None]
) -> Features:
    """Append what the entry lacks, batch by batch: from the images, or from a shallower cut's features of them.

    What the other stages make of those is, to the bit, what all stages make of the images.
    """
    split, todo, before, start = query.split, entry.missing, entry.seconds, len(stages)
    images, clock = len(todo), time.perf_counter()
    saved = clock
    weight = sum(a.shape[1] for a in entry.arrays)
    begins = not entry.index and images > 0
    if begins:
        x = split.inputs(todo[:FIRST_CHECK])
        witness = _run(stages, x)
        if not _close(_run(stages, x[:1]), [t[:1] for t in witness]):
            raise NotKept(
                "the frozen stages give an image other features in another batch, so they are no constant "
                "(a BatchNorm without running statistics, or dice)"
            )
        weight = sum(t[:1].nbytes for t in witness)
    _check_room(entry.folder, total * weight, total)
    if begins:
        torch.save((x, witness), entry.folder / "witness.pt")
    try:
        for cut in range(len(stages), -1, -1):
            if not len(todo):
                break
            inputs, ready = split.inputs, todo
            if cut:
                other = next(_candidates(stages[:cut], query))
                inputs, ready = other.features(split).inputs, todo[other.rows[todo] >= 0]
            if not len(ready):
                continue
            for batch in batch_positions(len(ready), BATCH):
                start = min(start, cut)
                entry.add(ready[batch], _run(stages[cut:], inputs(ready[batch])))
                now = time.perf_counter()
                entry.seconds, clock = entry.seconds + now - clock, now
                if now - saved > SAVE_SECONDS:
                    entry.save()
                    saved = now
                report(len(batch), weight)
            todo = np.setdiff1d(todo, ready)
    finally:
        if entry.index:
            entry.save()
            entry.open()
    return entry.features(split, images, start, entry.seconds - before)


def _check_room(folder: Path, price: int, images: int) -> None:
    """Raise NotKept if `price` bytes for the features of that many images are too many."""
    room = min(features_limit(), shutil.disk_usage(folder).free)
    if price > room:
        raise NotKept(
            f"the features of {images} images would take {price / 1e9:.2g} GB, and the store has room for "
            f"{room / 1e9:.2g} GB: freeze more stages, or raise SFTLAB_CACHE_GB"
        )
