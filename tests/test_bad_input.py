"""Bad input, at least two hundred kinds: each is refused in a sentence of ours, or skipped and counted.

An error counts as ours if it was raised by a line of this package: whatever the user gave, no traceback ends in torch.
"""

import io
import json
import math
import struct
import traceback
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sftlab as sft
from sftlab.core import losses, monitors, records
from sftlab.data import load
from sftlab.runs.parameters import NotebookError

PACKAGE = str(Path(sft.__file__).parent)
REFUSALS = (ValueError, TypeError, OSError, KeyError, IndexError, NotebookError)
GOOD = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
NAN, INFINITE = math.nan, math.inf


def refused(act):
    """Call something that must be refused; return the sentence."""
    with pytest.raises(REFUSALS) as caught:
        act()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.filename.startswith(PACKAGE), f"raised in {last.filename}:{last.lineno}: {caught.value!r}"
    sentence = str(caught.value)
    assert len(sentence.split()) >= 4, f"no sentence: {caught.value!r}"
    return sentence


# pictures in a folder of somebody's own


def encoded(kind, mode="RGB", size=(40, 40)):
    file = io.BytesIO()
    Image.fromarray(GOOD).convert(mode).resize(size).save(file, kind)
    return file.getvalue()


def bomb(width, height):
    """Return a PNG of a few bytes that says it is enormous."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


def flipped(content, seed, n=8):
    """Return bytes of which some are others."""
    rng, out = np.random.default_rng(seed), bytearray(content)
    for place in rng.integers(0, len(out), n):
        out[place] ^= int(rng.integers(1, 256))
    return bytes(out)


KINDS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP"}
MODES = {"L": "PNG", "LA": "PNG", "P": "PNG", "1": "PNG", "RGBA": "PNG", "I;16": "PNG", "CMYK": "JPEG", "YCbCr": "TIFF"}
WHOLE = {ending: encoded(kind) for ending, kind in KINDS.items()}
PICTURES = {
    **{f"cut_{e}_{k}.{e}": WHOLE[e][: len(WHOLE[e]) * k // 10] for e in KINDS for k in (0, 1, 3, 5, 7, 9)},
    **{f"flipped_{e}_{k}.{e}": flipped(WHOLE[e], k) for e in KINDS for k in range(6)},
    **{f"other_{e}.jpg": WHOLE[e] for e in KINDS},
    **{f"mode_{i}.{'jpg' if k == 'JPEG' else 'tif' if k == 'TIFF' else 'png'}": encoded(k, m)
       for i, (m, k) in enumerate(MODES.items()) if m != "I;16"},
    "bomb.png": bomb(100_000, 100_000),
    "wide.png": bomb(2_000_000_000, 1),
    "nothing.png": bomb(0, 5),
    "text.jpg": b"I am no picture.",
    "html.png": b"<html><body>404</body></html>",
    "zeros.jpg": bytes(1000),
    "dot.png": encoded("PNG", size=(1, 1)),
    "line.png": encoded("PNG", size=(300, 1)),
    "ünï code 猫.jpg": WHOLE["jpg"],
    "two\nlines.jpg": WHOLE["jpg"],
    "<script>alert(1)</script>.jpg".replace("/", "_"): WHOLE["jpg"],
    "UPPER.JPG": WHOLE["jpg"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of sound pictures, all different."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for i in range(12):
            Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


def test_every_unsound_picture_is_read_or_skipped_and_counted(folder):
    for name, content in PICTURES.items():
        (folder / "cat" / name).write_bytes(content)
    (folder / "cat" / "folder.jpg").mkdir()
    data = load(f"folder:{folder}", size=32)
    read = sum(len(part) for part in (data.train, data.valid, data.test))
    names = {Path(name).name for part in (data.train, data.valid, data.test) for name in part.names}
    for name in PICTURES:
        assert (name in names) != any(name in skipped for skipped in data.card.skipped), name
    assert read + len(data.card.skipped) == 24 + len(PICTURES)
    assert all(len(why.split()) >= 2 for why in data.card.skipped.values())
    for part in (data.train, data.valid, data.test):
        x, _ = part.take(np.arange(len(part)))
        assert x.dtype == torch.uint8 and x.shape[1:] in ((3, 32, 32), (1, 32, 32))


# what is given to a function


@pytest.fixture(scope="module")
def tiny():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (60, 8, 8), dtype=np.uint8)
    data = sft.from_arrays(images, np.arange(60) % 3, classes=["a", "b", "c"])
    return data, sft.replace_head(sft.backbone("tiny"), data.classes)


X = GOOD[None].repeat(12, axis=0)
Y = np.arange(12) % 2
CALLS = {
    **{f"load {name!r}": partial(load, name) for name in ("", "no", "folder:", "folder:/no", "csv:no.csv", None, 3)},
    **{f"size {v!r}": partial(load, "digits", size=v) for v in (0, -1, NAN, "a", 10**9, 2.5)},
    **{f"per_class {v!r}": partial(load, "digits", per_class=v) for v in (0, -1, NAN, "a", 2.5)},
    **{f"valid {v!r}": partial(load, "digits", valid=v) for v in (0, 1, -0.1, 2, NAN, "a", INFINITE)},
    **{f"test {v!r}": partial(load, "digits", test=v) for v in (0, 1, -0.1, 2, NAN, "a")},
    **{f"seed {v!r}": partial(load, "digits", seed=v) for v in ("a", NAN, 1.5, -1)},
    **{f"backbone {v!r}": partial(sft.backbone, v) for v in ("", "nope", None, 3, "resnet5", "timm:nope")},
    "images of float": partial(sft.from_arrays, X / 255, Y),
    "images that are no array": partial(sft.from_arrays, "a", Y),
    "images without pixels": partial(sft.from_arrays, X[:, :0], Y),
    "images of five channels": partial(sft.from_arrays, np.zeros((12, 5, 8, 8), np.uint8), Y),
    "one image": partial(sft.from_arrays, X[:1], Y[:1]),
    "no image": partial(sft.from_arrays, X[:0], Y[:0]),
    "fewer labels": partial(sft.from_arrays, X, Y[:5]),
    "labels in two columns": partial(sft.from_arrays, X, np.stack([Y, Y], 1)),
    "a label below zero": partial(sft.from_arrays, X, Y - 5),
    "labels of 1.5": partial(sft.from_arrays, X, Y + 0.5),
    "infinite labels": partial(sft.from_arrays, X, np.where(Y, np.inf, 0)),
    "one class": partial(sft.from_arrays, X, Y * 0),
    "fewer names than labels": partial(sft.from_arrays, X, Y, classes=["a"]),
    "a name twice": partial(sft.from_arrays, X, Y, classes=["a", "a"]),
    "no label at all": partial(sft.from_arrays, X, [None] * 12),
    "a sentence for labels": partial(sft.from_arrays, X, "cat"),
    "a dict for labels": partial(sft.from_arrays, X, [{}] * 12),
    "stages of nothing": partial(sft.replace_head, torch.nn.Sequential(), 3),
    "a head for no class": partial(sft.replace_head, sft.backbone("tiny"), []),
    "a head for one class": partial(sft.replace_head, sft.backbone("tiny"), ["a"]),
    "a head for -2 classes": partial(sft.replace_head, sft.backbone("tiny"), -2),
    "records that are not there": partial(records.stored, "nope"),
    "a model that is not there": partial(sft.load_model, "nowhere.safetensors"),
    "photographs that are not there": partial(sft.predict, "nowhere.safetensors", ["a.jpg"]),
    "runs that are not there": partial(sft.load_runs, "nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("what", CALLS)
def test_a_call_with_bad_values_is_refused_in_a_sentence(what):
    refused(CALLS[what])


@pytest.mark.parametrize("successes", [5, -1])
def test_of_a_share_that_cannot_be_scipy_says_so_in_a_sentence(successes):
    with pytest.raises(ValueError, match=r"must (not )?be"):
        sft.wilson(successes, 3)


SCHEDULES = {"3": 3, "cosine": "cosine", "nan": lambda t: NAN, "below zero": lambda t: -1, "text": lambda t: "a"}
FITS = {
    **{f"epochs {v!r}": {"epochs": v} for v in (-1, NAN, "a", 1.5, None)},
    **{f"batch_size {v!r}": {"batch_size": v} for v in (0, -1, NAN, "a", 1.5)},
    **{f"optimizer {v!r}": {"optimizer": v} for v in ("nope", 3)},
    **{f"weight_decay {v!r}": {"weight_decay": v} for v in (-1, NAN, "a", INFINITE)},
    **{f"loss {v!r}": {"loss": v} for v in ("nope", 3)},
    **{f"patience {v!r}": {"patience": v} for v in (-1, "a", 1.5, NAN)},
    **{f"clip_norm {v!r}": {"clip_norm": v} for v in (-1, 0, "a", NAN)},
    **{f"seed {v!r}": {"seed": v} for v in ("a", 1.5, NAN, -1)},
    **{f"schedule {name}": {"schedule": v} for name, v in SCHEDULES.items()},
    **{f"batchnorm {v!r}": {"batchnorm": v} for v in ("nope", 3)},
    **{f"augment {v!r}": {"augment": v} for v in (3, "flip")},
}  # fmt: skip


@pytest.mark.parametrize("what", FITS)
def test_a_fit_with_bad_options_is_refused_and_leaves_the_model_as_it_was(tiny, what):
    data, model = tiny
    before = sft.fingerprint(model)
    refused(lambda: sft.fit(model, data, sft.full(model, lr=1e-3), **{"epochs": 1, "verbose": False, **FITS[what]}))
    assert sft.fingerprint(model) == before


PROFILES = {
    **{f"a rate of {v!r}": {"head": v} for v in (-1, NAN, INFINITE, "a", None, 10**9, True)},
    "an unknown stage": {"nope": 1e-3},
    "nothing learns": {"head": 0},
    "no profile": {},
    "a number": 1e-3,
    "a list": [("head", 1e-3)],
}  # fmt: skip


@pytest.mark.parametrize("what", PROFILES)
def test_a_bad_profile_is_refused_and_leaves_the_model_as_it_was(tiny, what):
    data, model = tiny
    before = sft.fingerprint(model)
    refused(lambda: sft.fit(model, data, PROFILES[what], epochs=1, verbose=False))
    assert sft.fingerprint(model) == before


RATES = {
    **{f"layer_decay {v!r}": lambda m, v=v: sft.layer_decay(m, lr=1e-3, decay=v) for v in (0, -1, NAN, "a", 2)},
    **{f"last_k {v!r}": lambda m, v=v: sft.last_k(m, v, lr=1e-3) for v in (-1, 99, "a", 1.5)},
    **{f"linear_probe {v!r}": lambda m, v=v: sft.linear_probe(m, lr=v) for v in (-1, NAN, "a")},
    **{f"surgical {v!r}": lambda m, v=v: sft.surgical(m, v, lr=1e-3) for v in ("nope", 3)},
    **{f"warmup {v!r}": lambda m, v=v: sft.warmup_cosine(v) for v in (-0.1, 1.5, NAN, "a")},
}  # fmt: skip


@pytest.mark.parametrize("what", RATES)
def test_a_strategy_with_bad_values_is_refused(tiny, what):
    refused(lambda: RATES[what](tiny[1]))


# files that were damaged


@pytest.fixture(scope="module")
def files(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    data, model = tiny
    sft.save(model, folder / "model.safetensors", data=data)
    records.write(sft.evaluate(model, data.test), folder / "record.json")
    return folder


@pytest.mark.parametrize("part", [0, 0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["model.safetensors", "record.json"])
def test_a_file_that_was_cut_is_refused_by_name(files, tmp_path, name, part):
    content = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * part)])
    read = sft.load_model if name.startswith("model") else records.read
    assert name in refused(lambda: read(path))


@pytest.mark.parametrize("seed", range(12))
def test_a_file_with_other_bytes_is_refused_or_gives_what_was_saved_never_something_else(files, tmp_path, tiny, seed):
    model = tmp_path / "model.safetensors"
    model.write_bytes(flipped((files / "model.safetensors").read_bytes(), seed, n=1))
    try:
        loaded = sft.load_model(model)
        assert sft.fingerprint(loaded) == sft.fingerprint(tiny[1])
    except REFUSALS as error:
        assert "model.safetensors" in str(error), error
    record = tmp_path / "record.json"
    record.write_bytes(flipped((files / "record.json").read_bytes(), seed, n=3))
    try:
        records.read(record)
    except REFUSALS as error:
        assert "record.json" in str(error), error


def test_there_are_two_hundred_kinds():
    assert len(PICTURES) + len(CALLS) + len(FITS) + len(PROFILES) + len(RATES) + 10 + 24 >= 200
    assert json and losses and monitors
