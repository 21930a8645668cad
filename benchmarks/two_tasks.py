"""Does a second task help the first when labels are few? The runs of `further/two_tasks`, kept in `two_tasks.json`.

    python benchmarks/two_tasks.py

Digits: a small network learns the ten digits from 1, 2, 5, 20 or all labels a class, alone and beside a second task
that every training image has a label for, for 10 seeds (split, draw, start, order). Solar cells: the defect from 5 to
all labels a class, alone and beside the cell type, on a hidden layer over kept features (20 seeds), and with the last
two stages learning (10 seeds, 10 labels a class). All numbers are of validation images; no epoch is chosen. The runs of
one seed differ in the second task alone: they see the same images in the same order. Resumable: a run whose numbers are
there already is not made again. About ten minutes on two cores.
"""

import copy
from dataclasses import replace

import numpy as np
import torch
from evidence.ledger import Ledger
from torch.nn.functional import cosine_similarity

import sftlab as sft
from sftlab.analysis import labels
from sftlab.core.losses import NO_LABEL

DIGIT_SEEDS, CELL_SEEDS, TUNED_SEEDS = range(10), range(20), range(10)
DIGIT_LABELS, CELL_LABELS = (1, 2, 5, 20, "all"), (5, 10, 25, 50, 100, "all")
SECOND = ("alone", "loop", "ink", "random")
WEIGHTED, WEIGHTS = 2, (0.1, 10)  # the second task's share of the loss is varied at this many labels a class
EPOCHS, LOOKS = 20, (1, 2, 5, 10, 20)  # the gradients are compared before, and after so many epochs
IMAGES = 600  # of solar cells, all with their type


def few(split, task, n, seed):
    """Return the targets of `task` with n labels a class left in the training split; other splits keep all."""
    y = split.targets[task].clone()
    if n != "all":
        one = replace(split, targets=split.targets[task], classes=split.classes[task])
        y[split.index] = NO_LABEL
        drawn = labels.draw(one, n, seed).index
        y[drawn] = split.targets[task][drawn]
    return y


def digits(seed):
    """Return the digits with three more questions about each image, and a split of that seed."""
    data = sft.load("digits", valid=0.3, test=0.3, seed=seed)
    digit = data.train.targets
    ink = torch.from_numpy(data.train.images.sum(axis=(1, 2, 3)).astype(np.float32))
    thirds = torch.quantile(ink[data.train.index], torch.tensor([1 / 3, 2 / 3]))
    rng = np.random.default_rng(seed)
    targets = {
        "digit": digit, "loop": torch.isin(digit, torch.tensor([0, 6, 8, 9])).long(),
        "ink": torch.bucketize(ink, thirds), "random": torch.from_numpy(rng.integers(10, size=len(digit))),
    }  # fmt: skip
    names = [str(i) for i in range(10)]
    classes = {"digit": names, "loop": ["none", "loop"], "ink": ["light", "middle", "dark"], "random": names}
    return sft.data.with_targets(data, targets, classes)


def only(data, first, second, n, seed):
    """Return the same images with n labels a class for the first task, all for the second, and no other task."""
    tasks = [first] if second == "alone" else [first, second]
    targets = {task: data.train.targets[task] for task in tasks} | {first: few(data.train, first, n, seed)}
    return sft.data.with_targets(data, targets, {task: data.classes[task] for task in tasks})


def weighted(weight):
    """Return the sum of the tasks' losses, with `weight` on the second."""

    def loss(logits, targets):
        first, *rest = (sft.cross_entropy(logits[task], targets[task]) for task in logits)
        return first + weight * sum(rest)

    return loss


def task_gradients(model, x, targets):
    """Return {task: gradient of its loss} with respect to all stages before the head, as one vector."""
    net = copy.deepcopy(model)  # in train mode a pass moves the batch statistics
    shared, logits = [*net[:-1].parameters()], net(x)
    found = {}
    for task, y in targets.items():
        slopes = torch.autograd.grad(sft.cross_entropy(logits[task], y), shared, retain_graph=True)
        found[task] = torch.cat([slope.flatten() for slope in slopes])
    return found


def compared(model, data, every):
    """Return four cosines of gradients over all training images; `every` has all labels of the first task."""
    first = next(iter(data.classes))
    x, y = data.train.take(np.arange(len(data.train)))
    found = task_gradients(model, x, y)
    truth = task_gradients(model, x, {first: every[data.train.index]})[first]
    own, *second = found.values()
    pairs = {"few and all": (own, truth)}
    if second:
        pairs |= {"second and all": (second[0], truth), "both and all": (own + second[0], truth)}
        pairs |= {"few and second": (own, second[0])}
    return {name: round(float(cosine_similarity(*pair, dim=0)), 4) for name, pair in pairs.items()}


def right(model, split):
    """Return the share of images for which the first task is answered rightly."""
    task = next(iter(split.classes))
    x, y = split.take(np.arange(len(split)))
    with sft.evaluating(model), torch.no_grad():
        return float((model(x)[task].argmax(dim=1) == y[task]).float().mean())


def run_digits(seed, n, second, weight=1.0):
    """Train one network from scratch; return its accuracy and how the gradients agreed on the way."""
    whole, apart = digits(seed), second == "own images"
    data, epochs = only(whole, "digit", "alone" if apart else second, n, seed), EPOCHS
    if apart:  # a network of its own, on the labelled images alone, for as many steps
        steps = epochs * len(sft.data.batch_positions(len(data.train), 32))
        data = replace(data, train=data.train.subset(np.flatnonzero(data.train.y["digit"] != NO_LABEL)))
        epochs = round(steps / len(sft.data.batch_positions(len(data.train), 32)))
    model = sft.replace_head(sft.backbone("tiny", seed=seed), data.classes, seed=seed)
    how = {"schedule": sft.cosine(), "seed": seed, "cached": False, "keep_best": False, "loss": weighted(weight)}
    every = whole.train.targets["digit"]
    looks = {} if apart else {"0": compared(model.train(), data, every)}
    for record in sft.train(model, data, sft.full(model, 1e-2), epochs, **how):
        if isinstance(record, sft.Epoch) and record.epoch in LOOKS and not apart:
            looks[str(record.epoch)] = compared(model, data, every)
    return {"accuracy": right(model, data.valid), "cosines": looks}


def run_cells(seed, n, second, how):
    """Train on solar cells; return area under the ROC curve and accuracy of the defect, and the majority rate."""
    data = sft.load("solar", size=160, target="both", seed=seed)
    rows = np.sort(np.random.default_rng(seed).permutation(len(data.train))[:IMAGES])
    data = only(replace(data, train=data.train.subset(rows)), "defect", second, n, seed)
    source = sft.backbone("efficientnet_lite0")
    model = sft.replace_head(source, data.classes, hidden=64 if how == "hidden" else None, seed=seed)
    plan = (sft.linear_probe(model, 1e-3), 20) if how == "hidden" else (sft.last_k(model, 2, 3e-4), 5)
    common = {"batchnorm": "frozen", "keep_best": False, "schedule": sft.cosine(), "seed": seed, "verbose": False}
    sft.fit(model, data, *plan, **common)
    found = sft.evaluate(model, data.valid)["defect"]
    return {"auc": found.metrics["roc_auc"].value, "accuracy": found.accuracy.value, "majority": found.majority}


def plan():
    """Yield (name, function, its arguments) of every run."""
    for seed in DIGIT_SEEDS:
        for n in DIGIT_LABELS:
            for second in SECOND if n == "all" else (*SECOND, "own images"):
                yield f"digits {n} {second} {seed}", run_digits, (seed, n, second)
        for second in ("loop", "ink"):
            for weight in WEIGHTS:
                yield f"digits {WEIGHTED} {second} x{weight} {seed}", run_digits, (seed, WEIGHTED, second, weight)
    for second in ("alone", "type"):
        for seed in TUNED_SEEDS:
            yield f"two stages 10 {second} {seed}", run_cells, (seed, 10, second, "two stages")
        for seed in CELL_SEEDS:
            for n in CELL_LABELS:
                yield f"hidden {n} {second} {seed}", run_cells, (seed, n, second, "hidden")


def main() -> None:
    ledger = Ledger(__file__)
    for name, run, arguments in plan():
        ledger.once(ledger.kept, name, lambda work=run, given=arguments: work(*given))
    groups: dict[str, list] = {}
    for name, found in ledger.kept.items():
        groups.setdefault(name.rsplit(" ", 1)[0], []).append(found.get("auc", found["accuracy"]))
    for name, values in groups.items():
        print(f"{name:24s} {np.mean(values):.3f} over {len(values)} seeds")


if __name__ == "__main__":
    main()
