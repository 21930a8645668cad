"""What labels buy: draws of them, and the level gap between two curves."""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

import sftlab as sft
from sftlab.analysis import labels
from sftlab.core import records

NS = [1, 2, 5, 10, 50]
UP = np.linspace(0.5, 0.9, 5)
BENCH = Path(__file__).parents[1] / "benchmarks" / "labels.py"


def runs(curve, spread=0.01, count=6, seed=0):
    """Return {labels: accuracies} of some runs around a curve."""
    noise = np.random.default_rng(seed).normal(0, spread, (count, 1))  # a good draw is good at every number of labels
    return {n: list(values) for n, values in zip(NS, (np.asarray(curve) + noise).T, strict=True)}


GOOD, POOR = runs(UP), runs(UP - 0.1)


def test_a_draw_has_n_of_each_class_and_more_labels_contain_fewer():
    data = sft.load("digits", test=0.4)
    draws = {n: labels.draw(data.train, n, seed=3) for n in (1, 5, 50)}
    assert all(part.y.bincount().tolist() == [n] * 10 for n, part in draws.items())
    hashes = {n: set(part.hashes) for n, part in draws.items()}
    assert hashes[1] < hashes[5] < hashes[50] <= set(data.train.hashes)
    assert hashes[5] != set(labels.draw(data.train, 5, seed=4).hashes)
    assert labels.draw(data.train, 5, seed=3).hashes == draws[5].hashes
    with pytest.raises(ValueError, match=r"n=90: class \d has \d+ images in train"):
        labels.draw(data.train, 90, seed=0)


def test_needed_is_an_interpolation_with_the_axes_exchanged():
    for target in (0.5, 0.55, 0.7, 0.73, 0.9):
        assert labels.needed(NS, UP, target) == pytest.approx(np.exp(np.interp(target, UP, np.log(NS))))
    assert labels.needed(NS, UP, 0.91) == math.inf
    assert labels.needed(NS, UP, 0.3) == 1
    for n in (1, 1.5, 3, 10, 33, 50):
        assert labels.needed(NS, UP, labels.reached(NS, UP, n)) == pytest.approx(n)


def test_a_dip_of_a_curve_is_no_progress():
    dip = [0.5, 0.8, 0.6, 0.8, 0.9]
    assert labels.needed(NS, dip, 0.8) == 2  # what was reached with two labels is not asked for again
    assert labels.needed(NS, dip, 0.85) == pytest.approx(math.sqrt(10 * 50))
    assert labels.reached(NS, dip, 5) == pytest.approx(0.8)


def test_a_method_is_worth_its_own_labels_to_itself_and_more_to_a_poorer_one():
    own = labels.worth(GOOD, GOOD, 5)
    assert (own.value, own.low, own.high) == pytest.approx((5, 5, 5))
    more = labels.worth(GOOD, POOR, 5)  # one step of the curve is 0.1: what 5 labels give, the other has at 10
    assert (more.value, more.low, more.high) == pytest.approx((10, 10, 10))  # pairs: what all runs share cancels
    assert labels.worth(POOR, GOOD, 5).value == pytest.approx(2)
    never = labels.worth(GOOD, POOR, 50)
    assert (never.value, never.high) == (math.inf, math.inf)
    assert "5 equal" not in never.why and labels.worth(runs(UP, count=4), runs(UP - 0.1, count=4), 5).why
    with pytest.raises(ValueError, match="6 runs of the method, 4 of the baseline"):
        labels.worth(GOOD, runs(UP, count=4), 5)


def test_unpaired_runs_make_the_interval_wide_and_it_covers_the_truth():
    other = labels.worth(GOOD, runs(UP - 0.1, seed=5), 5)
    assert other.high - other.low > 0.5 and 10 in other
    covered = sum(10 in labels.worth(runs(UP, count=12, seed=s), runs(UP - 0.1, count=12, seed=100 + s), 5)
                  for s in range(100))  # fmt: skip
    assert 90 <= covered <= 100  # 95 promised


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCH.parent)  # as `python benchmarks/labels.py` has it
    return runpy.run_path(str(BENCH), run_name="bench")


def test_the_record_is_complete_and_each_method_is_run_as_the_validation_images_chose(bench):
    kept = records.read(BENCH.with_suffix(".json"))
    every = {*bench["TRIALS"], *bench["TRUSTED"]}
    assert len(kept["runs"]) >= 10 and all(set(run) == every for run in kept["runs"].values())
    assert all(set(map(int, row)) == set(bench["LABELS"]) for run in kept["runs"].values() for row in run.values())
    for method, settings in bench["TRIALS"].items():
        tried = np.mean(list(kept["trials"][method].values()), axis=(0, 2))
        assert kept["chosen"][method] == settings[int(tried.argmax())]
    bits = bench["unpacked"](kept["runs"]["0"]["LP-FT"]["50"], kept["images"])
    assert len(bits) == kept["images"] and 0.9 < bits.mean() < 1
    for seed, run in kept["runs"].items():  # what two parts of the record hold is one and the same run
        assert kept["alphabets"]["all"][seed][str(bench["SPREAD"])] == run["LP-FT"][str(bench["SPREAD"])]
    assert all(set(rows) == set(kept["runs"]) for rows in kept["alphabets"].values())


def test_shuffled_labels_are_as_many_of_each_and_only_those_of_train(bench):
    data = sft.load("digits", test=0.4)
    mixed = bench["shuffled"](data, seed=0)
    assert mixed.train.y.bincount().tolist() == data.train.y.bincount().tolist()
    assert (mixed.train.y == data.train.y).float().mean() < 0.2
    assert (mixed.valid.y == data.valid.y).all() and (mixed.test.y == data.test.y).all()
