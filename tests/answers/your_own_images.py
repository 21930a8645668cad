"""Wrong answers to the exercises of lesson 10, and words of the sentence that each must get."""

import numpy as np
from sklearn.neighbors import KNeighborsClassifier


def all_answers(p, y, keep):
    return np.quantile(p.max(axis=1), 1 - keep)


def other_side(p, y, keep):
    return np.quantile(p.max(axis=1)[p.argmax(axis=1) == y], keep)


def share_as_limit(p, y, keep):
    return keep


def in_sample(x, y):
    return np.flatnonzero(KNeighborsClassifier(1).fit(x, y).predict(x) != y)


def half_judged(x, y):
    odd = np.arange(1, len(y), 2)
    judge = KNeighborsClassifier(1).fit(x[::2], y[::2])
    return odd[judge.predict(x[odd]) != y[odd]]


def first_fifth(x, y):  # one part held back, the others never judged
    judge = KNeighborsClassifier(1).fit(x[120:], y[120:])
    return np.flatnonzero(judge.predict(x[:120]) != y[:120])


def every_image(x, y):
    return range(len(y))


ANSWERS = [
    ("pairs_across", 0, "split by modules"),
    ("pairs_across", 10, "own threshold"),
    ("pairs_across", 1000, "not the number"),
    ("pairs_across", [], "Asked is a number; this is of type list."),
    ("keeps_right_answers", all_answers, "Wrong ones were counted too"),
    ("keeps_right_answers", other_side, "Which side"),
    ("keeps_right_answers", share_as_limit, "Which side"),
    ("keeps_right_answers", lambda *_: "neither", "Error"),
    ("keeps_right_answers", lambda *_: None if _ else 1, "TypeError"),
    ("finds_planted", in_sample, "by heart"),
    ("finds_planted", half_judged, "by somebody else"),
    ("finds_planted", first_fifth, "by somebody else"),
    ("finds_planted", every_image, "so many pictures"),
    ("finds_planted", lambda *_: "the sevens", "ValueError"),
    ("finds_planted", lambda *_: 7, "TypeError"),
]
