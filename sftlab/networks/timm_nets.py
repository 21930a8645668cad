"""Any timm name, without a table: its children in order, where that computes the same function."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.networks.meta import Source, load_weights, read_weights
from sftlab.networks.staging import Part, Table, constant, is_same_function, stages
from sftlab.networks.timm_glue import Features, vit_glue
from sftlab.networks.timm_weights import fetch

LISTS = ("blocks", "layers", "stages", "features")  # what timm calls a chain of block stages
ONE_OF_MANY = re.compile(r"(layers?|stages?|blocks?|s)_?\d+$")  # … or it numbers them: layer1, s1, stages_0


def build(name: str, weights: str | Path | None, **options: Any) -> nn.Sequential:
    """Build a staged timm network.

    The stages are its children in order, chains of blocks taken apart, accepted only if they give the
    original's values in eval mode and, under one seed, in train mode. Otherwise there are two stages,
    `features` and `head`, and a printed line says so. weights: "default" are timm's own, from the Hugging
    Face hub; a path is read as a file for the plain network; None is a random start. options: as in timm
    (drop_rate, drop_path_rate, …).
    Raises ValueError for what is no image classifier with a Linear head, FileNotFoundError offline.
    """
    import timm

    model: Any = timm.create_model(name, pretrained=False, **options)
    head = _head(model, name)
    config = model.pretrained_cfg
    size = options.get("img_size") or config["input_size"][-1]
    facts: dict[str, Any] = {"name": name, "weights": "random start", "size": size, "options": options}
    if weights == "default":
        state = read_weights(fetch(name))
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options)
        del model.pretrained_cfg["state_dict"]
        facts |= {"weights": config.get("tag") or "default", "source": "timm"}
        if licence := config.get("license"):
            facts["licence"] = licence
    elif weights is not None:
        load_weights(model, read_weights(weights), name)
        facts |= {"weights": Path(weights).name, "source": "a local file"}
    source = Source(tuple(config["mean"]), tuple(config["std"]), facts)
    for module in model.modules():
        if type(module).__module__ == "timm.layers.adaptive_avgmax_pool":
            constant(module)
    return _staged(model.eval(), head, source)


def _head(model: Any, name: str) -> str:
    """Return the path of the last Linear layer, or refuse the network."""
    linear = model.get_classifier() if hasattr(model, "get_classifier") else None
    if not isinstance(linear, nn.Linear):
        raise ValueError(
            f"{name} has no single Linear layer as its head (it has {type(linear).__name__}). "
            "This lab fine-tunes image classifiers; take a network with one Linear head."
        )
    channels = model.pretrained_cfg["input_size"][0]
    if channels != 3:
        raise ValueError(f"{name} takes images of {channels} channel{'s'[: channels > 1]}; the lab's have 3")
    return next(path for path, module in model.named_modules() if module is linear)


def _staged(model: nn.Module, head: str, source: Source) -> nn.Sequential:
    example = _example(model, source)
    staged = _accepted(model, _table(model, head), source, example, modes=(False, True))
    if staged is None:
        table: Table = {"features": [partial(Features, head=head)], "head": [head]}
        staged = _accepted(model, table, source, example, modes=(False,))
        name = source.facts["name"]
        if staged is None:
            raise ValueError(
                f"{name} cannot be divided into features and a Linear head: its forward does something after "
                "the head, or has several; take another network"
            )
        print(f"{name} has two stages, features and head: its forward does more than run its parts in order")
    return staged


def _accepted(
    model: nn.Module, table: Table, source: Source, example: Tensor, modes: tuple[bool, ...]
) -> nn.Sequential | None:
    """Return the staged network, or None where it is another function; a wrong guess may raise anything."""
    try:
        staged = stages(model, table, source=source)
        same = all(is_same_function(model, staged, example, train=mode) for mode in modes)
    except Exception:
        return None
    return staged if same else None


def _example(model: nn.Module, source: Source) -> Tensor:
    """Return two images of noise, small where the network takes them: equality does not depend on size."""
    generator = torch.Generator().manual_seed(0)
    for size in (96, source.facts["size"]):
        example = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)
        try:
            with torch.no_grad():
                model(example.float())
            break
        except (AssertionError, RuntimeError, ValueError):
            continue
    return example


def _table(model: Any, head: str) -> Table:
    """Guess the stages: stem, block stages, then neck and pool as they come, then dropout and head."""
    parts = list(_parts(model, head))
    is_block = [label.startswith("block") for label, _, _ in parts]
    first = is_block.index(True) if any(is_block) else 1
    last = len(parts) - is_block[::-1].index(True) if any(is_block) else 1
    table: dict[str, list[Part]] = {"stem": [part for _, part, _ in parts[:first]]}
    stage, dropout = "stem", list[Part]()
    for _, part, module in parts[first:last]:
        if stage == "stem" or next(module.parameters(), None) is not None:
            stage = f"layer{len(table)}"
        table.setdefault(stage, []).append(part)  # what has no parameters belongs to the layer before it
    for label, part, module in parts[last:]:
        if isinstance(module, nn.Identity):
            continue
        if isinstance(module, nn.Dropout):
            dropout = [part] if module.p else []
            continue
        learns = next(module.parameters(), None) is not None
        if part == head:
            stage = "head"
        elif "pool" in label.lower() and not learns:
            stage = "pool"
        elif learns and not stage.startswith("neck"):
            stage = "neck" if "neck" not in table else "neck2"
        rate = getattr(model, "drop_rate", 0.0)
        if stage == "head" and (dropout or rate):
            # some networks call the functional dropout in forward; the comparison in train mode will tell
            table["dropout"] = dropout or [nn.Dropout(float(rate))]
        table.setdefault(stage, []).append(part)
    return dict(table)


def _parts(model: nn.Module, head: str, prefix: str = "") -> Iterator[tuple[str, Part, nn.Module]]:
    """Yield (label, part, module) in order: around the head one by one, chains of blocks block by block."""
    glue = vit_glue(model) if not prefix else {}
    for name, child in model.named_children():
        path = f"{prefix}{name}"
        if name in glue:
            yield from glue[name]
        if glue and name in ("patch_embed", "pos_drop"):
            continue  # the Embed glue holds them
        if head.startswith(f"{path}."):
            yield from _parts(child, head, f"{path}.")
        elif not prefix and name in LISTS and isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from ((f"block {key}", f"{path}.{key}", block) for key, block in child.named_children())
        else:
            yield f"block {name}" if not prefix and ONE_OF_MANY.match(name) else name, path, child
