"""torchvision's families, one table each.

torchvision itself is imported only when a network is asked for.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sftlab.core.model import card
from sftlab.data.download import RemoteFile
from sftlab.data.storage import data_dir
from sftlab.networks.staging import Part, Source, Table, bring, load_weights, read_weights, stages

CLASSIC = "IMAGENET1K_V1"


class Embed(nn.Module):
    """What a ViT does before its first block: N×3×S×S → N×(1 + patches)×D, class token first."""

    original_names: ClassVar = {
        "conv_proj": "conv_proj", "class_token": "class_token", "positions": "encoder.pos_embedding",
    }  # fmt: skip

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.size, self.conv_proj, self.class_token = vit.image_size, vit.conv_proj, vit.class_token
        self.positions = vit.encoder.pos_embedding

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens; raise ValueError for images of another size than the positions were made for."""
        if x.shape[2:] != (self.size, self.size):
            raise ValueError(
                f"images of {x.shape[2]}×{x.shape[3]} pixels, but this ViT has positions for "
                f"{self.size}×{self.size} only; load the data with size={self.size}"
            )
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1) + self.positions


class ClassToken(nn.Module):
    """Pick the class token, the first one: N×T×D → N×D."""

    is_constant = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the class token's features."""
        return x[:, 0]


def _cut(*ends: int) -> Table:
    """Return the stem and the layers that torchvision's list `features` is cut into before these positions."""
    names = ["stem", *(f"layer{i}" for i in range(1, len(ends)))]
    return {
        name: [f"features.{i}" for i in range(start, end)]
        for name, (start, end) in zip(names, pairwise((0, *ends)), strict=True)
    }


POOL: list[Part] = ["avgpool", nn.Flatten(1)]
RESNET: Table = {
    "stem": ["conv1", "bn1", "relu", "maxpool"],
    **{f"layer{i}": [f"layer{i}"] for i in range(1, 5)},
    "pool": POOL, "head": ["fc"],
}  # fmt: skip
# fc6 and fc7, with the dropout between them, are pretrained layers before the head: the neck
VGG_END: Table = {
    "pool": POOL, "neck": [f"classifier.{i}" for i in range(5)], "dropout": ["classifier.5"],
    "head": ["classifier.6"],
}  # fmt: skip
# MobileNetV3: a layer is what runs at one resolution; the last 1×1 convolution closes the last of them
MOBILENET_END: Table = {
    "pool": POOL, "neck": ["classifier.0", "classifier.1"], "dropout": ["classifier.2"],
    "head": ["classifier.3"],
}  # fmt: skip
EFFICIENTNET: Table = {
    **_cut(*range(1, 9)), "neck": ["features.8"], "pool": POOL, "dropout": ["classifier.0"], "head": ["classifier.1"],
}  # fmt: skip
# ConvNeXt and Swin halve the resolution between their stages; the halving belongs to the stage that follows
FOUR_STAGES = _cut(1, 2, 4, 6, 8)
CONVNEXT: Table = {
    **FOUR_STAGES, "pool": ["avgpool"], "neck": ["classifier.0", "classifier.1"], "head": ["classifier.2"],
}  # fmt: skip
SWIN: Table = {**FOUR_STAGES, "neck": ["norm", "permute"], "pool": ["avgpool", "flatten"], "head": ["head"]}
VIT_B: Table = {
    "stem": [Embed, "encoder.dropout"],
    **{f"layer{i + 1}": [f"encoder.layers.encoder_layer_{i}"] for i in range(12)},
    "neck": ["encoder.ln"], "pool": [ClassToken()], "head": ["heads.head"],
}  # fmt: skip

FAMILIES: dict[str, Table] = {
    "resnet18": RESNET, "resnet34": RESNET, "resnet50": RESNET,
    "vgg16": {**_cut(5, 10, 17, 24, 31), **VGG_END}, "vgg16_bn": {**_cut(7, 14, 24, 34, 44), **VGG_END},
    "mobilenet_v3_small": {**_cut(1, 2, 4, 9, 13), **MOBILENET_END},
    "mobilenet_v3_large": {**_cut(1, 2, 4, 7, 13, 17), **MOBILENET_END},
    "efficientnet_b0": EFFICIENTNET, "convnext_tiny": CONVNEXT, "vit_b_16": VIT_B, "swin_t": SWIN,
}  # fmt: skip


def build(name: str, weights: str | None, **options: Any) -> nn.Sequential:
    """Build a staged torchvision network.

    weights: None is a random start; "default" means IMAGENET1K_V1, the weights that papers and tutorials mean by a
    network's name; they are downloaded once, and their hash is checked at every read. Where a V2 exists (resnet50,
    mobilenet_v3_large) it names ImageNet's photographs better, by a longer recipe with label smoothing and mixed
    images; such losses tend to give features that transfer less well to a linear probe (Kornblith et al., 2021). Ask
    for it by its name, "IMAGENET1K_V2". options: as in torchvision (dropout, stochastic_depth_prob, image_size, …).
    Raises ValueError for an unknown weights name, FileNotFoundError offline.
    """
    from torchvision import models

    chosen = _weight_set(name, weights or "default")
    if weights and name.startswith("vit"):
        options.setdefault("image_size", chosen.meta["min_size"][0])
    preset = chosen.transforms()
    size = options.get("image_size", preset.crop_size[0])
    plain = models.get_model(name, weights=None, **options)
    table = dict(FAMILIES[name])
    if "dropout" in table and not plain.get_submodule(str(table["dropout"][0])).p:
        del table["dropout"]
    facts = {"size": size, "options": options}
    model = stages(plain, table, source=Source(tuple(preset.mean), tuple(preset.std), facts))
    if weights:
        file = remote(name, weights)
        about = f"{file.path.name} ({file.megabytes:.0f} MB, torchvision's {chosen.name})"
        item = name if chosen.name == CLASSIC else f"{name}:{chosen.name}"
        places = file.path, Path(torch.hub.get_dir()) / "checkpoints" / file.path.name
        path = next((place for place in places if place.is_file()), None) or bring(name, item, file, about)
        load_weights(model, read_weights(path, digest=file.known.partition(":")[2]), name)
        top1 = chosen.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        card(model).update(weights=chosen.name, top1=top1, source="torchvision", licence=chosen.meta.get("license"))
    return model


def remote(name: str, weights: str = "default") -> RemoteFile:
    """Return the file of a weight set of torchvision: where it comes from, and where it goes.

    Raises ValueError for an unknown weights name.
    """
    chosen = _weight_set(name, weights)
    file = chosen.url.rpartition("/")[2]
    digest = Path(file).stem.rpartition("-")[2]  # torchvision's file names end with the first digits of the sha256
    size = chosen.meta["_file_size"] * 2**20 / 1e6
    return RemoteFile((chosen.url,), data_dir() / "weights" / file, f"sha256:{digest}", size)


def _weight_set(name: str, weights: str) -> Any:
    from torchvision import models

    # VGG's third set was made for detection and has no classifier, so it is not on offer
    sets = {w.name: w for w in models.get_model_weights(name) if w.meta["categories"]}
    chosen = sets.get(CLASSIC if weights == "default" else weights)
    if chosen is None:
        raise ValueError(f"{name} has no weights named {weights!r}; there are {', '.join(sets)}, or the path of a file")
    return chosen
