"""Ways out: weights under the original library's names, and an ONNX graph that is checked against torch."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import card, evaluating
from sftlab.data import Split, as_path
from sftlab.data.folder import to_square
from sftlab.deploy.predict import ONNX, Answers, check_installed, graph_session, read_graph
from sftlab.deploy.reject import RejectOption
from sftlab.deploy.save import (
    compose_card,
    input_size,
    load_model,
    load_reject_option,
    page_path,
    plain,
    write_page,
)
from sftlab.networks import offline, original_state_dict, torchvision_nets

PICTURES = 16  # on which graph and network are compared
TOLERANCE = 1e-3  # on log p, relative to 1 + |log p|; float32 in another order of sums stays far below it
OPSET = 18
SNIPPET = """
{imports}
from PIL import Image, ImageOps

model = {build}
model.load_state_dict({state})
model.eval()
classes = {classes}
prepare = torchvision.transforms.Compose([
    torchvision.transforms.Resize({size}),  # the shorter edge, bilinear with antialiasing
    torchvision.transforms.CenterCrop({size}),
    torchvision.transforms.ToTensor(),  # from 0 to 1
    torchvision.transforms.Normalize({mean}, {std}),
])
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
with torch.no_grad():
    p = model(prepare(photo)[None]).softmax(dim=1)[0].tolist()
print(dict(zip(classes, p)))"""


def export(
    model: nn.Sequential,
    path: str | Path,
    *,
    reject: RejectOption | None = None,
    images: Split | Tensor | None = None,
    size: int | None = None,
) -> Path:
    """Write the model for use without sftlab; what is written depends on the ending. Return the path.

    .onnx: the whole network as a graph, from uint8 pixels to probabilities, with scaling inside, so that it cannot be
    mismatched, and any number of images. The card goes into its metadata and beside it. Before the file is kept, ONNX
    Runtime must give torch's answers on `images` (default: squares of two photographs); else ValueError. reject: adds
    the output `distance`, and its limits to the card. size: edge in pixels, by default that of the card.
    .safetensors, or another ending for a torch file: the weights under the original library's names, for the plain
    model's `load_state_dict`; the `input` stage is dropped, and the lines of Python that do its work, build the plain
    model and ask it are printed.
    """
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".onnx":
        return _export_graph(model, path, reject, images, size)
    state = {k: v.detach().cpu().contiguous() for k, v in original_state_dict(model).items()}
    library, build = plain_call(model)
    if path.suffix == ".safetensors":
        from safetensors.torch import save as as_bytes

        text = json.dumps(plain({**card(model), "plain": build}), ensure_ascii=False)
        path.write_bytes(as_bytes(state, {"format": "pt", "card": text}))
    else:
        torch.save(state, path)
    if library:
        edge = size or (images.size if isinstance(images, Split) else input_size(card(model)))
        print(_snippet(model, path, library, build, edge))
    return path


def _snippet(model: nn.Sequential, path: Path, library: str, build: str, size: int) -> str:
    """Return Python that asks the weights at `path` about a photograph, without sftlab."""
    facts, modules, reader = compose_card(model, size=size), {"torch", "torchvision", library}, "torch.load"
    arguments = repr(str(path))
    if path.suffix == ".safetensors":
        modules, reader = modules | {"safetensors.torch"}, "safetensors.torch.load_file"
    else:
        arguments += ", weights_only=True"
    return SNIPPET.format(
        imports="\n".join(f"import {module}" for module in sorted(modules)),
        build=build,
        state=f"{reader}({arguments})",
        classes=facts.get("classes") or list(range(model.get_submodule("head").get_parameter("bias").numel())),
        **facts["input"],
    )


def plain_call(model: nn.Sequential) -> tuple[str, str]:
    """Return (library, the call that builds the plain network there); empty for a network of no library."""
    name, head = str(card(model).get("name")), model.get_submodule("head")
    options = "".join(f", {key}={value!r}" for key, value in card(model).get("options", {}).items())
    how = f"num_classes={getattr(head, 'out_features', None)}{options}"
    if name in torchvision_nets.FAMILIES:
        return "torchvision", f"torchvision.models.get_model({name!r}, {how})"
    import timm

    name = f"tf_{name}" if name in offline.LITE else name  # their weights are the TensorFlow conversion
    return ("timm", f"timm.create_model({name!r}, {how})") if timm.is_model(name.split(".")[0]) else ("", "")


def export_file(file: str | Path, path: str | Path | None = None) -> str:
    """Export a saved model, to FILE.onnx unless `path` says otherwise; say what was written and how it was checked.

    Raises as `load_model` and `export`.
    """
    path = as_path(path if path is not None else as_path(file).with_suffix(".onnx"))
    if path.resolve() == as_path(file).resolve():
        raise ValueError(f"{path} is the model itself; name another file to write")
    model = load_model(file)
    export(model, path, reject=load_reject_option(file))
    if path.suffix != ".onnx":
        _, build = plain_call(model)
        return f"{path}: the weights under the names of {build or card(model).get('name')}"
    check = read_graph(path)[1]["onnx"]
    return (
        f"{path} and its card, {page_path(path).name}\n"
        f"checked against torch on {check['images']} {check['pictures']}: log-probabilities differ by at most "
        f"{check['difference']:.1g} (allowed {check['tolerance']:g})"
    )


def _export_graph(
    model: nn.Sequential, path: Path, reject: RejectOption | None, images: Split | Tensor | None, size: int | None
) -> Path:
    check_installed(ONNX)
    if isinstance(card(model).get("classes"), dict):
        raise ValueError("this model has several heads; an exported graph answers one question: replace_head for one")
    size = size or (images.size if isinstance(images, Split) else input_size(card(model)))
    pictures, what = _pictures(images, size)
    partial = path.with_name(path.name + ".partial")
    try:
        gap = _write_graph(Answers(copy.deepcopy(model).cpu().eval(), reject), partial, pictures)
        facts = {**compose_card(model, size=size), "reject": reject and reject.facts()}
        check = {"images": len(pictures), "pictures": what, "difference": gap, "tolerance": TOLERANCE, "opset": OPSET}
        facts["onnx"] = check | {name: version(name) for name in ONNX}
        _add_card(partial, facts)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    write_page(facts, path)
    return path


def _write_graph(network: Answers, path: Path, pictures: Tensor) -> float:
    """Write a network, in eval mode on the CPU, as a graph for any number of images; return how far the two differ.

    pictures: uint8 N×3×S×S, at least two. Raises ValueError if the graph refuses other numbers of images, or differs
    from torch by more than the tolerance.
    """
    outputs = ["probabilities", "distance"] if network.known is not None else ["probabilities"]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it announces every pass over the graph
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's own parts about torch's own parts; the comparison decides
        torch.onnx.export(
            network,
            (pictures[:2],),
            path,
            dynamo=True,
            verbose=False,
            external_data=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes={"x": {0: torch.export.Dim("n")}},
        )
    gap = difference(network, path, pictures)
    if not gap <= TOLERANCE:
        raise ValueError(
            f"the graph does not answer as the network does: log-probabilities differ by {gap:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written. Update torch and onnxscript, or use another network"
        )
    return gap


def difference(network: Answers, path: Path, pictures: Tensor) -> float:
    """Return the largest difference of log-probabilities (relative to 1 + |log p|) and of distances.

    A probability near 0 or 1 hides much; its logarithm does not. One image is asked alone, the rest together.
    """
    graph, worst = graph_session(path), 0.0
    for x in pictures.split([1, len(pictures) - 1]):
        with evaluating(network), torch.no_grad():
            expected = [t.numpy().astype(np.float64) for t in network(x)]
        try:
            answers = [np.asarray(a, dtype=np.float64) for a in graph.run(None, {"images": x.numpy()})]
        except Exception as error:  # the runtime has an error class for each thing that can be wrong
            why = str(error).strip().splitlines()[0]
            raise ValueError(
                f"the graph of this network does not take {len(x)} image{'s' * (len(x) > 1)} ({why}); nothing was "
                "written. Somewhere its forward turns the number of images into a constant"
            ) from None
        a, b = (np.log(np.maximum(p, 1e-30)) for p in (expected[0], answers[0]))
        gaps = [np.abs(a - b) / (1 + np.abs(a)), *map(np.abs, map(np.subtract, expected[1:], answers[1:]))]
        worst = max(worst, *(float(gap.max()) for gap in gaps))
    return worst


def _add_card(path: Path, facts: dict[str, Any]) -> None:
    """Write a card into the metadata of a graph."""
    import onnx

    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"card": json.dumps(facts, ensure_ascii=False)})
    onnx.save(graph, path)


def _pictures(images: Split | Tensor | None, size: int) -> tuple[Tensor, str]:
    """Return uint8 N×3×size×size to compare on, and what they are."""
    if images is None:
        return _sample_squares(size), "squares of two photographs"
    if isinstance(images, Split):
        some = images.of_rows(images.index[:PICTURES].tolist(), size=size)
        x = some.pixels(np.arange(len(some))).expand(-1, 3, -1, -1).contiguous()
        what = f"images of the {images.name} split"
    else:
        x, what = images, "images"
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
