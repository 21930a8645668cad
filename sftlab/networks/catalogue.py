"""`backbone(name)`: the one door to every pretrained network, and the names it knows."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sftlab.core.model import card, with_card
from sftlab.data.storage import as_path
from sftlab.networks import offline, timm_nets, torchvision_nets
from sftlab.networks.staging import load_weights, read_weights


def backbone(name: str, weights: str | Path | None = "default", *, seed: int = 0, **options: Any) -> nn.Sequential:
    """Return a pretrained network as an `nn.Sequential` of named stages, in eval mode.

    weights: "default" (the library's own, downloaded once where they do not come with a package), the
    name of one of torchvision's weight sets, the path of a local file, or None for a random start. seed:
    of that random start. options: passed to the architecture (drop_rate, stochastic_depth_prob, …).
    Raises ValueError for an unknown name, FileNotFoundError when weights are not here: it says what to fetch,
    and where to put it.

    >>> [stage for stage, _ in backbone("tiny").named_children()]
    ['input', 'stem', 'layer1', 'layer2', 'pool', 'head']
    """
    file = None if weights in ("default", None) else as_path(weights)
    if file and name in torchvision_nets.FAMILIES and not file.suffix and not file.exists():
        file = None  # it is the name of a weight set
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BUILDERS.get(name, _from_timm)(name, None if file else weights, **options)
    with_card(model, {"name": name, "weights": "random start", "options": options} | card(model))
    if file:
        load_weights(model, read_weights(file), name)
        card(model).update(weights=file.name, source="a local file")
    return model.eval().to(memory_format=torch.channels_last)


def backbones() -> list[str]:
    """Return the names with an adapter of their own; any timm name works besides, and "minilm" reads texts."""
    return [name for name in BUILDERS if name != "minilm"]


def _from_timm(name: str, weights: Any, **options: Any) -> nn.Sequential:
    import timm

    if not timm.is_model(str(name).split(".")[0]):
        close = difflib.get_close_matches(str(name), [*backbones(), *timm.list_models()], 3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            f"no network is named {name!r}.{hint} With an adapter: {', '.join(backbones())}; or any timm name."
        )
    return timm_nets.build(name, weights, **options)


BUILDERS: dict[str, Callable[..., nn.Sequential]] = {
    **dict.fromkeys(offline.LITE, offline.build_lite),
    **dict.fromkeys(torchvision_nets.FAMILIES, torchvision_nets.build),
    "tiny": offline.build_tiny,
    "minilm": offline.build_minilm,
}


def imagenet_classes() -> list[str]:
    """Return the 1000 class names in the order of the logits, as timm carries them.

    >>> imagenet_classes()[207]
    'golden retriever'
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return [info.index_to_description(i, detailed=False).split(",")[0] for i in range(1000)]
