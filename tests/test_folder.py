"""Anyone's own photographs: what works, what is skipped and listed, what is refused with a sentence."""

import io
import os
import shutil
import time
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from small_sets import class_folders, picture, put
from torchvision.transforms.v2 import functional as V

import sftlab as sft
from sftlab.data import read_photo, storage

SIZE = 16
PARTS = ("train", "valid", "test")
NFD = unicodedata.normalize("NFD", "café")


@pytest.fixture
def photos(tmp_path):
    """Two classes of ten different photographs."""
    return class_folders(tmp_path / "photos", {"cat": 10, "dog": 10})


@pytest.fixture
def given(tmp_path):
    """train, val and test folders of two classes with eight, three and four photographs each."""
    counts = {"train": 8, "val": 3, "test": 4}
    return class_folders(tmp_path / "given", {f"{s}/{c}": n for s, n in counts.items() for c in ("cat", "dog")})


def load(path, **options):
    return sft.load(f"folder:{path}", **{"size": SIZE, **options})


def sizes(data):
    return [len(getattr(data, name)) for name in PARTS]


def of(data, name):
    """Return the files of a split, relative to the folder that holds all."""
    part = getattr(data, name)
    root = Path(os.path.commonpath(part.files))
    return {Path(part.files[i]).relative_to(root).as_posix() for i in part.index}


# reading one photograph


def smooth():
    """A colour gradient of 90×60, the same under any resampling but for rounding."""
    y, x = np.mgrid[0:60, 0:90]
    return Image.fromarray(np.stack([x * 255 / 89, y * 255 / 59, 128 + 0 * x], axis=-1).round().astype(np.uint8))


@pytest.mark.parametrize("image", [picture(0, (90, 60)), picture(0, (60, 90)), smooth()])
def test_a_photograph_is_resized_and_cropped_as_torchvision_does(tmp_path, image):
    x = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())
    expected = V.center_crop(V.resize(x, [24], antialias=True), [24])
    found = torch.from_numpy(read_photo(put(tmp_path / "a.png", image), 24))
    assert found.dtype == torch.uint8 and found.shape == (3, 24, 24)
    assert (found.int() - expected.int()).abs().max() <= 1  # Pillow rounds between the two passes


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_says(tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    put(tmp_path / "a.jpg", smooth(), exif=exif, quality=95)
    upright = put(tmp_path / "upright.png", ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")))
    found = read_photo(tmp_path / "a.jpg", 20).astype(int)
    assert np.abs(found - read_photo(upright, 20)).max() <= 8
    plain = read_photo(put(tmp_path / "plain.jpg", smooth(), quality=95), 20)
    assert (np.abs(found - plain).max() > 50) == (turn != 1)


@pytest.mark.parametrize("block", [b"II*\x00\x08\x00\x00\x00\x05\x00\x12\x01\x03", b"garbage of an editor"])
def test_a_damaged_exif_block_does_not_cost_the_photograph(tmp_path, block):
    assert read_photo(put(tmp_path / "a.jpg", smooth(), exif=b"Exif\x00\x00" + block), 20).shape == (3, 20, 20)


def constant(mode, value):
    return Image.new(mode, (30, 20), value)


def deep(value, dtype=np.uint16):
    return Image.fromarray(np.full((20, 30), value, dtype))


@pytest.mark.parametrize(
    ("image", "ending", "colour"),
    [
        (constant("L", 77), "png", (77, 77, 77)),
        (constant("1", 1), "png", (255, 255, 255)),
        (constant("RGB", (10, 200, 30)).quantize(4), "gif", (10, 200, 30)),
        (constant("CMYK", (0, 255, 255, 0)), "tiff", (255, 0, 0)),
        (constant("CMYK", (0, 255, 255, 0)), "jpg", (254, 0, 0)),
        (constant("RGBA", (0, 0, 0, 0)), "png", (255, 255, 255)),
        (constant("RGBA", (200, 0, 0, 128)), "png", (227, 127, 127)),
        (constant("LA", (0, 128)), "png", (127, 127, 127)),
        (deep(0x8080), "png", (128, 128, 128)),
        (deep(65535), "tiff", (255, 255, 255)),
        (deep(257 * 90, np.int32), "tiff", (90, 90, 90)),
        (constant("RGB", (1, 2, 3)), "webp", (1, 2, 3)),
        (constant("RGB", (1, 2, 3)), "bmp", (1, 2, 3)),
    ],
)
def test_every_colour_mode_becomes_the_right_rgb(tmp_path, image, ending, colour):
    file = put(tmp_path / f"a.{ending}", image, **({"lossless": True} if ending == "webp" else {}))
    assert np.abs(read_photo(file, SIZE).reshape(3, -1).astype(int) - np.array(colour)[:, None]).max() <= 2


def test_a_transparent_palette_colour_becomes_white(tmp_path):
    image = constant("P", 0)
    image.putpalette([200, 0, 0])
    assert (read_photo(put(tmp_path / "a.png", image, transparency=b"\x00"), SIZE) == 255).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 12000)])
def test_an_image_of_one_pixel_and_a_thin_strip_work(tmp_path, shape):
    found = read_photo(put(tmp_path / "a.png", picture(0, shape)), 224)
    assert found.shape == (3, 224, 224) and (shape != (1, 1) or np.ptp(found.reshape(3, -1), axis=1).max() == 0)


@pytest.mark.parametrize(("ending", "how"), [("jpg", {}), ("png", {"compress_level": 1})])
def test_an_image_of_12000_pixels_works_and_leaves_the_warning_filters_alone(tmp_path, ending, how):
    file = put(tmp_path / f"a.{ending}", Image.new("L", (12000, 12000), 99), **how)
    before = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    assert (read_photo(file, SIZE) == 99).all()
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before


def test_a_large_jpeg_is_not_decoded_at_full_size(tmp_path, monkeypatch):
    seen, to_square = [], sft.data.folder.to_square
    monkeypatch.setattr(sft.data.folder, "to_square", lambda image, *a: seen.append(image.size) or to_square(image, *a))
    read_photo(put(tmp_path / "a.jpg", picture(0, (2000, 1600))), 100)
    assert seen == [(200, 250)]


def sixteen_bits_a_colour(highest):
    """Return the bytes of a PNG with 16 bits a channel, which Pillow can read and not write."""
    import struct
    import zlib

    values = np.linspace(0, highest, 8 * 8 * 3).astype(">u2").reshape(8, 24)
    parts = [b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0),
             b"IDAT" + zlib.compress(b"".join(b"\0" + row.tobytes() for row in values)), b"IEND"]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def files_of(image, ending, part=slice(None)):
    buffer = io.BytesIO()
    image.save(buffer, ending)
    return buffer.getvalue()[part]


PNG = files_of(picture(), "png")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.jpg", b"not a picture", "not a picture in a format"),
        ("empty.png", b"", "empty"),
        ("phone.HEIC", b"\x00\x00\x00\x18ftypheic", "export it as JPEG"),
        ("cut.jpg", files_of(picture(), "jpeg", slice(400)), "cut short"),
        ("cut.png", PNG[: len(PNG) // 2], "cut short"),
        ("broken.png", PNG[:60] + bytes(140) + PNG[200:], "damaged"),
        ("bomb.png", files_of(Image.new("1", (14000, 14000)), "png"), "179 million pixels"),
        ("science.tiff", files_of(deep(1e6, np.float32), "tiff"), "8 bits a channel"),
        ("negative.tiff", files_of(deep(-5, np.int32), "tiff"), "8 bits a channel"),
        ("twelve.png", files_of(deep(3000), "png"), "8 bits a channel"),
        ("twelve_rgb.png", sixteen_bits_a_colour(4095), "8 bits a channel"),
        ("document.pcx", files_of(picture(), "pcx"), "not a picture in a format"),  # formats that run programs stay out
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_is_no_picture_is_refused_with_the_reason(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=says):
        read_photo(tmp_path / name, SIZE)


def test_a_missing_photograph_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no photograph at"):
        read_photo(tmp_path / "nothing.jpg", SIZE)
    with pytest.raises(ValueError, match="a folder"):
        read_photo(tmp_path, SIZE)


def test_a_colour_picture_that_uses_its_16_bits_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(sixteen_bits_a_colour(65535))
    assert read_photo(tmp_path / "a.png", 8).max() == 255


# folders of classes


def test_class_folders_become_three_splits(photos):
    data = load(photos)
    assert data.classes == ["cat", "dog"] and data.card.skipped == {} and sizes(data) == [12, 4, 4]
    assert data.train.images.shape == (20, 3, SIZE, SIZE) and data.train.images.dtype == np.uint8
    for i in data.train.index:
        assert data.classes[data.train.targets[i]] in data.train.files[i]
        assert np.array_equal(data.train.images[i], read_photo(data.train.files[i], SIZE))


def test_the_order_does_not_depend_on_the_file_system(photos, monkeypatch):
    expected, iterdir = load(photos), type(photos).iterdir
    monkeypatch.setattr(type(photos), "iterdir", lambda self: sorted(iterdir(self), reverse=True))
    again = load(photos)
    assert again.train.files == expected.train.files and again.test.hashes == expected.test.hashes


def test_a_picture_goes_by_its_file_whatever_the_size(photos):
    small, large = load(photos), load(photos, size=20)
    assert small.test.ids == large.test.ids and not set(small.test.hashes) & set(large.test.hashes)


def test_names_in_any_script_work(tmp_path):
    names = ["裂纹", "完好", "grün ö", "$5 ^2"]
    data = load(class_folders(tmp_path, dict.fromkeys(names, 4)))
    assert data.classes == sorted(names) and sizes(data) == [8, 4, 4]


@pytest.mark.parametrize("twin", [NFD, "café ", f" {NFD}"])
def test_two_spellings_of_a_name_are_one_class(tmp_path, twin):
    counts = {f"{split}/{name}": 4 for split, name in (("train", "café"), ("test", twin))}
    assert load(class_folders(tmp_path, counts | {"train/tea": 4, "test/tea": 4})).classes == ["café", "tea"]
    beside = load(class_folders(tmp_path / "beside", {"café": 4, twin: 4, "tea": 4}))
    assert beside.classes == ["café", "tea"] and len(beside.train.images) == 12


def test_names_that_only_capitals_tell_apart_are_said_to_be_probably_one(tmp_path):
    data = load(class_folders(tmp_path, {"Ants": 3, "ants": 3, "bees": 3}))
    assert "Ants and ants are probably one class" in " ".join(data.card.notes)


def test_litter_is_ignored_and_nested_folders_and_uppercase_endings_are_read(photos):
    for name in (".DS_Store", "cat/Thumbs.db", "cat/.hidden.png", "cat/desktop.ini", "dog/._1.png"):
        (photos / name).write_bytes(b"x")
    (photos / ".git").mkdir()
    put(photos / "__MACOSX" / "cat" / "1.png")
    put(photos / "cat" / "holiday" / "2024" / "A.PNG")
    put(photos / "cat" / "B.JPEG")
    data = load(photos)
    assert data.classes == ["cat", "dog"] and data.card.skipped == {}
    assert len(data.train.files) == 22 and any(file.endswith("A.PNG") for file in data.train.files)


def test_unreadable_files_are_skipped_counted_and_listed(photos):
    for name, content in {"cat/notes.jpg": "text", "dog/labels.csv": "a,b", "dog/empty.png": ""}.items():
        (photos / name).write_text(content)
    put(photos / "stray.png")
    data = load(photos)
    assert set(data.card.skipped) == {"cat/notes.jpg", "dog/labels.csv", "dog/empty.png", "stray.png"}
    assert data.card.skipped["stray.png"] == "in no class folder" and len(data.train.images) == 20
    assert "4 files could not be used" in str(data.card) and "dog/empty.png: the file is empty" in str(data.card)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_class_needs_an_image_for_each_split(photos, n):
    class_folders(photos, {"rare": n})
    if n == 3:
        assert [counts["rare"] for counts in load(photos).card.counts.values()] == [1, 1, 1]
    else:
        with pytest.raises(ValueError, match=f"'rare' has {n} different image"):
            load(photos)


def nothing(root):
    """Leave a folder as it is."""


@pytest.mark.parametrize(
    ("change", "path", "options", "error", "says"),
    [
        (nothing, "nowhere", {}, FileNotFoundError, "no folder"),
        (nothing, "cat/1.png", {}, NotADirectoryError, "is a file"),
        (lambda root: (root / "set.zip").touch(), "set.zip", {}, NotADirectoryError, "unpack it"),
        (lambda root: put(root / "in" / "x.png") and (root / "in/set.tar").touch(), "in", {}, ValueError, "unpack"),
        (nothing, "cat", {}, ValueError, r"no class folders.*name .*photos\)"),
        (nothing, "", {"test": 1.5}, ValueError, "leave something"),
        (nothing, "", {"classes": ["cat", "cow"]}, ValueError, "cow"),
        (lambda root: (root / "bird").mkdir(), "", {}, ValueError, "class bird; add"),
        (lambda root: (root / "bird").mkdir() or (root / "bird/a.jpg").touch(), "", {}, ValueError, "bird/a.jpg: the"),
        (lambda root: shutil.rmtree(root / "dog"), "", {}, ValueError, "one class, cat"),
    ],
)
def test_what_is_no_data_set_is_refused_with_a_sentence(photos, change, path, options, error, says):
    change(photos)
    with pytest.raises(error, match=says):
        load(photos / path, **options)


def test_a_path_without_folder_and_a_folder_without_a_path_are_told_apart(photos):
    with pytest.raises(ValueError, match=f"mean 'folder:{photos}'"):
        sft.load(str(photos))
    with pytest.raises(ValueError, match="needs a path"):
        sft.load("folder:")


def test_a_folder_that_may_not_be_opened_is_a_sentence(photos, monkeypatch):
    iterdir = type(photos).iterdir

    def forbid(self):
        if self.name == "dog":
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(type(photos), "iterdir", forbid)
    with pytest.raises(PermissionError, match="dog may not be opened; get the right"):
        load(photos)


def test_pictures_in_two_classes_are_left_out_and_listed_and_copies_stay_in_one_split(photos):
    shutil.copy(photos / "cat" / "3.png", photos / "dog" / "same.png")
    shutil.copy(photos / "cat" / "4.png", photos / "cat" / "copy.png")
    for seed in range(3):
        data = load(photos, seed=seed)
        assert (
            data.card.skipped.keys() == {"cat/3.png", "dog/same.png"} and "dog/same" in data.card.skipped["cat/3.png"]
        )
        files = [of(data, part) for part in PARTS]
        assert len(set.union(*files)) == 20 and not set.union(*files) & {"cat/3.png", "dog/same.png"}
        assert sum({"cat/4.png", "cat/copy.png"} <= part for part in files) == 1
    assert (
        "4 files hold 2 pictures" in data.card.notes[0]
        and "2 files hold pictures that lie in two" in data.card.notes[1]
    )


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_picture_is_read_once_wherever_links_lead(photos):
    for name in ("cat/round", "cat/again", "dog/round"):
        (photos / name).symlink_to(photos, target_is_directory=True)
    (photos / "cat" / "deep").mkdir()
    (photos / "cat" / "deep" / "up").symlink_to(photos / "cat", target_is_directory=True)
    (photos / "cat" / "twin.png").symlink_to(photos / "cat" / "0.png")
    (photos / "dog" / "gone.png").symlink_to(photos / "gone.png")
    data = load(photos)
    assert len(data.train.files) == 20 and data.card.skipped.keys() == {"dog/gone.png"}


def test_groups_keep_what_belongs_together_in_one_split(photos):
    for seed in range(3):
        data = load(photos, groups=lambda name: name.split("/")[1][0], seed=seed)
        digits = [{Path(name).name[0] for name in of(data, part)} for part in PARTS]
        assert sum(map(len, digits)) == 10 and "grouped" in data.card.split


def test_many_photographs_live_in_a_scratch_file(photos, monkeypatch, tmp_path):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path / "kept"))
    expected = load(photos)
    monkeypatch.setattr(storage, "IN_MEMORY", 1000)
    data = load(photos)
    assert isinstance(data.train.images, np.memmap) and data.test.hashes == expected.test.hashes
    assert torch.equal(data.test.pixels(np.arange(4)), expected.test.pixels(np.arange(4)))


def test_per_class_thins_train_of_a_folder_only(photos):
    assert load(photos, per_class=2).card.counts["train"] == {"cat": 2, "dog": 2}
    assert load(photos, per_class=2).test.hashes == load(photos).test.hashes


# files of more than 8 bits


@pytest.mark.parametrize(
    ("highest", "white", "dtype", "ending"),
    [
        (1000, 1023, np.uint16, "png"),
        (4000, 4095, np.uint16, "tiff"),
        (16000, 16383, np.uint16, "png"),
        (60000, 65535, np.uint16, "png"),
        (250, 255, np.int32, "tiff"),
        (255, 255, np.float32, "tiff"),
        (1, 1, np.float32, "tiff"),
    ],
)
def test_deep_pictures_are_scaled_by_what_the_set_holds_and_asked_about_so(tmp_path, highest, white, dtype, ending):
    """A dark picture of the set stays dark: the set decides, not the picture."""
    for name, share in (("dark", 0.1), ("light", 1.0)):
        for i in range(6):
            values = np.linspace(0, share * highest - i * share * highest / 50, 400).reshape(20, 20)
            put(tmp_path / "set" / name / f"{i}.{ending}", Image.fromarray(values.astype(dtype)))
    put(tmp_path / "set" / "light" / "plain.png")
    data = load(tmp_path / "set", size=20)
    assert data.card.white == white and f"no value is above {white}" in " ".join(data.card.notes)
    for file, pixels in zip(data.train.files, data.train.images, strict=True):
        expected = np.asarray(Image.open(file), dtype=float) * (255 / white if "plain" not in file else 1)
        if "plain" not in file:
            assert np.abs(pixels - expected).max() <= 0.51
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    sft.fit(model, data, sft.linear_probe(model), epochs=1, verbose=False)
    for place in (model, sft.save(model, tmp_path / "m.safetensors", data=data)):
        asked = {one.file: one for one in sft.predict(place, tmp_path / "set", size=20)}
        for file, p in zip(
            [data.test.files[i] for i in data.test.index], sft.predict_split(model, data.test), strict=True
        ):
            assert list(asked[file].probabilities.values()) == pytest.approx(p, abs=1e-6)


def test_a_deep_picture_brighter_than_the_set_is_refused_not_cut_off(tmp_path):
    with pytest.raises(ValueError, match="expected 0 to 4095"):
        read_photo(put(tmp_path / "a.png", deep(5000)), SIZE, 4095)


# folders of splits


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "valid", "test"),
        ("TRAIN", "Val", "Test"),
        ("training", "validation", "testing"),
        ("training_set", "", "test_set"),
        ("Train Data", "", "Testing Data"),
        ("train", "dev", "tst"),
        ("TrainingSet", "Validation-Images", "TestSet"),
        ("seg_train/seg_train", "", "seg_test/seg_test"),
        ("trainset", "valset", "testdata"),
        ("01.train", "02.val", "03.test"),
    ],
)
def test_folders_with_the_usual_names_are_splits_whatever_case_and_separator(tmp_path, train, valid, test):
    names = {train: 8, valid: 3, test: 4}
    counts = {f"{folder}/{c}": n for folder, n in names.items() for c in ("cat", "dog") if folder}
    data = load(class_folders(tmp_path, counts))
    assert data.classes == ["cat", "dog"] and all(name.startswith(f"{test}/") for name in of(data, "test"))
    assert sizes(data) == ([16, 6, 8] if valid else [14, 2, 8])
    assert data.card.split.startswith("as the folders are") and ("drawn" in data.card.split) == (not valid)


@pytest.mark.parametrize("top", [("A", "B"), ("fold 1", "fold 2", "fold 3"), ("train", "extra"), ("test", "final")])
def test_folders_that_hold_the_same_folders_under_other_names_are_asked_about(tmp_path, top):
    root = class_folders(tmp_path, {f"{folder}/{c}": 4 for folder in top for c in ("cat", "dog")})
    with pytest.raises(ValueError, match=r"same folders \(cat, dog\): splits"):
        load(root)
    assert load(root, classes=top[::-1]).classes == list(top[::-1])


@pytest.mark.parametrize(
    "counts",
    [
        {"train": 3, "bus": 3, "tram": 3},
        {"test tube": 3, "beaker": 3},
        {"cat/images": 3, "dog/images": 3},
        {"cat/mon": 2, "cat/tue": 2, "dog/tue": 4, "dog/wed": 4},
    ],
)
def test_names_like_those_of_splits_and_folders_below_classes_are_no_splits(tmp_path, counts):
    data = load(class_folders(tmp_path, counts))
    assert data.classes == sorted({name.partition("/")[0] for name in counts})


@pytest.mark.parametrize("wrap", ["archive", "archive/data (1)", "train", "my.photos/__x/y"])
def test_a_folder_that_only_wraps_another_is_stepped_into_and_said(tmp_path, wrap):
    class_folders(tmp_path / wrap, {"cat": 5, "dog": 5})
    class_folders(tmp_path / "__MACOSX" / wrap, {"cat": 5})
    (tmp_path / "README.txt").touch()
    data = load(tmp_path)
    assert data.classes == ["cat", "dog"] and data.card.source.endswith(f"in it {wrap}")
    assert data.card.name == tmp_path.name


@pytest.mark.parametrize(
    ("missing", "expected", "says"),
    [
        (["val"], [14, 2, 8], "valid drawn from train"),
        (["test"], [12, 6, 4], "test drawn from train"),
        (["val", "test"], [10, 2, 4], "random"),
    ],
)
def test_a_split_without_a_folder_is_drawn_from_train(given, missing, expected, says):
    for name in missing:
        shutil.rmtree(given / name)
    data = load(given)
    assert sizes(data) == expected and says in data.card.split
    assert all(set(data.card.counts[p].values()) == {n // 2} for p, n in zip(PARTS, expected, strict=True))


def test_a_number_measured_on_a_test_drawn_from_train_says_so_beside_it(given):
    shutil.rmtree(given / "test")
    data = load(given)
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    assert "measure on those in val, rename it to test" in str(sft.evaluate(model, data.test))
    (given / "val").rename(given / "test")
    assert "rename" not in str(sft.evaluate(model, load(given).test))


def test_a_test_folder_without_classes_is_no_test(given):
    shutil.rmtree(given / "test")
    put(given / "test" / "1.png")
    data = load(given)
    assert "test drawn from train" in data.card.split and data.card.skipped == {"test/1.png": "in no class folder"}


def test_a_picture_of_train_that_is_in_test_as_well_is_dropped_and_listed(given):
    shutil.copy(given / "test" / "cat" / "1.png", given / "train" / "cat" / "leak.png")
    shutil.copy(given / "val" / "dog" / "1.png", given / "train" / "dog" / "leak.png")
    shutil.copy(given / "test" / "dog" / "0.png", given / "val" / "dog" / "leak.png")
    data = load(given)
    assert sizes(data) == [16, 6, 8]
    leaks = {"train/cat/leak.png": "test", "train/dog/leak.png": "valid", "val/dog/leak.png": "test"}
    assert data.card.skipped == {name: f"the same picture is in {where}" for name, where in leaks.items()}


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (nothing, {"groups": str}, "groups= has no use"),
        (lambda root: put(root / "test" / "bird" / "0.png"), {}, "train has no usable photograph of the class bird"),
        (lambda root: class_folders(root, {"validation/cat": 1}), {}, "validation; expected one folder each"),
        (
            lambda root: class_folders(root, {"spare/cat": 1}),
            {},
            "spare, test, train, val; expected one",
        ),
        (
            lambda root: [shutil.rmtree(root / s / c) for s in PARTS[::2] for c in ("cat", "dog")],
            {},
            "no class folders",
        ),
    ],
)
def test_given_splits_that_cannot_be_used_are_refused_with_a_sentence(given, change, options, says):
    change(given)
    with pytest.raises(ValueError, match=says):
        load(given, **options)


def test_a_class_that_a_given_split_lacks_is_noted(given):
    class_folders(given, {"test/bird": 1, "train/bird": 1})
    assert any("valid has no image of bird" in note for note in load(given).card.notes)


def test_stray_pictures_above_the_class_folders_are_listed(given):
    put(given / "train" / "loose.png")
    assert load(given).card.skipped == {"train/loose.png": "in no class folder"}


def test_reading_is_the_same_in_a_thread_and_while_others_warn(tmp_path, monkeypatch):
    file = put(tmp_path / "a.png", Image.new("L", (9500, 9500), 3), compress_level=1)
    entered, most, original = [], 0, Image.open

    def slowly(*args, **options):
        nonlocal most
        entered.append(1)
        most = max(most, len(entered))
        time.sleep(0.02)
        entered.pop()
        return original(*args, **options)

    monkeypatch.setattr(Image, "open", slowly)
    with ThreadPoolExecutor(4) as pool:
        assert all((x == 3).all() for x in pool.map(lambda _: read_photo(file, 8), range(4)))
    assert not entered and most == 1
    with pytest.raises(Image.DecompressionBombWarning):  # the guard above is what kept it quiet
        Image.open(io.BytesIO(file.read_bytes()))
