"""Figures: what they say is computed from the data, and everybody can read it."""

import dataclasses
import inspect
import io
import itertools
from pathlib import Path

import nbformat
import numpy as np
import pytest
from figures import check_figure, finding, marked, texts
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from nbclient import NotebookClient
from PIL import Image

import sftlab as sft
from sftlab import plot
from sftlab.core.evaluation import result as make_result
from sftlab.core.records import Epoch, History, Interval, Step
from sftlab.lessons.select import top_names
from sftlab.plot import style
from sftlab.plot.curves import run_borders
from sftlab.plot.images import most_confident_mistakes

pytestmark = pytest.mark.usefixtures("house_style")

STAGES = ["stem", "layer1", "layer2", "layer3", "head"]


def history(losses, accuracies, profile=None, planned=None):
    """A run of one step an epoch with the given valid losses and accuracies."""
    rates = profile or {"stem": 0.0, "head": 1e-3}
    epochs = [Epoch(i + 1, i + 1, v + 0.1, v, a, 1.0) for i, (v, a) in enumerate(zip(losses, accuracies, strict=True))]
    steps = [Step(e.step, e.epoch, e.train_loss, 32, rates) for e in epochs]
    finished = "finished" if planned is None else "early stop"
    best = 1 + int(np.nanargmin(losses))
    run = {"profile": rates, "epochs": planned or len(epochs), "ran": len(epochs)}
    return History(steps, epochs, [run], [finished], best)


def evaluated(classes=2, n=120, seed=0, names=None, bias=1.5):
    """A Result on made-up probabilities, and the hashes of its images."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + bias * np.eye(classes)[y]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = names or [f"class {i}" for i in range(classes)]
    return make_result("test", names, [f"h{i}" for i in range(n)], y, p)


@pytest.fixture(scope="module")
def of_blobs(blobs):
    """A Result on the real test split of the blobs, with mistakes in it."""
    model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(model, blobs, sft.full(model, 1e-3), epochs=1, verbose=False)
    result = sft.evaluate(model, blobs.test)
    assert most_confident_mistakes(result), "the blobs are meant to overlap"
    return result


FOUND = sft.LRFinder(
    [10 ** (-6 + 6 * i / 59) for i in range(60)], [0.7] * 30 + [0.5] * 25 + [4.0] * 5,
    [0.7] * 30 + [0.6] * 10 + [0.5] * 15 + [4.0] * 5, 1e-3, 0.6,
)  # fmt: skip
PROBE = dict.fromkeys(STAGES[:-1], 0.0) | {"head": 1e-3}
DECAY = {name: 1e-3 * 0.5 ** (4 - i) for i, name in enumerate(STAGES)}
HIGH = Interval(0.9, 0.8, 0.95)
LONG = [f"a class with quite a long name, number {i}" for i in range(10)]


TWO, TEN = evaluated(), evaluated(10, 400, names=LONG)
FIRST, NEXT = history([0.6, 0.5, 0.55], [0.7, 0.8, 0.79]), history([0.5, 0.6], [0.8, 0.7])
BY_STAGE = {"stem": Interval(0.5, 0.4, 0.6), "layer1": Interval(0.9, 0.85, 0.94), "neck": Interval(0.7, 0.6, 0.8)}
SEEDS = [(0.9, 0.5), (0.8, 0.6), (0.85, 0.7)]
FIGURES = {
    "curves": (plot.curves, FIRST + NEXT, {"majority": 0.6}),
    "curves of several runs": (plot.curves, {"linear probe": FIRST, "full": NEXT}, {}),
    "profile": (plot.profile, DECAY, {}),
    "changed": (plot.changed, {"stem": "a", "head": "b"}, {"after": {"stem": "a", "head": "c"}}),
    "moved": (plot.moved, {"full": {"stem": 0.2, "head": 0.4}}, {"profiles": {"full": {"stem": 0.0, "head": 1e-2}}}),
    "parameters": (plot.parameters, {"as it came": sft.summary(sft.backbone("tiny"))}, {}),
    "lr_finder": (plot.lr_finder, FOUND, {}),
    "confusion": (plot.confusion, TWO, {}),
    "confusion of ten": (plot.confusion, TEN, {}),
    "confusion of sixty": (plot.confusion, evaluated(60, 600), {}),
    "scores": (plot.scores, {"linear probe": TWO, LONG[1]: 0.5}, {"stored": {"full": HIGH}, "guess": 70}),
    "one score": (plot.scores, {"linear probe": TWO}, {}),
    "reliability": (plot.reliability, TWO, {}),
    "reliability of ten": (plot.reliability, TEN, {}),
    "probabilities": (plot.probabilities, LONG, {"p": [0.1] * 10}),
    "guess_vs_result": (plot.guess_vs_result, Interval(78.0, 74.0, 82.0), {"guess": 60}),
    "spreads": (plot.spreads, {"seeds": [0.80, 0.82], "splits": [0.7, 0.9]}, {}),
    "by_stage": (plot.by_stage, BY_STAGE, {"majority": 0.3, "guess": 3, "widths": dict.fromkeys(BY_STAGE, 1280)}),
    "by_stage beside records": (plot.by_stage, {"stem": HIGH}, {"majority": 0.3, "stored": {"lite0": BY_STAGE}}),
    "old_and_new": (plot.old_and_new, {"probe": SEEDS}, {"stored": {"full": SEEDS}, "majority": (0.2, None)}),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_whole_and_described_and_leaves_its_input_alone(name):
    draw, record, how = FIGURES[name]
    check_figure(draw, record, **how)


def test_figures_of_images_are_whole_and_described_and_leave_pyplot_alone(blobs, of_blobs):
    check_figure(plot.images, blobs)
    check_figure(plot.images, blobs.valid, [0], ["a caption\nof two lines"], licence="CC BY 4.0")
    check_figure(plot.mistakes, of_blobs, blobs)
    check_figure(plot.views, blobs.train, [0, 1], {"again": blobs.train})


def test_every_figure_takes_an_axes_and_only_one_place_knows_pyplot():
    for name in set(plot.__all__) - {"show"}:
        parameter = inspect.signature(getattr(plot, name)).parameters["ax"]
        assert parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None, name
    files = Path(plot.__file__).parent.glob("*.py")
    assert [f.name for f in files if "import matplotlib.pyplot" in f.read_text(encoding="utf-8")] == ["base.py"]


def test_curves_mark_the_kept_epoch_and_where_a_next_run_began():
    told = history([0.6, 0.5, 0.7], [0.7, 0.81, 0.6]) + history([0.4, 0.45], [0.85, 0.84])
    ax = plot.curves(told, majority=0.61)
    assert finding(ax) == "Epoch 4 of 5 is kept: valid accuracy 85.0 % (majority 61.0 %)"
    rings = marked(ax, "kept")
    assert [tuple(float(v[0]) for v in ring.get_data()) for ring in rings] == [(4, 0.40), (4, 0.85)]
    assert [line.get_xdata()[0] for line in marked(ax, "border")] == [3.5, 3.5]
    assert "train" in texts(ax) and "valid" in texts(ax)
    assert "A next run begins after epoch 3" in style.alt(ax.figure)
    train, valid = ax.child_axes[0].lines[:2]
    assert train.get_linestyle() == "--" and valid.get_linestyle() == "-"


def test_a_run_that_stopped_early_ends_where_it_stopped_though_the_same_stages_go_on():
    first, then = history([0.6, 0.5], [0.7, 0.8], planned=10), history([0.4, 0.3, 0.2], [0.8, 0.9, 0.9], planned=10)
    assert run_borders(first + then) == [2]
    assert run_borders(first) == []


def test_curves_of_a_real_run_know_the_majority_rate(tiny, blobs):
    told = sft.fit(tiny, blobs, sft.linear_probe(tiny), epochs=2, verbose=False)
    (line,) = marked(plot.curves(told), "majority")
    assert line.get_ydata()[0] == pytest.approx(max(blobs.valid.y.bincount()) / len(blobs.valid))


def test_a_diverged_run_says_so_and_an_empty_one_is_refused():
    nan = float("nan")
    run = dataclasses.replace(history([0.6, 0.9], [0.7, 0.5]), stopped=["diverged"])
    run.epochs[1] = dataclasses.replace(run.epochs[1], valid_loss=nan, train_loss=float("inf"))
    assert finding(plot.curves(run)).startswith("Diverged at step 2")
    with pytest.raises(ValueError, match="no finished epoch"):
        plot.curves(History())


@pytest.mark.parametrize("draw", [
    lambda r: plot.curves(history([0.6, 0.5], [0.7, 0.8]), majority=r.majority),
    lambda r: plot.scores({"linear probe": r}),
    lambda r: plot.reliability(r),
    lambda r: plot.by_stage(BY_STAGE, majority=r.majority),
])  # fmt: skip
def test_accuracy_figures_have_a_dashed_line_at_the_majority_rate(draw):
    result = evaluated()
    (line,) = marked(draw(result), "majority")
    across = line.get_ydata() if line.get_ydata()[0] == line.get_ydata()[1] else line.get_xdata()
    assert across[0] == across[1] == pytest.approx(result.majority)
    assert line.get_linestyle() == "--"


def test_scores_of_different_test_sets_are_each_compared_with_their_own_majority():
    a, b = evaluated(seed=0), evaluated(4, seed=1)
    ax = plot.scores({"a": a, "b": b})
    assert [line.get_xdata()[0] for line in marked(ax, "majority")] == [a.majority, b.majority]


def test_scores_are_solid_now_hollow_from_a_record_and_in_the_strategy_s_colour():
    now, before = evaluated(), Interval(0.7, 0.6, 0.8)
    ax = plot.scores({"linear probe": now}, stored={"linear probe": before, "full fine-tuning": 0.9}, majority=0.55)
    (solid,) = marked(ax, "computed")
    hollow = marked(ax, "stored")
    assert solid.get_markerfacecolor() == style.STRATEGIES["probe"] and len(hollow) == 2
    assert all(dot.get_markerfacecolor() == "white" for dot in hollow)
    assert hollow[1].get_color() == style.STRATEGIES["full"]
    assert finding(ax) == "Full fine-tuning is highest: 90.0 %, 35.0 points above the majority rate"
    low, high = (100 * v for v in (now.accuracy.low, now.accuracy.high))
    assert f"({low:.1f}–{high:.1f})" in style.alt(ax.figure)
    assert "below the majority rate" in finding(plot.scores({"a": 0.5}, majority=0.6))


def test_a_profile_marks_what_is_frozen_by_more_than_colour():
    ax = plot.profile(PROBE)
    frozen, learning = marked(ax, "frozen"), marked(ax, "learning")
    assert len(frozen) == 4 and len(learning) == 1
    assert all(bar.get_hatch() for bar in frozen) and not learning[0].get_hatch()
    assert texts(ax).count("frozen") == 4 and "1e-3" in texts(ax)
    assert finding(ax) == "1 of 5 stages learn: head at 1e-3"
    assert to_rgb(learning[0].get_facecolor()) == to_rgb(style.heat(1e-3))
    assert [bar.get_hatch() for bar in marked(plot.profile(DECAY), "frozen")] == []


def test_profiles_of_different_networks_are_not_drawn_together():
    with pytest.raises(ValueError, match="different networks"):
        plot.profile({"stem": 0.1}, {"layer1": 0.1})
    with pytest.raises(ValueError, match="1 names for 2 profiles"):
        plot.profile(PROBE, DECAY, names=["one"])


def test_heat_is_cold_for_frozen_and_darker_for_hotter():
    def lightness(colour):
        return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))

    rates = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    shades = [lightness(style.heat(rate)) for rate in rates]
    assert all(a > b + 0.05 for a, b in itertools.pairwise(shades)), "readable in greyscale"
    red, _, blue = to_rgb(style.heat(0))
    assert blue > red and all(to_rgb(style.heat(rate))[0] > to_rgb(style.heat(rate))[2] for rate in rates)
    assert style.heat(1e-9) == style.heat(1e-6) and style.heat(5.0) == style.heat(0.1)


def test_changed_names_the_stages_whose_fingerprint_differs():
    before, after = {"stem": "1", "layer1": "2", "head": "3"}, {"stem": "1", "layer1": "x", "head": "y"}
    ax = plot.changed(before, after)
    assert finding(ax) == "2 of 3 stages changed" and "Changed: layer1 and head." in style.alt(ax.figure)
    assert [bar.get_hatch() for bar in marked(ax, "frozen")] == [style.HATCH]
    with pytest.raises(ValueError, match="not of one network"):
        plot.changed(before, {"stem": "1"})


def test_a_guess_stands_beside_the_truth_in_another_shape():
    ax = plot.guess_vs_result(Interval(78.0, 74.0, 82.0), 60)
    (truth,), (guess,) = marked(ax, "measured"), marked(ax, "your guess")
    assert (truth.get_xdata()[0], guess.get_xdata()[0]) == (78, 60)
    assert truth.get_marker() != guess.get_marker() and guess.get_markerfacecolor() == "none"


def test_confusion_names_the_largest_confusion():
    y = np.array([0] * 10 + [1] * 10)
    called = np.array([0] * 9 + [1] * 5 + [0] * 6)
    p = np.eye(2)[called] * 0.8 + 0.1
    ax = plot.confusion(make_result("test", ["intact", "defect"], [str(i) for i in range(20)], y, p))
    assert finding(ax) == "6 of 10 ‘defect’ were called ‘intact’"
    assert "6\n60 %" in texts(ax) and "9\n90 %" in texts(ax)
    assert (ax.get_xlabel()[:6], ax.get_ylabel()) == ("called", "true")


def test_reliability_agrees_with_the_record():
    result = evaluated(n=300)
    ax = plot.reliability(result)
    said = np.max(result.probabilities, axis=1).mean()
    assert (
        finding(ax) == f"Says {100 * said:.0f} % on average, is right {100 * result.accuracy.value:.0f} % of the time"
    )
    assert f"{result.metrics['ece']:.3f}" in style.alt(ax.figure)


def test_mistakes_come_most_confident_first_with_the_right_image(blobs, of_blobs):
    rows = most_confident_mistakes(of_blobs)
    confidence = [max(of_blobs.probabilities[i]) for i in rows]
    assert confidence == sorted(confidence, reverse=True)
    assert all(of_blobs.targets[i] != of_blobs.predictions[i] for i in rows)
    shuffled = blobs.test.subset(np.arange(len(blobs.test))[::-1])  # found by their hash, not by their place
    ax = plot.mistakes(of_blobs, shuffled, n=2, licence="CC BY 4.0")
    first = ax.images[0].get_array()
    assert np.array_equal(first, blobs.test.pixels(np.array([rows[0]]))[0].numpy().transpose(1, 2, 0))
    assert len(ax.images) == min(2, len(rows))
    assert finding(ax).startswith(f"{len(rows)} of {of_blobs.n} test images wrong")
    assert any("CC BY 4.0" in text for text in texts(ax))
    assert any(
        f"✗ {of_blobs.classes[of_blobs.predictions[rows[0]]]} {100 * confidence[0]:.0f} %" in t for t in texts(ax)
    )
    with pytest.raises(ValueError, match="other images"):
        plot.mistakes(of_blobs, blobs.valid)


def test_images_say_their_classes_and_the_card_s_licence(digits):
    ax = plot.images(digits, [0, 1, 2])
    names = [digits.classes[k] for k in digits.train.y[:3]]
    assert [t for t in texts(ax) if t in digits.classes] == names
    assert any(digits.card.licence in t for t in texts(ax))
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        plot.images(digits, [0, 1], ["one"])


def test_probabilities_show_the_highest_first():
    ax = plot.probabilities(["cat", "dog", "car"], [0.1, 0.7, 0.2], top=2)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["dog", "car"]
    assert finding(ax) == "The network says ‘dog’ with 70 %"
    assert "the other 1 classes share 10.0 %" in style.alt(ax.figure)


def test_lines_are_small_vectors_and_photographs_small_pictures(blobs):
    mime, data = style.picture(plot.curves(history([0.6, 0.5], [0.7, 0.8])).figure)
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
    answers = [[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]] * 2
    stored, drawn, mime = stored_and_drawn(top_names(photos, ["a", "b"], list("abcdef"), answers))
    assert mime == "image/jpeg" and np.square(stored - drawn).mean() < 6, "38 dB would be 10"
    assert len(np.unique(stored[60:120, 100:300].reshape(-1, 3), axis=0)) > 100, "the sky"
    assert (stored[:, :3] == drawn[:, :3]).all(), "paper stays white"
    stored, drawn, _ = stored_and_drawn(plot.images(digits, [0, 1, 2, 3]))
    assert np.ptp(drawn, axis=2).max() == 0 and np.ptp(stored, axis=2).max() <= 2


def test_html_carries_the_alternative_text_escaped():
    ax = plot.probabilities(['"cat" & <dog>', "car"], [0.7, 0.3])
    text = style.figure_html(ax.figure)
    assert text.startswith("<figure") and 'alt="The network says ‘&quot;cat&quot; &amp; &lt;dog&gt;’ with 70 %.' in text
    assert "my own words" in style.figure_html(ax.figure, "my own words")


def test_in_a_notebook_a_cell_shows_its_figure_once_with_alternative_text():
    """A cell that ends in an Axes, one that does not, `show`, and one's own figure: one output each."""
    cells = [
        "from sftlab import plot, style\nstyle.use(); style.use()",
        "plot.guess_vs_result(78, 60)",
        "ax = plot.guess_vs_result(78, 60)",
        "plot.show(plot.guess_vs_result(78, 60), 'said')",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('mine');",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    shown = [[(sorted(o.data), o.data["text/plain"]) for o in cell.outputs] for cell in book.cells]
    html = ["text/html", "text/plain"]
    guessed = (html, "Measured 78 %; you guessed 60 %. The guess is 18 % off.")
    assert shown == [[], [guessed], [guessed], [(html, "said")], [(html, "mine")]]


def test_by_stage_says_what_is_best_and_points_a_chosen_stage_out():
    ax = plot.by_stage(BY_STAGE, majority=0.3, guess=3)
    assert finding(ax) == "Highest after layer1: 90.0 % (85.0–94.0); you guessed neck"
    assert marked(ax, "guess")[0].get_xdata()[0] == 2
    ax = plot.by_stage(BY_STAGE, majority=0.3, at="stem")
    assert finding(ax) == "Head after stem: 50.0 % (40.0–60.0)"
    colours = [dot.get_color() for dot in marked(ax, "computed")]
    assert colours[0] == style.VALID and style.VALID not in colours[1:]
    with pytest.raises(ValueError, match="no stage 'head' was measured"):
        plot.by_stage(BY_STAGE, majority=0.3, at="head")


def test_old_and_new_draws_runs_of_now_solid_and_the_mean_of_stored_ones_hollow_with_its_interval():
    ax = plot.old_and_new({"probe": SEEDS[:2]}, stored={"full": SEEDS}, majority=(0.2, None))
    assert len(marked(ax, "computed")) == 4 and len(marked(ax, "majority")) == 1
    hollow = marked(ax, "stored")
    assert [float(dot.get_xdata()[0]) for dot in hollow] == pytest.approx([0.85, 0.6])
    with pytest.raises(ValueError, match="no strategy"):
        plot.old_and_new({})


def test_parameters_count_what_learns_and_hatch_what_is_frozen():
    small, large = (sft.replace_head(sft.backbone("tiny"), 2, hidden=hidden) for hidden in (None, 64))
    ax = plot.parameters({name: sft.summary(m, sft.linear_probe(m)) for name, m in (("one", small), ("deep", large))})
    assert all(bar.get_hatch() for bar in marked(ax, "frozen"))
    assert not any(bar.get_hatch() for bar in marked(ax, "learning"))
    drawn = sum(bar.get_width() for gid in ("frozen", "learning") for bar in marked(ax, gid))
    assert drawn == sum(p.numel() for m in (small, large) for p in m.parameters())


def test_moved_is_drawn_in_the_heat_of_the_rate():
    ax = plot.moved({"full": {"stem": 0.2, "head": 0.4}}, {"full": {"stem": 0.0, "head": 1e-2}})
    cold, hot = ax.patches
    assert cold.get_gid() == "frozen" and cold.get_hatch() and hot.get_gid() == "moved"
    assert to_rgb(hot.get_facecolor()) == to_rgb(style.heat(1e-2))
    with pytest.raises(ValueError, match="same strategies"):
        plot.moved({"full": {}}, {"probe": {}})


def test_spreads_name_two_standard_deviations():
    assert "seeds ± 2.8 and splits ± 28.3" in finding(plot.spreads({"seeds": [0.80, 0.82], "splits": [0.7, 0.9]}))
