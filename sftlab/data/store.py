"""Where images are kept: in memory, in a scratch file when they are many, or decoded once for all runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sftlab.data.remote import data_dir

IN_MEMORY = 500_000_000  # bytes; a larger array of pixels lives in a file, so that a laptop keeps its memory


def image_hash(image: np.ndarray) -> str:
    """Return the hash of an image's pixels and shape."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def allocate(shape: tuple[int, ...]) -> np.ndarray:
    """Return an unfilled uint8 array: in memory up to 500 MB, above that memory-mapped from a scratch file.

    The scratch file lies under `data_dir()` and has no name there (Windows: has one until the process ends),
    so nothing is left behind even by a process that is killed. Raises OSError if the disk has no room for it.
    """
    if math.prod(shape) <= IN_MEMORY:
        return np.empty(shape, dtype=np.uint8)
    folder = data_dir() / "decoded"
    folder.mkdir(parents=True, exist_ok=True)
    _check_room(folder, math.prod(shape))
    with tempfile.TemporaryFile(dir=folder) as file:  # the mapping outlives the handle
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def decoded(name: str, shape: tuple[int, ...], images: Iterable[np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Return (memory-mapped uint8 images of `shape`, a hash each), kept on disk as `name` once made.

    images: an iterator that decodes one at a time; it is not touched when the set is already there. Opening
    thousands of files takes seconds to minutes, mapping one takes none.
    """
    kept = data_dir() / "decoded" / f"{name}.npy"
    index = kept.with_suffix(".json")
    if not index.exists() or len(json.loads(index.read_text())) != shape[0]:
        kept.parent.mkdir(parents=True, exist_ok=True)
        _check_room(kept.parent, math.prod(shape))
        partial = kept.with_name(f"{name}.{os.getpid()}.partial.npy")
        try:
            array = np.lib.format.open_memmap(partial, "w+", np.dtype(np.uint8), shape)
            hashes = []
            for i, image in enumerate(images):
                array[i] = image
                hashes.append(image_hash(array[i]))
            array.flush()
            del array  # unmapped before it is renamed, which Windows insists on
            partial.replace(kept)
            partial.write_text(json.dumps(hashes))
            partial.replace(index)  # written last: a half-made set is never read
        finally:
            partial.unlink(missing_ok=True)
    return np.load(kept, mmap_mode="r"), json.loads(index.read_text())


def _check_room(folder: Path, need: int) -> None:
    # Writing to a mapped file on a full disk kills the process without a word, so ask first.
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(
            f"the images need {need / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB left; "
            "free some, choose a smaller size=, or let SFTLAB_DATA name a folder on another disk"
        )
