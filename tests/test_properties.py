"""What holds of the pure parts whatever they are given, asked by hypothesis; the same examples each time."""

import ast
import html
import json
import math
from collections import Counter
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from nbconvert.filters import markdown2html
from papermill.translators import PythonTranslator
from scipy.special import logsumexp
from scipy.stats import norm
from torch import nn

import sftlab as sft
from sftlab.core import records
from sftlab.core.evaluation import result
from sftlab.core.statistics import proportion, wilson
from sftlab.data import splits
from sftlab.data.dataset import MISSING, as_labels, class_columns, normal_name, padded
from sftlab.deploy.save import compose_card, write_page
from sftlab.plot import base, style
from sftlab.runs import compare
from sftlab.runs.parameters import NotebookError, Parameter, check_value, checked
from sftlab.widgets.base import paragraph

settings.register_profile("lab", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("lab")
few = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds, halves = st.integers(0, 10**6), st.floats(0.02, 0.48)
letters = st.characters(exclude_categories=["C", "Zl", "Zp"])
names = st.text(letters, min_size=1, max_size=20).map(normal_name).filter(lambda name: name not in MISSING)
scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(letters)
values = scalars | st.lists(scalars) | st.dictionaries(st.text(letters), scalars)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
nested = st.recursive(plain, lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(), more, max_size=3))
rows_of_groups = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40), st.booleans()), min_size=8, max_size=60)
RULES = [int, float, bool, list, dict, str | None, int | None, (float, 0, 1), (int, 1), (1, 2), ("a", "b")]


def ends(interval):
    return pytest.approx((interval.low, interval.high), abs=1e-9)


def mirrored(interval):  # of right answers, from that of the wrong ones
    return 1 - interval.high, 1 - interval.low


@given(halves, halves, seeds, st.lists(st.integers(0, 8), min_size=20, max_size=80), st.integers(1, 4))
def test_drawn_parts_are_a_partition_in_proportion_that_no_name_of_an_image_changes(test, valid, seed, back, classes):
    hashes = [str(max(0, i - k)) for i, k in enumerate(back)]
    strata, every = [int(h) % classes for h in hashes], np.arange(len(back))  # copies of an image have one label
    different = Counter(int(h) % classes for h in set(hashes))
    assume(min(different.values()) > 2)
    parts = splits.draw(every, strata, hashes, (test, valid), seed)
    images = [{hashes[i] for i in part} for part in parts]
    assert sorted(np.concatenate(parts)) == every.tolist() and sum(map(len, images)) == len(set(hashes))
    for k, n in different.items():
        each = [sum(int(h) % classes == k for h in part) for part in images]
        wanted = [max(1, round(share * n)) for share in (test, valid)]
        assert all(each) and sum(each) == n and (each[1:] == wanted or sum(wanted) >= n)
    again = splits.draw(every, strata, [f"image {h}" for h in hashes], (test, valid), seed)
    assert all(map(np.array_equal, parts, again))


@given(halves, halves, seeds, rows_of_groups)
def test_groups_are_never_torn_whatever_they_are_called(test, valid, seed, rows):
    groups, hashes, strata = ([str(value) for value in column] for column in zip(*rows, strict=True))
    joined, every = splits.join_groups(groups, hashes), np.arange(len(rows))
    assume(len(set(joined)) > 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "DRAWS", 20)
        parts, again = (
            splits.split_rows(every, strata, hashes, names, valid=valid, test=test, seed=seed)[0]
            for names in (groups, [f"module {name}" for name in groups])
        )
    assert all(map(np.array_equal, parts, again)) and all(map(len, parts))
    assert sorted(np.concatenate(parts)) == every.tolist()
    for same in (groups, hashes, joined):
        assert sum(len({same[i] for i in part}) for part in parts) == len(set(same))


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_wilson_is_its_formula_and_the_same_for_errors(n, share):
    k, z = round(share * n), norm.ppf(0.975)
    found = wilson(k, n)
    middle, half = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    assert (middle - half, middle + half) == ends(found) == mirrored(wilson(n - k, n))
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=1, max_size=80), seeds)
def test_a_share_over_groups_is_in_its_interval_whatever_the_order_and_the_names(cases, seed):
    right, groups = map(np.array, zip(*cases, strict=True))
    order, called = (np.random.default_rng(seed).permutation(count) for count in (len(right), 13))
    found, other = proportion(right, groups), proportion(right[order], called[groups[order]])
    assert 0 <= found.low <= found.value <= found.high <= 1 and found.groups == len(set(groups))
    assert mirrored(proportion(~right, groups)) == ends(found) == (other.low, other.high)


@few
@given(st.integers(2, 5), st.integers(10, 80), seeds, st.booleans())
def test_metrics_do_not_depend_on_the_order_of_classes_and_images(k, n, seed, grouped):
    rng = np.random.default_rng(seed)
    y, p, unit = rng.integers(k, size=n), rng.dirichlet(np.ones(k), size=n), rng.integers(8, size=n)
    y[: 2 * k], order, to = np.arange(2 * k) % k, rng.permutation(n), rng.permutation(k)
    first = result("test", [*map(str, range(k))], [""] * n, y, p, groups=unit if grouped else ())
    moved = {"groups": unit[order] if grouped else ()}
    other = result("test", [*map(str, to)], [""] * n, to.argsort()[y][order], p[order][:, to], **moved)
    for name, one in first.metrics.items():
        assert 0 <= one.low <= one.value + 1e-12 and one.value - 1e-12 <= one.high <= 1
        assert (other.metrics[name].low, other.metrics[name].high) == ends(one), name


@given(st.integers(1, 12), st.floats(1e-6, 10), st.floats(0.01, 1), st.integers(0, 11), st.integers(0, 11))
def test_profiles_name_every_stage_and_only_trainable_ones_are_in_groups(stages, lr, decay, start, k):
    called, start, k = [*map("stage{}".format, range(stages - 1)), "head"], start % stages, k % stages
    model = nn.Sequential()
    for name in called:
        model.add_module(name, nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    last, falling = sft.last_k(model, k, lr), sft.layer_decay(model, lr, decay, start=called[start])
    assert last == {name: lr * (i >= stages - 1 - k) for i, name in enumerate(called)}
    assert last == sft.surgical(model, called[stages - 1 - k :], lr) and {*sft.full(model, lr).values()} == {lr}
    rates = [*falling.values()]
    assert list(falling) == called and rates == sorted(rates) and rates[-1] == lr and rates[:start] == [0] * start
    assert rates[start:] == pytest.approx([lr * decay**i for i in range(stages - start)][::-1])
    for profile in (last, falling):
        sft.apply(model, profile)
        groups = sft.param_groups(model, profile)
        assert all(group["lr"] == profile[group["stage"]] > 0 for group in groups)
        learning = [p for name in called if profile[name] for p in model.get_submodule(name).parameters()]
        assert sorted(id(p) for group in groups for p in group["params"]) == sorted(map(id, learning))


@given(st.floats(1e-3, 0.999), st.floats(0, 1), st.floats(1e-9, 1e-4))
def test_schedules_stay_between_0_and_1_without_a_jump_and_end_at_0(warmup, time, step):
    warm, later = sft.warmup_cosine(warmup), min(1.0, time + step)
    steepest = {warm: max(1 / warmup, 1.6 / (1 - warmup)), sft.constant(): 0, sft.linear(): 1, sft.cosine(): 1.6}
    for schedule, slope in steepest.items():
        assert 0 <= schedule(time) <= 1 + 1e-12 and schedule(0) > 0, "no step is wasted"
        assert abs(schedule(later) - schedule(time)) <= slope * (later - time) + 1e-9
        assert schedule(1) == pytest.approx(float(slope == 0), abs=1e-9)
    assert time < warmup or warm(later) <= warm(time) + 1e-12


@given(st.integers(1, 6), st.integers(2, 5), st.sampled_from([1e-3, 1.0, 1e4, 1e30]), st.floats(0, 1), seeds)
def test_the_loss_is_that_of_64_bits_at_any_logits_and_counts_no_missing_label(n, k, scale, smoothing, seed):
    rng = np.random.default_rng(seed)
    z, y = (scale * rng.normal(size=(n, k))).astype(np.float32), rng.integers(-1, k, size=n)
    logits, known = torch.tensor(z, requires_grad=True), y >= 0
    loss = sft.cross_entropy(logits, torch.from_numpy(np.where(known, y, -100)), smoothing=smoothing)
    loss.backward()
    log_q = z.astype(float) - logsumexp(z.astype(float), axis=1, keepdims=True)
    p = (np.eye(k)[y] * (1 - smoothing) + smoothing / k) * known[:, None]
    assert loss.item() == pytest.approx(-(p * log_q).sum() / max(1, known.sum()), rel=1e-4, abs=1e-5)
    assert np.allclose(logits.grad, (np.exp(log_q) * known[:, None] - p) / max(1, known.sum()), atol=1e-5)


@given(values)
@example("1")
def test_a_value_comes_through_yaml_a_command_line_and_the_cell_of_a_run(value):
    assume(not isinstance(value, str) or not value.startswith("folder:"))
    typed = value if isinstance(value, str) else repr(value)
    for written in (value, typed, yaml.safe_load(yaml.safe_dump(value, allow_unicode=True))):
        back = checked({"P": Parameter("P", None, type(value))}, {"P": written})["P"]
        assert back == value and type(back) is type(value)
    assert ast.literal_eval(PythonTranslator.translate(value)) == value


@given(st.text() | values.map(repr), st.sampled_from(RULES))
def test_any_text_is_a_value_that_obeys_or_a_sentence(text, rule):
    assume(not text.startswith("folder:"))
    try:
        check_value("P", checked({"P": Parameter("P", None, rule)}, {"P": text})["P"], rule)
    except NotebookError as refused:
        assert str(refused).startswith("P must be")


@given(st.text(), st.integers(3, 40))
def test_a_name_has_one_spelling_and_fits_where_it_is_drawn(text, length):
    name = normal_name(text)
    short = base.clip(name, length)
    assert normal_name(name) == name == name.strip() == padded(name, 200).rstrip(" ")
    assert len(short) <= length and (short == name or "…" in short)


@given(st.lists(names, min_size=2, max_size=8, unique=True), st.lists(st.integers(0, 7), max_size=30), st.randoms())
def test_labels_come_back_by_name_in_any_order_of_classes(classes, some, random):
    labels = [*classes, *(classes[k % len(classes)] for k in some)]
    y, found = as_labels(labels)
    assert found == sorted(classes) and [found[k] for k in y] == labels
    other = random.sample(found, len(found))
    assert [other[k] for k in class_columns(other, {"": len(other)}, found)[""]] == found


@given(nested)
@example([math.nan, {"a": -math.inf}])
def test_what_a_record_holds_comes_back_from_json(value):
    assume("record" not in repr(value))
    back = records.from_dict(json.loads(json.dumps(records.to_dict(value), allow_nan=False)))
    assert repr(back) == repr(value), "nan is not equal to itself"


def read(page):
    """Return the words, the attributes and the elements that a browser finds in a page."""
    words, attributes, elements, parser = [], {}, set(), HTMLParser()
    parser.handle_data = words.append
    parser.handle_starttag = lambda tag, found: (elements.add(tag), attributes.update(found))
    parser.feed(page), parser.close()
    return "".join(words), attributes, elements


@few
@given(names, names)
@example("<script>alert(1)</script>", "\"a\" & 'b'")
def test_pages_and_the_text_of_a_figure_say_names_as_they_are(tmp_path, house_style, one, other):
    assert read(paragraph(one)) == (one, {}, {"p"})
    fig = Figure(figsize=(6, 4))
    fig.subplots().set_title(one, parse_math=False)
    assert read(style.figure_html(fig))[1]["alt"] == one
    table = pd.DataFrame({one: [other]}, [other])
    images = pd.DataFrame({"image": ["h"], "right": [0], "truth": [one], "answer0": [one], "answer1": [other]})
    facts = {"settings": table, "metrics": table, "counts": table, "images": images, "sources": []}
    compare.write_page(SimpleNamespace(names=[one, other], verdict=one, **facts), tmp_path / "page.html")
    words, _, elements = read((tmp_path / "page.html").read_text("utf-8"))
    assert f"{one} against {other}" in words and f"Only {other} is right" in words
    assert not elements & {"script", "b", "img"}


@few
@given(names, names)
@example("R&amp;D", "https://x.org/y")
@example("<b>a</b>\\(x\\)", "$5 *to* $10")
def test_class_names_on_the_card_of_a_model_are_what_a_reader_sees(tmp_path, one, other):
    assume(one != other)
    write_page(compose_card(sft.replace_head(sft.backbone("tiny"), [one, other])), tmp_path / "m.safetensors")
    page = markdown2html((tmp_path / "m.card.md").read_text("utf-8"))
    words, _, elements = read(page)
    assert f"It answers {one}, {other}. Saved" in words and not elements & {"script", "b", "img"}
    assert page.count(f"<em>{html.escape(one)}</em>") == 1
