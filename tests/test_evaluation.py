"""Every number has an interval; scikit-learn, scipy and torchmetrics are the oracles."""

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


def made(y=Y, p=P, classes=("a", "b", "c")):
    return evaluation.result("test", classes, [f"{i:04x}" for i in range(len(y))], y, p)


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


def test_calibration_error_equals_torchmetrics():
    from torchmetrics.functional.classification import multiclass_calibration_error

    theirs = multiclass_calibration_error(torch.tensor(P), torch.tensor(Y), num_classes=3, n_bins=15, norm="l1")
    assert made().metrics["ece"].value == pytest.approx(theirs.item(), abs=1e-6)


def test_wilson_equals_scipy_and_stays_inside_zero_and_one():
    for k, n in ((0, 10), (10, 10), (7, 30), (577, 656)):
        ours, theirs = statistics.wilson(k, n), binomtest(k, n).proportion_ci(method="wilson")
        assert (ours.low, ours.high) == (theirs.low, theirs.high) and 0 <= ours.low <= ours.value <= ours.high <= 1


def test_a_class_nobody_has_or_nobody_calls_gets_an_empty_interval_not_a_crash():
    y, p = np.array([0, 0, 1, 1, 0]), np.array([[0.9, 0.05, 0.05]] * 5)
    row = made(y, p).per_class
    assert (row["c"]["recall"].low, row["c"]["recall"].high) == (0, 1)
    assert "roc_auc" not in made(y, p).metrics
    assert "f1" not in row["c"] and "c  " in str(made(y, p)), "of a class that is not there nothing is right or wrong"
    assert row["b"]["f1"].value == 0


def test_resamples_without_a_class_say_nothing_of_its_f1():
    confusions = np.array([[[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[3, 0, 1], [0, 2, 0], [0, 0, 0]]])
    assert np.allclose(evaluation.f1(confusions), [[6 / 7, 0.8, np.nan], [6 / 7, 1, np.nan]], equal_nan=True)


def test_bootstrap_intervals_cover_the_truth_about_as_often_as_they_say():
    """Of 200 intervals made on samples of a known process, 90 % to 99 % contain the true balanced accuracy."""
    truth, hits = 0.5 * (0.9 + 0.7), 0
    source = np.random.default_rng(1)
    for _ in range(200):
        y = (source.random(150) < 0.3).astype(int)
        right = source.random(150) < np.where(y == 1, 0.7, 0.9)
        called = np.where(right, y, 1 - y)
        hits += truth in made(y, np.eye(2)[called] * 0.8 + 0.1, ("a", "b")).metrics["balanced_accuracy"]
    assert 180 <= hits <= 198


def test_bootstrap_of_the_confusion_matrix_equals_resampling_images():
    y, called = Y, P.argmax(axis=1)
    matrix = sk.confusion_matrix(y, called)
    by_cell = evaluation.balanced_accuracy(statistics.resamples(matrix, 4000).reshape(-1, 3, 3))
    source = np.random.default_rng(1)
    rows = [source.integers(0, 300, 300) for _ in range(4000)]
    by_image = [sk.balanced_accuracy_score(y[i], called[i]) for i in rows[:1000]]
    assert np.percentile(by_cell, [2.5, 97.5]) == pytest.approx(np.percentile(by_image, [2.5, 97.5]), abs=0.01)


def test_bootstrapped_areas_equal_scikit_learn_on_the_same_resamples():
    times = statistics.resamples(np.ones(300), 20, seed=3)
    for p, y in (
        (P, Y),
        (P[:, :2].round(1) / P[:, :2].round(1).sum(axis=1, keepdims=True).clip(1e-9), (Y > 0).astype(int)),
    ):
        ours = evaluation.auc(y, p, times)
        score = p[:, 1] if p.shape[1] == 2 else p
        theirs = [sk.roc_auc_score(np.repeat(y, t), np.repeat(score, t, axis=0), multi_class="ovr") for t in times]
        assert ours == pytest.approx(theirs)


def test_accuracy_is_correct_over_n_and_not_a_mean_of_batch_means(tiny, blobs):
    result = sft.evaluate(tiny, blobs.test, batch_size=29)  # 30 images: the last batch would have weight 29 too much
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


def test_other_probabilities_give_the_same_images_other_metrics():
    cooler = P**0.5 / (P**0.5).sum(axis=1, keepdims=True)
    r = evaluation.with_probabilities(made(), cooler)
    assert r.accuracy == made().accuracy and r.hashes == made().hashes and r.metrics == made(p=cooler).metrics
    assert r.metrics["ece"] != made().metrics["ece"]


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
