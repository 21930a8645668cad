"""Data sets that torchvision downloads: into `data_dir()/torchvision` once, from there ever after."""

from __future__ import annotations

import http.client
import socket
import sys
import tarfile
import urllib.error
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from sftlab.data.assembly import assemble
from sftlab.data.core import Data
from sftlab.data.photos import to_square
from sftlab.data.splits import Rows, check_shares, draw, drop_copies
from sftlab.data.store import data_dir, decoded, image_hash

PATIENCE = 30.0  # seconds without an answer before a download is given up


_NO_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, RuntimeError)


@dataclass(frozen=True)
class Downloaded:
    """What the lab knows of a set of torchvision: how to open it, what to fetch, what its card says."""

    cls: str  # the class's name in torchvision.datasets
    folder: str  # where torchvision looks for the files, below its root
    files: tuple[str, ...]
    megabytes: int
    parts: tuple[dict[str, Any], ...]  # constructor arguments for train, (valid,) test; one if it has no splits
    edge: int | None  # the size in which all its images come; None for photographs of many sizes
    rule: str
    licence: str
    citation: str
    notes: tuple[str, ...] = ()


_TRAIN_TEST: tuple[dict[str, Any], ...] = ({"train": True}, {"train": False})
_THREE: tuple[dict[str, Any], ...] = ({"split": "train"}, {"split": "val"}, {"split": "test"})
_MNIST_FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip
_FROM_THE_WEB = "none stated by its authors; photographs from the web, of many owners: for research and teaching"
_KRIZHEVSKY = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, University of Toronto"
_SMALL = "Images of 32×32 pixels, enlarged for a network that was trained on 224×224."

TORCHVISION = {
    "cifar10": Downloaded(
        "CIFAR10", "", ("cifar-10-python.tar.gz",), 170, _TRAIN_TEST, 32,
        "what the photograph shows, by paid students", _FROM_THE_WEB, _KRIZHEVSKY, (_SMALL,),
    ),
    "cifar100": Downloaded(
        "CIFAR100", "", ("cifar-100-python.tar.gz",), 169, _TRAIN_TEST, 32,
        "what the photograph shows, by paid students (the 100 fine classes)",
        _FROM_THE_WEB, _KRIZHEVSKY, (_SMALL,),
    ),
    "flowers102": Downloaded(
        "Flowers102", "flowers-102", ("102flowers.tgz", "imagelabels.mat", "setid.mat"), 345, _THREE, None,
        "the species of the flower", _FROM_THE_WEB,
        "Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes, ICVGIP",
        ("Ten training images a class, and a test set six times as large as train: so its authors made it.",),
    ),
    "pets": Downloaded(
        "OxfordIIITPet", "oxford-iiit-pet", ("images.tar.gz", "annotations.tar.gz"), 811,
        ({"split": "trainval"}, {"split": "test"}), None, "the breed of the cat or dog",
        "CC BY-SA 4.0 as its authors state; the photographs belong to their owners",
        "Parkhi, Vedaldi, Zisserman and Jawahar 2012, Cats and Dogs, CVPR",
        ("ImageNet has many of these breeds: a pretrained network has met such dogs before.",),
    ),
    "eurosat": Downloaded(
        "EuroSAT", "eurosat", ("EuroSAT.zip",), 94, ({},), 64,
        "land use in a Sentinel-2 image of 640×640 metres",
        "MIT as its authors state; the images contain modified Copernicus Sentinel data",
        "Helber, Bischke, Dengel and Borth 2019, EuroSAT, IEEE JSTARS 12(7), doi:10.1109/JSTARS.2019.2918242",
        ("It has no split of its own. Patches of one scene fall into different splits, which flatters.",),
    ),
    "dtd": Downloaded(
        "DTD", "dtd", ("dtd-r1.0.1.tar.gz",), 625, _THREE, None, "the word that describes the texture best",
        "for research purposes, as its authors state; photographs from the web",
        "Cimpoi, Maji, Kokkinos, Mohamed and Vedaldi 2014, Describing Textures in the Wild, CVPR",
        ("The first of its ten published splits.",),
    ),
    "mnist": Downloaded(
        "MNIST", "MNIST/raw", _MNIST_FILES, 12, _TRAIN_TEST, 28, "the digit that was written",
        "commonly distributed under CC BY-SA 3.0; derived from databases of NIST",
        "LeCun, Bottou, Bengio and Haffner 1998, Gradient-Based Learning Applied to Document Recognition, "
        "Proceedings of the IEEE 86(11), doi:10.1109/5.726791",
    ),
    "fashion_mnist": Downloaded(
        "FashionMNIST", "FashionMNIST/raw", _MNIST_FILES, 31, _TRAIN_TEST, 28, "the kind of garment",
        "MIT", "Xiao, Rasul and Vollgraf 2017, Fashion-MNIST, arXiv:1708.07747",
    ),
}  # fmt: skip


def load_torchvision(
    name: str, *, size: int | None = None, per_class: int | None = None, seed: int = 0, valid: float = 0.15,
    test: float | None = None,
) -> Data:  # fmt: skip
    """Load a set of torchvision, downloading it if it is not here yet.

    Its own test split is `.test`; valid is its own, or a share of its training images drawn at random
    (`valid`), each class in proportion. `test` is a share of all images and only for a set without a test
    split (eurosat). A training image that is in test as well is dropped, and the card says how many.
    Photographs of many sizes are kept as squares of `size` (224).

    Raises FileNotFoundError with what to fetch and where to put it if the set is not here and cannot be
    downloaded.
    """
    about = TORCHVISION[name]
    if test is not None and len(about.parts) > 1:
        raise ValueError(f"test={test}: {name} has a test split of its own, which stays as it is; leave test out")
    check_shares(valid, test or 0.25)
    parts = _opened(name, about)
    labels = np.concatenate([_labels(part) for part in parts])
    classes = [str(c).replace("_", " ") for c in parts[0].classes]
    images, hashes = _images(name, about, parts, about.edge or size or 224)
    ends = np.cumsum([0, *(len(part) for part in parts)])
    of = [np.arange(start, stop) for start, stop in pairwise(ends)]
    notes, rows, split = list(about.notes), None, ""
    if len(of) == 3:
        rows, split = (of[0], of[1], of[2]), "as published"
    elif len(of) == 2:
        rows, split = (of[0], of[0][:0], of[1]), f"test as published, valid drawn from train, seed {seed}"
    if rows is not None:
        rows, dropped = drop_copies(rows, hashes)
        if dropped:
            notes.append(f"{len(dropped)} images of train are in test as well, to the pixel; they were dropped.")
        rows = rows if len(of) == 3 else _with_valid(rows, labels, hashes, valid, seed)
    return assemble(
        images, torch.from_numpy(labels), classes, name=name, rule=about.rule, size=size or about.edge,
        per_class=per_class, seed=seed, valid=valid, test=test or 0.25, rows=rows, split=split, hashes=hashes,
        source=f"torchvision.datasets.{about.cls}", licence=about.licence, citation=about.citation,
        notes=notes,
    )  # fmt: skip


def _with_valid(rows: Rows, labels: np.ndarray, hashes: list[str], valid: float, seed: int) -> Rows:
    train, drawn = draw(rows[0], labels.tolist(), hashes, [valid], seed)
    return train, drawn, rows[2]


def _opened(name: str, about: Downloaded) -> list[Any]:
    """Return torchvision's data sets, a split each, downloaded if need be."""
    from torchvision import datasets

    make, root = getattr(datasets, about.cls), data_dir() / "torchvision"
    with _our_bar(name):
        try:
            return [make(root, **part, download=False) for part in about.parts]
        except (RuntimeError, FileNotFoundError, EOFError):
            pass  # not here, or only a part of it
        try:
            return [make(root, **part, download=True) for part in about.parts]
        except _NO_NETWORK as error:
            files, place = ", ".join(about.files), root / about.folder
            reason = " ".join(str(error).split())
            raise FileNotFoundError(
                f"{name} is not on this machine and could not be downloaded ({reason}). Where there is a "
                f"network, fetch {files} ({about.megabytes} MB; torchvision.datasets.{about.cls}(folder, "
                f"download=True) does it), put {'it' if len(about.files) == 1 else 'them'} into {place} "
                "and load again: it is unpacked then."
            ) from None
        except (tarfile.TarError, zipfile.BadZipFile, FileNotFoundError, EOFError) as error:
            raise FileNotFoundError(_damaged(name, about, error)) from None


def _damaged(name: str, about: Downloaded, error: Exception) -> str:
    place = data_dir() / "torchvision" / about.folder
    return f"{name} in {place} is damaged or only partly unpacked ({error}); delete it there and load again"


def _labels(part: Any) -> np.ndarray:
    # Three of torchvision's sets have no public name for their labels.
    found = part.targets if hasattr(part, "targets") else part._labels
    return np.array([int(label) for label in found], dtype=np.int64)


def _images(name: str, about: Downloaded, parts: list[Any], edge: int) -> tuple[np.ndarray, list[str]]:
    """Return (uint8 N×C×edge×edge of all parts in order, a hash each)."""
    if all(hasattr(part, "data") for part in parts):  # it comes as one array
        arrays = np.concatenate([np.asarray(part.data) for part in parts])
        images = arrays[:, None] if arrays.ndim == 3 else np.ascontiguousarray(arrays.transpose(0, 3, 1, 2))
        return images, [image_hash(image) for image in images]
    shape = (sum(len(part) for part in parts), 3, edge, edge)
    pictures = (to_square(part[i][0], edge) for part in parts for i in range(len(part)))
    try:
        return decoded(f"{name}-{edge}", shape, pictures)
    except FileNotFoundError as error:
        raise FileNotFoundError(_damaged(name, about, error)) from None


@contextmanager
def _our_bar(name: str) -> Iterator[None]:
    """Use our own progress bar and bound the wait for an answer while torchvision works."""
    from torchvision.datasets import utils

    bar, patience = utils.tqdm, socket.getdefaulttimeout()
    utils.tqdm = lambda *_, total=None, **__: Bar(name, total)
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        utils.tqdm = bar
        socket.setdefaulttimeout(patience)


class Bar:
    """A progress bar that leaves nothing behind: in a notebook, in a terminal, and where nobody looks.

    A file, a pipe or a headless run gets no bar characters; a notebook's bar is one output, emptied at the
    end.
    """

    def __init__(self, name: str, total: int | None) -> None:
        self.name, self.total, self.done, self.shown = name, total, 0, ""
        self.output = _notebook_output()
        self.terminal = self.output is None and sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Bar:
        return self

    def update(self, n: int) -> None:
        """Count `n` more bytes."""
        self.done += n
        total = f" of {self.total / 1e6:.0f} MB ({self.done / self.total:.0%})" if self.total else " MB"
        self._show(f"downloading {self.name}: {self.done / 1e6:.0f}{total}")

    def __exit__(self, *_: object) -> None:
        self._show("")

    def _show(self, text: str) -> None:
        if text == self.shown:
            return
        if self.output is not None:
            self.output.update({"text/plain": text}, raw=True)
        elif self.terminal:
            sys.stderr.write(f"\r{text:<{len(self.shown)}}\r{text}")
            sys.stderr.flush()
        self.shown = text


def _notebook_output() -> Any:
    shell = sys.modules.get("IPython")  # where IPython is not loaded, nobody is in a notebook
    if shell is None or not hasattr(shell.get_ipython(), "kernel"):
        return None
    from IPython.display import display

    return display({"text/plain": ""}, raw=True, display_id=True)
