"""One loss: H(p, q). torch is the oracle."""

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
    assert correct(LOGITS, targets)[1] == 8


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
