"""Weight averaging: the line between a network before and after fine-tuning, measured at both tasks.

    python benchmarks/evidence/averaging.py

The claim (Wortsman et al. 2022, WiSE-FT): between the weights of a zero-shot network and those that fine-tuning made of
them, there is a stretch that keeps most of what was gained on the target and of what was known elsewhere; often one
that is better at both than either end. Ours: `tiny` reads printed characters, its ten digit rows are a zero-shot reader
of handwritten digits; all stages then learn 20 handwritten digits a class. Every weight and every BatchNorm statistic
is averaged, (1 − α) · before + α · after. In: handwritten validation digits. Out: printed digits in unseen fonts.
20 seeds (split, draw, pretraining, order); the rate is the best of three on validation digits of three other seeds.
"""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ledger import DIGITS, Runs, interpolate, points, pretrained

import sftlab as sft
from sftlab.core.loop import validate
from sftlab.core.statistics import t_interval

ALPHAS = tuple(k / 10 for k in range(11))
SEEDS, CHOOSING, RATES = range(20), range(100, 103), (1e-3, 3e-3, 1e-2)


def world(seed: int) -> tuple[Any, sft.data.Data, sft.data.Split]:
    """Return the zero-shot reader, handwritten digits with 20 labels a class, and printed ones in unseen fonts."""
    net, source = pretrained(seed)
    data = sft.load("digits", valid=0.4, test=0.2, seed=seed)
    data = replace(data, train=sft.labels.draw(data.train, 20, seed))
    reader, rows = sft.replace_head(net, data.classes), [source.classes.index(name) for name in data.classes]
    reader.head.load_state_dict({name: w[rows] for name, w in net.head.state_dict().items()})
    printed = np.flatnonzero(np.isin(source.valid.y.numpy(), rows))
    number = torch.full((len(source.classes),), -1)
    number[rows] = torch.arange(len(rows))
    unseen = replace(source.valid.subset(printed), targets=number[source.valid.targets], classes=data.classes)
    return reader, data, unseen


def run(seed: int, rate: float) -> dict[str, Any]:
    """Return {"in": an accuracy an α, "out": the same}."""
    before, data, unseen = world(seed)
    after = copy.deepcopy(before)
    glance = replace(data, valid=data.valid.subset(range(8)))  # the loop looks after every epoch, we once
    how = {"schedule": sft.cosine(), "keep_best": False, "verbose": False, "cached": False, "seed": seed}
    sft.fit(after, glance, sft.full(after, rate), 20, **how)
    line = [interpolate(before, after, alpha) for alpha in ALPHAS]
    return {
        name: [validate(net, split.batches(512), sft.cross_entropy)[1] for net in line]
        for name, split in (("in", data.valid), ("out", unseen))
    }


def main() -> None:
    ledger = Runs(__file__)
    tried = {
        rate: np.mean([ledger.run(f"choosing {rate:g} {s}", lambda s=s, r=rate: run(s, r))["in"][-1] for s in CHOOSING])
        for rate in RATES
    }
    rate = max(tried, key=tried.__getitem__)
    found = [ledger.run(f"{rate:g} {seed}", lambda s=seed: run(s, rate)) for seed in SEEDS]
    print(f"rate {rate:g}")
    print(f"| α | {' | '.join(f'{alpha:g}' for alpha in ALPHAS)} |")
    print("|---" * (len(ALPHAS) + 1) + "|")
    for name in ("in", "out"):
        values = np.array([one[name] for one in found])
        print(f"| {name} | {' | '.join(points(values[:, k], DIGITS) for k in range(len(ALPHAS)))} |")
        for k in (5, 7, 8, 9):
            gain = t_interval(100 * (values[:, k] - values[:, -1]), test_to_train=DIGITS)
            print(f"  {name}, α = {ALPHAS[k]:g} minus α = 1: {gain:+.1f}")


if __name__ == "__main__":
    main()
