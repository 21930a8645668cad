"""The named data sets: `load("solar")`, `load("digits")`, torchvision's, and `load("folder:PATH")`."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sftlab.data.assembly import assemble
from sftlab.data.core import Classes, Data, Targets
from sftlab.data.storage import decoded

SOLAR_LICENCE = "CC BY-NC-SA 4.0 (the pictures; not for commercial use)"
SOLAR_CITATION = (
    "Buerhop-Lutz et al. 2018, A Benchmark for Visual Identification of Defective Solar Cells in "
    "Electroluminescence Imagery, EU PVSEC, doi:10.4229/35thEUPVSEC20182018-5CV.3.15; Deitsch et al. 2019, "
    "Solar Energy 185, doi:10.1016/j.solener.2019.02.067"
)
MODULES = 44  # the publication's number of solar modules; 2,624 cells are about 60 a module


def load(
    name: str, *, size: int | None = None, per_class: int | None = None, seed: int = 0,
    corrections: str | Path | None = None, **options: Any,
) -> Data:  # fmt: skip
    """Load a data set by name: "solar", "solar-random", "digits", a torchvision name, or "folder:PATH".

    "docstrings" and "csv:PATH" (a table of texts and labels) are texts.
    size: edge in pixels of the delivered square (texts: bytes that are kept). per_class: keep at most that many
    training images a class. seed: of the split and of the thinning. corrections: a CSV of corrected labels, as
    `widgets.relabel` writes it, to be used in place of the original ones (see `corrected`). options: of the set;
    `valid` and `test` are shares where the set has no such split of its own, solar takes `split` and `target`, a
    folder takes `groups`, a table `text`, `label` and `group`. Raises ValueError for an unknown name,
    FileNotFoundError with what to fetch when a set is not on this machine and cannot be downloaded.
    """
    if size is not None and size < 1:
        raise ValueError(f"size={size}: an edge length in pixels, such as 160")
    if corrections is not None:
        from sftlab.data.corrections import corrected

        return corrected(load(name, size=size, per_class=per_class, seed=seed, **options), corrections)
    if name.startswith("folder:"):
        from sftlab.data.folder import load_folder

        path = name.removeprefix("folder:")
        return load_folder(path, size=size or 224, per_class=per_class, seed=seed, **options)
    if name.startswith("csv:"):
        from sftlab.data.texts import load_csv

        return load_csv(name.removeprefix("csv:"), size=size, per_class=per_class, seed=seed, **options)
    from sftlab.data.docstrings import load_docstrings
    from sftlab.data.fonts import load_characters
    from sftlab.data.torchvision_sets import TORCHVISION, load_torchvision

    if name in TORCHVISION:
        return load_torchvision(name, size=size, per_class=per_class, seed=seed, **options)
    known: dict[str, Callable[..., Data]] = {
        "solar": load_solar, "solar-random": partial(load_solar, split="random"), "digits": load_digits,
        "docstrings": load_docstrings, "characters": load_characters,
    }  # fmt: skip
    if name not in known:
        close = difflib.get_close_matches(name, datasets(), 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        named = f"{', '.join(datasets())}, 'folder:PATH' and 'csv:PATH'"
        raise ValueError(f"no data set is named {name!r}; there are {named}.{hint}")
    return known[name](size=size, per_class=per_class, seed=seed, **options)


def datasets() -> list[str]:
    """Return the names that `load` knows (besides "folder:PATH" and "csv:PATH")."""
    from sftlab.data.torchvision_sets import TORCHVISION

    return ["solar", "solar-random", "digits", "characters", "docstrings", *TORCHVISION]


@dataclass(frozen=True)
class _Solar:
    images: np.ndarray
    hashes: list[str]
    probability: np.ndarray
    kind: np.ndarray


def load_solar(
    *, split: str = "grouped", target: str = "defect", size: int | None = None, per_class: int | None = None,
    seed: int = 0, valid: float = 0.15, test: float = 0.25,
) -> Data:  # fmt: skip
    """Load 2,624 electroluminescence images of solar cells, 300×300, grey.

    target: "defect" (defect ⇔ probability > 0.5), "probability" (the expert's four levels as soft targets),
    "type" (mono, poly), or "both" (defect and type, two heads). split: "grouped" by blocks of consecutive
    files, or "random", stratified by probability × type as in the published protocol.
    """
    cells = _solar()
    defect = torch.from_numpy((cells.probability > 0.5).astype(np.int64))
    kind = torch.from_numpy((cells.kind == "poly").astype(np.int64))
    p = torch.from_numpy(cells.probability.astype(np.float32))
    of: dict[str, tuple[Targets, Classes, str]] = {
        "defect": (defect, ["intact", "defect"], "defect ⇔ the expert's defect probability > 0.5"),
        "probability": (
            torch.stack([1 - p, p], dim=1), ["intact", "defect"],
            "the expert's defect probability (0, ⅓, ⅔, 1) as soft target",
        ),
        "type": (kind, ["mono", "poly"], "monocrystalline or polycrystalline, from the set's own table"),
        "both": (
            {"defect": defect, "type": kind}, {"defect": ["intact", "defect"], "type": ["mono", "poly"]},
            "defect ⇔ probability > 0.5; and the cell type",
        ),
    }  # fmt: skip
    if target not in of:
        raise ValueError(f"target={target!r}: one of {', '.join(of)}")
    if split not in ("grouped", "random"):
        raise ValueError(f"split={split!r}: 'grouped' or 'random'")
    targets, classes, rule = of[target]
    strata = [f"{q:.2f} {t}" for q, t in zip(cells.probability, cells.kind, strict=True)]
    groups = module_blocks(cells.kind).tolist() if split == "grouped" else None
    how = "grouped by blocks of files" if split == "grouped" else "random, stratified by probability × type"
    notes = {
        "grouped": f"{MODULES} blocks of consecutive files of one cell type stand for the {MODULES} modules, "
        "whose borders are not published: an approximation.",
        "random": "Cells of one module fall on both sides of a random split, which flatters the number.",
    }
    return assemble(
        cells.images, targets, classes, name="solar", rule=rule, size=size, per_class=per_class, seed=seed,
        valid=valid, test=test, groups=groups, strata=strata, hashes=cells.hashes,
        split=f"{how}, seed {seed}",
        source="package elpv-dataset", licence=SOLAR_LICENCE, citation=SOLAR_CITATION, notes=[notes[split]],
    )  # fmt: skip


def module_blocks(kind: np.ndarray) -> np.ndarray:
    """Return a block number a file: consecutive files of one cell type, cut into blocks of about a module."""
    cells = len(kind) / MODULES
    borders = [0, *(np.flatnonzero(kind[1:] != kind[:-1]) + 1), len(kind)]
    blocks = np.empty(len(kind), dtype=np.int64)
    count = 0
    for start, stop in pairwise(borders):
        for part in np.array_split(np.arange(start, stop), max(1, round((stop - start) / cells))):
            blocks[part] = count
            count += 1
    return blocks


def _solar() -> _Solar:
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the solar cells come with the package elpv-dataset; run: pip install elpv-dataset")
    folder = Path(found.submodule_search_locations[0]) / "data"
    with (folder / "labels.csv").open(encoding="utf-8") as table:
        rows = [line for line in csv.reader(table, delimiter=" ", skipinitialspace=True) if line]
    from PIL import Image

    pictures = (np.asarray(Image.open(folder / row[0]))[None] for row in rows)
    images, hashes = decoded("solar", (len(rows), 1, 300, 300), pictures)
    return _Solar(images, hashes, np.array([float(row[1]) for row in rows]), np.array([row[2] for row in rows]))


def load_digits(
    *,
    size: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.25,
) -> Data:
    """Load scikit-learn's 1,797 handwritten digits, 8×8, grey, ten classes."""
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]
    return assemble(
        images, torch.from_numpy(digits.target.astype(np.int64)), [str(i) for i in range(10)], name="digits",
        rule="the digit that was written", size=size, per_class=per_class, seed=seed, valid=valid, test=test,
        source="scikit-learn, from the UCI machine-learning repository", licence="CC BY 4.0",
        citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi:10.24432/C50P49",
        notes=["Writers are not named in this copy, so the split is by image: the number flatters a little."],
    )  # fmt: skip
