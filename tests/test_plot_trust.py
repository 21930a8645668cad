"""Figures about uncertainty and decisions: they say the numbers that were put in, and mark them by shape."""

import matplotlib
import numpy as np
import pytest

from sftlab import plot, wilson
from sftlab.core import statistics
from sftlab.plot import style

matplotlib.use("agg")
RNG = np.random.default_rng(0)


def axes():
    from matplotlib.figure import Figure

    return Figure(layout="constrained").add_subplot()


def title(ax):
    return ax.get_title(loc="left").replace("\n", " ")


def words(ax):
    return style.alt(ax.get_figure(root=True))


def test_sampling_names_the_range_of_the_middle_95_percent():
    draws = {n: RNG.binomial(n, 0.85, 4000) / n for n in (26, 656)}
    ax = plot.sampling(draws, 0.85, majority=0.69, ax=axes())
    low, high = np.percentile(draws[656], [2.5, 97.5])
    assert f"± {50 * (high - low):.1f} points" in title(ax)
    assert any(line.get_gid() == "majority" for line in ax.lines)


def test_coverage_names_the_worst_of_each_interval():
    ax = plot.coverage([0.5, 0.9], {"naive": [0.93, 0.6], "Wilson": [0.95, 0.94]}, 26, ax=axes())
    assert "naive at worst 60 %" in title(ax)
    assert "Wilson at worst 94 %" in title(ax)


def test_hits_counts_the_intervals_that_contain_the_truth_and_crosses_the_others():
    ax = plot.hits([wilson(85, 100), wilson(60, 100), wilson(90, 100)], 0.85, n=100, ax=axes())
    assert "2 of 3 intervals contain the truth" in title(ax)
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == "X") == 1


def test_spreads_names_two_standard_deviations():
    ax = plot.spreads({"seeds": [0.80, 0.82], "splits": [0.7, 0.9]}, ax=axes())
    assert "seeds ± 2.8" in title(ax)
    assert "splits ± 28.3" in title(ax)


@pytest.mark.parametrize(("b", "said"), [((0.85, 0.86, 0.84), "more than"), ((0.80, 0.81, 0.795), "may be nothing")])
def test_pairs_says_when_the_difference_may_be_nothing(b, said):
    assert said in title(plot.pairs((0.80, 0.80, 0.80), b, ("a", "b"), ax=axes()))


def test_batch_means_marks_the_worst_batch_size():
    right = np.array([True] * 9 + [False])
    sizes = np.arange(1, 11)
    wrong = [np.mean([right[i : i + s].mean() for i in range(0, 10, s)]) for s in sizes]
    ax = plot.batch_means(sizes, wrong, 0.9, 10, ax=axes())
    assert "50.0 % to 90.0 %" in title(ax)
    assert any("batches of 9: the last has 1 image" in text.get_text() for text in ax.texts)


def test_climb_keeps_the_best_seen_and_says_what_it_gives_elsewhere():
    ax = plot.climb([0.7, 0.9, 0.8], [0.75, 0.74, 0.8], n=50, majority=0.7, ax=axes())
    assert "After 3 tries the kept best promises 16.0 points more" in title(ax)
    assert "90.0 %, on new modules 74.0 %" in words(ax)


def test_bills_marks_the_formula_and_the_lowest_point():
    at = np.array([0.1, 0.2, 0.3])
    ax = plot.bills(at, {"raw": np.array([3.0, 2.0, 1.0])}, 0.2, baselines={"all": 4.0}, ax=axes())
    assert "raw, at the formula's threshold: 2.00" in title(ax)
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert hollow[0].get_xydata().tolist() == [[0.3, 1.0]]


def test_piles_put_every_image_where_it_belongs_and_count_the_money():
    p, y = np.array([0.1, 0.9, 0.2, 0.8]), np.array([0, 0, 1, 1])
    thumbs = np.zeros((4, 8, 8), dtype=np.uint8)
    ax = plot.piles(p, y, thumbs, range(4), 0.5, missed=100, false_alarm=20, classes=["whole", "broken"], ax=axes())
    heads = [box.get_title(loc="left") for box in ax.child_axes]
    assert [h[0] for h in heads] == ["✓", "✗", "✗", "✓"]
    assert all(": 1" in h for h in heads)
    assert "30,000 € per 1,000" in title(ax)


def test_piles_can_be_empty():
    p, y = np.array([0.9, 0.9]), np.array([1, 1])
    thumbs = np.zeros((2, 8, 8), dtype=np.uint8)
    ax = plot.piles(p, y, thumbs, range(2), 0.0, missed=1, false_alarm=1, classes=["a", "b"], ax=axes())
    assert "0 € per 1,000" in title(ax)


def test_refusals_count_each_kind_and_cross_what_is_refused():
    ax = plot.refusals({"cells": [0.1, 0.2], "photos": [0.8, 0.05]}, 0.5, label="distance", ax=axes())
    assert "Distance refuses 50 % of the photos" in title(ax)
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == "x") == 1


def test_by_certainty_answers_all_at_the_right_end():
    p = np.column_stack([np.linspace(0, 1, 60), 1 - np.linspace(0, 1, 60)])
    ax = plot.by_certainty(p, np.zeros(60, dtype=int), majority=1.0, ax=axes())
    assert "It answers all: 50.0 %" in title(ax)


def test_disagreements_show_the_counts_that_mcnemar_uses():
    a, b = np.array([1, 1, 1, 0], dtype=bool), np.array([1, 0, 0, 1], dtype=bool)
    ax = plot.disagreements(a, b, ("a", "b"), ax=axes())
    assert "only a right 2, only b right 1" in words(ax)
    assert f"p = {statistics.mcnemar(a, b):.2g}" in title(ax)


def test_heatmaps_leave_an_image_without_a_map_bare():
    pixels = np.zeros((2, 1, 8, 8), dtype=np.uint8)
    ax = plot.heatmaps(pixels, {"cell": None, "heat": np.ones((2, 2, 2))}, ax=axes())
    assert len(ax.images) == 6
    assert "2 images, row by row: cell, heat" in words(ax)
