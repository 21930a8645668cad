"""Corrected labels: a CSV that a person can read, images that stay as they are, and a split that stays as drawn."""

import csv
import hashlib
from datetime import datetime

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from PIL import Image

import sftlab as sft
from sftlab.data.label_fixes import COLUMNS, address, read_corrections
from sftlab.widgets import relabel


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes with different photographs."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def state(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def opinions(data):
    """Return probabilities that contradict the first three labels, and are torn about the others."""
    y = data.train.y.numpy()
    p = np.full((len(y), 2), 0.5)
    p[np.arange(len(y)), y] = np.linspace(0.8, 0.9, len(y))
    p[np.arange(3), y[:3]] = (0.01, 0.02, 0.03)
    p[np.arange(len(y)), 1 - y] = 1 - p[np.arange(len(y)), y]
    return p


def choose(panel, **chosen):
    """Do what the browser does: send new choices."""
    panel.view.chosen = {**panel.view.chosen, **{key.removeprefix("_"): value for key, value in chosen.items()}}


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------------------------------------- the panel


def test_a_choice_is_a_line_in_the_csv_and_the_originals_stay(photos, tmp_path, capsys):
    data, before = sft.load(f"folder:{photos}", size=16), state(photos)
    panel = relabel(data, opinions(data), tmp_path / "labels.csv", each=4)
    assert "3 most likely mislabelled, 4 least certain; nothing corrected" in capsys.readouterr().out
    assert not (tmp_path / "labels.csv").exists(), "looking writes nothing"
    given = int(data.train.y[0])
    choose(panel, _0=1 - given)
    (row,) = rows(tmp_path / "labels.csv")
    assert list(row) == list(COLUMNS)
    file = photos / row["file"]
    assert str(file) == data.train.files[data.train.index[0]]
    assert row["image"] == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert (row["old"], row["new"]) == (data.classes[given], data.classes[1 - given])
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(row["when"])).total_seconds()) < 60
    assert "1 correction in labels.csv" in panel.view.spoken["said"] and state(photos) == before
    choose(panel, _1=2)  # after the classes comes "leave it out"
    assert [r["new"] for r in rows(tmp_path / "labels.csv")] == [data.classes[1 - given], ""]
    choose(panel, _0=given)
    choose(panel, _1=int(data.train.y[1]))
    assert not (tmp_path / "labels.csv").exists(), "what is taken back leaves nothing"


def test_the_doubtful_and_the_torn_are_two_groups_without_overlap(photos, tmp_path):
    data = sft.load(f"folder:{photos}", size=16)
    panel = relabel(data, opinions(data), tmp_path / "labels.csv", each=4)
    doubted, torn = ({tile["key"] for tile in group["tiles"]} for group in panel.view.fixed["groups"])
    assert doubted == {"0", "1", "2"} and len(torn) == 4 and not doubted & torn
    first = panel.view.fixed["groups"][0]["tiles"][0]
    assert first["src"].startswith("data:image/png") and "labelled" in first["alt"] and "> 99 %" not in first["said"]
    assert first["said"].startswith("the network says") and "99 %" in first["said"]
    html = panel.bundle()["text/html"]
    assert "3 images most likely mislabelled" in html and 'alt="' in html


def test_choices_survive_running_the_cell_again_and_the_correction_being_used(photos, tmp_path):
    data, path = sft.load(f"folder:{photos}", size=16), tmp_path / "labels.csv"
    given = int(data.train.y[0])
    choose(relabel(data, opinions(data), path), _0=1 - given)
    for shown in (data, sft.corrected(data, path)):
        panel = relabel(shown, opinions(data), path)
        assert panel.view.chosen["0"] == 1 - given
        tile = next(t for group in panel.view.fixed["groups"] for t in group["tiles"] if t["key"] == "0")
        assert tile["given"] == given, "the old label is what the folder says, not what was made of it"
    choose(panel, _0=given)
    assert not path.exists()


def test_rows_about_other_images_are_kept(blobs, photos, tmp_path):
    path = tmp_path / "labels.csv"
    choose(relabel(blobs, opinions(blobs), path), _0=1 - int(blobs.train.y[0]))
    data = sft.load(f"folder:{photos}", size=16)
    choose(relabel(data, opinions(data), path), _0=1 - int(data.train.y[0]))
    found = rows(path)
    assert len(found) == 2 and found[0]["file"] == "" and found[0]["image"] == blobs.train.hashes[0]


def test_a_csv_that_cannot_be_written_is_said_on_the_page(photos, tmp_path):
    data = sft.load(f"folder:{photos}", size=16)
    (tmp_path / "file").write_text("in the way")
    panel = relabel(data, opinions(data), tmp_path / "file" / "labels.csv")
    choose(panel, _0=1)
    assert panel.view.spoken["error"] and "not kept" in panel.view.spoken["said"]


def test_probabilities_that_do_not_fit_are_refused_by_a_sentence(blobs, tmp_path):
    with pytest.raises(ValueError, match=r"shape 3×2; expected 72×2"):
        relabel(blobs, np.full((3, 2), 0.5), tmp_path / "labels.csv")
    with pytest.raises(ValueError, match="soft labels or several tasks"):
        relabel(sft.data.with_targets(blobs, {"a": blobs.train.targets}, {"a": blobs.classes}), np.zeros((1, 2)))


# -------------------------------------------------------------------------------------------------- using them


def test_corrected_labels_are_used_and_all_else_stays(photos, tmp_path):
    data, path = sft.load(f"folder:{photos}", size=16), tmp_path / "labels.csv"
    panel = relabel(data, opinions(data), path, each=8)
    y = data.train.y.tolist()
    choose(panel, _0=1 - y[0], _1=1 - y[1], _2=2)
    used = sft.corrected(data, path)
    assert used.train.hashes == data.train.hashes[:2] + data.train.hashes[3:]
    assert used.train.y.tolist() == [1 - y[0], 1 - y[1], *y[3:]]
    assert used.valid.hashes == data.valid.hashes and used.test.hashes == data.test.hashes
    assert sum(used.card.counts["train"].values()) == len(y) - 1
    assert "labels.csv corrects train: 2 with a new label, 1 left out." in used.card.notes
    assert data.train.y.tolist() == y, "the data that came in are untouched"
    larger = sft.corrected(sft.load(f"folder:{photos}", size=20), path)
    assert larger.train.y.tolist() == used.train.y.tolist(), "another size, the same files"


def test_the_loader_takes_the_file_that_the_panel_writes(photos, tmp_path):
    data, path, before = sft.load(f"folder:{photos}", size=16), tmp_path / "labels.csv", state(photos)
    assert sft.load(f"folder:{photos}", size=16, corrections=path).train.y.tolist() == data.train.y.tolist()
    choose(relabel(data, opinions(data), path), _0=1 - int(data.train.y[0]))
    used = sft.load(f"folder:{photos}", size=16, corrections=path)
    assert (used.train.y != data.train.y).nonzero().flatten().tolist() == [0]
    assert "corrects train: 1 with a new label, 0 left out" in str(used.card) and state(photos) == before


def test_corrections_of_arrays_go_by_their_pixels(blobs, tmp_path):
    path = tmp_path / "labels.csv"
    choose(relabel(blobs, opinions(blobs), path), _0=1 - int(blobs.train.y[0]))
    used = sft.corrected(blobs, path)
    assert (used.train.y != blobs.train.y).nonzero().flatten().tolist() == [0]


def test_rows_that_do_not_fit_are_counted_and_change_nothing(photos, tmp_path):
    data, path = sft.load(f"folder:{photos}", size=16), tmp_path / "labels.csv"
    image, file = address(data.train, 0)
    lines = [",".join(COLUMNS), f"{'0' * 16},{file},cat,dog,now", f"{image},cat/gone.png,cat,dog,now"]
    path.write_text("\n".join(lines))
    used = sft.corrected(data, path)
    assert used.train.y.tolist() == data.train.y.tolist()
    assert used.card.notes[-1] == "labels.csv: 2 rows about other images, or other labels, not used."
    moved = photos / ("dog" if "cat" in file else "cat") / "moved.png"  # the folder was put right by hand
    choose(relabel(data, opinions(data), path), _0=1 - int(data.train.y[0]))
    (photos / file).rename(moved)
    again = sft.corrected(sft.load(f"folder:{photos}", size=16), path)
    assert "3 rows about other images" in again.card.notes[-1]


def test_a_correction_of_a_label_that_is_another_one_by_now_is_not_used(tmp_path):
    rng = np.random.default_rng(0)
    data = sft.from_arrays(rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3, classes=["a", "b", "c"])
    now = data.classes[int(data.train.y[0])]
    old, new = (name for name in data.classes if name != now)
    path = tmp_path / "labels.csv"
    for row_old, row_new, changed in ((old, new, 0), (now, new, 1), (old, now, 0)):
        path.write_text(f"{','.join(COLUMNS)}\n{data.train.hashes[0]},,{row_old},{row_new},now\n")
        used = sft.corrected(data, path)
        assert int((used.train.y != data.train.y).sum()) == changed
        assert any("not used" in note for note in used.card.notes) == (row_old == old and row_new == new)


def test_no_file_is_no_correction_and_a_wrong_one_is_refused_by_a_sentence(photos, tmp_path):
    data, path = sft.load(f"folder:{photos}", size=16), tmp_path / "labels.csv"
    assert sft.corrected(data, path) is data and read_corrections(path) == {}
    image, file = address(data.train, 0)
    for text, words in (
        ("a,b\n1,2\n", "no table of corrections .*expected image,file,old,new,when"),
        (f"{','.join(COLUMNS)}\n{image},{file},cat,bird,now\n", "says bird; the classes are cat, dog"),
        (b"\xff\xfe\x00", "no table of corrections"),
    ):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ValueError, match=words):
            sft.corrected(data, path)
    gone = [[*address(data.train, i), data.classes[int(k)], "", "now"] for i, k in enumerate(data.train.y)]
    path.write_text("\n".join(map(",".join, [COLUMNS, *gone])))
    with pytest.raises(ValueError, match="leave no image of the train split"):
        sft.corrected(data, path)
