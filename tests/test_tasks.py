"""Two tasks on one network: their gradients, and what a record says of them together."""

import copy

import pytest
import torch
from torch import nn

import sftlab as sft
from sftlab.analysis import task_gradients

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
