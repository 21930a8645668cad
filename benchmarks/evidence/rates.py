"""Accuracy against learning rate: does it rise, stay and fall, and what moves the curve?

    python benchmarks/evidence/rates.py

The claim: with ResNet-18 on six sets, 1e-6, 1e-5, 1e-4, 1e-3 and 1e-2 end at 30, 77, 92, 92 and 47 % on average
(computervision-recipes, Microsoft, 2020, its study of training from a pretrained network). Ours: all stages of `tiny`,
pretrained on printed characters, learn 20 handwritten digits a class, for 5 seeds (split, draw, pretraining, start,
order), with AdamW and SGD, for few and for many epochs; and all stages of EfficientNet-Lite0 learn solar cells of 96
pixels: 100 a class, measured on unseen modules, BatchNorm statistics moving, 3 splits; and 200 a class, measured on
other cells of the same modules, statistics frozen, 5 splits. As many intact as broken ones are learned and measured.
No epoch is chosen. Accuracy is that of the validation images.
"""

from dataclasses import replace
from typing import Any

from ledger import DIGITS, Runs, pretrained

import sftlab as sft
from sftlab.core.loop import validate
from sftlab.core.statistics import t_interval

RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
CELL_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
DIGIT_SEEDS, CELL_SEEDS, KNOWN_SEEDS = range(5), range(3), range(5)
CELLS = 0.15 / 0.6  # of the cells: measured on, and to learn from
SETTINGS = [(optimizer, epochs) for optimizer in ("adamw", "sgd") for epochs in (5, 20, 80)]


def last(net: Any, data: sft.data.Data, rate: float, epochs: int, seed: int, **settings: Any) -> float:
    """Return the validation accuracy after the last epoch; of a run whose loss was not finite, that of guessing."""
    common = {"schedule": sft.cosine(), "keep_best": False, "verbose": False, "seed": seed, "cached": False}
    glance = replace(data, valid=data.valid.subset(range(8)))  # the loop looks after every epoch, we once
    history = sft.fit(net, glance, sft.full(net, rate), epochs, **common | settings)
    if history.stopped == ["diverged"]:
        return 1 / len(data.classes)
    return validate(net, data.valid.batches(256), sft.cross_entropy)[1]


def digits(seed: int) -> dict[str, Any]:
    """Return {"adamw 5": an accuracy a rate, …} for one seed."""
    start, _ = pretrained(seed)
    data = sft.load("digits", valid=0.4, test=0.2, seed=seed)
    data, found = replace(data, train=sft.labels.draw(data.train, 20, seed)), {}
    for optimizer, epochs in SETTINGS:
        found[f"{optimizer} {epochs}"] = [
            last(sft.replace_head(start, data.classes, seed=seed), data, rate, epochs, seed, optimizer=optimizer)
            for rate in RATES
        ]
    return found


def cells(seed: int, name: str = "solar", per_class: int = 100, batchnorm: str = "train") -> dict[str, Any]:
    """Return an accuracy a rate for one split of the solar cells, as many intact as broken ones to measure with."""
    data = sft.load(name, size=96, per_class=per_class, seed=seed)
    few = int(data.valid.y.bincount().min())
    data, accuracies = replace(data, valid=sft.labels.draw(data.valid, few, seed)), []
    for rate in CELL_RATES:
        net = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes, seed=seed)
        accuracies.append(last(net, data, rate, 5, seed, batchnorm=batchnorm))
    return {"adamw 5": accuracies}


def known(seed: int) -> dict[str, Any]:
    """Return an accuracy a rate for cells of modules that were learned from, statistics frozen."""
    return cells(seed, "solar-random", 200, "frozen")


def row(name: str, rates: tuple[float, ...], runs: list[list[float]], ratio: float) -> None:
    """Print one line of the table: mean and half of the 95 % t-interval over splits, for each rate."""
    told = []
    for k in range(len(rates)):
        found = t_interval([100 * run[k] for run in runs], test_to_train=ratio)
        told.append(f"{found.value:.0f} ± {found.value - found.low:.0f}")
    print(f"| {name} | {' | '.join(told + ['–'] * (len(RATES) - len(rates)))} |")


def main() -> None:
    ledger = Runs(__file__)
    on_digits = [ledger.run(f"digits {seed}", lambda s=seed: digits(s)) for seed in DIGIT_SEEDS]
    on_cells = [ledger.run(f"cells {seed}", lambda s=seed: cells(s)) for seed in CELL_SEEDS]
    on_known = [ledger.run(f"known modules {seed}", lambda s=seed: known(s)) for seed in KNOWN_SEEDS]
    print(f"| | {' | '.join(f'{rate:g}' for rate in RATES)} |")
    print("|---" * (len(RATES) + 1) + "|")
    for optimizer, epochs in SETTINGS:
        name = f"{optimizer} {epochs}"
        row(f"digits, {optimizer}, {epochs} epochs", RATES, [run[name] for run in on_digits], DIGITS)
    row("solar cells, adamw, 5 epochs", CELL_RATES, [run["adamw 5"] for run in on_cells], CELLS)
    row("the same, known modules, statistics frozen", CELL_RATES, [run["adamw 5"] for run in on_known], CELLS)
    middle = CELL_RATES.index(1e-4)
    for end in (0, -1):
        gaps = [100 * (run["adamw 5"][middle] - run["adamw 5"][end]) for run in on_known]
        gain = t_interval(gaps, test_to_train=CELLS)
        print(f"known modules, 1e-4 minus {CELL_RATES[end]:g}: {gain:+.1f} points")


if __name__ == "__main__":
    main()
