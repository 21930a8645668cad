"""Decay toward the start: AdamW's own where the start is zero, and stronger the larger the decay."""

import pytest
import torch

import sftlab as sft


def linear():
    """Return a network of one stage and a head, both zero."""
    net = torch.nn.Sequential()
    net.add_module("stem", torch.nn.Linear(4, 3))
    net.add_module("head", torch.nn.Linear(3, 2))
    for w in net.parameters():
        torch.nn.init.zeros_(w)
    return net


def trained(net, optimizer, steps=20):
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        x = torch.randn(8, 4, generator=draw)
        with torch.no_grad():
            net.head.weight.add_(0.01)  # so that gradients reach the stem
        loss = (net(x) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def groups(net, decay=0.0):
    children, decays = dict(net.named_children()), {"stem": 0.9, "head": decay}
    return [
        {"params": list(child.parameters()), "lr": 0.05, "stage": name, "weight_decay": decays[name]}
        for name, child in children.items()
    ]


def test_where_everything_starts_at_zero_it_is_the_weight_decay_of_adamw():
    ours, theirs = linear(), linear()
    trained(ours, sft.l2_sp(0.5)(groups(ours)))
    every = [{**group, "weight_decay": 0.0 if group["stage"] == "head" else 0.5} for group in groups(theirs)]
    trained(theirs, torch.optim.AdamW(every))
    assert ours.stem.weight.abs().max() > 0.03, "it has learned something"
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def distances(decay, blobs):
    net = sft.replace_head(sft.backbone("tiny", seed=0), blobs.classes, seed=0)
    start = {name: w.detach().clone() for name, w in net.named_parameters()}
    how = {"optimizer": sft.l2_sp(decay), "keep_best": False, "verbose": False}
    sft.fit(net, blobs, sft.full(net, 1e-2), 4, **how)
    far = {name: float((w.detach() - start[name]).norm()) for name, w in net.named_parameters()}
    return sum(d for name, d in far.items() if not name.startswith("head")), far["head.weight"]


def test_a_stronger_pull_leaves_the_pretrained_stages_nearer_to_their_start_and_the_head_free(blobs):
    (free, head), (pulled, head_pulled) = distances(0.0, blobs), distances(10.0, blobs)
    assert pulled < 0.6 * free
    assert head_pulled > 0.6 * head


@pytest.mark.parametrize("decay", [-0.1, float("nan")])
def test_a_decay_that_is_no_number_from_zero_is_refused(decay):
    with pytest.raises(ValueError, match="a number ≥ 0"):
        sft.l2_sp(decay)
