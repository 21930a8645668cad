"""Figures of lesson 02: where a head reads, where the parameters are, what a stage hands on."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figures import drawn_whole, finding, marked
from matplotlib.figure import Figure

from sftlab import plot
from sftlab.core.records import Interval
from sftlab.plot import style

pytestmark = pytest.mark.usefixtures("house_style")

CURVE = {"stem": Interval(0.5, 0.4, 0.6), "layer1": Interval(0.9, 0.85, 0.94), "neck": Interval(0.7, 0.6, 0.8)}


def axes():
    return Figure(figsize=(8, 4), layout="constrained").add_subplot()


def test_the_depth_curve_names_the_best_stage_and_says_whether_the_last_one_is_clearly_behind():
    ax = plot.depth(CURVE, majority=0.3, ax=axes())
    assert finding(ax) == "Highest after layer1, 90.0 %; at the last stage 70.0 %, outside its interval"
    assert "neck 70.0 % (60.0–80.0)" in style.alt(ax.figure)
    close = CURVE | {"neck": Interval(0.88, 0.84, 0.92)}
    assert finding(plot.depth(close, majority=0.3, ax=axes())).endswith("and the intervals overlap")
    rising = CURVE | {"neck": Interval(0.95, 0.9, 0.99)}
    assert finding(plot.depth(rising, majority=0.3, ax=axes())).startswith("The head reads best at the last stage")


def test_the_depth_curve_has_the_majority_rate_dashed_and_the_guess_hollow():
    ax = plot.depth(CURVE, majority=0.3, guess=3, ax=axes())
    (line,) = marked(ax, "majority")
    assert line.get_ydata()[0] == 0.3 and line.get_linestyle() == "--"
    (guess,) = marked(ax, "guess")
    assert guess.get_xdata()[0] == 2 and guess.get_markerfacecolor() == "none"
    assert finding(ax).endswith("you guessed neck")


def test_a_chosen_stage_stands_out_with_its_width():
    ax = plot.depth(CURVE, majority=0.3, at="stem", widths={"stem": 32, "layer1": 16, "neck": 1280}, ax=axes())
    assert finding(ax) == "Head after stem, on 32 numbers: 50.0 % (40.0–60.0)"
    (chosen,), (other,) = marked(ax, "stem"), marked(ax, "neck")
    assert chosen.get_markersize() > other.get_markersize()
    with pytest.raises(ValueError, match="no stage 'head' was measured"):
        plot.depth(CURVE, majority=0.3, at="head", ax=axes())


def test_maps_show_the_channels_that_vary_most_each_in_its_own_range():
    x = torch.zeros(5, 20, 20)
    x[3] = torch.arange(400.0).view(20, 20)
    x[1] = 0.01 * torch.arange(400.0).view(20, 20)
    ax = plot.maps(x, "layer1", n=2, licence="CC BY 4.0", ax=axes())
    assert finding(ax) == "layer1: 2 of 5 maps, 20×20"
    sheet = ax.images[0].get_array()
    assert np.nanmin(sheet) == 0 and np.nanmax(sheet[:, :20]) == np.nanmax(sheet[:, -20:]) == 1
    with pytest.raises(ValueError, match="expected one image's C×H×W"):
        plot.maps(x[None], ax=axes())


def test_maps_of_a_single_position_share_one_range():
    ax = plot.maps(torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1), columns=3, ax=axes())
    values = np.unique(ax.images[0].get_array().compressed())
    assert values == pytest.approx([0, 0.5, 1])


def test_filters_tell_colour_from_grey_and_cross_out_the_dead():
    w = torch.zeros(3, 3, 3, 3)
    w[0] = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))  # the same in each channel: grey
    w[1, 0], w[1, 1] = 1.0, -1.0  # red against green
    ax = plot.filters(w, ax=axes())
    assert finding(ax) == "Of 3 filters, 1 look for colour alone and 1 are zero"
    assert "in percent: 100, 0." in style.alt(ax.figure)
    assert len(marked(ax, "dead")) == 1 and len(ax.images) == 2
    with pytest.raises(ValueError, match="expected N×3"):
        plot.filters(w[:, :1], ax=axes())


def test_every_figure_is_drawn_whole_and_leaves_pyplot_alone_where_it_is_told_to_draw(monkeypatch):
    draws = [
        lambda ax=None: plot.depth(CURVE, majority=0.3, widths=dict.fromkeys(CURVE, 1280), guess=1, ax=ax),
        lambda ax=None: plot.depth(CURVE, majority=0.3, at="neck", ax=ax),
        lambda ax=None: plot.maps(torch.rand(6, 4, 4), "layer4", licence="CC BY 4.0", ax=ax),
        lambda ax=None: plot.filters(torch.rand(32, 3, 3, 3), ax=ax),
    ]
    assert all(drawn_whole(draw()) for draw in draws)
    monkeypatch.setattr(plt, "figure", lambda *a, **k: pytest.fail("pyplot was used although an Axes was given"))
    for draw in draws:
        ax = axes()
        assert draw(ax) is ax and drawn_whole(ax)
