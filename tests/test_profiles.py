"""A strategy is a learning-rate profile; a schedule is a function of time in [0, 1]."""

import numpy as np
import pytest
import timm
import torch

import sftlab as sft
from sftlab.core import profiles


def test_strategies_are_plain_dicts_over_exactly_the_stages_with_parameters(tiny):
    names = ["stem", "layer1", "layer2", "head"]
    assert sft.linear_probe(tiny, lr=0.1) == {"stem": 0, "layer1": 0, "layer2": 0, "head": 0.1}
    assert sft.last_k(tiny, 2, lr=0.1) == {"stem": 0, "layer1": 0.1, "layer2": 0.1, "head": 0.1}
    assert sft.full(tiny, lr=0.1) == dict.fromkeys(names, 0.1)
    assert sft.layer_decay(tiny, lr=1.0, decay=0.5) == {"stem": 0.125, "layer1": 0.25, "layer2": 0.5, "head": 1.0}
    assert sft.layer_decay(tiny, lr=1.0, decay=0.5, start="layer2") == {
        "stem": 0,
        "layer1": 0,
        "layer2": 0.5,
        "head": 1.0,
    }
    assert sft.surgical(tiny, "layer1", lr=0.1) == {"stem": 0, "layer1": 0.1, "layer2": 0, "head": 0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.pop("stem"), "says nothing of stem"),
        (lambda p: p.update(layer9=0.1), r"layer9.*Did you mean"),
        (lambda p: p.update(pool=0.1), "pool"),
        (lambda p: p.update(head=-1), "head: a learning rate is a finite number"),
        (lambda p: p.update(head=float("nan")), "finite"),
        (lambda p: p.update(head="fast"), "fast"),
        (lambda p: p.update(head=True), "True"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused_by_name(tiny, change, says):
    profile = sft.full(tiny)
    change(profile)
    with pytest.raises(ValueError, match=says):
        sft.apply(tiny, profile)


def test_apply_freezes_and_thaws_and_drops_old_gradients(tiny):
    sft.apply(tiny, sft.full(tiny))
    tiny(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).sum().backward()
    sft.apply(tiny, sft.linear_probe(tiny))
    assert all(
        p.grad is None and not p.requires_grad
        for n in ("stem", "layer1", "layer2")
        for p in getattr(tiny, n).parameters()
    )
    assert all(p.grad is not None for p in tiny.head.parameters())
    sft.apply(tiny, sft.full(tiny))
    assert all(p.requires_grad for p in tiny.parameters())


def test_groups_hold_each_trainable_parameter_once_and_no_frozen_one(tiny):
    profile = sft.layer_decay(tiny, lr=1.0, decay=0.5, start="layer2")
    sft.apply(tiny, profile)
    groups = sft.param_groups(tiny, profile, weight_decay=0.1)
    held = [id(p) for g in groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in tiny.parameters() if p.requires_grad) and len(set(held)) == len(held)
    assert {g["stage"]: g["lr"] for g in groups} == {"layer2": 0.5, "head": 1.0}


def test_weight_decay_skips_biases_and_norms(tiny):
    for group in sft.param_groups(tiny, sft.full(tiny), weight_decay=0.1):
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


TIMM = {
    "vit_tiny_patch16_224": {"depth": 1, "reg_tokens": 2},
    "deit_tiny_distilled_patch16_224": {"depth": 1},
    "beit_base_patch16_224": {"depth": 1, "embed_dim": 24, "num_heads": 2, "use_abs_pos_emb": True},
    "swin_tiny_patch4_window7_224": {"depths": (1, 1, 1, 1), "embed_dim": 12, "num_heads": (1, 1, 1, 1)},
    "swinv2_tiny_window8_256": {"depths": (1, 1, 1, 1), "embed_dim": 12, "num_heads": (1, 1, 1, 1)},
    "tnt_s_patch16_224": {"depth": 1, "embed_dim": 48, "inner_dim": 12},
    "levit_128s": {"embed_dim": (16, 16, 16), "num_heads": (1, 1, 1), "depth": (1, 1, 1), "key_dim": 8},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)},
    "efficientnet_lite0": {},
}


@pytest.mark.parametrize("name", TIMM)
def test_what_does_not_decay_is_what_timm_says(name):
    model = timm.create_model(name, **TIMM[name])
    listed = getattr(model, "no_weight_decay", dict)()
    for key, p in model.named_parameters():
        theirs = p.ndim > 1 and not any(key.endswith(one) or one in key.split(".") for one in listed)
        assert profiles.decays(key, p) == theirs, key


@pytest.mark.parametrize(
    ("name", "shape", "decays"),
    [
        ("encoder.pos_embedding", (1, 5, 8), False),
        ("class_token", (1, 1, 8), False),
        ("attn.relative_position_bias_table", (9, 4), False),
        ("block.layer_scale", (8, 1, 1), False),
        ("alpha", (1, 1, 8), False),
        ("positions.weight", (12, 8), False),
        ("words.weight", (12, 8), True),
        ("mlp_tokens.fc1.weight", (8, 12), True),
        ("composition.weight", (8, 12), True),
        ("eca.conv.weight", (1, 1, 3), True),
        ("head.weight", (2, 8), True),
        ("query.a", (1, 8), True),
        ("pos_embed.proj.weight", (8, 8, 3, 3), True),
    ],
)
def test_a_table_of_positions_is_told_by_its_name_and_a_scale_by_its_shape(name, shape, decays):
    assert profiles.decays(name, torch.zeros(shape)) == decays


def test_rates_of_numpy_and_torch_are_numbers(tiny):
    for rate in (np.float32(0.5), np.int64(1), np.array(0.5), torch.tensor(0.5)):
        checked = profiles.check(tiny, sft.full(tiny, lr=rate))
        assert checked == dict.fromkeys(checked, float(rate)) and {type(v) for v in checked.values()} == {float}


def test_last_k_and_decay_say_what_range_they_take(tiny):
    with pytest.raises(ValueError, match="k goes from 0 to 3"):
        sft.last_k(tiny, 4)
    with pytest.raises(ValueError, match=r"decay=1\.5"):
        sft.layer_decay(tiny, decay=1.5)


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


def test_an_impossible_warmup_is_refused():
    with pytest.raises(ValueError):
        sft.warmup_cosine(1.0)
