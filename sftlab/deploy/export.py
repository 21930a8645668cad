"""Ways out: weights under the original library's names, and an ONNX graph that is checked against torch."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.model import card
from sftlab.data.folder import photo_crops
from sftlab.data.storage import as_path, replacing
from sftlab.deploy.predict import ONNX, Answers, check_installed, read_graph
from sftlab.deploy.reject import RejectOption
from sftlab.deploy.save import (
    checked,
    compose_card,
    load_model,
    load_reject_option,
    page_path,
    plain,
    write_page,
)
from sftlab.networks import offline, original_state_dict, torchvision_nets

PICTURES = 16  # squares of two photographs, on which graph and network are compared
TOLERANCE = 1e-3  # on log p, relative to 1 + |log p|; float32 in another order of sums stays far below it
OPSET = 18
SNIPPET = """
{imports}
from PIL import Image, ImageOps

model = {build}
model.load_state_dict({load})
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
    model: nn.Sequential, path: str | Path, *, reject: RejectOption | None = None, size: int | None = None
) -> Path:
    """Write the model for use without sftlab; what is written depends on the ending. Return the path.

    .onnx: the whole network as a graph, from uint8 pixels to probabilities, with scaling inside, so that it cannot be
    mismatched, and any number of images. The card goes into its metadata and beside it. Before the file is written,
    ONNX Runtime must give torch's answers on squares of two photographs; else ValueError. reject: adds the output
    `distance`, and its limits to the card. size: edge in pixels, by default that of the card.
    .safetensors, or another ending for a torch file: the weights under the original library's names, for the plain
    model's `load_state_dict`; the `input` stage is dropped, and the lines of Python that do its work, build the plain
    model and ask it are printed.
    """
    path = as_path(path)
    if path.suffix == ".onnx":
        _export_graph(model, path, reject, size)
    else:
        _export_weights(model, path, size)
    return path


def export_file(file: str | Path, path: str | Path | None = None) -> str:
    """Export a saved model, to FILE.onnx unless `path` says otherwise; say what was written and how it was checked.

    Raises as `load_model` and `export`.
    """
    path = as_path(path if path is not None else as_path(file).with_suffix(".onnx"))
    if path.resolve() == as_path(file).resolve():
        raise ValueError(f"{path} is the model itself; name another file to write")
    export(load_model(file), path, reject=load_reject_option(file))
    if path.suffix != ".onnx":
        return f"{path}: the weights under their original library's names"
    return f"{path} and its card, {page_path(path).name}\n{checked(read_graph(path)[1]['onnx'])}"


def _export_weights(model: nn.Sequential, path: Path, size: int | None) -> None:
    """Write the weights under their original names; print Python that asks them about a photograph."""
    state = {k: v.detach().cpu().contiguous() for k, v in original_state_dict(model).items()}
    classes = card(model).get("classes") or list(range(len(model.get_submodule("head").get_parameter("bias"))))
    with replacing(path) as partial:
        if path.suffix == ".safetensors":
            from safetensors.torch import save as as_bytes

            text = json.dumps(plain(card(model)), ensure_ascii=False)
            partial.write_bytes(as_bytes(state, {"format": "pt", "card": text}))
            module, load = "safetensors.torch", f"load_file({str(path)!r})"
        else:
            torch.save(state, partial)
            module, load = "torch", f"load({str(path)!r}, weights_only=True)"
    if call := _plain_call(card(model), len(classes)):
        imports = [f"import {name}" for name in sorted({"torch", "torchvision", call.split(".")[0], module})]
        facts = compose_card(model, trained_size=size)["input"]
        asked = {"imports": "\n".join(imports), "build": call, "load": f"{module}.{load}", "classes": classes}
        print(SNIPPET.format(**asked, **facts))


def _plain_call(facts: dict[str, Any], classes: int) -> str:
    """Return the call that builds the plain network in its library; empty for a network of no library."""
    name, options = str(facts.get("name")), {"num_classes": classes, **facts.get("options", {})}
    how = "".join(f", {key}={value!r}" for key, value in options.items())
    if name in torchvision_nets.FAMILIES:
        return f"torchvision.models.get_model({name!r}{how})"
    import timm

    name = f"tf_{name}" if name in offline.LITE else name  # their weights are the TensorFlow conversion
    return f"timm.create_model({name!r}{how})" if timm.is_model(name.split(".")[0]) else ""


def _export_graph(model: nn.Sequential, path: Path, reject: RejectOption | None, size: int | None) -> None:
    """Write a graph for any number of images, and its page, if it answers as the network does."""
    check_installed(ONNX)
    if isinstance(card(model).get("classes"), dict):
        raise ValueError("this model has several heads; an exported graph answers one question: replace_head for one")
    network, facts = Answers(copy.deepcopy(model).cpu().eval(), reject), compose_card(model, reject, trained_size=size)
    pictures = photo_crops(PICTURES, size=facts["input"]["size"])
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it announces every pass over the graph
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's own parts about torch's own parts; the comparison decides
        graph: Any = torch.onnx.export(
            network,
            (pictures[:2],),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["probabilities", "distance"][: 1 if network.known is None else 2],
            dynamic_shapes={"x": {0: torch.export.Dim("n")}},
        )
    gap = _difference(network, graph, pictures)
    if not gap <= TOLERANCE:
        raise ValueError(
            f"the graph does not answer as the network does: log-probabilities differ by {gap:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written. Update torch and onnxscript, or use another network"
        )
    check = {"images": PICTURES, "pictures": "squares of two photographs", "difference": gap, "tolerance": TOLERANCE}
    facts["onnx"] = {**check, "opset": OPSET, **{name: version(name) for name in ONNX}}
    graph.model.metadata_props["card"] = json.dumps(facts, ensure_ascii=False)
    with replacing(path) as partial:
        graph.save(partial)
    write_page(facts, path)


@torch.no_grad()
def _difference(network: Answers, graph: Any, pictures: Tensor) -> float:
    """Return the largest difference of log-probabilities (relative to 1 + |log p|) and of distances.

    A probability near 0 or 1 hides much; its logarithm does not. One image is asked alone, the rest together.
    """
    answers = []
    for x in pictures.split([1, len(pictures) - 1]):
        try:
            answers.append(graph(x))
        except Exception as error:  # the runtime has an error class for each thing that can be wrong
            why = str(error).strip().splitlines()[0]
            raise ValueError(
                f"the graph of this network does not take {len(x)} image{'s' * (len(x) > 1)} ({why}); nothing was "
                "written. Somewhere its forward turns the number of images into a constant"
            ) from None
    p, *distance = map(torch.cat, zip(*answers, strict=True))
    expected_p, *expected_distance = network(pictures)
    log_p, expected = (q.double().clamp(min=1e-30).log() for q in (p, expected_p))
    gaps = [(log_p - expected) / (1 + expected.abs()), *map(torch.sub, distance, expected_distance)]
    return torch.cat([gap.flatten() for gap in gaps]).abs().max().item()
