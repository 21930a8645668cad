"""torchvision's families, one table each."""
from __future__ import annotations
from pathlib import Path
from typing import Any
from torch import nn
FAMILIES: dict[str, Any] = {}
def build(name: str, weights: str | Path | None, **options: Any) -> nn.Sequential:
    """Build a staged torchvision network."""
    raise NotImplementedError
