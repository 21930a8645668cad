"""LogME (You et al. 2021) against the truth: does a score without training rank starting points as probes do?

    python benchmarks/evidence/logme.py

Candidates: every cut of EfficientNet-Lite 0, 1 and 2, on 1,973 solar cells of 160 pixels (no test image), for two
targets: defect or intact, mono- or polycrystalline. Truth: a probe's accuracy on blocks of files that it never saw.
Score and truth from the same images share their luck, so both are also tried across: from one half of the blocks, how
well does either foretell the truth on the other half?
"""

from typing import Any

import numpy as np
from ledger import Runs, probed
from scipy import stats

import sftlab as sft
from sftlab import analysis as explain
from sftlab.data.load import module_blocks

NETWORKS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
TARGETS = ("defect", "type")
SIZE, HALVINGS, RESAMPLES = 160, 10, 10_000


def measure(network: str, target: str) -> dict[str, Any]:
    """Return the score and the truth of every cut of one network."""
    data = sft.load("solar", size=SIZE, target="both")
    rows = np.sort(np.concatenate([data.train.index, data.valid.index]))
    blocks = module_blocks(np.array(["mono", "poly"])[data.train.targets["type"]])[rows]
    split = data.train.of_rows(rows)
    y, cuts = split.y[target].numpy(), {}
    sides = halves(blocks)
    for stage, features in explain.tapped(sft.backbone(network), split).items():
        right = probed(features, y, blocks)
        cuts[stage] = {
            "width": features.shape[1], "logme": float(explain.logme(features, y)),
            "logme_of_half": [float(explain.logme(features[half], y[half])) for half in sides],
            "accuracy": float(right.mean()), "right": np.packbits(right).tobytes().hex(),
        }  # fmt: skip
    return {"cuts": cuts, "blocks": blocks.tolist(), "majority": float(np.bincount(y).max() / len(y))}


def halves(blocks: np.ndarray) -> list[np.ndarray]:
    """Return for each halving which images are in its first half; blocks stay together."""
    rng, names = np.random.default_rng(0), np.unique(blocks)
    return [np.isin(blocks, rng.permutation(names)[: len(names) // 2]) for _ in range(HALVINGS)]


def spearman(score: np.ndarray, truth: np.ndarray) -> float:
    """Return the rank correlation."""
    return float(stats.spearmanr(score, truth).statistic)


def interval(score: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval (BCa) of the rank correlation over candidates."""
    found = stats.bootstrap(
        (score, truth), spearman, paired=True, vectorized=False, n_resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    return tuple(map(float, found.confidence_interval))


def main() -> None:
    ledger = Runs(__file__)
    rows = []
    for target in TARGETS:
        runs = [ledger.run(f"{network} {target}", lambda n=network, t=target: measure(n, t)) for network in NETWORKS]
        blocks = np.array(runs[0]["blocks"])
        cuts = [(i / (len(run["cuts"]) - 1), cut) for run in runs for i, cut in enumerate(run["cuts"].values())]
        bits = [np.frombuffer(bytes.fromhex(cut["right"]), np.uint8) for _, cut in cuts]
        right = np.unpackbits(np.array(bits), axis=1, count=len(blocks))
        truth, logme = right.mean(1), np.array([cut["logme"] for _, cut in cuts])
        row = [f"{target} (majority {runs[0]['majority']:.3f})", str(len(cuts)), f"{truth.min():.3f}–{truth.max():.3f}"]
        for score in (logme, [depth for depth, _ in cuts], [cut["width"] for _, cut in cuts]):
            low, high = interval(np.array(score), truth)
            row.append(f"{spearman(score, truth):.2f} ({low:.2f}–{high:.2f})")
        row.append(f"{stats.weightedtau(logme, truth).statistic:.2f}")
        across = [
            (spearman([cut["logme_of_half"][k] for _, cut in cuts], right[:, ~half].mean(1)),
             spearman(right[:, half].mean(1), right[:, ~half].mean(1)))
            for k, half in enumerate(halves(blocks))
        ]  # fmt: skip
        rows.append([*row, *(f"{value:.2f}" for value in np.mean(across, axis=0))])
    heads = [
        "target", "cuts", "probe accuracy", "LogME", "depth alone", "width alone", "LogME, weighted τ",
        "LogME across halves", "probe across halves",
    ]  # fmt: skip
    for line in (heads, ["---"] * len(heads), *rows):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
