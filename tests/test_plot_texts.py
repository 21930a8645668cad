"""Figures about texts: who takes from whom, what a word is worth, what few weights buy."""

import numpy as np
import pytest
from figures import drawn_whole, finding, marked
from matplotlib.figure import Figure

from sftlab import plot
from sftlab.plot import style

TOKENS = ["[CLS]", "the", "matrix", "."]


def test_attention_names_the_token_that_most_ask_for_and_notices_a_head_that_looks_back():
    back = np.eye(4, k=-1)
    back[0, 0] = 1
    ax = plot.attention(TOKENS, back)
    assert finding(ax) == "3 of 4 tokens take most from the one before"
    matrix = np.full((4, 4), 0.1)
    matrix[:, 2] = 0.7
    ax = plot.attention(TOKENS, matrix, name="head 3")
    assert finding(ax) == "head 3: 4 of 4 tokens take most from ‘matrix’"
    assert "the: most from matrix" in style.alt(ax.figure) and drawn_whole(ax)
    with pytest.raises(ValueError, match="weights of shape 4×3 for 4 tokens"):
        plot.attention(TOKENS, matrix[:, :3])


def test_two_heads_fit_beside_each_other():
    axes = Figure(figsize=(9.6, 4.6), layout="constrained").subplots(1, 2)
    for ax in axes:
        plot.attention(TOKENS, np.full((4, 4), 0.25), name="layer 1, head 2", ax=ax)
    assert drawn_whole(axes[0])


def test_left_out_says_which_word_each_model_misses_most():
    drops = {"encoder": [-0.1, 0.02, -0.3], "bag of words": [-0.2, 0.0, -0.1]}
    ax = plot.left_out(["draw", "the", "axes"], drops, truth="matplotlib")
    assert "Encoder loses most without ‘axes’ (-30 points)" in finding(ax)
    assert "bag of words loses most without ‘draw’ (-20 points)" in finding(ax)
    assert "matplotlib" in ax.get_xlabel() and drawn_whole(ax)
    with pytest.raises(ValueError, match="encoder: 2 changes for 3 words"):
        plot.left_out(["draw", "the", "axes"], {"encoder": [0.1, 0.2]})


def test_without_shows_what_is_left_and_marks_who_is_right():
    says = {"encoder": [0.2, 0.8], "bag of words": [0.6, 0.4]}
    ax = plot.without(["draw", "the", "axes"], [True, False, True], says, ["numpy", "matplotlib"], "matplotlib")
    assert finding(ax).startswith("2 of 3 words: encoder says matplotlib (80 %) and bag of words says numpy (60 %)")
    panels = [panel.get_title(loc="left") for panel in ax.child_axes]
    assert panels == ["✓ encoder: matplotlib", "✗ bag of words: numpy"]
    assert "draw ···· axes" in style.alt(ax.figure) and drawn_whole(ax)
    with pytest.raises(ValueError, match="2 probabilities for 3 classes"):
        plot.without(["draw"], [True], says, ["a", "b", "c"], "a")


def test_tuning_draws_records_hollow_and_the_live_run_solid_in_order_of_what_learns():
    runs = {"probe": [0.6, 0.7, 0.65], "LoRA": [0.62, 0.72, 0.675], "full": [0.5, 0.8, 0.66]}
    sizes = {"probe": (10, 1000), "LoRA": (20, 1000), "full": (1000, 1000)}
    ax = plot.tuning(runs, sizes, "probe", live={"here": (0.01, 1.5)})
    assert [t.get_text().split(":")[0] for t in ax.get_yticklabels()] == ["here", "LoRA", "full"]
    assert [t.get_text().split(": ")[1] for t in ax.get_yticklabels()] == ["1 % learn", "2 % learn", "100 % learn"]
    assert finding(ax) == "Clear of zero: LoRA, over 3 splits"
    assert all(mark.get_markerfacecolor() == "white" for mark in marked(ax, "stored"))
    (live,) = marked(ax, "live")
    assert live.get_markerfacecolor() == live.get_color() and drawn_whole(ax)
    assert "No difference from the probe" in finding(
        plot.tuning({k: runs[k] for k in ("probe", "full")}, sizes, "probe")
    )
    with pytest.raises(ValueError, match="give 'probe' and at least one other"):
        plot.tuning({"full": [0.1]}, sizes, "probe")
