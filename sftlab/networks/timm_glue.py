"""What timm's networks compute between their children, as modules that share the original's parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn


class Features(nn.Module):
    """All of a network before its last Linear, where `forward` does more than run its parts in order."""

    original_names: ClassVar = {"net": ""}

    def __init__(self, original: nn.Module, head: str) -> None:
        super().__init__()
        self.net = without(original, head)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, N×D."""
        net: Any = self.net
        return net.forward_head(net.forward_features(x), pre_logits=True)


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


def vit_glue(model: nn.Module) -> dict[str, list[tuple[str, Callable[[nn.Module], nn.Module], nn.Module]]]:
    """Return what a timm ViT does besides running its children, as {child: glue that goes before it}."""
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(model, VisionTransformer) or model.attn_pool is not None:
        return {}
    return {"patch_embed": [("embed", Embed, model)], "fc_norm": [("pool", TokenPool, nn.Flatten())]}


def without(module: nn.Module, *paths: str) -> nn.Module:
    """Return a shallow copy that shares every parameter, with an Identity in place of what is at `paths`."""
    new = copy.copy(module)
    new._modules, new._parameters = dict(module._modules), dict(module._parameters)
    for path in paths:
        name, _, rest = path.partition(".")
        new._modules[name] = without(new.get_submodule(name), rest) if rest else nn.Identity()
    return new
