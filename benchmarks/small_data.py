"""Does it learn, or remember? What little data does, and what each remedy buys; lesson 07's records, `small_data.json`.

    python benchmarks/small_data.py

Digits: `tiny` from a random start, and pretrained on printed characters, learns handwritten digits from 1 to 50 labels
a class; then, with 5, each remedy is added. 20 seeds: split, draw of the labels, pretraining, start, order of batches.
Rates and strengths are chosen on three seeds that do not come back. Every run leaves [accuracy on its training images,
accuracy on validation images, loss there]. Cells: a probe on EfficientNet-Lite0 sees squares cut out of its training
images, ever smaller ones; 5 splits. Twelve minutes on two cores. Resumable: a seed that is there is not run again.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from evidence.ledger import DIGITS, Ledger

import sftlab as sft
from sftlab.core import statistics
from sftlab.core.loop import validate
from sftlab.data import rotate, shift

LABELS, FEW = (1, 2, 5, 10, 20, 50), 5
SEEDS, CHOOSING, CELL_SEEDS = range(20), range(100, 103), range(5)
RATES, STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2), (0.3, 1.0, 3.0, 10.0)
ANGLES = (0, 15, 30, 45, 90, 135, 180)
CROPS, CROP_LABELS, CROP_SIZE, VIEWS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98), 100, 96, 4
STARTS = ("pretrained", "from scratch")


def zoom(strength: float) -> sft.data.Augment:
    """Return an augmentation that keeps a square of each image, 1 − strength of its area, anywhere, enlarged again."""
    edge = math.sqrt(1 - strength)  # of the square, where the image's is 1

    def zoomed(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        move = (1 - edge) * (2 * torch.rand(2, len(x), generator=generator) - 1)
        scale, none = torch.full((len(x),), edge), torch.zeros(len(x))
        maps = torch.stack([scale, none, move[0], none, scale, move[1]], dim=1).view(-1, 2, 3)
        grid = torch.nn.functional.affine_grid(maps, list(x.shape), align_corners=False)
        seen = torch.nn.functional.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
        return seen.round().clamp(0, 255).to(torch.uint8)

    return zoomed


def digits(seed: int) -> sft.data.Data:
    """Return handwritten digits of 8×8 pixels, split by this seed."""
    return sft.load("digits", valid=0.4, test=0.2, seed=seed)


def start(kind: str, seed: int, width: int = 8) -> Any:
    """Return the network that the runs of one seed start from."""
    if kind == "from scratch":
        return sft.backbone("tiny", weights=None, seed=1000 + seed, width=width)
    source = sft.load("characters", size=8)
    net = sft.replace_head(sft.backbone("tiny", weights=None, seed=seed, width=width), source.classes, seed=seed)
    how = {"batch_size": 128, "schedule": sft.cosine(), "keep_best": False, "verbose": False, "seed": seed}
    sft.fit(net, source, sft.full(net, 1e-2), epochs=5, **how)
    return net


def tune(
    net: Any, few: sft.data.Split, data: sft.data.Data, rate: float, seed: int, *, probe: bool = False,
    held: sft.data.Split | None = None, **settings: Any,
) -> list[float]:  # fmt: skip
    """Fine-tune a copy on a few labels; return accuracy on them, then accuracy and loss on the validation images.

    held: labelled images that choose the epoch; without them the last one is taken.
    """
    net = sft.replace_head(net, data.classes, seed=seed)
    again = few.subset(np.tile(np.arange(len(few)), -(-200 // len(few))))  # an epoch is at least 13 steps
    watched = data.valid.subset(range(8)) if held is None else held  # the loop looks at them after every epoch
    common = {"batch_size": 16, "schedule": sft.cosine(), "verbose": False, "seed": seed, "cached": probe}
    sft.fit(
        net, replace(data, train=again, valid=watched), (sft.linear_probe if probe else sft.full)(net, rate), epochs=20,
        keep_best=held is not None, **common | settings,
    )  # fmt: skip
    known, new = (validate(net, part.batches(512), sft.cross_entropy) for part in (few, data.valid))
    return [known[1], new[1], new[0]]


def remedies(strengths: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Return what `fit` is told for each remedy that is a setting."""
    return {
        "shift by a pixel": {"augment": shift(1)},
        "turn by 15°": {"augment": rotate(15)},
        "decay to zero": {"weight_decay": strengths["decay to zero"]},
        "decay to the start": {"optimizer": sft.l2_sp(strengths["decay to the start"])},
        "smoothing 0.1": {"loss": smoothed},
    }


def smoothed(logits: Any, targets: Any) -> Any:
    """Return the cross-entropy against labels of which a tenth is spread over all classes."""
    return sft.cross_entropy(logits, targets, smoothing=0.1)


def choose() -> dict[str, dict[str, float]]:
    """Return {start: {what: rate or strength}}, the best on the validation images of seeds that do not come back."""
    worlds = [(seed, digits(seed), {kind: start(kind, seed) for kind in STARTS}) for seed in CHOOSING]

    def best(kind: str, values: tuple[float, ...], run: Any) -> float:
        def mean(value: float) -> float:
            few = {seed: sft.labels.draw(data.train, FEW, seed) for seed, data, _ in worlds}
            found = [run(value, nets[kind], few[seed], data, seed) for seed, data, nets in worlds]
            return float(np.mean([accuracy for _, accuracy, _ in found]))

        return max(values, key=mean)

    chosen = {}
    for kind in STARTS:
        rate = best(kind, RATES, lambda r, net, few, data, seed: tune(net, few, data, r, seed))
        chosen[kind] = {"rate": rate}
        for name in ("decay to zero", "decay to the start"):

            def decayed(value: float, net: Any, few: Any, data: Any, seed: int, at: Any = (name, rate)) -> list[float]:
                settings = remedies(dict.fromkeys(("decay to zero", "decay to the start"), value))[at[0]]
                return tune(net, few, data, at[1], seed, **settings)

            chosen[kind][name] = best(kind, STRENGTHS, decayed)
    chosen["probe"] = {
        "rate": best("pretrained", RATES, lambda r, net, few, data, seed: tune(net, few, data, r, seed, probe=True))
    }
    return chosen


def run(seed: int, chosen: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return what one seed found: {"curves": {method: {labels: triple}}, "remedies": {start: {remedy: triple}}, …}."""
    data, found = digits(seed), {"curves": {}, "remedies": {}, "turns": {}}
    nets = {kind: start(kind, seed) for kind in STARTS}
    sets = {n: sft.labels.draw(data.train, n, seed) for n in LABELS}
    for kind, net in nets.items():
        rate, few = chosen[kind]["rate"], sets[FEW]
        found["curves"][kind] = {n: tune(net, few_, data, rate, seed) for n, few_ in sets.items()}
        added = {name: tune(net, few, data, rate, seed, **how) for name, how in remedies(chosen[kind]).items()}
        held = few.subset(range(0, len(few), FEW))  # one label of each class
        rest = few.subset([i for i in range(len(few)) if i % FEW])
        added["early stopping"] = tune(net, rest, data, rate, seed, held=held)
        added["four times as wide"] = tune(start(kind, seed, width=32), few, data, rate, seed)
        found["remedies"][kind] = added
        found["turns"][kind] = {a: tune(net, few, data, rate, seed, augment=rotate(a)) for a in ANGLES}
    rate = chosen["probe"]["rate"]
    found["curves"]["probe"] = {
        n: tune(nets["pretrained"], few, data, rate, seed, probe=True) for n, few in sets.items()
    }
    return found


def cells(seed: int) -> dict[str, Any]:
    """Return {strength: [train accuracy, validation accuracy]} of a probe that sees cut-out squares of solar cells."""
    data = sft.load("solar", size=CROP_SIZE, per_class=CROP_LABELS, seed=seed)
    few = int(data.valid.y.bincount().min())  # as many of each class, as in train
    data, found = replace(data, valid=sft.labels.draw(data.valid, few, seed)), {}
    for strength in CROPS:
        net = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes, seed=seed)
        how = {"augment": zoom(strength), "views": VIEWS} if strength else {}
        probe = sft.linear_probe(net, 3e-3)
        sft.fit(net, data, probe, 40, keep_best=False, schedule=sft.cosine(), verbose=False, seed=seed, **how)
        parts = (data.train, data.valid)
        found[f"{strength:g}"] = [validate(net, p.batches(128), sft.cross_entropy)[1] for p in parts]
    return found


def main() -> None:
    ledger = Ledger(__file__, chosen={}, digits={}, cells={})
    kept = ledger.kept
    if not kept["chosen"]:
        kept["chosen"] = choose()
        ledger.write()
    for part, seeds, work in (("digits", SEEDS, lambda s: run(s, kept["chosen"])), ("cells", CELL_SEEDS, cells)):
        for seed in seeds:
            ledger.once(kept[part], str(seed), lambda s=seed, work=work: work(s))
    print(kept["chosen"])
    seen = list(kept["digits"].values())
    for method in seen[0]["curves"]:
        means = {
            n: statistics.t_interval([s["curves"][method][n][1] for s in seen], test_to_train=DIGITS)
            for n in seen[0]["curves"][method]
        }
        print(f"{method:14s}", "  ".join(f"{n}: {m:.3f}" for n, m in means.items()))
    for kind in STARTS:
        for name in seen[0]["remedies"][kind]:
            pairs = [100 * (s["remedies"][kind][name][1] - s["curves"][kind][str(FEW)][1]) for s in seen]
            print(f"{kind:14s} {name:20s} {statistics.t_interval(pairs, test_to_train=DIGITS):+.1f} points")
        turned = {a: float(np.mean([s["turns"][kind][a][1] for s in seen])) for a in seen[0]["turns"][kind]}
        print(f"{kind:14s} turned by up to", "  ".join(f"{a}: {value:.3f}" for a, value in turned.items()))
    crops = list(kept["cells"].values())
    for strength in crops[0]:
        train, valid = np.mean([c[strength] for c in crops], axis=0)
        print(f"cells, {float(strength):.0%} cut off: train {train:.3f}, valid {valid:.3f}")


if __name__ == "__main__":
    main()
