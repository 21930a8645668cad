"""What is said of the intervals' coverage is what the record holds, and a small rerun agrees with the record."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from sftlab.core import records

BENCH = Path(__file__).parents[1] / "benchmarks" / "coverage.py"
KEPT = records.read(BENCH.with_suffix(".json"))
OURS = ("accuracy", "balanced_accuracy", "roc_auc", "precision", "recall", "f1", "difference")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCH.parent)  # as `python benchmarks/coverage.py` has it
    return runpy.run_path(str(BENCH), run_name="bench")


def test_from_ten_groups_on_intervals_hold_the_truth_as_often_as_is_said(bench):
    readme = (BENCH.parent / "README.md").read_text(encoding="utf-8")
    assert set(KEPT["groups"]) == set(bench["WORLDS"])
    for enough in (True, False):
        counts = [str(n) for n in bench["GROUPS"] if (n >= 10) == enough]
        found = [100 * rows[n][name] for rows in KEPT["groups"].values() for n in counts for name in OURS]
        said = f"{min(found):.0f} to {max(found):.0f} %"
        assert said in readme, said
        assert not enough or (min(found) >= 92 and max(found) < 98)


def test_a_small_rerun_agrees_with_the_record(bench):
    world, sets = "as the solar cells", 120
    again, kept = bench["covered"](bench["WORLDS"][world], 11, sets=sets, seed=1), KEPT["groups"][world]["11"]
    for name, share in kept.items():
        assert again[name] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / sets) + 0.01), name
    assert again["accuracy, images counted"] < 0.8 < again["accuracy"]  # what counting images would have promised


def test_the_formula_of_the_truth_is_what_many_groups_show(bench):
    world, rng = bench["WORLDS"]["a rare class"], np.random.default_rng(0)
    y, _, first, second = bench["test_set"](world, 4000, rng)
    right, other = ((score > 0) == (y == 1) for score in (first, second))
    truth = bench["truth"](world)
    found = {"accuracy": right.mean(), "recall": right[y == 1].mean(), "difference": other.mean() - right.mean()}
    assert all(truth[name] == pytest.approx(value, abs=0.01) for name, value in found.items())
