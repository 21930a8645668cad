"""What runs the frozen part: torch to the bit, or a compiled copy within a stated tolerance."""

import socket
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sftlab as sft
from sftlab.core import cache, encoders

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra sftlab[fast] is not installed")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    return tmp_path / "features"


@pytest.fixture
def eager(monkeypatch):
    """Compile whatever there is to encode: test networks are too small for it to pay."""
    monkeypatch.setattr(encoders, "START_UP", 0.0)


@needs_openvino
@pytest.mark.parametrize("cut", [-1, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_fast_encoder_agrees_with_torch_on_a_real_network_at_every_depth(cut, channels):
    prefix = sft.backbone("efficientnet_lite0")[:cut].eval()
    x = torch.randint(0, 256, (7, channels, 96, 96), dtype=torch.uint8)
    fast = encoders.fast_encoder(prefix, x[:4])
    for n in (1, 4, 7):
        assert encoders.disagreement(fast(x[:n]), encoders.torch_encoder(prefix)(x[:n])) < 1e-5


@needs_openvino
def test_a_run_on_fast_features_is_the_run_on_exact_ones_within_the_tolerance(blobs, store, eager):
    runs = {}
    for encoder in encoders.ENCODERS:
        cache.clear()
        model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
        sft.fit(model, blobs, sft.linear_probe(model, lr=0.01), 3, verbose=False, encoder=encoder)
        runs[encoder] = sft.evaluate(model, blobs.test, encoder=encoder).probabilities
    assert np.abs(np.array(runs["fast"]) - np.array(runs["torch"])).max() < encoders.TOLERANCE


@needs_openvino
def test_exact_features_serve_who_asks_for_fast_ones_and_never_the_reverse(blobs, tiny, store, eager):
    fast = cache.features(tiny[:-1], blobs.train, encoder="fast")
    exact = cache.features(tiny[:-1], blobs.train)
    assert not exact.reused
    assert not torch.equal(fast.take(np.arange(72))[0], exact.take(np.arange(72))[0])
    again = cache.features(tiny[:-1], blobs.train, encoder="fast")
    assert again.reused and torch.equal(again.take(np.arange(72))[0], exact.take(np.arange(72))[0])


@needs_openvino
def test_a_tuple_between_stages_compiles_as_well():
    class Pair(nn.Module):
        def forward(self, x):
            return x.float().mean((2, 3)), x.float().amax((1, 2, 3))

    x = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    pair = nn.Sequential(Pair()).eval()
    assert encoders.disagreement(encoders.fast_encoder(pair, x)(x), pair(x)) < 1e-6


@needs_openvino
def test_compiling_is_not_paid_where_it_cannot_pay(blobs, tiny, store, monkeypatch):
    monkeypatch.setattr(encoders, "fast_encoder", lambda *_: pytest.fail("compiled for 72 images of 8 pixels"))
    cache.features(tiny[:-1], blobs.train, encoder="fast")


@needs_openvino
def test_a_network_that_compiles_to_something_else_is_encoded_by_torch(blobs, tiny, store, eager, capsys, monkeypatch):
    monkeypatch.setattr(encoders, "fast_encoder", lambda prefix, x: lambda x: (torch.zeros(len(x), 32),))
    made = cache.features(tiny[:-1], blobs.train, encoder="fast")
    with torch.no_grad():
        assert torch.equal(made.take(np.arange(72))[0], tiny[:-1].eval()(blobs.train.take(np.arange(72))[0]))
    assert "torch encodes instead" in capsys.readouterr().out


@needs_openvino
def test_a_network_that_cannot_be_compiled_is_encoded_by_torch(blobs, store, eager, capsys):
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return torch.from_numpy(np.sort(x.float().numpy().reshape(len(x), -1))) * self.weight

    made = cache.features(nn.Sequential(Strange()), blobs.train, encoder="fast")
    assert len(made) == 72 and "torch encodes instead" in capsys.readouterr().out


@needs_openvino
def test_compiling_opens_no_connection_and_writes_no_file(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("opened a connection"))
    encoders.fast_encoder(tiny[:-1].eval(), torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
    assert not list(Path(tmp_path).rglob("*"))


def test_nan_anywhere_is_a_disagreement():
    assert encoders.disagreement((torch.tensor([1.0, torch.nan]),), (torch.tensor([1.0, 2.0]),)) == float("inf")
    assert encoders.disagreement((torch.ones(2),), (torch.ones(3),)) == float("inf")


def test_an_unknown_encoder_is_refused_before_anything_moves(blobs, tiny):
    with pytest.raises(ValueError, match="'torch' or 'fast'"):
        sft.fit(tiny, blobs, sft.linear_probe(tiny), 1, encoder="onnx")


def test_where_the_extra_is_not_installed_the_error_names_it(blobs, tiny, monkeypatch):
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"sftlab\[fast\]"):
        sft.fit(tiny, blobs, sft.linear_probe(tiny), 1, encoder="fast")


def test_images_are_encoded_once_each_and_never_one_alone_unless_there_is_only_one():
    for n in (1, 2, 8, 9, 10, 41, 42, 73, 74, 800):
        sizes = [len(batch) for batch in encoders.batches(n)]
        assert sorted(np.concatenate(encoders.batches(n))) == list(range(n))
        assert n == 1 or min(sizes) > 1


def test_one_image_alone_has_the_features_it_has_in_a_batch():
    prefix = sft.backbone("efficientnet_lite0")[:-1].eval()
    x = torch.randint(0, 256, (5, 1, 64, 64), dtype=torch.uint8)
    run = encoders.torch_encoder(prefix)
    assert torch.equal(run(x[2:3])[0], run(x)[0][2:3])
