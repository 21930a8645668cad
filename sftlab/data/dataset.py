"""What a data set is: `Split` delivers uint8 batches, `Data` holds train, valid and test, `Card` their source.

Every loader of this wing makes a `Data`; training, evaluation and plots take its splits.
"""

from __future__ import annotations

import hashlib
import math
import os
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

Augment = Callable[[Tensor, torch.Generator], Tensor]  # N×C×H×W uint8 → the same shape and dtype
Targets = Tensor | dict[str, Tensor]
Classes = list[str] | dict[str, list[str]]
LIMITS = {"seed": (0, math.inf), "size": (1, 4096)}  # size: pixels of an edge, or bytes of a text
NO_LABEL = -100  # torch's number for it
# How a missing label is written: by pandas, in tables, and by str() of nan, None and NA. It is never a class.
MISSING = {"", "nan", "NaN", "NaT", "NA", "<NA>", "N/A", "n/a", "#N/A", "None", "null", "NULL"}


@dataclass(frozen=True)
class Card:
    """What a data set is: how labels were made, who is in which split, its source, what it may serve.

    white: the value that is white in its files of more than 8 bits, None without such files.
    """

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
    noun: str = "images"
    white: int | None = None

    def __str__(self) -> str:
        def listed(counts: dict[str, int]) -> str:
            some = [f"{name} {n}" for name, n in list(counts.items())[:12]]
            return ", ".join(some + [f"… {len(counts)} classes"] * (len(counts) > 12))

        counts = "; ".join(f"{split} {sum(c.values())} ({listed(c)})" for split, c in self.counts.items())
        rows = {
            "data": self.name,
            "rule": self.rule,
            "split": self.split,
            self.noun: counts,
            "size": self.size,
            "majority": f"{self.majority:.1%} of the test {self.noun} are of the most frequent class",
            "source": self.source,
            "licence": self.licence,
            "citation": self.citation,
        }
        lines = [f"{k:<9} {v}" for k, v in rows.items() if v] + [f"{'note':<9} {note}" for note in self.notes]
        if n := len(self.skipped):
            lines.append(f"{'skipped':<9} {n} file{'s' * (n > 1)} could not be used:")
            lines += [f"{'':<9}   {name}: {why}" for name, why in list(self.skipped.items())[:10]]
            lines += [f"{'':<9}   … and {n - 10} more in card.skipped"] * (n > 10)
        wrap = textwrap.TextWrapper(width=100, subsequent_indent=" " * 10, break_on_hyphens=False)
        return "\n".join(wrap.fill(line) for line in lines)

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class Split:
    """One of train, valid and test: a map-style data set that also hands out batches.

    images: uint8 M×C×H×W at stored size, shared by all splits. targets: a row each (class numbers, M×K
    probabilities, or a dict of either by task). index: the rows of this split. size: edge in pixels of what
    is delivered. image_hashes: one a row of `images`, over its pixels. files: one a row, where they came from
    files. identities: one a row, the same at every size (default: the hashes). image_groups: one a row, equal for
    images that belong together (a module, a patient), where known. note: what a reader of a number measured here must
    know.
    """

    name: str
    images: np.ndarray
    targets: Targets
    index: np.ndarray
    classes: Classes
    size: int
    image_hashes: Sequence[str]
    files: Sequence[str] = ()
    identities: Sequence[str] = ()
    note: str = ""
    image_groups: Sequence[int] = ()

    noun: ClassVar[str] = "images"

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> tuple[Tensor, Any]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self.noun[:-1]} {i} of a split of {len(self)}")
        x, y = self.take(np.array([i % len(self)]))
        return x[0], {k: v[0] for k, v in y.items()} if isinstance(y, dict) else y[0]

    def __repr__(self) -> str:
        return f"Split({self.name!r}, {len(self)} images, {self.size}×{self.size})"

    @property
    def sizes(self) -> str:
        """The stored and the delivered size, in words."""
        height, width = self.images.shape[-2:]
        return f"{width}×{height} pixels stored, {self.size}×{self.size} delivered"

    @property
    def y(self) -> Targets:
        """The targets of this split, in order."""
        return self.labels(np.arange(len(self)))

    @property
    def majority(self) -> float:
        """What always giving the most frequent label scores: the line that every accuracy is compared with.

        Of several tasks, over all of their labels together; nan without any label.
        """
        tasks = [first_task(y) for y in by_task(self.y).values()]
        counts = [y[y >= 0].bincount(minlength=1) for y in tasks]
        labels = sum(int(count.sum()) for count in counts)
        return sum(int(count.max()) for count in counts) / labels if labels else float("nan")

    @property
    def hashes(self) -> list[str]:
        """The image hashes of this split, in order."""
        return [self.image_hashes[i] for i in self.index]

    @property
    def ids(self) -> list[str]:
        """What tells the images of this split apart at every size, in order."""
        return [(self.identities or self.image_hashes)[i] for i in self.index]

    @property
    def names(self) -> list[str]:
        """What the images of this split are called, in order: files, from the folder of the data on, or numbers."""
        if not self.files:
            return [f"{self.noun[:-1]} {i}" for i in range(len(self))]
        root = os.path.commonpath([Path(file).parent.parent for file in self.files])
        return [normal_name(Path(self.files[i]).relative_to(root).as_posix()) for i in self.index]

    @property
    def groups(self) -> list[int]:
        """The groups of the images of this split, in order; empty if none are known. Copies of a picture are one."""
        if len(self.image_groups):
            return [self.image_groups[i] for i in self.index]
        pictures, which = np.unique(self.hashes, return_inverse=True)
        return which.tolist() if len(pictures) < len(which) else []

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

    def inputs(self, positions: np.ndarray) -> Tensor:
        """Return what a network's `input` stage takes, uint8: here the pixels."""
        return self.pixels(positions)

    def take(self, positions: np.ndarray) -> tuple[Tensor, Targets]:
        """Return (inputs, targets) at `positions` of this split."""
        return self.inputs(positions), self.labels(positions)

    def batches(
        self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0, augment: Augment | None = None
    ) -> Iterator[tuple[Tensor, Targets]]:
        """Iterate over (uint8 N×C×H×W, targets): in order without a seed, shuffled by (seed, epoch) with one.

        Augmentation of step k depends on (seed, epoch, k) alone: a resumed run sees what it would have seen. Raises
        ValueError for an augmentation of texts, TypeError for one that is no function of (images, generator).
        """
        if augment is not None and self.noun != "images":
            raise ValueError(
                f"augmentations are made for images here, and these data are {self.noun}: leave augment=None"
            )
        for k, positions in enumerate(batch_positions(len(self), batch_size, seed=seed, epoch=epoch)):
            x, y = self.take(positions)
            if augment is not None:
                x = augmented(x, augment, generator(seed or 0, epoch, k))
            yield x, y

    def of_rows(self, rows: Sequence[int] | np.ndarray, *, size: int | None = None) -> Split:
        """Return a split of the given rows of `images`, whatever split they are in: the caller keeps splits apart."""
        return replace(self, index=np.asarray(rows, dtype=np.int64), size=size or self.size)

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
    seed = int.from_bytes(hashlib.sha256(repr(tuple(map(int, parts))).encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


def check_whole(**values: Any) -> None:
    """Raise ValueError for a value that is neither None nor a whole number within LIMITS, by default one from 1 on."""
    for name, value in values.items():
        low, high = LIMITS.get(name, (1, math.inf))
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high
        ):
            numbers = f"≥ {low}" if high == math.inf else f"from {low} to {high}"
            raise ValueError(f"{name}={value!r}: a whole number {numbers}")


def batch_positions(n: int, batch_size: int, *, seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
    """Return the positions of each batch of one epoch; a last batch of one image joins the one before it.

    BatchNorm cannot normalise a single image, and one image would make a very noisy step.
    """
    check_whole(batch_size=batch_size)
    order = np.arange(n) if seed is None else torch.randperm(n, generator=generator(seed, epoch)).numpy()
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return np.split(order, starts[1:]) if n else []


def resize(x: Tensor, size: int) -> Tensor:
    """Resize the shorter edge of uint8 N×C×H×W to `size` with antialiasing and crop the centre square."""
    from torchvision.transforms.v2 import functional

    return functional.center_crop(functional.resize(x, [size]), [size]).contiguous()


def augmented(x: Tensor, augment: Augment, draw: torch.Generator) -> Tensor:
    """Return what `augment` makes of uint8 N×C×H×W. Raises TypeError for what is no function of both."""
    try:
        return augment(x, draw).contiguous()
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f"augment={augment!r} fails as a function of (uint8 images N×C×H×W, random generator) that returns images: "
            f"{error}. Around a torchvision transform write lambda x, _: transform(x)"
        ) from error


def first_task(targets: Targets) -> Tensor:
    """Return the class numbers of the first task, which decide stratification and the majority rate."""
    y: Tensor = next(iter(by_task(targets).values()))
    return y.argmax(dim=1) if y.ndim == 2 else y


def first_names(classes: Classes) -> list[str]:
    """Return the class names of the first task."""
    return next(iter(by_task(classes).values()))


def counted(parts: Sequence[Split], card: Card) -> Data:
    """Return a Data whose card has the classes, counts and majority rate of these splits."""
    classes = parts[0].classes
    names = first_names(classes)
    notes, counts = list(card.notes), {}
    for part in parts:
        numbers = Counter(first_task(part.y).tolist())
        counts[part.name] = {name: numbers[k] for k, name in enumerate(names)}
        if missing := [name for name, n in counts[part.name].items() if not n]:
            so = "it cannot be learnt" if part.name == "train" else "nothing is measured there for it"
            notes.append(f"{part.name} has no {part.noun[:-1]} of {', '.join(missing)}: {so}.")
    of_test = counts["test"].values()
    card = replace(card, classes=classes, counts=counts, majority=max(of_test) / max(1, sum(of_test)), notes=notes)
    return Data(train=parts[0], valid=parts[1], test=parts[2], card=card)


def with_targets(data: Data, targets: Mapping[str, Tensor] | Tensor, classes: Classes) -> Data:
    """Return the same images and splits with other targets (a row each) and classes; the card counts anew."""
    new = dict(targets) if isinstance(targets, Mapping) else targets
    for t in by_task(new).values():
        if t.ndim not in (1, 2) or len(t) != len(data.train.images):
            raise ValueError(
                f"targets of shape {'×'.join(map(str, t.shape))}; expected a class number, or a distribution over the "
                f"classes, for each of all {len(data.train.images)} images"
            )
    parts = [replace(part, targets=new, classes=classes) for part in (data.train, data.valid, data.test)]
    return counted(parts, data.card)


def normal_name(name: object) -> str:
    """Return the one spelling of a class name: "cat " is "cat", and é is one letter, as it is on no Mac's disk."""
    return unicodedata.normalize("NFC", str(name)).strip()


def padded(text: str, width: int) -> str:
    """Return a text with blanks up to `width` places of a terminal: Chinese letters take two, accents none."""
    places = sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
    return text + " " * (width - places)


def as_labels(y: Any, classes: Sequence[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Return (class numbers, class names) from N numbers or N names, or raise what was wrong.

    What is missing (nan, None, NA, "" or -100) has the number -100, unless `classes` has a name like it.
    """
    given = y if hasattr(y, "shape") else np.asarray(y, dtype=object)
    values = [v.item() if hasattr(v, "item") else v for v in given.tolist()] if len(given.shape) == 1 else []
    if not values or any(isinstance(v, (list, tuple, set, dict)) for v in values):
        shape = "×".join(map(str, given.shape)) or "a single value"
        raise ValueError(f"labels of shape {shape}; expected one class number or name for each image")
    values = [normal_name(v) if isinstance(v, str) else v for v in values]
    names = None if classes is None else [normal_name(name) for name in classes]
    missing = MISSING.difference(names or ())
    known = {i: v for i, v in enumerate(values) if str(v) not in missing and v != NO_LABEL}
    if not known:
        raise ValueError(f"all {len(values)} labels are missing; expected class numbers or names")
    floats = [v for v in known.values() if isinstance(v, float)]  # pandas makes them of numbers where one is missing
    if wrong := [v for v in floats if len(known) == len(values) or not v.is_integer()]:
        raise ValueError(
            f"labels are {getattr(given, 'dtype', 'floats')}, such as {wrong[0]}; expected class numbers or names. "
            "For whole numbers use y.astype(int); this lab classifies, it does no regression"
        )
    labels: list[Any] = [int(v) if isinstance(v, float) else v for v in known.values()]
    if all(isinstance(v, int) for v in labels):
        low, high = min(labels), max(labels)
        names = names or [*map(str, range(high + 1))]
        if low < 0 or high >= len(names):
            raise ValueError(
                f"labels run from {low} to {high} for {len(names)} classes; expected numbers from 0 to {len(names) - 1}"
            )
        labels = [names[k] for k in labels]
    else:
        labels = [normal_name(v) for v in labels]
        names = names or sorted({*labels})
        if unknown := sorted({*labels} - {*names}):
            raise ValueError(f"labels {', '.join(unknown[:5])} are not among the classes {', '.join(names)}")
    names = list(dict.fromkeys(names))  # two spellings of a name are one class
    if len(names) < 2:
        raise ValueError(f"all images are of one class, {names[0]}; classifying needs at least two")
    y = np.full(len(values), NO_LABEL)
    y[list(known)] = [names.index(label) for label in labels]
    return y, names


def labelled(targets: Tensor, classes: int) -> Tensor:
    """Return which of N targets are labels (N booleans). Raises ValueError for what is none of so many classes."""
    if targets.ndim == 2:
        if targets.shape[1] != classes:
            raise ValueError(f"targets give {targets.shape[1]} probabilities an image, the head has {classes} classes")
        if not (targets >= 0).all():
            raise ValueError("targets give probabilities that are negative or nan; each is a number from 0 to 1")
        return torch.ones(len(targets), dtype=torch.bool, device=targets.device)
    if targets.dtype != torch.int64:
        raise ValueError(f"class numbers are whole and of torch.int64, not {targets.dtype}: make them so by y.long()")
    known = targets != NO_LABEL
    if len(wrong := targets[known & ((targets < 0) | (targets >= classes))]):
        raise ValueError(
            f"label {wrong[0]} is outside 0…{classes - 1}: the head has {classes} classes. Replace the head first."
        )
    return known


def with_labels(data: Data) -> Data:
    """Return the data with those training images alone that have a label, of any task. Raises as `check_labels`."""
    check_labels(data)
    known = [first_task(y) != NO_LABEL for y in by_task(data.train.y).values()]
    return replace(data, train=data.train.subset(torch.stack(known).any(dim=0).nonzero().flatten().numpy()))


def check_labels(data: Data) -> None:
    """Raise ValueError where train or valid has no label of a task, or one that is no class."""
    for split in (data.train, data.valid):
        for task, y in by_task(split.y).items():
            if not labelled(y, len(by_task(data.classes)[task])).any():
                of = f" of {task!r}" * bool(task)
                raise ValueError(f"no image of the {split.name} split has a label{of}: label some, or split anew")


def by_task(value: Any) -> dict[str, Any]:
    """Return what is one a task as it is, and what there is only one of as the task without a name."""
    return value if isinstance(value, dict) else {"": value}


def class_columns(known: Classes | None, widths: Mapping[str, int], classes: Classes) -> dict[str, list[int]]:
    """Return {task: where a model answers each class of the data}: classes go by name, whatever their order.

    known: the names on the model's card, if it has some; a head that only counts ("0", "1", …) has the order of the
    data. widths: answers a task, "" for a single head. classes: those of the data. Raises ValueError where they are
    not the same, with what to do.
    """
    heads, tasks, columns = by_task(known or {}), by_task(classes), dict[str, list[int]]()
    fix = "model = replace_head(model, data.classes)"
    if set(widths) != set(tasks):
        named = [", ".join(each) or "one without a name" for each in (widths, tasks)]
        raise ValueError(f"the heads of the model ({named[0]}) are not the tasks of the data ({named[1]}): {fix}")
    for task, names in tasks.items():
        if len(names) != widths[task]:
            raise ValueError(f"the head has {widths[task]} classes, the data {len(names)}: {fix}")
        numbered = [str(k) for k in range(len(names))]
        head = [normal_name(name) for name in heads.get(task, numbered)]
        if {*head} != {*names}:
            if head != numbered:
                mine, other = (", ".join(sorted({*a} - {*b})[:5]) for a, b in ((head, names), (names, head)))
                raise ValueError(f"the model answers {mine}, which the data do not have; they have {other}: {fix}")
            head = names
        columns[task] = [head.index(name) for name in names]
    return columns


def in_order_of(known: Classes | None, outputs: int | None, data: Data) -> Data:
    """Return data whose train and valid number their classes as the model does: they go by name.

    known, outputs: the names on the model's card and the answers of its head, where known. Raises ValueError as
    `class_columns`.
    """
    widths = {task: len(names) for task, names in by_task(data.classes).items()} if outputs is None else {"": outputs}
    columns = class_columns(known, widths, data.classes)
    if all(to == sorted(to) for to in columns.values()):
        return data
    return replace(data, train=in_columns(data.train, columns), valid=in_columns(data.valid, columns))


def in_columns(split: Split, columns: Mapping[str, Sequence[int]]) -> Split:
    """Return the split with its classes in another order: class k of a task is then number columns[task][k]."""
    targets, classes = {}, {}
    for task, y in by_task(split.targets).items():
        to = torch.tensor(columns[task])
        come_from = to.argsort()
        targets[task] = y[:, come_from] if y.ndim == 2 else torch.where(y < 0, y, to[y.clamp(min=0)])
        classes[task] = [by_task(split.classes)[task][k] for k in come_from]
    return replace(split, targets=targets.get("", targets), classes=classes.get("", classes))
