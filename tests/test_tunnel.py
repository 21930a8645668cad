"""The wind tunnel without a browser: what a run measures, how it ends, what is remembered."""

import asyncio
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

import sftlab as sft
from sftlab import widgets
from sftlab.analysis import answers

pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture(scope="module")
def world(digits):
    """A network that knows the old task, the old task, and a new one."""
    x, y = digits.train.images, digits.train.targets.numpy()
    old = sft.from_arrays(x[y < 5], y[y < 5])
    new = sft.from_arrays(x[y >= 5], y[y >= 5] - 5, per_class=6)
    source = sft.replace_head(sft.backbone("tiny"), old.classes)
    sft.fit(source, old, sft.full(source, 1e-2), epochs=3, verbose=False)
    return source, old, new


def fly(tunnel):
    asyncio.run(tunnel.run())
    return tunnel.runs[-1]


def old_head(tunnel, source):
    """Return the network of the newest run, with the head of the old task."""
    return nn.Sequential(OrderedDict([*tunnel.model.named_children()][:-1], head=source.get_submodule("head")))


def test_a_run_leaves_old_and_new_accuracy_after_each_epoch(world):
    source, old, new = world
    before = sft.fingerprint(source)
    tunnel = widgets.wind_tunnel(*world, epochs=3, batchnorm="frozen")
    flight = fly(tunnel)
    assert len(flight.old) == 3 and flight.outcome == "finished" and not tunnel.is_training
    assert sft.fingerprint(source) == before, "the pretrained network is not touched"
    for model, split, said in (
        (old_head(tunnel, source), old.valid, flight.old[-1]),
        (tunnel.model, new.valid, flight.accuracy),
    ):
        images, targets = split.take(np.arange(len(split)))
        assert said.value == pytest.approx((answers(model, images) == targets).float().mean().item())


def test_where_images_come_in_groups_the_intervals_of_the_tunnel_are_over_them(world):
    source, old, new = world
    parts = [replace(d, valid=replace(d.valid, image_groups=np.arange(len(d.valid.images)) % 8)) for d in (old, new)]
    tunnel = widgets.wind_tunnel(source, *parts, epochs=2)
    flight = fly(tunnel)
    for model, data, said in zip(
        (old_head(tunnel, source), tunnel.model), parts, (flight.old[-1], flight.accuracy), strict=True
    ):
        assert said == sft.evaluate(model, data.valid).accuracy and said.groups == 8


def test_a_probe_forgets_nothing(world):
    tunnel = widgets.wind_tunnel(*world, epochs=3, profile=sft.linear_probe(world[0], 1e-2))
    flight = fly(tunnel)
    assert len(set(flight.old)) == 1 and tunnel.profile["stem"] == 0


def test_painting_trains_and_the_same_profile_takes_the_place_of_its_run(world):
    tunnel = widgets.wind_tunnel(*world, epochs=1)
    fly(tunnel)
    tunnel.inputs.state = {**tunnel.inputs.state, "profile": [0, 0, 0, 9]}
    asyncio.run(until_done(tunnel))
    assert [run.number for run in tunnel.runs] == [1, 2]
    assert tunnel.runs[-1].history.runs[0]["profile"] == {"stem": 0.0, "layer1": 0.0, "layer2": 0.0, "head": 5e-3}
    fly(tunnel)
    assert [run.number for run in tunnel.runs] == [1, 3]
    again = widgets.wind_tunnel(*world, epochs=1)
    assert again.profile["head"] == 5e-3 and len(again.runs) == 2, "what was painted survives running the cell again"


async def until_done(tunnel):
    while tunnel.is_training:
        await asyncio.sleep(0.01)


def test_a_profile_that_is_too_hot_for_one_epoch_is_named(world):
    tunnel = widgets.wind_tunnel(*world, epochs=1, loss=lambda logits, y: float("nan") * logits.sum())
    asyncio.run(tunnel.run())
    assert "ended before its first epoch was over. It diverged" in tunnel.inputs.answer["said"]
    assert tunnel.text() == "No run yet"


def test_stop_ends_a_run_within_a_step_and_forget_empties_the_plane(world):
    tunnel = widgets.wind_tunnel(*world, epochs=5000)

    async def stopped():
        tunnel.start()
        while not (tunnel.runs and len(tunnel.runs[-1].old) > 1):
            await asyncio.sleep(0.01)
        tunnel.inputs.state = {**tunnel.inputs.state, "stop": 1}
        await until_done(tunnel)

    asyncio.run(stopped())
    assert tunnel.runs[-1].outcome == "stopped" and len(tunnel.runs[-1].old) < 5000
    assert "It was stopped." in tunnel.inputs.answer["said"] and tunnel.inputs.disabled == ["stop"]
    tunnel.inputs.state = {**tunnel.inputs.state, "forget": 1}
    assert tunnel.runs == [] and tunnel.text() == "No run yet"


def test_what_cannot_be_run_is_said_on_the_page(world):
    tunnel = widgets.wind_tunnel(*world, profile=dict.fromkeys(["stem", "layer1", "layer2", "head"], 0.0), epochs=1)
    asyncio.run(tunnel.run())
    assert tunnel.runs == [] and "Every stage is frozen" in tunnel.inputs.answer["said"]
    tunnel = widgets.wind_tunnel(*world, epochs=1, batch_sise=4)
    with pytest.raises(TypeError, match="batch_sise"):
        asyncio.run(tunnel.run())
    assert "batch_sise" in tunnel.inputs.answer["error"] and not tunnel.is_training


def test_every_output_has_a_picture_with_words(world):
    tunnel = widgets.wind_tunnel(*world, epochs=1)
    assert "No run yet" in tunnel.html()
    fly(tunnel)
    assert 'alt="Run 1: ' in tunnel.html() and tunnel.text().startswith("Run 1 after")
