"""Two tasks on one network: their gradients, what a record says of them together, and the figures about both."""

import copy

import numpy as np
import pytest
import torch
from figures import drawn_whole, finding, marked
from torch import nn

import sftlab as sft
from sftlab import plot
from sftlab.analysis import task_gradients
from sftlab.plot import style

HEADS = {"digit": 3, "loop": 2}


@pytest.fixture
def model():
    return sft.replace_head(sft.backbone("tiny", seed=0), HEADS, seed=0)


@pytest.fixture
def batch():
    x = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    digit = torch.tensor([0, 1, 2, -100] * 3)
    return x, {"digit": digit, "loop": torch.tensor([0, 1] * 6)}


def test_the_gradient_of_each_task_is_what_autograd_says_of_the_shared_stages_and_nothing_moves(model, batch):
    x, y = batch
    before, found = sft.fingerprint(model.train()), task_gradients(model, x, y)
    assert sft.fingerprint(model) == before and all(p.grad is None for p in model.parameters())
    for task in y:
        net = copy.deepcopy(model)
        known = y[task] >= 0
        nn.functional.cross_entropy(net(x)[task][known], y[task][known]).backward()
        own = torch.cat([p.grad.flatten() for p in net[:-1].parameters()])
        assert torch.allclose(found[task], own, atol=1e-6) and found[task].norm() > 0


def test_a_missing_label_pulls_at_nothing(model, batch):
    x, y = batch
    none = {"digit": torch.full((12,), -100), "loop": y["loop"]}
    assert task_gradients(model, x, none)["digit"].abs().max() == 0
    other = torch.where(y["digit"] < 0, 0, y["digit"])  # were −100 read as a class, this would make no difference
    assert not torch.equal(task_gradients(model, x, y)["digit"], task_gradients(model, x, {"digit": other})["digit"])


def test_tasks_that_share_nothing_that_learns_are_refused(model, batch):
    x, y = batch
    sft.apply(model, sft.linear_probe(model))
    with pytest.raises(ValueError, match="the tasks share nothing"):
        task_gradients(model, x, y)


def test_one_head_and_a_task_that_the_model_does_not_answer_are_refused(model, batch):
    x, y = batch
    with pytest.raises(ValueError, match="one head: replace_head"):
        task_gradients(sft.replace_head(model, 3), x, y)
    with pytest.raises(ValueError, match="answers digit, loop; the targets name shape"):
        task_gradients(model, x, {"shape": y["loop"]})


def test_the_majority_rate_of_two_tasks_counts_both_as_the_accuracy_does(model, capsys):
    data = sft.load("digits", per_class=3)
    digit = data.train.targets
    loop = torch.isin(digit, torch.tensor([0, 6, 8, 9])).long()
    loop[data.valid.index[:50]] = -100  # half of what is known of valid is missing for one task
    both = sft.data.with_targets(
        data, {"digit": digit, "loop": loop}, {"digit": [*map(str, range(10))], "loop": ["none", "loop"]}
    )
    net = sft.replace_head(sft.backbone("tiny"), both.classes)
    history = sft.fit(net, both, sft.full(net, 1e-3), epochs=1)
    y = both.valid.y
    known = y["loop"][y["loop"] >= 0]
    best = y["digit"].bincount().max() + known.bincount().max()
    assert history.runs[0]["majority"] == pytest.approx(best.item() / (len(y["digit"]) + len(known)))
    assert "valid accuracy of all tasks together" in capsys.readouterr().out


def test_the_compass_puts_up_what_agrees_and_down_what_does_not():
    ax = plot.compass({"loop": [0.5, 0.4], "ink": -0.25})
    (loop, *pale), (ink, *_) = marked(ax, "loop"), marked(ax, "ink")
    assert finding(ax) == "Cosine with all labels: loop +0.50 and ink -0.25"
    tips = sorted(arrow.xy[1] for arrow in [loop, *pale])
    assert tips == [0.4, 0.5] and ink.xy[1] == -0.25 and drawn_whole(ax)
    assert all(np.hypot(*arrow.xy) == pytest.approx(1) for arrow in [loop, ink])
    assert "ink -0.25, 104 degrees" in style.alt(ax.figure)
    with pytest.raises(ValueError, match="no gradient given"):
        plot.compass({})


def test_agreement_draws_the_record_hollow_and_says_the_average():
    ax = plot.agreement({"loop": {0: [0.0, 0.2], 5: [0.3, 0.5]}, "ink": {0: [0.0, -0.2], 5: [-0.4, -0.4]}})
    assert finding(ax).endswith("on average: loop +0.25 and ink -0.25") and drawn_whole(ax)
    assert len(marked(ax, "stored")) == 2
    assert all(line.get_markerfacecolor() == "white" for line in marked(ax, "stored"))
    with pytest.raises(ValueError, match="no curve given"):
        plot.agreement({})


def test_a_second_task_is_drawn_with_its_interval_and_today_s_run_is_solid():
    gains = {
        "loop": {1: [5.0, 7.0, 9.0], "all": [0.0, 1.0, -1.0]},
        "ink": {1: [-9.0, -11.0, -10.0], "all": [0.0, 0, 0.1]},
    }
    ax = plot.second_task(gains, live={"ink": {1: -12.0}})
    assert finding(ax) == "Labels a class of the first task, 1 to all: loop +7.0 to +0.0 and ink -10.0 to +0.0 points"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "all"] and drawn_whole(ax)
    (live,) = marked(ax, "live")
    assert list(live.get_ydata()) == [-12.0]
    assert "loop: 1 +7.0 (+2.0–+12.0)" in style.alt(ax.figure)  # 2 / √3 · 4.303, after Student
    assert live.get_markerfacecolor() != "white" and live.get_color() == plot.tasks.task_hue("ink")
    with pytest.raises(ValueError, match="no second task given"):
        plot.second_task({})
