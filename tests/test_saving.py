"""What goes to disk comes back the same, or is refused by a sentence."""

import numpy as np
import pytest
import torch
from conftest import same
from PIL import Image

import sftlab as sft


def test_a_saved_model_comes_back_with_weights_card_and_eval_mode(tiny, blobs, tmp_path):
    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, verbose=False)
    back = sft.load_model(sft.save(tiny, tmp_path / "m.safetensors", licence="CC0"))
    assert same(tiny, back) and not back.training
    assert sft.card(back)["classes"] == blobs.classes and sft.card(back)["licence"] == "CC0"


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


def test_exported_weights_load_into_the_plain_model(tiny, tmp_path):
    from safetensors.torch import load_file

    from sftlab.backbones.tiny import Tiny

    x = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    for name in ("plain.safetensors", "plain.pth"):
        file = sft.export(tiny, tmp_path / name)
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
        plain = Tiny(classes=2)
        plain.load_state_dict(state)
        torch.testing.assert_close(plain.eval()(tiny.input(x)), tiny(x))


def test_what_the_original_network_has_no_place_for_cannot_be_exported(tmp_path):
    for model in (
        sft.replace_head(sft.backbone("tiny"), 2, hidden=5),
        sft.replace_head(sft.backbone("tiny"), {"a": 2}),
    ):
        with pytest.raises(ValueError, match="no place in the original"):
            sft.export(model, tmp_path / "x.pth")


def test_predict_answers_for_each_photo_and_never_stops_at_a_bad_one(tiny, tmp_path):
    Image.fromarray(np.full((30, 40, 3), 200, np.uint8)).save(tmp_path / "bright.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    good, bad, missing = sft.predict(
        tiny, [tmp_path / "bright.png", tmp_path / "text.jpg", tmp_path / "gone.png"], size=16
    )
    assert good.label in ("0", "1") and sum(good.probabilities.values()) == pytest.approx(1) and good.confidence >= 0.5
    assert bad.error and missing.error and bad.label == ""


def test_predict_gives_what_the_model_gives_on_the_same_pixels(tiny, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    (one,) = sft.predict(tiny, tmp_path / "x.png", size=16)
    wanted = tiny.eval()(torch.from_numpy(pixels.transpose(2, 0, 1))[None]).softmax(1)[0]
    assert list(one.probabilities.values()) == pytest.approx(wanted.tolist(), abs=1e-6)
