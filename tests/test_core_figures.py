"""Figures of lessons 00 to 08: whole, described, and what they say is computed from the data."""

import numpy as np
import pytest
import torch
from figures import check_figure, finding, marked
from torch.nn import functional as F

from sftlab import wilson
from sftlab.analysis.cost import Candidate, Gallery
from sftlab.analysis.explain import Drift
from sftlab.core.evaluation import result as make_result
from sftlab.core.records import Interval
from sftlab.lessons.calibration import heatmaps, rejected
from sftlab.lessons.decide import confused, piles
from sftlab.lessons.evaluate import climb, hits
from sftlab.lessons.freeze import drift
from sftlab.lessons.head import maps
from sftlab.lessons.loss import cross_entropy, entropy, shares
from sftlab.lessons.rate import loss_surface, lr_curves
from sftlab.lessons.select import candidates, image_size, top_names

pytestmark = pytest.mark.usefixtures("house_style")

SHELF = Gallery(
    [Candidate("a", 10**6, 10**8, 75.0, "MIT", 4.0, True, 200.0),
     Candidate("b", 10**7, 10**9, 80.0, "?", 40.0, False, 20.0),
     Candidate("tiny", 10**4, 10**6, None, "MIT", None, True, 900.0)], 224,
)  # fmt: skip
P, Q, KINDS = [0.1, 0.7, 0.2], [0.6, 0.3, 0.1], ["intact", "cracked", "dead"]
PHOTOS = [np.zeros((8, 8, 3), np.uint8)] * 2
SIZES = {64: Interval(0.7, 0.68, 0.72), 160: Interval(0.8, 0.78, 0.82)}
DRIFTED = Drift(
    ["stem", "layer1", "head"], [0, 1, 4], [{"stem": s, "layer1": s / 2, "head": 0.0} for s in (0.0, 0.1, 0.4)],
    [dict.fromkeys(("stem", "layer1", "head"), a) for a in (0.0, 0.2, 0.5)],
)  # fmt: skip
PATH = [(-9.0, 2.0), (-4.0, -1.0), (0.0, 0.0)]
TESTS = [wilson(85, 100), wilson(60, 100), wilson(90, 100)]
PILE = {"missed": 100, "false_alarm": 20, "classes": ["whole", "broken"]}
STRANGERS = {"cells": [0.1, 0.2], "photos": [0.8, 0.05], "noise": [0.9, 0.95]}
GREY = np.zeros((2, 1, 8, 8), np.uint8)
FIGURES = [
    (candidates, (SHELF,), {}, "1 of 2 networks are on this machine (●); speeds differ 10-fold"),
    (top_names, (PHOTOS, "xy", list("abcd"), [[0.7, 0.1, 0.1, 0.1]] * 2), {"licence": "CC BY 2.0"},
     "Surest name: 70 % for x, 70 % for y"),
    (image_size, (np.arange(64.0).reshape(8, 8), 64, SIZES, {64: 500.0, 160: 100.0}),
     {"majority": 0.69, "title": "✗ missed"},
     "64 pixels: 70.0 % (68.0–72.0), 500 images/s"),
    (maps, (torch.arange(96.0).view(6, 4, 4), "layer4"), {"n": 2, "licence": "CC BY 4.0"}, "layer4: 2 of 6 maps, 4×4"),
    (cross_entropy, (P, Q, KINDS), {}, "H(p, q) = 1.35 nats: 0.80 floor + 0.55 removable"),
    (cross_entropy, ([0, 1], [1, 0], ["a", "b"]), {}, "H(p, q) = ∞ nats: q is 0 where p is not"),
    (shares, ([1.0, 2.0, 1.0], [0.2, 0.4, 0.2]), {"at": 1, "guess": 10},
     "1 of 3 images makes 50 % of the loss, 50 % of the gradient"),
    (drift, (DRIFTED,), {"cut": "head"}, "2 stages frozen: 0 parameters changed, 50 % of the answers did"),
    (drift, (DRIFTED,), {"cut": "layer1", "train": False},
     "1 stage frozen: 0 parameters changed, 0 % of the answers did"),
    (loss_surface, ({"SGD": PATH, "away": [*PATH, (np.nan, np.inf)]},), {},
     "A valley 25 times steeper across than along: where 2 steps lead"),
    (lr_curves, ({"one": ([1e-3, 1e-2], [0.5, 0.9]), "two": ([1e-3], [0.4])},),
     {"majority": 0.3, "finding": "A hill"}, "A hill"),
    (hits, (TESTS, 0.85), {"n": 100, "majority": 0.5}, "2 of 3 intervals contain the truth; they reach ± 7.5 points"),
    (climb, ([0.7, 0.9, 0.8], [0.75, 0.74, 0.8]), {"n": 50, "majority": 0.7},
     "After 3 tries the kept best promises 16.0 points more than it gives"),
    (piles, (np.array([0.1, 0.9, 0.2, 0.8]), np.array([0, 0, 1, 1]), np.zeros((4, 8, 8), np.uint8), range(4), 0.5),
     PILE, "From p ≥ 0.50 on ‘broken’: 30,000 € per 1,000 cells"),
    (piles, (np.array([0.9, 0.9]), np.array([1, 1]), np.zeros((2, 8, 8), np.uint8), range(2), 0.0), PILE,
     "From p ≥ 0.00 on ‘broken’: 0 € per 1,000 cells"),
    (rejected, (STRANGERS, 0.5), {"label": "distance"}, "Distance rejects 50 % to 100 % of each kind of stranger"),
    (heatmaps, (GREY, {"cell": None, "heat": np.ones((2, 2, 2))}),
     {"licence": "", "title": "Where it looks"}, "Where it looks"),
]  # fmt: skip


@pytest.mark.parametrize(("draw", "data", "how", "title"), FIGURES)
def test_every_figure_is_whole_and_described_and_says_what_was_found(draw, data, how, title):
    check_figure(draw, *data, **how)
    assert finding(draw(*data, **how)) == title


def test_floor_and_removable_part_add_up_to_torch_s_cross_entropy_and_the_gradient_is_autograd_s():
    ax = cross_entropy(P, Q, KINDS)
    (floor,), (removable,) = marked(ax, "floor"), marked(ax, "removable")
    z = torch.tensor([Q]).log().requires_grad_()
    loss = F.cross_entropy(z, torch.tensor([P]))
    loss.backward()
    assert floor.get_height() + removable.get_height() == pytest.approx(loss.item(), abs=1e-6)
    assert floor.get_height() == pytest.approx(torch.distributions.Categorical(torch.tensor(P)).entropy().item())
    assert [bar.get_height() for bar in marked(ax, "gradient")] == pytest.approx(z.grad[0].tolist(), abs=1e-6)
    assert entropy([0, 1]) == 0
    with pytest.raises(ValueError, match=r"q sums to 1\.200"):
        cross_entropy([0.5, 0.5], [0.6, 0.6], ["a", "b"])


def test_one_image_s_share_of_loss_and_gradient_is_pointed_out():
    ax = shares([1.0, 2.0, 1.0], [0.2, 0.4, 0.2], at=1, guess=10)
    assert [bar.get_width() for bar in marked(ax, "pointed out")] == pytest.approx([0.5, 0.5])
    assert sum(bar.get_width() for gid in ("pointed out", "rest") for bar in marked(ax, gid)) == pytest.approx(2)
    assert marked(ax, "guess")[0].get_xdata()[0] == pytest.approx(0.1)


def test_maps_show_the_channels_that_vary_most_each_in_its_own_range():
    x = torch.zeros(5, 20, 20)
    x[3], x[1] = torch.arange(400.0).view(20, 20), 0.01 * torch.arange(400.0).view(20, 20)
    shown = [image.get_array() for image in maps(x, "layer1", n=2).images]
    assert [(image.min(), image.max()) for image in shown] == [(0, 1), (0, 1)]
    single = maps(torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1), columns=3)
    assert [float(image.get_array()[0, 0]) for image in single.images] == pytest.approx([0, 0.5, 1])
    with pytest.raises(ValueError, match="expected one image's C×H×W"):
        maps(x[None])


def test_drift_hatches_what_stands_still_and_heats_what_moved():
    assert len(marked(drift(DRIFTED, cut="head"), "frozen")) == 0
    assert len(marked(drift(DRIFTED, cut="head", train=False), "frozen")) == 2
    with pytest.raises(ValueError, match="cut='neck'"):
        drift(DRIFTED, cut="neck")


def test_intervals_that_miss_the_truth_and_scores_beyond_the_limit_are_crossed():
    assert (
        sum(len(line.get_xdata()) for line in hits(TESTS, 0.85, n=100, majority=0.5).lines if line.get_marker() == "X")
        == 1
    )
    crossed = [line for line in rejected(STRANGERS, 0.5, label="distance").lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crossed] == [0, 1, 2]


def test_piles_put_every_image_where_it_belongs():
    ax = piles(
        np.array([0.1, 0.9, 0.2, 0.8]), np.array([0, 0, 1, 1]), np.zeros((4, 8, 8), np.uint8), range(4), 0.5, **PILE
    )
    heads = [box.get_title(loc="left") for box in ax.child_axes]
    assert [head[0] for head in heads] == ["✓", "✗", "✗", "✓"] and all(": 1" in head for head in heads)


def test_one_cell_of_a_confusion_matrix_shows_its_images_and_their_relatives(digits):
    y = np.asarray(digits.valid.y)
    three = np.flatnonzero(y == 3)
    called, p = y.copy(), np.full((len(y), 10), 0.02)
    called[three[:2]] = 5
    p[np.arange(len(y)), called] = 0.82
    result = make_result("valid", digits.classes, digits.valid.hashes, y, p)
    alike = np.zeros((len(y), len(digits.train)))
    five = int(np.flatnonzero(np.asarray(digits.train.y) == 5)[4])
    alike[three[0], five] = 1
    ax = confused(result, digits, "3", "5", alike=alike)
    assert finding(ax) == f"2 of {len(three)} ‘3’ were called ‘5’" and len(ax.images) == 4
    assert np.array_equal(ax.images[2].get_array(), digits.train.pixels(np.array([five]))[0, 0].numpy())
    assert ax.texts[0].get_text() == "✗ 5: 82%"
    assert finding(confused(result, digits, "1", "7", alike=alike)) == "No ‘1’ was called ‘7’"
    with pytest.raises(ValueError, match="'ten' is no class"):
        confused(result, digits, "ten", "5", alike=alike)
