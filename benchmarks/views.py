"""What kept views cost in accuracy and save in time, against augmentation drawn anew at each step.

`python benchmarks/views.py` (about ten minutes on two cores) writes views.json and prints the table.
"""

import time

import numpy as np
import torch
from evidence.ledger import Ledger

import sftlab as sft
from sftlab.core.statistics import t_interval
from sftlab.data import turn
from sftlab.data.storage import clear_features


def turned_and_lit(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn each image into one of its eight symmetric views, and scale its brightness by 0.85 to 1.15."""
    x = turn(x, generator)
    factor = 1 + 0.15 * (2 * torch.rand(len(x), 1, 1, 1, generator=generator) - 1)
    return (x * factor).round().clamp(0, 255).to(torch.uint8)


VARIANTS = {"none": {}, "fresh": {"augment": turned_and_lit}} | {
    f"{v} views": {"augment": turned_and_lit, "views": v} for v in (1, 2, 4, 10)
}
SEEDS, EPOCHS = range(5), 10


def run(seed: int, settings: dict) -> dict:
    """Fine-tune the last two stages and the head on one split; time it from images to weights."""
    data = sft.load("solar", size=128, per_class=300, seed=seed)
    model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes, seed=seed)
    clear_features()
    clock = time.perf_counter()
    sft.fit(
        model, data, sft.last_k(model, 2, lr=3e-4), EPOCHS, seed=seed, batchnorm="frozen", keep_best=False,
        schedule=sft.warmup_cosine(0.1), verbose=False, **settings,
    )  # fmt: skip
    seconds = time.perf_counter() - clock
    return {"seconds": seconds, "accuracy": sft.evaluate(model, data.test).accuracy.value}


def main() -> None:
    ledger = Ledger(__file__)
    runs = ledger.kept
    for seed in SEEDS:
        for name, settings in VARIANTS.items():
            ledger.once(runs, f"{name} {seed}", lambda s=seed, how=settings: run(s, how))
    fresh = np.array([runs[f"fresh {s}"]["accuracy"] for s in SEEDS])
    print("\n| augmentation | seconds | mean test accuracy | minus fresh, paired (95 %) |\n|---|---|---|---|")
    for name in VARIANTS:
        mine = [runs[f"{name} {s}"] for s in SEEDS]
        accuracy = np.array([r["accuracy"] for r in mine])
        gap = accuracy - fresh
        beside = "" if name == "fresh" else f"{t_interval(gap, test_to_train=0.25 / 0.6):+.3f}"
        print(f"| {name} | {np.median([r['seconds'] for r in mine]):.1f} | {accuracy.mean():.3f} | {beside} |")


if __name__ == "__main__":
    main()
