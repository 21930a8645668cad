"""How many labels is a pretrained network worth? The learning curves of `further/pretrain`, kept in `labels.json`.

    python benchmarks/labels.py

Source: printed characters. Target: handwritten digits with 1 to 50 labels a class. For each of ten seeds a small
network is trained on the characters, a second one on the same characters with shuffled labels (the same steps, so the
same compute), and each method then learns from the same draw of target labels; two more sources have only the digits or
only the letters. How each method is run was chosen on the validation digits with three other seeds; the curves are of
the test digits, each model evaluated once. Resumable: a row whose numbers are there already is not run again. About 20
minutes on two cores.
"""

import copy
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from evidence.ledger import Ledger
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import sftlab as sft
from sftlab.analysis import labels
from sftlab.core.statistics import t_interval

SEEDS, TRIAL_SEEDS = range(10), range(100, 103)
LABELS, TRIAL_LABELS = (1, 2, 3, 5, 8, 12, 20, 30, 50), (2, 8, 30)
WIDTH, SOURCE_EPOCHS, SOURCE_RATE = 16, 5, 1e-2
EPOCHS, IMAGES = 10, 240  # passes over the few labels; fewer images are repeated until a pass has that many
FROZEN_OR_NOT = ("frozen", "train")
TRIALS = {  # what was tried for each method; one setting is chosen for all numbers of labels
    "from scratch": [{"rate": r, "epochs": e, "batchnorm": "train"} for r in (3e-3, 1e-2, 3e-2) for e in (10, 30)],
    "full": [{"rate": r, "batchnorm": b} for r in (1e-3, 3e-3, 1e-2, 3e-2) for b in FROZEN_OR_NOT],
    "random labels": [{"rate": r, "batchnorm": b} for r in (1e-3, 3e-3, 1e-2, 3e-2) for b in FROZEN_OR_NOT],
    "linear probe": [{"rate": r} for r in (1e-2, 3e-2, 1e-1)],
    "LP-FT": [{"rate": r, "batchnorm": b} for r in (3e-4, 1e-3, 3e-3) for b in FROZEN_OR_NOT],
    "nearest neighbour": [{"n_neighbors": k} for k in (1, 3, 5)],
    "logistic regression": [{"C": c} for c in (0.1, 1.0, 10.0)],
}
CLASSIC = {"nearest neighbour": KNeighborsClassifier, "logistic regression": LogisticRegression}
TRUSTED = {"random labels, probe": "linear probe", "random labels, LP-FT": "LP-FT"}  # as if the source were right
COPIES = {"all": 20, "digits": 124, "letters": 24}  # of each glyph, so that each source has about 28,600 pictures
SPREAD = 5  # labels a class at which draw and start are varied one at a time
PROBE_RATE = 3e-2  # of the probe that comes first in LP-FT


def network(classes, seed):
    """Return a network of four blocks with a random start."""

    def block(inputs, outputs, stride):
        conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        w = WIDTH
        return nn.Sequential(OrderedDict(
            input=sft.Input([0.5] * 3, [0.5] * 3), stem=block(3, w, 1), layer1=block(w, 2 * w, 1),
            layer2=block(2 * w, 4 * w, 2), layer3=block(4 * w, 4 * w, 2),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)), head=nn.Linear(4 * w, len(classes)),
        ))  # fmt: skip


def shuffled(data, seed):
    """Return the same images with the training labels dealt out anew: as many of each, and nothing to learn."""
    y, rows = data.train.targets.clone(), data.train.index
    y[rows] = y[rows[np.random.default_rng(seed).permutation(len(rows))]]
    return sft.data.with_targets(data, y, data.classes)


def pretrained(source, seed):
    """Step 1: return a network that was trained on the source."""
    net = network(source.classes, seed)
    how = {"schedule": sft.cosine(), "batch_size": 128, "keep_best": False, "seed": seed, "verbose": False}
    sft.fit(net, source, sft.full(net, SOURCE_RATE), epochs=SOURCE_EPOCHS, **how)
    return net


def few(target, n, draw):
    """Return the target with n labels a class, repeated until one pass has IMAGES images."""
    drawn = labels.draw(target.train, n, draw)
    return replace(target, train=drawn.subset(np.tile(np.arange(len(drawn)), -(-IMAGES // len(drawn)))))


def tuned(net, data, profile, epochs, seed, batchnorm="frozen"):
    how = {"schedule": sft.cosine(), "batch_size": 16, "keep_best": False, "cached": False, "verbose": False}
    sft.fit(net, data, profile, epochs=epochs, batchnorm=batchnorm, seed=seed, **how)
    return net


class Classic(nn.Module):
    """A classifier of scikit-learn on raw pixels as a head, so that `evaluate` judges it like any other."""

    def __init__(self, model, split):
        super().__init__()
        x, y = split.take(np.arange(len(split)))
        self.model = model.fit(self.rows(x), y)

    @staticmethod
    def rows(x):
        return x.flatten(1).numpy() / 255

    def forward(self, x):
        return torch.from_numpy(np.log(self.model.predict_proba(self.rows(x)) + 1e-9))


def step_2(method, nets, target, n, draw, start, rate=0.0, epochs=EPOCHS, batchnorm="frozen", **options):
    """Fine-tune on n labels a class, or do what the method does in its place; return the model."""
    if method in CLASSIC:
        options |= {"max_iter": 2000} if method == "logistic regression" else {}
        head = Classic(CLASSIC[method](**options), labels.draw(target.train, n, draw))
        return nn.Sequential(OrderedDict(head=head))
    data = few(target, n, draw)
    if method == "from scratch":
        net = network(target.classes, start)
    else:
        source = nets["shuffled" if method.startswith("random labels") else "right"]
        net = sft.replace_head(source, target.classes, seed=start)
    if TRUSTED.get(method, method) == "linear probe":
        return tuned(net, data, sft.linear_probe(net, rate), epochs, start)
    if TRUSTED.get(method, method) == "LP-FT":
        tuned(net, data, sft.linear_probe(net, PROBE_RATE), epochs // 2, start)
        epochs -= epochs // 2
    return tuned(net, data, sft.full(net, rate), epochs, start, batchnorm)


def with_rows(net, source, target):
    """Return the source network with those rows of its head that answer the target's classes: nothing is trained."""
    net, rows = copy.deepcopy(net), [source.classes.index(name) for name in target.classes]
    head = nn.Linear(net.head.in_features, len(rows))
    with torch.no_grad():
        head.weight.copy_(net.head.weight[rows])
        head.bias.copy_(net.head.bias[rows])
    net.head = head
    return net


def hits(model, split):
    """Step 3: return which images of a split the model gets right, packed."""
    result = sft.evaluate(model, split, batch_size=512)
    return np.packbits(np.array(result.predictions) == np.array(result.targets)).tobytes().hex()


def unpacked(digits, n):
    """Return the n values that `hits` packed."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8), count=n).astype(bool)


class Bench:
    """Data, the record, and the networks of the seed at hand; a row is computed once and written at once."""

    def __init__(self):
        self.source = {kind: sft.load("characters", alphabet=kind, copies=n, size=8) for kind, n in COPIES.items()}
        self.target = sft.load("digits", valid=0.15, test=0.4)
        blank = {"images": len(self.target.test), "trials": {}, "chosen": {}, "runs": {}, "spread": {}, "alphabets": {}}
        self.ledger = Ledger(__file__, **blank)
        self.kept = self.ledger.kept
        self.nets = {}

    def of(self, seed, kind):
        """Return the pretrained network of a seed: "right" or "shuffled" labels, or another alphabet."""
        if (seed, kind) not in self.nets:
            data = self.source.get(kind, self.source["all"])
            data = shuffled(data, seed) if kind == "shuffled" else data
            self.nets = {key: net for key, net in self.nets.items() if key[0] == seed}  # of one seed at a time
            self.nets[seed, kind] = pretrained(data, seed)
        return self.nets[seed, kind]

    def both(self, seed):
        return {"right": self.of(seed, "right"), "shuffled": self.of(seed, "shuffled")}

    def row(self, part, key, name, make):
        self.ledger.once(self.kept[part].setdefault(key, {}), name, make)

    def choose(self):
        """Try the settings of each method on the validation digits and keep the best one."""
        for seed in TRIAL_SEEDS:
            for method in TRIALS:
                self.row("trials", method, str(seed), lambda m=method, s=seed: self.tried(m, s))
        for method, settings in TRIALS.items():
            scores = np.mean([self.kept["trials"][method][str(seed)] for seed in TRIAL_SEEDS], axis=(0, 2))
            best = settings[int(scores.argmax())]
            if self.kept["chosen"].get(method, best) != best:
                self.forget(method)
            self.kept["chosen"][method] = best
        self.ledger.write()

    def tried(self, method, seed):
        """Return the accuracy on the validation digits, settings × numbers of labels."""
        nets, valid = {} if method in (*CLASSIC, "from scratch") else self.both(seed), self.target.valid
        found = [[hits(step_2(method, nets, self.target, n, seed, seed, **how), valid) for n in TRIAL_LABELS]
                 for how in TRIALS[method]]  # fmt: skip
        return [[float(unpacked(one, len(valid)).mean()) for one in row] for row in found]

    def forget(self, method):
        """Drop what was measured with another setting of a method."""
        followers = {method, *(name for name, like in TRUSTED.items() if like == method)}
        for rows in self.kept["runs"].values():
            for name in followers & set(rows):
                del rows[name]
        for name in [name for name in self.kept["spread"] if name.startswith(f"{method},")]:
            del self.kept["spread"][name]
        if method == "LP-FT":
            self.kept["alphabets"] = {}

    def test(self, method, seed, n, draw, start):
        nets = {} if method in (*CLASSIC, "from scratch") else self.both(seed)
        how = self.kept["chosen"][TRUSTED.get(method, method)]
        return hits(step_2(method, nets, self.target, n, draw, start, **how), self.target.test)

    def measure(self, seed):
        """Make everything that a seed is for."""
        for method in (*TRIALS, *TRUSTED):
            self.row("runs", str(seed), method, lambda m=method: {
                str(n): self.test(m, seed, n, seed, seed) for n in LABELS})  # fmt: skip
        for method in ("LP-FT", "from scratch"):
            if seed == SEEDS[0]:
                for draw in SEEDS:
                    name = f"{method}, draw"
                    self.row("spread", name, str(draw), lambda m=method, d=draw: self.test(m, seed, SPREAD, d, seed))
            name = f"{method}, start"
            self.row("spread", name, str(seed), lambda m=method: self.test(m, seed, SPREAD, SEEDS[0], seed))
        for kind, alphabet in (("right", "all"), ("digits", "digits"), ("letters", "letters")):
            self.row("alphabets", alphabet, str(seed), lambda k=kind, a=alphabet: self.sources(seed, k, a))

    def sources(self, seed, kind, alphabet):
        """Return what another source gives: without any target label, and by LP-FT with a few."""
        net, test = self.of(seed, kind), self.target.test
        found = {}
        if alphabet != "letters":
            found["0"] = hits(with_rows(net, self.source[alphabet], self.target), test)
        model = step_2("LP-FT", {"right": net}, self.target, SPREAD, seed, seed, **self.kept["chosen"]["LP-FT"])
        return found | {str(SPREAD): hits(model, test)}


def main() -> None:
    bench = Bench()
    bench.choose()
    for seed in SEEDS:
        bench.measure(seed)
    kept = bench.kept
    print("chosen:", kept["chosen"])
    for method in (*TRIALS, *TRUSTED):
        cells = []
        for n in LABELS:
            values = [unpacked(kept["runs"][str(s)][method][str(n)], kept["images"]).mean() for s in SEEDS]
            cells.append(f"{n}: {t_interval(values):.3f}")
        print(f"{method:20s}", "  ".join(cells))


if __name__ == "__main__":
    main()
