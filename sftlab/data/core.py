"""Images in, uint8 batches out: `Split` delivers, `Data` holds the three splits and their card."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sftlab.data.augment import Augment
from sftlab.data.splits import grouped_split, random_split, thin

Targets = Tensor | dict[str, Tensor]
Classes = list[str] | dict[str, list[str]]


@dataclass(frozen=True)
class Card:
    """What a data set is: how labels were made, who is in which split, where it comes from, what one may do with it."""

    name: str
    rule: str
    classes: Classes
    counts: dict[str, dict[str, int]]
    majority: float
    size: str
    split: str
    source: str = ""
    licence: str = ""
    citation: str = ""
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = "; ".join(f"{s} {sum(c.values())} ({', '.join(f'{k} {v}' for k, v in c.items())})" for s, c in self.counts.items())
        rows = {
            "data": self.name, "rule": self.rule, "split": self.split, "images": counts, "size": self.size,
            "majority": f"{self.majority:.1%} of the test images are of the most frequent class", "source": self.source,
            "licence": self.licence, "citation": self.citation,
        }  # fmt: skip
        lines = [f"{k:<9} {v}" for k, v in rows.items() if v] + [f"{'note':<9} {note}" for note in self.notes]
        if self.skipped:
            some = [f"{'':<9}   {name}: {why}" for name, why in list(self.skipped.items())[:10]]
            more = [f"{'':<9}   … and {len(self.skipped) - 10} more in card.skipped"] if len(self.skipped) > 10 else []
            lines += [f"{'skipped':<9} {len(self.skipped)} file{'s' * (len(self.skipped) > 1)} could not be used:", *some, *more]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, eq=False)
class Split:
    """One of train, valid and test: a map-style data set that also hands out batches.

    images: uint8 M×C×H×W at stored size, shared by all splits. targets: a row each (class numbers, probabilities
    M×K, or a dict of either by task). index: the rows of this split. size: edge in pixels of what is delivered.
    image_hashes: one a row of `images`, over its pixels.
    """

    name: str
    images: np.ndarray
    targets: Targets
    index: np.ndarray
    classes: Classes
    size: int
    image_hashes: Sequence[str]
    files: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> tuple[Tensor, Any]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of a split of {len(self)}")
        x, y = self.take(np.array([i % len(self)]))
        return x[0], {k: v[0] for k, v in y.items()} if isinstance(y, dict) else y[0]

    def __repr__(self) -> str:
        return f"Split({self.name!r}, {len(self)} images, {self.size}×{self.size})"

    @property
    def y(self) -> Targets:
        """The targets of this split, in order."""
        return self.labels(np.arange(len(self)))

    @property
    def hashes(self) -> list[str]:
        """The image hashes of this split, in order."""
        return [self.image_hashes[i] for i in self.index]

    @property
    def digest(self) -> str:
        """One hash for what this split delivers: its images, their order and the size."""
        return hashlib.sha256(f"{self.size} {' '.join(self.hashes)}".encode()).hexdigest()[:16]

    def labels(self, positions: np.ndarray) -> Targets:
        """Return the targets at `positions` of this split."""
        rows = torch.from_numpy(self.index[positions])
        return {k: v[rows] for k, v in self.targets.items()} if isinstance(self.targets, dict) else self.targets[rows]

    def pixels(self, positions: np.ndarray) -> Tensor:
        """Return uint8 N×C×size×size: shorter edge resized (antialiased), centre cropped."""
        return resize(torch.from_numpy(np.ascontiguousarray(self.images[self.index[positions]])), self.size)

    def take(self, positions: np.ndarray) -> tuple[Tensor, Targets]:
        """Return (pixels, targets) at `positions` of this split."""
        return self.pixels(positions), self.labels(positions)

    def batches(
        self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0, augment: Augment | None = None
    ) -> Iterator[tuple[Tensor, Targets]]:
        """Iterate over (uint8 N×C×H×W, targets), in order without a seed, shuffled by (seed, epoch) with one.

        Augmentation of step k depends on (seed, epoch, k) alone, so a resumed run sees what it would have seen.
        """
        for k, positions in enumerate(batch_positions(len(self), batch_size, seed=seed, epoch=epoch)):
            x, y = self.take(positions)
            if augment is not None:
                x = augment(x, generator(seed or 0, epoch, k))
            yield x, y

    def subset(self, positions: Sequence[int] | np.ndarray) -> Split:
        """Return the split of the images at `positions`, in that order."""
        return Split(self.name, self.images, self.targets, self.index[np.asarray(positions, dtype=np.int64)],
                     self.classes, self.size, self.image_hashes, self.files)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Data:
    """Three disjoint splits and their card. Only `evaluate` should ever look at `.test`."""

    train: Split
    valid: Split
    test: Split
    card: Card

    @property
    def classes(self) -> Classes:
        """Class names, in label order; {task: names} for several tasks."""
        return self.train.classes

    def __repr__(self) -> str:
        return str(self.card)


def generator(*parts: int) -> torch.Generator:
    """Return a generator that is a function of `parts` only (seed, epoch, step)."""
    seed = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


def batch_positions(n: int, batch_size: int, *, seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
    """Return the positions of each batch of one epoch. A last batch of a single image joins the batch before it.

    BatchNorm cannot normalise a single image, and one image would make a very noisy step.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: at least one image a batch")
    order = np.arange(n) if seed is None else torch.randperm(n, generator=generator(seed, epoch)).numpy()
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return np.split(order, starts[1:]) if n else []


def resize(x: Tensor, size: int) -> Tensor:
    """Resize the shorter edge of uint8 N×C×H×W to `size` with antialiasing and crop the centre square."""
    h, w = x.shape[-2:]
    if h != size or w != size:
        scale = size / min(h, w)
        x = F.interpolate(x, (max(size, round(h * scale)), max(size, round(w * scale))), mode="bilinear", antialias=True)
        top, left = (x.shape[-2] - size) // 2, (x.shape[-1] - size) // 2
        x = x[..., top : top + size, left : left + size]
    return x.contiguous()


def image_hash(image: np.ndarray) -> str:
    """Return the hash of an image's pixels and shape."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def first_task(targets: Targets) -> Tensor:
    """Return the class numbers of the first task, which decide stratification and the majority rate."""
    y = next(iter(targets.values())) if isinstance(targets, dict) else targets
    return y.argmax(dim=1) if y.ndim == 2 else y


def assemble(
    images: np.ndarray, targets: Targets, classes: Classes, *, name: str, rule: str, size: int | None = None,
    per_class: int | None = None, seed: int = 0, valid: float = 0.15, test: float = 0.25,
    groups: Sequence[object] | None = None, strata: Sequence[object] | None = None,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None, split: str = "", files: Sequence[str] = (),
    hashes: Sequence[str] | None = None, **facts: Any,
) -> Data:  # fmt: skip
    """Build a Data from arrays: split (grouped if `groups`, as given if `rows`, else random), thin train, write the card.

    Raises ValueError if an image of one split is also in another (possible only with `rows`).
    """
    y = first_task(targets).numpy()
    hashes = hashes if hashes is not None else [image_hash(image) for image in images]
    strata = strata if strata is not None else list(y)
    if rows is None and groups is not None:
        rows = grouped_split(strata, groups, hashes, valid=valid, test=test, seed=seed)
        split = split or f"grouped, seed {seed}"
    elif rows is None:
        rows = random_split(strata, hashes, valid=valid, test=test, seed=seed)
        split = split or f"random, stratified, seed {seed}"
    check_disjoint(rows, hashes)
    train = thin(rows[0], list(y), per_class, seed) if per_class is not None else rows[0]
    h, w = images.shape[-2:]
    size = size or min(h, w)
    if size < 1:
        raise ValueError(f"size={size}: an edge length in pixels, such as 160")
    parts = [
        Split(n, images, targets, np.asarray(r, dtype=np.int64), classes, size, hashes, files)
        for n, r in zip(("train", "valid", "test"), (train, *rows[1:]), strict=True)
    ]
    names = next(iter(classes.values())) if isinstance(classes, dict) else classes
    counts = {p.name: {c: int((y[p.index] == k).sum()) for k, c in enumerate(names)} for p in parts}
    of_test = Counter(y[parts[2].index].tolist())
    card = Card(name=name, rule=rule, classes=classes, counts=counts, split=split,
                majority=max(of_test.values()) / max(1, sum(of_test.values())),
                size=f"{w}×{h} pixels stored, {size}×{size} delivered", **facts)  # fmt: skip
    return Data(*parts, card)


def check_disjoint(rows: Sequence[np.ndarray], hashes: Sequence[str]) -> None:
    """Raise ValueError if the same image, by its pixels, is in two of the splits."""
    seen: dict[str, str] = {}
    for name, part in zip(("train", "valid", "test"), rows, strict=True):
        for i in part:
            if seen.setdefault(hashes[i], name) != name:
                raise ValueError(f"the same image is in {seen[hashes[i]]} and in {name} (row {i}); a test set must be new images")


def from_arrays(
    x: np.ndarray | Tensor, y: Any, *, classes: Sequence[str] | None = None, groups: Sequence[object] | None = None,
    name: str = "arrays", size: int | None = None, **options: Any,
) -> Data:  # fmt: skip
    """Build a Data from images in memory.

    x: uint8, N×H×W (grey), N×H×W×C or N×C×H×W with 1 or 3 channels. y: N class numbers from 0, or N names.
    groups: what must not be torn apart by the split. options: size, per_class, seed, valid, test.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    >>> from_arrays(x, np.arange(60) % 2).train
    Split('train', 36 images, 8×8)
    """
    images = as_images(x)
    labels = np.asarray(y)
    if len(labels) != len(images):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    if labels.dtype.kind in "iub":
        numbers = labels.astype(np.int64)
        names = list(classes) if classes is not None else [str(i) for i in range(int(numbers.max()) + 1)]
    else:
        names = list(classes) if classes is not None else sorted({str(v) for v in labels})
        unknown = sorted({str(v) for v in labels} - set(names))
        if unknown:
            raise ValueError(f"labels {', '.join(unknown[:5])} are not among the classes {', '.join(names)}")
        numbers = np.array([names.index(str(v)) for v in labels])
    if len(names) < 2 or numbers.min() < 0 or numbers.max() >= len(names):
        raise ValueError(f"labels run from {numbers.min()} to {numbers.max()} for {len(names)} classes; they must be 0…classes−1, at least two")
    return assemble(images, torch.from_numpy(numbers), names, name=name, rule="labels as given", groups=groups, size=size, **options)


def from_dataset(dataset: Any, *, classes: Sequence[str] | None = None, size: int = 224, **options: Any) -> Data:
    """Build a Data from any map-style data set of (image, class number); images are PIL images or uint8 arrays."""
    names = classes if classes is not None else getattr(dataset, "classes", None)
    first, *_ = dataset[0]
    shape = (len(dataset), 3, size, size)
    images, labels = np.empty(shape, dtype=np.uint8), []
    for i in range(len(dataset)):
        image, label, *_ = dataset[i]
        array = as_images(np.asarray(image)[None])
        square = resize(torch.from_numpy(array), size)[0]
        images[i] = square.expand(3, -1, -1).numpy()
        labels.append(int(label))
    return from_arrays(images, np.array(labels), classes=names, **{"name": type(dataset).__name__, **options})


def as_images(x: np.ndarray | Tensor) -> np.ndarray:
    """Return uint8 N×C×H×W with C 1 or 3, or raise a sentence that says what was wrong."""
    array = x.numpy() if isinstance(x, Tensor) else np.asarray(x)
    if array.dtype != np.uint8:
        raise TypeError(
            f"images are {array.dtype}, from {array.min():.3g} to {array.max():.3g}; give uint8 from 0 to 255 "
            "(for values in [0, 1]: (x * 255).round().astype('uint8')). The network's first stage does the scaling."
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise ValueError(f"images of shape {'×'.join(map(str, array.shape))}; expected N×H×W, N×H×W×C or N×C×H×W with C 1 or 3")
    return array


def data_dir() -> Path:
    """Return the folder for downloaded and cached things: $SFTLAB_DATA, else the checkout's data/, else the user's cache."""
    import os

    if os.environ.get("SFTLAB_DATA"):
        return Path(os.environ["SFTLAB_DATA"]).expanduser()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").exists() and (checkout / "notebooks").is_dir():
        return checkout / "data"
    from platformdirs import user_cache_path

    return user_cache_path("sftlab")


def with_targets(data: Data, targets: Mapping[str, Tensor] | Tensor, classes: Classes) -> Data:
    """Return the same images and splits with other targets (a row each) and classes."""
    new = dict(targets) if isinstance(targets, Mapping) else targets
    parts = [Split(s.name, s.images, new, s.index, classes, s.size, s.image_hashes, s.files) for s in (data.train, data.valid, data.test)]
    return Data(*parts, data.card)
