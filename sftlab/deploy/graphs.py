"""A network as an ONNX graph: written, compared with torch on real pictures, opened again."""

from __future__ import annotations

import json
import logging
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sftlab.core.model import evaluating
from sftlab.deploy import cards
from sftlab.deploy.answering import Answerer, Answers
from sftlab.deploy.refusing import Refusal

TOLERANCE = 1e-3  # on log p, relative to 1 + |log p|; float32 in another order of sums stays far below it
OPSET = 18
NEEDED = ("onnx", "onnxruntime", "onnxscript")
MISSING = 'ONNX needs three more packages: pip install "sftlab[onnx]"'


def check_installed(names: tuple[str, ...] = NEEDED) -> None:
    """Raise ImportError, with what to install, unless the packages for ONNX are there."""
    if any(find_spec(name) is None for name in names):
        raise ImportError(MISSING)


def write_graph(network: Answers, path: Path, pictures: Tensor) -> float:
    """Write a network, in eval mode on the CPU, as a graph for any number of images; return how far the two differ.

    pictures: uint8 N×3×S×S, at least two. Raises ValueError if the graph refuses other numbers of images, or differs
    from torch by more than the tolerance.
    """
    outputs = ["probabilities", "distance"] if network.known is not None else ["probabilities"]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it announces every pass over the graph
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's own parts about torch's own parts; the comparison decides
        torch.onnx.export(
            network, (pictures[:2],), path, dynamo=True, verbose=False, external_data=False, opset_version=OPSET,
            input_names=["images"], output_names=outputs, dynamic_shapes={"x": {0: torch.export.Dim("n")}},
        )  # fmt: skip
    found = difference(network, path, pictures)
    if not found <= TOLERANCE:
        raise ValueError(
            f"the graph does not answer as the network does: log-probabilities differ by {found:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written. Update torch and onnxscript, or use another network"
        )
    return found


def difference(network: Answers, path: Path, pictures: Tensor) -> float:
    """Return the largest difference of log-probabilities (relative to 1 + |log p|) and of distances.

    A probability near 0 or 1 hides much; its logarithm does not. One image is asked alone, the rest together.
    """
    graph, worst = session(path), 0.0
    for x in pictures.split([1, len(pictures) - 1]):
        with evaluating(network), torch.no_grad():
            wanted = [t.numpy().astype(np.float64) for t in network(x)]
        try:
            found = [np.asarray(a, dtype=np.float64) for a in graph.run(None, {"images": x.numpy()})]
        except Exception as error:  # the runtime has an error class for each thing that can be wrong
            why = str(error).strip().splitlines()[0]
            raise ValueError(
                f"the graph of this network does not take {len(x)} image{'s' * (len(x) > 1)} ({why}); nothing was "
                "written. Somewhere its forward turns the number of images into a constant"
            ) from None
        a, b = (np.log(np.maximum(p, 1e-30)) for p in (wanted[0], found[0]))
        gaps = [np.abs(a - b) / (1 + np.abs(a)), *(np.abs(d - e) for d, e in zip(wanted[1:], found[1:], strict=True))]
        worst = max(worst, *(float(gap.max()) for gap in gaps))
    return worst


def session(path: Path) -> Any:
    """Open a graph in ONNX Runtime, on as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def add_card(path: Path, facts: dict[str, Any]) -> None:
    """Write a card into the metadata of a graph."""
    import onnx

    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"card": json.dumps(facts, ensure_ascii=False)})
    onnx.save(graph, path)


def package_versions() -> dict[str, str]:
    """Return the versions of what made the graph."""
    return {name: version(name) for name in NEEDED}


def open_graph(path: Path, size: int | None = None) -> Answerer:
    """Open a graph that `export` wrote, as something that answers.

    Raises FileNotFoundError, ImportError without ONNX Runtime, ValueError for a file that is no such graph, or for
    another size than it was made for.
    """
    graph, facts = opened(path)
    made_for = cards.edge(facts)
    if size not in (None, made_for):
        raise ValueError(f"size={size}: this graph was made for {made_for} pixels; export the model again for {size}")
    refusal = Refusal.of(facts["refusal"]) if facts.get("refusal") else None

    def ask(x: Tensor) -> tuple[np.ndarray, ...]:
        return tuple(graph.run(None, {"images": x.numpy()}))

    return Answerer(ask, facts["classes"], made_for, refusal)


def opened(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return (session, card) of a graph that `export` wrote. Raises as `open_graph`."""
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    check_installed(("onnxruntime",))
    try:
        graph = session(path)
    except Exception as error:
        raise ValueError(f"{path.name} is not an ONNX graph, or is damaged: {str(error).splitlines()[0]}") from None
    text = graph.get_modelmeta().custom_metadata_map.get("card")
    if text is None:
        raise ValueError(f"{path.name} is an ONNX graph without a card; write one with `sftlab export`")
    return graph, json.loads(text)
