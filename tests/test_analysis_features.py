"""LogME against a brute-force search for the largest evidence."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

import sftlab as sft
from sftlab.analysis import logme, tapped


def task(n=40, d=6, signal=1.0, seed=0, classes=2):
    """Features n×d, of which the first carries the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.normal(size=(n, d))
    x[:, 0] += signal * y
    return x, y


def largest_evidence(x, y):
    """log p(y | F, α, β), maximised over α and β without any of the paper's algebra: y is Gaussian."""

    def negative(logs, target):
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(x)) / beta + x @ x.T / alpha
        return -multivariate_normal(np.zeros(len(x)), covariance).logpdf(target)

    scores = []
    for k in np.unique(y):
        target = (y == k).astype(float)
        tries = [minimize(negative, start, args=(target,), method="Nelder-Mead") for start in ((0, 0), (3, 1), (-2, 3))]
        scores.append(-min(t.fun for t in tries) / len(y))
    return np.mean(scores)


@pytest.mark.parametrize(("n", "d", "signal", "classes"), [(40, 6, 2.0, 2), (45, 5, 1.0, 3), (30, 50, 3.0, 2)])
def test_logme_is_the_largest_evidence(n, d, signal, classes):
    x, y = task(n, d, signal, classes=classes)
    assert logme(x, y) == pytest.approx(largest_evidence(x, y), abs=1e-5)


def test_features_that_say_nothing_have_the_evidence_of_noise_alone():
    y = np.arange(40) % 2
    x = np.zeros((40, 3))
    x[:, 0] = np.where(np.arange(40) % 4 < 2, 1.0, -1.0)  # orthogonal to both classes
    noise_alone = 0.5 * (np.log(40 / (2 * np.pi * 20)) - 1)
    assert logme(x, y) == pytest.approx(noise_alone, abs=1e-6)


def test_logme_rises_with_what_the_features_know():
    scores = [logme(*task(signal=signal)) for signal in (0.0, 1.0, 2.0, 4.0)]
    assert scores == sorted(scores) and scores[-1] > scores[0] + 0.1


def test_logme_does_not_depend_on_the_unit_of_the_features_the_order_of_images_or_a_rotation():
    x, y = task()
    order = np.random.default_rng(1).permutation(len(y))
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))
    for other in ((1000 * x, y), (x[order], y[order]), (x @ turn, y)):
        assert logme(*other) == pytest.approx(logme(x, y), abs=1e-6)
    x, y = task(60, 200, 2.0)  # more features than images
    assert logme(1000 * x, y) == pytest.approx(logme(x, y), abs=1e-6)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="all these images are of one"):
        logme(np.eye(4), np.zeros(4))


def test_taps_are_what_the_list_cut_after_each_stage_gives_pooled_and_leave_the_network_alone(blobs):
    model = sft.backbone("tiny").train()
    before, found = sft.fingerprint(model), tapped(model, blobs.valid)
    assert model.training and sft.fingerprint(model) == before
    model.eval()
    assert list(found) == ["stem", "layer1", "layer2"]
    x = blobs.valid.pixels(np.arange(len(blobs.valid)))
    with torch.no_grad():
        for k, values in enumerate(found.values(), start=2):
            assert np.allclose(values, model[:k](x).mean(dim=(2, 3)).numpy(), atol=1e-6)
        assert np.allclose(found["layer2"], model[:-1](x).numpy(), atol=1e-6)
