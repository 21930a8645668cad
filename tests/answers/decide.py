"""Wrong answers to the exercises of lesson 09, and words of the sentence that each must get."""

import numpy as np


def two_answers(p, missed, alarm, ask):
    return (p > alarm / (alarm + missed)).astype(int)


def around_a_half(p, missed, alarm, ask):
    return np.where(abs(p - 0.5) < 0.2, 2, (p > 0.5).astype(int))


def never_intact(p, missed, alarm, ask):
    return np.where((1 - p) * alarm > ask, 2, 1)


def one_for_all(p, missed, alarm, ask):
    return np.full(len(p), 2)


def as_in_the_lesson(missed, alarm, weight):
    return alarm / (alarm + missed)


def one_half(missed, alarm, weight):
    return 0.5


def divided(missed, alarm, weight):
    return alarm / (alarm + weight * missed)


ANSWERS = [
    ("saving_left", 4.41, "100 € a miss"),
    ("saving_left", 17.14, "the bill itself"),
    ("saving_left", -0.87, "other way round"),
    ("saving_left", 2000, "not the number"),
    ("saving_left", "nothing", "Asked is a number; this is of type str."),
    ("cheapest_of_three", two_answers, "nobody is asked"),
    ("cheapest_of_three", around_a_half, "where another answer costs less"),
    ("cheapest_of_three", never_intact, "a person is asked"),
    ("cheapest_of_three", one_for_all, "a person is asked"),
    ("cheapest_of_three", lambda *_: "ask", "Error"),
    ("cheapest_of_three", lambda *_: 2, "IndexError"),
    ("cheapest_of_three", lambda *_: None if _ else 1, "Error"),
    ("cheapest_of_three", lambda p, *_: p[:3].astype(int), "Error"),
    ("paid_once", as_in_the_lesson, "paid twice"),
    ("paid_once", one_half, "not right for each weight"),
    ("paid_once", divided, "the wrong way"),
    ("paid_once", lambda *_: "half", "Asked is a number"),
    ("paid_once", 0.5, "TypeError"),
]
