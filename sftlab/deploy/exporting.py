"""Ways out: the weights under the original library's names, and an ONNX graph that is checked against torch."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import card
from sftlab.data import Split
from sftlab.data.listing import photos_in
from sftlab.data.photos import read_photo, to_square
from sftlab.deploy import cardpage, cards, graphs
from sftlab.deploy.answering import Answers
from sftlab.deploy.refusing import Refusal
from sftlab.deploy.saving import load_model, load_refusal, read
from sftlab.networks import original_state_dict

PICTURES = 16  # on which graph and network are compared


def export(
    model: nn.Sequential, path: str | Path, *, refusal: Refusal | None = None, images: Split | Tensor | None = None,
    size: int | None = None,
) -> Path:  # fmt: skip
    """Write the model for use without sftlab; what is written depends on the ending. Return the path.

    .onnx: the whole network as a graph, from uint8 pixels to probabilities, with scaling inside, so that it cannot be
    mismatched, and any number of images. The card goes into its metadata and beside it. Before the file is kept, ONNX
    Runtime must give torch's answers on `images` (default: squares of two photographs); else ValueError. refusal: adds
    the output `distance`, and its limits to the card. size: edge in pixels, by default that of the card.
    .safetensors, or another ending for a torch file: the weights under the original library's names, for the plain
    model's `load_state_dict`; the `input` stage is dropped: scale and normalise outside.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".onnx":
        return _export_graph(model, path, refusal, images, size)
    state = {k: v.detach().cpu().contiguous() for k, v in original_state_dict(model).items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save as as_bytes

        text = json.dumps(cards.plain(card(model)), ensure_ascii=False)
        path.write_bytes(as_bytes(state, {"format": "pt", "card": text}))
    else:
        torch.save(state, path)
    return path


def export_file(model: str | Path, path: str | Path | None = None, check_on: str | Path | None = None) -> str:
    """Export a saved model, to MODEL.onnx if nothing else is said; tell what was written and how it was checked.

    check_on: a photograph, or a folder of them, to compare on. Raises as `load_model` and `export`.
    """
    facts, _ = read(model)
    path = Path(path) if path is not None else Path(model).with_suffix(".onnx")
    images = None if check_on is None else _photographs(check_on, cards.edge(facts))
    if path.resolve() == Path(model).resolve():
        raise ValueError(f"{path} is the model itself; name another file to write")
    export(load_model(model), path, refusal=load_refusal(model), images=images)
    if path.suffix != ".onnx":
        return f"{path}: the weights under the names of {facts.get('name')}; scale and normalise the pixels outside"
    made = graphs.opened(path)[1]["onnx"]
    return (
        f"{path} and its card, {cardpage.beside(path).name}\n"
        f"checked against torch on {made['images']} {made['pictures']}: log-probabilities differ by at most "
        f"{made['difference']:.1g} (allowed {made['tolerance']:g})"
    )


def _export_graph(
    model: nn.Sequential, path: Path, refusal: Refusal | None, images: Split | Tensor | None, size: int | None
) -> Path:
    graphs.check_installed()
    if isinstance(card(model).get("classes"), dict):
        raise ValueError("this model has several heads; an exported graph answers one question: replace_head for one")
    size = size or (images.size if isinstance(images, Split) else cards.edge(card(model)))
    pictures, what = _pictures(images, size)
    partial = path.with_name(path.name + ".partial")
    try:
        found = graphs.write_graph(Answers(copy.deepcopy(model).cpu().eval(), refusal), partial, pictures)
        told = refusal.facts() if refusal is not None else None
        facts: dict[str, Any] = {**cards.compose(model, size=size), "refusal": told}
        checked = {"images": len(pictures), "pictures": what, "difference": found, "tolerance": graphs.TOLERANCE}
        facts["onnx"] = {**checked, "opset": graphs.OPSET, **graphs.package_versions()}
        graphs.add_card(partial, facts)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    cardpage.write(facts, path)
    return path


def _pictures(images: Split | Tensor | None, size: int) -> tuple[Tensor, str]:
    """Return uint8 N×3×size×size to compare on, and what they are."""
    if images is None:
        return _sample_squares(size), "squares of two photographs"
    if isinstance(images, Split):
        some = images.of_rows(images.index[:PICTURES].tolist(), size=size)
        x = some.pixels(np.arange(len(some))).expand(-1, 3, -1, -1).contiguous()
        what = f"images of the {images.name} split"
    else:
        x, what = images, "photographs"
    if x.dtype != torch.uint8 or x.shape[1:] != (3, size, size) or len(x) < 2:
        shape = "×".join(map(str, x.shape))
        raise ValueError(f"to compare on: {x.dtype} {shape}; expected two images or more, uint8 N×3×{size}×{size}")
    return x, what


def _sample_squares(size: int) -> Tensor:
    """Return squares of scikit-learn's two photographs, a palace and a dahlia: real pictures that are always there."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    squares, rng = [], np.random.default_rng(0)
    for photo in load_sample_images().images:
        edge = min(photo.shape[:2]) // 2
        for _ in range(PICTURES // 2):
            top, left = (int(rng.integers(0, side - edge)) for side in photo.shape[:2])
            squares.append(to_square(Image.fromarray(photo[top : top + edge, left : left + edge]), size))
    return torch.from_numpy(np.stack(squares))


def _photographs(folder: str | Path, size: int) -> Tensor:
    """Return the first squares of photographs that can be read; two at least, the one that there is if need be."""
    squares: list[np.ndarray] = []
    for file in photos_in(folder):
        try:
            squares.append(read_photo(file, size))
        except (OSError, ValueError):
            continue
        if len(squares) == PICTURES:
            break
    if not squares:
        raise ValueError(f"no photograph in {folder} could be read, so there is nothing to compare on")
    return torch.from_numpy(np.stack(squares if len(squares) > 1 else 2 * squares))
