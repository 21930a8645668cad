"""A killed run goes on as if nothing had happened: model, optimizer, random state, best weights and records on disk."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.monitors import Best, Record, Stream, copy_state, restore_state
from sftlab.core.records import Epoch, from_dict, to_dict

CHECKPOINT_SECONDS = 10.0


@dataclass
class Checkpoint:
    """All that a killed run needs to go on as if nothing had happened."""

    step: int
    epoch: int
    records: list[Record]
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    rng: Tensor
    best: Best
    settings: dict[str, Any]


def checkpoint(
    stream: Stream, path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, best: Best | None = None,
    settings: dict[str, Any] | None = None, past: list[Record] | None = None,
) -> Stream:  # fmt: skip
    """Write a checkpoint after each epoch, and after a step when the last one is CHECKPOINT_SECONDS old.

    It is written whole or not at all.

    Wrap `keep_best` *around* it, so that the weights on disk are the ones being trained, and give both the same `best`.
    """
    path, records, last = Path(path), list(past or []), -math.inf
    best = best if best is not None else Best()
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(stream):  # type: ignore[type-var]
        for record in stream:
            records.append(record)
            yield record
            if time.monotonic() - last >= CHECKPOINT_SECONDS or isinstance(record, Epoch):
                last = time.monotonic()
                _write(path, Checkpoint(records[-1].step, record.epoch, records, copy_state(model), by_name(optimizer),
                                        torch.get_rng_state(), best, dict(settings or {})))  # fmt: skip


def _write(path: Path, c: Checkpoint) -> None:
    data = {**vars(c), "records": to_dict(c.records), "best": vars(c.best)}
    partial = path.with_name(path.name + ".partial")
    torch.save(data, partial)
    partial.replace(path)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint (tensors and plain data only). Raises ValueError for a file that is none."""
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**{**data, "records": from_dict(data["records"]), "best": Best(**data["best"])})
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is not a checkpoint of this lab ({type(error).__name__}); delete it to start again"
        ) from None


def resume(
    path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]
) -> Checkpoint:
    """Put model and optimizer back to where the checkpoint's run was; raise ValueError if that was another run."""
    saved = read_checkpoint(path)
    differ = [k for k in settings if saved.settings.get(k) != settings[k]]
    if differ:
        was = ", ".join(f"{k}: {saved.settings.get(k)!r} there, {settings[k]!r} here" for k in differ)
        raise ValueError(f"{Path(path).name} is the checkpoint of another run ({was}); delete it or name another file")
    restore_state(model, saved.model)
    load_by_name(optimizer, saved.optimizer)
    return saved


def by_name(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state keyed by group name, so that it survives another set of groups."""
    state = optimizer.state_dict()
    return {
        g["name"]: {i: state["state"][p] for i, p in enumerate(g["params"]) if p in state["state"]}
        for g in state["param_groups"]
    }


def load_by_name(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Put back what `by_name` returned; groups are matched by name. Raises ValueError if they differ."""
    names = [g["name"] for g in optimizer.param_groups]
    if set(saved) != set(names):
        raise ValueError(f"the checkpoint's optimizer knows {', '.join(saved)}; this run trains {', '.join(names)}")
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        state["state"] |= {group["params"][i]: value for i, value in saved[group["name"]].items()}
    optimizer.load_state_dict(state)
