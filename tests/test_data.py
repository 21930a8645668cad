"""Splits, batches, named sets, arrays and data sets: what the data room promises."""

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchvision.transforms import v2

import sftlab as sft
from sftlab.data import (
    batch_positions,
    dataset,
    flip,
    near_duplicates,
    resize,
    rotate,
    shift,
    storage,
    turn,
)
from sftlab.data.dataset import with_targets
from sftlab.data.load import MODULES, module_blocks
from sftlab.data.splits import assemble, check_disjoint, draw, drop_copies

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (120, 3, 12, 12), dtype=np.uint8)
LABELS = np.arange(120) % 3
RARE = np.arange(120) // 118
PARTS = ("train", "valid", "test")


@pytest.fixture
def data():
    return sft.from_arrays(IMAGES, LABELS)


@pytest.fixture(scope="module")
def solar():
    return sft.load("solar", size=32)


def parts(data):
    return [getattr(data, name) for name in PARTS]


def apart(sets):
    """Tell whether no two of these sets share anything."""
    return sum(map(len, sets)) == len(set.union(*sets))


# splits


def test_every_image_is_in_exactly_one_split(data):
    hashes = [set(part.hashes) for part in parts(data)]
    assert apart(hashes) and len(set.union(*hashes)) == 120


def test_the_same_seed_splits_the_same_way_and_another_seed_does_not(data):
    assert sft.from_arrays(IMAGES, LABELS).test.hashes == data.test.hashes
    assert sft.from_arrays(IMAGES, LABELS, seed=1).test.hashes != data.test.hashes


def test_each_class_keeps_its_share_in_every_split():
    data = sft.from_arrays(IMAGES, np.repeat([0, 1, 1, 1], 30), valid=0.2, test=0.3)
    assert [list(counts.values()) for counts in data.card.counts.values()] == [[15, 45], [6, 18], [9, 27]]
    assert data.card.majority == 0.75


@pytest.mark.parametrize("n", [3, 4, 7])
@pytest.mark.parametrize("shares", [(0.15, 0.25), (0.3, 0.6), (0.05, 0.05)])
def test_a_rare_class_is_in_every_split(n, shares):
    strata = ["rare"] * n + ["common"] * 200
    for seed in range(5):
        rows = draw(np.arange(len(strata)), strata, [str(i) for i in range(len(strata))], shares, seed)
        assert all((part < n).any() for part in rows)
        assert sorted(np.concatenate(rows)) == list(range(len(strata)))


def test_a_class_with_fewer_than_three_different_images_is_refused_with_its_count():
    with pytest.raises(ValueError, match="'rare' has 2 different images"):
        draw(np.arange(12), ["rare"] * 3 + ["common"] * 9, ["a", "a", "b", *map(str, range(9))], (0.25, 0.15), 0)


def test_copies_of_one_image_stay_together():
    data = sft.from_arrays(np.concatenate([IMAGES] * 3), np.concatenate([LABELS] * 3))
    assert all(set(Counter(part.hashes).values()) == {3} for part in parts(data))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("each", "y", "shares"), [(7, LABELS, (0.15, 0.25)), (40, LABELS, (0.3, 0.5)), (5, RARE, (0.15, 0.25))]
)
def test_no_group_is_torn_apart_and_no_split_is_empty(each, y, shares, seed):
    groups = np.arange(120) // each
    data = sft.from_arrays(IMAGES, y, groups=groups.tolist(), seed=seed, valid=shares[0], test=shares[1])
    found = [set(groups[part.index]) for part in parts(data)]
    assert apart(found) and set.union(*found) == set(groups) and all(found) and "grouped" in data.card.split


def test_groups_that_share_an_image_count_as_one():
    x = IMAGES.copy()
    x[0] = x[119]  # a photograph of the first group is in the last group as well
    for seed in range(6):
        data = sft.from_arrays(x, LABELS, groups=(np.arange(120) // 10).tolist(), seed=seed)
        assert sum({0, 119} <= set(part.index) for part in parts(data)) == 1


@pytest.mark.parametrize(("groups", "says"), [([i % 2 for i in range(120)], "2 groups"), ("abc", "3 groups")])
def test_too_few_groups_are_refused(groups, says):
    with pytest.raises(ValueError, match=says):
        sft.from_arrays(IMAGES, LABELS, groups=groups)


def test_a_class_that_groups_leave_out_of_a_split_is_noted_on_the_card():
    data = sft.from_arrays(IMAGES, (LABELS == 0).astype(int), groups=LABELS.tolist())
    assert any("has no image of" in note for note in data.card.notes)


@pytest.mark.parametrize("shares", [(0, 0.2), (0.5, 0.5), (0.2, 1), (-0.1, 0.2)])
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(ValueError, match="leave something"):
        sft.from_arrays(IMAGES, LABELS, valid=shares[0], test=shares[1])


def test_given_rows_that_share_an_image_are_refused():
    rows, x = (np.arange(0, 50), np.arange(50, 80), np.arange(80, 120)), IMAGES.copy()
    x[90] = x[3]
    with pytest.raises(ValueError, match="image of row 3 is in test as well"):
        assemble(x, torch.from_numpy(LABELS), ["a", "b", "c"], name="n", rule="r", rows=rows)
    with pytest.raises(ValueError, match="valid split is empty"):
        check_disjoint((rows[0], rows[0][:0], rows[2]), [str(i) for i in range(120)])


@pytest.mark.parametrize(
    ("rows", "hashes", "left", "dropped"),
    [
        ([[0, 1, 2], [3, 4], [5, 6]], "abcbdce", [[0], [3, 4], [5, 6]], {2: "test", 1: "valid"}),
        ([[0], [1], [2]], "aaa", [[], [], [2]], {0: "test", 1: "test"}),
    ],
)
def test_copies_are_dropped_from_where_they_do_least_harm(rows, hashes, left, dropped):
    found = drop_copies(tuple(map(np.array, rows)), hashes)
    assert [part.tolist() for part in found[0]] == left and found[1] == dropped


def test_a_part_can_be_drawn_from_some_rows_only():
    rest, part = draw(np.arange(60), list(LABELS), [str(i) for i in range(120)], [0.2], 0)
    assert sorted([*rest, *part]) == list(range(60)) and Counter(LABELS[part]) == {0: 4, 1: 4, 2: 4}


def test_per_class_thins_train_and_nothing_else(data):
    thin = sft.from_arrays(IMAGES, LABELS, per_class=5)
    assert set(thin.card.counts["train"].values()) == {5} and set(thin.train.hashes) < set(data.train.hashes)
    assert (thin.valid.hashes, thin.test.hashes) == (data.valid.hashes, data.test.hashes)
    with pytest.raises(ValueError, match="per_class=0"):
        sft.from_arrays(IMAGES, LABELS, per_class=0)


# batches and augmentation


def test_batches_come_in_order_without_a_seed(data):
    x = torch.cat([x for x, _ in data.train.batches(7)])
    assert torch.equal(x, torch.from_numpy(IMAGES[data.train.index])) and x.dtype == torch.uint8


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(**options):
        return np.concatenate(batch_positions(50, 8, **options)).tolist()

    before = torch.get_rng_state()
    assert order(seed=3, epoch=2) == order(seed=3, epoch=2)
    assert len({tuple(order(seed=s, epoch=e)) for s in range(3) for e in range(3)}) == 9
    assert sorted(order(seed=3, epoch=2)) == order() == list(range(50))
    assert torch.equal(before, torch.get_rng_state())  # nobody else's random numbers are drawn


@pytest.mark.parametrize(("n", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (1, [1]), (0, []), (5, [5])])
def test_a_last_batch_of_one_joins_the_batch_before_it(n, sizes):
    assert [len(batch) for batch in batch_positions(n, 4)] == sizes
    with pytest.raises(ValueError, match="batch_size=0"):
        batch_positions(n, 0)


def test_augmentation_is_a_function_of_seed_epoch_and_step(data):
    def augment(x, generator):
        return shift(2)(turn(x, generator), generator)

    def run(seed, epoch):
        torch.rand(seed + 1)  # what else is drawn meanwhile must not matter
        return [x for x, _ in data.train.batches(10, seed=seed, epoch=epoch, augment=augment)]

    first = run(0, 1)
    assert all(map(torch.equal, first, run(0, 1)))
    assert not torch.equal(first[0], run(0, 2)[0]) and not torch.equal(first[0], run(1, 1)[0])
    same = torch.zeros(4, 3, 12, 12, dtype=torch.uint8) + torch.arange(12, dtype=torch.uint8)
    assert len({flip(same, dataset.generator(0, 0, step)).numpy().tobytes() for step in range(8)}) > 1


@pytest.mark.parametrize("augment", [flip, turn, shift(3), rotate(30)])
def test_an_augmentation_keeps_shape_and_dtype_and_leaves_its_input_alone(augment):
    x = torch.from_numpy(IMAGES[:16].copy())
    new = augment(x, torch.Generator().manual_seed(0))
    assert new.shape == x.shape and new.dtype == torch.uint8 and not torch.equal(new, x)
    assert torch.equal(x, torch.from_numpy(IMAGES[:16]))


@pytest.mark.parametrize("augment", [rotate(0), shift(0)])
def test_an_augmentation_of_no_strength_changes_nothing(augment):
    x = torch.from_numpy(IMAGES[:16].copy())
    assert torch.equal(augment(x, torch.Generator().manual_seed(0)), x)


@pytest.mark.parametrize(
    ("augment", "why"),
    [(v2.RandomHorizontalFlip(), "RandomHorizontalFlip"), (lambda x: x, "positional"), ("flip", "'flip'")],
)
@pytest.mark.parametrize("views", [None, 2])
def test_what_is_no_augmentation_is_said_in_a_sentence(blobs, augment, why, views):
    model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    before = sft.fingerprint(model)
    with pytest.raises(TypeError, match=f"augment=.*{why}(.|\n)*write lambda x, _: transform") as told:
        sft.fit(model, blobs, sft.full(model, lr=1e-3), epochs=2, augment=augment, views=views)
    assert told.value.__cause__ is not None and sft.fingerprint(model) == before


def test_a_torchvision_transform_augments_as_the_sentence_says(blobs):
    turned = v2.RandomHorizontalFlip(p=1)
    (x, _), *_ = blobs.train.batches(8, augment=lambda x, _: turned(x))
    assert torch.equal(x, next(blobs.train.batches(8))[0].flip(-1))


def test_rotate_turns_about_the_middle_by_at_most_what_it_says():
    dot = torch.zeros(200, 1, 65, 65, dtype=torch.uint8)
    dot[:, :, 30:35, 60:65] = 255  # three o'clock
    seen = rotate(30)(dot, torch.Generator().manual_seed(0)).float()[:, 0]
    at = torch.arange(65.0) - 32
    down, right = (seen.sum(2) @ at) / seen.sum((1, 2)), (seen.sum(1) @ at) / seen.sum((1, 2))
    angle = torch.rad2deg(torch.atan2(down, right))
    assert angle.abs().max() < 31 and angle.min() < -25 and angle.max() > 25


def test_training_augments_train_and_never_valid_or_test(blobs):
    seen = []

    def spy(x, generator):
        seen.append(x)
        return flip(x, generator)

    model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(model, blobs, sft.full(model, lr=1e-3), epochs=2, augment=spy)
    assert {image.numpy().tobytes() for x in seen for image in x} == {x.numpy().tobytes() for x, _ in blobs.train}
    with pytest.raises(TypeError):
        sft.evaluate(model, blobs.test, augment=spy)


@pytest.mark.parametrize("shape", [(20, 20), (31, 20), (20, 33), (57, 23), (7, 5), (1, 1), (40, 29)])
@pytest.mark.parametrize("size", [16, 15, 24])
def test_resizing_is_pillows_with_antialiasing_and_keeps_the_centre(shape, size):
    x = RNG.integers(0, 256, (2, 3, *shape), dtype=np.uint8)
    found = resize(torch.from_numpy(x), size)
    assert found.is_contiguous() and found.dtype == torch.uint8 and found.shape == (2, 3, size, size)
    height, width = (size * edge // min(shape) for edge in shape)
    top, left = round((height - size) / 2), round((width - size) / 2)
    for image, new in zip(x, found.numpy().astype(int), strict=True):
        whole = Image.fromarray(image.transpose(1, 2, 0)).resize((width, height), Image.Resampling.BILINEAR)
        expected = np.asarray(whole)[top : top + size, left : left + size].transpose(2, 0, 1)
        assert abs(new - expected).max() <= 1  # Pillow rounds between the two passes


def test_a_split_is_a_map_style_data_set_for_torchs_loader(data):
    x, y = map(torch.cat, zip(*DataLoader(data.train, batch_size=8, shuffle=False), strict=True))
    assert torch.equal(x, data.train.pixels(np.arange(len(data.train)))) and torch.equal(y, data.train.y)
    assert torch.equal(data.train[-1][0], x[-1]) and data.train[-1][1] == y[-1]
    with pytest.raises(IndexError, match=f"image {len(x)} of a split of {len(x)}"):
        data.train[len(x)]
    two = with_targets(data, {"a": torch.zeros(120), "b": torch.ones(120)}, {"a": ["x"], "b": ["y"]})
    assert next(iter(DataLoader(two.train, batch_size=4)))[1]["b"].tolist() == [1, 1, 1, 1]


def test_a_subset_keeps_the_given_order_and_has_its_own_digest(data):
    some = data.train.subset([5, 2])
    assert some.hashes == [data.train.hashes[5], data.train.hashes[2]]
    assert some.digest != data.train.subset([2, 5]).digest


def test_new_targets_are_counted_on_a_new_card(data):
    new = with_targets(data, torch.from_numpy((LABELS > 0).astype(np.int64)), ["no", "yes"])
    assert new.card.classes == ["no", "yes"] and new.card.counts["test"] == {"no": 10, "yes": 20}
    assert data.card.classes == ["0", "1", "2"]


# arrays and labels


@pytest.mark.parametrize("shape", [(120, 12, 12), (120, 12, 12, 1), (120, 12, 12, 3), (120, 1, 12, 12)])
def test_arrays_of_every_common_layout_are_taken(shape):
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    images = sft.from_arrays(x, LABELS).train.images
    assert images.shape == (120, 3 if 3 in shape else 1, 12, 12)
    assert images[7, 0, 3, 4] == (x[7, 3, 4, 0] if shape[-1] in (1, 3) else x[7].reshape(-1, 12, 12)[0, 3, 4])


@pytest.mark.parametrize(
    "twins",
    [("cat", "cat "), ("caf\u00e9", "cafe\u0301"), (" \u30ac", "\u30ab\u3099")],
)
def test_two_spellings_of_a_name_are_one_class_in_arrays_texts_and_lists_of_classes(twins):
    y = [(*twins, "dog")[k] for k in LABELS]
    names = [twins[0].strip(), "dog"]
    assert sft.from_arrays(IMAGES, y).classes == sorted(names)
    assert sft.from_texts([f"text {i}" for i in range(120)], y).classes == sorted(names)
    numbered = sft.from_arrays(IMAGES, LABELS, classes=[*twins, "dog"])
    assert numbered.classes == names and numbered.train.targets.tolist() == [int(k == 2) for k in LABELS]


HOLES = [float("nan"), None, pd.NA, pd.NaT, "", " ", "NA", "nan", "<NA>", "None", -100]


@pytest.mark.parametrize("hole", HOLES, ids=repr)
@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize(
    "form", [list, lambda y: np.array(y, dtype=object), pd.Series], ids=["list", "array", "series"]
)
def test_a_missing_label_is_no_class(hole, numbers, form):
    y = [int(k) if numbers else "cab"[k] for k in LABELS]
    y[::10] = [hole] * 12
    for data in (sft.from_arrays(IMAGES, form(y)), sft.from_texts([f"text {i}" for i in range(120)], form(y))):
        assert data.classes == (["0", "1", "2"] if numbers else ["a", "b", "c"])
        assert "12 of 120" in data.card.notes[0] and "no label" in data.card.notes[0]
        assert {i for part in parts(data) for i in part.index} == set(range(120)) - set(range(0, 120, 10))
        assert all(data.classes[data.train.targets[i]] == str(y[i]) for i in range(120) if i % 10)


def test_missing_labels_are_found_in_pandas_and_numpys_own_kinds_of_arrays():
    y = [None if i % 10 == 0 else int(k) for i, k in enumerate(LABELS)]
    masked = np.ma.MaskedArray(LABELS, mask=[k is None for k in y])
    for holed in (pd.Series(y, dtype="Int64"), pd.Series(y, dtype=float), pd.Categorical(y), masked, torch.tensor(
        [-100 if k is None else k for k in y])):  # fmt: skip
        data = sft.from_arrays(IMAGES, holed, groups=(np.arange(120) // 4).tolist())
        assert data.classes == ["0", "1", "2"] and sum(map(len, parts(data))) == 108


def test_a_class_that_is_listed_is_a_class_however_it_is_called():
    y = np.array(["NA", "EU", "None"])[LABELS]
    assert sft.from_arrays(IMAGES, y, classes=["NA", "EU", "None"]).card.counts["test"] == dict.fromkeys(y[:3], 10)
    with pytest.raises(ValueError, match="one class, EU"):
        sft.from_arrays(IMAGES, y)


@pytest.mark.parametrize("alike", [("Ants", "ants"), ("A", "a")])
def test_names_that_only_capitals_tell_apart_are_said_to_be_probably_one(alike):
    notes = sft.from_arrays(IMAGES, np.array([*alike, "bees"])[LABELS]).card.notes
    assert [note.partition(" are probably")[0] for note in notes] == (["Ants and ants"] if "Ants" in alike else [])


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "says"),
    [
        (IMAGES / 255, LABELS, {}, TypeError, "images are float64, from 0 to 1"),
        (IMAGES[:5], LABELS, {}, ValueError, "5 images, 120 labels"),
        (IMAGES[:, :2], LABELS, {}, ValueError, "shape 120×2×12×12"),
        (IMAGES[:0], [], {}, ValueError, "nothing in them"),
        (IMAGES, LABELS - 1, {}, ValueError, "from -1 to 1"),
        (IMAGES, LABELS, {"classes": ["a", "b"]}, ValueError, "from 0 to 2 for 2 classes"),
        (IMAGES, LABELS * 0, {}, ValueError, "one class"),
        (IMAGES, LABELS + 0.5, {}, ValueError, "float64, such as 0.5"),
        (IMAGES, LABELS + 0.0, {}, ValueError, "astype"),
        (IMAGES, [0.5, None] * 60, {}, ValueError, "such as 0.5"),
        (IMAGES, [None] * 120, {}, ValueError, "all 120 labels are missing"),
        (IMAGES, np.eye(3)[LABELS], {}, ValueError, "shape 120×3"),
        (IMAGES, [[0, 1], [2]] * 60, {}, ValueError, "labels of shape"),
        (IMAGES, ["cat"] * 119 + ["cow"], {"classes": ["cat", "dog"]}, ValueError, "cow are not among"),
        (IMAGES, LABELS, {"size": -3}, ValueError, "size=-3"),
        (IMAGES, LABELS, {"size": 0}, ValueError, "size=0"),
    ],
)
def test_what_cannot_be_a_data_set_is_refused_with_a_sentence(x, y, options, error, says):
    with pytest.raises(error, match=says):
        sft.from_arrays(x, y, **options)


# map-style data sets


class Pictures:
    """A map-style data set of PIL images; `shapes` are (width, height), used in turn."""

    classes = ("no", "yes")

    def __init__(self, *shapes, mode="RGB", n=30):
        self.shapes, self.mode, self.n = shapes, mode, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i >= self.n:
            raise IndexError(i)
        shape = self.shapes[i % len(self.shapes)]
        pixels = np.random.default_rng(i).integers(0, 256, (shape[1], shape[0], 3), dtype=np.uint8)
        return Image.fromarray(pixels).convert(self.mode), i % 2


def test_a_data_set_of_small_equal_images_keeps_their_size_and_channels():
    data = sft.from_dataset(Pictures((20, 24), mode="L"))
    assert data.train.images.shape == (30, 1, 24, 20) and data.train.size == 20 and data.card.name == "Pictures"
    assert np.array_equal(data.train.images[4, 0], np.asarray(Pictures((20, 24), mode="L")[4][0]))


@pytest.mark.parametrize("shapes", [[(20, 24), (40, 20)], [(60, 50)]])
def test_a_data_set_of_large_or_unequal_images_is_kept_as_squares_and_known_at_every_size(shapes):
    data = sft.from_dataset(Pictures(*shapes), size=32, classes=["a", "b"])
    assert data.train.images.shape == (30, 3, 32, 32) and data.classes == ["a", "b"]
    assert sft.from_dataset(Pictures(*shapes), size=28).test.ids == data.test.ids and len(set(data.test.ids)) == 8


@pytest.mark.parametrize(
    "part",
    [
        lambda whole: Subset(whole, range(4, 30)),
        lambda whole: Subset(Subset(whole, range(28)), range(2, 28)),
        lambda whole: torch.utils.data.random_split(whole, [26, 4])[0],
    ],
)
def test_a_part_of_a_data_set_keeps_its_class_names(part):
    data = sft.from_dataset(part(Pictures((20, 20))))
    assert data.classes == ["no", "yes"] and data.card.name == "Pictures" and len(data.train.images) == 26


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "1"])
def test_a_data_set_in_any_colour_mode_becomes_rgb(mode):
    assert sft.from_dataset(Pictures((20, 20), mode=mode)).train.images.shape == (30, 3, 20, 20)


def test_a_data_set_of_tensors_is_taken():
    pairs = [(torch.from_numpy(IMAGES[i]), torch.tensor(i % 2)) for i in range(20)]
    assert np.array_equal(sft.from_dataset(pairs).train.images, IMAGES[:20])
    big = [(torch.from_numpy(np.repeat(IMAGES[i], 3, axis=1)), i % 2) for i in range(20)]
    assert sft.from_dataset(big, size=16).train.images.shape == (20, 3, 16, 16)


def test_a_data_set_leaves_out_what_has_no_label():
    pairs = [(IMAGES[i], None if i % 10 == 0 else "ab"[i % 2]) for i in range(60)]
    data = sft.from_dataset(pairs)
    assert data.classes == ["a", "b"] and sum(map(len, parts(data))) == 54


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ((x for x in [1]), TypeError, "generator has no length"),
        ([], ValueError, "list is empty"),
        (ConcatDataset([[(IMAGES[0], 0.5)] * 9]), ValueError, "such as 0.5"),
        ([(Image.fromarray(np.full((9, 9), 900, np.uint16)), i % 2) for i in range(9)], ValueError, "8 bits"),
    ],
)
def test_what_is_no_data_set_of_pictures_and_labels_is_refused(given, error, says):
    with pytest.raises(error, match=says):
        sft.from_dataset(given)


# where images are kept


def is_mapped(array):
    while not isinstance(array, np.memmap) and isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array, np.memmap)


def test_many_images_live_in_a_scratch_file_that_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    in_memory = sft.from_dataset(Pictures((60, 50)), size=16)
    assert not is_mapped(in_memory.train.images)
    monkeypatch.setattr(storage, "IN_MEMORY", 1000)
    mapped = sft.from_dataset(Pictures((60, 50)), size=16)
    assert is_mapped(mapped.train.images)
    assert np.array_equal(mapped.train.images, in_memory.train.images) and mapped.card.counts == in_memory.card.counts
    assert list((tmp_path / "decoded").iterdir()) == []


def test_a_full_disk_is_a_sentence_and_not_a_crash(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    with pytest.raises(OSError, match=r"1\.50PB needed.* choose a smaller size"):
        storage.allocate((10**9, 3, 500, 1000))


def test_a_decoded_set_is_made_once_and_a_half_written_one_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    shape = (5, *IMAGES.shape[1:])

    def stopped(error):
        yield IMAGES[0]
        raise error

    with pytest.raises(KeyboardInterrupt):
        storage.decoded("set", shape, stopped(KeyboardInterrupt))
    assert list((tmp_path / "decoded").iterdir()) == []
    images, hashes = storage.decoded("set", shape, iter(IMAGES[:5]))
    assert np.array_equal(images, IMAGES[:5]) and hashes == [storage.image_hash(image) for image in IMAGES[:5]]
    assert np.array_equal(storage.decoded("set", shape, stopped(AssertionError("decoded twice")))[0], images)
    assert len(storage.decoded("set", (3, *shape[1:]), iter(IMAGES[:3]))[1]) == 3  # another version of the set
    (tmp_path / "decoded" / "set-5.json").unlink()  # the process was killed after the pixels, before the index
    (tmp_path / "decoded" / "set-5.npy").write_bytes(b"half")
    assert np.array_equal(storage.decoded("set", shape, iter(IMAGES[:5]))[0], IMAGES[:5])


def test_where_the_data_folder_can_only_be_read_images_are_made_for_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    storage.decoded("set", (3, *IMAGES.shape[1:]), iter(IMAGES[:3]))  # an older version of the set is there
    before = {*tmp_path.rglob("*")}
    monkeypatch.setattr(storage.os, "access", lambda path, mode: not str(path).startswith(str(tmp_path)))
    monkeypatch.setattr(storage, "IN_MEMORY", 10)
    images, hashes = storage.decoded("set", (5, *IMAGES.shape[1:]), iter(IMAGES[:5]))
    assert np.array_equal(images, IMAGES[:5]) and hashes == [storage.image_hash(image) for image in IMAGES[:5]]
    assert is_mapped(storage.allocate((4, 3, 8, 8)))
    assert {*tmp_path.rglob("*")} == before


def test_data_dir_follows_the_environment_and_else_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    assert sft.data.data_dir() == tmp_path
    monkeypatch.delenv("SFTLAB_DATA")
    assert sft.data.data_dir().name in ("data", "sftlab")


# named sets


def test_solar_is_what_was_published(solar):
    assert solar.train.images.shape == (2624, 1, 300, 300) and sum(map(len, parts(solar))) == 2624
    counts = sum((Counter(solar.card.counts[name]) for name in PARTS), Counter())
    assert counts == {"intact": 1803, "defect": 821}  # 31 % defect: probability > 0.5
    assert apart([set(part.hashes) for part in parts(solar)])


def test_another_seed_gives_another_grouped_split_of_about_the_same_composition():
    sets = [sft.load("solar", seed=seed) for seed in range(4)]
    assert len({data.test.digest for data in sets}) == 4
    for data in sets:
        assert abs(len(data.test) - 656) < 30
        assert all(abs(c["defect"] / sum(c.values()) - 0.313) < 0.08 for c in data.card.counts.values())


def test_solars_grouped_split_shares_no_block(solar):
    kinds = sft.load("solar", target="type").train.targets.numpy()
    blocks = module_blocks(kinds)
    assert len(set(blocks)) == MODULES and all(len(set(kinds[blocks == b])) == 1 for b in set(blocks))
    assert apart([set(blocks[part.index]) for part in parts(solar)])


def test_solars_random_split_is_stratified_by_probability_and_type():
    data = sft.load("solar", split="random", target="both", size=32)
    p = sft.load("solar", target="probability").train.targets[:, 1].numpy()
    strata = np.array([f"{a:.2f} {b}" for a, b in zip(p, data.train.targets["type"].numpy(), strict=True)])
    for part, share in zip(parts(data), (0.60, 0.15, 0.25), strict=True):
        for name in set(strata):
            assert abs((strata[part.index] == name).sum() - share * (strata == name).sum()) <= 1


def test_solars_targets(solar):
    soft = sft.load("solar", target="probability", size=32)
    assert soft.train.targets.shape == (2624, 2) and torch.allclose(soft.train.y.sum(1), torch.ones(len(soft.train)))
    assert {round(float(p), 2) for p in soft.train.targets[:, 1]} == {0.0, 0.33, 0.67, 1.0}
    assert torch.equal(soft.test.y.argmax(1), solar.test.y)  # the rule and the soft targets agree
    both = sft.load("solar", target="both", size=32)
    assert both.classes == {"defect": ["intact", "defect"], "type": ["mono", "poly"]}
    assert torch.equal(both.test.y["defect"], solar.test.y)
    x, y = both.train.take(np.arange(3))
    assert x.shape == (3, 1, 32, 32) and set(y) == {"defect", "type"}


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("solar", {"target": "colour"}, "colour"),
        ("solar", {"split": "mine"}, "mine"),
        ("soler", {}, r"'soler'.*Did you mean 'solar'\?"),
        ("digits", {"size": 0}, "size=0"),
    ],
)
def test_what_no_named_set_has_is_refused(name, options, says):
    with pytest.raises(ValueError, match=says):
        sft.load(name, **options)


def test_solars_card_says_rule_licence_split_and_majority(solar):
    majority = f"{max(solar.card.counts['test'].values()) / len(solar.test):.1%}"
    text = str(solar.card)
    assert all(
        w in text for w in ("probability > 0.5", "CC BY-NC-SA 4.0", "approximation", majority, "doi:", "300×300")
    )
    assert "flatters" in str(sft.load("solar", split="random").card) and repr(solar) == text


def test_a_card_lists_what_was_skipped_but_not_without_end(data):
    card = dataset.replace(data.card, skipped={f"{i}.jpg": "damaged" for i in range(14)})
    assert "14 files could not be used" in str(card) and "… and 4 more" in str(card)


def test_digits_are_scikit_learns():
    data = sft.load("digits", size=16)
    assert sum(map(len, parts(data))) == 1797 and len(data.classes) == 10
    assert data.train.images.max() == 255 and data.train[0][0].shape == (1, 16, 16)
    assert {"solar", "digits", "cifar10", "pets"} <= set(sft.data.datasets())


# near-duplicates


def jpeg(image, quality=60):
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def scenes():
    """Overlapping windows of two photographs: 90 images that look alike, at 96×96."""
    from sklearn.datasets import load_sample_images

    corners = np.random.default_rng(1).integers(0, (330, 540), (45, 2))
    photos = load_sample_images().images
    return np.stack([p[y : y + 96, x : x + 96].transpose(2, 0, 1) for p in photos for y, x in corners])


def test_recompressed_and_brightened_copies_across_splits_are_found(scenes):
    n = len(scenes)
    bright = (scenes[:20] * 0.8 + 10).round().astype(np.uint8)
    x = np.concatenate([scenes, np.stack([jpeg(image) for image in scenes[:20]]), bright])
    rows = (np.arange(n), np.arange(n, n + 20), np.arange(n + 20, n + 40))
    found = near_duplicates(assemble(x, torch.arange(len(x)) % 2, ["a", "b"], name="n", rule="r", rows=rows))
    same = [pair for pair in found if pair[1] == pair[3]]
    assert len(same) >= 0.9 * 60  # each of the twenty: train–valid, train–test, valid–test
    assert len(found) - len(same) <= 3
    assert [pair[4] for pair in found] == sorted(pair[4] for pair in found) and found[0][4] < 1e-3


def test_windows_of_one_photograph_and_flat_images_are_not_near_duplicates(scenes):
    flat = np.zeros((30, 3, 40, 40), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
    assert not any(near_duplicates(sft.from_arrays(x, np.arange(len(x)) % 2)) for x in (scenes, flat))


def test_solar_cells_look_alike_within_modules_and_hardly_across_groups(solar):
    assert near_duplicates(solar) == []
    across = near_duplicates(sft.load("solar", split="random", size=32), 0.005)
    assert 50 <= len(across) <= 200


def test_a_threshold_that_is_no_distance_is_refused(data):
    with pytest.raises(ValueError, match="threshold=0"):
        near_duplicates(data, 0)


def test_targets_are_a_row_for_each_image(blobs):
    for wrong, shape in ((torch.zeros(120, 2, 2), "120×2×2"), (torch.zeros(119), "119")):
        with pytest.raises(ValueError, match=f"targets of shape {shape}; expected"):
            sft.data.with_targets(blobs, wrong, blobs.classes)
