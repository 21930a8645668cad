"""What moves although nobody meant it to, measured; and the figures that show it."""

import copy
from types import SimpleNamespace

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
import torch

import sftlab as sft
from sftlab import analysis as explain
from sftlab import plot
from sftlab.plot import style


@pytest.fixture
def batches(blobs):
    return list(blobs.train.batches(16, seed=0))


def test_photo_crops_are_the_same_every_time_and_show_both_photographs():
    pytest.importorskip("PIL")
    crops = explain.photo_crops(6, size=32, seed=1)
    assert crops.shape == (6, 3, 32, 32) and crops.dtype == torch.uint8
    assert torch.equal(crops, explain.photo_crops(6, size=32, seed=1))
    assert not torch.equal(crops, explain.photo_crops(6, size=32, seed=2))
    assert (crops[:3, 2].float().mean() > 2 * crops[3:, 2].float().mean()).item(), "the sky is blue, the dahlia is not"


def test_answers_are_those_of_eval_mode_and_the_mode_stays(dropping, blobs):
    images = blobs.valid.pixels(np.arange(len(blobs.valid)))
    dropping.train()
    assert torch.equal(explain.answers(dropping, images), explain.answers(dropping, images))
    assert all(module.training for module in dropping.modules())


def test_moved_is_the_length_of_the_move_over_the_length_of_the_weights(tiny):
    after = copy.deepcopy(tiny)
    with torch.no_grad():
        for p in after.layer1.parameters():
            p.mul_(1.5)
    found = explain.moved(tiny, after)
    assert found["layer1"] == pytest.approx(0.5) and found["stem"] == found["head"] == 0
    other = sft.replace_head(tiny, 7)
    assert "head" not in explain.moved(tiny, other), "a head of another shape cannot be compared"


def test_drift_moves_statistics_and_leaves_the_network_alone(tiny, batches, blobs):
    images = blobs.valid.pixels(np.arange(len(blobs.valid)))
    before, modes = sft.fingerprint(tiny), [m.training for m in tiny.modules()]
    found = explain.drift(tiny, batches, images, steps=(1, 4))
    assert sft.fingerprint(tiny) == before and [m.training for m in tiny.modules()] == modes
    assert found.steps == [0, 1, 4] and found.stages == ["stem", "layer1", "layer2", "head"]
    assert not any(found.statistics[0].values()) and not any(found.answers[0].values())
    assert 0 < found.statistics[1]["stem"] < found.statistics[2]["stem"]
    assert found.statistics[2]["head"] == 0, "a head stores no statistics"


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


def test_the_picture_of_drift_says_what_changed_and_in_eval_mode_that_nothing_did(tiny, batches, blobs):
    found = explain.drift(tiny, batches, blobs.valid.pixels(np.arange(8)), steps=(1, 4))
    ax = plot.drift(found, cut="layer2")
    assert ax.get_title(loc="left").startswith("2 stages frozen: 0 parameters changed")
    glowing = [patch for patch in ax.child_axes[0].patches if patch.get_gid() == "drift"]
    assert len(glowing) == 2
    still = plot.drift(found, cut="layer2", train=False)
    assert "0 % of the answers did" in still.get_title(loc="left")
    assert not [patch for patch in still.child_axes[0].patches if patch.get_gid() == "drift"]
    with pytest.raises(ValueError, match="cut='neck'"):
        plot.drift(found, cut="neck")


def test_costs_name_what_a_freeze_saves():
    ax = plot.costs({"stem": (0.4, 0.4, 1.2e9), "head": (0.1, 0.0002, 2e5)})
    assert ax.get_title(loc="left") == "Only head learns: 4.0 times as fast; features kept: 2,000 times"
    with pytest.raises(ValueError, match="no cut"):
        plot.costs({})


def test_moved_is_drawn_in_the_heat_of_the_rate():
    ax = plot.moved({"full": {"stem": 0.2, "head": 0.4}}, {"full": {"stem": 0.0, "head": 1e-2}})
    cold, hot = ax.patches
    assert cold.get_gid() == "frozen" and cold.get_hatch() and hot.get_gid() == "moved"
    assert matplotlib.colors.to_hex(hot.get_facecolor()) == style.heat(1e-2).lower()
    with pytest.raises(ValueError, match="same strategies"):
        plot.moved({"full": {}}, {"probe": {}})


def test_trade_off_draws_runs_of_now_solid_and_stored_ones_hollow_with_intervals():
    rng = np.random.default_rng(0)
    many, few = rng.uniform(0.4, 0.6, (20, 2)), [(0.9, 0.8), (0.95, 0.7)]
    ax = plot.trade_off({"probe": few}, stored={"full": many, "probe": few}, majority=(None, 0.2))
    lines = {line.get_gid(): line for line in ax.lines if line.get_gid()}
    assert len(lines["computed"].get_xdata()) == 2
    stored = [line for line in ax.lines if line.get_gid() == "stored"]
    assert [len(line.get_xdata()) for line in stored] == [2, 1], "each of a few, the mean of many"
    assert ax.get_title(loc="left").startswith("Probe comes nearest to both")
    with pytest.raises(ValueError, match="no strategy"):
        plot.trade_off({})


def test_paths_keep_earlier_runs_hollow_and_say_so_when_there_is_none():
    assert plot.paths([]).get_title(loc="left").startswith("No run yet")
    flights = [
        SimpleNamespace(number=k, profile={"stem": 0.0, "head": 1e-3}, path=[(1.0, 0.2), (0.9, 0.5 + k / 10)])
        for k in (1, 2)
    ]
    ax = plot.paths(flights, beside={"full": [(0.5, 0.9)]}, majority=(0.2, 0.2))
    marks = {line.get_gid(): line for line in ax.lines}
    assert marks["earlier"].get_markerfacecolor() == "white" and marks["newest"].get_markerfacecolor() != "white"
    assert "□" in [text.get_text() for text in ax.texts], "a frozen stage is told by its shape as well"
    assert ax.get_title(loc="left") == "Run 2: 90.0 % of the old task, 70.0 % of the new one"
