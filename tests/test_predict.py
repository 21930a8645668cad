"""Photographs in, answers out: in order, a batch at a time, as training prepares them, whatever one file does."""

import csv
import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from small_sets import class_folders, put

import sftlab as sft
from sftlab.data import read_photo
from sftlab.data.folder import photos_in
from sftlab.deploy import predict as predicting
from sftlab.deploy.predict import predictor
from sftlab.runs import cli


@pytest.fixture
def folder(tmp_path):
    """Two classes of photographs with folders below, and what else lies in real folders."""
    root = class_folders(tmp_path / "photos", {"cat": 6, "cat/deep": 2, "dog": 6, "dog/deep": 2})
    for name in (".hidden.png", "Thumbs.db"):
        (root / name).write_bytes(b"x")
    return root


@pytest.fixture
def named():
    return sft.replace_head(sft.backbone("tiny", seed=4), ["cat", "dog"])


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


# --------------------------------------------------------------------------------------------------- in Python


def test_predict_answers_for_each_photo_and_never_stops_at_a_bad_one(tiny, tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    files = [put(tmp_path / "bright.png"), tmp_path / "text.jpg", tmp_path / "gone.png"]
    good, bad, missing = sft.predict(tiny, files, size=16)
    assert good.label in ("0", "1") and sum(good.probabilities.values()) == pytest.approx(1) and good.confidence >= 0.5
    assert bad.error and missing.error and bad.label == bad.answer == ""


def test_a_photograph_is_prepared_as_the_training_prepared_it(folder, named):
    """Turned ones, transparent ones, 16 bits: the same file gives the same probability in evaluate and in predict."""
    rng = np.random.default_rng(1)
    grey = Image.fromarray(rng.integers(0, 256, (60, 40), dtype=np.uint8))
    turned, clear = Image.Exif(), grey.convert("RGBA")
    turned[274] = 6
    clear.putalpha(100)
    put(folder / "cat" / "turned.jpg", grey.convert("RGB"), exif=turned, quality=95)
    put(folder / "cat" / "grey.png", grey)
    put(folder / "dog" / "sixteen.tif", Image.fromarray(rng.integers(0, 65536, (40, 50), dtype=np.uint16)))
    put(folder / "dog" / "clear.png", clear)
    put(folder / "dog" / "moving.gif", grey, save_all=True, append_images=[grey.rotate(90)])
    put(folder / "dog" / "large.jpg", grey.resize((3000, 2000)))
    data = sft.load(f"folder:{folder}", size=16)
    asked = {one.file: list(one.probabilities.values()) for one in sft.predict(named, folder, size=16)}
    for part in (data.train, data.valid, data.test):
        for i, p in zip(part.index, sft.evaluate(named, part).probabilities, strict=True):
            assert asked[part.files[i]] == pytest.approx(p, abs=1e-6), part.files[i]


def test_folders_are_searched_in_order_of_names_and_single_files_come_as_given(folder):
    found = [path.relative_to(folder).as_posix() for path in photos_in(folder)]
    assert found == sorted(found) and len(found) == 16 and "cat/deep/1.png" in found
    second = folder / "dog" / "0.png"
    assert photos_in([second, folder / "cat" / "deep", second])[0] == second and len(photos_in([second, second])) == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_another_folder_is_followed_and_one_that_leads_in_a_circle_is_not(folder, tmp_path):
    class_folders(tmp_path, {"elsewhere": 2})
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(photos_in(folder)) == 16 + 2


@pytest.mark.parametrize("batch", [1, 3, 5, 16, 64])
def test_the_order_is_kept_whatever_the_batch_and_wherever_bad_files_lie(folder, named, batch):
    files = photos_in(folder)
    for k in (0, 5, 6, 16):  # at both ends, and two in a row
        files.insert(k, folder / f"bad_{k}.jpg")
        files[k].write_text("no")
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
    monkeypatch.setattr(predicting, "read_photo", lambda file, *how: read.append(file) or read_photo(file, *how))
    files = photos_in(folder) * 20
    stream = predicting.predictions(predictor(named, size=16), files, batch_size=4)
    for _ in range(10):
        next(stream)
    stream.close()
    assert 10 <= len(read) <= 10 + 3 * 4 < len(files)


def test_a_model_in_train_mode_is_left_in_train_mode(folder, named):
    sft.predict(named.train(), folder, size=16)
    assert all(module.training for module in named.modules())


def test_limits_can_be_given(folder, named):
    sure = sft.predict(named, folder, size=16, reject_below=1.0)
    assert {one.answer for one in sure} == {"neither"} and all("limit 1.000" in one.refused for one in sure)
    assert all(one.answer == one.label for one in sft.predict(named, folder, size=16, reject_below=0))


@pytest.mark.parametrize(
    ("limits", "says"), [({"reject_below": 2}, "reject_below=2"), ({"reject_beyond": 0.3}, "cannot tell distances")]
)
def test_limits_that_cannot_be_are_refused(folder, named, limits, says):
    with pytest.raises(ValueError, match=says):
        sft.predict(named, folder, **limits)


def test_a_model_without_names_of_classes_is_refused(folder):
    with pytest.raises(ValueError, match="no single list of classes"):
        sft.predict(sft.backbone("tiny"), folder)


def test_a_class_called_neither_is_no_refusal(folder):
    model = sft.replace_head(sft.backbone("tiny", seed=4), ["neither", "not readable"])
    free, limited = (sft.predict(model, folder, size=16, reject_below=p) for p in (0, 1))
    assert all(one.answer == one.label and not one.refused for one in free)
    assert {one.answer for one in limited}.isdisjoint(sft.card(model)["classes"])


# -------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def saved(named, folder, tmp_path):
    data = sft.load(f"folder:{folder}", size=16)
    sft.fit(named, data, sft.full(named, 1e-2), epochs=3, verbose=False)
    return sft.save(named, tmp_path / "pets.safetensors", data=data, reject=sft.choose_reject_option(named, data))


def test_the_command_answers_a_folder_to_screen_and_table(saved, folder, tmp_path):
    (folder / "notes.txt").write_text("no picture")
    done = run("predict", saved, folder, "--csv", tmp_path / "out" / "a.csv")
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(path) for path in photos_in(folder)]
    for row, said in zip(rows, sft.predict(saved, folder), strict=True):
        assert (row["answer"], row["error"], row["refused"]) == (said.answer, said.error, said.refused)
        if not said.error:
            assert float(row["p(cat)"]) + float(row["p(dog)"]) == pytest.approx(1, abs=1e-5)
            assert float(row["distance"]) == pytest.approx(said.distance, abs=1e-5)
            assert float(row["probability"]) == pytest.approx(said.confidence, abs=1e-5)
        else:
            assert row["probability"] == row["p(cat)"] == ""
    assert "17 of 17 files: " in done.output and "1 not readable" in done.output
    assert sum(line.startswith(("…", str(folder)[:3])) for line in done.output.splitlines()) == 17


def test_exit_code_1_only_if_nothing_could_be_read(saved, folder, tmp_path):
    (folder / "bad.jpg").write_text("no")
    (tmp_path / "empty").mkdir()
    assert run("predict", saved, folder / "bad.jpg", folder / "cat" / "0.png").exit_code == 0
    assert run("predict", saved, folder / "bad.jpg", tmp_path / "gone.jpg").exit_code == 1
    for words, says in (
        ((saved, tmp_path / "empty"), "no file in"),
        ((tmp_path / "no.safetensors", folder), "no model at"),
    ):
        done = run("predict", *words)
        assert done.exit_code == 1 and says in done.output and "Traceback" not in done.output


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
    done = run("predict", saved, folder, "--csv", tmp_path / "a.csv")
    assert "5 of 16 files" in done.output
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 5


def test_many_classes_are_a_short_line_on_screen_and_whole_in_the_files():
    p = {f"kind {i}": float(x) for i, x in enumerate(np.linspace(0.001, 0.06, 30))}
    line = cli._line(predicting.Prediction("a/very/" + "long/" * 20 + "name.jpg", "kind 29", p), cli.WIDEST)
    assert "kind 29 6.0 %, kind 28 5.8 %, kind 27 5.6 %, 27 more" in line and line.startswith("…") and len(line) < 120
