"""Where data come from: `load("solar")` and all other names, images in memory, somebody's own data set."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sftlab.data.dataset import Classes, Data, Targets, as_labels, check_whole, resize
from sftlab.data.folder import load_folder, to_rgb, to_square
from sftlab.data.generated import load_characters, load_docstrings, load_typefaces
from sftlab.data.label_fixes import corrected
from sftlab.data.splits import assemble
from sftlab.data.storage import allocate, as_path, decoded, image_hash, package_folder
from sftlab.data.texts import load_csv
from sftlab.data.torchvision_sets import TORCHVISION, load_torchvision

SOLAR_LICENCE = "CC BY-NC-SA 4.0 (the pictures; not for commercial use)"
SOLAR_CITATION = (
    "Buerhop-Lutz et al. 2018, A Benchmark for Visual Identification of Defective Solar Cells in "
    "Electroluminescence Imagery, EU PVSEC, doi:10.4229/35thEUPVSEC20182018-5CV.3.15; Deitsch et al. 2019, "
    "Solar Energy 185, doi:10.1016/j.solener.2019.02.067"
)
MODULES = 44  # the publication's number of solar modules; 2,624 cells are about 60 a module


def load(
    name: str,
    *,
    size: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    corrections: str | Path | None = None,
    **options: Any,
) -> Data:
    """Load a data set by name: "solar", "solar-random", "digits", a torchvision name, or "folder:PATH".

    "docstrings" and "csv:PATH" (a table of texts and labels) are texts.
    size: edge in pixels of the delivered square (texts: bytes that are kept). per_class: keep at most that many
    training images a class. seed: of the split and of the thinning. corrections: a CSV of corrected labels, as
    `widgets.relabel` writes it, to be used in place of the original ones (see `corrected`). options: of the set;
    `valid` and `test` are shares where the set has no such split of its own, solar takes `split` and `target`, a
    folder takes `groups`, a table `text`, `label` and `group`. Raises ValueError for an unknown name,
    FileNotFoundError with what to fetch when a set is not on this machine and cannot be downloaded.
    """
    check_whole(size=size, seed=seed)
    name = str(name)
    scheme, colon, path = name.partition(":")
    loader: Callable[..., Data]
    if colon and scheme in ("folder", "csv"):
        loader = partial(load_folder if scheme == "folder" else load_csv, path)
    elif name in LOADERS:
        loader = LOADERS[name]
    else:
        close = difflib.get_close_matches(name, LOADERS, 1) or [f"folder:{name}"] * as_path(name).exists()
        hint = f" Did you mean {close[0]!r}?" if close else ""
        names = f"{', '.join(LOADERS)}, 'folder:PATH' and 'csv:PATH'"
        raise ValueError(f"no data set is named {name!r}; there are {names}.{hint}")
    data = loader(size=size, per_class=per_class, seed=seed, **options)
    return data if corrections is None else corrected(data, corrections)


def datasets() -> list[str]:
    """Return the names that `load` knows (besides "folder:PATH" and "csv:PATH")."""
    return list(LOADERS)


def load_solar(*, split: str = "grouped", target: str = "defect", seed: int = 0, **options: Any) -> Data:
    """Load 2,624 electroluminescence images of solar cells, 300×300, grey.

    target: "defect" (defect ⇔ probability > 0.5), "probability" (the expert's four levels as soft targets),
    "type" (mono, poly), or "both" (defect and type, two heads). split: "grouped" by blocks of consecutive
    files, or "random", stratified by probability × type as in the published protocol. options: size, per_class,
    valid, test.
    """
    images, hashes, probability, cell_type = _solar_cells()
    p, kind = torch.from_numpy(probability).float(), torch.from_numpy(cell_type == "poly").long()
    defect = (p > 0.5).long()
    names = {"defect": ["intact", "defect"], "type": ["mono", "poly"]}
    of: dict[str, tuple[Targets, Classes, str]] = {
        "defect": (defect, names["defect"], "defect ⇔ the expert's defect probability > 0.5"),
        "probability": (
            torch.stack([1 - p, p], dim=1),
            names["defect"],
            "the expert's defect probability (0, ⅓, ⅔, 1) as soft target",
        ),
        "type": (kind, names["type"], "monocrystalline or polycrystalline, from the set's own table"),
        "both": ({"defect": defect, "type": kind}, names, "defect ⇔ probability > 0.5; and the cell type"),
    }
    ways = {
        "grouped": (
            "grouped by blocks of files",
            f"{MODULES} blocks of consecutive files of one cell type stand for the {MODULES} modules, "
            "whose borders are not published: an approximation.",
        ),
        "random": (
            "random, stratified by probability × type",
            "Cells of one module fall on both sides of a random split, which flatters the number.",
        ),
    }
    if target not in of:
        raise ValueError(f"target={target!r}: one of {', '.join(of)}")
    if split not in ways:
        raise ValueError(f"split={split!r}: 'grouped' or 'random'")
    targets, classes, rule = of[target]
    how, note = ways[split]
    return assemble(
        images,
        targets,
        classes,
        name="solar",
        rule=rule,
        seed=seed,
        groups=module_blocks(cell_type).tolist() if split == "grouped" else None,
        strata=[f"{q:.2f} {t}" for q, t in zip(probability, cell_type, strict=True)],
        hashes=hashes,
        split=f"{how}, seed {seed}",
        source="package elpv-dataset",
        licence=SOLAR_LICENCE,
        citation=SOLAR_CITATION,
        notes=[note],
        **options,
    )


def module_blocks(kind: np.ndarray) -> np.ndarray:
    """Return a block number a file: consecutive files of one cell type, cut into blocks of about a module."""
    cells = len(kind) / MODULES
    runs = np.split(kind, np.flatnonzero(kind[1:] != kind[:-1]) + 1)
    blocks = [block for run in runs for block in np.array_split(run, max(1, round(len(run) / cells)))]
    return np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])


def _solar_cells() -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    """Return (uint8 2624×1×300×300, image hashes, the expert's defect probabilities, cell types)."""
    from PIL import Image

    folder = package_folder("elpv_dataset", "the solar cells") / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines() if line]
    pictures = (np.asarray(Image.open(folder / row[0]))[None] for row in rows)
    images, hashes = decoded("solar", (len(rows), 1, 300, 300), pictures)
    return images, hashes, np.array([float(row[1]) for row in rows]), np.array([row[2] for row in rows])


def load_digits(*, size: int | None = None, **options: Any) -> Data:
    """Load scikit-learn's 1,797 handwritten digits, 8×8, grey, ten classes. options: per_class, seed, valid, test."""
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    return assemble(
        (digits.images * (255 / 16)).round().astype(np.uint8)[:, None],
        torch.from_numpy(digits.target.astype(np.int64)),
        [str(i) for i in range(10)],
        name="digits",
        rule="the digit that was written",
        size=size,
        source="scikit-learn, from the UCI machine-learning repository",
        licence="CC BY 4.0",
        citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi:10.24432/C50P49",
        notes=["Writers are not named in this copy, so the split is by image: the number flatters a little."],
        **options,
    )


def from_arrays(
    x: np.ndarray | Tensor,
    y: Any,
    *,
    classes: Sequence[str] | None = None,
    groups: Sequence[object] | None = None,
    name: str = "arrays",
    size: int | None = None,
    **options: Any,
) -> Data:
    """Build a Data from images in memory.

    x: uint8, N×H×W (grey), N×H×W×C or N×C×H×W with 1 or 3 channels. y: N class numbers from 0, or N names; images
    whose label is missing (nan, None, NA, "", −100) are left out and counted on the card. classes: the names in order.
    groups: what must not be torn apart by the split, a value an image. options: per_class, seed, valid, test.
    Raises TypeError for images that are not uint8, ValueError for labels or shapes that do not fit.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    >>> from_arrays(x, np.arange(60) % 2).train
    Split('train', 36 images, 8×8)
    """
    images = as_images(x)
    numbers, names = as_labels(y, classes)
    facts: dict[str, Any] = {"name": name, "rule": "labels as given", "groups": groups, "size": size} | options
    return assemble(images, torch.from_numpy(numbers), names, **facts)


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
    whole = dataset
    while not hasattr(whole, "classes") and hasattr(whole, "dataset"):  # a Subset of a Subset …
        whole = whole.dataset
    names = classes if classes is not None else getattr(whole, "classes", None)
    edge, shape = size or 224, _stored(dataset[0][0], None).shape
    as_they_are = max(shape[1:]) <= edge and all(_stored(image, None).shape == shape for image, *_ in _items(dataset))
    images = allocate((len(dataset), *(shape if as_they_are else (3, edge, edge))))
    labels, hashes = [], []
    for i, (image, label, *_) in enumerate(_items(dataset)):
        images[i] = _stored(image, None if as_they_are else edge)
        labels.append(label)
        hashes.append(image_hash(np.asarray(image)))
    facts: dict[str, Any] = {"name": type(whole).__name__, "identities": hashes} | options
    return from_arrays(images, labels, classes=names, size=size, **facts)


def _items(dataset: Any) -> Iterator[Any]:
    """Iterate over a map-style data set: not each raises IndexError at its end."""
    return (dataset[i] for i in range(len(dataset)))


def _stored(image: Any, edge: int | None) -> np.ndarray:
    """Return uint8 C×H×W of a PIL image, array or tensor; with `edge`, a square of three channels."""
    if hasattr(image, "convert"):
        if edge is not None:
            return to_square(image, edge)
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
        values = f", from {array.min():.3g} to {array.max():.3g}" if array.dtype.kind in "iuf" else ""
        raise TypeError(
            f"images are {array.dtype}{values}; "
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


LOADERS: dict[str, Callable[..., Data]] = {
    "solar": load_solar,
    "solar-random": partial(load_solar, split="random"),
    "digits": load_digits,
    "characters": load_characters,
    "typefaces": load_typefaces,
    "docstrings": load_docstrings,
    **{name: partial(load_torchvision, name) for name in TORCHVISION},
}
