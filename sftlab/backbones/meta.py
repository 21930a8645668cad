"""Where weights come from, and what an adapter must say about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Source:
    """The weights' own preprocessing and provenance; `facts` becomes the model's card."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    facts: dict[str, Any] = field(default_factory=dict)


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: str | Path, *, digest: str | None = None) -> dict[str, Tensor]:
    """Read a state dict from .safetensors or a torch file, tensors only, never code.

    Raises FileNotFoundError, or ValueError for a wrong hash or a file that is no state dict.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    if digest is not None and sha256(path) != digest:
        raise ValueError(f"{path.name} is not the file we know (sha256 {sha256(path)[:8]}…, expected {digest[:8]}…); install it again")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path.name} could not be read as weights: {type(error).__name__}: {str(error).splitlines()[0]}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name} holds no state dict (names → tensors)")
    return state
