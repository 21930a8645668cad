"""When does fine-tuning pay? The two tasks of lesson 00 over five splits, kept in `start.json`.

    python benchmarks/start.py

Typefaces, where it pays, and solar cells, where it does not: each strategy is trained to the end of a cosine, where
its validation curve is flat, and leaves the second half of that curve. No epoch is chosen and no test image is looked
at. Rates and lengths were chosen on the split of seed 0, which is not among these. Fine-tuning starts from
the probe's head. Two classical methods see the same pixels. From scratch few epochs are enough: on typefaces
fifty did no better on one split. Half an hour on two cores. Resumable: a strategy that is there is not run again.
"""

import copy

import numpy as np
from evidence.ledger import Ledger, points
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import sftlab as sft

SEEDS = range(1, 6)
# what is loaded; the probe's rate; of partial: stages, rate, epochs; of full: rate, epochs; epochs from scratch
TASKS = {
    "typefaces": {
        "load": {"per_class": 60}, "probe": 3e-3,
        "partial": (5, 1e-3, 16), "full": (5e-4, 20), "scratch": 10,
    },
    "solar": {
        "load": {"per_class": 200, "size": 128}, "probe": 1e-3,
        "partial": (2, 1e-4, 10), "full": (1e-4, 8), "scratch": 8,
    },
}  # fmt: skip
TEST_TO_TRAIN = {"typefaces": 0.25 / 0.5, "solar": 0.2 / 0.6}  # of the splits, valid being what is measured on
CLASSICAL = {
    "logistic regression on pixels": LogisticRegression(C=1e-3, max_iter=2000),
    "SVM on pixels": SVC(C=10),
}


def pixels(split):
    """Return a split's images as rows of numbers, and its labels."""
    images, targets = split.take(np.arange(len(split)))
    return images.numpy().reshape(len(images), -1).astype(np.float32), targets.numpy()


def classical(data, method):
    """Return the validation accuracy of a scikit-learn classifier on standardised pixels."""
    fitted = make_pipeline(StandardScaler(), method).fit(*pixels(data.train))
    return [float(fitted.score(*pixels(data.valid)))]


def trained(net, data, profile, epochs, seed, **settings):
    """Train in place and return the second half of the validation accuracies by epoch; the last one counts."""
    common = {"schedule": sft.warmup_cosine(0.1), "keep_best": False, "verbose": False, "seed": seed}
    history = sft.fit(net, data, profile, epochs, **common | settings)
    return [epoch.valid_accuracy for epoch in history.epochs[epochs // 2 :]]


def main() -> None:
    ledger = Ledger(__file__, **{task: {} for task in TASKS}, test_to_train=TEST_TO_TRAIN)
    original = sft.backbone("efficientnet_lite0")
    for task, plan in TASKS.items():
        for seed in SEEDS:
            rows = ledger.kept[task].setdefault(str(seed), {})
            data = sft.load(task, seed=seed, **plan["load"])
            ledger.once(rows, "majority", lambda d=data: d.valid.majority)
            for name, method in CLASSICAL.items():
                ledger.once(rows, name, lambda d=data, m=method: classical(d, m))
            random = sft.backbone("efficientnet_lite0", weights=None, seed=seed)
            blank = sft.replace_head(random, data.classes, seed=seed)
            probe = sft.replace_head(original, data.classes, seed=seed)
            found = trained(probe, data, sft.linear_probe(probe, plan["probe"]), 40, seed)
            ledger.once(rows, "linear probe", lambda f=found: f)
            stages, rate, epochs = plan["partial"]
            for name, net, profile, length, how in (
                ("partial fine-tuning", probe, sft.last_k(probe, stages, rate), epochs, "frozen"),
                ("full fine-tuning", probe, sft.full(probe, plan["full"][0]), plan["full"][1], "frozen"),
                ("from scratch", blank, sft.full(blank, 1e-3), plan["scratch"], "train"),
            ):
                work = (copy.deepcopy(net), data, profile, length, seed)
                ledger.once(rows, name, lambda w=work, b=how: trained(*w, batchnorm=b))
        report(task, list(ledger.kept[task].values()))


def report(task, runs) -> None:
    """Print each strategy's mean, its distance from the probe, pair by pair, and how flat its curve ends."""
    for name in [row for row in runs[0] if row != "majority"]:
        last, probe = (np.array([run[row][-1] for run in runs]) for row in (name, "linear probe"))
        before = np.array([run[name][-1 - len(run[name]) // 2] for run in runs])
        gain = points(last - probe, TEST_TO_TRAIN[task], "+") if name != "linear probe" else "0"
        flat = (last - before).mean()
        print(f"{task:10s} {name:30s} {last.mean():.3f}, in the last quarter {flat:+.3f}, minus probe {gain}")


if __name__ == "__main__":
    main()
