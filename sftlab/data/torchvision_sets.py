"""torchvision's data sets: what the lab knows of each, and how one gets here, is unpacked and opened.

Called by `data.load`, by `sftlab fetch` and its proof that all is here.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sftlab.data.dataset import Data
from sftlab.data.download import Damaged, RemoteFile, download, lock
from sftlab.data.folder import to_square
from sftlab.data.splits import assemble, completed
from sftlab.data.storage import check_room, data_dir, decoded, image_hash, writing_into


@dataclass(frozen=True)
class TorchvisionSet:
    """A set of torchvision.

    cls: the class's name in torchvision.datasets. folder: where it looks for its files, below its root. files: their
    names, each with the md5 that torchvision states. bases: the addresses they lie at. megabytes: of all files,
    packed. parts: constructor arguments for train, (valid,) test. note: what a reader of
    its numbers must know.
    """

    cls: str
    files: Mapping[str, str]
    bases: Sequence[str]
    megabytes: int
    parts: Sequence[dict[str, Any]]
    rule: str
    licence: str
    citation: str
    folder: str = ""
    note: str = ""

    @property
    def place(self) -> Path:
        """The folder in which torchvision looks for its files."""
        return root() / self.folder

    @property
    def remote_files(self) -> list[RemoteFile]:
        """The files to fetch."""
        return [
            RemoteFile(tuple(base + file for base in self.bases), self.place / file, f"md5:{md5}")
            for file, md5 in self.files.items()
        ]


def root() -> Path:
    """Return the folder that torchvision calls root."""
    return data_dir() / "torchvision"


_TABLE = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
TORCHVISION = {name: TorchvisionSet(**facts) for name, facts in _TABLE.items()}


def load_torchvision(
    name: str,
    *,
    size: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    valid: float = 0.15,
    test: float | None = None,
) -> Data:
    """Load a set of torchvision, downloading it if it is not here yet.

    Its own test split is `.test`; valid is its own, or a share of its training images drawn at random
    (`valid`), each class in proportion. A training image that is in test as well is dropped, and the card
    says how many. Photographs of many sizes are kept as squares of `size` (224).

    Raises FileNotFoundError with what to fetch and where to put it if the set is not here and cannot be
    downloaded.
    """
    about = TORCHVISION[name]
    if test is not None:
        raise ValueError(f"test={test}: {name} has a test split of its own, which stays as it is; leave test out")
    parts = _open_or_bring(name)
    labels = np.concatenate([_labels(part) for part in parts])
    images, hashes = _images(name, parts, size or 224)
    borders = np.cumsum([len(part) for part in parts])[:-1]
    own = np.split(np.arange(len(labels)), borders)
    given = {"train": own[0], "test": own[-1]} | ({"valid": own[1]} if len(own) == 3 else {})
    rows, copies, drawn = completed(given, labels.tolist(), hashes, seed, valid=valid)
    notes = [about.note] if about.note else []
    if copies:
        notes.append(f"{len(copies)} images of train are in test as well, to the pixel; they were dropped.")
    return assemble(
        images,
        torch.from_numpy(labels),
        [str(c).replace("_", " ") for c in parts[0].classes],
        name=name,
        rule=about.rule,
        size=size,
        per_class=per_class,
        seed=seed,
        rows=rows,
        split=f"as published{drawn}",
        hashes=hashes,
        identities=[f"{name} {row}" for row in range(len(labels))],
        source=f"torchvision.datasets.{about.cls}",
        licence=about.licence,
        citation=about.citation,
        notes=notes,
    )


def bring_set(name: str) -> None:
    """Download what is missing of a set, check the rest, and unpack it unless every image of it opens.

    Raises ConnectionError, Damaged, NoRoom or PermissionError, as `download` does.
    """
    about = TORCHVISION[name]
    for file in about.remote_files:
        download(file.urls, file.path, file.known)
    with writing_into(about.place), lock(root() / name):
        try:
            count_images(name)
        except FileNotFoundError:
            for file in about.remote_files:
                unpack(file.path)


def count_images(name: str) -> int:
    """Open every image of a set that is here, without a network, and return how many there are.

    Raises FileNotFoundError if it is not here, or damaged.
    """
    return sum(1 for _ in _pictures(name, _opened(name)))


def unpack(archive: Path) -> None:
    """Unpack a .tar.gz, .tgz or .gz beside itself; any other file is left as it is.

    A process that is killed meanwhile leaves nothing that looks like a set: everything is written into a folder of
    its own first, and each top-level entry then moved into place in one step.
    """
    check_room(archive.parent, archive.stat().st_size, f"unpacking {archive.name}")
    scratch = archive.with_name(f".unpacking-{archive.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        if archive.name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(archive) as packed:
                # nothing outside the folder, no link out of it; before Python 3.11.4 its hash alone says what it holds
                packed.extraction_filter = getattr(tarfile, "data_filter", None)
                packed.extractall(scratch)
        elif archive.suffix == ".gz":
            with gzip.open(archive) as content, (scratch / archive.stem).open("wb") as file:
                shutil.copyfileobj(content, file)
        for entry in scratch.iterdir():
            place = archive.with_name(entry.name)
            if place.is_dir():
                shutil.rmtree(place)
            entry.replace(place)
    except tarfile.TarError as error:
        raise ValueError(
            f"{archive.name} cannot be unpacked: {error}. Nothing of it is kept; delete it and download it again"
        ) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _open_or_bring(name: str) -> list[Any]:
    """Return torchvision's data sets, a split each, downloaded and unpacked if need be."""
    about = TORCHVISION[name]
    with suppress(FileNotFoundError):
        return _opened(name)
    try:
        bring_set(name)
    except (ConnectionError, Damaged) as error:
        raise FileNotFoundError(
            f"{name} is not on this machine and could not be downloaded ({error}). Where there is a network, run "
            f"`sftlab fetch {name}` and copy its data folder to this machine; or fetch {', '.join(about.files)} "
            f"({about.megabytes} MB; torchvision.datasets.{about.cls}(folder, download=True) does it), put all of it "
            f"into {about.place} and load again: it is unpacked then."
        ) from None
    return _opened(name)


def _opened(name: str) -> list[Any]:
    """Return torchvision's data sets, a split each. Raises FileNotFoundError unless all of it is unpacked here."""
    from torchvision import datasets

    about = TORCHVISION[name]
    try:
        return [getattr(datasets, about.cls)(root(), **part, download=False) for part in about.parts]
    except (RuntimeError, FileNotFoundError, EOFError):
        raise FileNotFoundError(_damaged(name, "torchvision does not find its files in it")) from None


def _damaged(name: str, error: object) -> str:
    return (
        f"{name} in {TORCHVISION[name].place} is damaged or only partly unpacked ({error}); `sftlab fetch {name}` "
        "mends it, or delete it there and load again"
    )


def _labels(part: Any) -> np.ndarray:
    labels = (
        part.targets if hasattr(part, "targets") else part._labels
    )  # three of torchvision's sets have no other name
    return np.array([int(label) for label in labels])


def _pictures(name: str, parts: list[Any]) -> Iterator[Any]:
    """Iterate over the images of all parts. Raises FileNotFoundError for one that is missing or cannot be read."""
    try:
        for part in parts:
            for i in range(len(part)):
                yield part[i][0]
    except OSError as error:
        raise FileNotFoundError(_damaged(name, error)) from None


def _images(name: str, parts: list[Any], edge: int) -> tuple[np.ndarray, list[str]]:
    """Return (uint8 N×C×edge×edge of all parts in order, a hash each)."""
    if all(hasattr(part, "data") for part in parts):  # it comes as one array
        arrays = np.concatenate([np.asarray(part.data) for part in parts])
        images = arrays[:, None] if arrays.ndim == 3 else np.ascontiguousarray(arrays.transpose(0, 3, 1, 2))
        return images, [image_hash(image) for image in images]
    squares = (to_square(picture, edge) for picture in _pictures(name, parts))
    return decoded(f"{name}-{edge}", (sum(map(len, parts)), 3, edge, edge), squares)
