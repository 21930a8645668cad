"""Figures of lesson 03: cross-entropy in two parts, its floor, and who makes a batch's loss."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figures import drawn_whole, finding, marked
from matplotlib.figure import Figure
from torch.nn import functional as F

from sftlab import plot
from sftlab.plot import style
from sftlab.plot.crossentropy import entropy

pytestmark = pytest.mark.usefixtures("house_style")

P, Q = [0.1, 0.7, 0.2], [0.6, 0.3, 0.1]


def axes():
    return Figure(figsize=(9, 3.3), layout="constrained").add_subplot()


def test_floor_and_removable_part_add_up_to_torch_s_cross_entropy():
    ax = plot.cross_entropy(P, Q, ["a", "b", "c"], ax=axes())
    (floor,), (removable,) = marked(ax, "floor"), marked(ax, "removable")
    loss = F.cross_entropy(torch.tensor([Q]).log(), torch.tensor([P])).item()
    assert floor.get_height() + removable.get_height() == pytest.approx(loss, abs=1e-6)
    assert floor.get_height() == pytest.approx(torch.distributions.Categorical(torch.tensor(P)).entropy().item())
    assert finding(ax) == f"H(p, q) = {loss:.2f} nats: {entropy(P):.2f} floor + {loss - entropy(P):.2f} removable"


def test_the_gradient_is_what_autograd_finds():
    z = torch.tensor([Q]).log().requires_grad_()
    F.cross_entropy(z, torch.tensor([P])).backward()
    bars = [bar.get_height() for bar in marked(plot.cross_entropy(P, Q, ax=axes()), "gradient")]
    assert bars == pytest.approx(z.grad[0].tolist(), abs=1e-6)


def test_an_answer_of_zero_where_the_target_is_not_is_infinitely_wrong():
    ax = plot.cross_entropy([0, 1], [1, 0], ax=axes())
    assert finding(ax) == "H(p, q) = ∞ nats: q is 0 where p is not"
    ax.figure.draw_without_rendering()
    assert entropy([0, 1]) == 0


def test_what_is_no_distribution_is_refused():
    with pytest.raises(ValueError, match=r"q sums to 1\.200"):
        plot.cross_entropy([0.5, 0.5], [0.6, 0.6], ax=axes())
    with pytest.raises(ValueError, match="one probability a class in both"):
        plot.cross_entropy([1.0], [0.5, 0.5], ax=axes())


def test_every_curve_is_lowest_where_the_answer_is_the_target():
    ax = plot.floors([0, 1 / 3, 1], name="defect", ax=axes())
    curves = [line for line in ax.lines if len(line.get_xdata()) > 1]
    for curve, p in zip(curves, (0, 1 / 3, 1), strict=True):
        assert curve.get_xdata()[np.argmin(curve.get_ydata())] == pytest.approx(p, abs=0.005)
        assert curve.get_ydata().min() >= entropy([1 - p, p]) - 1e-9
    assert finding(ax) == "With p = ⅓ no answer gets below 0.64 nats"


def test_one_image_s_share_of_loss_and_gradient():
    ax = plot.shares([1.0, 2.0, 1.0], [0.2, 0.4, 0.2], at=1, guess=10, ax=axes())
    assert [bar.get_width() for bar in marked(ax, "pointed out")] == pytest.approx([0.5, 0.5])
    assert sum(bar.get_width() for gid in ("pointed out", "rest") for bar in marked(ax, gid)) == pytest.approx(2)
    (guess,) = marked(ax, "guess")
    assert guess.get_xdata()[0] == pytest.approx(0.1)
    assert finding(ax) == "1 of 3 images makes 50 % of the loss, 50 % of the gradient"
    assert "loss 50.0 %" in style.alt(ax.figure)


def test_every_figure_is_drawn_whole_and_leaves_pyplot_alone_where_it_is_told_to_draw(monkeypatch):
    draws = [
        lambda ax=None: plot.cross_entropy(P, Q, ["intact", "cracked", "dead"], ax=ax),
        lambda ax=None: plot.cross_entropy([1, 0], [0, 1], ax=ax),
        lambda ax=None: plot.floors([0, 1 / 3, 0.5, 2 / 3, 1], ax=ax),
        lambda ax=None: plot.shares(np.ones(32), np.ones(32), at=0, guess=99, ax=ax),
    ]
    assert all(drawn_whole(draw()) for draw in draws)
    monkeypatch.setattr(plt, "figure", lambda *a, **k: pytest.fail("pyplot was used although an Axes was given"))
    for draw in draws:
        ax = axes()
        assert draw(ax) is ax and drawn_whole(ax)
