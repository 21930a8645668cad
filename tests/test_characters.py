"""Printed characters: drawn from matplotlib's fonts, the same ones every time, split by font family."""

import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import sftlab as sft
from sftlab.data import generated
from sftlab.data.storage import data_dir

FOLDER = Path(matplotlib.__file__).parent / "mpl-data" / "fonts" / "ttf"


@pytest.fixture(scope="module")
def printed():
    return sft.load("characters", copies=2)


def face_of(data, split, alphabet="all", copies=2):
    """Return the face of each image of a split; the rows run through the faces, glyph by glyph."""
    return [generated.FACES[row // (len(generated.ALPHABETS[alphabet]) * copies)] for row in getattr(data, split).index]


def test_every_face_prints_every_character_under_the_code_point_that_unicode_gives_it():
    from matplotlib.ft2font import FT2Font

    for face in generated.FACES:
        there = FT2Font(str(FOLDER / face.file)).get_charmap()
        for character in generated.ALPHABETS["all"]:
            assert unicodedata.normalize("NFKC", chr(face.code(character))) == character
            assert face.code(character) in there, (face, character)


def test_valid_and_test_are_families_of_fonts_that_train_does_not_have(printed):
    families = [{face.family for face in face_of(printed, split)} for split in ("train", "valid", "test")]
    assert all(families) and not (families[0] & families[1] or families[0] & families[2] or families[1] & families[2])
    assert all(name in printed.card.split for name in families[1] | families[2])
    assert set().union(*families) == {face.family for face in generated.FACES}


def test_the_same_families_are_unseen_for_every_alphabet_and_another_seed_takes_others(printed):
    digits, *others = (sft.load("characters", alphabet="digits", copies=2, seed=seed) for seed in (0, 1, 2))
    unseen = [{face.family for face in face_of(*of)} for of in ((digits, "valid", "digits"), (printed, "valid"))]
    assert unseen[0] == unseen[1] and len({other.card.split.split(";", 1)[1] for other in others}) == 2


def test_capitals_and_their_look_alikes_are_one_class(printed):
    digits = sft.load("characters", alphabet="digits", copies=2).classes
    letters = set(printed.classes) - set(digits)
    assert (len(digits), len(letters), len(printed.classes)) == (10, 37, 47) and digits == printed.classes[:10]
    assert not set("cosvwxz") & letters and set("abdefghnqrt") <= letters


def test_the_pictures_of_a_glyph_depend_on_nothing_but_the_glyph(printed):
    face = generated.FACES[5]
    one, three = (list(generated.pictures(face, "R", copies, 8)) for copies in (1, 3))
    assert np.array_equal(one[0], three[0]) and not np.array_equal(three[0], three[1])
    row = (5 * 62 + generated.ALPHABETS["all"].index("R")) * 2
    assert np.array_equal(printed.train.images[row, 0], one[0])
    digits = sft.load("characters", alphabet="digits", copies=2)
    assert np.array_equal(digits.train.images[:20], printed.train.images[:20])
    again = sft.load("characters", copies=2, seed=3)
    assert again.train.image_hashes == printed.train.image_hashes


def test_a_pixel_is_a_count_of_sixteen_dots_as_in_the_handwritten_digits(printed):
    levels = (np.arange(17) * 255 / 16).round()
    assert set(np.unique(printed.train.images)) <= set(levels)
    ink = printed.train.images.mean(axis=(1, 2, 3))
    assert ink.min() > 5 and ink.max() < 200  # no empty square, and none that is full


def test_print_is_readable_across_families():
    from sklearn.neighbors import KNeighborsClassifier

    data = sft.load("characters", alphabet="digits", copies=10)
    (x, y), (x_new, y_new) = (part.take(np.arange(len(part))) for part in (data.train, data.valid))
    score = KNeighborsClassifier(1).fit(x.flatten(1), y).score(x_new.flatten(1), y_new)
    assert score > 0.7, score


def test_another_size_is_drawn_anew_and_shows_more():
    small, large = (sft.load("characters", alphabet="digits", copies=2, size=s) for s in (8, 16))
    assert large.train.images.shape[1:] == (1, 16, 16)
    enlarged = small.train.images.repeat(2, axis=2).repeat(2, axis=3)
    assert not np.array_equal(large.train.images, enlarged)


def test_they_are_drawn_once_and_drawn_again_when_the_drawing_changes(monkeypatch):
    first = sft.load("characters", alphabet="digits", copies=3)
    drawn, original = [], generated._written
    monkeypatch.setattr(generated, "_written", lambda *a: drawn.append(1) or original(*a))
    again = sft.load("characters", alphabet="digits", copies=3)
    assert len(drawn) == len(generated.FACES)  # a glance at one picture a face tells that nothing has changed
    assert np.array_equal(again.train.images, first.train.images)
    monkeypatch.setattr(generated, "_written", lambda *a: 255 - original(*a))
    other = sft.load("characters", alphabet="digits", copies=3)
    assert np.array_equal(other.train.images, 255 - first.train.images)
    assert len(list((data_dir() / "decoded").glob("characters-digits-3-8-*.npy"))) == 2


def test_the_card_names_the_fonts_and_their_licences(printed):
    assert all(word in printed.card.licence for word in ("DejaVu", "Bitstream Vera", "STIX", "OFL", "BaKoMa"))
    for licence, words in (("LICENSE_DEJAVU", "Bitstream Vera"), ("LICENSE_STIX", "SIL OPEN FONT LICENSE Version 1.1")):
        assert words in (FOLDER / licence).read_text(encoding="utf-8", errors="replace")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="alphabet='greek': one of 'digits', 'letters', 'all'"):
        sft.load("characters", alphabet="greek")
    with pytest.raises(ValueError, match="copies=0: a whole number ≥ 1"):
        sft.load("characters", copies=0)


def test_typefaces_print_each_word_once_in_each_family_and_never_tear_a_word_apart():
    data = sft.load("typefaces", size=32)
    words, families = generated.VOCABULARY.split(), data.classes
    assert len(set(words)) == len(words) and len(families) == len({face.family for face in generated.FACES})
    parts = [{row // len(families) for row in split.index} for split in (data.train, data.valid, data.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(words)
    for split in (data.train, data.valid, data.test):
        assert split.labels(np.arange(len(split))).tolist() == [row % len(families) for row in split.index]


def test_a_printed_word_is_the_same_every_time_and_its_family_shows():
    drawn = {family: generated.printed_word("zebra", family, 32) for family in ("STIX", "CM Sans")}
    assert all(np.array_equal(picture, generated.printed_word("zebra", f, 32)) for f, picture in drawn.items())
    assert not np.array_equal(*drawn.values())
