"""Augmented views that are kept: the same pictures each time, encoded once each."""

import numpy as np
import pytest
import torch

import sftlab as sft
from sftlab.core.features import missing
from sftlab.data import View, augment, blur, darken, flip, noise, shift, turn


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    return tmp_path / "features"


def run(data, **settings):
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    history = sft.fit(model, data, sft.linear_probe(model, lr=0.01), 5, verbose=False, augment=turn, **settings)
    return model, history


def test_cached_views_are_the_uncached_ones_to_the_bit(blobs, store):
    (one, a), (two, b) = run(blobs, views=3), run(blobs, views=3, cached=False)
    assert sft.fingerprint(one) == sft.fingerprint(two)
    assert [s.loss for s in a.steps] == [s.loss for s in b.steps]


def test_views_take_turns_by_epoch(blobs, store):
    _, three = run(blobs, views=3)
    _, fresh = run(blobs)
    assert missing(sft.backbone("tiny")[:-1], blobs.valid) == 0, "valid images are encoded without augmentation"
    losses = [e.train_loss for e in three.epochs[1:]]
    assert len(set(losses)) == 5 and losses != [e.train_loss for e in fresh.epochs[1:]]


def test_a_view_of_an_image_does_not_depend_on_its_place(blobs):
    view = View(blobs.train, turn, seed=0, number=1)
    other = View(blobs.train.subset(np.arange(71, -1, -1)), turn, seed=0, number=1)
    assert torch.equal(view.pixels(np.arange(5)), other.pixels(71 - np.arange(5)))
    assert view.hashes[:5] == other.hashes[:-6:-1]


def test_another_view_seed_or_augmentation_has_another_address_and_the_same_one_has_not(blobs):
    def address(augment, seed=0, number=0):
        return View(blobs.train, augment, seed, number).hashes[0]

    kinds = [
        flip,
        shift(1),
        shift(2),
        noise(0.2),
        noise(0.3),
        blur(1),
        darken(0.2),
    ]
    given = [address(turn), address(turn, 1), address(turn, 0, 1), *map(address, kinds)]
    assert len(set(given)) == len(given)
    assert address(shift(2)) == address(shift(2)) == address(lambda x, draw: shift(2)(x, draw))


def test_a_function_is_known_by_what_it_does_not_by_its_name():
    strength = [1]

    def darker(x, generator):
        return x // strength[0]

    before = augment.behaviour(darker, 3, 8)
    strength[0] = 2
    assert augment.behaviour(darker, 3, 8) != before


def test_views_without_an_augmentation_are_refused(blobs, tiny):
    with pytest.raises(ValueError, match="together with augment"):
        sft.fit(tiny, blobs, sft.linear_probe(tiny), 1, views=2)
