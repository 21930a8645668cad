"""Models in and out: save and load with their card. What was damaged on the way is refused, never half believed."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.model import card, replace_head, with_card
from sftlab.core.records import History, Result
from sftlab.data import Data
from sftlab.deploy import cardpage, cards
from sftlab.deploy.refusing import Refusal
from sftlab.networks import backbone

FORMAT = "sftlab-1"
KNOWN = "refusal.known"  # the one tensor in the file that is no part of the network


def save(
    model: nn.Sequential, path: str | Path, *, data: Data | None = None, history: History | None = None,
    result: Result | Mapping[str, Result] | None = None, refusal: Refusal | None = None, use: str = "",
    size: int | None = None, **notes: Any,
) -> Path:  # fmt: skip
    """Write weights and card as one safetensors file, and the card as a page beside it; return the file's path.

    data: what it was trained on (name, rule, counts, split, licence, size). history: its runs. result: its evaluation.
    refusal: when to answer "neither". use: a sentence on what it is for, and what not. size: the edge in pixels of the
    training images, where no data say so. notes: whatever else a reader should know, by name. Versions, date and the
    licence of the pretrained weights are written by themselves; paths and file names of your own photographs are not.
    """
    from safetensors.torch import save as as_bytes  # its save_file makes files that only their owner may read

    if taken := set(notes) & {*card(model), *cards.MEASURED, *cards.WRITTEN}:
        raise ValueError(f"{', '.join(sorted(taken))}: the card has this already; give the note another name")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    told = refusal.facts() if refusal is not None else None
    facts = cards.compose(
        model, data=data, history=history, result=result, refusal=told, use=use, size=size, notes=notes
    )
    if refusal is not None and refusal.known is not None:
        state[KNOWN] = refusal.known.cpu().contiguous()
    elif refusal is None:
        facts.pop("refusal", None)  # of a loaded card, whose features are not here to go by
    text = json.dumps(facts, ensure_ascii=False)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(as_bytes(state, {"format": FORMAT, "card": text, "sha256": _digest(text, state)}))
    partial.replace(path)
    cardpage.write(facts, path)
    return path


def load_model(path: str | Path, into: nn.Sequential | None = None) -> nn.Sequential:
    """Read a model that `save` wrote, in eval mode, with its card.

    into: a network of the same stages, for one that did not come from `backbone` (a copy is returned).
    Raises FileNotFoundError, or ValueError for a file that is not such a model, or is damaged.
    """
    facts, state = read(path)
    state.pop(KNOWN, None)
    model = into if into is not None else _rebuild(facts)
    return with_card(_copied(model, state), facts).eval()


def load_refusal(path: str | Path) -> Refusal | None:
    """Read the limits of "neither" that were saved with a model; None if there are none. Raises as `load_model`."""
    facts, state = read(path)
    return Refusal.of(facts["refusal"], state.get(KNOWN)) if facts.get("refusal") else None


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return (card, tensors by name) of a model file. Raises as `load_model`."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, ValueError) as error:  # ValueError: letters of the card that are none
        raise ValueError(f"{path.name} is not a safetensors file, or is damaged: {error}") from None
    if meta.get("format") != FORMAT or "card" not in meta:
        raise ValueError(
            f"{path.name} has weights but no sftlab card; load it with backbone(name, weights={str(path)!r})"
        )
    if meta.get("sha256", "") not in ("", _digest(meta["card"], state)):
        raise ValueError(f"{path.name} is damaged: its weights or its card are not what was saved; copy it again")
    return json.loads(meta["card"]), state


def _digest(text: str, state: Mapping[str, Tensor]) -> str:
    """Return a hash of card and weights: safetensors itself notices a file cut short, but no flipped bit."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(state):
        value = state[name].contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _rebuild(facts: dict[str, Any]) -> nn.Sequential:
    name = facts.get("name")
    try:
        model = backbone(str(name), weights=None, **facts.get("options", {}))
    except ValueError:
        raise ValueError(f"this is a {name!r} network, which backbone() cannot build; pass one as into=") from None
    return replace_head(model, facts["classes"], hidden=facts.get("hidden")) if "classes" in facts else model


def _copied(model: nn.Sequential, state: dict[str, Tensor]) -> nn.Sequential:
    new = copy.deepcopy(model)
    own = new.state_dict()
    wrong = [k for k in own if k not in state or state[k].shape != own[k].shape] + [k for k in state if k not in own]
    if wrong:
        raise ValueError(f"the file does not fit this network: {', '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}")
    new.load_state_dict(state)
    return new
