"""What moves although nobody meant it to, measured."""

import copy

import numpy as np
import pytest
import torch

import sftlab as sft
from sftlab import analysis as explain
from sftlab.lessons.freeze import Drifting


@pytest.fixture
def batches(blobs):
    return list(blobs.train.batches(16, seed=0))


def test_photo_crops_are_the_same_every_time_and_show_both_photographs():
    crops = explain.photo_crops(6, size=32)
    assert crops.shape == (6, 3, 32, 32) and crops.dtype == torch.uint8
    assert torch.equal(crops, explain.photo_crops(6, size=32))
    assert (crops[:3, 2].float().mean() > 2 * crops[3:, 2].float().mean()).item(), "the sky is blue, the dahlia is not"


def test_answers_are_those_of_eval_mode_and_the_mode_stays(dropping, blobs):
    images = blobs.valid.pixels(np.arange(len(blobs.valid)))
    dropping.train()
    assert torch.equal(explain.answers(dropping, images), explain.answers(dropping, images))
    assert all(module.training for module in dropping.modules())


def test_drift_moves_statistics_and_leaves_the_network_alone(tiny, batches, blobs):
    images = blobs.valid.pixels(np.arange(len(blobs.valid)))
    before, modes = sft.fingerprint(tiny), [m.training for m in tiny.modules()]
    found = explain.drift(tiny, batches, images, steps=(1, 4))
    assert sft.fingerprint(tiny) == before and [m.training for m in tiny.modules()] == modes
    assert found.steps == [0, 1, 4] and found.stages == ["stem", "layer1", "layer2", "head"]
    assert not any(found.statistics[0].values()) and not any(found.answers[0].values())
    assert 0 < found.statistics[1]["stem"] < found.statistics[2]["stem"]
    assert found.statistics[2]["head"] == 0, "a head stores no statistics"


def test_the_strip_of_the_lesson_draws_every_cut_after_every_step_in_both_modes(tiny, batches, blobs):
    drifting = Drifting(tiny, batches * 3, blobs.valid.pixels(np.arange(8)))
    assert drifting.stages[-1] == "head" and drifting.steps == drifting.record.steps
    assert "0 parameters changed" in drifting.draw("head", drifting.steps[-1]).get_title(loc="left")
    assert "0 % of the answers" in drifting.draw("head", drifting.steps[-1], "eval").get_title(loc="left")


def test_one_pass_of_drift_agrees_with_a_network_frozen_the_textbook_way(tiny, batches, blobs):
    images = blobs.valid.pixels(np.arange(len(blobs.valid)))
    found = explain.drift(tiny, batches, images, steps=(4,))
    bad = copy.deepcopy(tiny)  # stem and layer1 "frozen", in train mode; the rest neither learns nor drifts
    bad.eval()
    bad.stem.train()
    bad.layer1.train()
    with torch.no_grad():
        for x, _ in batches[:4]:
            bad(x)
    different = (explain.answers(bad, images) != explain.answers(tiny, images)).float().mean().item()
    assert found.answers[1]["layer2"] == pytest.approx(different)


@pytest.mark.parametrize(("steps", "words"), [((2, 2), "rise"), ((0, 1), "at least 1"), ((1, 99), "ended")])
def test_drift_refuses_steps_that_cannot_be(tiny, batches, blobs, steps, words):
    with pytest.raises(ValueError, match=words):
        explain.drift(tiny, batches, blobs.valid.pixels(np.arange(4)), steps=steps)
