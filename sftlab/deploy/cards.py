"""The card that travels with a model: what a stranger must know before using it, as data and as a page."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import nn

from sftlab.core.model import card, fingerprint
from sftlab.core.records import History, Interval, Result
from sftlab.data import Data
from sftlab.networks import Input

# What is true of one set of weights only: a card is not carried over to weights that have moved since.
MEASURED = ("data", "training", "evaluation", "refusal", "use", "saved", "notes", "versions", "onnx")
WRITTEN = ("earlier", "input", "trained_size", "weights_hash")  # besides those
RESIZE = "turned as EXIF says, transparency on white, shorter edge resized with antialiasing, centre square"
PACKAGES = ("sftlab", "torch", "timm", "torchvision", "numpy", "pillow")
OWN_FOLDER = "your own folder "  # how the card of a folder's data begins to say where it lies


def compose(
    model: nn.Sequential, *, data: Data | None = None, history: History | None = None,
    result: Result | Mapping[str, Result] | None = None, refusal: Mapping[str, Any] | None = None, use: str = "",
    size: int | None = None, notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the card of `model` as it is now, ready for JSON: plain values, no path of this machine.

    A card that was loaded with the model is kept as long as the weights are the same. When they have moved, the data
    they were trained on stay listed under `earlier`, because a licence does not wear off.
    """
    old, now = card(model), weights_hash(model)
    facts = dict(old) if old.get("weights_hash") == now else {k: v for k, v in old.items() if k not in MEASURED}
    if "data" in old and "data" not in facts:
        was = {k: old["data"].get(k, "") for k in ("name", "licence", "citation")}
        facts["earlier"] = [*old.get("earlier", []), {**was, "saved": old.get("saved", "")}]
    if data is not None:
        facts |= {"data": _of_data(data), "trained_size": data.train.size}
    facts |= {"trained_size": size} if size is not None else {}
    if history is not None:
        runs = zip(history.runs, history.stopped, strict=False)
        facts["training"] = [{**run, "ended": ended} for run, ended in runs]
    if result is not None:
        several = result if isinstance(result, Mapping) else {"": result}
        facts["evaluation"] = {task: _of_result(one) for task, one in several.items()}
    facts |= {"refusal": dict(refusal)} if refusal is not None else {}
    facts |= {"notes": dict(notes)} if notes else {}
    facts |= {"use": use} if use else {}
    facts["input"] = input_facts(model, edge(facts))
    facts |= {"versions": versions(), "saved": datetime.now(UTC).date().isoformat(), "weights_hash": now}
    return plain(facts)


def edge(facts: Mapping[str, Any]) -> int:
    """Return the size in pixels at which a model is to be asked: that of its training, else the weights' own."""
    return int(facts.get("trained_size") or facts.get("size") or 224)


def weights_hash(model: nn.Sequential) -> str:
    """Return one hash over everything that the model stores."""
    return hashlib.sha256(repr(sorted(fingerprint(model).items())).encode()).hexdigest()[:16]


def input_facts(model: nn.Sequential, size: int) -> dict[str, Any]:
    """Return what a picture must be before the first stage, and what that stage makes of it."""
    first = next(iter(model))
    facts: dict[str, Any] = {"size": size, "channels": 3, "values": "uint8, 0 to 255", "resize": RESIZE}
    if isinstance(first, Input):
        facts |= {name: [round(v, 4) for v in getattr(first, name).flatten().tolist()] for name in ("mean", "std")}
    return facts


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a model's numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a checkout that was never installed
            continue
    return found


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold everywhere: no NaN, no infinity, no classes."""
    if isinstance(value, Interval):
        return {k: plain(getattr(value, k)) for k in ("value", "low", "high", "method", "confidence")}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def _of_data(data: Data) -> dict[str, Any]:
    """Return the data card as strangers may read it: without the paths and names of somebody's own files."""
    facts, mine = asdict(data.card), data.card.source.startswith(OWN_FOLDER)
    facts["skipped"] = len(data.card.skipped)
    facts["source"] = "a folder of photographs" if mine else data.card.source
    facts["notes"] = [note for note in data.card.notes if not (mine and note.startswith("conflicting labels"))]
    return {**facts, "digest": {part.name: part.digest for part in (data.train, data.valid)}}


def _of_result(result: Result) -> dict[str, Any]:
    return {
        "split": result.split, "images": result.n, "majority": result.majority, "evaluations": result.evaluations,
        "metrics": result.metrics, "per_class": result.per_class,
    }  # fmt: skip
