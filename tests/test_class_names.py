"""Classes go by name: whatever their order in a model, in data and in a record, and not at all where they differ."""

import unicodedata
from html import escape

import nbconvert
import numpy as np
import pytest
import torch
from figures import texts
from matplotlib.text import Text

import sftlab as sft
from sftlab import plot
from sftlab.core import records
from sftlab.data.dataset import class_columns, in_columns
from sftlab.plot import style

LEVELS = {"cat": 50, "dog": 125, "fox": 200}
NAMES = list(LEVELS) * 50
TWO = {"x": 2, "y": 2}


def noise(n):
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8), dtype=np.uint8)


def pictures(classes, names=NAMES, **options):
    """Return pictures whose brightness says their class, with the classes in that order."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(LEVELS[name.strip()], 18, (8, 8)).clip(0, 255) for name in names]).astype(np.uint8)
    return sft.from_arrays(x, names, classes=classes, **options)


def tasks(data, order=("kind", "light")):
    """Return the same pictures with two tasks: the kind, and whether it is light."""
    y, names = data.train.targets, data.classes
    light = (y == names.index("fox")).long()
    both = {"kind": (y, names), "light": (light, ["no", "yes"])}
    return sft.data.with_targets(data, {task: both[task][0] for task in order}, {task: both[task][1] for task in order})


def trained(data, hidden=None, epochs=12):
    model = sft.replace_head(sft.backbone("tiny", seed=1), data.classes, hidden=hidden)
    sft.fit(model, data, sft.full(model, lr=1e-2), epochs=epochs, verbose=False)
    return model


@pytest.fixture(scope="module")
def model():
    return trained(pictures(list(LEVELS)), hidden=8)


ORDERS = [["dog", "cat", "fox"], ["fox", "cat", "dog"], ["fox ", "dog", "cat"]]


@pytest.mark.parametrize("order", ORDERS)
def test_evaluate_answers_by_name(model, order):
    mine, theirs = (pictures(classes) for classes in (list(LEVELS), order))
    expected, found = sft.evaluate(model, mine.test), sft.evaluate(model, theirs.test)
    assert found.classes == theirs.classes and expected.accuracy.value > 0.9
    assert found.accuracy == expected.accuracy
    for name in LEVELS:
        assert found.per_class[name]["recall"] == expected.per_class[name]["recall"]
    columns = [theirs.classes.index(name) for name in mine.classes]
    assert np.array_equal(sft.predict_split(model, theirs.test)[:, columns], sft.predict_split(model, mine.test))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["numbers", "shares", "tasks"])
def test_fit_trains_what_it_would_train_in_the_models_own_order(order, kind):
    def prepared(classes):
        data = pictures(classes)
        if kind == "shares":
            return sft.data.with_targets(data, torch.nn.functional.one_hot(data.train.targets).float(), data.classes)
        return tasks(data, ("light", "kind")) if kind == "tasks" else data

    mine, networks = prepared(list(LEVELS)), []
    for data in (mine, prepared(order)):
        network = sft.replace_head(sft.backbone("tiny", seed=1), mine.classes)
        history = sft.fit(network, data, sft.full(network, lr=1e-2), epochs=3, verbose=False)
        networks.append((sft.fingerprint(network), history.epochs[-1].valid_loss, sft.card(network)["classes"]))
    assert networks[0] == networks[1]


def test_the_limits_of_neither_are_chosen_by_name(model):
    first, second = (sft.choose_reject_option(model, pictures(classes)) for classes in (list(LEVELS), ORDERS[0]))
    assert first.facts() == second.facts() and torch.equal(first.known, second.known)


@pytest.mark.parametrize("classes", [["cat", "dog"], ["cat", "dog", "bear"], ["cat", "dog", "fox", "bear"]])
@pytest.mark.parametrize("act", ["evaluate", "fit", "choose_reject_option"])
def test_other_classes_are_refused_with_the_way_out(model, classes, act):
    data = pictures(classes, ["cat", "dog"] * 50)
    before = sft.fingerprint(model)
    with pytest.raises(ValueError, match=r"replace_head\(model, data\.classes\)"):
        if act == "fit":
            sft.fit(model, data, sft.linear_probe(model), epochs=1, verbose=False)
        else:
            getattr(sft, act)(model, data.test if act == "evaluate" else data)
    assert sft.fingerprint(model) == before


def test_a_head_that_only_counts_takes_the_names_it_is_trained_on():
    data = pictures(list(LEVELS))
    network = sft.replace_head(sft.backbone("tiny", seed=1), 3)
    assert sft.evaluate(network, data.test).classes == list(LEVELS)
    sft.fit(network, data, sft.full(network, lr=1e-2), epochs=12, verbose=False)
    assert sft.card(network)["classes"] == list(LEVELS)
    assert sft.evaluate(network, pictures(ORDERS[1]).test).accuracy == sft.evaluate(network, data.test).accuracy


def test_numbers_as_names_are_names():
    data = sft.from_arrays(noise(90), np.arange(90) % 3)
    turned = in_columns(data.test, {"": [2, 0, 1]})
    assert turned.classes == ["1", "2", "0"]
    network = trained(data, epochs=2)
    assert sft.evaluate(network, turned).accuracy == sft.evaluate(network, data.test).accuracy


def test_columns_keep_images_without_a_label():
    data = pictures(list(LEVELS), [*NAMES[:-3], *["cat", "dog", "fox"]])
    holed = sft.data.with_targets(data, data.train.targets.clone().index_fill_(0, torch.arange(40), -100), data.classes)
    turned = in_columns(holed.train, {"": [1, 2, 0]})
    assert turned.targets[:40].tolist() == [-100] * 40
    names = [[split.classes[k] for k in split.targets[40:]] for split in (holed.train, turned)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("known", "widths", "classes", "columns"),
    [
        (["a", "b"], {"": 2}, ["b", "a"], {"": [1, 0]}),
        (None, {"": 2}, ["b", "a"], {"": [0, 1]}),
        (["0", "1"], {"": 2}, ["b", "a"], {"": [0, 1]}),
        (
            {"x": ["a", "b"], "y": ["0", "1"]},
            {"x": 2, "y": 2},
            {"y": ["n", "m"], "x": ["b", "a"]},
            {"y": [0, 1], "x": [1, 0]},
        ),
        (["cafe\u0301", "tea"], {"": 2}, ["tea", "caf\u00e9"], {"": [1, 0]}),
    ],
)
def test_where_each_class_is(known, widths, classes, columns):
    assert class_columns(known, widths, classes) == columns


@pytest.mark.parametrize(
    ("known", "widths", "classes", "says"),
    [
        (["a", "b"], {"": 2}, ["a", "c"], "answers b, .* they have c"),
        (["a", "b"], {"": 2}, ["0", "1"], "answers a, b"),
        (["a", "b"], {"": 3}, ["a", "b"], "head has 3 classes, the data 2"),
        ({"x": ["a", "b"]}, {"x": 2}, ["a", "b"], r"heads of the model \(x\).*one without a name"),
    ],
)
def test_what_does_not_match_is_refused(known, widths, classes, says):
    with pytest.raises(ValueError, match=says):
        class_columns(known, widths, classes)


def test_a_class_may_be_called_as_a_records_mark_is(tmp_path):
    data = sft.from_arrays(
        np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8), ["record", "float"] * 30
    )
    result = sft.evaluate(sft.replace_head(sft.backbone("tiny"), data.classes), data.test)
    assert records.read(records.write(result, tmp_path / "r.json")) == result


ODD = ["$5 to $10", "a_b*c^2|d", "Northern_leaf_blight_of_maize_in_an_early_stage_2019", "裂纹", "कुत्ता"]


@pytest.fixture
def oddly_named():
    """A result of classes with odd names, and its data."""
    data = sft.from_arrays(noise(100), np.arange(100) % 5, classes=ODD)
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    return sft.evaluate(model, data.test), data, model


@pytest.mark.parametrize(
    "draw",
    [
        lambda result, data: plot.confusion(result),
        lambda result, data: plot.mistakes(result, data),
        lambda result, data: plot.images(data.train, [int((data.train.y == k).nonzero()[0]) for k in range(5)]),
        lambda result, data: plot.differences({name: {"way": [0.1, 0.2]} for name in ODD}, to="none"),
    ],
    ids=["confusion", "mistakes", "images", "differences"],
)
def test_any_name_is_drawn_as_it_is(oddly_named, house_style, draw):
    ax = draw(*oddly_named[:2])
    mime, content = style.picture(ax.get_figure(root=True))
    assert mime == "image/svg+xml" and "裂纹" in content.decode(), "no font here has it, the browser's may"
    drawn = texts(ax)
    assert any("$5 to $10" in words for words in drawn) and any("a_b*c^2" in words for words in drawn)
    assert not any(t.get_parse_math() for t in ax.get_figure(root=True).findobj(Text))


def test_any_name_fits_the_table_of_a_result_and_the_page_of_a_model(oddly_named, tmp_path):
    result, data, model = oddly_named
    rows = [line for line in str(result).splitlines() if " recall " in line]
    assert len(rows) == 5 and len({wcwidth(row.partition(" precision")[0]) for row in rows}) == 1
    path = sft.save(model, tmp_path / "m.safetensors", data=data, result=result)
    page = path.with_suffix(".card.md").read_text("utf-8")
    html = nbconvert.filters.markdown2html(page)
    for name in ODD:
        assert html.count(f"<em>{escape(name)}</em>") == 3  # what it answers, its precision and its recall


def wcwidth(text):
    """Return how many places a terminal gives a text."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) == "W") for c in text)
