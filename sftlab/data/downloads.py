"""torchvision's data sets."""
from __future__ import annotations
from typing import Any
from sftlab.data.core import Data
TORCHVISION: dict[str, str] = {}
def load_torchvision(name: str, **options: Any) -> Data:
    """Load a torchvision set."""
    raise NotImplementedError
