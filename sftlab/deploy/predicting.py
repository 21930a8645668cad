"""Photographs in, answers out: single files and whole folders, in order, a batch at a time."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sftlab.data.listing import Photos, photos_in
from sftlab.data.photos import read_photo
from sftlab.deploy.answering import Answerer, Prediction, of_network
from sftlab.deploy.graphs import open_graph
from sftlab.deploy.refusing import Refusal
from sftlab.deploy.saving import load_model, load_refusal

BATCH = 32


def predict(
    model: nn.Sequential | str | Path, photos: Photos, *, size: int | None = None, refusal: Refusal | None = None,
    refuse_below: float | None = None, refuse_beyond: float | None = None,
) -> list[Prediction]:  # fmt: skip
    """Classify photographs; an unreadable file gets its error, never stops the others.

    model: a network, or the path of one that `save` or `export` wrote; a file brings its limits of "neither" along.
    photos: paths of photographs, or of folders, whose photographs are taken in order of their names. size: edge in
    pixels, by default the one that the model's card gives. refusal: the limits for a network. refuse_below,
    refuse_beyond: other limits, of probability and distance. Photographs are prepared exactly as `load("folder:…")`
    prepares them.
    """
    chosen = answerer(model, size=size, refusal=refusal)
    chosen = limited(chosen, refuse_below, refuse_beyond)
    return list(predictions(chosen, photos_in(photos)))


def answerer(model: nn.Sequential | str | Path, *, size: int | None = None, refusal: Refusal | None = None) -> Answerer:
    """Make an Answerer of a network in memory, of a saved one, or of an exported graph (.onnx).

    Raises ValueError for a model that names no single list of classes, or another size than a graph was made for, and
    what `load_model` raises.
    """
    if not isinstance(model, nn.Module):
        if Path(model).suffix == ".onnx":
            return open_graph(Path(model), size)
        refusal = refusal if refusal is not None else load_refusal(model)
        model = load_model(model)
    return of_network(model, size=size, refusal=refusal)


def limited(model: Answerer, below: float | None = None, beyond: float | None = None) -> Answerer:
    """Return the answerer with other limits of probability and distance; None leaves one as it is."""
    if below is not None and not 0 <= below <= 1:
        raise ValueError(f"refuse_below={below}: a probability from 0 (never) to 1")
    if beyond is not None and not beyond >= 0:
        raise ValueError(f"refuse_beyond={beyond}: a cosine distance from 0 on; inf is never")
    if beyond is not None and (model.refusal is None or not np.isfinite(model.refusal.distance)):
        raise ValueError("this model cannot tell distances: it was saved without refusal=choose_refusal(model, data)")
    if below is None and beyond is None:
        return model
    refusal = model.refusal or Refusal()
    least = refusal.probability if below is None else below
    most = refusal.distance if beyond is None else beyond
    return dataclasses.replace(model, refusal=dataclasses.replace(refusal, probability=least, distance=most))


def predictions(model: Answerer, files: Sequence[str | Path], *, batch_size: int = BATCH) -> Iterator[Prediction]:
    """Yield an answer for each file, in order, holding two batches in memory; a file that cannot be read is no end."""
    for batch in _read(files, model.size, batch_size):
        images = [image for _, image in batch if isinstance(image, np.ndarray)]
        names = [name for name, image in batch if isinstance(image, np.ndarray)]
        answers = iter(model.answers(names, torch.from_numpy(np.stack(images))) if images else [])
        for name, image in batch:
            yield next(answers) if isinstance(image, np.ndarray) else Prediction(name, "", {}, image)


def _read(files: Sequence[str | Path], size: int, batch_size: int) -> Iterator[list[tuple[str, np.ndarray | str]]]:
    """Yield (name, uint8 3×size×size or what was wrong) in batches; the next one is read while one is answered."""

    def attempt(file: str | Path) -> tuple[str, np.ndarray | str]:
        try:
            return str(file), read_photo(file, size)
        except (OSError, ValueError) as error:
            return str(file), str(error)

    ahead: deque[list[Future[tuple[str, np.ndarray | str]]]] = deque()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # Pillow decodes outside Python's lock
        for start in range(0, len(files), batch_size):
            ahead.append([pool.submit(attempt, file) for file in files[start : start + batch_size]])
            if len(ahead) > 1:
                yield [found.result() for found in ahead.popleft()]
        for batch in ahead:
            yield [found.result() for found in batch]
