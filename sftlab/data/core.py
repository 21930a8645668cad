"""Images in, uint8 batches out: `Split` delivers, `Data` holds the three splits and their card."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sftlab.data.augment import Augment
from sftlab.data.photos import to_rgb, to_square
from sftlab.data.splits import grouped_split, random_split, thin
from sftlab.data.store import allocate, image_hash
from sftlab.data.store import data_dir as data_dir

Targets = Tensor | dict[str, Tensor]
Classes = list[str] | dict[str, list[str]]


@dataclass(frozen=True)
class Card:
    """What a data set is: how labels were made, who is in which split, its source, what it may serve."""

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
        def listed(counts: dict[str, int]) -> str:
            some = [f"{name} {n}" for name, n in list(counts.items())[:12]]
            return ", ".join(some + [f"… {len(counts)} classes"] * (len(counts) > 12))

        counts = "; ".join(f"{split} {sum(c.values())} ({listed(c)})" for split, c in self.counts.items())
        rows = {
            "data": self.name, "rule": self.rule, "split": self.split, "images": counts, "size": self.size,
            "majority": f"{self.majority:.1%} of the test images are of the most frequent class",
            "source": self.source, "licence": self.licence, "citation": self.citation,
        }  # fmt: skip
        lines = [f"{k:<9} {v}" for k, v in rows.items() if v] + [f"{'note':<9} {note}" for note in self.notes]
        if n := len(self.skipped):
            lines.append(f"{'skipped':<9} {n} file{'s' * (n > 1)} could not be used:")
            lines += [f"{'':<9}   {name}: {why}" for name, why in list(self.skipped.items())[:10]]
            lines += [f"{'':<9}   … and {n - 10} more in card.skipped"] * (n > 10)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, eq=False)
class Split:
    """One of train, valid and test: a map-style data set that also hands out batches.

    images: uint8 M×C×H×W at stored size, shared by all splits. targets: a row each (class numbers, M×K
    probabilities, or a dict of either by task). index: the rows of this split. size: edge in pixels of what
    is delivered. image_hashes: one a row of `images`, over its pixels. files: one a row, where they came from
    files.
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
        if isinstance(self.targets, dict):
            return {task: y[rows] for task, y in self.targets.items()}
        return self.targets[rows]

    def pixels(self, positions: np.ndarray) -> Tensor:
        """Return uint8 N×C×size×size: shorter edge resized (antialiased), centre cropped."""
        return resize(torch.from_numpy(np.ascontiguousarray(self.images[self.index[positions]])), self.size)

    def take(self, positions: np.ndarray) -> tuple[Tensor, Targets]:
        """Return (pixels, targets) at `positions` of this split."""
        return self.pixels(positions), self.labels(positions)

    def batches(
        self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0, augment: Augment | None = None
    ) -> Iterator[tuple[Tensor, Targets]]:
        """Iterate over (uint8 N×C×H×W, targets): in order without a seed, shuffled by (seed, epoch) with one.

        Augmentation of step k depends on (seed, epoch, k) alone: a resumed run sees what it would have seen.
        """
        for k, positions in enumerate(batch_positions(len(self), batch_size, seed=seed, epoch=epoch)):
            x, y = self.take(positions)
            if augment is not None:
                x = augment(x, generator(seed or 0, epoch, k))
            yield x, y

    def subset(self, positions: Sequence[int] | np.ndarray) -> Split:
        """Return the split of the images at `positions`, in that order."""
        return replace(self, index=self.index[np.asarray(positions, dtype=np.int64)])


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
    """Return the positions of each batch of one epoch; a last batch of one image joins the one before it.

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
        short = min(h, w)
        height, width = size * h // short, size * w // short
        x = F.interpolate(x, (height, width), mode="bilinear", antialias=True)
        top, left = round((height - size) / 2), round((width - size) / 2)
        x = x[..., top : top + size, left : left + size]
    return x.contiguous()


def first_task(targets: Targets) -> Tensor:
    """Return the class numbers of the first task, which decide stratification and the majority rate."""
    y = next(iter(targets.values())) if isinstance(targets, dict) else targets
    return y.argmax(dim=1) if y.ndim == 2 else y


def assemble(
    images: np.ndarray, targets: Targets, classes: Classes, *, name: str, rule: str, size: int | None = None,
    per_class: int | None = None, seed: int = 0, valid: float = 0.15, test: float = 0.25,
    groups: Sequence[object] | None = None, strata: Sequence[object] | None = None,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None, split: str = "", files: Sequence[str] = (),
    hashes: Sequence[str] | None = None, notes: Sequence[str] = (), **facts: Any,
) -> Data:  # fmt: skip
    """Build a Data from arrays: split them, thin train, write the card.

    The split is as given if `rows`, grouped if `groups`, else random. Raises ValueError if an image of one
    split is also in another (possible only with `rows`), or if nothing is left of one.
    """
    y = first_task(targets).numpy()
    hashes = hashes if hashes is not None else [image_hash(image) for image in images]
    strata = strata if strata is not None else _names(classes, y)
    if rows is None and groups is not None:
        rows = grouped_split(strata, groups, hashes, valid=valid, test=test, seed=seed)
        split = split or f"grouped, seed {seed}"
    elif rows is None:
        rows = random_split(strata, hashes, valid=valid, test=test, seed=seed)
        split = split or f"random, stratified, seed {seed}"
    check_disjoint(rows, hashes)
    train = thin(rows[0], list(y), per_class, seed) if per_class is not None else rows[0]
    h, w = images.shape[-2:]
    size = min(h, w) if size is None else size
    if size < 1:
        raise ValueError(f"size={size}: an edge length in pixels, such as 160")
    parts = [
        Split(part, images, targets, np.asarray(r, dtype=np.int64), classes, size, hashes, files)
        for part, r in zip(("train", "valid", "test"), (train, *rows[1:]), strict=True)
    ]
    card = Card(
        name=name, rule=rule, classes=classes, counts={}, majority=0.0, split=split,
        size=f"{w}×{h} pixels stored, {size}×{size} delivered", notes=list(notes), **facts,
    )  # fmt: skip
    return _counted(parts, card)


def _names(classes: Classes, y: np.ndarray) -> list[str]:
    names = next(iter(classes.values())) if isinstance(classes, dict) else classes
    return [names[k] for k in y]


def _counted(parts: Sequence[Split], card: Card) -> Data:
    """Return a Data whose card has the classes, counts and majority rate of these splits."""
    classes = parts[0].classes
    names = next(iter(classes.values())) if isinstance(classes, dict) else classes
    notes, counts = list(card.notes), {}
    for part in parts:
        found = Counter(first_task(part.y).tolist())
        counts[part.name] = {c: found[k] for k, c in enumerate(names)}
        missing = [c for c, n in counts[part.name].items() if n == 0]
        if missing and part.name != "train":
            notes.append(f"{part.name} has no image of {', '.join(missing)}: nothing is measured there for it.")
        elif missing:
            notes.append(f"train has no image of {', '.join(missing)}: it cannot be learnt.")
    of_test = counts["test"].values()
    card = replace(card, classes=classes, counts=counts, majority=max(of_test) / max(1, sum(of_test)), notes=notes)
    return Data(train=parts[0], valid=parts[1], test=parts[2], card=card)


def check_disjoint(rows: Sequence[np.ndarray], hashes: Sequence[str]) -> None:
    """Raise ValueError if an image, by its pixels, is in two of the splits, or if a split is empty."""
    seen: dict[str, str] = {}
    for name, part in zip(("train", "valid", "test"), rows, strict=True):
        if not len(part):
            raise ValueError(f"the {name} split is empty; train, valid and test each need images")
        for i in part:
            other = seen.setdefault(hashes[i], name)
            if other != name:
                raise ValueError(f"the same image is in {other} and in {name} (row {i}); test images must be new")


def from_arrays(
    x: np.ndarray | Tensor, y: Any, *, classes: Sequence[str] | None = None,
    groups: Sequence[object] | None = None, name: str = "arrays", size: int | None = None, **options: Any,
) -> Data:  # fmt: skip
    """Build a Data from images in memory.

    x: uint8, N×H×W (grey), N×H×W×C or N×C×H×W with 1 or 3 channels. y: N class numbers from 0, or N names.
    groups: what must not be torn apart by the split, a value an image. options: per_class, seed, valid, test.
    Raises TypeError for images that are not uint8, ValueError for labels or shapes that do not fit.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    >>> from_arrays(x, np.arange(60) % 2).train
    Split('train', 36 images, 8×8)
    """
    images = as_images(x)
    numbers, names = as_labels(y, classes)
    if len(numbers) != len(images):
        raise ValueError(f"{len(images)} images but {len(numbers)} labels")
    if groups is not None and len(groups) != len(images):
        raise ValueError(f"{len(images)} images but {len(groups)} groups; give one for each image")
    return assemble(
        images,
        torch.from_numpy(numbers),
        names,
        name=name,
        rule="labels as given",
        groups=groups,
        size=size,
        **options,
    )


def as_labels(y: Any, classes: Sequence[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Return (class numbers, class names) from N numbers or N names, or raise what was wrong."""
    labels = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if labels.ndim != 1 or not len(labels):
        shape = "×".join(map(str, labels.shape)) or "a single value"
        raise ValueError(f"labels of shape {shape}; expected one class number or name for each image")
    if labels.dtype.kind == "f":
        raise ValueError(
            f"labels are {labels.dtype}, such as {labels[0]}; expected class numbers or names. "
            "For whole numbers use y.astype(int); this lab classifies, it does no regression"
        )
    if labels.dtype.kind in "iub":
        numbers = labels.astype(np.int64)
        names = list(classes) if classes is not None else [str(i) for i in range(max(0, int(numbers.max())) + 1)]
    else:
        names = list(classes) if classes is not None else sorted({str(v) for v in labels})
        unknown = sorted({str(v) for v in labels} - set(names))
        if unknown:
            raise ValueError(f"labels {', '.join(unknown[:5])} are not among the classes {', '.join(names)}")
        numbers = np.array([names.index(str(v)) for v in labels])
    if numbers.min() < 0 or numbers.max() >= len(names):
        raise ValueError(
            f"labels run from {numbers.min()} to {numbers.max()} for {len(names)} classes; "
            f"expected numbers from 0 to {len(names) - 1}"
        )
    if len(names) < 2:
        raise ValueError(f"all images are of one class, {names[0]}; classifying needs at least two")
    return numbers, names


def from_dataset(
    dataset: Any, *, classes: Sequence[str] | None = None, size: int | None = None, **options: Any
) -> Data:
    """Build a Data from any map-style data set of (image, class number or name).

    Images are PIL images or uint8 arrays or tensors. Small ones of one shape (up to `size`, or 224) are kept
    as they are, others as RGB squares of that edge. options: as for `from_arrays`. Raises TypeError for a
    data set without a length, ValueError for an empty one.
    """
    if not hasattr(dataset, "__len__"):
        raise TypeError(f"{type(dataset).__name__} has no length; expected a map-style data set: len(d) and d[i]")
    if not len(dataset):
        raise ValueError(f"{type(dataset).__name__} is empty")
    names = classes if classes is not None else getattr(dataset, "classes", None)
    first = _stored(dataset[0][0], None)
    edge = None if max(first.shape[1:]) <= (size or 224) else (size or 224)
    try:
        images, labels = _collected(dataset, first.shape, edge)
    except _OtherShapeError:
        images, labels = _collected(dataset, first.shape, size or 224)
    options = {"name": type(dataset).__name__, **options}
    return from_arrays(images, labels, classes=names, size=size, **options)


class _OtherShapeError(Exception):
    pass


def _collected(dataset: Any, shape: tuple[int, ...], edge: int | None) -> tuple[np.ndarray, list[Any]]:
    images = allocate((len(dataset), *(shape if edge is None else (3, edge, edge))))
    labels = []
    for i in range(len(dataset)):
        image, label, *_ = dataset[i]
        x = _stored(image, edge)
        if x.shape != images.shape[1:]:
            raise _OtherShapeError
        images[i] = x
        labels.append(label if isinstance(label, str) else int(label))
    return images, labels


def _stored(image: Any, edge: int | None) -> np.ndarray:
    """Return uint8 C×H×W of a PIL image, array or tensor; with `edge`, a square of three channels."""
    if hasattr(image, "convert") and edge is not None:
        return to_square(image, edge)
    if hasattr(image, "convert"):
        image = image if image.mode in ("L", "RGB") else to_rgb(image)
    x = as_images((image if isinstance(image, Tensor) else np.asarray(image))[None])
    if edge is None:
        return x[0]
    return resize(torch.from_numpy(np.array(x)), edge)[0].expand(3, -1, -1).numpy()


def as_images(x: np.ndarray | Tensor) -> np.ndarray:
    """Return uint8 N×C×H×W with C 1 or 3, or raise a sentence that says what was wrong."""
    array = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    if not array.size:
        raise ValueError(f"images of shape {'×'.join(map(str, array.shape))}: there is nothing in them")
    if array.dtype != np.uint8:
        raise TypeError(
            f"images are {array.dtype}, from {array.min():.3g} to {array.max():.3g}; "
            "expected uint8 from 0 to 255. For values in [0, 1] give (x * 255).round().astype('uint8'): "
            "the network's first stage does the scaling"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        shape = "×".join(map(str, array.shape))
        raise ValueError(f"images of shape {shape}; expected N×H×W, N×H×W×C or N×C×H×W with C 1 or 3")
    return array


def with_targets(data: Data, targets: Mapping[str, Tensor] | Tensor, classes: Classes) -> Data:
    """Return the same images and splits with other targets (a row each) and classes; the card counts anew."""
    new = dict(targets) if isinstance(targets, Mapping) else targets
    parts = [replace(part, targets=new, classes=classes) for part in (data.train, data.valid, data.test)]
    return _counted(parts, data.card)
