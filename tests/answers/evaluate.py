"""Wrong answers to the exercises of lesson 08, and words of the sentence that each must get."""

import numpy as np


def cells(right, groups, rng):
    return [rng.choice(right, size=len(right)).mean() for _ in range(1000)]


def not_replaced(right, groups, rng):
    parts = [right[groups == g] for g in np.unique(groups)]
    return [np.concatenate([parts[g] for g in rng.permutation(len(parts))]).mean() for _ in range(1000)]


def group_means(right, groups, rng):
    means = np.array([right[groups == g].mean() for g in np.unique(groups)])
    return [rng.choice(means, len(means)).mean() for _ in range(1000)]


def too_few(right, groups, rng):
    parts = [right[groups == g] for g in np.unique(groups)]
    draws = rng.integers(len(parts), size=(300, len(parts)))
    return [np.concatenate([parts[g] for g in draw]).mean() for draw in draws]


def fitted(x, y, train, test):
    weights = np.linalg.lstsq(x[train], 2.0 * y[train] - 1, rcond=None)[0]
    return ((x[test] @ weights > 0) == y[test]).mean()


def best(x, y):
    return np.abs((x - x.mean(axis=0)).T @ (y - y.mean())).argsort()[-10:]


def chosen_on_all(x, y, train, test):
    return fitted(x[:, best(x, y)], y, train, test)


def tested_on_train(x, y, train, test):
    return fitted(x[:, best(x[train], y[train])], y, train, train)


def first_ten_after(x, y, train, test):
    return fitted(x[:, 3:13], y, train, test)


ANSWERS = [
    ("best_of_fifty", 7.1, "150 images"),
    ("best_of_fifty", 83.6, "what the best one reports"),
    ("best_of_fifty", 0.036, "a share of 1"),
    ("best_of_fifty", 1.8, "not the number"),
    ("best_of_fifty", [3.6], "Asked is a number; this is of type list."),
    ("draws_groups", cells, "vary too little"),
    ("draws_groups", not_replaced, "vary too little"),
    ("draws_groups", group_means, "the mean is another one"),
    ("draws_groups", too_few, "1,000 accuracies"),
    ("draws_groups", lambda *_: "all", "1,000 accuracies"),
    ("honest_on_noise", chosen_on_all, "On noise"),
    ("honest_on_noise", tested_on_train, "On noise"),
    ("honest_on_noise", first_ten_after, "one feature is good"),
    ("honest_on_noise", lambda *_: "good", "Error"),
    ("honest_on_noise", 0.5, "TypeError"),
]
