"""Anyone's own photographs: what works, what is skipped and listed, what is refused with a sentence."""

import io
import os
import shutil
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as V

import sftlab as sft
from sftlab.data import folder as folder_module
from sftlab.data import read_photo, storage
from sftlab.data.folder import load_folder

SIZE = 16
PARTS = ("train", "valid", "test")


def picture(seed, shape=(24, 20)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def put(path, seed=None, **options):
    """Write one picture of noise; another name is another picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(zlib.crc32(str(path).encode()) if seed is None else seed).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    """Two classes of ten different photographs."""
    for k, name in enumerate(("cat", "dog")):
        for i in range(10):
            put(tmp_path / "photos" / name / f"{i}.png", 100 * k + i)
    return tmp_path / "photos"


def load(path, **options):
    return sft.load(f"folder:{path}", **{"size": SIZE, **options})


def smooth():
    """A colour gradient of 90×60, the same under any resampling but for rounding."""
    y, x = np.mgrid[0:60, 0:90]
    return Image.fromarray(np.stack([x * 255 / 89, y * 255 / 59, 128 + 0 * x], axis=-1).round().astype(np.uint8))


# reading one photograph


def test_a_photograph_is_resized_and_cropped_as_torchvision_does(tmp_path):
    for image in (picture(0, (90, 60)), picture(0, (60, 90)), smooth()):
        image.save(tmp_path / "a.png")
        x = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())
        expected = V.center_crop(V.resize(x, [24], antialias=True), [24])
        got = torch.from_numpy(read_photo(tmp_path / "a.png", 24))
        assert got.dtype == torch.uint8 and got.shape == (3, 24, 24)
        assert (got.int() - expected.int()).abs().max() <= 1  # Pillow rounds between the two passes


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_says(tmp_path, turn):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = turn
    smooth().save(tmp_path / "a.jpg", exif=exif, quality=95)
    turned = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    turned.save(tmp_path / "upright.png")
    got = read_photo(tmp_path / "a.jpg", 20).astype(int)
    assert np.abs(got - read_photo(tmp_path / "upright.png", 20)).max() <= 8
    if turn != 1:
        smooth().save(tmp_path / "plain.jpg", quality=95)
        assert np.abs(got - read_photo(tmp_path / "plain.jpg", 20)).max() > 50


@pytest.mark.parametrize("block", [b"II*\x00\x08\x00\x00\x00\x05\x00\x12\x01\x03", b"garbage of an editor"])
def test_a_damaged_exif_block_does_not_cost_the_photograph(tmp_path, block):
    smooth().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00" + block)
    assert read_photo(tmp_path / "a.jpg", 20).shape == (3, 20, 20)


def constant(mode, value):
    return Image.new(mode, (30, 20), value)


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
        (Image.fromarray(np.full((20, 30), 0x8080, np.uint16)), "png", (128, 128, 128)),
        (Image.fromarray(np.full((20, 30), 65535, np.uint16)), "tiff", (255, 255, 255)),
        (Image.fromarray(np.full((20, 30), 257 * 9, np.int32)), "tiff", (9, 9, 9)),
        (constant("RGB", (1, 2, 3)), "webp", (1, 2, 3)),
        (constant("RGB", (1, 2, 3)), "bmp", (1, 2, 3)),
    ],
)
def test_every_colour_mode_becomes_the_right_rgb(tmp_path, image, ending, colour):
    image.save(tmp_path / f"a.{ending}", **({"lossless": True} if ending == "webp" else {}))
    got = read_photo(tmp_path / f"a.{ending}", SIZE)
    assert np.abs(got.reshape(3, -1).astype(int) - np.array(colour)[:, None]).max() <= 2


def test_a_transparent_palette_colour_becomes_white(tmp_path):
    image = constant("P", 0)
    image.putpalette([200, 0, 0])
    image.save(tmp_path / "a.png", transparency=b"\x00")
    assert (read_photo(tmp_path / "a.png", SIZE) == 255).all()


def test_an_image_of_one_pixel_and_a_thin_strip_work(tmp_path):
    picture(0, (1, 1)).save(tmp_path / "one.png")
    got = read_photo(tmp_path / "one.png", 224)
    assert got.shape == (3, 224, 224) and len(np.unique(got.reshape(3, -1), axis=1).T) == 1
    picture(0, (1, 12000)).save(tmp_path / "strip.png")
    assert read_photo(tmp_path / "strip.png", 224).shape == (3, 224, 224)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_an_image_of_12000_pixels_works_and_leaves_the_warning_filters_alone(tmp_path, ending):
    Image.new("L", (12000, 12000), 99).save(
        tmp_path / f"a.{ending}", **({"compress_level": 1} if ending == "png" else {})
    )
    before = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    assert (read_photo(tmp_path / f"a.{ending}", SIZE) == 99).all()
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before


def test_a_large_jpeg_is_not_decoded_at_full_size(tmp_path, monkeypatch):
    picture(0, (2000, 1600)).save(tmp_path / "a.jpg")
    seen = []
    to_square = sft.data.folder.to_square
    monkeypatch.setattr(sft.data.folder, "to_square", lambda image, *a: seen.append(image.size) or to_square(image, *a))
    read_photo(tmp_path / "a.jpg", 100)
    assert seen == [(200, 250)]


def test_what_is_no_picture_is_refused_with_the_reason(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "phone.HEIC").write_bytes(b"\x00\x00\x00\x18ftypheic")
    whole = put(tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    png = put(tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(png[: len(png) // 2])
    broken = bytearray(png)
    broken[60:200] = bytes(140)
    (tmp_path / "broken.png").write_bytes(broken)
    Image.new("1", (14000, 14000)).save(tmp_path / "bomb.png")
    Image.fromarray(np.full((9, 9), 1e6, np.float32)).save(tmp_path / "science.tiff")
    picture(0).save(tmp_path / "document.pcx")  # Pillow could; but formats that run programs are kept out
    for name, says in {
        "text.jpg": "not a picture in a format", "empty.png": "the file is empty",
        "phone.HEIC": "export it as JPEG", "cut.jpg": "damaged or cut short",
        "cut.png": "damaged or cut short",
        "broken.png": "damaged or cut short", "bomb.png": "more than 179 million pixels",
        "science.tiff": "save it with 8 or 16 bits", ".": "a folder",
        "document.pcx": "not a picture in a format",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=says):
            read_photo(tmp_path / name, SIZE)
    with pytest.raises(FileNotFoundError, match="no photograph at"):
        read_photo(tmp_path / "nothing.jpg", SIZE)


# folders of classes


def test_class_folders_become_three_splits(photos):
    data = load(photos)
    assert data.classes == ["cat", "dog"] and data.card.skipped == {}
    assert {k: sum(v.values()) for k, v in data.card.counts.items()} == {"train": 12, "valid": 4, "test": 4}
    assert data.train.images.shape == (20, 3, SIZE, SIZE) and data.train.images.dtype == np.uint8
    for i in data.train.index:
        file = data.train.files[i]
        assert data.classes[data.train.targets[i]] in file
        assert np.array_equal(data.train.images[i], read_photo(file, SIZE))


def test_the_order_does_not_depend_on_the_file_system(photos, monkeypatch):
    expected = load(photos)
    iterdir = type(photos).iterdir
    monkeypatch.setattr(type(photos), "iterdir", lambda self: sorted(iterdir(self), reverse=True))
    again = load(photos)
    assert again.train.files == expected.train.files and again.test.hashes == expected.test.hashes


def test_names_in_any_script_work(tmp_path):
    for name in ("裂纹", "完好", "grün ö"):
        for i in range(4):
            put(tmp_path / name / f"照片 {i} é.png")
    data = load(tmp_path)
    assert data.classes == sorted(["裂纹", "完好", "grün ö"]) and len(data.train) == 6


def test_a_name_stored_in_two_ways_is_one_class(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for split, name in (("train", composed), ("test", decomposed)):
        for i in range(4):
            put(tmp_path / split / name / f"{i}.png")
            put(tmp_path / split / "tea" / f"{i}.png")
    assert load(tmp_path).classes == [composed, "tea"]


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
    (photos / "cat" / "notes.jpg").write_text("text")
    (photos / "dog" / "labels.csv").write_text("a,b")
    (photos / "dog" / "empty.png").touch()
    put(photos / "stray.png")
    data = load(photos)
    assert set(data.card.skipped) == {"cat/notes.jpg", "dog/labels.csv", "dog/empty.png", "stray.png"}
    assert data.card.skipped["stray.png"] == "in no class folder"
    assert "4 files could not be used" in str(data.card) and "dog/empty.png: the file is empty" in str(data.card)
    assert len(data.train.images) == 20


def test_three_images_a_class_give_one_to_each_split(tmp_path):
    for name in "ab":
        for i in range(3):
            put(tmp_path / name / f"{i}.png")
    assert load(tmp_path).card.counts == {part: {"a": 1, "b": 1} for part in PARTS}


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_images_of_a_class_are_refused_with_the_count(photos, n):
    for i in range(n):
        put(photos / "rare" / f"{i}.png")
    with pytest.raises(ValueError, match=f"'rare' has {n} different images?; 3 splits need at least 3 of each"):
        load(photos)


def test_an_image_of_one_pixel_in_a_folder_works(photos):
    picture(5, (1, 1)).save(photos / "cat" / "dot.png")
    assert len(load(photos).train.images) == 21


def test_what_is_no_data_set_is_refused_with_a_sentence(tmp_path, photos):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; expected one with a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is a file; expected a folder"):
        load(photos / "cat" / "1.png")
    with pytest.raises(ValueError, match="'folder:' needs a path"):
        sft.load("folder:")
    with pytest.raises(ValueError, match="has no class folders"):
        load(photos / "cat")
    with pytest.raises(ValueError, match="leave something for train"):
        load(photos, test=1.5)
    (photos / "bird").mkdir()
    with pytest.raises(ValueError, match="no usable photograph of the class bird; add some"):
        load(photos)
    (photos / "bird" / "a.jpg").write_text("text")
    with pytest.raises(ValueError, match=r"class bird \(1 skipped, such as bird/a.jpg: not a picture"):
        load(photos)
    shutil.rmtree(photos / "bird")
    shutil.rmtree(photos / "dog")
    with pytest.raises(ValueError, match="has one class, cat; classifying needs"):
        load(photos)


def test_a_picture_in_two_classes_is_reported_and_stays_in_one_split(photos):
    shutil.copy(photos / "cat" / "3.png", photos / "dog" / "same.png")
    shutil.copy(photos / "cat" / "4.png", photos / "cat" / "copy.png")
    for seed in range(4):
        data = load(photos, seed=seed)
        notes = " ".join(data.card.notes)
        assert "conflicting labels: the same picture is cat/3.png, dog/same.png" in notes
        assert "4 files hold 2 pictures" in notes and notes.count("conflicting") == 1
        assert len(set.union(*[set(getattr(data, p).hashes) for p in PARTS])) == 20


def test_groups_keep_what_belongs_together_in_one_split(photos):
    for seed in range(3):
        data = load(photos, groups=lambda name: name.split("/")[1][0], seed=seed)
        digits = [{Path(data.train.files[i]).name[0] for i in getattr(data, p).index} for p in PARTS]
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


# folders of splits


@pytest.fixture
def given(tmp_path):
    """train, val and test folders of two classes with eight, three and four photographs each."""
    for split, n in (("train", 8), ("val", 3), ("test", 4)):
        for name in ("cat", "dog"):
            for i in range(n):
                put(tmp_path / "given" / split / name / f"{i}.png")
    return tmp_path / "given"


def of(data, name):
    part = getattr(data, name)
    root = Path(os.path.commonpath(part.files))
    return {Path(part.files[i]).relative_to(root).as_posix() for i in part.index}


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_given_splits_stay_as_they_are(given, name):
    (given / "val").rename(given / name)
    data = load(given)
    assert [len(getattr(data, p)) for p in PARTS] == [16, 6, 8]
    assert of(data, "valid") == {f"{name}/{c}/{i}.png" for c in ("cat", "dog") for i in range(3)}
    assert data.card.split == "as the folders are" and data.classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("missing", "sizes", "says"),
    [
        (["val"], [14, 2, 8], "valid drawn from train"),
        (["test"], [12, 6, 4], "test drawn from train"),
        (["val", "test"], [10, 2, 4], "valid and test drawn from train"),
    ],
)
def test_a_split_without_a_folder_is_drawn_from_train(given, missing, sizes, says):
    for name in missing:
        shutil.rmtree(given / name)
    data = load(given)
    assert [len(getattr(data, p)) for p in PARTS] == sizes and says in data.card.split
    if "test" not in missing:
        assert all(name.startswith("test") for name in of(data, "test"))
    assert all(set(data.card.counts[p].values()) == {sizes[i] // 2} for i, p in enumerate(PARTS))


def test_a_picture_of_train_that_is_in_test_as_well_is_dropped_and_listed(given):
    shutil.copy(given / "test" / "cat" / "1.png", given / "train" / "cat" / "leak.png")
    shutil.copy(given / "val" / "dog" / "1.png", given / "train" / "dog" / "leak.png")
    shutil.copy(given / "test" / "dog" / "0.png", given / "val" / "dog" / "leak.png")
    data = load(given)
    assert [len(getattr(data, p)) for p in PARTS] == [16, 6, 8]
    assert data.card.skipped == {
        "train/cat/leak.png": "the same picture is in test",
        "train/dog/leak.png": "the same picture is in valid",
        "val/dog/leak.png": "the same picture is in test",
    }  # fmt: skip


def test_given_splits_that_cannot_be_used_are_refused_with_a_sentence(given):
    with pytest.raises(ValueError, match="groups= has no use where folders name the splits"):
        load(given, groups=str)
    put(given / "test" / "bird" / "0.png")
    with pytest.raises(ValueError, match="train has no usable photograph of the class bird"):
        load(given)
    put(given / "train" / "bird" / "0.png")
    data = load(given)
    assert any("valid has no image of bird" in note for note in data.card.notes)
    put(given / "validation" / "cat" / "0.png")
    with pytest.raises(ValueError, match="val and validation: two folders for one split"):
        load(given)
    (given / "validation").rename(given / "spare")
    with pytest.raises(ValueError, match="has spare beside its splits"):
        load(given)


def test_stray_pictures_above_the_class_folders_are_listed(given):
    put(given / "train" / "loose.png")
    assert load(given).card.skipped == {"train/loose.png": "in no class folder"}


def test_a_class_named_train_is_a_class(tmp_path):
    for name in ("train", "bus", "tram"):
        for i in range(3):
            put(tmp_path / name / f"{i}.png")
    assert load(tmp_path).classes == ["bus", "train", "tram"]


def test_predict_reads_photographs_in_the_same_way(photos):
    data = load_folder(photos, size=SIZE)
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    (photos / "bad.jpg").write_text("text")
    good, bad = sft.predict(model, [photos / "cat" / "1.png", photos / "bad.jpg"], size=SIZE)
    x = torch.from_numpy(read_photo(photos / "cat" / "1.png", SIZE))[None]
    with torch.no_grad():
        expected = model.eval()(x).softmax(1)[0]
    assert torch.allclose(torch.tensor(list(good.probabilities.values())), expected, atol=1e-6)
    assert "not a picture" in bad.error and not bad.label
    assert folder_module.read_photo is read_photo


def test_reading_is_the_same_in_a_thread_and_while_others_warn(tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    Image.new("L", (9500, 9500), 3).save(tmp_path / "a.png", compress_level=1)
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
        assert all((x == 3).all() for x in pool.map(lambda _: read_photo(tmp_path / "a.png", 8), range(4)))
    assert not entered and most == 1
    buffer = io.BytesIO((tmp_path / "a.png").read_bytes())
    with pytest.raises(Image.DecompressionBombWarning):  # the guard above is what kept it quiet
        Image.open(buffer)
