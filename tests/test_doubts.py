"""Labels in doubt: images judged by probes that have not seen them, and swapped labels that are found again."""

import numpy as np
import pytest
import torch

import sftlab as sft
from sftlab.analysis import labels


@pytest.fixture(scope="module")
def blocks():
    """Three classes that a probe on random features can tell, with ten copies of one image among them."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 80)
    x = rng.normal((60, 128, 196), 30, (80, 8, 8, 3)).transpose(3, 0, 1, 2).reshape(240, 8, 8).clip(0, 255)
    x[5:15] = x[5]
    return sft.from_arrays(x.astype(np.uint8), y, name="blocks")


def test_every_image_is_judged_by_a_probe_that_has_not_seen_it(blocks, monkeypatch):
    seen = []
    real = labels.fit

    def watched(model, data, *arguments, **options):
        seen.append((set(data.train.hashes), set(data.valid.hashes)))
        return real(model, data, *arguments, **options)

    monkeypatch.setattr(labels, "fit", watched)
    p = labels.cross_val_proba(sft.backbone("tiny"), blocks, folds=4, epochs=2)
    assert p.shape == (len(blocks.train), 3) and np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert len(seen) == 4 and all(not learned & judged for learned, judged in seen)
    assert set().union(*(judged for _, judged in seen)) == set(blocks.train.hashes)


def test_folds_keep_classes_in_proportion_and_copies_together(blocks):
    part, y, hashes = labels.fold_of(blocks.train, 4, 0), blocks.train.y.numpy(), np.array(blocks.train.hashes)
    for k in range(3):
        different = np.unique(hashes[y == k], return_index=True)[1]
        sizes = np.bincount(part[y == k][different], minlength=4)
        assert sizes.max() - sizes.min() <= 1
    images, times = np.unique(hashes, return_counts=True)
    assert times.max() > 1 and all(len(set(part[hashes == image])) == 1 for image in images)
    assert not np.array_equal(part, labels.fold_of(blocks.train, 4, 1))


@pytest.mark.parametrize(("rare", "folds"), [(4, 2), (5, 3), (8, 5)])
def test_there_are_no_more_folds_than_a_class_has_different_images(rare, folds):
    x = np.random.default_rng(0).integers(0, 256, (60 + rare, 8, 8), dtype=np.uint8)
    data = sft.from_arrays(x, ["common"] * 60 + ["rare"] * rare)
    part, y = labels.fold_of(data.train, 5, 0), data.train.y.numpy()
    assert all(set(part[y == k]) == set(range(folds)) for k in (0, 1))
    assert labels.cross_val_proba(sft.backbone("tiny"), data, epochs=1).shape == (len(y), 2)


def test_a_class_with_one_training_image_is_called_by_its_name():
    x = np.random.default_rng(0).integers(0, 256, (63, 8, 8), dtype=np.uint8)
    data = sft.from_arrays(x, ["common"] * 60 + ["rare"] * 3)
    with pytest.raises(ValueError, match="one different training image of rare"):
        labels.cross_val_proba(sft.backbone("tiny"), data)


def test_swapped_labels_are_found_and_others_left_alone(blocks):
    rng = np.random.default_rng(1)
    y = blocks.train.y.numpy()
    swapped = rng.permutation(len(y))[:10]
    wrong = y.copy()
    wrong[swapped] = (wrong[swapped] + 1) % 3
    targets = blocks.train.targets.clone()
    targets[blocks.train.index] = torch.from_numpy(wrong)
    spoiled = sft.data.with_targets(blocks, targets, blocks.classes)
    p = labels.cross_val_proba(sft.backbone("tiny"), spoiled, epochs=40, lr=3e-2)
    found = set(labels.find_label_issues(p, wrong).tolist())
    assert len(found & set(swapped.tolist())) >= 5, "measured: 7; by chance it would be none or one"
    assert len(found - set(swapped.tolist())) <= 2, "measured: 0"


def test_doubt_is_confidence_in_another_class_by_the_class_s_own_standard():
    """A model shy of class 1 gives it 0.3 where it is right; 0.4 is then confident, whatever class 0 gets."""
    p = np.array([[0.9, 0.1], [0.95, 0.05], [0.6, 0.4], [0.7, 0.3], [0.72, 0.28], [0.99, 0.01]])
    y = np.array([0, 0, 0, 1, 1, 1])
    # thresholds: class 0 (0.9 + 0.95 + 0.6) / 3 = 0.817; class 1 (0.3 + 0.28 + 0.01) / 3 = 0.197
    assert labels.find_label_issues(p, y).tolist() == [5, 2], "5: 0.01 − 0.99; 2: 0.6 − 0.4; 3 and 4 are no doubt"


def test_the_most_torn_images_come_first():
    p = np.array([[0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [0.34, 0.33, 0.33], [0.45, 0.1, 0.45]])
    assert labels.undecided(p).tolist() == [3, 2, 0, 1]


def test_what_cannot_be_doubted_is_refused_by_a_sentence(blocks):
    with pytest.raises(ValueError, match="folds=1"):
        labels.cross_val_proba(sft.backbone("tiny"), blocks, folds=1)
    with pytest.raises(ValueError, match=r"3 labels and probabilities of shape \(2, 2\)"):
        labels.find_label_issues(np.eye(2), [0, 1, 0])
    y, names = blocks.train.targets, blocks.classes
    both = sft.data.with_targets(blocks, {"a": y, "b": y}, {"a": names, "b": names})
    with pytest.raises(ValueError, match="several tasks"):
        labels.cross_val_proba(sft.backbone("tiny"), both)
