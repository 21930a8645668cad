"""Two tasks on one network: what a record says of them together."""

import pytest
import torch

import sftlab as sft

HEADS = {"digit": 3, "loop": 2}


@pytest.fixture
def model():
    return sft.replace_head(sft.backbone("tiny", seed=0), HEADS, seed=0)


@pytest.fixture
def batch():
    x = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    digit = torch.tensor([0, 1, 2, -100] * 3)
    return x, {"digit": digit, "loop": torch.tensor([0, 1] * 6)}


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
