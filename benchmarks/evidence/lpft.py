"""Probe first, then fine-tune: what that keeps of the features, in and out of distribution.

    python benchmarks/evidence/lpft.py

The claim (Kumar et al. 2022): fine-tuning from a random head distorts pretrained features, so that it is better than a
linear probe in distribution (+2 points) and worse out of it (−7); a probe first, fine-tuning from there (LP-FT), is
better than fine-tuning in both (+1 and +10). Ours: `tiny`, pretrained on printed characters, gets a new random head and
learns handwritten digits. In: other handwritten digits. Out: printed digits in fonts that neither pretraining nor
fine-tuning saw, and the handwritten ones spoilt. Each run has 300 steps of 20 images; LP-FT spends half of them on the
head; "half" is its other half alone, from the random head at the same rate; gradual unfreezing adds a stage after 50,
100 and 150; layer decay halves the rate from stage to stage. Two ways with BatchNorm: "frozen" keeps the pretrained
statistics, "moving" is what `model.train()` does: all of them become those of the training images. Rates: the best in
distribution of five on three seeds that do not come back. 20 seeds: split, draw, pretraining, head, order.

runs["full frozen 20 0"], that is strategy, statistics, labels a class and seed, is {"in": accuracy, "printed": …,
"noise": …, "blur": …, "fade": …, "dark": …, "rate": of the (last) fit, "moved": {stage: ‖w′ − w‖ / ‖w‖},
"features": {"in": ‖f′ − f‖ / ‖f‖, "printed": …}}, f what the head reads. runs["choosing full frozen 20 0.01"] has the
rate in place of the seed, and of each accuracy a list, one a seed.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from ledger import DIGITS, Runs, moved, points, pretrained
from shifts import STATISTICS, accuracy, fit, printed_digits, spoilt, take_statistics

import sftlab as sft
from sftlab.data import Data, Split, blur, darken, fade, noise

SPOILT = {"noise": noise(0.3), "blur": blur(0.8), "fade": fade(0.5), "dark": darken(0.7)}
PLACES = ("in", "printed", *SPOILT)
SEEDS, CHOOSING, RATES = range(20), range(100, 103), (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
EPOCHS, IMAGES, BATCH, DECAY = 6, 1000, 20, 0.5
LABELS, MAIN = (5, 20, 50), 20
ALWAYS, ONCE = ("probe", "full", "lpft"), ("half", "decay", "gradual")
CELLS = [
    (strategy, statistics, labels)
    for labels in LABELS
    for strategy in (*ALWAYS, *ONCE * (labels == MAIN))
    for statistics in STATISTICS
] + [("scratch", "moving", MAIN)]  # a network without a past has no statistics to keep


@cache
def world(seed: int) -> tuple[Any, Data, dict[str, Split]]:
    """Return the pretrained network, handwritten digits, and {place: images to measure at}."""
    net, source = pretrained(seed)
    data = sft.load("digits", valid=0.4, test=0.2, seed=seed)
    places = {"in": data.valid, "printed": printed_digits(source.valid, data.classes)}
    return net, data, places | {name: spoilt(data.valid, how, seed) for name, how in SPOILT.items()}


def tuned(strategy: str, statistics: str, labels: int, seed: int, rate: float, probe: float) -> Any:
    """Return a fine-tuned copy; probe: the rate of LP-FT's first half."""
    start, data, _ = world(seed)
    data = replace(data, train=sft.labels.draw(data.train, labels, seed))
    if strategy == "scratch":
        start = sft.backbone("tiny", weights=None, seed=1000 + seed)
    net = sft.replace_head(start, data.classes, seed=seed)
    if statistics == "moving":
        take_statistics(net, data.train)

    def go(profile: dict[str, float], epochs: int) -> None:
        batchnorm = "train" if statistics == "moving" else "frozen"
        fit(net, data, profile, epochs, IMAGES, seed, batch_size=BATCH, batchnorm=batchnorm)

    if strategy == "probe":
        go(sft.linear_probe(net, rate), EPOCHS)
    elif strategy in ("lpft", "half"):
        if strategy == "lpft":
            go(sft.linear_probe(net, probe), EPOCHS // 2)
        go(sft.full(net, rate), EPOCHS - EPOCHS // 2)
    elif strategy == "decay":
        go(sft.layer_decay(net, rate, DECAY), EPOCHS)
    elif strategy == "gradual":
        for k in range(3):
            go(sft.last_k(net, k, rate), 1)
        go(sft.full(net, rate), EPOCHS - 3)
    else:
        go(sft.full(net, rate), EPOCHS)
    return net


def far(before: Any, after: Any, split: Split) -> float:
    """Return how far the features of these images moved, as a share of their own length."""
    x = split.inputs(np.arange(len(split)))
    with torch.no_grad():
        old, new = (net.eval()[:-1](x) for net in (before, after))
    return float((new - old).norm() / old.norm())


def run(strategy: str, statistics: str, labels: int, seed: int, rate: float, probe: float) -> dict[str, Any]:
    """Return what one run leaves: accuracy by place, and how far weights and features moved."""
    net = tuned(strategy, statistics, labels, seed, rate, probe)
    before, _, places = world(seed)
    found = {name: accuracy(net, split) for name, split in places.items()} | {"rate": rate}
    if strategy == "scratch":
        return found
    far_moved = {stage: share for stage, share in moved(before, net).items() if stage != "head"}
    return found | {
        "moved": far_moved,
        "features": {name: far(before, net, places[name]) for name in ("in", "printed")},
    }


def tried(cell: tuple[str, str, int], rate: float, probe: float) -> dict[str, Any]:
    """Return {place: an accuracy a choosing seed}."""
    runs = [run(*cell, seed, rate, probe) for seed in CHOOSING]
    return {place: [one[place] for one in runs] for place in PLACES}


def table(found: dict[tuple[str, str, int], list[dict[str, Any]]], labels: int) -> None:
    """Print accuracies, then differences in pairs, of the runs with so many labels."""
    cells = [cell for cell in found if cell[2] == labels]
    print(f"\n| {labels} labels a class | rate | {' | '.join(PLACES)} | features moved, in | printed |")
    print("|---" * (len(PLACES) + 4) + "|")
    for cell in cells:
        runs = found[cell]
        told = [points([r[place] for r in runs], DIGITS) for place in PLACES]
        for place in PLACES[:2]:
            told.append(f"{np.mean([r['features'][place] for r in runs]):.2f}" if "features" in runs[0] else "–")
        print(f"| {cell[0]}, {cell[1]} | {runs[0]['rate']:g} | {' | '.join(told)} |")
    rivals = [("full", "probe"), ("lpft", "probe"), ("lpft", "half"), *((s, "full") for s in ("lpft", *ONCE[1:]))]
    pairs = [((a, s, labels), (b, s, labels)) for s in STATISTICS for a, b in rivals]
    pairs += [((s, "moving", labels), (s, "frozen", labels)) for s in (*ALWAYS, *ONCE)]
    for a, b in pairs:
        if a in found and b in found:
            both = list(zip(found[a], found[b], strict=True))
            told = [f"{place} {points([x[place] - y[place] for x, y in both], DIGITS, '+')}" for place in PLACES]
            print(f"{a[0]}, {a[1]} minus {b[0]}, {b[1]}: {', '.join(told)}")


def main() -> None:
    ledger, rates, found = Runs(__file__), dict[tuple[str, str, int], float](), {}
    for cell in CELLS:
        name, probe, scores = " ".join(map(str, cell)), rates.get(("probe", *cell[1:]), 0.0), {}
        for rate in RATES if cell[0] != "half" else ():
            kept = ledger.run(f"choosing {name} {rate:g}", lambda c=cell, r=rate, p=probe: tried(c, r, p))
            scores[rate] = np.mean(kept["in"])
        rate = rates[cell] = max(scores, key=scores.__getitem__) if scores else rates["lpft", *cell[1:]]
        found[cell] = [
            ledger.run(f"{name} {seed}", lambda c=cell, s=seed, r=rate, p=probe: run(*c, s, r, p)) for seed in SEEDS
        ]
    for labels in LABELS:
        table(found, labels)


if __name__ == "__main__":
    main()
