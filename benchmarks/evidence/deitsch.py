"""Defects in solar cells: frozen ImageNet networks and a kernel beside a fine-tuned VGG-19.

    python benchmarks/evidence/deitsch.py

The claim (Deitsch et al. 2019): of 2,624 cells, 1,968 to learn from and 656 to be tested on, stratified; defect ⇔ the
expert's probability > ½; a fine-tuned VGG-19 is right about 88.42 % of the 656, a support vector machine on local
features about 82.44 %. Ours: nothing but a kernel is fitted. Frozen EfficientNet-Lite tell of each channel its mean,
largest value and spread over the image, averaged over four symmetric views of the cell; Gaussian kernel ridge
regression of the expert's probability reads that, and a cell is called broken above ½. The kernel's width, the ridge
and what it reads (a row of the menu) are chosen anew in every split by five folds of its own 1,968 cells. Beside it:
the last stages of EfficientNet-Lite0 fine-tuned, alone and averaged with the kernel. Five random splits, stratified by
probability × type; and the lab's five grouped splits, where cells of one block of files stay together, in the folds
too. On one thread: 13 minutes to encode all pictures once for all splits; 40 s a split for the kernels and their folds;
3½ minutes a random split to fine-tune. 7.5 GB of store.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from ledger import Runs, points
from scipy.linalg import cho_factor, cho_solve
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split
from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn

import sftlab as sft
from sftlab.core.features import features
from sftlab.core.model import evaluating
from sftlab.data import View
from sftlab.data.load import module_blocks

STAGES = ("layer2", "layer3", "layer4", "layer5", "layer6", "layer7", "neck")
LATE, FORMS = STAGES[2:], ("mean", "largest", "spread")
VIEWS = (0, 2, 5, 7)  # of the eight symmetric views of a square: as it is, half a turn, and both diagonals' mirrors
SEEDS, FOLDS, TEST = range(5), 5, 656
WIDTHS, RIDGES = (0.5, 1.0, 2.0), (0.01, 0.03, 0.1)  # of the kernel, in mean squared distances; of the regression
FLOOR = 0.5  # of the mean spread of its block, added to a column's own: some channels are dead in all cells but a few
TUNED, RATE, EPOCHS = ["layer6", "layer7", "neck", "head"], 3e-4, 6
SHARE = 0.3  # of the fine-tuned network where it answers together with the kernel


def summary(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each image and channel: mean, largest value, spread."""
    mean = x.mean((2, 3), keepdim=True)
    return mean.flatten(1), x.amax((2, 3)), (x - mean).square().mean((2, 3)).sqrt()


class Summaries(nn.Module):
    """A frozen network that tells of each stage and channel its mean, largest, smallest value and spread."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.stages = net[: [name for name, _ in net.named_children()].index(STAGES[-1]) + 1]

    def outputs(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (stage, what it makes of the images)."""
        for name, stage in self.stages.named_children():
            x = stage(x)
            if name in STAGES:
                yield name, x

    def forward(self, x: Tensor) -> Tensor:
        """Return N × (4 · channels), stage by stage."""
        found = []
        for _, out in self.outputs(x):
            mean, largest, spread = summary(out)
            found += [mean, largest, out.amin((2, 3)), spread]
        return torch.cat(found, 1)

    def names(self) -> list[tuple[str, str, int]]:
        """Return (stage, what is told of it, channels), in the order of `forward`."""
        told = ("mean", "largest", "smallest", "spread")
        blank = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
        return [(stage, form, x.shape[1]) for stage, x in self.outputs(blank) for form in told]


class Insides(nn.Module):
    """The same of the widest layer inside each block of the late stages: after its depthwise convolution."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.stages = net[: [name for name, _ in net.named_children()].index("layer7") + 1]

    def forward(self, x: Tensor) -> Tensor:
        """Return N × (3 · channels), block by block: mean, largest value, spread."""
        found: list[Tensor] = []
        for name, stage in self.stages.named_children():
            if name not in LATE:
                x = stage(x)
                continue
            for block in self.blocks(stage):
                wide = block.bn2(block.conv_dw(block.bn1(block.conv_pw(x))))
                narrow = block.bn3(block.conv_pwl(wide))
                x = narrow + x if block.has_skip else narrow
                found += summary(wide)
        return torch.cat(found, 1)

    @staticmethod
    def blocks(stage: nn.Module) -> list[Any]:
        """Return the blocks of a stage."""
        return [module for module in stage.modules() if isinstance(module, InvertedResidual)]

    def names(self) -> list[tuple[str, str, int]]:
        """Return (stage, what is told of it, channels), in the order of `forward`."""
        of = [(name, b.conv_dw.out_channels) for name, s in self.stages.named_children() for b in self.blocks(s)]
        return [(name, form, channels) for name, channels in of if name in LATE for form in FORMS]


# what the kernel reads: networks, stages, what is told of each, of their outputs and of the layers inside their blocks
MENU: dict[str, tuple[Any, ...]] = {
    "Lite0: last stage, means": ((0,), STAGES[-1:], FORMS[:1], (Summaries,)),
    "Lite0: last five stages, means": ((0,), LATE, FORMS[:1], (Summaries,)),
    "… means, largest values, spreads": ((0,), LATE, FORMS, (Summaries,)),
    "Lite0, 1 and 2: the same": ((0, 1, 2), LATE, FORMS, (Summaries,)),
    "… all stages, smallest values too": ((0, 1, 2), STAGES, (*FORMS, "smallest"), (Summaries,)),
    "Lite0, 1 and 2: insides of blocks": ((0, 1, 2), LATE, FORMS, (Insides,)),
    "Lite0, 1 and 2: stages and insides": ((0, 1, 2), LATE, FORMS, (Summaries, Insides)),
}


def symmetry(k: int) -> Any:
    """Return the augmentation that gives each image the k-th of the eight views of a square."""
    return lambda x, generator: torch.rot90(x.flip(-1) if k >= 4 else x, k % 4, (-2, -1))


@lru_cache
def everything() -> tuple[sft.data.Split, np.ndarray, np.ndarray, np.ndarray]:
    """Return all cells, the expert's probability of each, its cell type (poly is 1) and its block of files."""
    data, types = sft.load("solar", target="probability"), sft.load("solar", target="type").train.targets.numpy()
    p = data.train.targets[:, 1].numpy().astype(float)
    return data.train.of_rows(range(len(p))), p, types, module_blocks(types)


@lru_cache
def encoded(number: int, kind: Any) -> list[tuple[str, str, np.ndarray]]:
    """Return (stage, what is told of it, cells × channels) of one network, the mean over the views; from the store."""
    net = kind(sft.backbone(f"efficientnet_lite{number}"))
    cells, prefix, names = everything()[0], nn.Sequential(net), net.names()
    views = (features(prefix, View(cells, symmetry(k), 0, k)) for k in VIEWS)
    whole = sum(view.inputs(np.arange(len(cells))).numpy() for view in views) / len(VIEWS)
    parts = np.split(whole, np.cumsum([channels for *_, channels in names])[:-1], axis=1)
    return [(stage, form, part) for (stage, form, _), part in zip(names, parts, strict=True)]


def rows(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the cells to learn from, those to be tested on, and the folds, as positions among the former."""
    _, p, types, blocks = everything()
    strata = np.array([f"{q:.2f} {t}" for q, t in zip(p, types, strict=True)])
    if kind == "random":
        learn, test = train_test_split(np.arange(len(p)), test_size=TEST, stratify=strata, random_state=seed)
        return learn, test, list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(learn, strata[learn]))
    data = sft.load("solar", seed=seed)
    learn = np.concatenate([data.train.index, data.valid.index])
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    return learn, data.test.index, list(folds.split(learn, p[learn] > 0.5, blocks[learn]))


def distances(wanted: str, learn: np.ndarray) -> np.ndarray:
    """Return the squared distance of each pair of cells, on average 1 among those to learn from.

    Columns are standardised by the cells to learn from; in the stages of a network, and in its insides, each block of
    columns counts alike, and so does each of these groups.
    """
    networks, stages, forms, kinds = MENU[wanted]
    parts: list[np.ndarray] = []
    for told in (encoded(n, kind) for n in networks for kind in kinds):
        gram = np.zeros((len(everything()[1]),) * 2)
        for x in (x for stage, form, x in told if stage in stages and form in forms):
            spread = x[learn].std(0)
            z = (x - x[learn].mean(0)) / (spread + FLOOR * spread.mean())
            gram += z @ z.T / x.shape[1]
        square = np.diag(gram)
        far = square[:, None] + square - 2 * gram
        parts.append(far / far[np.ix_(learn, learn)].mean())
    return np.mean(parts, axis=0)


def answers(far: np.ndarray, seen: np.ndarray, unseen: np.ndarray, width: float, ridge: float) -> np.ndarray:
    """Return the probability of a defect of the unseen cells: kernel ridge regression of the expert's."""
    p = everything()[1]
    middle = p[seen].mean()
    k = np.exp(-far[np.ix_(seen, seen)] * width) + ridge * np.eye(len(seen))
    return np.exp(-far[np.ix_(unseen, seen)] * width) @ cho_solve(cho_factor(k), p[seen] - middle) + middle


def measured(score: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Return accuracy (of all, of cells the expert was sure of, of the others), F1 of the defects and area."""
    y, sure = p > 0.5, np.isin(p, (0.0, 1.0))
    right = (score > 0.5) == y
    return {
        "accuracy": float(right.mean()), "sure": float(right[sure].mean()), "unsure": float(right[~sure].mean()),
        "f1": float(f1_score(y, score > 0.5)), "area": float(roc_auc_score(y, score)),
    }  # fmt: skip


def run(kind: str, seed: int, wanted: str) -> dict[str, Any]:
    """Return the setting that the folds like best, and what the test cells say of it."""
    (learn, test, folds), p, tried = rows(kind, seed), everything()[1], []
    far = distances(wanted, learn)
    for width in WIDTHS:
        for ridge in RIDGES:
            right = [(answers(far, learn[a], learn[b], width, ridge) > 0.5) == (p[learn[b]] > 0.5) for a, b in folds]
            tried.append((float(np.concatenate(right).mean()), width, ridge))
    best = max(tried)
    found = {"learn": len(learn), "test": len(test), "majority": float((p[test] <= 0.5).mean())}
    found |= {"read": wanted, "folds": best[0], "width": best[1], "ridge": best[2]}
    return found | measured(answers(far, learn, test, *best[1:]), p[test])


def tune(kind: str, seed: int, kept: dict[str, Any]) -> dict[str, Any]:
    """Return what the test says of Lite0 with its last stages fine-tuned, and together with the kernel."""
    (learn, test, _), (cells, p, *_) = rows(kind, seed), everything()
    net = sft.replace_head(sft.backbone("efficientnet_lite0"), ["intact", "defect"], seed=seed)
    data = replace(
        sft.load("solar", target="probability"), train=cells.subset(learn), valid=cells.subset(learn[:8])
    )  # no epoch is chosen
    how: dict[str, Any] = {"schedule": sft.warmup_cosine(1 / EPOCHS), "weight_decay": 0.05, "batchnorm": "frozen"}
    how |= {"augment": sft.data.turn, "views": EPOCHS, "keep_best": False, "verbose": False}
    began = time.perf_counter()
    sft.fit(net, data, sft.surgical(net, TUNED, lr=RATE), EPOCHS, **how)
    fitted, each = time.perf_counter() - began, []
    cut = [name for name, _ in net.named_children()].index(TUNED[0])
    for k in range(EPOCHS):
        known = features(net[:cut], View(cells.subset(test), sft.data.turn, 0, k))
        with evaluating(net), torch.no_grad():
            each.append(torch.cat([net[cut:](x).softmax(1)[:, 1] for x, _ in known.batches(128)]).numpy())
    alone = np.mean(each, axis=0)
    kernel = answers(distances(kept["read"], learn), learn, test, kept["width"], kept["ridge"])
    return {
        "fitting": round(fitted, 1), "one view": measured(each[0], p[test]), "alone": measured(alone, p[test]),
        "with the kernel": measured(SHARE * alone + (1 - SHARE) * kernel, p[test]),
    }  # fmt: skip


def encode() -> dict[str, Any]:
    """Fill the store with all that every split reads; return what that cost, now or when it was done, in seconds."""
    cells, seconds = everything()[0], dict[str, float]()
    for n in range(3):
        net = sft.backbone(f"efficientnet_lite{n}")
        for prefix in (Summaries(net), Insides(net)):
            views = [View(cells, symmetry(k), 0, k) for k in VIEWS]
            made = [features(nn.Sequential(prefix), view).seconds for view in views]
            seconds[f"Lite{n} {type(prefix).__name__}"] = round(sum(made), 1)
    net = sft.backbone("efficientnet_lite0")
    cut = [name for name, _ in net.named_children()].index(TUNED[0])
    views = [View(cells, sft.data.turn, 0, k) for k in range(EPOCHS)]
    made = [features(net[:cut], view).seconds for view in views]
    return {"cost": {**seconds, "Lite0 to be tuned": round(sum(made), 1)}}


def line(name: str, found: list[dict[str, Any]], ratio: float) -> None:
    """Print a row of the table: mean and half of the 95 % t-interval over splits; ratio: of test to learned cells."""
    measures = ("folds", "accuracy", "sure", "unsure", "f1", "area")
    cells = [points([one[what] for one in found], ratio) if what in found[0] else "" for what in measures]
    accuracies = ", ".join(f"{100 * one['accuracy']:.1f}" for one in found)
    print(f"| {name} | {' | '.join(cells)} | {accuracies} |")


def main() -> None:
    ledger, tables = Runs(__file__), dict[str, dict[str, list[dict[str, Any]]]]()
    print(ledger.run("encoding", encode)["cost"])
    for kind in ("random", "grouped"):
        tables[kind] = {
            wanted: [ledger.run(f"{kind} {s} {wanted}", lambda k=kind, s=s, w=wanted: run(k, s, w)) for s in SEEDS]
            for wanted in MENU
        }
    for kind, table in tables.items():
        first, *_ = table.values()
        chosen = [max((found[s] for found in table.values()), key=lambda one: one["folds"]) for s in SEEDS]
        print(kind, *(f"{one['learn']}/{one['test']}, majority {100 * one['majority']:.1f};" for one in first))
        print("| | folds | test | sure | unsure | F1 | area | each split |\n|---|---|---|---|---|---|---|---|")
        for wanted, found in {**table, "what the folds choose": chosen}.items():
            line(wanted, found, first[0]["test"] / first[0]["learn"])
        if kind == "random":
            tuned = [
                ledger.run(f"{kind} {s} tuned", lambda k=kind, s=s, kept=kept: tune(k, s, kept))
                for s, kept in zip(SEEDS, chosen, strict=True)
            ]
            for what in ("one view", "alone", "with the kernel"):
                line(f"fine-tuned, {what}", [one[what] for one in tuned], first[0]["test"] / first[0]["learn"])


if __name__ == "__main__":
    main()
