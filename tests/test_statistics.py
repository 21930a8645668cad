"""Intervals and decisions: groups, pairs, runs, calibration, costs; against scipy, scikit-learn and brute force."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax
from scipy.stats import binomtest, t
from sklearn.metrics import log_loss

from sftlab.analysis import decisions
from sftlab.core import statistics
from sftlab.core.evaluation import result


def answers(n=400, classes=3, seed=0, sharp=3.0):
    """Return probabilities that are too sure by the factor `sharp`, and labels drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, classes)) * 1.5
    honest = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(classes, p=row) for row in honest])
    return softmax(np.log(honest) * sharp, axis=1), y, honest


def test_temperature_is_where_scipy_finds_the_lowest_cross_entropy():
    p, y, _ = answers()
    found = minimize_scalar(lambda t: log_loss(y, softmax(np.log(p) / t, axis=1)), bounds=(0.05, 20), method="bounded")
    assert decisions.fit_temperature(p, y) == pytest.approx(found.x, rel=1e-3)
    assert decisions.fit_temperature(p, y) == pytest.approx(3.0, rel=0.25)


def test_certain_and_always_right_ends_at_the_border_and_not_in_an_error():
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert decisions.fit_temperature(p, [0, 1]) == pytest.approx(0.05, rel=1e-3)
    assert decisions.fit_temperature(p, [1, 0]) == pytest.approx(20, rel=1e-3)


def test_calibration_error_is_torchmetrics_beside_what_a_calibrated_network_shows():
    from torchmetrics.functional.classification import multiclass_calibration_error as theirs

    sharp, y, honest = answers()
    good, bad = (decisions.calibration(p, y) for p in (honest, sharp))
    for found, p in ((good, honest), (bad, sharp)):
        expected = theirs(torch.tensor(p), torch.tensor(y), num_classes=3, n_bins=15, norm="l1").item()
        assert found.ece == pytest.approx(expected, abs=1e-6)
    assert good.expected > 0 and good.ece < good.most and bad.ece > 2 * bad.most
    again = [decisions.calibration(honest, drawn(honest, s)).ece for s in range(40)]
    assert good.expected == pytest.approx(np.mean(again), rel=0.1)  # that is, such labels are drawn
    assert decisions.calibration([*honest, [1, 0, 0]], [*y, -100]) == good  # without a label, without a say


def drawn(p, seed):
    return (np.random.default_rng(seed).uniform(size=(len(p), 1)) > p.cumsum(axis=1)).sum(axis=1)


RARE = np.arange(100) // 95  # five of a hundred


@pytest.mark.parametrize(
    ("y", "p", "shown"),
    [
        (np.arange(200) // 190, np.where(np.arange(200) // 195, 0.9, np.where(np.arange(200) < 190, 0.1, 0.2)), True),
        (RARE, np.random.default_rng(0).uniform(size=100), False),
        (RARE, np.where(np.arange(100) >= 97, 0.9, 0.1), False),
        (np.arange(200) % 2, np.arange(200) % 2 * 0.4 + 0.3, True),
    ],
    ids=["rare, half of it found", "rare, dice", "rare and few", "all right"],
)
def test_skill_is_judged_against_chance_and_a_rare_class_is_not_overlooked(y, p, shown):
    words = decisions.skill(result("test", ["no", "yes"], list(map(str, y)), y, np.stack([1 - p, p], axis=1)))
    assert words.startswith("Skill is shown" if shown else "Skill is not shown, which is not to say")
    assert "area under the ROC curve" in words and "chance is 0.5" in words and "the majority rate is" in words


def test_of_many_classes_the_balanced_accuracy_is_judged():
    y = np.arange(300) % 100  # three images a class
    p = np.full((300, 100), 0.1 / 99)
    p[np.arange(300), np.where(np.arange(300) % 3, y, (y + 1) % 100)] = 0.9
    words = decisions.skill(result("test", list(map(str, range(100))), [""] * 300, y, p))
    assert words.startswith("Skill is shown: balanced accuracy 0.667") and "chance is 0.01" in words


def test_the_threshold_is_the_cheapest_one_for_calibrated_probabilities():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=200_000)
    y = (rng.uniform(size=len(p)) < p).astype(int)
    grid = np.arange(0.05, 0.6, 0.05)
    bills = [decisions.costs(p, y, at, missed=80, false_alarm=20).mean() for at in grid]
    assert grid[int(np.argmin(bills))] == pytest.approx(decisions.threshold(80, 20))


def test_costs_count_each_kind_of_error_once():
    each = decisions.costs([0.9, 0.9, 0.1, 0.1], [1, 0, 1, 0], 0.5, missed=7, false_alarm=2)
    assert each.tolist() == [0, 2, 7, 0]
    with pytest.raises(ValueError, match="for every image"):
        decisions.costs([0.5], [0, 1], 0.5, missed=1, false_alarm=1)


GROUPS = np.repeat(np.arange(12), np.arange(5, 17))


def some(n=126, share=0.8, seed=0):
    return np.random.default_rng(seed).uniform(size=n) < share


def test_a_share_over_groups_is_the_jackknife_that_leaves_out_each_group():
    right = some()
    logits = [logit(right[g != GROUPS].mean()) for g in range(12)]
    sizes = np.arange(5, 17)
    freedom = sizes.sum() ** 2 / (sizes**2).sum() - 1
    half = t.ppf(0.975, freedom) * np.sqrt(11 / 12 * np.sum((logits - np.mean(logits)) ** 2))
    found = statistics.proportion(right, GROUPS)
    assert (found.value, found.groups) == (right.mean(), 12)
    assert (found.low, found.high) == pytest.approx(expit(logit(right.mean()) + np.array([-half, half])))
    assert statistics.proportion(right) == statistics.wilson(int(right.sum()), len(right))


def test_images_that_are_right_or_wrong_together_widen_the_interval():
    right = np.repeat(some(12, 0.7), np.arange(5, 17))
    narrow, wide = statistics.proportion(right), statistics.proportion(right, GROUPS)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_without_groups_the_interval_of_a_mean_is_students():
    x = np.random.default_rng(0).normal(size=30)
    found = statistics.mean_interval(x)
    assert (found.low, found.high) == pytest.approx(t.interval(0.95, 29, x.mean(), x.std(ddof=1) / np.sqrt(30)))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (statistics.proportion([True, False] * 4, [0, 0, 1, 1, 2, 2, 3, 3]), "4 of the 5 groups"),
        (statistics.mean_interval([1.0, 2.0]), "2 of the 5 images"),
        (statistics.wilson(0, 0), "no cases"),
        (statistics.t_interval([0.5, 0.5, 0.5]), "3 equal runs"),
    ],
)
def test_too_few_to_tell_is_said_and_no_interval_is_made_up(found, words):
    assert words in found.why and f"(no interval: {found.why})" in f"{found:.2f}"


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_nothing_varies_the_interval_is_as_wide_as_so_few_groups_allow(value):
    found = statistics.proportion(np.full(len(GROUPS), bool(value)), GROUPS)
    assert (found.low, found.high) == pytest.approx(vars_of(statistics.wilson(int(12 * value), 12)))
    same = decisions.difference(some(), some(), GROUPS)
    assert (same.value, same.high) == (0, pytest.approx(statistics.wilson(0, 12).high)) and same.low == -same.high


def vars_of(interval):
    return interval.low, interval.high


def test_one_group_with_all_the_errors_leaves_a_finite_interval():
    right = GROUPS != 3
    found = statistics.proportion(right, GROUPS)
    assert 0 < found.low < found.value < found.high < 1


def test_mcnemar_counts_only_the_images_that_tell_the_models_apart():
    a = np.array([True] * 50 + [True] * 12 + [False] * 3 + [False] * 9)
    b = np.array([True] * 50 + [False] * 12 + [True] * 3 + [False] * 9)
    assert decisions.mcnemar(a, b) == pytest.approx(binomtest(3, 15).pvalue)
    assert decisions.mcnemar(a, a) == 1.0
    assert decisions.difference(a, b).value == pytest.approx(9 / 74)


def test_pairs_tell_apart_what_two_intervals_cannot():
    rng = np.random.default_rng(0)
    a = rng.uniform(size=500) < 0.8
    b = a.copy()
    b[rng.choice(np.flatnonzero(a), 12, replace=False)] = False
    together, apart = decisions.difference(a, b), statistics.proportion(a)
    assert together.low > 0
    assert together.high - together.low < 0.5 * (apart.high - apart.low)


def test_over_runs_is_students_interval_wider_where_the_runs_share_their_images():
    found, split = statistics.t_interval([1.0, 2.0, 3.0]), statistics.t_interval([1.0, 2.0, 3.0], test_to_train=2 / 3)
    assert (found.value, round(found.high - 2, 3)) == (2.0, round(4.3027 / np.sqrt(3), 3))
    assert split.high - 2 == pytest.approx(4.3027, abs=1e-3)  # 1/3 + 2/3 in place of 1/3 (Nadeau and Bengio, 2003)
    with pytest.raises(ValueError, match="at least two"):
        statistics.t_interval([1.0])


def test_the_threshold_of_fewest_errors_is_no_worse_than_any_other():
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, y = rng.uniform(size=15).round(1), rng.integers(2, size=15)
        errors = [((p >= at) != (y == 1)).sum() for at in np.linspace(-0.01, 1.01, 500)]
        found = decisions.cost_threshold(p, y)
        assert ((p >= found) != (y == 1)).sum() == min(errors)


def test_a_threshold_of_costs_is_found_on_labels_where_the_formula_needs_honest_probabilities():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    y = (rng.uniform(size=len(p)) < p).astype(int)
    assert decisions.cost_threshold(p, y, missed=80, false_alarm=20) == pytest.approx(0.2, abs=0.03)


def test_of_equally_good_thresholds_the_middle_one_is_taken_and_none_is_refused():
    assert decisions.cost_threshold([0.2, 0.4, 0.8], [0, 0, 1]) == pytest.approx(0.6)
    assert decisions.cost_threshold([0.3], [0]) > 0.3 and decisions.cost_threshold([0.3], [1]) < 0.3
    with pytest.raises(ValueError, match="no labelled images"):
        decisions.cost_threshold([], [])
