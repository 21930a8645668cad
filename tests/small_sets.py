"""Folders of small photographs; torchvision's seven sets, in the true format of the files their authors publish."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zlib
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from sftlab.data.torchvision_sets import TORCHVISION


def picture(seed=0, shape=(24, 20)):
    """Return a picture of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def put(path, image=None, **options):
    """Write one picture, of noise unless one is given; another name is another picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture(zlib.crc32(path.as_posix().encode())) if image is None else image).save(path, **options)
    return path


def class_folders(root, counts):
    """Write a folder with that many different pictures for each path below `root`; return root."""
    for name, n in counts.items():
        for i in range(n):
            put(root / name / f"{i}.png")
    return root


@dataclass(frozen=True)
class Small:
    """files: {name: content} as on the web. counts: images a part, in torchvision's order. labels: of all parts."""

    files: dict[str, bytes]
    counts: tuple[int, ...]
    labels: list[int]
    first_class: str


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def install(monkeypatch, name, *bases):
    """Make the small set what the catalogue and torchvision's checks expect, at these addresses; return it."""
    small = MAKERS[name]()
    sums = {file: md5(content) for file, content in small.files.items()}
    about = replace(TORCHVISION[name], files=sums, bases=bases)
    monkeypatch.setitem(TORCHVISION, name, about)
    cls = getattr(datasets, about.cls)
    if name.startswith("cifar"):  # torchvision checks what was unpacked, too
        with tarfile.open(fileobj=io.BytesIO(next(iter(small.files.values())))) as tar:
            inner = {m.name.rpartition("/")[2]: md5(tar.extractfile(m).read()) for m in tar if m.isfile()}
        monkeypatch.setattr(cls, "train_list", [[file, inner[file]] for file, _ in cls.train_list])
        monkeypatch.setattr(cls, "test_list", [[file, inner[file]] for file, _ in cls.test_list])
        monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": inner[cls.meta["filename"]]})
    if name == "flowers102":
        monkeypatch.setattr(cls, "_file_dict", {k: (f, sums[f]) for k, (f, _) in cls._file_dict.items()})
    return small


def packed(files, mode="w:gz"):
    """Return a tar archive of {path: content}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def jpeg(rng, height=30, width=40):
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def idx(array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def pixels(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def cifar10():
    x = pixels(350)
    x[301] = x[4]  # a training image that is in test as well
    names, files = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"], {}
    for k, name in enumerate(names):
        rows = slice(60 * k, 60 * k + 60) if k < 5 else slice(300, 350)
        batch = {"data": x[rows], "labels": [int(i) % 10 for i in range(rows.start, rows.stop)]}
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=2)
    kinds = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    files["cifar-10-batches-py/batches.meta"] = pickle.dumps({"label_names": kinds}, protocol=2)
    labels = [i % 10 for i in range(350)]
    return Small({"cifar-10-python.tar.gz": packed(files)}, (300, 50), labels, "airplane")


def cifar100():
    x, files = pixels(300), {}
    for name, rows in (("train", slice(0, 200)), ("test", slice(200, 300))):
        fine = [i % 100 for i in range(rows.start, rows.stop)]
        batch = {"data": x[rows], "fine_labels": fine, "coarse_labels": [k % 20 for k in fine]}
        files[f"cifar-100-python/{name}"] = pickle.dumps(batch, protocol=2)
    kinds = ["apple", "aquarium_fish", *(f"kind_{k}" for k in range(2, 100))]
    files["cifar-100-python/meta"] = pickle.dumps({"fine_label_names": kinds}, protocol=2)
    return Small({"cifar-100-python.tar.gz": packed(files)}, (200, 100), [i % 100 for i in range(300)], "apple")


def flowers102():
    rng, n = np.random.default_rng(0), 24
    species = np.arange(n) % 2 + 1  # from 1 to 102, as its authors count
    ids = {"trnid": np.arange(1, 9), "valid": np.arange(9, 13), "tstid": np.arange(13, n + 1)}
    mats = {}
    for name, content in (("imagelabels.mat", {"labels": species}), ("setid.mat", ids)):
        buffer = io.BytesIO()
        savemat(buffer, content)
        mats[name] = buffer.getvalue()
    photos = {f"jpg/image_{i:05d}.jpg": jpeg(rng) for i in range(1, n + 1)}
    labels = [int(k) - 1 for k in species]
    return Small({"102flowers.tgz": packed(photos), **mats}, (8, 4, 12), labels, "pink primrose")


def pets():
    rng, photos, lists, labels = np.random.default_rng(0), {}, {}, []
    for split, n in (("trainval", 6), ("test", 3)):
        lines = []
        for k, breed in enumerate(("Abyssinian", "great_dane")):
            for i in range(n):
                name = f"{breed}_{split}{i}"
                photos[f"images/{name}.jpg"] = jpeg(rng, 30 + i)
                lines.append(f"{name} {k + 1} {k + 1} 1")
                labels.append(k)
        lists[f"annotations/{split}.txt"] = "\n".join(lines).encode()
    archives = {"images.tar.gz": packed(photos), "annotations.tar.gz": packed(lists)}
    return Small(archives, (12, 6), labels, "Abyssinian")


def dtd():
    rng, files, labels, number = np.random.default_rng(0), {}, [], 0
    for split, n in (("train", 4), ("val", 2), ("test", 3)):
        lines = []
        for k, word in enumerate(("banded", "blotchy")):
            for _ in range(n):
                number += 1
                path = f"{word}/{word}_{number:04d}.jpg"
                files[f"dtd/images/{path}"] = jpeg(rng)
                lines.append(path)
                labels.append(k)
        files[f"dtd/labels/{split}1.txt"] = ("\n".join(lines) + "\n").encode()
    return Small({"dtd-r1.0.1.tar.gz": packed(files)}, (8, 4, 6), labels, "banded")


def _mnist(first):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (110, 28, 28), dtype=np.uint8), (np.arange(110) % 10).astype(np.uint8)
    files = {}
    for name, rows in (("train", slice(0, 80)), ("t10k", slice(80, 110))):
        files[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(idx(x[rows]), mtime=0)
        files[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(idx(y[rows]), mtime=0)
    return Small(files, (80, 30), y.tolist(), first)


def mnist():
    return _mnist("0 - zero")


def fashion_mnist():
    return _mnist("T-shirt/top")


MAKERS = {f.__name__: f for f in (cifar10, cifar100, flowers102, pets, dtd, mnist, fashion_mnist)}
