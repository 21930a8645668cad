"""Wrong answers to the exercises of lesson 03, and words of the sentence that each must get."""

import math

import torch


def overflows(logits, p):
    return -(p * logits.softmax(dim=1).log()).sum(dim=1).mean()


def mean_of_all(logits, p):
    return -(p * logits.log_softmax(dim=1)).mean()


def sum_of_all(logits, p):
    return -(p * logits.log_softmax(dim=1)).sum()


def over_images(logits, p):
    return -(p * logits.log_softmax(dim=0)).sum(dim=1).mean()


ANSWERS = [
    ("removable_part", 1.324, "whole loss"),
    ("removable_part", 1.18, "no answer gets below"),
    ("removable_part", 0.054, "right class"),
    ("removable_part", 0.9, "not the number"),
    ("removable_part", "all", "Asked is a number"),
    ("same_as_torch", overflows, "10,000"),
    ("same_as_torch", mean_of_all, "0.333 times"),
    ("same_as_torch", sum_of_all, "8 times"),
    ("same_as_torch", over_images, "times"),
    ("same_as_torch", lambda logits, p: "loss", "TypeError"),
    ("same_as_torch", lambda logits, p: p * logits, "Your code stopped"),
    ("lowest_loss", math.log, "knows nothing"),
    ("lowest_loss", lambda classes: 0, "without limit"),
    ("lowest_loss", lambda classes: 0.3133, "not the number"),
    ("lowest_loss", lambda classes: print(end=""), "Asked is a number; this is of type NoneType."),
    ("lowest_loss", lambda classes: torch.zeros(2), "Asked is a number; this is of type Tensor."),
]
