"""The thousand classes that ImageNet-1k weights answer with."""

from __future__ import annotations

from functools import lru_cache


@lru_cache
def imagenet_classes() -> list[str]:
    """Return the 1000 class names in the order of the logits, as timm carries them.

    >>> imagenet_classes()[207]
    'golden retriever'
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return [info.index_to_description(i, detailed=False).split(",")[0] for i in range(1000)]
