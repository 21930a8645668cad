"""One loss: H(p, q), and decay toward the start, which is AdamW's own where the start is zero. torch is the oracle."""

import pytest
import torch
from torch.nn import functional as F

import sftlab as sft
from sftlab.core.losses import correct

torch.manual_seed(0)
LOGITS = 3 * torch.randn(12, 5)
HARD = torch.randint(5, (12,))
SOFT = torch.randn(12, 5).softmax(dim=1)
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 4.0, 1.0])


@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_cross_entropy_equals_torch(targets, smoothing, weight):
    ours = sft.cross_entropy(LOGITS, targets, smoothing=smoothing, weight=weight)
    theirs = F.cross_entropy(LOGITS, targets, weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_its_gradient_is_q_minus_p_over_n():
    logits = LOGITS.clone().requires_grad_()
    sft.cross_entropy(logits, SOFT).backward()
    torch.testing.assert_close(logits.grad, (LOGITS.softmax(1) - SOFT) / 12, rtol=1e-6, atol=1e-7)


def test_images_without_a_label_do_not_count():
    targets = HARD.clone()
    targets[::3] = -100
    torch.testing.assert_close(sft.cross_entropy(LOGITS, targets), F.cross_entropy(LOGITS, targets))
    assert correct(LOGITS, targets)[1].tolist() == (targets >= 0).tolist()


def test_a_batch_without_any_label_costs_nothing_and_has_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    loss = sft.cross_entropy(logits, torch.full((12,), -100))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_the_losses_of_several_heads_add_up():
    both = sft.cross_entropy({"a": LOGITS, "b": LOGITS[:, :2]}, {"a": HARD, "b": HARD % 2})
    torch.testing.assert_close(both, F.cross_entropy(LOGITS, HARD) + F.cross_entropy(LOGITS[:, :2], HARD % 2))


@pytest.mark.parametrize(
    ("logits", "targets", "says"),
    [
        (LOGITS, torch.full((12,), 7), "label 7 is outside 0…4"),
        (LOGITS, SOFT[:, :3], "3 probabilities an image, the head has 5"),
        ({"a": LOGITS}, HARD, "answers a"),
        ({"a": LOGITS}, {"b": HARD}, "name b"),
    ],
)
def test_targets_that_do_not_fit_are_named(logits, targets, says):
    with pytest.raises(ValueError, match=says):
        sft.cross_entropy(logits, targets)


def linear_net():
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
    ours, theirs = linear_net(), linear_net()
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
