"""Surgical fine-tuning: with few labels, which block to tune is a question of what has shifted.

    python benchmarks/evidence/surgical.py

The claim (Lee et al. 2023): tuning one block is better than tuning all, the first where the input has shifted, a middle
one where features have, the last where labels have. Ours: all stages of `tiny` learn 719 clean handwritten digits from
a random start. Then come 5 labels a class of something else, images that it never saw:
  input    noise, blur, fade, invert: the digits, spoilt
  feature  printed: digits in print, measured in fonts that no label has; loops: a network that told 0 and 6 from 1, 2
           and 3, with a loop or without one, meets 8 and 9, and 5 and 7: old answers, new kinds of each
  output   flipped: every digit d is now called 9 − d, as in the paper
"none" tunes nothing, "statistics" takes the BatchNorm statistics of the labelled images and moves no weight; then one
stage alone, or "full", all of them. 150 steps of 10 images. A stage has the source's statistics, as in the published
configuration; "moving" has those of the target in all stages, as under `model.train()`. Rates: for each shift, stage
and way the best of seven on three seeds that do not come back. 20 seeds: split, source network, draw, order.

runs["noise stem 0"], that is shift, what is tuned and seed, is {"accuracy": …, "rate": …}; with the statistics of the
target it is runs["noise stem moving 0"]; what needs no rate has none: runs["noise none 0"], runs["noise statistics 0"].
runs["choosing noise stem 0.01"]["accuracy"] is a list, one a choosing seed.
"""

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from ledger import DIGITS, Runs, points
from shifts import STATISTICS, accuracy, fit, spoilt, take_statistics

import sftlab as sft
from sftlab.data import Data, Split, blur, fade, noise

SPOILT = {"noise": noise(0.4), "blur": blur(1.2), "fade": fade(0.8), "invert": lambda x, _: 255 - x}
SHIFTS = (*SPOILT, "printed", "loops", "flipped")
BLOCKS = ("stem", "layer1", "layer2", "head", "full")
WAYS = [(block, statistics) for statistics in STATISTICS for block in BLOCKS]
SEEDS, CHOOSING, RATES = range(20), range(100, 103), (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
LABELS, EPOCHS, IMAGES, BATCH = 5, 3, 500, 10
LOOPS, OLD, NEW = {0: 1, 6: 1, 8: 1, 9: 1, 1: 0, 2: 0, 3: 0, 5: 0, 7: 0}, (0, 6, 1, 2, 3), (8, 9, 5, 7)


def kinds(split: Split, digits: tuple[int, ...]) -> Split:
    """Return the images of these digits, to be told apart by whether they have a loop."""
    loop = torch.tensor([LOOPS.get(digit, -1) for digit in range(10)])
    rows = np.flatnonzero(np.isin(split.y.numpy(), digits))
    return replace(split.subset(rows), targets=loop[split.targets], classes=["no loop", "loop"])


@cache
def source(seed: int, loops: bool = False) -> tuple[Any, Data]:
    """Return a network that learnt clean handwritten digits (or loops), and these."""
    data = sft.load("digits", valid=0.4, test=0.2, seed=seed)
    learnt = replace(data, train=kinds(data.train, OLD)) if loops else data
    net = sft.replace_head(sft.backbone("tiny", weights=None, seed=seed), learnt.classes, seed=seed)
    fit(net, learnt, sft.full(net, 1e-2), 20, len(learnt.train), seed)
    return net, data


@cache
def world(shift: str, seed: int) -> tuple[Any, Data]:
    """Return the source's network and the target: few labels in train, the other images in valid."""
    net, data = source(seed, shift == "loops")
    if shift == "printed":
        data = sft.load("characters", alphabet="digits", size=8, seed=seed)  # its valid images are of other fonts
        return net, replace(data, train=sft.labels.draw(data.train, LABELS, seed))
    seen = data.valid  # images that the source never saw
    if shift in SPOILT:
        seen = spoilt(seen, SPOILT[shift], seed)
    elif shift == "flipped":
        seen = replace(seen, targets=9 - seen.targets)
    else:
        seen = kinds(seen, NEW)
    few = sft.labels.draw(seen, LABELS, seed)
    return net, replace(data, train=few, valid=replace(seen, index=np.setdiff1d(seen.index, few.index)))


def run(shift: str, block: str, statistics: str, seed: int, rate: float) -> dict[str, Any]:
    """Return {"accuracy": …} of one run at the target."""
    start, data = world(shift, seed)
    net = copy.deepcopy(start)
    if statistics == "moving":
        take_statistics(net, data.train)
    if block not in BLOCKS:
        return {"accuracy": accuracy(net, data.valid)}
    profile = sft.full(net, rate) if block == "full" else sft.surgical(net, block, rate)
    batchnorm = "train" if statistics == "moving" else "frozen"
    fit(net, data, profile, EPOCHS, IMAGES, seed, batch_size=BATCH, batchnorm=batchnorm)
    return {"accuracy": accuracy(net, data.valid), "rate": rate}


def told(block: str, statistics: str) -> str:
    """Return what is tuned, as the runs are named."""
    return f"{block} moving" if statistics == "moving" else block


def main() -> None:
    ledger, found = Runs(__file__), dict[tuple[str, str], np.ndarray]()

    def reported(shift: str, name: str, block: str, statistics: str, rate: float) -> None:
        runs = [
            ledger.run(f"{shift} {name} {seed}", lambda s=seed: run(shift, block, statistics, s, rate))
            for seed in SEEDS
        ]
        found[shift, name] = np.array([one["accuracy"] for one in runs])

    for shift in SHIFTS:
        for name, statistics in (("none", "frozen"), ("statistics", "moving")):
            reported(shift, name, name, statistics, 0)
        for block, statistics in WAYS:
            name, scores = told(block, statistics), {}
            for rate in RATES:

                def tried(at: Any = (shift, block, statistics), rate: float = rate) -> dict[str, Any]:
                    return {"accuracy": [run(*at, seed, rate)["accuracy"] for seed in CHOOSING]}

                scores[rate] = np.mean(ledger.run(f"choosing {shift} {name} {rate:g}", tried)["accuracy"])
            reported(shift, name, block, statistics, max(scores, key=scores.__getitem__))
    names = ["none", "statistics", *(told(*way) for way in WAYS)]
    print(f"| | {' | '.join(SHIFTS)} |")
    print("|---" * (len(SHIFTS) + 1) + "|")
    for name in names:
        print(f"| {name} | {' | '.join(points(found[shift, name], DIGITS) for shift in SHIFTS)} |")
    print("\nminus full of the same statistics, in pairs:")
    for block, statistics in WAYS:
        if block != "full":
            pairs = [found[s, told(block, statistics)] - found[s, told("full", statistics)] for s in SHIFTS]
            print(f"| {told(block, statistics)} | {' | '.join(points(pair, DIGITS, '+') for pair in pairs)} |")


if __name__ == "__main__":
    main()
