"""`tiny`: a network of 6,000 parameters with everything that makes real ones hard, for tests and examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from sftlab.networks.meta import Source, read_weights
from sftlab.networks.staging import Table, stages


class Tiny(nn.Module):
    """Two strided convolution stages with BatchNorm, a pool, dropout and a head; nothing pretrained about it.

    width: channels of the stem; each later stage has twice those of the one before.
    """

    def __init__(self, drop_rate: float = 0.0, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        w = width
        self.conv, self.norm, self.act = nn.Conv2d(3, w, 3, padding=1, bias=False), nn.BatchNorm2d(w), nn.ReLU()
        self.layer1 = nn.Sequential(nn.Conv2d(w, 2 * w, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * w), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(2 * w, 4 * w, 3, 2, 1, bias=False), nn.BatchNorm2d(4 * w), nn.ReLU())
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout(drop_rate)
        self.fc = nn.Linear(4 * w, classes)

    def forward(self, x: Any) -> Any:
        """Return logits, N×classes."""
        x = self.layer2(self.layer1(self.act(self.norm(self.conv(x)))))
        return self.fc(self.dropout(self.pool(x).flatten(1)))


def build(name: str, weights: str | Path | None, **options: Any) -> nn.Sequential:
    """Build the staged tiny network; "default" and None both mean a random start."""
    model = Tiny(**options)
    facts: dict[str, Any] = {"name": name, "weights": "random start", "size": 16, "options": options}
    if weights is not None and weights != "default":
        model.load_state_dict(read_weights(weights))
        facts["weights"] = Path(weights).name
    dropout = {"dropout": ["dropout"]} if options.get("drop_rate") else {}
    table: Table = {
        "stem": ["conv", "norm", "act"], "layer1": ["layer1"], "layer2": ["layer2"],
        "pool": ["pool", nn.Flatten(1)], **dropout, "head": ["fc"],
    }  # fmt: skip
    return stages(model, table, source=Source((0.5,) * 3, (0.5,) * 3, facts))
