"""Any timm name, without a table: its children in order, where that computes the same function; timm's weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sftlab.core.model import has_parameters
from sftlab.data.download import RemoteFile
from sftlab.data.storage import data_dir
from sftlab.networks.staging import (
    Part,
    Source,
    Table,
    bring,
    constant,
    is_same_function,
    not_here,
    read_weights,
    stages,
)


def headless(original: nn.Module, head: str) -> nn.Module:
    """Return all of a network before its last Linear, where `forward` does more than run its parts in order."""
    features = without(original, head)
    vars(features)["original_names"] = {"": ""}
    return features


class Embed(nn.Module):
    """What a timm ViT does before its first block: patches, class and register tokens, positions."""

    original_names: ClassVar = {"vit": ""}

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        others = [name for name, _ in vit.named_children() if name not in ("patch_embed", "pos_drop")]
        self.vit = without(vit, *others)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens, N×T×D."""
        vit: Any = self.vit
        return vit._pos_embed(vit.patch_embed(x))


class TokenPool(nn.Module):
    """How a timm ViT makes one vector of its tokens: N×T×D → N×D."""

    is_constant = True

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.how, self.prefix, self.include = vit.global_pool, vit.num_prefix_tokens, vit.pool_include_prefix

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features."""
        from timm.layers import global_pool_nlc

        return global_pool_nlc(x, self.how, num_prefix_tokens=self.prefix, reduce_include_prefix=self.include)

    def extra_repr(self) -> str:
        """Show the kind of pooling in the printed network."""
        return str(self.how)


def vit_glue(model: Any) -> dict[str, list[tuple[str, Part, nn.Module]]]:
    """Return what a timm ViT does besides running its children: {child: what stands in its place}, as `_parts`."""
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(model, VisionTransformer) or model.attn_pool is not None:
        return {}
    pool, norm = ("pool", TokenPool, nn.Flatten()), ("fc_norm", "fc_norm", model.fc_norm)
    return {"patch_embed": [("embed", Embed, model)], "pos_drop": [], "fc_norm": [pool, norm]}


def without(module: nn.Module, *paths: str) -> nn.Module:
    """Return a shallow copy that shares every parameter, with an Identity in place of what is at `paths`."""
    new = copy.copy(module)
    new._modules, new._parameters = dict(module._modules), dict(module._parameters)
    for path in paths:
        name, _, rest = path.partition(".")
        new._modules[name] = without(new.get_submodule(name), rest) if rest else nn.Identity()
    return new


FILES = ("model.safetensors", "pytorch_model.bin")
SECONDS_TO_ANSWER = 10


def fetch(name: str) -> Path:
    """Return the path of timm's own weights, downloaded once. Raises FileNotFoundError offline."""
    if (path := here(name)) is not None:
        return path
    try:
        file = remote(name)
    except ConnectionError as error:
        what = f"{FILES[0]} of {_published(name).hf_hub_id} into {_folder(name)}"
        raise not_here(name, item(name), what, error) from None
    size = f" ({file.megabytes:.0f} MB)" if file.megabytes else ""
    return bring(name, item(name), file, f"timm's {item(name)}, {file.path.name}{size},")


def remote(name: str) -> RemoteFile:
    """Return the file of timm's own weights: where it comes from, its hash, and where it goes.

    The Hugging Face hub knows the hash, so this asks it: the hub's own client keeps nothing of a download that was cut,
    and its cache is made of links, which a copy to another disk loses. Raises ValueError if there are none,
    ConnectionError without a network.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo = _published(name).hf_hub_id
    for file in FILES:
        try:
            facts = get_hf_file_metadata(hf_hub_url(repo, file), timeout=SECONDS_TO_ANSWER)
        except Exception as error:  # each version of the hub's client raises others
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ConnectionError(f"the Hugging Face hub was asked for {repo}: {why}") from None
        url = hf_hub_url(repo, file, revision=facts.commit_hash)
        known = f"sha256:{facts.etag}" if re.fullmatch(r"[0-9a-f]{64}", facts.etag or "") else ""
        return RemoteFile((url,), _folder(name) / file, known, facts.size / 1e6 if facts.size else None)
    raise ConnectionError(f"the hub's {repo} holds none of {', '.join(FILES)}")


def here(name: str) -> Path | None:
    """Return where timm's own weights lie on this machine, ours or the Hugging Face cache's; None if nowhere."""
    from huggingface_hub import try_to_load_from_cache

    cached = [try_to_load_from_cache(_published(name).hf_hub_id, file) for file in FILES]
    # the cache's answer may also be None, or a mark that the hub has no such file
    paths = [*(_folder(name) / file for file in FILES), *(Path(c) for c in cached if isinstance(c, str))]
    return next((path for path in paths if path.is_file()), None)


def _published(name: str) -> Any:
    """Return what timm says of a network's weights. Raises ValueError if the hub has none: it has all but a few."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise ValueError(
            f"timm has no weights for {name} on the Hugging Face hub; "
            "pass weights=PATH, or weights=None for a random start"
        )
    return config


def item(name: str) -> str:
    """Return a network's name with the tag of its weights, as timm writes it: resnet10t.c3_in1k."""
    config = _published(name)
    return ".".join(filter(None, (config.architecture, config.tag)))


def _folder(name: str) -> Path:
    return data_dir() / "weights" / _published(name).hf_hub_id


LISTS = ("blocks", "layers", "stages", "features")  # what timm calls a chain of block stages
ONE_OF_MANY = re.compile(r"(layers?|stages?|blocks?|s)_?\d+$")  # … or it numbers them: layer1, s1, stages_0


def build(name: str, weights: str | None, **options: Any) -> nn.Sequential:
    """Build a staged timm network.

    The stages are its children in order, chains of blocks taken apart, accepted only if they give the
    original's values in eval mode and, under one seed, in train mode. Otherwise there are two stages,
    `features` and `head`, and a printed line says so. weights: "default" are timm's own, from the Hugging
    Face hub; None is a random start. options: as in timm (drop_rate, drop_path_rate, …).
    Raises ValueError for what is no image classifier with a Linear head, FileNotFoundError offline.
    """
    import timm

    model: Any = timm.create_model(name, pretrained=False, **options)
    head = _head(model, name)
    config = model.pretrained_cfg
    facts: dict[str, Any] = {"name": name, "size": options.get("img_size") or config["input_size"][-1]}
    if weights:
        state = read_weights(fetch(name))
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options)
        del model.pretrained_cfg["state_dict"]
        facts |= {"weights": config.get("tag") or "default", "source": "timm", "licence": config.get("license")}
    for module in model.modules():
        if type(module).__module__ == "timm.layers.adaptive_avgmax_pool":
            constant(module)
    return _staged(model.eval(), head, Source(tuple(config["mean"]), tuple(config["std"]), facts))


def _head(model: Any, name: str) -> str:
    """Return the path of the last Linear layer, or refuse the network."""
    linear = model.get_classifier()
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
    name, size = source.facts["name"], source.facts["size"]
    guess = guess_table(model, head)
    two: Table = {"features": [partial(headless, head=head)], "head": [head]}
    # small images first, where the network takes them: equality does not depend on size
    for table, edge, modes in (guess, 96, (False, True)), (guess, size, (False, True)), (two, size, (False,)):
        generator = torch.Generator().manual_seed(0)
        example = torch.randint(0, 256, (2, 3, edge, edge), dtype=torch.uint8, generator=generator)
        try:
            staged = stages(model, table, source=source)
            same = all(is_same_function(model, staged, example, train=mode) for mode in modes)
        except Exception:  # a wrong guess may raise anything
            same = False
        if same:
            if table is two:
                print(f"{name} has two stages, features and head: its forward does more than run its parts in order")
            return staged
    raise ValueError(
        f"{name} cannot be divided into features and a Linear head: its forward does something after "
        "the head, or has several; take another network"
    )


def guess_table(model: Any, head: str) -> Table:
    """Guess the stages: stem, block stages, then neck and pool as they come, then dropout and head."""
    parts = list(_parts(model, head))
    blocks = [i for i, (label, _, _) in enumerate(parts) if label == "block"]
    first, end = (blocks[0], blocks[-1] + 1) if blocks else (1, 1)
    table: dict[str, list[Part]] = {"stem": [part for _, part, _ in parts[:first]]}
    stage, rate = "stem", getattr(model, "drop_rate", 0.0)
    for i, (label, part, module) in enumerate(parts[first:], first):
        learns = has_parameters(module)
        if i < end:
            if learns or stage == "stem":
                stage = f"layer{len(table)}"  # what has no parameters belongs to the layer before it
        elif isinstance(module, nn.Identity):
            continue
        elif isinstance(module, nn.Dropout):
            rate = module.p
            continue
        elif part == head:
            stage = "head"
            if rate:  # a module's, or functional in forward; the comparison in train mode will tell
                table["dropout"] = [nn.Dropout(rate)]
        elif "pool" in label.lower() and not learns:
            stage = "pool"
        elif learns and not stage.startswith("neck"):
            stage = "neck" if "neck" not in table else "neck2"
        table.setdefault(stage, []).append(part)
    return dict(table)


def _parts(model: nn.Module, head: str, prefix: str = "") -> Iterator[tuple[str, Part, nn.Module]]:
    """Yield (label, part, module) in order: around the head one by one, chains of blocks block by block."""
    glue = {} if prefix else vit_glue(model)
    for name, child in model.named_children():
        path = f"{prefix}{name}"
        if name in glue:
            yield from glue[name]
        elif head.startswith(f"{path}."):
            yield from _parts(child, head, f"{path}.")
        elif not prefix and name in LISTS and isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from (("block", f"{path}.{key}", block) for key, block in child.named_children())
        else:
            yield "block" if not prefix and ONE_OF_MANY.match(name) else name, path, child
