"""Ways out: plain weights load into the plain network, and a graph answers as the network does or is not written."""

import ast
import copy
import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import put

import sftlab as sft
from sftlab.deploy import predict as ask
from sftlab.deploy.predict import ONNX, predictor, read_graph
from sftlab.networks import offline
from sftlab.networks.staging import Source

has_onnx = all(find_spec(name) for name in ONNX)
needs_onnx = pytest.mark.skipif(not has_onnx, reason='needs the extra: pip install "sftlab[onnx]"')


def pixels(n, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8, generator=generator)


# ------------------------------------------------------------------------------------------------ plain weights


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("name", "options", "build"),
    [
        ("efficientnet_lite0", {}, "timm.create_model('tf_efficientnet_lite0', num_classes=2"),
        (
            "efficientnet_lite2",
            {"drop_rate": 0.2},
            "timm.create_model('tf_efficientnet_lite2', num_classes=2, drop_rate",
        ),
        ("resnet18", {}, "torchvision.models.get_model('resnet18', num_classes=2"),
        ("resnet10t", {}, "timm.create_model('resnet10t', num_classes=2"),
    ],
)
def test_what_export_prints_works_as_pasted_and_answers_as_the_model_does(
    name, options, build, ending, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    model = sft.replace_head(sft.backbone(name, None, seed=3, **options), ["in $1", "out"])
    put(tmp_path / "photo.jpg", Image.fromarray(pixels(1, 64)[0].permute(1, 2, 0).numpy()), quality=95)
    (wanted,) = sft.predict(model, "photo.jpg", size=64)
    sft.export(model, f"plain{ending}", size=64)
    printed = capsys.readouterr().out
    assert build in printed and "Resize(64)" in printed
    exec(printed, {})
    assert ast.literal_eval(capsys.readouterr().out) == pytest.approx(wanted.probabilities, abs=1e-5)


def test_a_network_of_no_library_is_exported_without_a_recipe(tmp_path, capsys):
    model = sft.replace_head(sft.backbone("tiny", seed=3), ["intact", "defect"])
    plain, x = offline.tiny(classes=2), pixels(2, 64)
    plain.load_state_dict(torch.load(sft.export(model, tmp_path / "plain.pth"), weights_only=True))
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(model.input(x)), model.eval()(x))
    assert not capsys.readouterr().out


def test_plain_safetensors_carry_the_card_and_are_no_model_of_the_lab(tiny, tmp_path):
    from safetensors import safe_open

    file = sft.export(tiny, tmp_path / "plain.safetensors")
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["card"])["classes"] == ["0", "1"]
    with pytest.raises(ValueError, match="no sftlab card"):
        sft.load_model(file)


@pytest.mark.parametrize(("classes", "hidden"), [(2, 5), ({"a": 2}, None)])
def test_what_the_original_network_has_no_place_for_cannot_be_exported(tmp_path, classes, hidden):
    with pytest.raises(ValueError, match="no place in the original"):
        sft.export(sft.replace_head(sft.backbone("tiny"), classes, hidden=hidden), tmp_path / "x.pth")


# ------------------------------------------------------------------------------------------------------- graphs


@needs_onnx
def test_a_graph_gives_the_network_s_answers_from_pixels_for_any_number_of_images(tiny, blobs, tmp_path):
    import onnxruntime

    sft.fit(tiny, blobs, sft.full(tiny), epochs=2, verbose=False)
    refusal = sft.choose_reject_option(tiny, blobs)
    file = sft.export(tiny, tmp_path / "blobs.onnx", reject=refusal, size=8)
    session = onnxruntime.InferenceSession(file)
    (given,) = session.get_inputs()
    assert given.type == "tensor(uint8)" and given.shape[1:] == [3, 8, 8]
    for n in (1, 3, 16):
        x = pixels(n, 8, seed=n)
        p, distance = session.run(None, {"images": x.numpy()})
        with torch.no_grad():
            assert np.allclose(p, tiny.eval()(x).softmax(1), atol=1e-6)
            f = torch.nn.functional.normalize(tiny[:-1](x), dim=1) @ refusal.known.float().T
        assert np.allclose(distance, 1 - f.sort(dim=1).values[:, -5:].mean(1), atol=1e-6)


@needs_onnx
def test_a_pretrained_network_is_checked_on_real_photographs_and_its_card_travels(tmp_path):
    model = sft.replace_head(sft.backbone("efficientnet_lite0"), ["intact", "defect"])
    before = sft.fingerprint(model)
    file = sft.export(model, tmp_path / "cells.onnx", size=64)
    assert sft.fingerprint(model) == before and {p.name for p in tmp_path.iterdir()} == {
        "cells.onnx",
        "cells.onnx.card.md",
    }
    _, card = read_graph(file)
    made = card["onnx"]
    assert made["images"] == 16 and made["pictures"] == "squares of two photographs"
    assert 0 < made["difference"] < made["tolerance"] / 10
    assert card["classes"] == ["intact", "defect"] and card["licence"] == "Apache-2.0" and card["input"]["size"] == 64
    page = (tmp_path / "cells.onnx.card.md").read_text(encoding="utf-8")
    assert "Checked against torch on 16 squares of two photographs" in page and "sftlab predict cells.onnx" in page
    x = pixels(5, 64)
    wanted = predictor(model, size=64).answers(list("abcde"), x)
    for one, two in zip(predictor(file).answers(list("abcde"), x), wanted, strict=True):
        assert one.label == two.label and one.confidence == pytest.approx(two.confidence, abs=1e-5)


@needs_onnx
@pytest.mark.parametrize("off", [0.02, -0.02])
def test_a_graph_that_answers_otherwise_is_not_kept(off, tiny, tmp_path, monkeypatch):
    real = torch.onnx.export

    def another(network, *arguments, **options):
        network = copy.deepcopy(network)
        network.head.bias.data[0] += off  # what a wrong constant in a graph would look like
        return real(network, *arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", another)
    with pytest.raises(ValueError, match=r"does not answer as .* differ by 0\.0\d+, more than 0\.001"):
        sft.export(tiny, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_a_network_that_fixes_the_number_of_images_is_refused_by_name_of_the_fault(tmp_path):
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x.reshape(len(x), -1)  # len gives a Python number, which a graph takes for a constant

    plain = torch.nn.Sequential()
    plain.add_module("body", torch.nn.Sequential(Fixed(), torch.nn.Linear(3 * 8 * 8, 4)))
    plain.add_module("head", torch.nn.Linear(4, 2))
    model = sft.stages(plain, ["body", "head"], source=Source())
    with pytest.raises(ValueError, match=r"does not take 1 image .*turns the number of images into a constant"):
        sft.export(sft.replace_head(model, 2), tmp_path / "x.onnx", size=8)
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_the_embedding_of_a_vit_leaves_the_number_of_images_open():
    from torchvision.models import VisionTransformer

    from sftlab.networks.torchvision_nets import Embed

    vit = VisionTransformer(image_size=32, patch_size=16, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32)
    x = torch.rand(5, 3, 32, 32)
    graph = torch.export.export(Embed(vit), (x[:2],), dynamic_shapes={"x": {0: torch.export.Dim("n")}})
    torch.testing.assert_close(graph.module()(x), Embed(vit)(x))


def bare(file):
    """Take the card out of a graph."""
    import onnx

    graph = onnx.load(file)
    del graph.metadata_props[:]
    onnx.save(graph, file)


@needs_onnx
@pytest.mark.parametrize(
    ("change", "size", "error", "says"),
    [
        (lambda file: file.unlink(), None, FileNotFoundError, "no model at"),
        (lambda file: None, 32, ValueError, "made for 16 pixels"),
        (lambda file: file.write_bytes(file.read_bytes()[:2000]), None, ValueError, "not an ONNX graph, or is damaged"),
        (bare, None, ValueError, "without a card"),
    ],
)
def test_files_that_are_no_graphs_of_ours_are_refused_by_a_sentence(tiny, tmp_path, change, size, error, says):
    file = sft.export(tiny, tmp_path / "x.onnx")
    change(file)
    with pytest.raises(error, match=says):
        predictor(file, size=size)


@needs_onnx
def test_a_saved_model_is_exported_with_its_limits_by_one_call(tiny, blobs, tmp_path):
    from sftlab.deploy.export import export_file

    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, verbose=False)
    refusal = sft.choose_reject_option(tiny, blobs)
    saved = sft.save(tiny, tmp_path / "m.safetensors", data=blobs, reject=refusal)
    said = export_file(saved)
    assert "m.onnx" in said and "Checked against torch on 16 squares" in said
    opened = predictor(tmp_path / "m.onnx")
    assert opened.size == 8 and opened.reject.distance == refusal.distance
    assert read_graph(tmp_path / "m.onnx")[1]["data"]["name"] == "blobs"
    assert "timm" not in export_file(saved, tmp_path / "m.pth") and (tmp_path / "m.pth").is_file()
    with pytest.raises(ValueError, match="is the model itself"):
        export_file(saved, saved)


def test_without_the_packages_a_sentence_says_what_to_install(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(ask, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install -e "\.\[onnx\]"'):
        sft.export(tiny, tmp_path / "x.onnx")
    (tmp_path / "x.onnx").write_bytes(b"x")
    with pytest.raises(ImportError, match=r'pip install -e "\.\[onnx\]"'):
        sft.predict(tmp_path / "x.onnx", [])


@needs_onnx
def test_what_cannot_be_a_graph_is_refused_by_a_sentence(tiny, tmp_path):
    with pytest.raises(ValueError, match="several heads"):
        sft.export(sft.replace_head(tiny, {"a": 2, "b": 3}), tmp_path / "x.onnx")
