"""Images that are in memory already, as arrays or as somebody's data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sftlab.data.assembly import assemble
from sftlab.data.core import Data, resize
from sftlab.data.photos import to_rgb, to_square
from sftlab.data.storage import allocate


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
