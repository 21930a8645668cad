"""What every benchmark shares: work that is kept piece by piece, so that a stopped command goes on where it was."""

import copy
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

import sftlab as sft
from sftlab.core import records
from sftlab.core.model import named_stages
from sftlab.core.statistics import t_interval

DIGITS = 0.4 / 0.4  # of the digits: measured on, and to draw the labels to learn from


class Ledger:
    """A JSON file beside its script, with all that is finished; `kept` is what it holds.

    empty: the parts of a new file; one that an older file lacks is added.
    """

    def __init__(self, script: str, **empty: Any) -> None:
        self.path = Path(script).with_suffix(".json")
        self.kept: dict[str, Any] = empty | (records.read(self.path) if self.path.exists() else {})

    def write(self) -> None:
        """Write what is kept."""
        records.write(self.kept, self.path)

    def once(self, rows: dict[str, Any], name: str, work: Callable[[], Any]) -> Any:
        """Return what `work` found for a row of what is kept, now or in an earlier call."""
        if name not in rows:
            rows[name] = work()
            self.write()
            print(f"{name}: {rows[name]}"[:120], flush=True)
        return rows[name]


class Runs(Ledger):
    """A ledger of runs by name, with the seconds that each took and the machine they were made on."""

    def __init__(self, script: str) -> None:
        super().__init__(script, runs={})

    def run(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what `work` found under this name, now or in an earlier call."""
        runs: dict[str, Any] = self.kept["runs"]
        if name not in runs:
            began = time.perf_counter()
            found = work()
            runs[name] = {**found, "seconds": round(time.perf_counter() - began, 1)}
            self.kept |= {
                "torch": torch.__version__,
                "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            }
            self.write()
            print(f"{name}: {runs[name]['seconds']} s", flush=True)
        result: dict[str, Any] = runs[name]
        return result


def pretrained(seed: int) -> tuple[Any, sft.data.Data]:
    """Return `tiny` after five epochs on printed characters of 8×8 pixels, and those characters."""
    source = sft.load("characters", size=8)
    net = sft.replace_head(sft.backbone("tiny", seed=seed), source.classes, seed=seed)
    how = {"batch_size": 128, "schedule": sft.cosine(), "keep_best": False, "verbose": False, "seed": seed}
    sft.fit(net, source, sft.full(net, 1e-2), epochs=5, **how)
    return net, source


def points(values: Any, test_to_train: float, sign: str = "") -> str:
    """Return the mean of shares of 1 over runs ± half of its 95 % interval, in points.

    test_to_train: of runs over random splits of one set, the images measured on for each to learn from.
    """
    found = t_interval(100 * np.asarray(values, dtype=float), test_to_train=test_to_train)
    return f"{found.value:{sign}.1f} ± {found.value - found.low:.1f}".replace("-", "−")


def probed(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return for each image whether a probe that never saw its group calls it right: n booleans.

    Grouped cross-validation: five times, a logistic regression learns from all other folds. Features are
    standardised on what it learns from. Weights w ~ N(0, C) of D such features give the logit the prior
    variance C·D; C = 3/D makes the brake equally strong for 16 features and for 1280.
    features: n × D. targets: n class numbers. groups: n labels; images of one group stay together.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.asarray(features, dtype=np.float32), np.asarray(targets)
    solver = "newton-cholesky" if x.shape[1] < 512 else "newton-cg"  # the same optimum; which is faster differs
    classifier = LogisticRegression(C=3 / x.shape[1], solver=solver, tol=1e-6, max_iter=1000)
    probe = make_pipeline(StandardScaler(), classifier)
    return cross_val_predict(probe, x, y, groups=groups, cv=GroupKFold(5)) == y


@torch.no_grad()
def moved(before: nn.Sequential, after: nn.Sequential) -> dict[str, float]:
    """Return how far each stage's parameters moved, as a share of their own length: ‖w′ − w‖ / ‖w‖, by stage.

    w is the vector of all parameters of a stage. Stages of another size, such as a new head, are left out.
    """
    found = {}
    for name, old in named_stages(before):
        start, end = (parameters_to_vector(s.parameters()) for s in (old, after.get_submodule(name)))
        if start.shape == end.shape:
            found[name] = float((end - start).norm() / start.norm()) if start.any() else 0.0
    return found


def interpolate(before, after, share):
    """Return a copy of `after` whose every weight and statistic is (1 − share) · before + share · after."""
    start, new = before.state_dict(), copy.deepcopy(after)
    state = after.state_dict().items()
    new.load_state_dict({name: torch.lerp(start[name], w, share) if w.is_floating_point() else w for name, w in state})
    return new
