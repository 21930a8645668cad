"""The finder leaves no trace; the runs of a sweep are those that `fit` would make one by one."""

import copy
import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import sftlab as sft
from sftlab import plot
from sftlab.core import lr_search, records
from sftlab.data.storage import features_dir
from sftlab.plot import style

RATES = [1e-4, 3e-3, 0.1]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_run_is_the_run_that_fit_makes_alone(blobs, optimizer):
    model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    settings = {"optimizer": optimizer, "schedule": sft.warmup_cosine(0.2), "weight_decay": 0.1, "batch_size": 16}
    sweep = sft.lr_sweep(model, blobs, RATES, 4, seeds=(0, 5), **settings)
    for s, seed in enumerate(sweep.seeds):
        for r, rate in enumerate(RATES):
            alone = sft.replace_head(model, blobs.classes, seed=seed)
            history = sft.fit(
                alone, blobs, sft.linear_probe(alone, lr=rate), 4, seed=seed, keep_best=True, verbose=False, **settings
            )
            assert np.allclose([e.valid_loss for e in history.epochs], sweep.valid_loss[s][r], atol=1e-5)
            assert np.allclose([e.train_loss for e in history.epochs[1:]], sweep.train_loss[s][r][1:], atol=1e-5)
            assert np.allclose([e.valid_accuracy for e in history.epochs], sweep.valid_accuracy[s][r])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_optimizers_by_hand_are_those_of_torch(name):
    torch.manual_seed(0)
    ours = torch.randn(1, 1, 3, 6)  # five weights and a bias each
    theirs = [torch.nn.Parameter(w.clone()) for w in (ours[..., :5], ours[..., 5:])]
    groups = [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:], "weight_decay": 0.0}]
    torchs = torch.optim.AdamW(groups, lr=0.02) if name == "adamw" else torch.optim.SGD(groups, lr=0.02, momentum=0.9)
    decay = torch.tensor([0.3] * 5 + [0.0])
    update = lr_search.OPTIMIZERS[name](ours, torch.full((1, 1, 1, 1), 0.02), decay)
    for _ in range(6):
        gradient = torch.randn_like(ours)
        theirs[0].grad, theirs[1].grad = gradient[..., :5].clone(), gradient[..., 5:].clone()
        torchs.step()
        update(gradient, 1.0)
    assert torch.allclose(ours, torch.cat([w.detach() for w in theirs], dim=-1), atol=1e-6)


def test_a_run_that_diverges_does_not_touch_its_neighbours(blobs, tiny):
    both = sft.lr_sweep(tiny, blobs, [1e-3, 1e38], 3, optimizer="sgd")
    alone = sft.lr_sweep(tiny, blobs, [1e-3], 3, optimizer="sgd")
    assert math.isnan(both.valid_accuracy[0][1][-1]) and both.best == 1e-3
    assert np.allclose(both.valid_loss[0][0], alone.valid_loss[0][0])


def test_the_model_is_left_as_it_was(blobs, tiny):
    before, flags = sft.fingerprint(tiny), [p.requires_grad for p in tiny.parameters()]
    sft.lr_sweep(tiny, blobs, RATES, 2)
    assert sft.fingerprint(tiny) == before and [p.requires_grad for p in tiny.parameters()] == flags


def test_images_without_a_label_count_in_no_loss(tiny):
    x = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    y = np.arange(60) % 2
    data = sft.from_arrays(x, y)
    hidden = sft.data.with_targets(data, torch.where(torch.arange(60) % 5 == 0, -100, torch.as_tensor(y)), data.classes)
    sweep = sft.lr_sweep(tiny, hidden, [1e-3], 2)
    alone = sft.replace_head(tiny, hidden.classes, seed=0)
    history = sft.fit(alone, hidden, sft.linear_probe(alone, lr=1e-3), 2, verbose=False)
    assert np.allclose([e.valid_loss for e in history.epochs], sweep.valid_loss[0][0], atol=1e-5)
    assert np.allclose([e.train_loss for e in history.epochs[1:]], sweep.train_loss[0][0][1:], atol=1e-5)


def test_the_finder_asks_only_images_that_have_a_label(tiny, blobs):
    few = torch.where(torch.arange(len(blobs.train.targets)) % 7 == 0, blobs.train.targets, -100)
    sparse = sft.data.with_targets(blobs, few, blobs.classes)
    alone = dataclasses.replace(sparse, train=sparse.train.subset(np.flatnonzero(sparse.train.y >= 0)))
    one, two = (sft.find_lr(tiny, data, sft.full(tiny), batch_size=4) for data in (sparse, alone))
    assert one == two and min(one.losses) > 0


def test_where_every_rate_diverges_none_is_the_best(blobs, tiny):
    assert math.isnan(sft.lr_sweep(tiny, blobs, [1e37, 1e38], 3, optimizer="sgd").best)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rates": []}, "at least one learning rate"),
        ({"rates": [0.0]}, "finite number > 0"),
        ({"rates": [math.nan]}, "finite number > 0"),
        ({"rates": RATES, "seeds": (1, 1)}, "each once"),
        ({"rates": RATES, "epochs": 0}, "at least one pass"),
        ({"rates": RATES, "optimizer": "adam"}, "'adamw' or 'sgd'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(blobs, tiny, wrong, says):
    with pytest.raises(ValueError, match=says):
        sft.lr_sweep(tiny, blobs, **wrong)


def test_dropout_or_a_hidden_layer_before_the_head_is_refused_because_features_are_no_constant_then(blobs, dropping):
    for model in (dropping, sft.replace_head(sft.backbone("tiny"), blobs.classes, hidden=12)):
        with pytest.raises(ValueError, match="not a constant"):
            sft.lr_sweep(model, blobs, RATES)


def test_a_head_of_another_size_is_refused(blobs):
    with pytest.raises(ValueError, match="replace_head"):
        sft.lr_sweep(sft.backbone("tiny"), blobs, RATES)


def test_the_curve_marks_the_best_rate_the_majority_and_what_diverged(blobs, tiny):
    sweep = sft.lr_sweep(tiny, blobs, [1e-3, 1e-2, 1e38], 3, optimizer="sgd", seeds=range(3))
    ax = plot.lr_sweep(sweep)
    drawn = {line.get_gid(): line.get_xdata()[0] for line in ax.lines if line.get_gid()}
    assert drawn["diverged"] == 1e38 and drawn["best"] in (1e-3, 1e-2) and "majority" in drawn
    assert "best rate" in ax.get_title(loc="left")


def test_a_band_of_one_seed_counts_images_only_where_they_are_independent(blobs, tiny):
    grouped = replace(blobs, valid=replace(blobs.valid, image_groups=[i % 8 for i in range(120)]))
    heights = []
    for data, words in ((blobs, "95 % interval for"), (grouped, "in 8 groups")):
        ax = plot.lr_sweep(sft.lr_sweep(tiny, data, RATES, 2))
        heights.append(np.ptp(ax.collections[0].get_paths()[0].vertices[:, 1]))
        assert words in style.alt(ax.figure)
    line = sft.lr_sweep(tiny, grouped, RATES, 2).valid_accuracy[0]
    assert heights[0] > heights[1] == pytest.approx(np.ptp([epochs[-1] for epochs in line]))


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
    assert {p.parent.parent for p in tmp_path.rglob("*") if p.is_file()} <= {features_dir()}


def test_settings_of_a_run_are_taken_as_they_are_and_its_checkpoint_is_neither_written_nor_read(tiny, blobs, tmp_path):
    settings = {"batch_size": 16, "optimizer": "sgd", "seed": 3}
    alone = sft.find_lr(tiny, blobs, sft.full(tiny), steps=20, **settings)
    run = {
        "schedule": sft.cosine(),
        "patience": 1,
        "keep_best": True,
        "checkpoint": tmp_path / "c.pt",
        "verbose": False,
    }
    for number in (1, 2):
        found = sft.find_lr(tiny, blobs, sft.full(tiny), steps=20, **settings, **run, epochs=2)
        assert found == alone and len(list(tmp_path.iterdir())) == number - 1
        sft.fit(sft.replace_head(tiny, blobs.classes), blobs, sft.full(tiny), 1, **settings, **run)
    with pytest.raises(TypeError, match="batchsize"):
        sft.find_lr(tiny, blobs, sft.full(tiny), batchsize=16)


@pytest.mark.parametrize("shift", [0.5, 2.0, -3.0])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_constant_in_the_loss_changes_nothing_but_the_losses(tiny, blobs, shift, optimizer):
    settings = {"optimizer": optimizer, "batch_size": 16, "high": 1e4}
    plain = sft.find_lr(tiny, blobs, sft.full(tiny), **settings)
    moved = sft.find_lr(tiny, blobs, sft.full(tiny), loss=lambda z, t: sft.cross_entropy(z, t) - shift, **settings)
    assert plain.diverged and (moved.rates, moved.steepest) == (plain.rates, plain.steepest)
    assert np.allclose(np.array(moved.losses) + shift, plain.losses, rtol=1e-4, atol=1e-4)


def test_answers_to_the_validation_images_that_are_no_numbers_end_the_sweep(tiny, blobs):
    def broken(x, generator):
        for module in tiny_copies:
            module.running_var.fill_(math.nan)
        return x

    tiny_copies = []
    tiny.layer1[1].register_forward_pre_hook(lambda module, args: tiny_copies.append(module))
    found = sft.find_lr(tiny, blobs, sft.full(tiny), augment=broken, batch_size=16)
    assert found.diverged == found.rates[-1]


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


def test_finder_and_sweep_are_records(tiny, blobs, tmp_path):
    finder = sft.find_lr(tiny, blobs, sft.full(tiny), steps=12)
    assert records.read(records.write(finder, tmp_path / "lr.json")) == finder
    sweep = sft.lr_sweep(tiny, blobs, RATES, 2)
    again = records.read(records.write(sweep, tmp_path / "sweep.json"))
    assert again.rates == sweep.rates and again.valid_loss == sweep.valid_loss and again.best == sweep.best


def test_a_loss_that_is_no_number_from_the_start_is_named(tiny, blobs):
    tiny.head.weight.data.fill_(math.nan)
    with pytest.raises(ValueError, match="no finite number"):
        sft.find_lr(tiny, blobs, sft.full(tiny), steps=12)


def test_impossible_ranges_and_frozen_profiles_are_refused(tiny, blobs):
    with pytest.raises(ValueError, match="low < high"):
        sft.find_lr(tiny, blobs, sft.full(tiny), low=1, high=0.1)
    with pytest.raises(ValueError, match="nothing to train"):
        sft.find_lr(tiny, blobs, dict.fromkeys(sft.full(tiny), 0.0))
