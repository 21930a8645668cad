"""What goes to disk comes back the same with all that a stranger must know, or is refused by a sentence."""

import dataclasses
import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from conftest import same
from PIL import Image

import sftlab as sft
from sftlab.deploy.save import plain


@pytest.fixture
def told(tiny, blobs, tmp_path):
    """Return (model, file) of a network saved with everything that can be said of it."""
    history = sft.fit(tiny, blobs, sft.full(tiny), epochs=2, verbose=False)
    result = sft.evaluate(tiny, blobs.test)
    refusal = sft.choose_reject_option(tiny, blobs)
    file = sft.save(
        tiny, tmp_path / "m.safetensors", data=blobs, history=history, result=result, reject=refusal, author="A. P."
    )
    return tiny, file


def test_a_saved_model_comes_back_with_weights_card_and_eval_mode(tiny, blobs, tmp_path):
    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, verbose=False)
    back = sft.load_model(sft.save(tiny, tmp_path / "m.safetensors", owner="a museum"))
    assert same(tiny, back) and not back.training
    assert sft.card(back)["classes"] == blobs.classes and sft.card(back)["notes"] == {"owner": "a museum"}


@pytest.mark.parametrize(
    "head", [{"classes": 3, "hidden": 7}, {"classes": {"a": 2, "b": 3}}], ids=["hidden", "two heads"]
)
def test_every_kind_of_head_survives_saving(head, tmp_path):
    model = sft.replace_head(sft.backbone("tiny", drop_rate=0.1), head.pop("classes"), **head)
    assert same(model, sft.load_model(sft.save(model, tmp_path / "m.safetensors")))


def test_one_s_own_staged_network_loads_into_a_network_of_the_same_stages(tmp_path):
    def own():
        plain = torch.nn.Sequential()
        plain.add_module("body", torch.nn.Linear(4, 8))
        plain.add_module("head", torch.nn.Linear(8, 2))
        return sft.stages(plain, ["body", "head"])

    model, other = own(), own()
    file = sft.save(model, tmp_path / "own.safetensors")
    assert same(sft.load_model(file, into=other), model) and not same(other, model)
    with pytest.raises(ValueError, match="pass one as into="):
        sft.load_model(file)


def own_input(model):
    model.input = sft.Input((0.1,) * 3, (0.2,) * 3)


def own_hook(model):
    model.layer1.register_forward_hook(lambda module, args, out: 1.1 * out)


EDITS = {
    "input": own_input,
    "pool": lambda model: model.pool.__setitem__(0, torch.nn.AdaptiveMaxPool2d(1)),
    "activation": lambda model: model.layer1.__setitem__(2, torch.nn.GELU()),
    "stride": lambda model: setattr(model.layer2[0], "stride", (1, 1)),
    "padding": lambda model: setattr(model.layer2[0], "padding", (0, 0)),
    "eps": lambda model: setattr(model.layer2[1], "eps", 0.1),
    "hook": own_hook,
    "a module more": lambda model: model.pool.append(torch.nn.Softmax(dim=1)),
    "a weight more": lambda model: model.layer1.__setitem__(2, torch.nn.PReLU()),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("classes", [["a", "b", "c"], {"a": 2, "b": 3}], ids=["one head", "two heads"])
def test_a_network_that_would_come_back_as_another_is_not_written(edit, classes, tmp_path):
    model = sft.replace_head(sft.backbone("tiny"), classes)
    EDITS[edit](model)
    with pytest.raises(ValueError, match="into="):
        sft.save(model, tmp_path / "deep" / "m.safetensors")
    assert not list(tmp_path.iterdir())
    sft.card(model)["name"] = "my own"
    back = sft.load_model(sft.save(model, tmp_path / "m.safetensors"), into=model)
    assert same(back, model)


@pytest.mark.parametrize("change", [lambda m: m.train(), lambda m: m.to(torch.bfloat16), lambda m: m.fill(math.nan)])
def test_mode_precision_and_diverged_weights_are_no_edit(tiny, tmp_path, change):
    tiny.fill = lambda value: [p.data.fill_(value) for p in tiny.parameters()]
    change(tiny)
    state = sft.load_model(sft.save(tiny, tmp_path / "m.safetensors")).state_dict()
    assert all(torch.equal(v.nan_to_num(), state[k].to(v.dtype).nan_to_num()) for k, v in tiny.state_dict().items())


# ---------------------------------------------------------------------------------------------------- the card


def test_the_card_says_what_a_stranger_must_know(told, blobs):
    model, file = told
    card = sft.card(sft.load_model(file))
    assert card["data"]["rule"] == blobs.card.rule and card["data"]["counts"] == blobs.card.counts
    assert card["data"]["split"] == blobs.card.split and card["trained_size"] == 8
    found = sft.evaluate(model, blobs.test)
    accuracy = card["evaluation"][""]["metrics"]["accuracy"]
    assert accuracy["value"] == found.accuracy.value and accuracy["low"] == found.accuracy.low < accuracy["high"]
    assert card["evaluation"][""]["majority"] == found.majority and card["evaluation"][""]["images"] == found.n
    (run,) = card["training"]
    assert run["profile"] == sft.full(model) and run["ran"] == 2 and run["seed"] == 0 and run["ended"] == "finished"
    asked = card["input"]
    assert asked["mean"] == [0.5] * 3 and asked["size"] == 8 and "antialiasing" in asked["resize"]
    assert card["versions"]["torch"].startswith(torch.__version__.split("+")[0]) and "python" in card["versions"]
    assert abs((datetime.now(UTC).date() - datetime.fromisoformat(card["saved"]).date()).days) <= 1


def test_the_page_beside_the_file_says_the_same(told, blobs):
    model, file = told
    page = file.with_name("m.card.md").read_text(encoding="utf-8")
    found = sft.evaluate(model, blobs.test)
    assert f"| accuracy | {found.accuracy:.3f} |" in page
    assert f"right on {100 * found.majority:.1f} %" in page and "“neither”" in page
    rate = f"stem {sft.full(model)['stem']:g}"
    for words in ("blobs: labels as given", "- author: A. P.", rate, "subtracts [0.5, 0.5, 0.5]", "torch 2"):
        assert words in page, words
    assert "None" not in page and "nan" not in page


def test_the_licence_of_the_data_and_that_of_the_weights_are_two(tmp_path):
    data = sft.load("solar", size=32, per_class=2)
    model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes)
    file = sft.save(model, tmp_path / "cells.safetensors", data=data)
    card, page = sft.card(sft.load_model(file)), (tmp_path / "cells.card.md").read_text(encoding="utf-8")
    assert card["licence"] == "Apache-2.0" and "CC BY-NC-SA 4.0" in card["data"]["licence"]
    assert "licence of the data: CC BY-NC-SA 4.0" in page and "licence of those weights: Apache-2.0" in page
    assert "Buerhop-Lutz" in page


def test_where_somebody_s_photographs_lie_and_their_names_stay_at_home(photos, tmp_path):
    (photos / "cat" / "anna_at_home.jpg").write_text("no picture")
    data = sft.load(f"folder:{photos}", size=16)
    assert "anna_at_home" in str(data.card), "the card of the data does name it"
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    file = sft.save(model, tmp_path / "m.safetensors", data=data)
    everything = json.dumps(sft.card(sft.load_model(file))) + (tmp_path / "m.card.md").read_text(encoding="utf-8")
    assert str(photos.parent) not in everything and "anna" not in everything
    assert sft.card(sft.load_model(file))["data"]["skipped"] == 1


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "home" / "photos" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "home" / "photos" / name / f"{i}.png")
    return tmp_path / "home" / "photos"


def test_a_loaded_card_stays_true_when_the_weights_move_on(told, blobs, tmp_path):
    _, file = told
    model = sft.load_model(file)
    again = sft.load_model(sft.save(model, tmp_path / "same.safetensors"))
    assert sft.card(again)["evaluation"] == sft.card(model)["evaluation"], "the same weights: still true"
    sft.fit(model, blobs, sft.full(model), epochs=1, keep_best=False, verbose=False)
    moved = sft.card(sft.load_model(sft.save(model, tmp_path / "moved.safetensors")))
    assert "evaluation" not in moved and "training" not in moved and "data" not in moved
    assert moved["earlier"][0]["name"] == "blobs", "what the weights have seen does not wear off"


def test_the_page_is_the_lab_s_own_file_and_follows_the_model(tiny, tmp_path):
    (tmp_path / "m.md").write_text("my notes")
    sft.save(tiny, tmp_path / "m.safetensors", use="For tests.")
    file = sft.save(tiny, tmp_path / "m.safetensors", use="For more tests.")
    page = tmp_path / "m.card.md"
    assert "For more tests." in page.read_text(encoding="utf-8") and (tmp_path / "m.md").read_text() == "my notes"
    assert file.stat().st_mode == page.stat().st_mode, "whoever may read the page may read the model"


def test_a_note_cannot_take_the_name_of_a_fact(tiny, tmp_path):
    for name in ("classes", "evaluation", "trained_size", "weights"):
        with pytest.raises(ValueError, match=f"{name}: the card has this already"):
            sft.save(tiny, tmp_path / "m.safetensors", **{name: 1})
    assert not list(tmp_path.iterdir())


def test_a_card_holds_nothing_that_another_language_cannot_read():
    found = plain({"a": float("nan"), "b": (1, float("inf")), "c": sft.Interval(0.5, 0.4, 0.6), 3: {1}})
    assert plain([np.float32(0.5), np.int64(2), np.array([1, 2]), np.float64("nan")]) == [0.5, 2, [1, 2], None]
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "a": None, "b": [1, None], "3": "{1}",
        "c": {"value": 0.5, "low": 0.4, "high": 0.6, "method": "Wilson", "groups": 0, "why": ""},
    }  # fmt: skip


# ------------------------------------------------------------------------------------------- what is refused


def test_files_that_are_no_models_are_refused_by_a_sentence(tiny, tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match="no model at"):
        sft.load_model(tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 10)
    with pytest.raises(ValueError, match="damaged"):
        sft.load_model(tmp_path / "junk.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="no sftlab card"):
        sft.load_model(tmp_path / "bare.safetensors")
    file = sft.save(tiny, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="does not fit this network"):
        sft.load_model(file, into=sft.backbone("tiny"))


def test_a_single_flipped_bit_anywhere_is_noticed(told):
    _, file = told
    whole = file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")  # safetensors: length, header, tensors
    for where in (whole.index(b"labels as given"), start, (start + len(whole)) // 2, len(whole) - 1):
        broken = bytearray(whole)
        broken[where] ^= 1
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="damaged"):
            sft.load_model(file)
    for cut in (0, 7, 100, start + 10, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="damaged"):
            sft.load_model(file)
    file.write_bytes(whole)
    sft.load_model(file)


def test_the_limits_of_neither_travel_with_the_model(told, blobs):
    model, file = told
    back, chosen = sft.load_reject_option(file), sft.choose_reject_option(model, blobs)
    assert (back.probability, back.distance, back.kept) == (chosen.probability, chosen.distance, chosen.kept)
    assert torch.equal(back.known, chosen.known)
    plain = sft.save(sft.load_model(file), file.with_name("plain.safetensors"))
    assert sft.load_reject_option(plain) is None, "limits without what they are measured against would be a lie"


def test_an_interval_that_is_not_known_is_said_to_be_missing_on_the_page(tiny, blobs, tmp_path):
    result = sft.evaluate(tiny, blobs.test)
    unknown = sft.Interval(0.7, 0.0, 1.0, why="2 of the 5 images that it needs")
    result = dataclasses.replace(result, metrics={**result.metrics, "roc_auc": unknown})
    page = sft.save(tiny, tmp_path / "m.safetensors", data=blobs, result=result).with_suffix(".card.md")
    assert "0.700 (no interval: 2 of the 5 images that it needs)" in page.read_text(encoding="utf-8")
