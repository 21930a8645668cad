"""Wrong answers to the exercises of lesson 00, and words of the sentence that each must get."""

import torch


def all_stages(net, first, rate):
    return torch.optim.AdamW(net.parameters(), lr=rate)


def last_instead_of_first(net, first, rate):
    return torch.optim.AdamW(net[-first:].parameters(), lr=rate)


def head_only(net, first, rate):
    net.requires_grad_(False)
    net[-1].requires_grad_(True)
    return torch.optim.AdamW(net[first:].parameters(), lr=rate)


def own_rate(net, first, rate):
    return torch.optim.AdamW(net[first:].parameters())


def freezes_all(net, first, rate):
    net[first:].requires_grad_(False)
    return torch.optim.AdamW(net[first:].parameters(), lr=rate)


def no_return(net, first, rate):
    torch.optim.AdamW(net[first:].parameters(), lr=rate)


def same_place(train, test):
    return [row for row in range(len(test)) if torch.equal(train[row], test[row])]


def same_sum(train, test):
    sums = train.flatten(1).sum(dim=1)
    return [row for row, image in enumerate(test) if (sums == image.sum()).any()]


ANSWERS = [
    ("gain_at_most", 2.1, "mean of the five"),
    ("gain_at_most", 26.7, "for typefaces"),
    ("gain_at_most", -1.7, "the other end"),
    ("gain_at_most", 13.4, "not the number"),
    ("gain_at_most", "6", "Asked is a number"),
    ("learns_from", all_stages, "other stages have moved as well"),
    ("learns_from", last_instead_of_first, "other stages have moved as well"),
    ("learns_from", head_only, "moved head, and no more"),
    ("learns_from", own_rate, "not at the rate"),
    ("learns_from", freezes_all, "moved nothing"),
    ("learns_from", no_return, "AttributeError"),
    ("finds_leak", same_place, "misses"),
    ("finds_leak", same_sum, "not in train"),
    ("finds_leak", lambda train, test: 0, "TypeError"),
    ("finds_leak", lambda train, test: [True] * len(test), "not in train"),
]
