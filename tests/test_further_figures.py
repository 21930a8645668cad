"""Figures of the further lessons and the recipes: whole, described, and what they say is computed from the data."""

import numpy as np
import pytest
from figures import check_figure, drawn_whole, finding, marked

from sftlab.lessons.recipes import step_losses
from sftlab.lessons.shift import domain_gap, threshold
from sftlab.lessons.text import words_left
from sftlab.lessons.two_tasks import compass
from sftlab.plot import style

pytestmark = pytest.mark.usefixtures("house_style")
STORED = {"linear probe": ([0.84, 0.83, 0.85], [0.30, 0.31, 0.29]), "full": ([0.86, 0.84, 0.85], [0.40, 0.35, 0.36])}
SCORES, Y = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1])
PLACES = {"home": (SCORES, Y), "away": (SCORES + 0.05, 1 - Y)}
SAYS = {"encoder": [0.2, 0.8], "bag of words": [0.6, 0.4]}
LOSSES = {"textbook": [0.7, 0.5, 0.4], "sft.fit": [0.7, 0.5, 0.4 + 1e-7]}
FIGURES = [
    (domain_gap, (STORED,), {}, "Highest mean away: full, 37 % (at home 85 %)"),
    (threshold, (PLACES, 0.5), {"classes": ["intact", "defect"]}, "Called ‘defect’ from 50 % upwards"),
    (words_left, (["draw", "the", "axes"], [True, False, True], SAYS, ["numpy", "matplotlib"], "matplotlib"), {},
     "2 of 3 words: encoder says matplotlib (80 %) and bag of words says numpy (60 %); it is matplotlib"),
    (compass, ({"loop": [0.5, 0.4], "ink": [-0.25]},), {}, "Cosine with all labels: loop +0.50 and ink -0.25"),
    (step_losses, (LOSSES,), {}, "The same loss at each of 3 steps: at most 1e-07 apart"),
    (step_losses, (LOSSES | {"sft.fit": [0.7, 0.6, 0.4]},), {}, "The losses are up to 0.10 apart"),
    (step_losses, ({"once": [0.7, 0.1], "twice": [0.7, 0.4]},), {"floor": 0.313},
     "twice: the loss ends at 0.40 and cannot get below 0.31"),
]  # fmt: skip


@pytest.mark.parametrize(("draw", "data", "how", "title"), FIGURES)
def test_every_figure_is_whole_and_described_and_says_what_was_found(draw, data, how, title):
    check_figure(draw, *data, **how)
    assert finding(draw(*data, **how)) == title


def test_a_domain_gap_draws_records_hollow_and_the_live_run_solid():
    ax = domain_gap(STORED, live={"full": (0.86, 0.41)}, chance={"majority rate": 0.66, "away": 0.7})
    assert len(marked(ax, "stored")) == 4 and len(marked(ax, "majority")) == 2 and drawn_whole(ax)
    assert [line.get_xdata()[0] for line in marked(ax, "live")] == [0.86, 0.41]


def test_the_threshold_counts_what_is_right_in_each_place():
    words = [t.get_text() for box in threshold(PLACES, 0.5, classes=["a", "b"]).child_axes for t in box.texts]
    assert "home: 100.0 % right, majority rate 50.0 %" in words
    assert "away: 0.0 % right, majority rate 50.0 %" in words


def test_arrows_of_the_compass_have_length_one_and_stand_at_their_cosine():
    arrows = marked(compass({"loop": [0.5, 0.4], "ink": [-0.25]}), "loop")
    assert sorted(arrow.xy[1] for arrow in arrows) == [0.4, 0.5]
    assert all(np.hypot(*arrow.xy) == pytest.approx(1) for arrow in arrows)
    assert "all labels 0 degrees" in style.alt(compass({"all labels": [1 + 1e-7]}).figure), "rounded beyond 1"


def test_what_cannot_be_drawn_is_refused():
    for draw, word in ((lambda: domain_gap({}), "no strategy"), (lambda: compass({}), "no gradient"),
                       (lambda: step_losses({"one": [1.0]}), "give two")):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            draw()
