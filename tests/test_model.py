"""A network is a list; surgery returns a copy; a frozen stage is a constant function."""

import copy

import numpy as np
import pytest
import torch
from conftest import same
from torch import nn

import sftlab as sft


def test_replace_head_leaves_the_original_untouched_and_keeps_every_other_weight():
    model = sft.backbone("tiny")
    before = sft.fingerprint(model)
    new = sft.replace_head(model, ["a", "b", "c"])
    assert sft.fingerprint(model) == before
    assert {k: v for k, v in sft.fingerprint(new).items() if k != "head"} == {
        k: v for k, v in before.items() if k != "head"
    }
    assert new.head.out_features == 3 and sft.card(new)["classes"] == ["a", "b", "c"]


def test_the_new_head_depends_on_its_seed_and_on_nothing_the_caller_drew():
    model = sft.backbone("tiny")
    torch.manual_seed(1)
    one = sft.replace_head(model, 2, seed=5)
    torch.rand(7)
    state = torch.get_rng_state()
    two = sft.replace_head(model, 2, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert sft.fingerprint(one) == sft.fingerprint(two) != sft.fingerprint(sft.replace_head(model, 2, seed=6))


def test_a_hidden_layer_becomes_a_stage_of_its_own_before_the_head():
    model = sft.replace_head(sft.backbone("tiny"), 4, hidden=64)
    assert [n for n, _ in model.named_children()][-2:] == ["hidden", "head"]
    assert model.head.in_features == 64
    assert model(torch.zeros(2, 1, 16, 16, dtype=torch.uint8)).shape == (2, 4)
    assert sft.linear_probe(model)["hidden"] > 0


def test_two_heads_answer_as_a_dict_of_logits():
    model = sft.replace_head(sft.backbone("tiny"), {"defect": 2, "type": ["mono", "poly", "thin"]})
    logits = model(torch.zeros(5, 1, 16, 16, dtype=torch.uint8))
    assert {k: tuple(v.shape) for k, v in logits.items()} == {"defect": (5, 2), "type": (5, 3)}


def test_numbers_of_numpy_are_numbers():
    model = sft.replace_head(sft.backbone("tiny", seed=np.int64(1)), np.int64(3), hidden=np.int32(4), seed=np.int8(2))
    assert same(model, sft.replace_head(sft.backbone("tiny", seed=1), 3, hidden=4, seed=2))


@pytest.mark.parametrize(
    ("classes", "says"), [(1, "at least two"), ([], "at least two"), (["a", "a"], "share a name"), ({}, "empty dict")]
)
def test_impossible_class_lists_are_refused_by_a_sentence(classes, says):
    with pytest.raises(ValueError, match=says):
        sft.replace_head(sft.backbone("tiny"), classes)


def test_slices_share_weights_and_a_stage_runs_after_the_other():
    model = sft.backbone("tiny")
    x = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8)
    assert model[1].get_parameter("0.weight") is model[:2][1].get_parameter("0.weight")
    assert torch.equal(model(x), model[3:](model[:3](x)))


def test_train_mode_puts_exactly_the_learning_stages_in_train_mode(tiny):
    sft.train_mode(tiny, sft.last_k(tiny, 1))
    assert [n for n, s in tiny.named_children() if s.training] == ["layer2", "pool", "head"]


def test_dropout_before_the_head_follows_the_head(dropping):
    sft.train_mode(dropping, sft.linear_probe(dropping))
    assert dropping.dropout.training and not dropping.layer2.training
    sft.train_mode(dropping, {**sft.full(dropping), "head": 0.0})
    assert not dropping.dropout.training


def test_train_mode_undoes_a_textbook_model_train_in_every_module(tiny):
    tiny.train()
    sft.train_mode(tiny, sft.linear_probe(tiny))
    assert not any(m.training for name in ("stem", "layer1", "layer2") for m in getattr(tiny, name).modules())


def test_frozen_statistics_are_what_training_computes_with(tiny, blobs):
    """track_running_stats=False would keep them as well, and take those of each batch in their place."""
    sft.train_mode(tiny, sft.full(tiny), batchnorm="frozen")
    x = blobs.train.inputs(np.arange(8))
    training = tiny(x)
    with sft.evaluating(tiny):
        assert torch.equal(training, tiny(x))
    assert all(m.track_running_stats for m in tiny.modules() if isinstance(m, nn.BatchNorm2d))


def test_the_frozen_prefix_runs_on_through_the_pool_and_stops_before_dropout(tiny, dropping):
    for model, expected in ((tiny, "head"), (dropping, "dropout")):
        sft.apply(model, sft.linear_probe(model))
        names = [n for n, _ in model.named_children()]
        assert names[sft.frozen_prefix(model)] == expected


def test_an_unknown_parameter_free_stage_is_taken_to_be_random():
    class Dice(nn.Module):
        def forward(self, x):
            return x + torch.rand(1)

    model = nn.Sequential()
    for name, stage in (("stem", nn.Linear(2, 2)), ("dice", Dice()), ("head", nn.Linear(2, 2))):
        model.add_module(name, stage)
    sft.apply(model, sft.linear_probe(model))
    assert sft.frozen_prefix(model) == 1


@pytest.mark.parametrize(
    ("norm", "constant"),
    [
        (nn.BatchNorm2d(8, track_running_stats=False), False),
        (nn.BatchNorm2d(8, affine=False, track_running_stats=False), False),
        (nn.BatchNorm2d(8), True),
        (nn.InstanceNorm2d(8, affine=True), True),
        (nn.GroupNorm(2, 8), True),
    ],
)
def test_a_norm_that_takes_its_statistics_from_the_batch_is_no_constant(tiny, norm, constant):
    tiny.stem[1] = norm
    sft.apply(tiny, sft.linear_probe(tiny))
    names = [name for name, _ in tiny.named_children()]
    assert names[sft.frozen_prefix(tiny)] == ("head" if constant else "stem")


def test_a_fingerprint_sees_buffers_as_well_as_parameters(tiny):
    before = sft.fingerprint(tiny)
    tiny.layer1[1].running_mean += 1
    after = sft.fingerprint(tiny)
    assert [n for n in before if before[n] != after[n]] == ["layer1"]


def test_evaluating_restores_the_mode_of_each_module_even_after_an_error(tiny):
    sft.train_mode(tiny, sft.last_k(tiny, 1))
    modes = [m.training for m in tiny.modules()]
    with pytest.raises(RuntimeError), sft.evaluating(tiny):
        assert not any(m.training for m in tiny.modules())
        raise RuntimeError
    assert [m.training for m in tiny.modules()] == modes


def test_the_card_survives_surgery_and_copying_and_is_not_shared():
    model = sft.backbone("tiny")
    new = sft.replace_head(model, 2)
    sft.card(new)["name"] = "mine"
    assert sft.card(model)["name"] == "tiny" and sft.card(copy.deepcopy(new))["name"] == "mine"


def test_summary_counts_every_parameter_and_shows_the_profile(tiny):
    table = sft.summary(tiny, sft.linear_probe(tiny, lr=1e-3))
    parameters = table["parameters"]
    assert parameters["total"] == parameters.drop("total").sum() == sum(p.numel() for p in tiny.parameters())
    assert table["rate"]["head"] == "0.001" and table["rate"]["layer1"] == "frozen"
    assert "32×4×4" in str(table)


def test_the_input_stage_takes_grey_and_colour_and_refuses_floats(tiny):
    grey = torch.randint(256, (2, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(tiny(grey), tiny(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(TypeError, match="uint8"):
        tiny(grey.float())
    with pytest.raises(ValueError, match="N×1×H×W"):
        tiny(grey[0])
