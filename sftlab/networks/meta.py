"""Where weights come from, and what an adapter must say about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.data.remote import Bar, RemoteFile, Unreachable, download

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

    digest: what the file's sha256 must begin with.
    Raises FileNotFoundError, or ValueError for a wrong hash or a file that is no state dict.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    if digest is not None and not (found := sha256(path)).startswith(digest):
        raise ValueError(
            f"{path} is not the file we know (sha256 {found[:8]}…, expected {digest[:8]}…): "
            "damaged, or another file under its name; delete it and download or install it again"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"{path.name} could not be read as weights: {why}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name} holds no state dict (names → tensors)")
    return state


def load_weights(model: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load original weights into the plain model `name`, in place; every tensor must be there, and no other.

    Raises ValueError that names what is missing, unknown or of another shape.
    """
    own = model.state_dict()
    missing = [f"{key} is missing" for key in own if key not in state]
    unknown = [f"{key} is unknown to it" for key in state if key not in own]
    other = [
        f"{key} is {_size(state[key])}, not {_size(value)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if wrong := [*other, *missing, *unknown]:
        rest = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"these weights do not fit {name}: {'; '.join(wrong[:3])}{rest}. "
            "Weights for the plain network are expected, such as export() writes; "
            "a file that save() wrote is read by load_model()."
        )
    model.load_state_dict(state)


def _size(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "one number"


def bring(name: str, file: RemoteFile, about: str) -> Path:
    """Download weights to their place and return it; about: which weights these are, for the sentence if it fails.

    Raises FileNotFoundError that says what to fetch and where to put it, ValueError for a wrong hash, OSError for a
    full disk.
    """
    print(f"downloading {about} to {file.path.parent}", flush=True)
    try:
        with Bar(file.name) as bar:
            download(file, bar)
    except Unreachable as error:
        raise not_here(name, file.item, f"{about} from {file.urls[0]} into {file.path.parent}", error) from None
    return file.path


def not_here(name: str, item: str, what: str, why: object) -> FileNotFoundError:
    """Return the error for weights that could not be downloaded: how to fetch them, what, and where to put it."""
    return FileNotFoundError(
        f"the weights of {name} are not on this machine and could not be downloaded ({why}). "
        f"On a machine that is online run `sftlab fetch {item}` and copy its data folder here, or fetch {what}; "
        f"or pass the file by weights=PATH, start at random by weights=None, "
        f"or take backbone('efficientnet_lite0'), whose weights come with a package."
    )
