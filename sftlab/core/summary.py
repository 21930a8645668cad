"""The network as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sftlab.core.surgery import card, evaluating, is_trainable


@dataclass(frozen=True)
class Summary:
    """The network as a table: one row a stage with its output shape, parameters, share of them, and rate."""

    rows: list[tuple[str, str, int, float, str]]

    def __str__(self) -> str:
        head = ("stage", "output", "parameters", "share", "rate")
        body = [(n, o, f"{p:,}", f"{s:.1%}", r) for n, o, p, s, r in self.rows]
        total = sum(p for _, _, p, _, _ in self.rows)
        body.append(("total", "", f"{total:,}", "", ""))
        width = [max(len(row[i]) for row in [head, *body]) for i in range(5)]

        def line(row: tuple[str, ...]) -> str:
            cells = (row[i].ljust(width[i]) if i < 2 else row[i].rjust(width[i]) for i in range(5))
            return "  ".join(cells).rstrip()

        return "\n".join(line(row) for row in [head, *body])

    def __repr__(self) -> str:
        return str(self)


def summary(model: nn.Sequential, profile: Mapping[str, float] | None = None, *, size: int | None = None) -> Summary:
    """Tabulate stage · output · parameters · share · rate, by running a black image of `size` pixels or a short text.

    Without a profile the rate column says which stages take gradients.
    """
    size = size or card(model).get("size", 64)
    device = next(model.parameters()).device
    total = sum(p.numel() for p in model.parameters())
    own = getattr(model[0], "example", None)  # an input stage that takes no images says what it takes
    x: Any = (own() if own else torch.zeros(1, 3, size, size, dtype=torch.uint8)).to(device)
    rows = []
    with evaluating(model), torch.no_grad():
        for name, stage in model.named_children():
            x = stage(x)
            count = sum(p.numel() for p in stage.parameters())
            rate = "" if not count else ("trainable" if is_trainable(stage) else "frozen")
            if profile is not None and count:
                rate = f"{profile[name]:.2g}" if profile.get(name, 0) > 0 else "frozen"
            rows.append((name, _shape(x), count, count / total, rate))
    return Summary(rows)


def _shape(x: Any) -> str:
    if isinstance(x, Mapping):
        return ", ".join(f"{k} {_shape(v)}" for k, v in x.items())
    if isinstance(x, tuple):
        return ", ".join(map(_shape, x))
    return "×".join(map(str, x.shape[1:]))
