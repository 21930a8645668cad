"""Figures of the package and of the lessons: whole, described, and what they say is computed from the data."""

import dataclasses
import inspect
import io
import itertools
import math
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from figures import check_figure, drawn_whole, finding, marked, texts
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from nbclient import NotebookClient
from PIL import Image
from scipy.stats import ttest_rel
from torch.nn import functional as F

import sftlab as sft
from sftlab import plot
from sftlab.analysis.explain import Drift
from sftlab.core.evaluation import result as make_result
from sftlab.core.records import Epoch, History, Interval, Step
from sftlab.lessons.calibration import heatmaps, rejected
from sftlab.lessons.decide import piles
from sftlab.lessons.evaluate import climb
from sftlab.lessons.freeze import drift
from sftlab.lessons.head import maps, reading
from sftlab.lessons.loss import cross_entropy, shares
from sftlab.lessons.rate import loss_surface
from sftlab.lessons.shift import threshold
from sftlab.lessons.start import strategies
from sftlab.lessons.two_tasks import compass
from sftlab.plot import style
from sftlab.plot.curves import run_borders
from sftlab.plot.differences import label_count
from sftlab.plot.images import most_confident_mistakes

pytestmark = pytest.mark.usefixtures("house_style")


def history(losses, accuracies, profile=None, planned=None):
    """A run of one step an epoch with the given valid losses and accuracies."""
    rates = profile or {"stem": 0.0, "head": 1e-3}
    epochs = [Epoch(i + 1, i + 1, v + 0.1, v, a, 1.0) for i, (v, a) in enumerate(zip(losses, accuracies, strict=True))]
    steps = [Step(e.step, e.epoch, e.train_loss, 32, rates) for e in epochs]
    finished = "finished" if planned is None else "early stop"
    run = {"profile": rates, "epochs": planned or len(epochs), "ran": len(epochs), "majority": 0.6}
    return History(steps, epochs, [run], [finished], 1 + int(np.nanargmin(losses)))


def evaluated(classes=2, n=120, seed=0, names=None):
    """A Result on made-up probabilities."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    p = np.exp(rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[y])
    names = names or [f"class {i}" for i in range(classes)]
    return make_result("test", names, [f"h{i}" for i in range(n)], y, p / p.sum(axis=1, keepdims=True))


def runs(curve, seed=0):
    """Return {labels: accuracies} of six runs around a curve; a good draw is good at every number of labels."""
    noise = np.random.default_rng(seed).normal(0, 0.01, (6, 1))
    return {n: list(values) for n, values in zip(COUNTS, (curve + noise).T, strict=True)}


@pytest.fixture(scope="module")
def of_blobs(blobs):
    """A Result on the real test split of the blobs, with mistakes in it."""
    model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(model, blobs, sft.full(model, 1e-3), epochs=1, verbose=False)
    result = sft.evaluate(model, blobs.test)
    assert most_confident_mistakes(result), "the blobs are meant to overlap"
    return result


# what the figures below show
HIGH = Interval(0.9, 0.8, 0.95)
LONG = [f"a class with quite a long name, number {i}" for i in range(10)]
TWO, TEN = evaluated(), evaluated(10, 400, names=LONG)
FIRST, NEXT = history([0.6, 0.5, 0.55], [0.7, 0.8, 0.79]), history([0.5, 0.6], [0.8, 0.7])
DIVERGED = history([0.6, 0.9], [0.7, 0.5])
DIVERGED.epochs[1] = dataclasses.replace(DIVERGED.epochs[1], valid_loss=math.nan, train_loss=math.inf)
DIVERGED = dataclasses.replace(DIVERGED, stopped=["diverged"])
UNKNOWN = dataclasses.replace(FIRST, runs=[])  # a record that does not say its majority rate
BY_STAGE = {"stem": Interval(0.5, 0.4, 0.6), "layer1": Interval(0.9, 0.85, 0.94), "neck": Interval(0.7, 0.6, 0.8)}
SEEDS = [(0.9, 0.5), (0.8, 0.6), (0.85, 0.7)]
COUNTS, UP = [1, 2, 5, 10, 50], np.linspace(0.5, 0.9, 5)
GOOD, POOR = runs(UP), runs(UP - 0.1)
CURVES = {"LP-FT": GOOD, "from scratch": POOR, "nearest neighbour": runs(UP - 0.05, seed=1)}
GAINS = {"move": {"pretrained": [0.1, -0.2, 0.3, 0.0], "from scratch": [3.0, 5.0, 4.0, 4.2]},
         "widen": {"pretrained": [3.0, 4.0, 3.5, 3.2], "from scratch": [1.0, -1.0, 0.5, 0.2]}}  # fmt: skip
P, Q, KINDS = [0.1, 0.7, 0.2], [0.6, 0.3, 0.1], ["intact", "cracked", "dead"]
MISSED = {"majority": 0.69, "title": "✗ missed", "licence": "CC BY 4.0"}
DRIFTED = Drift(
    ["stem", "layer1", "head"], [0, 1, 4], [{"stem": s, "layer1": s / 2, "head": 0.0} for s in (0.0, 0.1, 0.4)],
    [dict.fromkeys(("stem", "layer1", "head"), a) for a in (0.0, 0.2, 0.5)],
)  # fmt: skip
PATH = [(-9.0, 2.0), (-4.0, -1.0), (0.0, 0.0)]
COST = {"missed": 100, "false_alarm": 20, "classes": ["whole", "broken"]}
PILES = np.array([0.1, 0.9, 0.2, 0.8]), np.array([0, 0, 1, 1]), np.zeros((4, 8, 8), np.uint8), range(4), 0.5
STRANGERS = {"cells": [0.1, 0.2], "photos": [0.8, 0.05], "noise": [0.9, 0.95]}
HEAT = {"cell": None, "heat": np.ones((2, 2, 2))}
SCORES, Y = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1])
PLACES = {"home": (SCORES, Y), "away": (SCORES + 0.05, 1 - Y)}

# function, data, options, how the title begins
FIGURES = [
    (plot.curves, [FIRST + NEXT], {}, "Epoch 4 of 5 is kept: valid accuracy 80.0 % (majority 60.0 %)"),
    (plot.curves, [{"linear probe": FIRST, "full": NEXT}], {}, ""),
    (plot.curves, [DIVERGED], {}, "Diverged at step 2"),
    (plot.curves, [UNKNOWN], {}, "Epoch 2 of 3 is kept: valid accuracy 80.0 %"),
    (plot.confusion, [TWO], {}, ""),
    (plot.confusion, [TEN], {}, ""),
    (plot.confusion, [evaluated(60, 600)], {}, ""),
    (plot.guess_vs_result, [78.0, 60], {}, "Measured 78 %; you guessed 60 %"),
    (plot.guess_vs_result, [86.4, 3], {"high": 20}, "Measured 86.4 %; you guessed 3 %"),
    (plot.guess_vs_result, [-7.4, 3], {"low": -5}, "Measured −7.4 %"),
    (plot.old_and_new, [{"run 1": (HIGH, HIGH)}],
     {"stored": {"full": SEEDS}, "majority": (0.2, 0.1), "finding": "Run 1", "test_to_train": 0.5}, "Run 1"),
    (plot.differences, [GAINS], {"to": "none", "live": {"move": {"pretrained": 0.4}}},
     "Against none, 2 of 4 differences are clear of zero, by chance about 0.2 would be"),
    (plot.differences, [{"widen": {"pretrained": [9.0, -8.0, 0.5, 0.2]}}], {"to": "none"},
     "widen, pretrained: +0.4 (−10.6 to +11.5) points against none, not clear of zero"),
    (plot.differences, [{"this run": {"eval()": []}}], {"to": "none", "live": {"this run": {"eval()": 2.0}}}, ""),
    (plot.label_gap, [CURVES, "LP-FT", "from scratch"], {"at": 5}, "LP-FT with 5 labels a class: "),
    # of the lessons
    (maps, [torch.arange(240.0).view(15, 4, 4), "layer4"], {"licence": "CC BY 4.0"}, "layer4: 12 of 15 maps, 4×4"),
    (cross_entropy, [P, Q, KINDS], {}, "H(p, q) = 1.35 nats: 0.80 floor + 0.55 removable"),
    (cross_entropy, [[0, 1], [1, 0], ["a", "b"]], {}, "H(p, q) = ∞ nats: q is 0 where p is not"),
    (shares, [[1.0, 2.0, 1.0], [0.2, 0.4, 0.2]], {"at": 1, "guess": 10},
     "1 of 3 images makes 50 % of the loss, 50 % of the gradient"),
    (drift, [DRIFTED, "head", 4], {"train": True}, "2 stages frozen: 0 parameters changed, 50 % of the answers did"),
    (drift, [DRIFTED, "layer1", 4], {"train": False}, "1 stage frozen: 0 parameters changed, 0 % of the answers did"),
    (loss_surface, [{"SGD": PATH, "away": [*PATH, (np.nan, np.inf)]}], {},
     "A valley 25 times steeper across than along: where 2 steps lead"),
    (strategies, [{"solar": {"linear probe": TWO}}], {}, "Solar: nothing is clearly above the probe"),
    (climb, [np.array([0.7, 0.9, 0.8]), np.array([0.75, 0.74, 0.8])], {"n": 50, "majority": 0.7},
     "After 3 tries the kept best promises 16.0 points more than it gives, an average try 3.7 points more"),
    (piles, PILES, COST, "From p ≥ 0.50 on ‘broken’: 30,000 € per 1,000 cells"),
    (piles, [np.array([0.9, 0.9]), np.array([1, 1]), np.zeros((2, 8, 8), np.uint8), range(2), 0.0], COST,
     "From p ≥ 0.00 on ‘broken’: 0 € per 1,000 cells"),
    (rejected, [STRANGERS, 0.5], {"label": "distance"}, "Distance rejects 50 % to 100 % of each kind of stranger"),
    (heatmaps, [np.zeros((2, 1, 8, 8), np.uint8), HEAT], {"licence": "", "title": "Where it looks"}, "Where it looks"),
    (threshold, [PLACES, 0.5], {"classes": ["intact", "defect"]}, "Called ‘defect’ from 50 % upwards"),
    (compass, [{"loop": [0.5, 0.4], "ink": [-0.25]}], {}, "Cosine with all labels: loop +0.50 and ink -0.25"),
]  # fmt: skip


@pytest.mark.parametrize(("draw", "data", "how", "title"), FIGURES)
def test_every_figure_is_whole_and_described_and_leaves_its_input_alone(draw, data, how, title):
    assert check_figure(draw, *data, **how).startswith(title)


def test_figures_of_images_are_whole_and_described_and_leave_pyplot_alone(blobs, of_blobs):
    check_figure(plot.images, blobs)
    check_figure(plot.images, blobs.valid, [0], ["a caption\nof two lines"], licence="CC BY 4.0")
    check_figure(plot.mistakes, of_blobs, blobs)


REFUSED = [
    (plot.curves, [History()], {}, "no finished epoch"),
    (plot.curves, [{"nothing": History()}], {}, "no curve to draw"),
    (plot.differences, [{"widen": {}}], {"to": "none"}, "nothing to compare"),
    (plot.label_gap, [CURVES, "LP-FT", "kNN"], {"at": 5}, "no curve is named 'kNN'; there are LP-FT"),
    (plot.label_gap, [CURVES, "LP-FT", "from scratch"], {"at": 60}, "at=60: between 1 and 50"),
    (cross_entropy, [[0.5, 0.5], [0.6, 0.6], ["a", "b"]], {}, r"q sums to 1\.200"),
]


@pytest.mark.parametrize(("draw", "data", "how", "words"), REFUSED)
def test_what_cannot_be_drawn_is_refused(draw, data, how, words):
    with pytest.raises(ValueError, match=words):
        draw(*data, **how)


def test_every_figure_takes_an_axes_and_only_one_place_knows_pyplot():
    for name in set(plot.__all__) - {"show"}:
        parameter = inspect.signature(getattr(plot, name)).parameters["ax"]
        assert parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None, name
    files = Path(plot.__file__).parent.glob("*.py")
    assert [f.name for f in files if "import matplotlib.pyplot" in f.read_text(encoding="utf-8")] == ["base.py"]


# curves


def test_curves_mark_the_kept_epoch_and_where_a_next_run_began():
    ax = plot.curves(history([0.6, 0.5, 0.7], [0.7, 0.81, 0.6]) + history([0.4, 0.45], [0.85, 0.84]))
    assert finding(ax) == "Epoch 4 of 5 is kept: valid accuracy 85.0 % (majority 60.0 %)"
    rings = marked(ax, "kept")
    assert [tuple(float(v[0]) for v in ring.get_data()) for ring in rings] == [(4, 0.40), (4, 0.85)]
    assert [line.get_xdata()[0] for line in marked(ax, "border")] == [3.5, 3.5]
    assert "A next run begins after epoch 3" in style.alt(ax.figure)
    train, valid = ax.child_axes[0].lines[:2]
    assert train.get_linestyle() == "--" and valid.get_linestyle() == "-"
    first, then = history([0.6, 0.5], [0.7, 0.8], planned=10), history([0.4, 0.3, 0.2], [0.8, 0.9, 0.9], planned=10)
    assert run_borders(first + then) == [2], "stopped early, though the same stages go on"


# accuracy


def test_accuracy_figures_have_a_dashed_line_at_the_majority_rate():
    (line,) = marked(plot.curves(FIRST), "majority")
    assert list(line.get_ydata()) == pytest.approx([0.6, 0.6]) and line.get_linestyle() == "--"


def test_old_and_new_are_drawn_side_by_side_in_the_strategy_s_colour_each_with_its_majority_rate():
    new = {"full": (HIGH, Interval(0.5, 0.4, 0.6))}
    beside = {"stored": {"linear probe": SEEDS}, "finding": "", "test_to_train": 0.0}
    ax = plot.old_and_new(new, majority=(0.2, 0.1), **beside)
    assert [line.get_xdata()[0] for line in marked(ax, "majority")] == [0.2, 0.1]
    assert [float(dot.get_xdata()[0]) for dot in marked(ax, "computed")] == [0.9, 0.5]
    assert [dot.get_markerfacecolor() for dot in marked(ax, "computed")] == [style.STRATEGIES["full"]] * 2
    means = [float(dot.get_xdata()[0]) for dot in marked(ax, "stored")]
    assert means == pytest.approx(np.mean(SEEDS, axis=0)) and "linear probe, new: 60.0 %" in style.alt(ax.figure)


def test_confusion_names_the_largest_confusion():
    y = np.array([0] * 10 + [1] * 10)
    called = np.array([0] * 9 + [1] * 5 + [0] * 6)
    p = np.eye(2)[called] * 0.8 + 0.1
    ax = plot.confusion(make_result("test", ["intact", "defect"], [str(i) for i in range(20)], y, p))
    assert finding(ax) == "6 of 10 ‘defect’ were called ‘intact’"
    assert "6\n60 %" in texts(ax) and "9\n90 %" in texts(ax)
    assert (ax.get_xlabel()[:6], ax.get_ylabel()) == ("called", "true")


# heat


def test_heat_is_cold_for_frozen_and_darker_for_hotter():
    colours = [to_rgb(style.heat(rate)) for rate in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)]
    shades = [np.dot(colour, (0.2126, 0.7152, 0.0722)) for colour in colours]
    assert all(a > b + 0.05 for a, b in itertools.pairwise(shades)), "readable in greyscale"
    cold_red, _, cold_blue = to_rgb(style.heat(0))
    assert cold_blue > cold_red and all(red > blue for red, _, blue in colours)
    assert style.heat(1e-9) == style.heat(1e-6) and style.heat(5.0) == style.heat(0.1)


# differences and bands


def test_differences_have_the_interval_of_a_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = 100 * rng.uniform(0.4, 0.6, 12), 100 * rng.uniform(0.5, 0.7, 12)
    ax = plot.differences({"old": {"LP-FT": b - a}}, to="full")
    ends = ttest_rel(b, a).confidence_interval(0.95)
    (bar,), (mean,) = marked(ax, "interval"), marked(ax, "stored")
    assert bar.get_xdata() == pytest.approx([ends.low, ends.high]) and mean.get_xdata() == pytest.approx(
        [(b - a).mean()]
    )


def test_the_key_of_differences_names_the_ways_in_the_colours_of_their_marks():
    colours = [style.ink_safe(style.hue(way, k)) for k, way in enumerate(("pretrained", "from scratch"))]
    words = plot.differences(GAINS, to="none").get_legend().get_texts()
    assert [(text.get_text(), text.get_color()) for text in words] == list(zip(GAINS["move"], colours, strict=True))


def test_the_marks_of_learning_curves_are_means_over_runs():
    (first, *_) = marked(plot.label_gap(CURVES, "LP-FT", "from scratch", at=5), "stored")
    assert first.get_ydata() == pytest.approx([np.mean(GOOD[n]) for n in COUNTS])


def test_the_arrow_runs_level_from_the_method_to_where_the_baseline_is_as_good():
    ax = plot.label_gap(CURVES, "LP-FT", "from scratch", at=5)
    (arrow,) = marked(ax, "gap")
    assert arrow.xyann == pytest.approx((5, np.mean(GOOD[5]))) and arrow.xy == pytest.approx((10, np.mean(GOOD[5])))
    assert finding(ax).endswith("; from scratch needs 10")
    back = plot.label_gap(CURVES, "from scratch", "LP-FT", at=5)
    assert marked(back, "gap")[0].xy[0] == pytest.approx(2)  # what is worse points to the left


def test_words_for_a_number_of_labels():
    ends = [(14.46, 12.8, 41.2), (40, 30, math.inf), (math.inf, 43.5, math.inf), (math.inf,) * 3]
    said = ["14.5 (12.8–41)", "40 (30 to more than 50)", "more than 50 (at least 44)", "more than 50"]
    assert [label_count(Interval(*values), 50) for values in ends] == said


# images


def test_mistakes_come_most_confident_first_with_the_right_image(blobs, of_blobs):
    rows = most_confident_mistakes(of_blobs)
    confidence = [max(of_blobs.probabilities[i]) for i in rows]
    assert confidence == sorted(confidence, reverse=True)
    assert all(of_blobs.targets[i] != of_blobs.predictions[i] for i in rows)
    shuffled = blobs.test.subset(np.arange(len(blobs.test))[::-1])  # found by their hash, not by their place
    ax = plot.mistakes(of_blobs, shuffled, n=2, licence="CC BY 4.0")
    first = blobs.test.pixels(np.array([rows[0]]))[0].numpy().transpose(1, 2, 0)
    assert np.array_equal(ax.images[0].get_array(), first) and len(ax.images) == min(2, len(rows))
    assert finding(ax).startswith(f"{len(rows)} of {of_blobs.n} test images wrong")
    written = " ".join(texts(ax))
    called = of_blobs.classes[of_blobs.predictions[rows[0]]]
    assert "CC BY 4.0" in written and f"✗ {called} {100 * confidence[0]:.0f} %" in written
    named = dataclasses.replace(blobs.test, files=[f"photos/{i % 2}/{i}.png" for i in range(len(blobs.test.images))])
    assert any(text.endswith(f"\n{blobs.test.index[rows[0]]}.png") for text in texts(plot.mistakes(of_blobs, named)))
    with pytest.raises(ValueError, match="other images"):
        plot.mistakes(of_blobs, blobs.valid)


def test_images_say_their_classes_and_the_card_s_licence(digits):
    ax = plot.images(digits, [0, 1, 2])
    assert [t for t in texts(ax) if t in digits.classes] == [digits.classes[k] for k in digits.train.y[:3]]
    assert any(digits.card.licence in t for t in texts(ax))
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        plot.images(digits, [0, 1], ["one"])


def test_maps_show_the_channels_that_vary_most_each_in_its_own_range():
    x = torch.zeros(20, 20, 20)
    x[3], x[17] = torch.arange(400.0).view(20, 20), 0.01 * torch.arange(400.0).view(20, 20)
    shown = [image.norm(image.get_array()) for image in maps(x, "layer1").images]
    assert len(shown) == 12 and [(image.min(), image.max()) for image in shown if image.any()] == [(0, 1), (0, 1)]
    single = maps(torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1), "pool")
    assert [float(image.norm(image.get_array())[0, 0]) for image in single.images] == pytest.approx([0, 0.5, 1])


def test_heads_at_every_stage_are_drawn_beside_the_maps_of_one_or_several_together():
    widths = dict.fromkeys(BY_STAGE, 32)
    left, right = reading(BY_STAGE, majority=0.3, widths=widths, at="stem", x=torch.rand(4, 8, 8)).axes
    assert finding(right) == "Head after stem: 50.0 % (40.0–60.0)" and "neck 70.0 % (60.0–80.0)" in right.alternative
    assert drawn_whole(left) and right.get_xticklabels()[0].get_text() == "stem\n32"
    assert [line.get_ydata()[0] for line in marked(right, "majority")] == [0.3]
    both = {"cells": BY_STAGE, "digits": BY_STAGE}
    (ax,) = reading(both, majority={"cells": 0.7, "digits": 0.1}, widths=widths).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cells", "digits"]
    level = {"cells": BY_STAGE | {"neck": Interval(0.85, 0.8, 0.9)}, "digits": BY_STAGE}
    (only,) = reading(level, majority={"cells": 0.7, "digits": 0.1}, widths=widths).axes
    titles = [a.get_title(loc="left").replace("\n", " ") for a in (ax, only)]
    assert [t.split(": ")[1] for t in titles] == ["20 (cells) and 20 (digits)", "20 (digits)"]


# how figures are stored and shown


def test_lines_are_small_vectors_and_photographs_small_pictures(blobs):
    mime, data = style.picture(plot.curves(FIRST).figure)
    assert mime == "image/svg+xml" and len(data) < 40_000 and b"<text" in data
    mime, data = style.picture(plot.images(blobs).figure)
    assert mime == "image/jpeg" and len(data) < 200_000
    fig = Figure()
    fig.add_subplot().plot(range(20_000))
    assert style.picture(fig)[0] == "image/png", "a line of many points is smaller as a picture"
    assert style.picture(fig) == style.picture(fig), "the same figure gives the same bytes"


def stored_and_drawn(ax):
    """Return the pixels of a figure as it is stored, and as it was drawn, as H×W×3 integers; and the mime type."""
    ax.figure.draw_without_rendering()
    ax.figure.set_layout_engine("none")  # which moves everything a little at each drawing
    mime, data = style.picture(ax.figure)
    exact = io.BytesIO()
    ax.figure.savefig(exact, format="png", dpi=style.DPI)
    return *(np.asarray(Image.open(f).convert("RGB")).astype(int) for f in (io.BytesIO(data), exact)), mime


def test_a_photograph_is_stored_without_islands_of_one_colour_and_grey_stays_grey(digits):
    from sklearn.datasets import load_sample_image

    photos = [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    _, panels = plt.subplots(1, 2, figsize=(6.6, 4.3))
    for ax, photo in zip(panels, photos, strict=True):
        ax.imshow(photo)
        ax.set_axis_off()
    stored, drawn, mime = stored_and_drawn(panels[0])
    assert mime == "image/jpeg" and np.square(stored - drawn).mean() < 6, "38 dB would be 10"
    assert len(np.unique(stored[120:200, 40:240].reshape(-1, 3), axis=0)) > 100, "the sky"
    assert (stored[:, :3] == drawn[:, :3]).all(), "paper stays white"
    stored, drawn, _ = stored_and_drawn(plot.images(digits, [0, 1, 2, 3]))
    assert np.ptp(drawn, axis=2).max() == 0 and np.ptp(stored, axis=2).max() <= 2


def test_a_logarithmic_axis_has_numbers_not_the_source_of_a_formula():
    with mpl.rc_context(style.RULES):
        ax = plt.figure().add_subplot(xscale="log", yscale="log", xlim=(1e-5, 10), ylim=(0.1, 0.9))
        drawn = style.picture(ax.figure)[1].decode()
    assert ">1e-5</text>" in drawn and ">0.2</text>" in drawn and "mathdefault" not in drawn
    plt.close("all")


def test_html_carries_the_alternative_text_escaped():
    text = style.figure_html(plot.guess_vs_result(7, None, unit='"cats" & <dogs>').figure)
    assert text.startswith("<figure") and 'alt="Measured 7 &quot;cats&quot; &amp; &lt;dogs&gt;' in text


def test_in_a_notebook_a_cell_shows_its_figure_once_with_alternative_text():
    """A cell that ends in an Axes, one that does not, `show`, and one's own figure: one output each."""
    cells = [
        "from sftlab import plot, style\nstyle.use(); style.use()",
        "plot.guess_vs_result(78, 60)",
        "ax = plot.guess_vs_result(78, 60)",
        "plot.show(plot.guess_vs_result(78, 60))",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('mine');",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    shown = [[(sorted(o.data), o.data["text/plain"]) for o in cell.outputs] for cell in book.cells]
    html = ["text/html", "text/plain"]
    guessed = (html, "Measured 78 %; you guessed 60 %. The guess is 18 % off.")
    assert shown == [[], [guessed], [guessed], [guessed], [(html, "mine")]]


# of the lessons


def test_floor_and_removable_part_add_up_to_torch_s_cross_entropy_and_the_gradient_is_autograd_s():
    ax = cross_entropy(P, Q, KINDS)
    (floor,), (removable,) = marked(ax, "floor"), marked(ax, "removable")
    z = torch.tensor([Q]).log().requires_grad_()
    loss = F.cross_entropy(z, torch.tensor([P]))
    loss.backward()
    assert floor.get_height() + removable.get_height() == pytest.approx(loss.item(), abs=1e-6)
    assert floor.get_height() == pytest.approx(torch.distributions.Categorical(torch.tensor(P)).entropy().item())
    assert [bar.get_height() for bar in marked(ax, "gradient")] == pytest.approx(z.grad[0].tolist(), abs=1e-6)


def test_one_image_s_share_of_loss_and_gradient_is_pointed_out():
    ax = shares([1.0, 2.0, 1.0], [0.2, 0.4, 0.2], at=1, guess=10)
    assert [bar.get_width() for bar in marked(ax, "pointed out")] == pytest.approx([0.5, 0.5])
    assert sum(bar.get_width() for gid in ("pointed out", "rest") for bar in marked(ax, gid)) == pytest.approx(2)
    assert marked(ax, "guess")[0].get_xdata()[0] == pytest.approx(0.1)


def test_scores_beyond_the_limit_are_crossed():
    lines = rejected(STRANGERS, 0.5, label="distance").lines
    assert [len(line.get_xdata()) for line in lines if line.get_marker() == "x"] == [0, 1, 2]


def test_the_threshold_counts_what_is_right_in_each_place():
    words = [t.get_text() for box in threshold(PLACES, 0.5, classes=["a", "b"]).child_axes for t in box.texts]
    assert {
        f"{place}: {right} % right, majority rate 50.0 %" for place, right in (("home", "100.0"), ("away", "0.0"))
    } <= set(words)


def test_arrows_of_the_compass_have_length_one_and_stand_at_their_cosine():
    arrows = marked(compass({"loop": [0.5, 0.4], "ink": [-0.25]}), "loop")
    assert sorted(arrow.xy[1] for arrow in arrows) == [0.4, 0.5]
    assert all(np.hypot(*arrow.xy) == pytest.approx(1) for arrow in arrows)
    assert "itself 0 degrees" in style.alt(compass({"itself": [1 + 1e-7]}).figure), "rounded beyond 1"
