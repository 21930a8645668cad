"""A run is a stream; frozen stages are constant; best weights come back; a killed run goes on."""

import contextlib
import copy
import dataclasses
import itertools
import math
import threading
import time
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from conftest import same
from torch import nn

import sftlab as sft
from sftlab.core import features as kept
from sftlab.core import loop, monitors
from sftlab.core.monitors import Diverged
from sftlab.core.records import Epoch
from sftlab.data import storage

FAST = {"batch_size": 16, "verbose": False}


def stages_changed(before, after):
    return [name for name in before if before[name] != after[name]]


# --- frozen means constant -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_frozen_stages_keep_parameters_and_buffers_to_the_bit(tiny, blobs, cached):
    before = sft.fingerprint(tiny)
    tiny.train()  # the textbook's line, which lets BatchNorm drift; fit must not care
    sft.fit(tiny, blobs, sft.last_k(tiny, 1, lr=1e-2), epochs=2, weight_decay=0.1, cached=cached, **FAST)
    assert stages_changed(before, sft.fingerprint(tiny)) == ["layer2", "head"]


def test_the_textbook_freeze_does_drift(tiny, blobs):
    """The bug that the test above guards against is real: requires_grad alone is not a freeze."""
    before = sft.fingerprint(tiny)
    sft.apply(tiny, sft.linear_probe(tiny))
    tiny.train()
    optimizer = torch.optim.SGD(sft.param_groups(tiny, sft.linear_probe(tiny)), lr=1e-3)
    list(sft.steps(tiny, blobs.train.batches(16, seed=0), optimizer, sft.cross_entropy))
    assert {"stem", "layer1", "layer2"} <= set(stages_changed(before, sft.fingerprint(tiny)))


def test_gradients_switched_on_between_epochs_are_switched_off_again(tiny, blobs):
    before = sft.fingerprint(tiny)["stem"]
    for record in sft.train(tiny, blobs, sft.last_k(tiny, 1), 2, cached=False, batch_size=16):
        if isinstance(record, Epoch):
            tiny.requires_grad_(True)  # what a careless cell in between may do
        elif record.epoch == 2:
            assert not any(p.requires_grad for p in tiny.stem.parameters())
    assert sft.fingerprint(tiny)["stem"] == before


def test_a_textbook_model_train_between_epochs_is_undone(tiny, blobs):
    before = sft.fingerprint(tiny)
    for record in sft.train(tiny, blobs, sft.last_k(tiny, 1), 2, cached=False, keep_best=False, batch_size=16):
        if isinstance(record, Epoch):
            tiny.train()  # what somebody who validates by hand writes afterwards
    assert stages_changed(before, sft.fingerprint(tiny)) == ["layer2", "head"]


def test_momentum_and_decay_of_an_earlier_run_never_move_a_stage_frozen_later(tiny, blobs):
    sft.fit(tiny, blobs, sft.full(tiny, lr=1e-2), epochs=1, optimizer="sgd", weight_decay=0.1, **FAST)
    before = sft.fingerprint(tiny)
    sft.fit(tiny, blobs, sft.linear_probe(tiny, lr=1e-2), epochs=1, optimizer="sgd", weight_decay=0.1, **FAST)
    assert stages_changed(before, sft.fingerprint(tiny)) == ["head"]


# --- cached ≡ uncached ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [sft.linear_probe, lambda m, lr: sft.last_k(m, 1, lr), lambda m, lr: sft.surgical(m, ["layer1", "head"], lr)],
)
@pytest.mark.parametrize("kind", ["tiny", "dropping"])
def test_cached_equals_uncached_to_the_bit(request, blobs, strategy, kind):
    runs = []
    for cached in (True, False):
        model = sft.replace_head(sft.backbone("tiny", drop_rate=0.5 if kind == "dropping" else 0.0), blobs.classes)
        history = sft.fit(model, blobs, strategy(model, lr=1e-2), epochs=3, cached=cached, **FAST)
        runs.append((model, history))
    (one, a), (two, b) = runs
    assert same(one, two)
    assert [s.loss for s in a.steps] == [s.loss for s in b.steps]
    assert [e.valid_loss for e in a.epochs] == [e.valid_loss for e in b.epochs]


def test_the_frozen_part_runs_once_however_many_epochs(tiny, blobs):
    seen = []
    tiny.layer1.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    storage.clear_features()
    sft.fit(tiny, blobs, sft.linear_probe(tiny), epochs=5, **FAST)
    images, first = len(blobs.train) + len(blobs.valid), sum(seen)
    sft.fit(tiny, blobs, sft.linear_probe(tiny), epochs=5, **FAST)
    assert images <= first <= images + 20 and sum(seen) - first <= 8, "once each, and a few to be sure"


def test_augmentation_runs_the_whole_network_on_train_only(tiny, blobs):
    seen = []

    def watch(x, generator):
        seen.append(len(x))
        return x

    sft.fit(tiny, blobs, sft.linear_probe(tiny), epochs=2, augment=watch, **FAST)
    assert sum(seen) == 2 * len(blobs.train)


# --- rates ------------------------------------------------------------------------------------------------------


def test_every_group_at_every_step_learns_at_profile_times_schedule(tiny, blobs):
    profile, schedule = sft.layer_decay(tiny, lr=1e-2, decay=0.5, start="layer1"), sft.warmup_cosine(0.3)
    used = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            used.append({g["stage"]: g["lr"] for g in self.param_groups})
            return super().step(closure)

    history = sft.fit(tiny, blobs, profile, epochs=3, schedule=schedule, optimizer=Spy, **FAST)
    total = len(history.steps)
    for k, rates in enumerate(used):
        assert rates == {s: pytest.approx(r * schedule(k / total)) for s, r in profile.items() if r}
        assert history.steps[k].rates == {s: pytest.approx(r * schedule(k / total)) for s, r in profile.items()}


def test_the_loop_equals_a_textbook_loop_written_out(tiny, blobs):
    plain = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(tiny, blobs, sft.full(tiny, lr=1e-2), epochs=2, optimizer="sgd", weight_decay=0, keep_best=False, **FAST)
    optimizer = torch.optim.SGD(plain.parameters(), lr=1e-2, momentum=0.9)
    for epoch in range(2):
        plain.train()
        for x, y in blobs.train.batches(16, seed=0, epoch=epoch):
            loss = nn.functional.cross_entropy(plain(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for a, b in zip(tiny.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_clip_norm_bounds_the_gradient(tiny, blobs):
    norms = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            norms.append(
                torch.linalg.vector_norm(
                    torch.cat([p.grad.flatten() for g in self.param_groups for p in g["params"]])
                ).item()
            )

    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, optimizer=lambda g: Spy(g, lr=1e-3), clip_norm=0.01, **FAST)
    assert max(norms) <= 0.01 * 1.001


# --- records ----------------------------------------------------------------------------------------------------


def test_epochs_count_every_image_once_and_losses_are_means_over_images(tiny, blobs):
    history = sft.fit(tiny, blobs, sft.full(tiny), epochs=2, **FAST)
    for epoch in history.epochs[1:]:
        mine = [s for s in history.steps if s.epoch == epoch.epoch]
        assert sum(s.images for s in mine) == len(blobs.train)
        assert epoch.train_loss == pytest.approx(sum(s.loss * s.images for s in mine) / len(blobs.train))
    assert [e.epoch for e in history.epochs] == [0, 1, 2] and history.stopped == ["finished"]


LOSSES = {
    "cross_entropy": (sft.cross_entropy, {}),
    "smoothing": (partial(sft.cross_entropy, smoothing=0.2), {"label_smoothing": 0.2}),
    "class weights": (
        partial(sft.cross_entropy, weight=torch.tensor([1.0, 9.0])),
        {"weight": torch.tensor([1.0, 9.0])},
    ),
    "of torch": (nn.CrossEntropyLoss(torch.tensor([1.0, 9.0])), {"weight": torch.tensor([1.0, 9.0])}),
}


def partly_labelled(data, every=3):
    """Return the data with labels at the end of each split only, where the last and smallest batches are."""
    targets = data.train.targets.clone()
    for split in (data.train, data.valid):
        targets[split.index[: -len(split) // every]] = -100
    return sft.data.with_targets(data, targets, data.classes)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("labels", ["all", "some"])
def test_losses_of_an_epoch_are_torchs_over_all_labelled_images_whatever_the_batch_size(blobs, loss, labels):
    data, (loss, how) = blobs if labels == "all" else partly_labelled(blobs), LOSSES[loss]
    for batch_size in (3, 16, 512):
        model = sft.replace_head(sft.backbone("tiny"), data.classes)
        still = sft.linear_probe(model, lr=1e-12)  # what it answers stays the same throughout the epoch
        settings = {"batch_size": batch_size, "loss": loss, "verbose": False}
        (_, epoch) = sft.fit(model, data, still, epochs=1, **settings).epochs
        with torch.no_grad(), sft.evaluating(model):
            for split, ours in ((data.train, epoch.train_loss), (data.valid, epoch.valid_loss)):
                theirs = nn.functional.cross_entropy(model(split.inputs(np.arange(len(split)))), split.y, **how)
                assert ours == pytest.approx(theirs.item(), abs=1e-5)


def test_losses_of_several_tasks_are_each_over_their_own_labels():
    x, y = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8), torch.arange(60) % 2
    data = sft.from_arrays(x, y.numpy())
    few = torch.where(torch.arange(60) % 5 == 0, y, -100)
    data = sft.data.with_targets(data, {"a": y, "b": few}, {"a": ["0", "1"], "b": ["0", "1"]})
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    epoch = sft.fit(model, data, sft.linear_probe(model, 1e-12), 1, batch_size=4, verbose=False).epochs[-1]
    with torch.no_grad(), sft.evaluating(model):
        logits = model(data.valid.inputs(np.arange(len(data.valid))))
    theirs = sum(nn.functional.cross_entropy(logits[task], data.valid.y[task]) for task in logits)
    assert epoch.valid_loss == pytest.approx(theirs.item(), abs=1e-5)


def test_a_loss_may_be_negative(blobs):
    runs = []
    for shift in (0.0, 2.0):
        model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
        settings = {"loss": lambda z, t, shift=shift: sft.cross_entropy(z, t) - shift, "patience": 1, **HOT}
        runs.append(sft.fit(model, blobs, sft.full(model, lr=0.3), verbose=False, **settings))
    a, b = runs
    assert (a.best, a.stopped, len(a.epochs)) == (b.best, b.stopped, len(b.epochs)) and a.best
    assert b.kept.valid_loss == pytest.approx(a.kept.valid_loss - 2, abs=1e-4)


def test_validation_equals_evaluating_the_model_on_the_validation_images(dropping, blobs):
    history = sft.fit(dropping, blobs, sft.full(dropping, lr=1e-2), epochs=3, **FAST)
    found, best = sft.evaluate(dropping, blobs.valid), history.epochs[history.best]
    assert history.best and best.valid_accuracy == found.accuracy.value
    p = np.array(found.probabilities)[np.arange(found.n), found.targets]
    assert best.valid_loss == pytest.approx(-np.log(p).mean(), abs=1e-4)
    assert [e.valid_accuracy for e in history.epochs] == [e.valid_counts[0][0] / found.n for e in history.epochs]


def test_histories_add_up(tiny, blobs):
    a = sft.fit(tiny, blobs, sft.linear_probe(tiny), epochs=2, **FAST)
    b = sft.fit(tiny, blobs, sft.full(tiny), epochs=3, **FAST)
    both = a + b
    assert [e.epoch for e in both.epochs] == [0, 1, 2, 3, 4, 5]
    assert both.steps[-1].step == len(a.steps) + len(b.steps) and both.best == 2 + b.best


# --- the best weights are back ------------------------------------------------------------------------------------


def best_is_back(model, data, history_epochs):
    best = min(history_epochs, key=lambda e: e.valid_loss)
    loss, *_ = loop.validate(model, data.valid.batches(64), sft.cross_entropy)
    assert loss == pytest.approx(best.valid_loss, abs=1e-6)


HOT = {"epochs": 8, "batch_size": 16, "optimizer": "sgd"}  # a rate that overshoots, so that best is not last


def test_best_is_not_last_and_comes_back_after_a_whole_run(tiny, blobs):
    history = sft.fit(tiny, blobs, sft.full(tiny, lr=0.3), verbose=False, **HOT)
    assert history.best not in (0, history.epochs[-1].epoch)
    best_is_back(tiny, blobs, history.epochs)


def test_best_comes_back_after_early_stop(tiny, blobs):
    history = sft.fit(tiny, blobs, sft.full(tiny, lr=0.3), patience=1, verbose=False, **HOT)
    assert history.stopped == ["early stop"] and history.epochs[-1].epoch < 8
    best_is_back(tiny, blobs, history.epochs)


def test_best_comes_back_after_break_out_of_a_stream_written_inline(tiny, blobs):
    epochs = []
    for record in sft.train(tiny, blobs, sft.full(tiny, lr=0.3), **HOT):
        epochs += [record] * isinstance(record, Epoch)
        if len(epochs) == 7:
            break
    best_is_back(tiny, blobs, epochs)


def test_best_comes_back_after_break_inside_closing(tiny, blobs):
    epochs = []
    with contextlib.closing(sft.train(tiny, blobs, sft.full(tiny, lr=0.3), **HOT)) as stream:
        for record in stream:
            epochs += [record] * isinstance(record, Epoch)
            if len(epochs) == 7:
                break
    best_is_back(tiny, blobs, epochs)


def test_best_comes_back_after_stop_within_one_step(tiny, blobs):
    stop, epochs, after = threading.Event(), [], 0
    for record in sft.train(tiny, blobs, sft.full(tiny, lr=0.3), stop=stop, **HOT):
        after += stop.is_set()
        epochs += [record] * isinstance(record, Epoch)
        if len(epochs) == 6:
            stop.set()
    assert after == 0
    best_is_back(tiny, blobs, epochs)


def test_best_comes_back_after_keyboard_interrupt_in_the_middle_of_a_step(tiny, blobs):
    epochs, calls = [], itertools.count()

    def interrupted(logits, targets):
        if next(calls) == 45:
            raise KeyboardInterrupt
        return sft.cross_entropy(logits, targets)

    with pytest.raises(KeyboardInterrupt):
        for record in sft.train(tiny, blobs, sft.full(tiny, lr=0.3), loss=interrupted, **HOT):
            epochs += [record] * isinstance(record, Epoch)
    assert epochs
    best_is_back(tiny, blobs, epochs)


def test_a_run_that_only_does_harm_leaves_the_weights_it_came_with_and_says_so(tiny, blobs, capsys):
    sft.fit(tiny, blobs, sft.full(tiny, lr=1e-2), epochs=10, **FAST)
    before, loss = sft.fingerprint(tiny), loop.validate(tiny, blobs.valid.batches(64), sft.cross_entropy)[0]
    history = sft.fit(tiny, blobs, sft.full(tiny, lr=3.0), epochs=2, optimizer="sgd", batch_size=16)
    assert history.best == 0 and history.epochs[0].valid_loss == pytest.approx(loss)
    assert sft.fingerprint(tiny) == before
    assert "no epoch was better than the weights it came with" in capsys.readouterr().out


def test_a_diverged_run_says_so_and_leaves_finite_weights(tiny, blobs, capsys):
    history = sft.fit(tiny, blobs, sft.full(tiny, lr=1e30), epochs=3, optimizer="sgd", **FAST)
    assert history.stopped == ["diverged"]
    assert "diverged at step" in capsys.readouterr().out
    assert all(torch.isfinite(p).all() for p in tiny.parameters())
    with pytest.raises(Diverged, match="learning rate of 1e"):
        list(sft.train(tiny, blobs, sft.full(tiny, lr=1e30), 3, optimizer="sgd", batch_size=16))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_validation_loss_that_is_no_number_ends_the_run_and_is_said(tiny, blobs, capsys, value):
    tiny.layer2[1].running_var.fill_(value)  # as a file with a damaged buffer has it: in train mode nobody looks at it
    tiny.head.bias.data.fill_(0 * value)
    history = sft.fit(tiny, blobs, sft.full(tiny), epochs=3, **FAST)
    assert history.stopped == ["diverged"] and history.best is None and not history.steps
    assert math.isnan(history.kept.valid_loss)
    assert "before the first step" in capsys.readouterr().out


def test_statistics_that_overflow_on_the_way_end_the_run_and_the_best_weights_are_back(tiny, blobs, capsys):
    def overflowing(x, generator):
        tiny.layer1[1].running_var.fill_(float("nan"))
        return x

    history = sft.fit(tiny, blobs, sft.full(tiny), epochs=3, augment=overflowing, **FAST)
    assert history.stopped == ["diverged"] and history.best == 0 and history.epochs[-1].epoch == 1
    assert "validation loss nan" in capsys.readouterr().out
    assert all(torch.isfinite(value).all() for value in tiny.state_dict().values())


def test_a_diverged_run_that_keeps_no_best_weights_says_what_it_leaves(tiny, blobs, capsys):
    sft.fit(tiny, blobs, sft.full(tiny, lr=1e30), epochs=3, optimizer="sgd", keep_best=False, **FAST)
    assert not all(torch.isfinite(p).all() for p in tiny.parameters())
    assert "make it anew" in capsys.readouterr().out


def test_stop_while_encoding_ends_the_run_and_keeps_the_finished_batches(tiny, blobs):
    storage.clear_features()
    stop = threading.Event()
    stop.set()
    assert list(sft.train(tiny, blobs, sft.linear_probe(tiny), 3, stop=stop)) == []
    assert kept.missing(tiny[:-1], blobs.train) == len(blobs.train) - kept.BATCH


# --- seeds and random state -----------------------------------------------------------------------------------


def test_same_seed_same_run_whatever_the_caller_draws(dropping, blobs):
    other = sft.replace_head(sft.backbone("tiny", drop_rate=0.5), blobs.classes)
    sft.fit(dropping, blobs, sft.full(dropping), epochs=2, seed=3, keep_best=False, **FAST)
    for _ in sft.train(other, blobs, sft.full(other), 2, seed=3, keep_best=False, batch_size=16):
        torch.rand(5)
    assert same(dropping, other)


def test_a_run_leaves_the_global_generator_as_it_found_it(dropping, blobs):
    state = torch.get_rng_state()
    sft.fit(dropping, blobs, sft.full(dropping), epochs=1, **FAST)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_seed_is_another_run(tiny, blobs):
    losses = []
    for seed in (0, 1):
        model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
        losses.append([s.loss for s in sft.fit(model, blobs, sft.full(model), epochs=1, seed=seed, **FAST).steps])
    assert losses[0] != losses[1]


# --- one run at a time ------------------------------------------------------------------------------------------


def test_a_second_thread_waits_for_the_first_run(tiny, blobs):
    order = []
    other = sft.replace_head(sft.backbone("tiny"), blobs.classes)

    def second():
        sft.fit(other, blobs, sft.full(other), epochs=1, **FAST)
        order.append("second")

    with contextlib.closing(sft.train(tiny, blobs, sft.full(tiny), 1, batch_size=16)) as stream:
        next(stream)
        assert monitors.is_running()
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"] and not monitors.is_running()


def test_a_second_stream_in_the_same_thread_is_refused_instead_of_hanging(tiny, blobs):
    with contextlib.closing(sft.train(tiny, blobs, sft.full(tiny), 1, batch_size=16)) as stream:
        next(stream)
        with pytest.raises(RuntimeError, match="still open in this thread"):
            sft.fit(tiny, blobs, sft.full(tiny), epochs=1, **FAST)
    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, **FAST)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"weight_decay": -1}, "weight_decay=-1"),
        ({"optimizer": "adamm"}, "adamm.*adamw"),
        ({"patience": 0}, "patience=0"),
        ({"batchnorm": "off"}, "batchnorm='off'"),
        ({"batch_size": 16.0}, "batch_size=16.0: a whole number"),
        ({"epochs": True}, "epochs=True"),
        ({"weight_decay": float("nan")}, "weight_decay=nan"),
        ({"views": 2}, "augment"),
        *(({"clip_norm": norm}, "clip_norm=") for norm in (0, -1.0, float("nan"), "1", np.float32(0))),
        *(({"schedule": lambda t, factor=factor: factor}, "factor of a schedule") for factor in (-0.5, float("nan"))),
    ],
)
def test_impossible_settings_are_refused_before_anything_moves(tiny, blobs, settings, says):
    before = sft.fingerprint(tiny)
    with pytest.raises(ValueError, match=says):
        sft.fit(tiny, blobs, sft.linear_probe(tiny), verbose=False, **settings)
    assert sft.fingerprint(tiny) == before


def with_labels(data, change, only=None):
    targets = data.train.targets.clone()
    rows = torch.arange(len(targets)) if only is None else torch.from_numpy(getattr(data, only).index)
    targets[rows] = change(targets[rows])
    return dataclasses.replace(
        data, **{name: dataclasses.replace(getattr(data, name), targets=targets) for name in ("train", "valid", "test")}
    )


@pytest.mark.parametrize(
    ("change", "only", "says"),
    [
        (lambda y: 0 * y - 100, "valid", "no image of the valid split has a label"),
        (lambda y: 0 * y - 100, "train", "no image of the train split has a label"),
        (lambda y: 2 * y, None, "label 2 is outside"),
        (lambda y: y - 1, "valid", "label -1 is outside"),
    ],
)
def test_labels_that_cannot_be_are_refused_before_anything_moves(tiny, blobs, change, only, says):
    before, data = sft.fingerprint(tiny), with_labels(blobs, change, only)
    for start in (
        lambda: sft.fit(tiny, data, sft.full(tiny), loss=nn.functional.cross_entropy, **FAST),
        lambda: sft.find_lr(tiny, data, sft.full(tiny)),
        lambda: sft.lr_sweep(tiny, data, [1e-3], 1),
    ):
        with pytest.raises(ValueError, match=says):
            start()
    assert sft.fingerprint(tiny) == before


@pytest.mark.parametrize("kind", [torch.int32, torch.float32])
def test_targets_of_another_type_are_refused(tiny, blobs, kind):
    data = sft.data.with_targets(blobs, blobs.train.targets.to(kind), blobs.classes)
    with pytest.raises(ValueError, match=r"y\.long"):
        sft.fit(tiny, data, sft.full(tiny), **FAST)


def test_a_task_without_labels_to_choose_by_and_a_split_without_images_are_refused(blobs, tiny):
    y, none = blobs.train.targets, torch.full_like(blobs.train.targets, -100)
    both = sft.data.with_targets(blobs, {"a": y, "b": none}, {"a": blobs.classes, "b": blobs.classes})
    model = sft.replace_head(sft.backbone("tiny"), both.classes)
    with pytest.raises(ValueError, match="a label of 'b'"):
        sft.fit(model, both, sft.full(model))
    with pytest.raises(ValueError, match="valid split has a label"):
        sft.fit(tiny, dataclasses.replace(blobs, valid=blobs.valid.subset([])), sft.full(tiny))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_where_gradients_are_switched_off_training_is_refused_in_words(tiny, blobs, context):
    stream = sft.train(tiny, blobs, sft.full(tiny), 1)
    with context():
        inside = sft.replace_head(tiny, blobs.classes)
        for start in (
            lambda: sft.fit(tiny, blobs, sft.full(tiny)),
            lambda: sft.find_lr(tiny, blobs, sft.full(tiny)),
            lambda: sft.lr_sweep(tiny, blobs, [1e-3], 1),
            lambda: next(stream),
        ):
            with pytest.raises(ValueError, match="switched off"):
                start()
    if context is torch.inference_mode:
        with pytest.raises(ValueError, match="was made"):
            sft.fit(inside, blobs, sft.full(inside))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_that_are_not_of_32_bits_are_refused_in_words(tiny, blobs, kind):
    for start in (
        lambda: sft.fit(tiny.to(kind), blobs, sft.full(tiny)),
        lambda: sft.lr_sweep(tiny.to(kind), blobs, [1e-3], 1),
    ):
        with pytest.raises(ValueError, match=r"model\.float"):
            start()


def test_batchnorm_is_not_asked_to_normalise_one_image(tiny, blobs):
    for refused in ({"batch_size": 1}, {"data": dataclasses.replace(blobs, train=blobs.train.subset([0]))}):
        with pytest.raises(ValueError, match="batch_size=2"):
            sft.fit(tiny, **{"data": blobs, "profile": sft.full(tiny), **refused})
    for settings in ({"profile": sft.linear_probe(tiny)}, {"profile": sft.full(tiny), "batchnorm": "frozen"}):
        assert sft.fit(tiny, blobs, epochs=1, batch_size=1, verbose=False, **settings).stopped == ["finished"]


def test_stages_that_share_a_parameter_are_refused_whatever_is_frozen(blobs):
    model = nn.Sequential(OrderedDict(input=sft.Input((0.5,) * 3, (0.5,) * 3), one=nn.Sequential(nn.Flatten())))
    model.one.append(nn.Linear(192, 192))
    model.add_module("two", nn.Linear(192, 192))
    model.add_module("head", nn.Linear(192, 2))
    rates = {"one": 0.0, "two": 1e-2, "head": 1e-2}
    sft.fit(model, blobs, rates, epochs=1, **FAST)
    tied = copy.deepcopy(model)
    tied.two.weight = tied.one[1].weight
    aliased = copy.deepcopy(model)
    aliased.two.weight.data = aliased.one[1].weight.data
    for network in (tied, aliased):
        for profile in (rates, {**rates, "one": 1e-2, "two": 0.0}, dict.fromkeys(rates, 1e-2)):
            with pytest.raises(ValueError, match=r"one\.1\.weight and two\.weight"):
                sft.fit(network, blobs, profile, epochs=1, **FAST)


def test_a_misspelt_setting_is_refused(tiny, blobs):
    with pytest.raises(TypeError, match="batchsize"):
        sft.fit(tiny, blobs, sft.linear_probe(tiny), batchsize=8)


def test_a_profile_with_nothing_to_train_and_a_head_of_the_wrong_size_are_refused(tiny, blobs, digits):
    with pytest.raises(ValueError, match="nothing to train"):
        sft.fit(tiny, blobs, dict.fromkeys(sft.full(tiny), 0.0))
    with pytest.raises(ValueError, match=r"2 classes, the data 10: model = replace_head"):
        sft.fit(tiny, digits, sft.linear_probe(tiny))
    with pytest.raises(ValueError, match="replace_head"):
        sft.fit(sft.backbone("tiny"), blobs, sft.linear_probe(sft.backbone("tiny")))


def test_two_heads_train_on_two_kinds_of_labels_with_some_missing():
    data = sft.load("solar", size=32, target="both", per_class=30)
    labels = {k: v.clone() for k, v in data.train.targets.items()}
    labels["type"][::2] = -100
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    from sftlab.data import with_targets

    history = sft.fit(model, with_targets(data, labels, data.classes), sft.full(model, lr=1e-2), epochs=2, **FAST)
    assert history.epochs[-1].epoch == 2
    results = sft.evaluate(model, data.test)
    assert set(results) == {"defect", "type"} and results["type"].n == len(data.test)


def test_soft_labels_train_and_are_evaluated_by_their_most_probable_class():
    data = sft.load("solar", size=32, target="probability", per_class=30)
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    sft.fit(model, data, sft.full(model, lr=1e-2), epochs=1, **FAST)
    assert sft.evaluate(model, data.test).targets == sft.load("solar", size=32, per_class=30).test.y.tolist()


def test_frozen_batchnorm_keeps_its_statistics_while_its_scale_learns(tiny, blobs):
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    sft.fit(tiny, blobs, sft.full(tiny, lr=1e-2), epochs=1, batchnorm="frozen", **FAST)
    after = tiny.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in after if "running" in k or "batches" in k)
    assert not torch.equal(before["layer1.1.weight"], after["layer1.1.weight"])
    with pytest.raises(ValueError, match="batchnorm='off'"):
        sft.train_mode(tiny, sft.full(tiny), batchnorm="off")


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d])
def test_every_norm_with_statistics_keeps_them_where_they_are_frozen(tiny, blobs, norm):
    tiny.layer1[1] = norm(16, affine=True, track_running_stats=True)
    before = {k: v.clone() for k, v in tiny.layer1[1].named_buffers()}
    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, batchnorm="frozen", keep_best=False, **FAST)
    assert all(torch.equal(v, before[k]) for k, v in tiny.layer1[1].named_buffers())
    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, keep_best=False, **FAST)
    assert not torch.equal(tiny.layer1[1].running_mean, before["running_mean"])
