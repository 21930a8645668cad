"""Does fine-tuning make the network better, or only narrower?

The runs of `further/shift`, kept in `shift.json`.

    python benchmarks/shift.py

400 solar cells of one type are learned from, by EfficientNet-Lite0 at 96 pixels. *Home*: up to 400 other cells of that
type, of the same modules. *Away*: 400 cells of the other type, and home under four corruptions. Both directions, 5
seeds (split, draw, new head, order). No test image is used. Of each strategy: accuracy, area under the ROC curve, what
knowing the class shares, 20 labelled cells from away (50 draws) and the best of all thresholds make of the accuracy;
how far each stage moved; and to how many squares of two photographs the old head on the new backbone still gives its
old answer. The rate of full fine-tuning is chosen at home, on seeds that do not come back; LP-FT takes it too, layer
decay begins at three times as much. BatchNorm statistics are frozen, but for the runs that say "moving". Resumable: a
run that is there is not made again. An hour on one thread of a busy machine.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from evidence.ledger import Runs, interpolate, moved, points
from sklearn.metrics import roc_auc_score

import sftlab as sft
from sftlab.analysis import decisions
from sftlab.core.evaluation import predict_split
from sftlab.data import View, blur, darken, fade, noise

TYPES, SIZE, IMAGES, EPOCHS = ("mono", "poly"), 96, 400, 5
SEEDS, CHOOSING, RATES = range(5), range(100, 102), (1e-5, 1e-4, 3e-4, 1e-3, 3e-3)
FADING = (1e-5, 1e-4, 1.4e-4, 2e-4, 3e-4, 1e-3, 3e-3)  # rates at which the old head is asked about two squares
CORRUPTIONS = {"noise": noise(0.1), "blur": blur(1.5), "dark": darken(0.5), "faded": fade(0.5)}
SHARES = tuple(k / 10 for k in range(11))  # of the way from the probe to the end of LP-FT
FEW, DRAWS = 20, 50  # labelled cells from away, and how often they are drawn
SQUARES = 13, 123  # of `photo_crops(128)`: a palace and a daisy, of which it was sure
HOW = {"keep_best": False, "verbose": False, "cached": False, "schedule": sft.cosine()}


def world(home: str, seed: int) -> sft.data.DomainSplit:
    """Return the home data (valid is home's measure), cells of the other type, and those that 20 are drawn from."""
    both = sft.load("solar-random", size=SIZE, target="both", seed=seed)
    return sft.data.domain_split(both, "defect", by="type", source=home, n=IMAGES, seed=seed)


def strategies(rate: float) -> dict[str, Callable[[Any, sft.data.Data, int], Any]]:
    """Return {name: a function of (new network, data, seed) that trains the network}."""

    def one(profile: Any, epochs: int = EPOCHS, batchnorm: str = "frozen", **more: Any) -> Callable[..., None]:
        def trained(net: Any, data: Any, seed: int) -> None:
            glance = replace(data, valid=data.valid.subset(range(8)))  # the loop looks after every epoch, we once
            sft.fit(net, glance, profile(net), epochs, batchnorm=batchnorm, seed=seed, **HOW | more)

        return trained

    def two(batchnorm: str) -> Callable[..., None]:
        def trained(net: Any, data: Any, seed: int) -> None:
            probe(net, data, seed)
            one(lambda m: sft.full(m, rate), batchnorm=batchnorm)(net, data, seed)

        return trained

    probe = one(lambda m: sft.linear_probe(m, 3e-3), 20, cached=True)
    return {
        "from scratch": one(lambda m: sft.full(m, 1e-3), 2 * EPOCHS, "train"),
        "linear probe": probe,
        "layer decay": one(lambda m: sft.layer_decay(m, 3 * rate, 0.7)),
        "full": one(lambda m: sft.full(m, rate)),
        "full, moving": one(lambda m: sft.full(m, rate), batchnorm="train"),
        "LP-FT": two("frozen"),
        "LP-FT, moving": two("train"),
    }


def scored(net: Any, split: Any, y: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Return accuracy and area under the ROC curve, and the probabilities of a defect."""
    p = predict_split(net, split)[:, 1]
    return {"accuracy": float(((p >= 0.5) == y).mean()), "auc": float(roc_auc_score(y, p))}, p


def repaired(net: Any, p: np.ndarray, y: np.ndarray, pool: sft.data.Split, prior: float, seed: int) -> dict[str, float]:
    """Return the accuracy away that each repair of the answers leaves; not a weight is changed."""
    rng = np.random.default_rng(seed)
    q, labels = predict_split(net, pool)[:, 1], pool.y.numpy()
    drawn = [rng.choice(len(labels), FEW, replace=False) for _ in range(DRAWS)]
    chosen = [((p >= decisions.cost_threshold(q[rows], labels[rows])) == y).mean() for rows in drawn]
    yes, no = p * y.mean() / prior, (1 - p) * (1 - y.mean()) / (1 - prior)
    known = yes / (yes + no)  # in a world with other class shares than the training images (Saerens et al., 2002)
    best = ((p >= decisions.cost_threshold(p, y)) == y).mean()
    return {"shares known": float(((known >= 0.5) == y).mean()), "20 labels": float(np.mean(chosen)),
            "best threshold": float(best)}  # fmt: skip


def measured(net: Any, worlds: tuple, seed: int, spoilt: bool = True) -> dict[str, Any]:
    """Return all numbers of one finished network."""
    data, away, pool = worlds
    y_home, y_away, lite = data.valid.y.numpy(), away.y.numpy(), sft.backbone("efficientnet_lite0")
    there, p = scored(net, away, y_away)
    out: dict[str, Any] = {
        "home": scored(net, data.valid, y_home)[0],
        "away": there | repaired(net, p, y_away, pool, float(data.train.y.float().mean()), seed),
        "majority": {"home": max(y_home.mean(), 1 - y_home.mean()), "away": max(y_away.mean(), 1 - y_away.mean())},
        "moved": moved(lite, net),
        "kept": kept(net, lite),
    }
    for name, corruption in CORRUPTIONS.items() if spoilt else ():
        out[name] = scored(net, View(data.valid, corruption, seed, 1), y_home)[0]
    return out


def kept(net: Any, lite: Any) -> float:
    """Return the share of squares of two photographs to which the old head, put back, gives its old answer."""
    photos, old = sft.analysis.photo_crops(128), type(net)(*net[:-1], lite.head)
    return float((sft.analysis.answers(old, photos) == sft.analysis.answers(lite, photos)).float().mean())


def start(data: sft.data.Data, seed: int, weights: str | None = "default") -> Any:
    """Return EfficientNet-Lite0 with a new head."""
    return sft.replace_head(sft.backbone("efficientnet_lite0", weights, seed=seed), data.classes, seed=seed)


def run(home: str, seed: int, name: str, rate: float) -> dict[str, Any]:
    """Train by one strategy; return its numbers."""
    worlds = world(home, seed)
    net = start(worlds[0], seed, None if name == "from scratch" else "default")
    strategies(rate)[name](net, worlds[0], seed)
    return measured(net, worlds, seed)


def line(home: str, seed: int, rate: float) -> dict[str, Any]:
    """Return the networks between probe and LP-FT: both accuracies and areas at each share of the way."""
    data, away, _ = worlds = world(home, seed)
    probe = start(data, seed)
    strategies(rate)["linear probe"](probe, data, seed)
    tuned = start(data, seed)
    strategies(rate)["LP-FT"](tuned, data, seed)
    found = {}
    for share in SHARES:
        net = interpolate(probe, tuned, share)
        if share == 0.5:
            half = measured(net, worlds, seed)
        found[f"{share:g}"] = {
            "home": scored(net, data.valid, data.valid.y.numpy())[0], "away": scored(net, away, away.y.numpy())[0]
        }  # fmt: skip
    return {"line": found, "half": half}


def fading(home: str, rate: float) -> dict[str, Any]:
    """Return what the old head still says of two squares after LP-FT at this rate: {class: probability} for each."""
    worlds = world(home, 0)
    net, lite = start(worlds[0], 0), sft.backbone("efficientnet_lite0")
    strategies(rate)["LP-FT"](net, worlds[0], 0)
    squares, names = sft.analysis.photo_crops(128)[list(SQUARES)], sft.imagenet_classes()
    old = type(net)(*net[:-1], lite.head)
    with torch.no_grad(), sft.evaluating(lite), sft.evaluating(old):
        before, now = (one(squares).softmax(dim=1) for one in (lite, old))
    told = [{names[k]: float(q[k]) for k in p.topk(3).indices.tolist()} for p, q in zip(before, now, strict=True)]
    return {"told": told, **measured(net, worlds, 0, spoilt=False)}


def main() -> None:
    ledger = Runs(__file__)

    def tried(home: str, seed: int, rate: float) -> dict[str, Any]:
        worlds = world(home, seed)
        net = start(worlds[0], seed)
        strategies(rate)["full"](net, worlds[0], seed)
        return measured(net, worlds, seed, spoilt=False)

    rates = {
        rate: [ledger.run(f"rate {rate:g} {home} {seed}", lambda h=home, s=seed, r=rate: tried(h, s, r))
               for home in TYPES for seed in CHOOSING]
        for rate in RATES
    }  # fmt: skip
    rate = max(rates, key=lambda r: np.mean([one["home"]["auc"] for one in rates[r]]))
    print(f"rate {rate:g}")
    for seed in SEEDS:
        for home in TYPES:
            for name in strategies(rate):
                ledger.run(f"{name} {home} {seed}", lambda h=home, s=seed, n=name: run(h, s, n, rate))
            ledger.run(f"line {home} {seed}", lambda h=home, s=seed: line(h, s, rate))
    for home in TYPES:
        for each in FADING:
            ledger.run(f"fading {each:g} {home}", lambda h=home, r=each: fading(h, r))
    report(ledger.kept["runs"], list(strategies(rate)))


def report(runs: dict[str, Any], names: list[str]) -> None:
    """Print a table for each direction, and differences of areas under the ROC curve in pairs."""
    columns = [("home", "accuracy"), ("home", "auc"), ("away", "accuracy"), ("away", "20 labels"), ("away", "auc")]
    for home in TYPES:
        found = {name: [runs[f"{name} {home} {seed}"] for seed in SEEDS] for name in names}
        found["mean of both"] = [runs[f"line {home} {seed}"]["half"] for seed in SEEDS]
        print(f"\n| learned from {home} | {' | '.join(' '.join(column) for column in columns)} | kept |")
        print("|---" * (len(columns) + 2) + "|")
        for name, splits in found.items():
            values = [[split[place][measure] for split in splits] for place, measure in columns]
            told = [points(one, 1.0) for one in [*values, [split["kept"] for split in splits]]]
            print(f"| {name} | {' | '.join(told)} |")
        for a, b in (("full", "linear probe"), ("LP-FT", "linear probe"), ("LP-FT", "full"), ("layer decay", "full"),
                     ("mean of both", "LP-FT"), ("full, moving", "full"), ("LP-FT, moving", "LP-FT")):  # fmt: skip
            told = []
            for place in ("home", "away", *CORRUPTIONS):
                pairs = zip(found[a], found[b], strict=True)
                told.append(f"{place} {points([x[place]['auc'] - y[place]['auc'] for x, y in pairs], 1.0, '+')}")
            print(f"{a} minus {b}, AUC: {', '.join(told)}")


if __name__ == "__main__":
    main()
