"""Every number has an interval; scikit-learn, scipy and torchmetrics are the oracles."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics as sk

import sftlab as sft
from sftlab.core import evaluation, records, statistics

rng = np.random.default_rng(0)
Y = rng.integers(0, 3, 300)
P = rng.dirichlet(np.ones(3), 300) + 0.6 * np.eye(3)[np.where(rng.random(300) < 0.7, Y, (Y + 1) % 3)]
P /= P.sum(axis=1, keepdims=True)


GROUPS = np.arange(300) % 11


def made(y=Y, p=P, classes=("a", "b", "c"), groups=()):
    return evaluation.result("test", classes, [f"{i:04x}" for i in range(len(y))], y, p, groups=groups)


def test_point_values_equal_scikit_learn():
    r, called = made(), P.argmax(axis=1)
    assert r.accuracy.value == sk.accuracy_score(Y, called)
    assert r.metrics["balanced_accuracy"].value == pytest.approx(sk.balanced_accuracy_score(Y, called))
    assert r.metrics["roc_auc"].value == pytest.approx(sk.roc_auc_score(Y, P, multi_class="ovr"))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(Y, called)
    for i, row in enumerate(r.per_class.values()):
        assert (row["precision"].value, row["recall"].value, row["f1"].value) == pytest.approx(
            (precision[i], recall[i], f1[i])
        )
    assert r.confusion == sk.confusion_matrix(Y, called).tolist()


def test_wilson_equals_scipy_and_stays_inside_zero_and_one():
    for k, n in ((0, 10), (10, 10), (7, 30), (577, 656)):
        ours, theirs = statistics.wilson(k, n), binomtest(k, n).proportion_ci(method="wilson")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
        assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_a_class_nobody_has_or_nobody_calls_gets_an_empty_interval_not_a_crash():
    y, p = np.array([0, 0, 1, 1, 0]), np.array([[0.9, 0.05, 0.05]] * 5)
    row = made(y, p).per_class
    assert row["c"]["recall"].why == "no cases" and "f1" not in row["c"]
    assert "roc_auc" not in made(y, p).metrics
    assert "f1" not in row["c"] and "c  " in str(made(y, p)), "of a class that is not there nothing is right or wrong"
    assert row["b"]["f1"].value == 0


def test_intervals_of_images_cover_the_truth_about_as_often_as_they_say():
    """Of 200 intervals made on samples of a known process, 90 % to 99 % contain the true balanced accuracy."""
    truth, hits = 0.5 * (0.9 + 0.7), 0
    source = np.random.default_rng(1)
    for _ in range(200):
        y = (source.random(150) < 0.3).astype(int)
        right = source.random(150) < np.where(y == 1, 0.7, 0.9)
        called = np.where(right, y, 1 - y)
        hits += truth in made(y, np.eye(2)[called] * 0.8 + 0.1, ("a", "b")).metrics["balanced_accuracy"]
    assert 180 <= hits <= 198


@pytest.mark.parametrize("unit", [GROUPS, np.arange(300)], ids=["groups", "images"])
@pytest.mark.parametrize("k", [2, 3])
def test_what_a_metric_is_without_each_unit_is_what_scikit_learn_says_without_it(k, unit):
    y, p = Y % k, P[:, :k].round(1) + 0.05  # many ties
    p /= p.sum(axis=1, keepdims=True)
    score, called = p[:, 1] if k == 2 else p, p.argmax(axis=1)
    value, areas = evaluation.auc(y, p, unit)
    assert value == pytest.approx(sk.roc_auc_score(y, score, multi_class="ovr"))
    recalls = evaluation.balanced_accuracy(y, called, unit)[1]
    for u in range(0, len(areas), 7):
        rest = unit != u
        assert areas[u] == pytest.approx(sk.roc_auc_score(y[rest], score[rest], multi_class="ovr"))
        assert recalls[u] == pytest.approx(sk.balanced_accuracy_score(y[rest], called[rest]))


def test_every_interval_is_over_groups_where_they_are_known_and_says_so(tiny):
    r = made(groups=GROUPS.tolist())
    assert {
        m.groups for m in (*r.metrics.values(), *(one for row in r.per_class.values() for one in row.values()))
    } == {11}
    assert str(r).count("(11 groups)") == len(r.metrics) and "(11 groups)" not in str(made())
    assert r.groups == GROUPS.tolist()
    hit = P.argmax(axis=1) == Y
    assert r.accuracy == statistics.proportion(hit, GROUPS)
    few = made(groups=(np.arange(300) % 4).tolist())
    assert all(m.why for m in few.metrics.values()) and "no interval: 4 of the 5 groups" in str(few)


def test_groups_of_a_split_reach_its_result_and_its_record(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (160, 8, 8), dtype=np.uint8)
    data = sft.from_arrays(x, np.arange(160) % 2, groups=np.arange(160) // 4)
    r = sft.evaluate(sft.replace_head(sft.backbone("tiny"), data.classes), data.test)
    assert r.accuracy.groups == len({int(i) // 4 for i in data.test.index}) >= 5
    assert records.read(records.write(r, tmp_path / "r.json"), records.Result).groups == data.test.groups


def test_few_images_or_none_wrong_leave_no_interval_without_width():
    y = np.array([0, 1] * 10)
    perfect, three = made(y, np.eye(2)[y], ("a", "b")), made(y[:6], np.eye(2)[y[:6]], ("a", "b"))
    every = [*perfect.metrics.values(), *(one for row in perfect.per_class.values() for one in row.values())]
    assert all(m.value == 1 and m.low < 0.9 for m in every)
    assert three.metrics["roc_auc"].why == "3 of the 5 images that it needs"
    rare = made(np.arange(100) // 95, np.eye(2)[np.arange(100) // 95], ("a", "b")).metrics["balanced_accuracy"]
    assert rare.low < 0.8  # five of five found may be three in five


def test_a_thousand_classes_take_seconds():
    y = np.arange(3000) % 1000
    began = time.perf_counter()
    made(y, np.random.default_rng(0).dirichlet(np.ones(1000), len(y)), list(map(str, range(1000))))
    assert time.perf_counter() - began < 30  # of a busy machine; drawing 1000 × k × k took minutes and 8 GB


def test_accuracy_is_correct_over_n_and_not_a_mean_of_batch_means(tiny, blobs):
    result = sft.evaluate(tiny, blobs.test, batch_size=27)  # the last 3 would count nine times as much
    logits = torch.cat([tiny.eval()(x) for x, _ in blobs.test.batches(64)])
    assert result.accuracy.value == (logits.argmax(1) == blobs.test.y).sum().item() / 30


def test_evaluation_leaves_weights_modes_and_gradient_flags_alone(tiny, blobs):
    tiny.train()
    before, flags = sft.fingerprint(tiny), [p.requires_grad for p in tiny.parameters()]
    modes = [m.training for m in tiny.modules()]
    sft.evaluate(tiny, blobs.test)
    assert sft.fingerprint(tiny) == before and [m.training for m in tiny.modules()] == modes
    assert [p.requires_grad for p in tiny.parameters()] == flags


def test_a_result_says_how_often_its_images_were_evaluated(tiny, blobs):
    evaluation._seen.clear()
    assert [sft.evaluate(tiny, blobs.test).evaluations for _ in range(3)] == [1, 2, 3]
    assert sft.evaluate(tiny, blobs.valid).evaluations == 1
    assert "evaluated 4 times in this process" in str(sft.evaluate(tiny, blobs.test))


def test_evaluating_with_a_frozen_prefix_gives_the_same_probabilities(tiny, blobs):
    open_, frozen = sft.evaluate(tiny, blobs.test), None
    sft.apply(tiny, sft.linear_probe(tiny))
    frozen = sft.evaluate(tiny, blobs.test)
    assert open_.probabilities == frozen.probabilities and frozen.hashes == blobs.test.hashes


def test_one_image_alone_on_any_number_of_threads_gets_the_answer_it_gets_among_others():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    tolerance = float(re.search(r"on one thread or many, within (\S+):", readme)[1])
    cells = sft.load("solar", size=64).test.subset(range(12))
    model = sft.replace_head(sft.backbone("efficientnet_lite0"), cells.classes)
    among = sft.predict_split(model, cells, batch_size=12)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            alone = [sft.predict_split(model, cells.subset([i]))[0] for i in range(len(cells))]
        finally:
            torch.set_num_threads(1)
        assert np.abs(alone - among).max() < tolerance


def test_a_model_without_parameters_is_evaluated_too(blobs):
    class Brightness(torch.nn.Module):
        def forward(self, x):
            bright = x.float().mean(dim=(1, 2, 3)) - 128
            return torch.stack([-bright, bright], dim=1)

    assert sft.evaluate(torch.nn.Sequential(Brightness()), blobs.valid).settings["device"] == "cpu"


def test_results_round_trip_through_json(tiny, blobs, tmp_path):
    result = sft.evaluate(tiny, blobs.test)
    assert records.read(records.write(result, tmp_path / "r.json"), records.Result) == result


def test_images_without_a_label_have_probabilities_and_no_say():
    y = Y.copy()
    y[:100] = -100
    r = made(y)
    assert r.n == 200 and len(r.probabilities) == 300
    assert r.accuracy.value == sk.accuracy_score(Y[100:], P[100:].argmax(axis=1))


def test_copies_of_a_picture_count_once(blobs, tiny):
    x = np.repeat(blobs.train.images[:60], np.arange(60) % 3 + 1, axis=0)
    data = sft.from_arrays(x, np.repeat(np.arange(60) % 2, np.arange(60) % 3 + 1))
    found = sft.evaluate(tiny, data.test)
    pictures = {image.tobytes() for image in data.test.images[data.test.index]}
    assert found.accuracy.groups == len(pictures) < found.n
    right = np.equal(found.predictions, found.targets)
    assert found.accuracy == statistics.proportion(right, found.hashes)


def test_what_cannot_be_evaluated_is_refused_by_a_sentence(tiny, blobs, digits):
    with pytest.raises(ValueError, match="split is empty"):
        sft.evaluate(tiny, blobs.test.subset([]))
    with pytest.raises(ValueError, match="2 classes, the data 10"):
        sft.evaluate(tiny, digits.test)
    with pytest.raises(ValueError, match="diverged"):
        tiny.head.weight.data.fill_(float("nan"))
        sft.evaluate(tiny, blobs.test)
    with pytest.raises(ValueError, match="no image of the test split has a label"):
        made(np.full(300, -100))


def test_the_text_of_a_result_names_the_majority_rate_beside_the_accuracy():
    assert "always '" in str(made()) and f"{made().majority:.3f}" in str(made())


@pytest.mark.parametrize("ask", [sft.evaluate, sft.predict_split])
def test_weights_that_are_not_float32_are_refused_with_the_remedy(tiny, blobs, ask):
    net = sft.replace_head(tiny, blobs.classes).bfloat16()
    with pytest.raises(ValueError, match=r"torch.bfloat16.*model\.float\(\) first"):
        ask(net, blobs.test)
