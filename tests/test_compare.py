"""Two runs side by side: what differs, whether it is more than chance, and what may not be compared."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from small_sets import class_folders

import sftlab as sft
from sftlab.analysis import decisions
from sftlab.core import records
from sftlab.core.evaluation import result as make
from sftlab.runs import report
from sftlab.runs.cli import app
from sftlab.runs.compare import compare, differences, write_page
from sftlab.runs.parameters import NotebookError
from sftlab.runs.results import Facts


def probabilities(y, skill, seed, classes=2):
    logits = np.random.default_rng(seed).normal(size=(len(y), classes)) + skill * np.eye(classes)[y]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


Y = np.arange(200) % 2
HASHES = [f"image {i // 2}" if i < 4 else f"image {i}" for i in range(200)]  # two pictures are there twice


def left(folder, p, y=Y, hashes=HASHES, classes=("intact", "defect"), groups=(), **parameters):
    """Make a folder as a run leaves it."""
    settings = {"torch": "2", "images": "x", "size": 8, "threads": 1}
    found = make("test", classes, hashes, y, p, 1, settings, groups)
    records.write(found, folder / "record.json")
    Facts("lesson", {"RATE": 0.1, "SEED": 0, **parameters}, "finished", 1.0, "2026-01-01T00:00:00").write(folder)
    return folder


@pytest.fixture
def two(tmp_path):
    first = left(tmp_path / "probe", probabilities(Y, 0.8, 0), STRATEGY="probe")
    return first, left(tmp_path / "partial", probabilities(Y, 2.5, 1), STRATEGY="partial")


def test_settings_metrics_and_counts_are_those_of_the_records(two):
    comparison = compare(*two)
    assert comparison.settings.to_dict("split")["data"] == [["probe", "partial"]]
    first, second = (records.read(folder / "record.json") for folder in two)
    right = [np.array(r.predictions) == Y for r in (first, second)]
    counts = [[(~right[0] & ~right[1]).sum(), (~right[0] & right[1]).sum()],
              [(right[0] & ~right[1]).sum(), (right[0] & right[1]).sum()]]  # fmt: skip
    assert comparison.counts.to_numpy().tolist() == counts
    assert set(comparison.metrics.index) == {*first.metrics, "ece"}
    for name, change in differences(Y, *(np.array(r.probabilities) for r in (first, second))).items():
        assert change.value == pytest.approx(second.metrics[name].value - first.metrics[name].value, abs=1e-6)
        assert change.low <= change.value <= change.high
    assert decisions.mcnemar(*right) < 0.001 and "p < 0.001" in comparison.verdict
    assert comparison.verdict.startswith("STRATEGY partial is right more often")
    images = comparison.images
    assert [(images.right == i).sum() for i in (0, 1)] == [counts[1][0], counts[0][1]]
    answers = images[["answer0", "answer1"]].map(lambda answer: answer.rsplit(maxsplit=2)[0]).to_numpy()
    alone, rows = images.right.to_numpy(), np.arange(len(images))
    assert (answers[rows, alone] == images.truth).all() and (answers[rows, 1 - alone] != images.truth).all()
    sure = [float(row[f"answer{1 - row.right}"].split()[-2]) for _, row in images.iterrows()]
    assert sure == sorted(sure, reverse=True), "the surest mistakes come first"


def test_the_order_of_the_images_does_not_matter(two, tmp_path):
    order = np.random.default_rng(2).permutation(len(Y))
    p = probabilities(Y, 2.5, 1)[order]
    turned = left(tmp_path / "turned", p, Y[order], [HASHES[i] for i in order], STRATEGY="partial")
    straight, other = compare(*two), compare(two[0], turned)
    # pictures that are there twice may change places; everything else is the same, image by image
    assert abs(straight.counts - other.counts).to_numpy().max() <= 2
    same = [
        {(one.image, one.answer0, one.answer1) for one in c.images.itertuples() if int(one.image.split()[1]) > 3}
        for c in (straight, other)
    ]
    assert same[0] == same[1]


def test_classes_in_another_order_are_compared_by_name(two, tmp_path):
    p = probabilities(Y, 2.5, 1)[:, ::-1]
    turned = left(tmp_path / "turned", p, 1 - Y, classes=("defect", "intact"), STRATEGY="partial")
    assert str(compare(two[0], turned)) == str(compare(*two))


def test_runs_of_one_folder_at_two_sizes_are_compared_image_by_image(tmp_path):
    root, runs = class_folders(tmp_path / "photos", {"cat": 20, "dog": 20}), []
    model = sft.replace_head(sft.backbone("tiny"), ["cat", "dog"])
    for size in (16, 24):
        run, result = tmp_path / str(size), sft.evaluate(model, sft.load(f"folder:{root}", size=size).test)
        records.write(result, run / "record.json")
        Facts("lesson", {"DATA": f"folder:{root}", "SIZE": size}, "finished", 1.0, "2026-01-01T00:00:00").write(run)
        runs.append(run)
    comparison = compare(*runs)
    assert comparison.counts.to_numpy().sum() == 10 and comparison.settings.loc["SIZE"].tolist() == [16, 24]
    page = write_page(comparison, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<img") == len(comparison.images)


def changed(**fields):
    """Return a function that changes fields of a record, each by a function of its old value."""
    return lambda r: dataclasses.replace(r, **{name: new(getattr(r, name)) for name, new in fields.items()})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed(hashes=lambda old: [f"other {i}" for i in range(50)] + old[50:]),
         "their test images differ (200 and 200 images, 150 in common)"),
        (changed(targets=lambda old: [1, *old[1:]]), "1 of their 200 test images have another label"),
        (changed(classes=lambda old: ["a", "b"]), "their classes differ: intact, defect and a, b"),
        (lambda record: {"x": 1}, "holds a dict, not a Result"),
    ],
    ids=["images", "labels", "classes", "no evaluation"],
)  # fmt: skip
def test_what_is_no_pair_is_refused(two, change, says):
    path = two[1] / "record.json"
    records.write(change(records.read(path)), path)
    with pytest.raises(NotebookError) as refused:
        compare(*two)
    assert says in str(refused.value)


def test_a_damaged_or_missing_record_is_a_sentence(two):
    (two[1] / "record.json").write_text("{", encoding="utf-8")
    with pytest.raises(NotebookError, match="partial cannot be compared"):
        compare(*two)
    (two[1] / "record.json").unlink()
    with pytest.raises(NotebookError, match="partial holds no record"):
        compare(*two)


@pytest.mark.parametrize("classes", [2, 4])
def test_paired_differences_agree_with_an_oracle(classes):
    y = np.arange(300) % classes
    first, second = probabilities(y, 0.6, 3, classes), probabilities(y, 1.0, 4, classes)
    found = differences(y, first, second)

    def score(p, at):
        one = p[at, 1] if classes == 2 else p[at]
        return {
            "accuracy": (p[at].argmax(axis=1) == y[at]).mean(),
            "balanced_accuracy": balanced_accuracy_score(y[at], p[at].argmax(axis=1)),
            "roc_auc": roc_auc_score(y[at], one, multi_class="ovr"),
        }

    every, rng = np.arange(len(y)), np.random.default_rng(5)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(200)]
    resampled = [(score(first, at), score(second, at)) for at in draws]
    for name in ("accuracy", "balanced_accuracy", "roc_auc"):
        value = score(second, every)[name] - score(first, every)[name]
        spread = np.std([b[name] - a[name] for a, b in resampled])
        assert found[name].value == pytest.approx(value, abs=1e-9)
        assert found[name].high - found[name].low == pytest.approx(2 * 1.96 * spread, rel=0.2), name


def test_pairs_of_images_in_groups_are_compared_over_groups_and_without_a_test_of_images(tmp_path):
    groups = (np.arange(200) // 10).tolist()
    folders = [left(tmp_path / str(s), probabilities(Y, s, 0), groups=groups, SKILL=s) for s in (0.8, 1.2)]
    comparison = compare(*folders)
    right = [np.array(records.read(folder / "record.json").predictions) == Y for folder in folders]
    change = decisions.difference(right[1], right[0], groups)
    assert f"{100 * change.low:+.1f}".replace("-", "−") in comparison.verdict and "(20 groups)," in comparison.verdict
    assert "McNemar" not in comparison.verdict and comparison.metrics.iloc[:3, 2].str.endswith("(20 groups)").all()
    assert ("more than chance" in comparison.verdict) == (0 not in change)


def test_two_models_that_agree_everywhere_may_still_differ_by_a_little(two):
    assert "(−1.9 to +1.9)" in compare(two[0], two[0]).verdict  # as far as 200 pairs can tell


def test_the_page_shows_the_images_that_only_one_has_right_with_their_licence(tmp_path):
    digits = sft.load("digits", per_class=20)
    y, hashes = digits.valid.y.numpy(), digits.valid.hashes
    names = [str(name) for name in digits.classes]
    one = left(tmp_path / "one", probabilities(y, 1.0, 0, 10), y, hashes, names)
    two = left(tmp_path / "two", probabilities(y, 1.5, 1, 10), y, hashes, names, RATE=0.2)
    comparison = compare(one, two)
    page = write_page(comparison, tmp_path / "page.html").read_text(encoding="utf-8")
    assert not report.FETCHED.search(page)
    counts = [(comparison.images.right == i).sum() for i in (0, 1)]
    assert page.count("<img") == sum(min(24, count) for count in counts) > 10
    assert digits.card.licence and digits.card.licence in page
    assert f"Only RATE 0.2 is right: {counts[1]} images" in page


def test_images_that_are_not_at_hand_are_said_to_be_missing(two, tmp_path):
    page = write_page(compare(*two), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img" not in page and "the data of these runs is not at hand here" in page


def test_the_command_prints_tables_and_writes_a_page_beside_the_runs(two, monkeypatch):
    monkeypatch.chdir(two[0].parent)
    done = CliRunner().invoke(app, ["compare", "probe", "partial/record.json"])
    assert done.exit_code == 0, done.output
    assert all(word in done.output.split() for word in ("STRATEGY", "accuracy", "McNemar"))
    assert "with the images: compare_probe_partial.html" in done.output and Path("compare_probe_partial.html").is_file()
    same = CliRunner().invoke(app, ["compare", "probe", "probe"])
    assert "no setting differs" in same.output and "Both are right equally often" in same.output
