"""What a run may be told, checked before anything moves."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sftlab.core import encoders
from sftlab.core.losses import Loss, cross_entropy
from sftlab.core.model import BATCHNORM
from sftlab.core.profiles import Schedule, constant
from sftlab.data import Augment

Groups = list[dict[str, Any]]
OPTIMIZERS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups),
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


@dataclass(frozen=True)
class Settings:
    """What a run may be told besides model, data, profile and epochs; the fields are the keywords of `fit`.

    schedule: t in [0, 1] → factor on every rate. optimizer: "adamw", "sgd" (momentum 0.9), or a function of parameter
    groups. weight_decay: on weights, never on biases and norms. clip_norm: largest gradient norm. loss: (logits,
    targets) → scalar. patience: epochs without a lower validation loss before an early stop. augment: a function of
    uint8 batches; it needs every image anew, so frozen stages then run in every epoch. views: with augment, draw that
    many views of each image once and take them in turn, an epoch each: their features can be kept. batchnorm: "frozen"
    keeps the pretrained statistics in stages that learn as well. keep_best: weights of the best epoch come back at the
    end. checkpoint: a file; a killed run called again goes on from it. cached: False runs frozen stages in every epoch.
    encoder: what runs the frozen stages; "torch" gives the loop's own numbers, "fast" (an extra, on a CPU) a compiled
    copy's, within 1e-3 of the largest feature.
    """

    schedule: Schedule = dataclasses.field(default_factory=constant)
    optimizer: str | Callable[[Groups], torch.optim.Optimizer] = "adamw"
    weight_decay: float = 0.01
    batch_size: int = 32
    clip_norm: float | None = None
    loss: Loss = cross_entropy
    patience: int | None = None
    augment: Augment | None = None
    views: int | None = None
    batchnorm: str = "train"
    seed: int = 0
    device: str | torch.device | None = None
    keep_best: bool = True
    checkpoint: str | Path | None = None
    cached: bool = True
    encoder: str = "torch"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size}: at least one image a batch")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay={self.weight_decay}: a number ≥ 0")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience={self.patience}: at least one epoch")
        if self.views is not None and (self.views < 1 or self.augment is None):
            raise ValueError(f"views={self.views}: a number ≥ 1, together with augment=…, whose views are kept")
        encoders.check(self.encoder)
        if self.batchnorm not in BATCHNORM:
            raise ValueError(f"batchnorm={self.batchnorm!r}: {' or '.join(map(repr, BATCHNORM))}")
        if isinstance(self.optimizer, str) and self.optimizer not in OPTIMIZERS:
            known = " or ".join(map(repr, OPTIMIZERS))
            raise ValueError(f"optimizer={self.optimizer!r}: {known}, or a function of parameter groups")

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Settings:
        """Make settings from keywords; an unknown one is refused with the nearest right name."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in keywords:
            if name not in names:
                close = difflib.get_close_matches(name, names, 1)
                hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
                raise TypeError(f"fit has no setting {name!r}{hint}")
        return cls(**keywords)

    def facts(self) -> dict[str, Any]:
        """Return what belongs into a record: plain values, and functions by the name of what made them."""
        values = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("checkpoint", "device")
        }
        return {k: getattr(v, "__qualname__", str(v)).split(".")[0] if callable(v) else v for k, v in values.items()}
