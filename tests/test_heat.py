"""Grad-CAM against the closed form that it has for a linear head on averaged maps, and the test of random weights."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import sftlab as sft
from sftlab.analysis.explain import cascade, grad_cam, randomised


def network(seed=0):
    return sft.replace_head(sft.backbone("tiny", weights=None, seed=seed), ["a", "b", "c"], seed=seed)


def images():
    return torch.randint(0, 256, (4, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_behind_the_last_maps_it_is_the_class_activation_map_of_zhou_et_al():
    model, x = network(), images()
    maps = model[:4](x).detach()  # input, stem, layer1, layer2
    closed = torch.einsum("c,nchw->nhw", model.head.weight[2], maps).relu() / maps[0, 0].numel()
    assert torch.allclose(grad_cam(model, x, 2, "layer2"), closed, atol=1e-6)


def test_it_leaves_the_model_as_it_was():
    model = network().train()
    before = sft.fingerprint(model)
    assert grad_cam(model, images(), 0, "layer1").shape == (4, 8, 8)
    assert sft.fingerprint(model) == before
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_of_a_frozen_network_it_is_the_same():
    frozen, x = network(), images()
    sft.apply(frozen, sft.linear_probe(frozen))
    assert torch.equal(grad_cam(frozen, x, 1, "layer1"), grad_cam(network(), x, 1, "layer1"))
    assert grad_cam(frozen.requires_grad_(False), x, 1, "layer1").any()


def test_a_stage_without_maps_is_refused():
    with pytest.raises(ValueError, match="makes no maps"):
        grad_cam(network(), images(), 0, "pool")


def test_randomised_replaces_the_last_stages_from_the_head_on_and_copies():
    model, blank = network(0), network(1)
    before, other = sft.fingerprint(model), sft.fingerprint(blank)
    mixed = sft.fingerprint(randomised(model, blank, 2))
    assert [mixed[n] == before[n] for n in ("stem", "layer1", "layer2", "head")] == [True, True, False, False]
    assert (mixed["layer2"], mixed["head"]) == (other["layer2"], other["head"])
    assert sft.fingerprint(model) == before


def test_the_cascade_is_spearmans_correlation_of_each_map_from_the_logits_down():
    model, blanks, x = network(0), [network(1), network(2)], images()
    found = cascade(model, [*blanks, model], x, 1, "layer2")
    assert list(found) == ["head", "layer2", "layer1", "stem"] and found["stem"].shape == (3, 4)
    heat, other = (grad_cam(net, x, 1, "layer2").flatten(1) for net in (model, randomised(model, blanks[1], 1)))
    theirs = [spearmanr(a, b).statistic for a, b in zip(heat, other, strict=True)]
    assert found["head"][1] == pytest.approx(theirs, abs=1e-5)
    assert np.allclose(found["stem"][2], 1, atol=1e-5)  # a "random" network that is the trained one: nothing is lost
