"""The recipes over ten splits, kept in `recipes.json`: what a missing `eval()` costs, what a second softmax costs, …

    python benchmarks/recipes.py

The settings are those of the notebooks under `notebooks/recipes` offline. Each seed (split, start of the new layers,
order) leaves a number for every version of both recipes: of PyTorch's the test accuracy, of Keras's the area under the
ROC curve of the test images. Six minutes on two cores. Resumable: what is there already is not run again.
"""

import math
from collections import OrderedDict
from functools import partial

import torch
from evidence.ledger import Ledger
from torch import nn
from torchvision import transforms

import sftlab as sft
from sftlab.data.storage import keep_memory
from sftlab.networks.staging import constant

SEEDS = range(10)
COMMON = {"backbone": "efficientnet_lite0", "data": "solar", "labels": 200, "epochs": 10, "rate": 0.001}
PYTORCH = COMMON | {"resize": 128, "crop": 112, "batch": 64, "momentum": 0.9}
KERAS = COMMON | {"size": 112, "hidden": 1024, "batch": 32, "eps": 1e-7}


# --- the PyTorch recipe, and the last layers


def pytorch(train, seed):
    """Return the test accuracy of one version of the recipe whose head is a Linear."""
    data = sft.load(PYTORCH["data"], size=PYTORCH["resize"], per_class=PYTORCH["labels"], seed=seed)
    shelf = sft.backbone(PYTORCH["backbone"])
    crop = constant(transforms.CenterCrop(PYTORCH["crop"]))
    network = nn.Sequential(OrderedDict(crop=crop, **dict(shelf.named_children())))
    model = sft.replace_head(network, data.classes, seed=seed)
    train(model, data, seed)
    return sft.evaluate(model, data.test).accuracy.value


def printed(model, data, seed):
    """Train the head in place, as printed: frozen by `requires_grad` alone, in train mode throughout."""
    model.requires_grad_(False).head.requires_grad_(True)
    model.train()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=PYTORCH["rate"], momentum=PYTORCH["momentum"])
    with keep_memory():
        for epoch in range(PYTORCH["epochs"]):
            batches = data.train.batches(PYTORCH["batch"], seed=seed, epoch=epoch)
            for _ in sft.steps(model, batches, optimizer, sft.cross_entropy):
                pass


def last(model, data, seed, *, stages):
    """Train the head and some stages before it, in place; everything else is a constant function."""
    settings = {"batch_size": PYTORCH["batch"], "optimizer": "sgd", "weight_decay": 0, "keep_best": False}
    profile = sft.last_k(model, stages, PYTORCH["rate"])
    sft.fit(model, data, profile, PYTORCH["epochs"], **settings, seed=seed, verbose=False)


# --- the Keras recipe


class KerasAdam(torch.optim.Optimizer):
    """Adam as in Keras (Kingma and Ba, 2015, the form at the end of section 2)."""

    def __init__(self, groups):
        super().__init__(groups, {"lr": KERAS["rate"]})

    @torch.no_grad()
    def step(self, b1=0.9, b2=0.999):
        for group in self.param_groups:
            for w in group["params"]:
                now = self.state[w] or {"t": 0, "m": torch.zeros_like(w), "v": torch.zeros_like(w)}
                t, m, v = now["t"] + 1, now["m"], now["v"]
                m.lerp_(w.grad, 1 - b1)
                v.lerp_(w.grad**2, 1 - b2)
                rate = group["lr"] * math.sqrt(1 - b2**t) / (1 - b1**t)
                w.addcdiv_(m, v.sqrt() + KERAS["eps"], value=-rate)
                self.state[w] = {"t": t, "m": m, "v": v}


def keras(seed, *, loss=sft.cross_entropy, scaled=None):
    """Return the area under the ROC curve of one version of the recipe with two Dense layers.

    scaled: from the network's `input` stage to the (mean, std) that are used instead.
    """
    data = sft.load(KERAS["data"], size=KERAS["size"], per_class=KERAS["labels"], seed=seed)
    shelf = sft.backbone(KERAS["backbone"])
    if scaled is not None:
        shelf.input = sft.Input(*scaled(shelf.input))
    model = sft.replace_head(shelf, data.classes, hidden=KERAS["hidden"])
    generator = torch.Generator().manual_seed(seed)
    for layer in (model.hidden[0], model.head):
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    settings = {"batch_size": KERAS["batch"], "optimizer": KerasAdam, "weight_decay": 0, "keep_best": False}
    profile = sft.linear_probe(model, KERAS["rate"])
    sft.fit(model, data, profile, KERAS["epochs"], **settings, loss=loss, seed=seed, verbose=False)
    return sft.evaluate(model, data.test).metrics["roc_auc"].value


def twice(outputs, targets):
    """The bug: probabilities where logits are expected."""
    return sft.cross_entropy(outputs.softmax(dim=1), targets)


def no_mean(own):
    """Return the network's own scale without its mean."""
    return (0, 0, 0), own.std.flatten().tolist()


def raw(own):
    """Return the scale that hands on 0 to 255."""
    return (0, 0, 0), (1 / 255,) * 3


VERSIONS = {
    "pytorch": {
        "as printed": partial(pytorch, printed),
        "with eval()": partial(pytorch, partial(last, stages=0)),
        "last stage": partial(pytorch, partial(last, stages=1)),
    },
    "keras": {
        "as it should be": keras,
        "softmax twice": partial(keras, loss=twice),
        "mean left out": partial(keras, scaled=no_mean),
        "bytes": partial(keras, scaled=raw),
    },
}
SETTINGS = {"pytorch": PYTORCH, "keras": KERAS}


def main() -> None:
    ledger = Ledger(__file__)
    for recipe, versions in VERSIONS.items():
        part = ledger.kept.setdefault(recipe, {"settings": SETTINGS[recipe], "seeds": {}})
        if part["settings"] != SETTINGS[recipe]:
            raise SystemExit(f"{ledger.path.name} holds runs with other settings; delete it to start anew")
        for seed in SEEDS:
            found = part["seeds"].setdefault(str(seed), {})
            for name, run in versions.items():
                ledger.once(found, name, lambda s=seed, work=run: work(seed=s))
            print(recipe, seed, {name: round(value, 3) for name, value in found.items()}, flush=True)


if __name__ == "__main__":
    main()
