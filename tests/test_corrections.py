"""Corrected labels: a CSV that a person can read, images that stay as they are, and a split that stays as drawn."""

import csv
import hashlib
from datetime import datetime

import numpy as np
import pytest
from small_sets import class_folders

import sftlab as sft
from sftlab.data.label_fixes import COLUMNS, address, corrections_path, read_corrections
from sftlab.widgets import relabel


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes with different photographs."""
    return class_folders(tmp_path / "photos", {"cat": 12, "dog": 12})


@pytest.fixture
def data(photos):
    return sft.load(f"folder:{photos}", size=16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.csv"


def state(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def opinions(data):
    """Return probabilities that contradict the first three labels, and are torn about the others."""
    y = data.train.y.numpy()
    p, every = np.full((len(y), 2), 0.5), np.arange(len(y))
    p[every, y] = [0.01, 0.02, 0.03, *np.linspace(0.8, 0.9, len(y))[3:]]
    p[every, 1 - y] = 1 - p[every, y]
    return p


def choose(panel, **chosen):
    """Do what the browser does: send new choices."""
    panel.view.chosen = {**panel.view.chosen, **{key.removeprefix("_"): value for key, value in chosen.items()}}


def swap_first(data, path):
    """Correct the label of the first training image; return the panel."""
    panel = relabel(data, opinions(data), path)
    choose(panel, _0=1 - int(data.train.y[0]))
    return panel


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path, *lines):
    path.write_text("\n".join(map(",".join, [COLUMNS, *lines])), encoding="utf-8")


def changed(used, data):
    return (used.train.y != data.train.y).nonzero().flatten().tolist()


# ---------------------------------------------------------------------------------------------------- the panel


def test_a_choice_is_a_line_in_the_csv_and_the_originals_stay(photos, data, path, capsys):
    before, given = state(photos), int(data.train.y[0])
    panel = relabel(data, opinions(data), path, each=4)
    assert "3 most likely mislabelled, 4 least certain; nothing corrected" in capsys.readouterr().out
    assert not path.exists(), "looking writes nothing"
    choose(panel, _0=1 - given)
    (row,) = rows(path)
    file = photos / row["file"]
    assert list(row) == list(COLUMNS) and str(file) == data.train.files[data.train.index[0]]
    assert row["image"] == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert (row["old"], row["new"]) == (data.classes[given], data.classes[1 - given])
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(row["when"])).total_seconds()) < 60
    assert "1 correction in labels.csv" in panel.view.spoken["said"] and state(photos) == before
    choose(panel, _1=2)  # after the classes comes "leave it out"
    assert [r["new"] for r in rows(path)] == [data.classes[1 - given], ""]
    choose(panel, _0=given)
    choose(panel, _1=int(data.train.y[1]))
    assert not path.exists(), "what is taken back leaves nothing"


def test_a_page_that_has_not_heard_of_another_pages_choice_takes_nothing_back(data, path):
    panel = relabel(data, opinions(data), path, each=4)
    panel.view.chosen = {"0": 2}
    panel.view.chosen = {"1": 2}  # all that the other page knows of
    assert panel.view.chosen == {"0": 2, "1": 2}, "both pages show what the file says"
    assert [row["new"] for row in rows(path)] == ["", ""]


def test_the_doubtful_and_the_torn_are_two_groups_without_overlap(data, path):
    panel = relabel(data, opinions(data), path, each=4)
    doubted, torn = ({tile["key"] for tile in group["tiles"]} for group in panel.view.fixed["groups"])
    assert doubted == {"0", "1", "2"} and len(torn) == 4 and not doubted & torn
    first = panel.view.fixed["groups"][0]["tiles"][0]
    assert first["src"].startswith("data:image/png") and "labelled" in first["alt"]
    assert first["said"].startswith("the network says") and "99 %" in first["said"] and "> 99" not in first["said"]
    html = panel.bundle()["text/html"]
    assert "3 images most likely mislabelled" in html and 'alt="' in html


def test_choices_survive_running_the_cell_again_and_the_correction_being_used(data, path):
    given = int(data.train.y[0])
    swap_first(data, path)
    for shown in (data, sft.corrected(data, path)):
        panel = relabel(shown, opinions(data), path)
        assert panel.view.chosen["0"] == 1 - given
        tile = next(t for group in panel.view.fixed["groups"] for t in group["tiles"] if t["key"] == "0")
        assert tile["given"] == given, "the old label is what the folder says, not what was made of it"
    choose(panel, _0=given)
    assert not path.exists()


def test_a_csv_that_cannot_be_written_is_said_on_the_page(data, path):
    path.write_text("in the way")
    panel = swap_first(data, path / "labels.csv")
    assert panel.view.spoken["error"] and "not kept" in panel.view.spoken["said"]


def test_probabilities_that_do_not_fit_are_refused_by_a_sentence(blobs, path):
    with pytest.raises(ValueError, match=r"shape 3×2; expected 72×2"):
        relabel(blobs, np.full((3, 2), 0.5), path)
    with pytest.raises(ValueError, match="several tasks"):
        relabel(sft.data.with_targets(blobs, {"a": blobs.train.targets}, {"a": blobs.classes}), np.zeros((1, 2)))


def test_labels_named_like_the_panels_own_words_are_labels(path):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    data = sft.from_arrays(x, np.arange(60) % 2, classes=["neither", "leave it out"])
    swap_first(data, path)
    assert changed(sft.corrected(data, path), data) == [0] and len(sft.corrected(data, path).train) == len(data.train)


# -------------------------------------------------------------------------------------------------- using them


def test_corrected_labels_are_used_and_all_else_stays(photos, data, path):
    y = data.train.y.tolist()
    choose(relabel(data, opinions(data), path, each=8), _0=1 - y[0], _1=1 - y[1], _2=2)
    used = sft.corrected(data, path)
    assert used.train.hashes == data.train.hashes[:2] + data.train.hashes[3:]
    assert used.train.y.tolist() == [1 - y[0], 1 - y[1], *y[3:]]
    assert used.valid.hashes == data.valid.hashes and used.test.hashes == data.test.hashes
    assert sum(used.card.counts["train"].values()) == len(y) - 1
    assert "labels.csv corrects train: 2 with a new label, 1 left out." in used.card.notes
    assert data.train.y.tolist() == y, "the data that came in are untouched"
    larger = sft.corrected(sft.load(f"folder:{photos}", size=20), path)
    assert larger.train.y.tolist() == used.train.y.tolist(), "another size, the same files"


def test_the_loader_takes_the_file_that_the_panel_writes(photos, data, path):
    before = state(photos)
    assert not changed(sft.load(f"folder:{photos}", size=16, corrections=path), data)
    swap_first(data, path)
    assert changed(sft.load(f"folder:{photos}", size=16, corrections=path), data) == [0] and state(photos) == before


def test_corrections_of_arrays_go_by_their_pixels(blobs, path):
    swap_first(blobs, path)
    assert changed(sft.corrected(blobs, path), blobs) == [0]


def test_each_data_set_has_a_file_of_its_own_name(data, blobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for one in (data, blobs):
        swap_first(one, None)
        assert changed(sft.corrected(one), one) == [0]
    assert {path.name for path in tmp_path.glob("*.csv")} == {"corrections_photos.csv", "corrections_blobs.csv"}
    odd = sft.from_arrays(np.array(blobs.train.images), blobs.train.targets, name="../a b: ü/c")
    assert corrections_path(odd).name == "corrections_.._a_b_ü_c.csv"


def test_the_file_of_one_data_set_does_not_stop_another(data, tmp_path, path):
    birds = sft.load(f"folder:{class_folders(tmp_path / 'birds', {'crow': 9, 'tit': 9})}", size=16)
    swap_first(birds, path)
    swap_first(data, path)
    assert len(rows(path)) == 2, "rows about other images are kept"
    for one in (data, birds):
        used = sft.corrected(one, path)
        assert changed(used, one) == [0] and "1 row about other images" in used.card.notes[-1]


def test_rows_that_do_not_fit_are_counted_and_change_nothing(photos, data, path):
    image, file = address(data.train, 0)
    write(path, ("0" * 16, file, "cat", "dog", "now"), (image, "cat/gone.png", "cat", "dog", "now"))
    used = sft.corrected(data, path)
    assert not changed(used, data) and "2 rows about other images" in used.card.notes[-1]
    swap_first(data, path)
    (photos / file).rename(photos / ("dog" if "cat" in file else "cat") / "moved.png")  # put right by hand
    again = sft.corrected(sft.load(f"folder:{photos}", size=16), path)
    assert "3 rows about other images" in again.card.notes[-1]


def test_a_correction_of_a_label_that_is_another_one_by_now_is_not_used(path):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    data = sft.from_arrays(x, np.arange(60) % 3, classes=["a", "b", "c"])
    now = data.classes[int(data.train.y[0])]
    old, new = (name for name in data.classes if name != now)
    for row_old, row_new, expected, idle in ((old, new, [], True), (now, new, [0], False), (old, now, [], False)):
        write(path, (data.train.hashes[0], "", row_old, row_new, "now"))
        used = sft.corrected(data, path)
        assert changed(used, data) == expected
        assert any("not used" in note for note in used.card.notes) == idle


def test_no_file_is_no_correction(data, path):
    assert sft.corrected(data, path) is data and read_corrections(path) == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"a,b\n1,2\n", "expected image,file,old,new,when"), (b"\xff\xfe\x00", "no table of corrections")],
)
def test_a_file_that_is_no_table_of_corrections_is_refused(data, path, content, says):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        sft.corrected(data, path)


def test_corrections_that_cannot_be_used_are_refused(data, path):
    write(path, (*address(data.train, 0), data.classes[int(data.train.y[0])], "bird", "now"))
    with pytest.raises(ValueError, match="says bird; the classes are cat, dog"):
        sft.corrected(data, path)
    write(path, *((*address(data.train, i), data.classes[int(k)], "", "now") for i, k in enumerate(data.train.y)))
    with pytest.raises(ValueError, match="leave no image of the train split"):
        sft.corrected(data, path)
