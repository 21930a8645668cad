"""Figures of home and away: titles that are computed, stored marks hollow, live ones solid, all words inside."""

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from figures import drawn_whole, finding, marked

from sftlab import plot

pytestmark = pytest.mark.usefixtures("house_style")
STORED = {"linear probe": ([0.84, 0.83, 0.85], [0.30, 0.31, 0.29]), "full": ([0.86, 0.84, 0.85], [0.40, 0.35, 0.36])}


def test_a_fall_names_the_strategy_that_is_best_away():
    ax = plot.falls(STORED, live={"full": (0.86, 0.41)}, majority=(0.66, 0.7))
    assert finding(ax) == "Full: 85 % at home, 37 % away, the highest there"
    assert len(marked(ax, "live")) == 2 and len(marked(ax, "stored")) == 4 and len(marked(ax, "majority")) == 2
    assert drawn_whole(ax)
    assert len(marked(plot.falls(STORED, label="area under the ROC curve"), "majority")) == 1  # a coin's
    with pytest.raises(ValueError, match="no strategy"):
        plot.falls({})


def test_the_threshold_counts_what_is_right_in_each_place():
    p, y = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1])
    ax = plot.threshold({"home": (p, y), "away": (p + 0.05, 1 - y)}, 0.5, classes=["intact", "defect"])
    words = [t.get_text() for box in ax.child_axes for t in box.texts]
    assert "home: 100.0 % right, majority rate 50.0 %" in words
    assert "away: 0.0 % right, majority rate 50.0 %" in words
    assert drawn_whole(ax)


def test_the_line_of_weights_says_where_away_is_best_or_what_was_computed_now():
    shares, home, away = [0, 0.5, 1], [[0.8, 0.82], [0.84, 0.85], [0.85, 0.86]], [[0.3, 0.32], [0.5, 0.52], [0.4, 0.4]]
    ax = plot.weight_line(shares, home, away, majority=(0.66, 0.7))
    assert finding(ax) == "Away, accuracy is highest at 0.5 of the way"
    ax = plot.weight_line(shares, home, away, at=0.5, live=(0.84, 0.51))
    assert finding(ax) == "At 0.5 of the way: home 84.0 %, away 51.0 %"
    assert len(marked(ax, "live")) == 2 and drawn_whole(ax)
    with pytest.raises(ValueError, match="3 shares, 3 and 2 results"):
        plot.weight_line(shares, home, away[:2])


def test_ways_are_compared_run_by_run_under_each_condition():
    runs = {
        "noise": {"all": [0.5, 0.6, 0.7], "first": [0.6, 0.7, 0.8], "last": [0.4, 0.5, 0.6]},
        "renamed": {"all": [0.5, 0.6, 0.7], "last": [0.7, 0.8, 0.9]},
    }
    ax = plot.against(runs, "all", live={"noise": {"first": 9.0}})
    assert finding(ax) == "Clearly above all: noise by first (+10), renamed by last (+20)"
    assert finding(plot.against({"noise": {"all": [0.5, 0.6], "first": [0.9, 0.3]}}, "all")) == (
        "Nothing is clearly above all"
    )
    centres = sorted(float(mark.get_xdata()[0]) for mark in marked(ax, "stored"))
    assert np.allclose(centres, [-10, 10, 20]) and len(marked(ax, "live")) == 1
    assert drawn_whole(ax)
    with pytest.raises(ValueError, match="'none'"):
        plot.against(runs, "none")


def test_an_old_head_fades_beside_what_it_said_before():
    crops = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    before = [{"palace": 0.8, "bell cote": 0.1}, {"daisy": 0.9, "bee": 0.05}]
    now = [{"palace": 0.2, "bell cote": 0.1}, {"daisy": 0.1, "bee": 0.05}]
    ax = plot.fading(crops, before, now, kept=0.25, beside="AUC 86 % and 78 % away", licence="CC BY 2.0")
    assert finding(ax) == "The old head still gives 25 % of its old answers"
    assert drawn_whole(ax)
