"""Wrong answers to the exercises of lesson 07, and words of the sentence that each must get."""

import torch
from torch.utils.data import random_split


def images_only(images, targets, share, order):
    return share * images + (1 - share) * images[order], targets


def labels_only(images, targets, share, order):
    return images, share * targets + (1 - share) * targets[order]


def shares_changed(images, targets, share, order):
    return (1 - share) * images + share * images[order], (1 - share) * targets + share * targets[order]


def other_partners(images, targets, share, order):
    return share * images + (1 - share) * images[order], share * targets + (1 - share) * targets.flip(0)


def next_but_two(images, targets, share, order):  # partners that the order does not name
    return (share * a + (1 - share) * a.roll(3, 0) for a in (images, targets))


class Photos:
    def __init__(self, images, augment=None):
        self.images, self.augment = images, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i] if self.augment is None else self.augment(self.images[i])


def one_set(images, augment, generator):
    return random_split(Photos(images, augment), [0.7, 0.3], generator)


def switched_off(images, augment, generator):
    train, valid = one_set(images, augment, generator)
    valid.dataset.augment = None
    return train, valid


def drawn_twice(images, augment, generator):
    train, _ = random_split(Photos(images, augment), [0.7, 0.3], generator)
    _, valid = random_split(Photos(images), [0.7, 0.3], generator)
    return train, valid


def in_file_order(images, augment, generator):
    cut = round(0.7 * len(images))
    return Photos(images[:cut], augment), Photos(images[cut:])


def by_chance(images, augment, generator):
    return in_file_order(images[torch.randperm(len(images))], augment, generator)


ANSWERS = [
    ("half_wrong", 100.0, "its own list"),
    ("half_wrong", 88.8, "all labels right"),
    ("half_wrong", 10, "half of them"),
    ("half_wrong", 0.46, "not the number"),
    ("half_wrong", [100, 46], "Asked is a number"),
    ("mixes_both", images_only, "The labels are not mixed"),
    ("mixes_both", labels_only, "The images are not mixed"),
    ("mixes_both", shares_changed, "The images are not the right mixture"),
    ("mixes_both", other_partners, "The labels are not the right mixture"),
    ("mixes_both", next_but_two, "The images are not the right mixture"),
    ("mixes_both", lambda *_: 0, "TypeError"),
    ("mixes_both", lambda images, targets, *_: (images[:2], targets[:2]), "Error"),
    ("leaves_valid_alone", one_set, "reaches the validation"),
    ("leaves_valid_alone", switched_off, "not augmented any more"),
    ("leaves_valid_alone", drawn_twice, "in both parts"),
    ("leaves_valid_alone", in_file_order, "drawn from it"),
    ("leaves_valid_alone", by_chance, "drawn from it"),
    ("leaves_valid_alone", lambda *_: 0, "TypeError"),
    ("leaves_valid_alone", lambda *_: (torch.zeros(0), torch.zeros(0)), "ValueError"),
    ("leaves_valid_alone", "a split", "TypeError"),
]
