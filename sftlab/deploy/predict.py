"""Photographs in, answers out: a network or an exported graph with its limits, asked about files.

Called by a learner, the upload panel and `sftlab predict`.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import card, evaluating
from sftlab.data.folder import Photos, photos_in, read_photo
from sftlab.data.storage import as_path
from sftlab.deploy.reject import RejectOption, distances
from sftlab.deploy.save import input_size, load_model, load_reject_option

BATCH = 32
NEITHER = "neither"
ONNX = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Prediction:
    """What the model says of one photograph; `probabilities` maps each class to its probability.

    label: the likeliest class. distance: how far the photograph is from the training images, if the model can tell.
    refused: why the answer is "neither" all the same. error: why the file could not be read; all else is then empty.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    error: str = ""
    distance: float | None = None
    refused: str = ""

    @property
    def confidence(self) -> float:
        """Probability of the most likely class."""
        return max(self.probabilities.values(), default=0.0)

    @property
    def answer(self) -> str:
        """The label, or "neither" where it is refused ("(neither)" beside a class of that name); empty on an error."""
        if not self.refused:
            return self.label
        return f"({NEITHER})" if NEITHER in self.probabilities else NEITHER

    def in_words(self, most: int, digits: int = 0) -> str:
        """Return the likeliest classes with their probabilities: 'rust 93 %, fine 6 %, 3 more'."""
        words = [f"{label} {sureness(p, digits)}" for label, p in Counter(self.probabilities).most_common(most)]
        if len(self.probabilities) > most:
            words.append(f"{len(self.probabilities) - most} more")
        return ", ".join(words)


def sureness(p: float, digits: int = 0) -> str:
    """Return a probability in percent that never rounds to certainty."""
    percent, least = 100 * p, 10.0**-digits
    if min(percent, 100 - percent) < least / 2:
        return f"> {100 - least:g} %" if p > 0.5 else f"< {least:g} %"
    return f"{percent:.{digits}f} %"


class Answers(nn.Module):
    """uint8 N×C×H×W → (probabilities N×classes, distance N); without features to compare with, probabilities alone.

    A plain module, so that torch and a runtime of exported graphs compute the same answers.
    """

    known: Tensor | None

    def __init__(self, model: nn.Sequential, reject: RejectOption | None = None) -> None:
        super().__init__()
        self.features, self.head = model[:-1], model[-1]
        known = reject.known if reject is not None else None
        self.register_buffer("known", known if known is None else known.to(next(model.parameters())))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities and, where there is something to compare with, distances."""
        f = self.features(x)
        p = self.head(f).softmax(dim=1)
        return (p,) if self.known is None else (p, distances(f, self.known))


@dataclass(frozen=True)
class Predictor:
    """Something that answers, from torch or from an exported graph.

    ask: uint8 N×3×size×size → (probabilities N×classes,) or (probabilities, distances N). reject: its limits, if any.
    white: the value that was white in the training images' files, if these had more than 8 bits.
    """

    ask: Callable[[Tensor], tuple[np.ndarray, ...]]
    classes: list[str]
    size: int
    reject: RejectOption | None = None
    white: int | None = None

    def answers(self, names: Sequence[str], x: Tensor) -> list[Prediction]:
        """Answer for N images, uint8 N×3×size×size, which go by these names."""
        p, *rest = self.ask(x)
        distance = rest[0].tolist() if rest else [None] * len(p)
        predictions = []
        for name, row, far in zip(names, p.tolist(), distance, strict=True):
            why = self.reject.reason(max(row), far) if self.reject is not None else ""
            label = self.classes[row.index(max(row))]
            predictions.append(Prediction(name, label, dict(zip(self.classes, row, strict=True)), "", far, why))
        return predictions


def predict(
    model: nn.Sequential | str | Path,
    photos: Photos,
    *,
    size: int | None = None,
    reject: RejectOption | None = None,
    reject_below: float | None = None,
    reject_beyond: float | None = None,
) -> list[Prediction]:
    """Classify photographs; an unreadable file gets its error, never stops the others.

    model: a network, or the path of one that `save` or `export` wrote; a file brings its limits of "neither" along.
    photos: paths of photographs, or of folders, whose photographs are taken in order of their names. size: edge in
    pixels, by default the one that the model's card gives. reject: the limits for a network. reject_below,
    reject_beyond: other limits, of probability and distance. Photographs are prepared exactly as `load("folder:…")`
    prepares them.
    """
    limited_model = limited(predictor(model, size=size, reject=reject), reject_below, reject_beyond)
    return list(predictions(limited_model, photos_in(photos)))


def predictor(
    model: nn.Sequential | str | Path, *, size: int | None = None, reject: RejectOption | None = None
) -> Predictor:
    """Make a Predictor of a network in memory, of a saved one, or of an exported graph (.onnx).

    Raises ValueError for a model whose card names no single list of classes, or another size than a graph was made
    for, and what `load_model` raises.
    """
    if not isinstance(model, nn.Module):
        if (path := as_path(model)).suffix == ".onnx":
            return _graph_predictor(path, size)
        reject = reject or load_reject_option(model)
        model = load_model(model)
    facts = card(model)
    if not isinstance(facts.get("classes"), list):
        raise ValueError(
            "this model's card names no single list of classes; use replace_head(model, class names) before training"
        )
    network, device = Answers(model, reject), next(model.parameters()).device

    def ask(x: Tensor) -> tuple[np.ndarray, ...]:
        with evaluating(network), torch.no_grad():
            return tuple(t.cpu().numpy() for t in network(x.to(device)))

    return Predictor(ask, facts["classes"], size or input_size(facts), reject, facts.get("white"))


def limited(model: Predictor, below: float | None = None, beyond: float | None = None) -> Predictor:
    """Return the predictor with other limits of probability and distance; None leaves one as it is."""
    reject = model.reject
    if below is not None:
        if not 0 <= below <= 1:
            raise ValueError(f"reject_below={below}: a probability from 0 (never) to 1")
        reject = dataclasses.replace(reject or RejectOption(), probability=below)
    if beyond is not None:
        if not beyond >= 0:
            raise ValueError(f"reject_beyond={beyond}: a cosine distance from 0 on; inf is never")
        if reject is None or not np.isfinite(reject.distance):
            raise ValueError("this model cannot tell distances: save it with reject=choose_reject_option(model, data)")
        reject = dataclasses.replace(reject, distance=beyond)
    return dataclasses.replace(model, reject=reject)


def predictions(model: Predictor, files: Sequence[str | Path], *, batch_size: int = BATCH) -> Iterator[Prediction]:
    """Yield an answer for each file, in order; a file that cannot be read is no end."""

    def attempt(file: str) -> np.ndarray | Prediction:
        try:
            return read_photo(file, model.size, model.white)
        except (OSError, ValueError) as error:
            return Prediction(file, "", {}, str(error))

    with ThreadPoolExecutor(4) as pool:  # Pillow decodes outside Python's lock
        for start in range(0, len(files), batch_size):
            batch = [str(file) for file in files[start : start + batch_size]]
            read: dict[str, Any] = dict(zip(batch, pool.map(attempt, batch), strict=True))
            images = {name: image for name, image in read.items() if not isinstance(image, Prediction)}
            if images:
                answers = model.answers([*images], torch.from_numpy(np.stack([*images.values()])))
                read |= zip(images, answers, strict=True)
            yield from (read[name] for name in batch)


def check_installed(names: Sequence[str]) -> None:
    """Raise ImportError, with what to install, unless the packages for ONNX are there."""
    if any(find_spec(name) is None for name in names):
        raise ImportError('ONNX needs three more packages: pip install -e ".[onnx]"')


def read_graph(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return (session, card) of a graph that `export` wrote.

    Raises FileNotFoundError, ImportError without ONNX Runtime, ValueError for a file that is no such graph.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    check_installed(["onnxruntime"])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        graph = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{path.name} is not an ONNX graph, or is damaged: {str(error).splitlines()[0]}") from None
    text = graph.get_modelmeta().custom_metadata_map.get("card")
    if text is None:
        raise ValueError(f"{path.name} is an ONNX graph without a card; write one with `sftlab export`")
    return graph, json.loads(text)


def _graph_predictor(path: Path, size: int | None) -> Predictor:
    graph, facts = read_graph(path)
    expected = input_size(facts)
    if size not in (None, expected):
        raise ValueError(f"size={size}: this graph was made for {expected} pixels; export the model again for {size}")

    def ask(x: Tensor) -> tuple[np.ndarray, ...]:
        return tuple(graph.run(None, {"images": x.numpy()}))

    return Predictor(ask, facts["classes"], expected, RejectOption.of(facts.get("reject")), facts.get("white"))
