"""Which starting point? Measures network × weights × size × tap stage on the solar cells and keeps the records.

    python benchmarks/selection.py

Reads no test image: the 1,973 cells of the train and valid splits are judged in five folds, blocks of files together.
Resumable: what `selection.json` holds already is not measured again. About seven minutes on two cores.
"""

import platform
from typing import Any

import numpy as np
import torch
from evidence.ledger import Ledger, probed

import sftlab as sft
from sftlab import analysis as explain
from sftlab.data import Split
from sftlab.data.load import module_blocks

CANDIDATES = {
    ("efficientnet_lite0", "ImageNet"): (64, 96, 128, 160, 192, 224, 256, 300),
    ("efficientnet_lite0", "random"): (64, 96, 128, 160, 192, 224, 256, 300),
    ("efficientnet_lite1", "ImageNet"): (96, 160, 224, 300),
    ("efficientnet_lite2", "ImageNet"): (96, 160, 224, 300),
    ("efficientnet_lite1", "random"): (160,),
    ("efficientnet_lite2", "random"): (160,),
    ("tiny", "random"): (64, 160, 300),
}


def pool(size: int) -> tuple[Split, np.ndarray]:
    """Return all cells of seed 0 that are not in its test split, and the block of files that each belongs to."""
    data = sft.load("solar", size=size, target="both")
    rows = np.sort(np.concatenate([data.train.index, data.valid.index]))
    kind = np.array(["mono", "poly"])[data.train.targets["type"]]
    return data.train.of_rows(rows), module_blocks(kind)[rows]


def measure(network: str, weights: str, size: int) -> list[dict[str, Any]]:
    """Return the starting points of one network at one image size, a stage each."""
    model = sft.backbone(network, weights="default" if weights == "ImageNet" else None)
    split, blocks = pool(size)
    y = split.y["defect"].numpy()
    starts = []
    for stage, features in explain.tapped(model, split).items():
        right = probed(features, y, blocks)
        starts.append({
            "network": network, "weights": weights, "size": size, "stage": stage, "width": features.shape[1],
            "accuracy": sft.proportion(right, blocks), "right": np.packbits(right).tobytes().hex(),
            "logme": round(explain.logme(features, y), 5),
        })  # fmt: skip
    return starts


def main() -> None:
    split, blocks = pool(64)
    y = split.y["defect"].numpy()
    parts: dict[str, Any] = {
        "images": len(y), "blocks": blocks.tolist(), "majority": float(np.bincount(y).max() / len(y)),
        "torch": torch.__version__, "machine": f"{platform.machine()}, {torch.get_num_threads()} threads", "starts": [],
    }  # fmt: skip
    ledger = Ledger(__file__, **parts)
    kept = ledger.kept
    done = {(start["network"], start["weights"], start["size"]) for start in kept["starts"]}
    for (network, weights), sizes in CANDIDATES.items():
        for size in sizes:
            if (network, weights, size) not in done:
                starts = measure(network, weights, size)
                kept["starts"] += starts
                ledger.write()
                best = max(starts, key=lambda start: start["accuracy"].value)
                print(f"{network} {weights} {size} px: best tap {best['stage']} {best['accuracy']:.3f}", flush=True)


if __name__ == "__main__":
    main()
