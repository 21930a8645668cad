"""The finder sweeps the rate on a throw-away copy and leaves no trace."""

import copy

import pytest
import torch

import sftlab as sft
from sftlab.core import cache, records


def test_it_leaves_model_buffers_gradients_flags_and_random_state_as_they_were(dropping, blobs):
    sft.apply(dropping, sft.linear_probe(dropping))
    state, weights = torch.get_rng_state(), copy.deepcopy(dropping.state_dict())
    flags = [(p.requires_grad, p.grad) for p in dropping.parameters()]
    modes = [m.training for m in dropping.modules()]
    sft.find_lr(dropping, blobs, sft.full(dropping), steps=20)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in dropping.state_dict().items())
    assert [(p.requires_grad, p.grad) for p in dropping.parameters()] == flags
    assert [m.training for m in dropping.modules()] == modes


def test_it_writes_no_file_but_to_the_feature_store(tiny, blobs, tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    sft.find_lr(tiny, blobs, sft.linear_probe(tiny), steps=20)
    assert {p.parent.parent for p in tmp_path.rglob("*") if p.is_file()} <= {cache.cache_dir()}


def test_a_run_after_the_finder_equals_a_run_without_it(blobs):
    one, two = (sft.replace_head(sft.backbone("tiny"), blobs.classes) for _ in range(2))
    sft.find_lr(one, blobs, sft.full(one), steps=15)
    for model in (one, two):
        sft.fit(model, blobs, sft.full(model), epochs=1, verbose=False)
    assert sft.fingerprint(one) == sft.fingerprint(two)


def test_rates_rise_exponentially_and_keep_the_profiles_proportions(tiny, blobs):
    found = sft.find_lr(
        tiny, blobs, sft.layer_decay(tiny, lr=1e-3, decay=0.5), low=1e-5, high=1e-1, steps=41, batch_size=16
    )
    assert found.rates[0] == pytest.approx(1e-5) and found.rates[40] == pytest.approx(1e-1, rel=0.3)
    factors = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert max(factors) == pytest.approx(min(factors))


def test_a_rate_that_explodes_ends_the_sweep_and_is_named(tiny, blobs):
    found = sft.find_lr(tiny, blobs, sft.full(tiny), low=1e-3, high=1e6, steps=60, optimizer="sgd", batch_size=16)
    assert found.diverged is not None and "diverged at" in repr(found)
    assert found.rates[0] <= found.steepest < found.diverged


def test_it_round_trips_as_a_record(tiny, blobs, tmp_path):
    found = sft.find_lr(tiny, blobs, sft.full(tiny), steps=12)
    assert records.read(records.write(found, tmp_path / "lr.json")) == found


def test_impossible_ranges_and_frozen_profiles_are_refused(tiny, blobs):
    with pytest.raises(ValueError, match="low < high"):
        sft.find_lr(tiny, blobs, sft.full(tiny), low=1, high=0.1)
    with pytest.raises(ValueError, match="no rate to find"):
        sft.find_lr(tiny, blobs, dict.fromkeys(sft.full(tiny), 0.0))
