"""The gallery counts and measures what it says; the figures of the selection lesson say what the data say."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from torchvision.models import get_model_weights

import sftlab as sft
from sftlab import analysis as explain
from sftlab import plot
from sftlab.analysis.cost import Candidate, Gallery
from sftlab.core import records
from sftlab.core.records import Interval
from sftlab.plot import style

pytestmark = pytest.mark.usefixtures("house_style")

RECORD = Path(__file__).parents[1] / "benchmarks" / "selection.json"


def start(network="efficientnet_lite0", weights="ImageNet", stage="stem", value=0.8, logme=-0.4, size=160):
    score = Interval(value, value - 0.02, value + 0.02)
    where = {"network": network, "weights": weights, "size": size, "stage": stage}
    return {**where, "accuracy": score, "logme": logme, "width": 8}


STARTS = [
    start(stage=stage, weights=weights, value=0.7 + 0.02 * i + 0.05 * (weights == "ImageNet"), logme=-0.5 + i / 10)
    for weights in ("ImageNet", "random")
    for i, stage in enumerate(["stem", "layer1", "neck"])
]


@pytest.mark.parametrize("name", ["resnet18", "swin_t", "mobilenet_v3_small"])
def test_macs_are_those_that_torchvision_publishes(name):
    published = get_model_weights(name).IMAGENET1K_V1.meta["_ops"] * 1e9
    assert explain.macs(name, 224) == pytest.approx(published, rel=0.02)


def test_macs_grow_with_the_area_of_the_image():
    assert explain.macs("tiny", 64) == pytest.approx(4 * explain.macs("tiny", 32), rel=0.01)


def test_the_gallery_measures_speed_and_downloads_nothing(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a gallery must not download")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    shelf = explain.gallery(["tiny", "mobilenet_v3_small"], size=64)
    tiny, mobile = shelf.rows
    assert tiny.top1 is None and tiny.parameters == sum(p.numel() for p in sft.backbone("tiny").parameters())
    assert mobile.top1 == pytest.approx(67.668) and mobile.images_per_second > 0
    assert "mobilenet_v3_small" in repr(shelf) and shelf["tiny"] is tiny


SHELF = Gallery(
    [Candidate("a", 10**6, 10**8, 75.0, "MIT", 4.0, True, 200.0),
     Candidate("b", 10**7, 10**9, 80.0, "?", 40.0, False, 20.0),
     Candidate("tiny", 10**4, 10**6, None, "MIT", None, True, 900.0)], 224,
)  # fmt: skip
DRAWN = {
    "candidates": lambda: plot.candidates(SHELF),
    "seen": lambda: plot.seen([np.zeros((8, 8, 3), np.uint8)] * 2, "xy", list("abcd"), [[0.7, 0.1, 0.1, 0.1]] * 2),
    "projections": lambda: plot.projections(
        {"by class": np.random.default_rng(0).normal(size=(20, 2))}, {"by class": (np.arange(20) % 2, ["no", "yes"])}
    ),
    "taps": lambda: plot.taps(STARTS, majority=0.6, yardstick=0.74, now={STARTS[0]["stage"]: STARTS[0]["accuracy"]}),
    "ranked": lambda: plot.ranked(STARTS, [False, False, True, False, False, False], majority=0.6, yardstick=0.7),
    "estimates": lambda: plot.estimates(STARTS, Interval(0.5, 0.2, 0.7, "bootstrap")),
    "image_size": lambda: plot.image_size(
        np.arange(64 * 64, dtype=np.uint8).reshape(64, 64), 64, {64: STARTS[0]["accuracy"], 160: STARTS[1]["accuracy"]},
        {64: 500.0, 160: 100.0}, majority=0.6, yardstick=0.7, called="✗ missed", zoom=(0, 0, 150),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_states_its_finding_and_has_a_text_alternative(name):
    ax = DRAWN[name]()
    assert ax.get_title(loc="left")
    assert len(style.alt(ax.get_figure())) > len(ax.get_title(loc="left"))
    assert style.picture(ax.get_figure())[1]


def test_the_map_counts_nearest_neighbours_of_the_same_class():
    at = np.array([[0, 0], [0, 1], [9, 0], [9, 1]])
    ax = plot.projections({"apart": at, "mixed": at}, {"apart": ([0, 0, 1, 1], "ab"), "mixed": ([0, 1, 0, 1], "ab")})
    assert "100 % apart and 0 % mixed" in ax.get_title(loc="left").replace("\n", " ")


def test_the_taps_below_the_yardstick_are_counted():
    below = sum(s["accuracy"].value < 0.74 for s in STARTS)
    assert f"{below} of 6 taps" in DRAWN["taps"]().get_title(loc="left").replace("\n", " ")


def test_the_stored_records_are_complete_and_agree_with_themselves():
    record = records.read(RECORD)
    assert len(record["blocks"]) == record["images"]
    assert len({(s["network"], s["weights"], s["size"], s["stage"]) for s in record["starts"]}) == len(record["starts"])
    for s in record["starts"]:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(s["right"]), dtype=np.uint8), count=record["images"])
        assert bits.mean() == pytest.approx(s["accuracy"].value)
