"""Models in and out: save and load with their card, predict on photographs, export under the original names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sftlab.backbones import backbone, original_state_dict
from sftlab.surgery import card, evaluating, replace_head, with_card

FORMAT = "sftlab-1"


def save(model: nn.Sequential, path: str | Path, **facts: Any) -> Path:
    """Write weights and card as one safetensors file; return its path.

    facts: what else a reader should know (size in pixels, metrics, licence of the training images).
    """
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    save_file(state, path, {"format": FORMAT, "card": json.dumps({**card(model), **facts}, default=str)})
    return path


def load_model(path: str | Path, into: nn.Sequential | None = None) -> nn.Sequential:
    """Read a model that `save` wrote, in eval mode, with its card.

    into: a network of the same stages, for one that did not come from `backbone` (a copy is returned).
    Raises FileNotFoundError, or ValueError for a file that is not such a model.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file, or is damaged: {error}") from None
    if meta.get("format") != FORMAT:
        raise ValueError(
            f"{path.name} has weights but no sftlab card; load it with backbone(name, weights={str(path)!r})"
        )
    facts = json.loads(meta["card"])
    model = into if into is not None else _rebuild(facts)
    model = with_card(_copied(model, state), facts)
    return model.eval()


def _rebuild(facts: dict[str, Any]) -> nn.Sequential:
    name = facts.get("name")
    try:
        model = backbone(str(name), weights=None, **facts.get("options", {}))
    except ValueError:
        raise ValueError(f"this is a {name!r} network, which backbone() cannot build; pass one as into=") from None
    return replace_head(model, facts["classes"], hidden=facts.get("hidden")) if "classes" in facts else model


def _copied(model: nn.Sequential, state: dict[str, torch.Tensor]) -> nn.Sequential:
    import copy

    new = copy.deepcopy(model)
    own = new.state_dict()
    wrong = [k for k in own if k not in state or state[k].shape != own[k].shape] + [k for k in state if k not in own]
    if wrong:
        raise ValueError(f"the file does not fit this network: {', '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}")
    new.load_state_dict(state)
    return new


def export(model: nn.Sequential, path: str | Path) -> Path:
    """Write the weights under the original library's names, for the plain model's `load_state_dict`.

    .safetensors or a torch file, by the ending. The `input` stage is dropped: scale and normalise outside.
    """
    path, state = Path(path), original_state_dict(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, path)
    else:
        torch.save(state, path)
    return path


@dataclass(frozen=True)
class Prediction:
    """What the model says of one photograph; `probabilities` maps each class to its probability.

    `error` says why a file could not be read; label and probabilities are then empty.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    error: str = ""

    @property
    def confidence(self) -> float:
        """Probability of the most likely class."""
        return max(self.probabilities.values(), default=0.0)


def predict(
    model: nn.Sequential, photos: Sequence[str | Path] | str | Path, *, size: int | None = None
) -> list[Prediction]:
    """Classify photographs, given as paths; an unreadable file gets its error, never stops the others.

    size: edge in pixels; by default the size that the model's card gives.
    """
    from sftlab.data.folder import read_photo

    facts = card(model)
    classes = facts.get("classes")
    if not isinstance(classes, list):
        raise ValueError(
            "this model's card names no single list of classes; use replace_head(model, class names) before training"
        )
    size = size or facts.get("trained_size") or facts.get("size", 224)
    out = []
    with evaluating(model), torch.no_grad():
        for photo in [photos] if isinstance(photos, (str, Path)) else photos:
            try:
                x = torch.from_numpy(read_photo(Path(photo), size))[None]
            except (OSError, ValueError) as error:
                out.append(Prediction(str(photo), "", {}, str(error)))
                continue
            p = model(x.to(next(model.parameters()).device)).softmax(dim=1)[0].tolist()
            out.append(Prediction(str(photo), classes[p.index(max(p))], dict(zip(classes, p, strict=True))))
    return out
