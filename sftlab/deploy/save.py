"""Save and load a model with its card: what a stranger must know before using it, as data and as a page.

What was damaged on the way is refused, never half believed. Called by a learner, `export` and the command line.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import re
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.model import card, fingerprint, hash_tensors, replace_head, with_card
from sftlab.core.records import History, Interval, Result
from sftlab.data import Data, as_path
from sftlab.data.dataset import by_task
from sftlab.data.storage import replacing
from sftlab.deploy.reject import RejectOption
from sftlab.networks import Input, backbone

FORMAT = "sftlab-1"
KNOWN = "reject.known"  # the one tensor in the file that is no part of the network
# What is true of one set of weights only: a card is not carried over to weights that have moved since.
MEASURED = ("data", "training", "evaluation", "reject", "use", "saved", "notes", "versions", "onnx")
WRITTEN = ("earlier", "input", "trained_size", "weights_hash")  # besides those
EVALUATED = ("split", "majority", "evaluations", "metrics", "per_class")  # of a Result, on the card
RESIZE = "turned as EXIF says, transparency on white, shorter edge resized with antialiasing, centre square"
PACKAGES = ("sftlab", "torch", "timm", "torchvision", "numpy", "pillow")
OWN_FOLDER = "your own folder "  # how the card of a folder's data begins to say where it lies
SAME = 1e-4  # largest difference between two answers that are the same, as a share of the largest logit


def save(
    model: nn.Sequential,
    path: str | Path,
    *,
    data: Data | None = None,
    history: History | None = None,
    result: Result | Mapping[str, Result] | None = None,
    reject: RejectOption | None = None,
    use: str = "",
    size: int | None = None,
    **notes: Any,
) -> Path:
    """Write weights and card as one safetensors file, and the card as a page beside it; return the file's path.

    data: what it was trained on (name, rule, counts, split, licence, size). history: its runs. result: its evaluation.
    reject: when to answer "neither". use: a sentence on what it is for, and what not. size: the edge in pixels of the
    training images, where no data say so. notes: whatever else a reader should know, by name. Versions, date and the
    licence of the pretrained weights are written by themselves; paths and file names of your own photographs are not.
    Raises ValueError, before anything is written, for a network that would come back with other answers.
    """
    from safetensors.torch import save as as_bytes  # its save_file makes files that only their owner may read

    if taken := set(notes) & {*card(model), *MEASURED, *WRITTEN}:
        raise ValueError(f"{', '.join(sorted(taken))}: the card has this already; give the note another name")
    path = as_path(path)
    runs = zip(history.runs, history.stopped, strict=False) if history else ()
    facts = compose_card(
        model,
        reject,
        trained_size=size or (data and data.train.size),
        use=use,
        notes=notes,
        data=data and _data_facts(data),
        training=[{**run, "ended": ended} for run, ended in runs],
        evaluation={
            task: {"images": one.n, **{name: getattr(one, name) for name in EVALUATED}}
            for task, one in by_task(result or {}).items()
        },
    )
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    _check_comes_back(model, facts, state)
    if reject is not None and reject.known is not None:
        state[KNOWN] = reject.known.cpu().contiguous()
    text = json.dumps(facts, ensure_ascii=False)
    sha256 = hash_tensors(sorted(state.items()), text.encode())
    with replacing(path) as partial:
        partial.write_bytes(as_bytes(state, {"format": FORMAT, "card": text, "sha256": sha256}))
    write_page(facts, path)
    return path


def load_model(path: str | Path, into: nn.Sequential | None = None) -> nn.Sequential:
    """Read a model that `save` wrote, in eval mode, with its card.

    into: a network of the same stages, for one that did not come from `backbone` (a copy is returned).
    Raises FileNotFoundError, or ValueError for a file that is not such a model, or is damaged.
    """
    facts, state = read(path)
    state.pop(KNOWN, None)
    return with_card(_filled(copy.deepcopy(into) if into is not None else _rebuild(facts), state), facts)


def _check_comes_back(model: nn.Sequential, facts: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Raise ValueError if what `load_model` makes of card and weights gives other answers than the model."""
    try:
        back = _rebuild(facts)
    except ValueError:
        return  # a network of one's own: whoever loads it passes one as into=
    fix = "undo it (merge what lora() added), or name it as your own, card(model)['name'] = …, and load it with into="
    try:
        _filled(back, state)
    except ValueError as error:
        raise ValueError(f"this network is no longer {facts['name']}, as its card says ({error}): {fix}") from None
    size, draw = input_size(facts), torch.Generator().manual_seed(0)
    noise = torch.randint(256, (2, 3, size, size), dtype=torch.uint8, generator=draw)
    x = getattr(back[0], "example", lambda: noise)()
    with torch.no_grad():
        both = (copy.deepcopy(model).cpu().float().eval(), back)
        here, there = (torch.cat([*by_task(network(x)).values()], dim=1) for network in both)
    if not torch.allclose(here, there, rtol=0, atol=SAME * float(here.nan_to_num().abs().max()), equal_nan=True):
        raise ValueError(
            f"loaded again, this network would give other answers (by {float((here - there).abs().max()):.2g}): "
            f"something is not as in {facts['name']}, and no weight shows it (an activation, a stride, the input "
            f"stage, a hook): {fix}"
        )


def _filled(model: nn.Sequential, state: dict[str, Tensor]) -> nn.Sequential:
    """Return the network with these weights, in eval mode. Raises ValueError for weights that are not its own."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the file does not fit this network: {textwrap.shorten(str(error), 300)}") from None
    return model.eval()


def load_reject_option(path: str | Path) -> RejectOption | None:
    """Read the limits of "neither" that were saved with a model; None if there are none. Raises as `load_model`."""
    facts, state = read(path)
    return RejectOption.of(facts.get("reject"), state.get(KNOWN))


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return (card, tensors by name) of a model file. Raises as `load_model`."""
    from safetensors import SafetensorError, safe_open

    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, ValueError) as error:  # ValueError: letters of the card that are none
        raise ValueError(f"{path.name} is not a safetensors file, or is damaged: {error}") from None
    if meta.get("format") != FORMAT:
        raise ValueError(
            f"{path.name} has weights but no sftlab card; load it with backbone(name, weights={str(path)!r})"
        )
    if meta.get("sha256", "") not in ("", hash_tensors(sorted(state.items()), meta["card"].encode())):
        raise ValueError(f"{path.name} is damaged: its weights or its card are not what was saved; copy it again")
    return json.loads(meta["card"]), state


def _rebuild(facts: dict[str, Any]) -> nn.Sequential:
    name = facts.get("name")
    try:
        model = backbone(str(name), weights=None, **facts.get("options", {}))
    except ValueError:
        raise ValueError(f"this is a {name!r} network, which backbone() cannot build; pass one as into=") from None
    return replace_head(model, facts["classes"], hidden=facts.get("hidden")) if "classes" in facts else model


def compose_card(model: nn.Sequential, reject: RejectOption | None = None, **given: Any) -> dict[str, Any]:
    """Return the card of `model` as it is now, with what is given, ready for JSON: plain values.

    A card that was loaded with the model is kept as long as the weights are the same. When they have moved, the data
    they were trained on stay listed under `earlier`, because a licence does not wear off. Of limits only those of
    `reject` count: a loaded card's features are not here to go by.
    """
    old = card(model)
    weights = hashlib.sha256(repr(sorted(fingerprint(model).items())).encode()).hexdigest()[:16]
    facts = dict(old) if old.get("weights_hash") == weights else {k: v for k, v in old.items() if k not in MEASURED}
    if "data" in old and "data" not in facts:
        was = {k: old["data"].get(k, "") for k in ("name", "licence", "citation")}
        facts["earlier"] = [*old.get("earlier", []), {**was, "saved": old.get("saved", "")}]
    facts |= {name: value for name, value in given.items() if value}
    return plain(
        facts
        | {"reject": reject and reject.facts(), "input": input_facts(model, input_size(facts)), "versions": versions()}
        | {"saved": datetime.now(UTC).date().isoformat(), "weights_hash": weights}
    )


def input_size(facts: Mapping[str, Any]) -> int:
    """Return the edge in pixels at which a model is to be asked: that of its training, else the weights' own."""
    return int(facts.get("trained_size") or facts.get("size") or 224)


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold everywhere: no NaN, no infinity, no classes."""

    def simpler(value: Any) -> Any:
        if hasattr(value, "tolist"):  # a number of numpy or torch, or an array of them
            return value.tolist()
        return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

    return json.loads(json.dumps(value, default=simpler), parse_constant=lambda name: None)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a model's numbers."""
    numbers = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):  # a checkout that was never installed
            numbers[name] = version(name)
    return numbers


def input_facts(model: nn.Sequential, size: int) -> dict[str, Any]:
    """Return what a picture must be before the first stage, and what that stage makes of it."""
    first = next(iter(model))
    facts: dict[str, Any] = {"size": size, "channels": 3, "values": "uint8, 0 to 255", "resize": RESIZE}
    if isinstance(first, Input):
        facts |= {name: [round(v, 4) for v in getattr(first, name).flatten().tolist()] for name in ("mean", "std")}
    return facts


def _data_facts(data: Data) -> dict[str, Any]:
    """Return the data card as strangers may read it: without the paths and names of somebody's own files."""
    facts = asdict(data.card) | {"skipped": len(data.card.skipped)}
    if facts["source"].startswith(OWN_FOLDER):
        facts["source"] = "a folder of photographs"
    return {**facts, "digest": {part.name: part.digest for part in (data.train, data.valid)}}


def page_path(path: Path) -> Path:
    """Return where the page of a model file goes: cells.safetensors → cells.card.md, cells.onnx → cells.onnx.card.md.

    Not cells.md: that may be somebody's own.
    """
    return path.with_name(path.name.removesuffix(".safetensors") + ".card.md")


def write_page(facts: Mapping[str, Any], path: Path) -> None:
    """Write the page of the model file at `path` beside it: what `compose_card` made, as Markdown."""
    from jinja2 import Environment

    pages = Environment(trim_blocks=True, lstrip_blocks=True)
    pages.filters["literal"] = _literal
    page = pages.from_string(Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8")).render(
        facts,
        file=path.name,
        tasks=by_task(facts.get("classes", [])),
        neither=RejectOption.of(facts["reject"]),
        checked=checked(facts["onnx"]) if "onnx" in facts else "",
        Interval=Interval,
    )
    page_path(path).write_text(page + "\n", encoding="utf-8")


def _literal(words: str) -> str:
    """Return words that Markdown leaves as they are: a class may be called "$5 to $10", "a*b" or "R&amp;D"."""
    return re.sub(r"([\\`*_{}\[\]<>#$^|~&]|:(?=//)|(?<=\\)\()", r"\\\1", words)


def checked(onnx: Mapping[str, Any]) -> str:
    """Say how a graph was compared with its network: `export` wrote it onto the card."""
    return (
        f"Checked against torch on {onnx['images']} {onnx['pictures']}: log-probabilities differ by at most "
        f"{onnx['difference']:.1g} (allowed {onnx['tolerance']:g}, relative to 1 + |log p|)"
    )
