"""What remedies buy, gaps, and augmented views: titles that are computed, figures that stand whole."""

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from figures import drawn_whole, finding

from sftlab import plot
from sftlab.data import View, rotate, zoom

pytestmark = pytest.mark.usefixtures("house_style")
RUNS = {
    "pretrained": {"move": [0.1, -0.2, 0.3, 0.0], "widen": [3.0, 4.0, 3.5, 3.2]},
    "from scratch": {"move": [3.0, 5.0, 4.0, 4.2], "widen": [1.0, -1.0, 0.5, 0.2]},
}


def test_the_title_names_the_remedy_with_the_largest_gain_among_those_clear_of_zero():
    ax = plot.remedies(RUNS, live={"pretrained": {"move": 0.4}})
    assert finding(ax) == "Move buys most: +4.0 points, from scratch"
    assert sum(line.get_gid() == "live" for line in ax.lines) == 1
    assert sum(line.get_gid() == "stored" for line in ax.lines) == 4
    assert drawn_whole(ax)
    unclear = {"pretrained": {"widen": [9.0, -8.0, 0.5, 0.2]}}
    assert finding(plot.remedies(unclear)) == "No remedy is clear of zero"
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.remedies({"pretrained": {}})


def test_the_gap_is_train_minus_valid_at_both_ends():
    train, valid = [[1.0, 1.0], [0.7, 0.6], [0.5, 0.5]], [[0.7, 0.6], [0.6, 0.6], [0.5, 0.6]]
    ax = plot.gaps([0, 0.5, 0.9], train, valid, at=0.5, live=(0.5, 0.66, 0.61), majority=0.5)
    assert finding(ax) == "The gap is 35 points at 0, -5 at 0.9; new images 65 % and 55 %"
    assert [line.get_gid() for line in ax.lines].count("live") == 2
    assert drawn_whole(ax)
    with pytest.raises(ValueError, match="3 strengths, 3 and 2 accuracies"):
        plot.gaps([0, 0.5, 0.9], train, valid[:2])


def test_views_are_a_row_a_view_of_the_same_images(blobs):
    turned, cut = (View(blobs.train, augment, 0, 1) for augment in (rotate(90), zoom(0.5)))
    ax = plot.views(blobs.train, [0, 1, 2], {"turned": turned, "cut": cut})
    assert len(ax.images) == 9 and finding(ax) == "3 images in 3 views"
    first, second = (np.asarray(ax.images[i].get_array()) for i in (0, 3))
    assert np.array_equal(first, blobs.train.pixels(np.array([0]))[0].permute(1, 2, 0).numpy().squeeze())
    assert not np.array_equal(first, second)
    assert drawn_whole(ax)
