"""Paired differences and means in a band: intervals as scipy computes them, stored hollow, live solid, gaps level."""

import math

import numpy as np
import pytest
from figures import check_figure, drawn_whole, finding, marked
from scipy.stats import ttest_rel

import sftlab as sft
from sftlab import plot
from sftlab.plot import style
from sftlab.plot.differences import label_count

pytestmark = pytest.mark.usefixtures("house_style")
COUNTS = [1, 2, 5, 10, 50]
UP = np.linspace(0.5, 0.9, 5)


def runs(curve, spread=0.01, count=6, seed=0):
    """Return {labels: accuracies} of some runs around a curve."""
    noise = np.random.default_rng(seed).normal(0, spread, (count, 1))  # a good draw is good at every number of labels
    return {n: list(values) for n, values in zip(COUNTS, (np.asarray(curve) + noise).T, strict=True)}


GOOD, POOR = runs(UP), runs(UP - 0.1)
CURVES = {"LP-FT": GOOD, "from scratch": POOR, "nearest neighbour": runs(UP - 0.05, seed=1)}


@pytest.mark.parametrize(("draw", "data", "how"), [
    (plot.differences, ({"move": {"full": [0.1, 0.3], "LP-FT": [1.0, 2.0]}},), {"to": "the probe"}),
    (plot.band_curves, (CURVES,), {"xlabel": "labels", "log": True, "majority": 0.1}),
    (plot.label_gap, (CURVES, "LP-FT", "from scratch"), {"at": 3}),
])  # fmt: skip
def test_every_figure_is_whole_and_described(draw, data, how):
    check_figure(draw, *data, **how)


def test_differences_have_the_interval_of_a_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = 100 * rng.uniform(0.4, 0.6, 12), 100 * rng.uniform(0.5, 0.7, 12)
    ax = plot.differences({"old": {"LP-FT": b - a}}, to="full")
    ends = ttest_rel(b, a).confidence_interval(0.95)
    (bar,) = marked(ax, "interval")
    assert bar.get_xdata() == pytest.approx([ends.low, ends.high])
    (mean,) = marked(ax, "stored")
    assert mean.get_xdata() == pytest.approx([(b - a).mean()])


def test_differences_say_how_many_are_clear_of_zero_and_which_is_largest():
    gains = {"move": {"pretrained": [0.1, -0.2, 0.3, 0.0], "from scratch": [3.0, 5.0, 4.0, 4.2]},
             "widen": {"pretrained": [3.0, 4.0, 3.5, 3.2], "from scratch": [1.0, -1.0, 0.5, 0.2]}}  # fmt: skip
    ax = plot.differences(gains, to="none", live={"move": {"pretrained": 0.4}})
    assert finding(ax) == (
        "Against none, 2 of 4 differences are clear of zero; largest: move, from scratch +4.0 points"
    )
    assert len(marked(ax, "stored")) == 4 and drawn_whole(ax)
    (live,) = marked(ax, "live")
    assert live.get_markerfacecolor() == live.get_color() and list(live.get_xdata()) == [0.4]
    assert "move, pretrained, now: +0.4" in style.alt(ax.figure)
    unclear = {"widen": {"pretrained": [9.0, -8.0, 0.5, 0.2]}}
    assert finding(plot.differences(unclear, to="none")) == "Against none, no difference is clear of zero"
    alone = plot.differences({"this run": {"eval()": []}}, to="none", live={"this run": {"eval()": 2.0}})
    assert not marked(alone, "stored") and len(marked(alone, "live")) == 1
    with pytest.raises(ValueError, match="nothing to compare"):
        plot.differences({"widen": {}}, to="none")


def test_bands_are_means_over_runs_hollow_where_stored_and_solid_where_computed():
    ax = plot.band_curves(CURVES, xlabel="labels", log=True, live={"LP-FT": {5: 0.72}}, majority=0.1)
    stored = marked(ax, "stored")
    assert {line.get_markerfacecolor() for line in stored} == {"white"}
    assert stored[0].get_ydata() == pytest.approx([np.mean(GOOD[n]) for n in COUNTS])
    live = [line for line in marked(ax, "live") if len(line.get_ydata())]
    assert [list(line.get_ydata()) for line in live] == [[0.72]] and live[0].get_markerfacecolor() != "white"
    assert finding(ax).startswith("LP-FT 50 % to 90 %") and drawn_whole(ax)
    cosines = plot.band_curves({"loop": {0: [0.0, 0.2], 5: [0.3, 0.5]}}, xlabel="epochs", ylabel="cosine")
    assert finding(cosines) == "Loop +0.10 to +0.40"
    with pytest.raises(ValueError, match="no curve given"):
        plot.band_curves({}, xlabel="labels")


def test_the_arrow_runs_level_from_the_method_to_where_the_baseline_is_as_good():
    ax = plot.label_gap(CURVES, "LP-FT", "from scratch", at=5, majority=0.1)
    (arrow,) = marked(ax, "gap")
    assert arrow.xyann == pytest.approx((5, np.mean(GOOD[5]))) and arrow.xy == pytest.approx((10, np.mean(GOOD[5])))
    assert finding(ax).startswith("LP-FT with 5 labels a class: ")
    assert finding(ax).endswith("; from scratch needs 10.0 (10.0–10.0)") and drawn_whole(ax)
    back = plot.label_gap(CURVES, "from scratch", "LP-FT", at=5)
    assert marked(back, "gap")[0].xy[0] == pytest.approx(2)  # what is worse points to the left
    with pytest.raises(ValueError, match="no curve is named 'kNN'; there are LP-FT"):
        plot.label_gap(CURVES, "LP-FT", "kNN", at=5)
    with pytest.raises(ValueError, match="at=60: between 1 and 50"):
        plot.label_gap(CURVES, "LP-FT", "from scratch", at=60)


def test_words_for_a_number_of_labels():
    assert label_count(sft.Interval(14.46, 12.8, 41.2), 50) == "14.5 (12.8–41)"
    assert label_count(sft.Interval(40, 30, math.inf), 50) == "40 (30 to more than 50)"
    assert label_count(sft.Interval(math.inf, 43.5, math.inf), 50) == "more than 50 (at least 44)"
    assert label_count(sft.Interval(math.inf, math.inf, math.inf), 50) == "more than 50"
