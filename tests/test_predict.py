"""Photographs in, answers out: in order, a batch at a time, as training prepares them, whatever one file does."""

import csv
import json
import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import sftlab as sft
from sftlab.data import read_photo
from sftlab.data.folder import photos_in
from sftlab.deploy import predict as predicting
from sftlab.deploy.predict import predictor
from sftlab.runs import cli


@pytest.fixture
def folder(tmp_path):
    """Two classes of photographs with folders below, and what else lies in real folders."""
    rng = np.random.default_rng(0)
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / name / "deep").mkdir(parents=True)
        for i in range(8):
            place = root / name / ("deep" if i > 5 else "") / f"{name}_{i}.png"
            Image.fromarray(rng.integers(0, 256, (30, 24 + i, 3), dtype=np.uint8)).save(place)
    (root / ".hidden.png").write_bytes(b"x")
    (root / "Thumbs.db").write_bytes(b"x")
    return root


@pytest.fixture
def named():
    return sft.replace_head(sft.backbone("tiny", seed=4), ["cat", "dog"])


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


# --------------------------------------------------------------------------------------------------- in Python


def test_predict_answers_for_each_photo_and_never_stops_at_a_bad_one(tiny, tmp_path):
    Image.fromarray(np.full((30, 40, 3), 200, np.uint8)).save(tmp_path / "bright.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    good, bad, missing = sft.predict(
        tiny, [tmp_path / "bright.png", tmp_path / "text.jpg", tmp_path / "gone.png"], size=16
    )
    assert good.label in ("0", "1") and sum(good.probabilities.values()) == pytest.approx(1) and good.confidence >= 0.5
    assert bad.error and missing.error and bad.label == bad.answer == ""


def test_predict_gives_what_the_model_gives_on_the_same_pixels(tiny, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    (one,) = sft.predict(tiny, tmp_path / "x.png", size=16)
    wanted = tiny.eval()(torch.from_numpy(pixels.transpose(2, 0, 1))[None]).softmax(1)[0]
    assert list(one.probabilities.values()) == pytest.approx(wanted.tolist(), abs=1e-6)


def test_a_photograph_is_prepared_as_the_training_prepared_it(folder, named):
    """Turned ones, transparent ones, 16 bits: the same file gives the same probability in evaluate and in predict."""
    rng = np.random.default_rng(1)
    grey = Image.fromarray(rng.integers(0, 256, (60, 40), dtype=np.uint8))
    turned = Image.Exif()
    turned[274] = 6
    grey.convert("RGB").save(folder / "cat" / "turned.jpg", exif=turned, quality=95)
    grey.save(folder / "cat" / "grey.png")
    Image.fromarray(rng.integers(0, 65536, (40, 50), dtype=np.uint16)).save(folder / "dog" / "sixteen.tif")
    clear = grey.convert("RGBA")
    clear.putalpha(100)
    clear.save(folder / "dog" / "clear.png")
    grey.save(folder / "dog" / "moving.gif", save_all=True, append_images=[grey.rotate(90)])
    grey.resize((3000, 2000)).save(folder / "dog" / "large.jpg")
    data = sft.load(f"folder:{folder}", size=16)
    asked = {one.file: one for one in sft.predict(named, folder, size=16)}
    for part in (data.train, data.valid, data.test):
        result = sft.evaluate(named, part)
        for file, p in zip([part.files[i] for i in part.index], result.probabilities, strict=True):
            assert list(asked[file].probabilities.values()) == pytest.approx(p, abs=1e-6), file


def test_folders_are_searched_in_order_of_names_and_single_files_come_as_given(folder):
    found = [path.relative_to(folder).as_posix() for path in photos_in(folder)]
    assert found == sorted(found) and len(found) == 16 and "cat/deep/cat_7.png" in found
    assert not any("hidden" in name or "Thumbs" in name for name in found)
    second = folder / "dog" / "dog_0.png"
    assert photos_in([second, folder / "cat" / "deep", second])[0] == second and len(photos_in([second, second])) == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_a_folder_is_followed_and_one_that_leads_in_a_circle_is_not(folder):
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "more").symlink_to(folder / "cat" / "deep", target_is_directory=True)
    assert len(photos_in(folder)) == 16 + 2


@pytest.mark.parametrize("batch", [1, 3, 5, 16, 64])
def test_the_order_is_kept_whatever_the_batch_and_wherever_bad_files_lie(folder, named, batch):
    files = photos_in(folder)
    for k in (0, 5, 6, 16):  # at both ends, and two in a row
        bad = folder / f"bad_{k}.jpg"
        bad.write_text("no")
        files.insert(k, bad)
    found = list(predicting.predictions(predictor(named, size=16), files, batch_size=batch))
    assert [one.file for one in found] == [str(file) for file in files]
    for one in found:
        if "bad" in one.file:
            assert "not a picture" in one.error
        else:
            x = torch.from_numpy(read_photo(one.file, 16))[None]
            assert one.confidence == pytest.approx(named.eval()(x).softmax(1).max().item(), abs=1e-6)


def test_a_large_folder_is_read_two_batches_ahead_and_no_further(folder, named, monkeypatch):
    read = []
    monkeypatch.setattr(predicting, "read_photo", lambda file, size: read.append(file) or read_photo(file, size))
    files = photos_in(folder) * 20
    stream = predicting.predictions(predictor(named, size=16), files, batch_size=4)
    for _ in range(10):
        next(stream)
    stream.close()
    assert 10 <= len(read) <= 10 + 3 * 4 < len(files)


def test_a_model_in_train_mode_is_left_in_train_mode(folder, named):
    named.train()
    sft.predict(named, folder, size=16)
    assert all(module.training for module in named.modules())


def test_limits_can_be_given_and_those_that_cannot_be_are_refused(folder, named):
    sure = sft.predict(named, folder, size=16, reject_below=1.0)
    assert {one.answer for one in sure} == {"neither"} and all("limit 1.000" in one.refused for one in sure)
    assert all(one.answer == one.label for one in sft.predict(named, folder, size=16, reject_below=0))
    with pytest.raises(ValueError, match="reject_below=2"):
        sft.predict(named, folder, reject_below=2)
    with pytest.raises(ValueError, match="cannot tell distances"):
        sft.predict(named, folder, reject_beyond=0.3)
    with pytest.raises(ValueError, match="no single list of classes"):
        sft.predict(sft.backbone("tiny"), folder)


# -------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def saved(named, folder, tmp_path):
    data = sft.load(f"folder:{folder}", size=16)
    sft.fit(named, data, sft.full(named, 1e-2), epochs=3, verbose=False)
    return sft.save(named, tmp_path / "pets.safetensors", data=data, reject=sft.choose_reject_option(named, data))


def test_the_command_answers_a_folder_to_screen_csv_and_json(saved, folder, tmp_path):
    (folder / "notes.txt").write_text("no picture")
    done = run("predict", saved, folder, "--csv", tmp_path / "out" / "a.csv", "--json", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    files = [str(path) for path in photos_in(folder)]
    assert [row["file"] for row in rows] == [one["file"] for one in found["photos"]] == files
    wanted = sft.predict(saved, folder)
    for row, one, said in zip(rows, found["photos"], wanted, strict=True):
        assert row["answer"] == (one["answer"] or "") == said.answer and row["error"] == (one["error"] or "")
        if not said.error:
            assert float(row["p(cat)"]) + float(row["p(dog)"]) == pytest.approx(1, abs=1e-5)
            assert one["probabilities"] == said.probabilities and one["distance"] == said.distance
    assert found["model"]["classes"] == ["cat", "dog"] and found["model"]["neither"]["images"] > 0
    last = done.output.splitlines()
    assert any("17 of 17 files: " in line and "1 not readable" in line for line in last)
    assert sum(line.startswith(("…", str(folder)[:3])) for line in last) == 17


def test_exit_code_1_only_if_nothing_could_be_read(saved, folder, tmp_path):
    (folder / "bad.jpg").write_text("no")
    assert run("predict", saved, folder / "bad.jpg", folder / "cat" / "cat_0.png").exit_code == 0
    assert run("predict", saved, folder / "bad.jpg", tmp_path / "gone.jpg").exit_code == 1
    (tmp_path / "empty").mkdir()
    done = run("predict", saved, tmp_path / "empty")
    assert done.exit_code == 1 and "no file in" in done.output
    done = run("predict", tmp_path / "gone.safetensors", folder)
    assert done.exit_code == 1 and "no model at" in done.output and "Traceback" not in done.output


def test_a_threshold_of_one_refuses_all_and_says_why(saved, folder):
    done = run("predict", saved, folder / "cat", "--reject-below", "1", "--reject-beyond", "inf")
    assert "8 of 8 files: 8 neither" in done.output and "undecided (probability 0." in done.output
    assert "“neither” at a probability below 1.000" in done.output
    assert run("predict", saved, folder, "--reject-below", "1.5").exit_code == 1


def test_ctrl_c_keeps_what_was_answered(saved, folder, tmp_path, monkeypatch):
    real = predicting.predictions

    def interrupted(*arguments, **options):
        for i, one in enumerate(real(*arguments, **options)):
            if i == 5:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(predicting, "predictions", interrupted)
    done = run("predict", saved, folder, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json")
    assert "5 of 16 files" in done.output
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 5
    assert len(json.loads((tmp_path / "a.json").read_text())["photos"]) == 5


def test_many_classes_are_a_short_line_on_screen_and_whole_in_the_files():
    classes = [f"kind {i}" for i in range(30)]
    p = dict(zip(classes, np.linspace(0.001, 0.06, 30), strict=True))
    line = cli._line(predicting.Prediction("a/very/" + "long/" * 20 + "name.jpg", "kind 29", p), cli.WIDEST)
    assert "kind 29 6.0 %, kind 28 5.8 %, kind 27 5.6 %, 27 more" in line and line.startswith("…") and len(line) < 120
