"""Should all layers take the same step? The comparisons of lesson 06, over seeds, kept in `layers.json`.

    python benchmarks/layers.py

Digits: a small network learns 0 to 4, then 5 to 9 from ten labels each, by every strategy of the lesson, for 20 seeds
(split, start, order). Solar cells: EfficientNet-Lite0 from 100 labels a class, for 5 seeds. Each strategy leaves pairs
[old, new]: what is left of what the network could do before, and the validation accuracy of what it learned. Five
minutes on two cores. Resumable: a seed whose numbers are there already is not run again.
"""

from collections import OrderedDict

import numpy as np
from evidence.ledger import Ledger
from torch import nn

import sftlab as sft
from sftlab import analysis as explain

DIGIT_SEEDS, CELL_SEEDS = range(20), range(5)
FULL = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def digits(seed):
    """Return (old, new): the digits 0 to 4, and 5 to 9 with ten training images each."""
    from sklearn.datasets import load_digits

    every = load_digits()
    x, y = (every.images * (255 / 16)).round().astype(np.uint8), every.target
    how = {"valid": 0.3, "test": 0.3, "seed": seed}
    old = sft.from_arrays(x[y < 5], y[y < 5], name="0 to 4", **how)
    new = sft.from_arrays(x[y >= 5], [str(k) for k in y[y >= 5]], name="5 to 9", per_class=10, **how)
    return old, new


def pretrained(old, seed):
    """Return a network that knows the digits 0 to 4."""
    source = sft.replace_head(sft.backbone("tiny", seed=seed), old.classes, seed=seed)
    how = {"schedule": sft.cosine(), "augment": sft.data.shift(1), "seed": seed, "verbose": False}
    sft.fit(source, old, sft.full(source, 1e-2), epochs=40, **how)
    return source


def digit_plans(net):
    """Return {strategy: [(profile, epochs), …]}, 20 epochs each."""
    decay = sft.layer_decay(net, 3e-2, 0.2)
    names = list(decay)
    plans = {f"full, {rate:g}": [(sft.full(net, rate), 20)] for rate in FULL}
    plans["linear probe"] = [(sft.linear_probe(net, 1e-2), 20)]
    plans["last stage"] = [(sft.last_k(net, 1, 1e-2), 20)]
    plans["layer decay"] = [(decay, 20)]
    plans["LP-FT"] = [(sft.linear_probe(net, 3e-2), 10), (sft.full(net, 1e-2), 10)]
    plans["gradual unfreezing"] = [
        ({name: decay[name] if name in names[-k:] else 0.0 for name in names}, 5) for k in (1, 2, 3, 4)
    ]
    return plans


def cell_plans(net):
    """Return {strategy: [(profile, epochs), …]}, 4 epochs each besides the probe, whose features are kept."""
    return {
        "linear probe": [(sft.linear_probe(net, 1e-3), 15)],
        "last two stages": [(sft.last_k(net, 2, 1e-4), 4)],
        "full, 1e-4": [(sft.full(net, 1e-4), 4)],
        "full, 1e-3": [(sft.full(net, 1e-3), 4)],
        "layer decay": [(sft.layer_decay(net, 1e-3, 0.5), 4)],
        "LP-FT": [(sft.linear_probe(net, 1e-3), 15), (sft.full(net, 1e-4), 4)],
    }


def trained(source, data, plan, seed, **settings):
    """Return a copy of `source` with a new head, trained by the plan; no epoch is chosen."""
    net = sft.replace_head(source, data.classes, seed=seed)
    common = {"batchnorm": "frozen", "keep_best": False, "verbose": False, "schedule": sft.cosine(), "seed": seed}
    for profile, epochs in plan:
        history = sft.fit(net, data, profile, epochs, **common | settings)
    return net, history.epochs[-1].valid_accuracy


def with_head(net, head):
    """Return `net` with another head: what the old head makes of the new backbone."""
    stages = OrderedDict(net.named_children())
    return nn.Sequential(stages | {"head": head})


def right(net, split):
    """Return the accuracy of `net` on a split."""
    images, targets = split.take(np.arange(len(split)))
    return float((explain.answers(net, images) == targets).float().mean())


def run_digits(seed):
    """Return {strategy: [old, new]} for one seed."""
    old, new = digits(seed)
    source, found = pretrained(old, seed), {}
    for name, plan in digit_plans(sft.replace_head(source, new.classes)).items():
        net, accuracy = trained(source, new, plan, seed, batch_size=16, cached=False)
        found[name] = [right(with_head(net, source.head), old.valid), accuracy]
    blank = sft.backbone("tiny", seed=100 + seed)
    plan = [(sft.full(sft.replace_head(blank, new.classes), 1e-2), 20)]
    net, accuracy = trained(blank, new, plan, seed, batch_size=16, batchnorm="train")  # it has no statistics to keep
    found["from scratch"] = [right(with_head(net, source.head), old.valid), accuracy]
    return found


def run_cells(seed):
    """Return {strategy: [old, new]} for one split; old is the share of unchanged answers to 128 photographs."""
    data = sft.load("solar", size=160, per_class=100, seed=seed)
    source, photos, found = sft.backbone("efficientnet_lite0"), explain.photo_crops(128), {}
    before = explain.answers(source, photos)
    for name, plan in cell_plans(sft.replace_head(source, data.classes)).items():
        net, accuracy = trained(source, data, plan, seed)
        same = explain.answers(with_head(net, source.head), photos) == before
        found[name] = [float(same.float().mean()), accuracy]
        print(f"  {name}: {found[name][0]:.3f} of the old answers, valid accuracy {accuracy:.3f}")
    return found | {"majority": data.valid.majority}


def main() -> None:
    ledger = Ledger(__file__, digits={}, solar={})
    for part, seeds, run in (("digits", DIGIT_SEEDS, run_digits), ("solar", CELL_SEEDS, run_cells)):
        found = [ledger.once(ledger.kept[part], str(seed), lambda s=seed, work=run: work(s)) for seed in seeds]
        for name in found[0]:
            values = np.array([one[name] for one in found])
            print(f"{part:7s} {name:20s}", " ".join(f"{v:.3f}" for v in np.atleast_1d(values.mean(axis=0))))


if __name__ == "__main__":
    main()
