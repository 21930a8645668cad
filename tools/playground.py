"""Build the playground: one HTML file in which the head of a real network learns, in the browser, without a server.

    python tools/playground.py [OUT.html]        # build/playground.html

What travels in the page: the features of the typefaces of lesson 00, reduced to 128 principal components of the
training features, the order of the images and the start of the head for three seeds, the hill of all rates
(`sft.lr_sweep`), the stored curves of `benchmarks/start.json`, and the validation pictures. So what the page computes
is what `sft.fit` computes on `network()`; tests/test_playground_browser.py compares the two.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import sftlab as sft
from sftlab.data import Data
from sftlab.data.dataset import batch_positions
from sftlab.plot import style

COMPONENTS, PER_CLASS, WORDS = 128, 66, 22  # principal components; training images a class; validation words
LABELS, SEEDS, EPOCHS, BATCH = (5, 10, 20, 40, PER_CLASS), (0, 1, 2), 10, 32
RATES = np.logspace(-5, 1, 25)
TEMPLATE = Path(__file__).with_suffix(".html")
WAYS = {"full fine-tuning": "#D55E00", "partial fine-tuning": "#009E73", "from scratch": "#999999"}


def images(labels: int = PER_CLASS) -> Data:
    """Return the page's data: the first `labels` training images of each typeface, and 22 validation words."""
    data = sft.load("typefaces", per_class=PER_CLASS, seed=0)
    words = np.unique(data.valid.groups)[:WORDS]
    rows = first(labels, torch.as_tensor(data.train.y).numpy())
    valid = data.valid.subset(np.flatnonzero(np.isin(data.valid.groups, words)))
    return replace(data, train=data.train.subset(rows), valid=valid)


def first(k: int, y: np.ndarray) -> np.ndarray:
    """Return the positions of the first k images of each class, in order."""
    return np.sort(np.concatenate([np.flatnonzero(y == c)[:k] for c in np.unique(y)]))


def network(data: Data, seed: int = 0) -> nn.Sequential:
    """Return the pretrained network with a new head behind a frozen stage: the principal components of `data.train`."""
    original = sft.backbone("efficientnet_lite0")
    x, _ = sft.features(original[:-1], data.train).take(np.arange(len(data.train)))
    mean = x.mean(dim=0)
    axes = torch.linalg.svd(x - mean, full_matrices=False).Vh[:COMPONENTS]
    components = nn.Linear(x.shape[1], COMPONENTS)
    components.load_state_dict({"weight": axes, "bias": -axes @ mean})
    stages = [*original[:-1].named_children(), ("components", components), ("head", nn.Linear(COMPONENTS, 1))]
    return sft.replace_head(nn.Sequential(OrderedDict(stages)), data.classes, seed=seed)


def page() -> dict[str, Any]:
    """Compute what travels in the page."""
    data = images()
    model = network(data)
    train, valid = (sft.features(model[:-1], split).take(np.arange(len(split))) for split in (data.train, data.valid))
    heads = [sft.replace_head(model, data.classes, seed=seed).get_submodule("head") for seed in SEEDS]
    y, record = torch.as_tensor(data.train.y).numpy(), sft.records.stored("start")["typefaces"].values()
    pictures = _pictures(data.valid.pixels(np.arange(len(data.valid)))[:, 0].numpy())
    subsets = {k: first(k, y) for k in LABELS}
    return {
        "classes": data.classes, "majority": data.valid.majority, "labels": LABELS, "seeds": SEEDS, "epochs": EPOCHS,
        "batch": BATCH, "rates": RATES.tolist(), "heat": [style.heat(rate) for rate in RATES],
        "train": _packed(train[0]), "valid": _packed(valid[0]),
        "y": y.tolist(), "yValid": torch.as_tensor(valid[1]).tolist(),
        "heads": [_packed(np.column_stack([p.detach().numpy() for p in head.parameters()])) for head in heads],
        "rows": {k: rows.tolist() for k, rows in subsets.items()},
        "orders": {k: [_packed(_order(len(rows), seed), "<u2") for seed in SEEDS] for k, rows in subsets.items()},
        "hill": {name: {k: _hill(model, k, name) for k in LABELS} for name in ("adamw", "sgd")},
        "stored": {way: np.mean([run[way] for run in record], axis=0).round(4).tolist() for way in WAYS},
        "colours": WAYS, "words": data.valid.groups, "licence": data.card.licence, **pictures,
    }  # fmt: skip


def _order(n: int, seed: int) -> np.ndarray:
    """Return the order of the images in all epochs, one after the other, as `fit` shuffles them."""
    return np.concatenate([np.concatenate(batch_positions(n, BATCH, seed=seed, epoch=e)) for e in range(EPOCHS)])


def _hill(model: nn.Sequential, labels: int, optimizer: str) -> list[float]:
    """Return the mean accuracy of the seeds after the last epoch, for each rate."""
    sweep = sft.lr_sweep(model, images(labels), RATES, EPOCHS, optimizer=optimizer, seeds=SEEDS, batch_size=BATCH)
    return np.mean(sweep.valid_accuracy, axis=0)[:, -1].round(4).tolist()  # seed × rate × epoch


def _pictures(x: np.ndarray, columns: int = 18) -> dict[str, Any]:
    """Return grey pictures, N×H×W, as one PNG, row by row."""
    n, edge, _ = x.shape
    sheet = np.full((-(-n // columns) * edge, columns * edge), 255, np.uint8)
    for i, picture in enumerate(x):
        top, left = i // columns * edge, i % columns * edge
        sheet[top : top + edge, left : left + edge] = picture
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG", optimize=True)
    return {"sheet": base64.b64encode(file.getvalue()).decode(), "columns": columns, "edge": edge}


def _packed(values: Any, dtype: str = "<f4") -> str:
    return base64.b64encode(torch.as_tensor(values).numpy().astype(dtype).tobytes()).decode()


def build(out: Path) -> Path:
    """Write the page and return its path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    text = TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/null", json.dumps(page(), ensure_ascii=False))
    out.write_text(text, encoding="utf-8")
    return out


if __name__ == "__main__":
    written = build(Path(sys.argv[1] if len(sys.argv) > 1 else "build/playground.html"))
    print(f"{written}: {written.stat().st_size / 1e6:.2f} MB; it opens from disk, without a server")
