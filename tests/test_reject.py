"""When the answer is "neither": what right answers it costs, what it catches, and that it says which limit it was."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import sftlab as sft
from sftlab.deploy.predict import Answers, predictor
from sftlab.deploy.reject import RejectOption, distances


@pytest.fixture(scope="module")
def reader(digits):
    """A digit network that has learned something."""
    model = sft.replace_head(sft.backbone("tiny"), digits.classes)
    sft.fit(model, digits, sft.full(model, lr=1e-2), epochs=15, verbose=False)
    return model


@pytest.mark.parametrize("keep", [0.5, 0.8, 0.95])
def test_it_keeps_at_least_the_share_of_right_validation_answers_that_was_asked_for(reader, digits, keep):
    refusal = sft.choose_reject_option(reader, digits, keep)
    n = len(digits.valid)
    found = predictor(reader, reject=refusal).answers(["x"] * n, digits.valid.pixels(np.arange(n)))
    right = [p for p, y in zip(found, digits.valid.y.tolist(), strict=True) if p.label == str(y)]
    kept = np.mean([not p.refused for p in right])
    assert kept >= keep and kept == pytest.approx(refusal.kept) and refusal.images == len(right)
    assert kept < 1, "a limit that refuses nothing is none"


def test_distances_are_scikit_learns_mean_over_five_neighbours(reader, digits):
    with torch.no_grad():
        known, asked = (reader.eval()[:-1](part.pixels(np.arange(50))) for part in (digits.train, digits.valid))
    found = distances(asked, torch.nn.functional.normalize(known, dim=1))
    nearest = NearestNeighbors(n_neighbors=5, metric="cosine").fit(known.double()).kneighbors(asked.double())[0]
    assert np.allclose(found, nearest.mean(axis=1), atol=1e-5)


def test_a_stranger_is_refused_by_distance_where_the_probability_is_high(reader, digits):
    refusal = sft.choose_reject_option(reader, digits)
    bright = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    bright[..., ::2] = 0  # stripes, at a probability that many a right answer does not reach
    (said,) = predictor(reader, reject=refusal).answers(["stripes"], bright)
    assert said.confidence >= refusal.probability and said.distance > refusal.distance
    assert said.answer == "neither" and "unlike every training image" in said.refused and said.label in digits.classes


def test_an_undecided_answer_says_so_and_limits_can_be_switched_off():
    half = RejectOption(probability=0.6)
    assert half.reason(0.59, None) == "undecided (probability 0.590, limit 0.600)" and not half.reason(0.6, 9.0)
    assert "unlike" in RejectOption(0.6, 0.2).reason(0.99, 0.21) and not RejectOption().reason(0.0, 1e9)


def test_without_features_to_compare_with_there_is_no_distance(reader, digits):
    assert len(Answers(reader)(digits.valid.pixels(np.arange(2)))) == 1
    (said,) = predictor(reader, reject=RejectOption(probability=1.0)).answers(["x"], digits.valid.pixels(np.arange(1)))
    assert said.distance is None and said.answer == "neither"


def test_what_cannot_be_chosen_is_refused_by_a_sentence(reader, digits):
    with pytest.raises(ValueError, match=r"keep=1: a share"):
        sft.choose_reject_option(reader, digits, 1)
    y, names = digits.train.targets, digits.classes
    with pytest.raises(ValueError, match="several tasks"):
        sft.choose_reject_option(reader, sft.data.with_targets(digits, {"a": y, "b": y}, {"a": names, "b": names}))
    few = sft.data.Data(digits.train.subset([0, 1, 2]), digits.valid, digits.valid, digits.card)
    with pytest.raises(ValueError, match="3 training images; distances need at least 5"):
        sft.choose_reject_option(reader, few)
