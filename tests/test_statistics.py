"""Decisions: calibration, costs, refusal and pairs, against scipy, scikit-learn and brute force."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import log_loss
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from sftlab.analysis import decisions
from sftlab.core import statistics


def answers(n=400, classes=3, seed=0, sharp=3.0):
    """Return probabilities that are too sure by the factor `sharp`, and labels drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, classes)) * 1.5
    honest = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(classes, p=row) for row in honest])
    return decisions.temperature_scale(honest, 1 / sharp), y, honest


def test_temperature_is_where_scipy_finds_the_lowest_cross_entropy():
    p, y, _ = answers()
    found = minimize_scalar(
        lambda t: log_loss(y, decisions.temperature_scale(p, t)), bounds=(0.05, 20), method="bounded"
    )
    assert decisions.fit_temperature(p, y) == pytest.approx(found.x, rel=1e-3)
    assert decisions.fit_temperature(p, y) == pytest.approx(3.0, rel=0.25)


def test_tempered_keeps_the_answers_and_undoes_itself():
    p, _, honest = answers()
    assert np.allclose(decisions.temperature_scale(p, 3.0), honest)
    assert (decisions.temperature_scale(p, 3.0).argmax(axis=1) == p.argmax(axis=1)).all()
    with pytest.raises(ValueError, match="above 0"):
        decisions.temperature_scale(p, 0)


def test_certain_and_always_right_ends_at_the_border_and_not_in_an_error():
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert decisions.fit_temperature(p, [0, 1]) == pytest.approx(0.05)
    assert decisions.fit_temperature(p, [1, 0]) == pytest.approx(20)


def test_reweighted_is_the_rule_of_bayes():
    like = np.array([[0.2, 0.6]])  # of the image under each class
    half = like * 0.5 / (like * 0.5).sum()
    world = like * [0.9, 0.1] / (like * [0.9, 0.1]).sum()
    assert np.allclose(decisions.reweighted(half, [0.5, 0.5], [0.9, 0.1]), world)


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


def test_the_mean_of_noughts_and_ones_has_about_the_binomial_interval():
    found = statistics.bootstrap_mean(np.repeat([1, 0], [300, 100]))
    assert found.value == 0.75
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.75 * 0.25 / 400), rel=0.1)


def test_mcnemar_counts_only_the_images_that_tell_the_models_apart():
    a = np.array([True] * 50 + [True] * 12 + [False] * 3 + [False] * 9)
    b = np.array([True] * 50 + [False] * 12 + [True] * 3 + [False] * 9)
    assert statistics.mcnemar(a, b) == pytest.approx(binomtest(3, 15).pvalue)
    assert statistics.mcnemar(a, a) == 1.0
    assert statistics.difference(a, b).value == pytest.approx(9 / 74)


def test_pairs_tell_apart_what_two_intervals_cannot():
    rng = np.random.default_rng(0)
    a = rng.uniform(size=500) < 0.8
    b = a.copy()
    b[rng.choice(np.flatnonzero(a), 12, replace=False)] = False
    together, apart = statistics.difference(a, b), statistics.bootstrap_mean(a)
    assert together.low > 0
    assert together.high - together.low < 0.5 * (apart.high - apart.low)


def test_over_runs_is_students_interval():
    found = statistics.t_interval([1.0, 2.0, 3.0])
    assert (found.value, round(found.high - 2, 3)) == (2.0, round(4.3027 / np.sqrt(3), 3))
    with pytest.raises(ValueError, match="at least two"):
        statistics.t_interval([1.0])


def test_strangeness_is_scikit_learns_cosine_distance_to_the_neighbours():
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=(60, 8)), rng.normal(size=(10, 8))
    far = NearestNeighbors(n_neighbors=5, metric="cosine").fit(known).kneighbors(new)[0].mean(axis=1)
    assert np.allclose(decisions.knn_distance(new, known), far)
    assert np.allclose(decisions.cosines(new, known), cosine_similarity(new, known))
    with pytest.raises(ValueError, match="fewer than the 5"):
        decisions.knn_distance(new, known[:3])


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
