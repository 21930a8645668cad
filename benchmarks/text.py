"""Is it the same for language? The comparisons of `further/text`, over splits, kept in `text.json`.

    pip install -e ".[text]" && python benchmarks/text.py

Which library wrote this docstring: a bag of words with logistic regression against a linear probe on a pretrained
sentence encoder, for 5 to 250 labels a class, on splits that keep modules together and on random ones; and six ways to
tune the encoder with 50 labels a class. Validation accuracies; settings were chosen on splits 100 to 107. Ten minutes
on two cores. Resumable: what is in the file is not run again.
"""

import copy
from dataclasses import replace

import numpy as np
import torch
from evidence.ledger import Ledger

import sftlab as sft
from sftlab.networks import lora

TOKENS = 48
LABELS = {"grouped": (5, 10, 20, 50, 100, 150), "random": (5, 10, 20, 50, 100, 150, 250)}
LINES, TUNED = range(12), range(5)  # splits


def load(kind, labels, seed):
    """Return the docstrings; a random split gives more to train, so that more labels can be tried."""
    shares = {"valid": 0.2, "test": 0.1} if kind == "random" else {}
    return sft.load("docstrings", split=kind, per_class=labels, seed=seed, **shares)


def bag_of_words(data):
    """Return the validation accuracy of word counts and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(max_iter=2000))
    return float(words.fit(data.train.texts, data.train.y).score(data.valid.texts, data.valid.y))


def probe(encoder, data, seed):
    """Return the encoder with a head trained on its frozen features."""
    model = sft.replace_head(encoder, data.classes, seed=seed)
    how = {"schedule": sft.cosine(), "keep_best": False, "verbose": False, "seed": seed}
    sft.fit(model, data, sft.linear_probe(model, lr=3e-3), 20, **how)
    return model


def strategies(start):
    """Return {strategy: (network, profile)}; all go on from the same trained head, which keeps learning."""
    low, few = lora.lora(start, rank=8), lora.bias_only(start)
    layers = [name for name in sft.full(start) if name != "stem"]
    found = {
        "last 2 layers": (copy.deepcopy(start), sft.last_k(start, 2, 1e-4)),
        "layer decay": (copy.deepcopy(start), sft.layer_decay(start, 3e-4, 0.7)),
        "full": (copy.deepcopy(start), sft.full(start, 1e-4)),
        "LoRA": (low, sft.surgical(low, layers, 3e-3)),
        "biases and norms": (few, sft.full(few, 3e-3)),
    }
    return {name: (net, {**profile, "head": 3e-3}) for name, (net, profile) in found.items()}


def learnable(model, profile):
    """Return how many numbers learn under a profile, and how many the network stores (buffers included)."""
    able = sum(p.numel() for stage, rate in profile.items() if rate for p in model.get_submodule(stage).parameters())
    return able, sum(value.numel() for value in [*model.parameters(), *model.buffers()])


def accuracy(model, data):
    return sft.evaluate(model, data.valid).accuracy.value


def tune(encoder, seed, ledger):
    """Fill in the validation accuracy of each strategy on one split, and how many numbers learn in it."""
    data, kept = load("grouped", 50, seed), ledger.kept
    start, found = probe(encoder, data, seed), kept["tuned"].setdefault(str(seed), {})
    found["probe"] = accuracy(start, data)
    kept["sizes"]["probe"] = learnable(start, sft.linear_probe(start))
    watched = replace(data, valid=data.valid.subset(range(32)))  # no epoch is chosen, so few will do to watch
    how = {"schedule": sft.warmup_cosine(0.1), "keep_best": False, "verbose": False, "batch_size": 16, "seed": seed}
    for name, (model, profile) in strategies(start).items():
        if name not in found:
            sft.fit(model, watched, profile, 3, **how)
            found[name], kept["sizes"][name] = accuracy(model, data), learnable(model, profile)
            ledger.write()
            print(f"split {seed}, {name}: {found[name]:.3f} (probe {found['probe']:.3f})", flush=True)


def main() -> None:
    torch.set_num_threads(2)
    encoder = sft.backbone("minilm", tokens=TOKENS)
    ledger = Ledger(__file__, lines={}, tuned={}, sizes={}, source="")
    kept = ledger.kept
    kept["source"] = load("grouped", None, 0).card.source
    for kind, every in LABELS.items():
        for labels in every:
            lines = kept["lines"].setdefault(kind, {})
            row = lines.setdefault(str(labels), {"bag of words": [], "probe": [], "majority": []})
            for seed in LINES[len(row["probe"]) :]:
                data = load(kind, labels, seed)
                row["bag of words"].append(bag_of_words(data))
                row["majority"].append(data.valid.majority)
                row["probe"].append(accuracy(probe(encoder, data, seed), data))
            ledger.write()
            means = (f"{name} {np.mean(values):.3f}" for name, values in row.items())
            print(f"{kind:8s} {labels:4d}", *means, flush=True)
    for seed in TUNED:
        tune(encoder, seed, ledger)


if __name__ == "__main__":
    main()
