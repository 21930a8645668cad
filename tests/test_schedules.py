"""A schedule is a function of time in [0, 1]."""

import pytest
import torch

import sftlab as sft


def test_cosine_equals_torchs_cosine_annealing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert sft.cosine()(step / 50) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        oracle.step()


def test_warmup_rises_to_one_then_falls_to_zero_and_never_wastes_a_step():
    factors = [sft.warmup_cosine(0.2)(t / 100) for t in range(101)]
    assert factors[0] > 0 and factors[20] == 1 and max(factors) == 1 and factors[100] == pytest.approx(0, abs=1e-9)
    assert factors[:21] == sorted(factors[:21]) and factors[20:] == sorted(factors[20:], reverse=True)


def test_the_simple_ones_do_what_their_names_say():
    assert [sft.constant()(t) for t in (0, 0.5, 1)] == [1, 1, 1]
    assert [sft.linear()(t) for t in (0, 0.5, 1)] == [1, 0.5, 0]
    assert [sft.piecewise([(0, 1.0), (0.6, 0.1)])(t) for t in (0, 0.59, 0.6, 1)] == [1, 1, 0.1, 0.1]


@pytest.mark.parametrize(
    "bad", [lambda: sft.warmup_cosine(1.0), lambda: sft.piecewise([(0.5, 1)]), lambda: sft.piecewise([])]
)
def test_impossible_schedules_are_refused(bad):
    with pytest.raises(ValueError):
        bad()
